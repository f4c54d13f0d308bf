/**
 * Writes the protobuf wire format, and around it the length prefix of gRPC. Small parts share one scratch buffer; a large byte field is not
 * copied but becomes a chunk of its own.
 * Sources: "Protocol Buffers Documentation", section "Encoding"; "gRPC over HTTP2", Length-Prefixed-Message.
 */
/* eslint-disable no-bitwise -- the format is made of bits */

/** A gRPC message begins with a flag (0: not compressed) and its length in four bytes, big-endian. */
export const PREFIX_BYTES = 5;
/** Byte fields from this size on are passed on as they are: below, a copy costs less than another chunk of a write. */
export const CHUNK_BYTES = 16_384;
/** Room before the first chunk: the gRPC prefix, and the tag and length of one message around it. */
const HEADROOM = 16;
const FIRST_SIZE = 4_096;
const MAX_VARINT = 10;
const SHORT_STRING = 32;

export class WireWriter {
  private scratch = Buffer.allocUnsafeSlow(FIRST_SIZE);
  private view = new DataView(this.scratch.buffer, this.scratch.byteOffset, this.scratch.byteLength);
  private at = HEADROOM;
  private chunks: Uint8Array[] | undefined;
  /** Bytes of the chunks so far. */
  private flushed = 0;

  /** A field that holds a number below 2^32. */
  uint32(tag: number, value: number): void {
    this.room(2 * MAX_VARINT);
    this.number(tag);
    this.number(value);
  }

  bool(tag: number, value: boolean): void {
    this.uint32(tag, value ? 1 : 0);
  }

  /** int64 or uint64. Fails with RangeError on a number that is no safe integer. */
  int64(tag: number, value: number | bigint): void {
    this.room(2 * MAX_VARINT);
    this.number(tag);
    this.wide(value);
  }

  double(tag: number, value: number): void {
    this.room(MAX_VARINT + 8);
    this.number(tag);
    this.view.setFloat64(this.at, value, true);
    this.at += 8;
  }

  string(tag: number, text: string): void {
    // UTF-8 needs at most three bytes for each UTF-16 unit
    this.room(2 * MAX_VARINT + text.length * 3);
    this.number(tag);
    const { length } = text;
    if (length <= SHORT_STRING && this.ascii(text)) return;
    const size = Buffer.byteLength(text);
    this.number(size);
    this.at += this.scratch.write(text, this.at, size, 'utf8');
  }

  /** A byte field. From `CHUNK_BYTES` on the bytes are not copied: they must stay as they are until they are sent. */
  bytes(tag: number, value: Uint8Array): void {
    const { length } = value;
    if (length < CHUNK_BYTES) {
      this.room(2 * MAX_VARINT + length);
      this.number(tag);
      this.number(length);
      this.scratch.set(value, this.at);
      this.at += length;
      return;
    }
    this.room(2 * MAX_VARINT);
    this.number(tag);
    this.number(length);
    this.flush();
    this.chunks!.push(value);
    this.flushed += length;
  }

  /** Fields that are encoded already. */
  raw(fields: Uint8Array): void {
    this.room(fields.length);
    this.scratch.set(fields, this.at);
    this.at += fields.length;
  }

  /** int64 values in one packed field: the elements of a shape. */
  packedInt64(tag: number, values: readonly number[]): void {
    if (values.length === 0) return;
    this.room((2 + values.length) * MAX_VARINT);
    const open = this.open(tag);
    for (const value of values) this.wide(value);
    this.close(open);
  }

  /** Begins a message field, which must stay small (no chunk within); gives what `close` takes. */
  open(tag: number): number {
    this.room(2 * MAX_VARINT);
    this.number(tag);
    return this.at++;
  }

  close(open: number): void {
    const length = this.at - open - 1;
    if (length < 0x80) {
      this.scratch[open] = length;
      return;
    }
    // one byte was kept for the length: it needs more, so the content moves up
    const extra = varintSize(length) - 1;
    this.room(extra);
    this.scratch.copyWithin(open + 1 + extra, open + 1, this.at);
    const end = this.at + extra;
    this.at = open;
    this.number(length);
    this.at = end;
  }

