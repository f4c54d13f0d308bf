/**
 * Reads JSON (RFC 8259) from its bytes, value by value, without building what nobody asks for.
 *
 * The caller has checked that the bytes are UTF-8 and that the last one is `}`: every loop but that over a string ends there, so that no
 * read leaves the array (one that does costs V8 its optimized code).
 */
/* eslint-disable no-bitwise -- 32-bit integers are what the engine computes with fastest */
import { refuse } from './errors';

/** Levels of nesting that are read (RFC 8259 §9 lets a reader set a limit): far beyond any tensor, far below any stack. */
export const MAX_DEPTH = 128;

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
export const COMMA = 0x2c;
export const COLON = 0x3a;
export const OPEN_ARRAY = 0x5b;
export const CLOSE_ARRAY = 0x5d;
export const OPEN_OBJECT = 0x7b;
export const CLOSE_OBJECT = 0x7d;

/** Short strings that come in every request (keys, datatypes, names of tensors), so that each is made once. A slot holds the last that hashed to it. */
const SLOTS = 512;
const LONGEST_INTERNED = 32;
const interned: string[] = new Array<string>(SLOTS).fill('');

export class JsonScanner {
  /** The next byte to read. */
  at = 0;

  constructor(readonly bytes: Buffer) {}

  /** The next byte that is no white space. */
  peek(): number {
    const { bytes } = this;
    if (this.at >= bytes.length) this.fail();
    let byte = bytes[this.at];
    while (byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09) byte = bytes[++this.at];
    return byte;
  }

  /** Whether the next byte is the one given; it is taken then. */
  accept(byte: number): boolean {
    if (this.peek() !== byte) return false;
    this.at++;
    return true;
  }

  expect(byte: number): void {
    if (this.peek() !== byte) this.fail();
    this.at++;
  }

  /**
   * Goes to the next member of an object or element of an array, past its comma.
   *
   * @param first whether nothing of the container was read yet
   * @returns whether there is one; the closing bracket is taken otherwise
   */
  next(first: boolean, close: number): boolean {
    if (this.accept(close)) return false;
    if (!first) {
      this.expect(COMMA);
      if (this.peek() === close) this.fail();
    }
    return true;
  }

  /** The key of a member, and past its colon. */
  key(): string {
    const key = this.shortString();
    this.expect(COLON);
    return key;
  }

  /** A string that is likely to come again. */
  shortString(): string {
    if (this.peek() !== QUOTE) this.fail();
    const { bytes } = this;
    const start = this.at + 1;
    const limit = Math.min(start + LONGEST_INTERNED, bytes.length);
    let hash = 0;
    let at = start;
    let byte = 0;
    for (; at < limit; at++) {
      byte = bytes[at];
      if (byte === QUOTE || byte === BACKSLASH || byte < 0x20 || byte > 0x7f) break;
      hash = (Math.imul(hash, 31) + byte) | 0;
    }
    if (byte !== QUOTE || at === limit) return this.string();
    this.at = at + 1;
    const slot = hash & (SLOTS - 1);
    const known = interned[slot];
    if (isAt(bytes, start, at - start, known)) return known;
    return interned[slot] = bytes.toString('latin1', start, at);
  }

  string(): string {
    const start = this.at;
    const plain = this.skipString();
    // what skipString took is a JSON string, so this is one that JSON.parse takes
    if (plain === ESCAPED) return JSON.parse(this.bytes.toString('utf8', start, this.at)) as string;
    return plain === ASCII ? this.bytes.toString('latin1', start + 1, this.at - 1) : this.bytes.toString('utf8', start + 1, this.at - 1);
  }

  /** A number as JSON.parse reads it. */
  number(): number {
    const start = this.at;
    const { bytes } = this;
    // dimensions are such: few digits and nothing else
    let byte = bytes[start];
    if (byte > 0x30 && byte <= 0x39) {
      let value = 0;
      let at = start;
      do {
        value = value * 10 + byte - 0x30;
        byte = bytes[++at];
      } while (byte >= 0x30 && byte <= 0x39 && at - start < 9);
      if (byte === COMMA || byte === CLOSE_ARRAY) {
        this.at = at;
        return value;
      }
    }
    this.skipNumber();
    return Number(this.bytes.toString('latin1', start, this.at));
  }

  /** The text of the value at a place where one is known to be, at most 64 characters. */
  textAt(start: number): string {
    this.at = start;
    this.skip();
    return this.bytes.toString('utf8', start, Math.min(this.at, start + 64));
  }

