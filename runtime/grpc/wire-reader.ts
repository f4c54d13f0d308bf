/**
 * Reads the protobuf wire format: only what the messages here need, without a schema, an object per field or a copy.
 * Every malformed byte ends in INVALID_REQUEST (gRPC INVALID_ARGUMENT); nothing is allocated by what a message merely claims.
 * Source: "Protocol Buffers Documentation", section "Encoding".
 */
/* eslint-disable no-bitwise -- the format is made of bits */
import { fieldOf, Wire, wireTypeOf } from './wire-format';
import { refuse } from '../core/errors';

/** The messages here nest four deep; unknown fields may hold groups, and this bounds them. */
const MAX_DEPTH = 32;
/** Strings up to this many bytes are read byte by byte, which is faster than a call into the engine. */
const SHORT_STRING = 24;
const HIGH_WORD = 0x1_0000_0000;

const UTF8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

export class WireReader {
  /** Next byte. */
  at: number;
  /** End of the message that is being read. */
  end: number;
  private depth = 0;
  private low = 0;
  private high = 0;
  private view: DataView | undefined;

  constructor(readonly bytes: Uint8Array, start = 0, end = bytes.length) {
    this.at = start;
    this.end = end;
  }

  get more(): boolean {
    return this.at < this.end;
  }

  /** Field number and wire type: `field << 3 | type`. */
  tag(): number {
    const tag = this.uint32();
    // numbers from 1 to 2^29-1; the shift by three leaves no more than that
    if (tag < 8) malformed('a field has the number 0');
    return tag;
  }

  /** A varint as an unsigned 32 bit number; higher bits are cut off, as protobuf defines it. */
  uint32(): number {
    const first = this.at < this.end ? this.bytes[this.at] : 0x80;
    if (first < 0x80) {
      this.at++;
      return first;
    }
    this.varint();
    return this.low;
  }

  int32(): number {
    return this.uint32() | 0;
  }

  bool(): boolean {
    this.varint();
    return this.low !== 0 || this.high !== 0;
  }

  /** int64 as a number; NaN where a number would lose digits. */
  int64(): number {
    this.varint();
    const value = (this.high | 0) * HIGH_WORD + this.low;
    return Number.isSafeInteger(value) ? value : NaN;
  }

  int64BigInt(): bigint {
    this.varint();
    return (BigInt(this.high | 0) << 32n) | BigInt(this.low);
  }

  uint64BigInt(): bigint {
    this.varint();
    return (BigInt(this.high) << 32n) | BigInt(this.low);
  }

  float(): number {
    const at = this.take(4);
    return this.dataView().getFloat32(at, true);
  }

  double(): number {
    const at = this.take(8);
    return this.dataView().getFloat64(at, true);
  }

  /** A view on the bytes of a length-delimited field. */
  view8(): Uint8Array {
    const length = this.length();
    const at = this.take(length);
    return this.bytes.subarray(at, at + length);
  }

  /** Fails where the bytes are not UTF-8, as protobuf asks of proto3 strings. */
  string(): string {
    const length = this.length();
    const start = this.take(length);
    const end = start + length;
    if (length <= SHORT_STRING) {
      const { bytes } = this;
      let text = '';
      let at = start;
      for (; at < end && bytes[at] < 0x80; at++) text += String.fromCharCode(bytes[at]);
      if (at === end) return text;
    }
    try {
      return UTF8.decode(this.bytes.subarray(start, end));
    } catch {
      return malformed('a string is not UTF-8');
    }
  }

  /** Goes into a length-delimited field; gives what `leave` takes to come out again. */
  enter(): number {
    const length = this.length();
    if (length > this.end - this.at) malformed('a field is longer than its message');
    if (++this.depth > MAX_DEPTH) malformed(`messages nest deeper than ${MAX_DEPTH}`);
    const outer = this.end;
    this.end = this.at + length;
    return outer;
  }

  leave(outer: number): void {
    this.depth--;
    this.end = outer;
  }

  /** Passes over a field that the reader does not know. */
  skip(tag: number): void {
    switch (wireTypeOf(tag)) {
      case Wire.VARINT:
        return this.varint();
      case Wire.FIXED64:
        this.take(8);
        return;
      case Wire.BYTES:
        this.take(this.length());
        return;
      case Wire.GROUP_START:
        return this.skipGroup(fieldOf(tag));
      case Wire.FIXED32:
        this.take(4);
        return;
      default:
        return malformed(`field ${fieldOf(tag)} has wire type ${wireTypeOf(tag)}`);
    }
  }

  private skipGroup(field: number): void {
    if (++this.depth > MAX_DEPTH) malformed(`messages nest deeper than ${MAX_DEPTH}`);
    for (;;) {
      const tag = this.tag();
      if (wireTypeOf(tag) === Wire.GROUP_END) {
        if (fieldOf(tag) !== field) malformed('a group ends that did not begin');
        break;
      }
      this.skip(tag);
    }
    this.depth--;
  }

  /** The length of a length-delimited field; protobuf allows at most 2 GiB, the bytes at hand allow less. */
  private length(): number {
    const first = this.at < this.end ? this.bytes[this.at] : 0x80;
    if (first < 0x80) {
      this.at++;
      return first;
    }
    this.varint();
    if (this.high !== 0 || this.low > 0x7fffffff) malformed('a field is longer than its message');
    return this.low;
  }

  private take(size: number): number {
    const { at } = this;
    if (size > this.end - at) malformed('a field is longer than its message');
    this.at = at + size;
    return at;
  }

  private varint(): void {
    const { bytes, end } = this;
    let { at } = this;
    let low = 0;
    let high = 0;
    for (let shift = 0; shift < 70; shift += 7) {
      if (at >= end) malformed('the message ends within a number');
      const byte = bytes[at++];
      const bits = byte & 0x7f;
      if (shift < 28) {
        low |= bits << shift;
      } else if (shift === 28) {
        low |= bits << 28;
        high = bits >>> 4;
      } else {
        high |= bits << (shift - 32);
      }
      if (byte < 0x80) {
        this.at = at;
        this.low = low >>> 0;
        this.high = high >>> 0;
        return;
      }
    }
    malformed('a number is longer than ten bytes');
  }

  private dataView(): DataView {
    return this.view ??= new DataView(this.bytes.buffer, this.bytes.byteOffset, this.bytes.byteLength);
  }
}

export function malformed(what: string): never {
  return refuse('INVALID_REQUEST', `the message is no valid protobuf: ${what}`);
}