  /**
   * The message written so far, as chunks to send one after the other, and the writer begins anew.
   *
   * @param within tag of the field of an outer message that has nothing else; 0: there is none
   */
  frame(within = 0): readonly Uint8Array[] {
    const length = this.flushed + this.at - HEADROOM;
    if (this.chunks === undefined) {
      const start = this.prefix(this.scratch, length, within);
      const message = Buffer.allocUnsafe(this.at - start);
      this.scratch.copy(message, 0, start, this.at);
      this.reset();
      return [message];
    }
    if (this.at > HEADROOM) this.flush();
    const { chunks } = this;
    const first = chunks[0] as Buffer;
    chunks[0] = first.subarray(this.prefix(first, length, within));
    this.reset();
    return chunks;
  }

  /** The message written so far, without a prefix; only for messages without chunks. */
  message(): Buffer {
    const message = Buffer.from(this.scratch.subarray(HEADROOM, this.at));
    this.reset();
    return message;
  }

  /** Forgets what was written. */
  reset(): void {
    this.at = HEADROOM;
    this.flushed = 0;
    this.chunks = undefined;
    if (this.scratch.length > 16 * FIRST_SIZE) this.resize(FIRST_SIZE);
  }

  /** Writes the prefix before the message, from the back; gives its start. */
  private prefix(target: Buffer, messageLength: number, within: number): number {
    let start = HEADROOM;
    let length = messageLength;
    if (within !== 0) {
      const size = 1 + varintSize(length);
      start -= size;
      target[start] = within;
      let rest = length;
      let at = start + 1;
      for (; rest > 0x7f; rest = Math.floor(rest / 128)) target[at++] = (rest & 0x7f) | 0x80;
      target[at] = rest;
      length += size;
    }
    start -= PREFIX_BYTES;
    target[start] = 0;
    target.writeUInt32BE(length, start + 1);
    return start;
  }

  /** Moves what is in the scratch buffer to a chunk of its own. The first keeps the headroom. */
  private flush(): void {
    const first = this.chunks === undefined;
    const start = first ? 0 : HEADROOM;
    const chunk = Buffer.allocUnsafe(this.at - start);
    this.scratch.copy(chunk, 0, start, this.at);
    (this.chunks ??= []).push(chunk);
    this.flushed += this.at - HEADROOM;
    this.at = HEADROOM;
  }

  /** Writes length and text where the text is ASCII; else writes nothing. */
  private ascii(text: string): boolean {
    const { scratch } = this;
    const { length } = text;
    const start = this.at + 1;
    for (let i = 0; i < length; i++) {
      const code = text.charCodeAt(i);
      if (code > 0x7f) return false;
      scratch[start + i] = code;
    }
    scratch[this.at] = length;
    this.at = start + length;
    return true;
  }

  private number(value: number): void {
    const { scratch } = this;
    let rest = value;
    while (rest > 0x7f) {
      scratch[this.at++] = (rest & 0x7f) | 0x80;
      rest = Math.floor(rest / 128);
    }
    scratch[this.at++] = rest;
  }

  private wide(value: number | bigint): void {
    if (typeof value === 'number' && value >= 0 && value <= 0xffffffff) return this.number(value);
    let rest = BigInt.asUintN(64, BigInt(value));
    while (rest > 0x7fn) {
      this.scratch[this.at++] = Number(rest & 0x7fn) | 0x80;
      rest >>= 7n;
    }
    this.scratch[this.at++] = Number(rest);
  }

  private room(size: number): void {
    if (this.at + size > this.scratch.length) this.resize(Math.max(2 * this.scratch.length, this.at + size));
  }

  private resize(size: number): void {
    const larger = Buffer.allocUnsafeSlow(size);
    this.scratch.copy(larger, 0, 0, Math.min(this.at, size));
    this.scratch = larger;
    this.view = new DataView(larger.buffer, larger.byteOffset, larger.byteLength);
  }
}

/** An encoded message with its gRPC prefix, as a frame of one chunk. */
export function frameOf(message: Uint8Array): readonly Uint8Array[] {
  const framed = Buffer.allocUnsafe(PREFIX_BYTES + message.length);
  framed[0] = 0;
  framed.writeUInt32BE(message.length, 1);
  framed.set(message, PREFIX_BYTES);
  return [framed];
}

export function frameLength(frame: readonly Uint8Array[]): number {
  let length = 0;
  for (const chunk of frame) length += chunk.length;
  return length;
}

function varintSize(value: number): number {
  let size = 1;
  for (let rest = value; rest > 0x7f; rest = Math.floor(rest / 128)) size++;
  return size;
}