  /** Passes a value of any kind. Fails with INVALID_JSON where there is none. */
  skip(depth = 0): void {
    const byte = this.peek();
    switch (byte) {
      case QUOTE:
        this.skipString();
        return;
      case OPEN_ARRAY:
      case OPEN_OBJECT:
        if (depth >= MAX_DEPTH) refuse('INVALID_JSON', `the body is nested deeper than ${MAX_DEPTH} levels`);
        this.at++;
        if (byte === OPEN_ARRAY) {
          for (let first = true; this.next(first, CLOSE_ARRAY); first = false) this.skip(depth + 1);
        } else {
          for (let first = true; this.next(first, CLOSE_OBJECT); first = false) {
            this.skipKey();
            this.skip(depth + 1);
          }
        }
        return;
      case 0x74:
        return this.literal('true');
      case 0x66:
        return this.literal('false');
      case 0x6e:
        return this.literal('null');
      default:
        this.skipNumber();
    }
  }

  literal(text: string): void {
    if (!isAt(this.bytes, this.at, text.length, text)) this.fail();
    this.at += text.length;
  }

  fail(): never {
    return refuse('INVALID_JSON', this.at < this.bytes.length
      ? `the body is not JSON: unexpected ${JSON.stringify(String.fromCharCode(this.bytes[this.at]))} at byte ${this.at}`
      : 'the body is not JSON: it ends too early');
  }

  private skipKey(): void {
    if (this.peek() !== QUOTE) this.fail();
    this.skipString();
    this.expect(COLON);
  }

  /** Passes a string; tells whether it is as it stands. */
  private skipString(): typeof ASCII | typeof UTF8 | typeof ESCAPED {
    const { bytes } = this;
    const end = bytes.length;
    let seen = 0;
    let escaped = false;
    let at = this.at + 1;
    for (; ; at++) {
      if (at >= end) {
        this.at = end;
        this.fail();
      }
      const byte = bytes[at];
      if (byte === QUOTE) break;
      if (byte === BACKSLASH) {
        escaped = true;
        at += this.escapeLength(at);
      } else if (byte < 0x20) {
        this.at = at;
        this.fail();
      }
      seen |= byte;
    }
    this.at = at + 1;
    return escaped ? ESCAPED : seen < 0x80 ? ASCII : UTF8;
  }

  /** Bytes of an escape after its backslash. */
  private escapeLength(at: number): number {
    const { bytes } = this;
    if (at + 1 < bytes.length && SIMPLE_ESCAPES.includes(bytes[at + 1])) return 1;
    this.at = at;
    if (at + 5 >= bytes.length || bytes[at + 1] !== 0x75) this.fail();
    for (let i = at + 2; i < at + 6; i++) if (!isHexadecimal(bytes[i])) this.fail();
    return 5;
  }

  private skipNumber(): void {
    const { bytes } = this;
    if (bytes[this.at] === 0x2d) this.at++;
    if (bytes[this.at] === 0x30) this.at++;
    else this.skipDigits();
    if (bytes[this.at] === 0x2e) {
      this.at++;
      this.skipDigits();
    }
    if ((bytes[this.at] | 0x20) === 0x65) {
      this.at++;
      if (bytes[this.at] === 0x2b || bytes[this.at] === 0x2d) this.at++;
      this.skipDigits();
    }
  }

  private skipDigits(): void {
    const { bytes } = this;
    const start = this.at;
    while (isDigit(bytes[this.at])) this.at++;
    if (this.at === start) this.fail();
  }
}

const ASCII = 0;
const UTF8 = 1;
const ESCAPED = 2;
/** `"`, `\`, `/`, b, f, n, r, t */
const SIMPLE_ESCAPES = [0x22, 0x5c, 0x2f, 0x62, 0x66, 0x6e, 0x72, 0x74];

const isDigit = (byte: number) => byte >= 0x30 && byte <= 0x39;
const isHexadecimal = (byte: number) => isDigit(byte) || ((byte | 0x20) >= 0x61 && (byte | 0x20) <= 0x66);

/** Whether the ASCII text stands in the bytes. */
function isAt(bytes: Uint8Array, start: number, length: number, text: string): boolean {
  if (text.length !== length || start + length > bytes.length) return false;
  for (let i = 0; i < length; i++) if (bytes[start + i] !== text.charCodeAt(i)) return false;
  return true;
}
