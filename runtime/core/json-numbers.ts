/**
 * Rows of numbers, read from JSON text straight into typed arrays.
 *
 * Floating-point values are those of JSON.parse bit for bit. A significand of at most 15 digits and a power of ten of at most 22 are both
 * exact as doubles, so that one division or multiplication rounds correctly (W. Clinger, "How to Read Floating Point Numbers Accurately",
 * 1990). Up to 18 digits, which Python and JavaScript write, the division is done in double-double arithmetic (T. Dekker, "A Floating-Point
 * Technique for Extending the Available Precision", 1971), and its result taken where the error bound leaves no doubt. Number() has the rest.
 *
 * Every function begins behind the `[` of a row, reads `to - from` elements and the `]`, and gives the place behind it; or -1 where the row is
 * anything else, after having noted the element in {@link mismatch}. The bytes end with `}` (see JsonScanner).
 */
/* eslint-disable no-bitwise -- 32-bit integers are what the engine computes with fastest */
import { CLOSE_ARRAY, COMMA, JsonScanner } from './json-scanner';

/** Where the last row that was not read went wrong: the element, and the byte at which it begins. */
export const mismatch = { element: 0, at: 0 };

const EXACT_DIGITS = 15;
const LARGEST_POWER = 22;
const POWERS = Float64Array.from({ length: LARGEST_POWER + 1 }, (_, exponent) => Number(`1e${exponent}`));
/** Dekker's split of the powers into halves of 26 bits, whose products are exact. */
const SPLITTER = 2 ** 27 + 1;
const POWERS_HIGH = POWERS.map((power) => power * SPLITTER - (power * SPLITTER - power));
const POWERS_LOW = POWERS.map((power, exponent) => power - POWERS_HIGH[exponent]);
/** More than the relative error of a quotient of 18 digits, and of its correction. */
const QUOTIENT_DOUBT = 2 ** -50;
const CORRECTION_DOUBT = 2 ** -48;
/** What rounds to an infinity as a float32: the largest float32 and half a unit of its last place. */
const FLOAT32_LIMIT = 2 ** 128 - 2 ** 103;

/** Fails on what is no finite value of the array's type. */
export function readFloats(bytes: Buffer, start: number, out: Float32Array | Float64Array, from: number, to: number): number {
  const single = out instanceof Float32Array;
  const limit = single ? FLOAT32_LIMIT : Infinity;
  let at = start;
  for (let i = from; i < to; i++) {
    let byte = bytes[at];
    while (byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09) byte = bytes[++at];
    const begin = at;
    const negative = byte === 0x2d;
    if (negative) byte = bytes[++at];

    // the first nine significant digits, the next nine, their number, and how many stand behind the point
    let high = 0;
    let low = 0;
    let digits = 0;
    let scale = 0;
    if (byte === 0x30) {
      byte = bytes[++at];
    } else {
      if (byte < 0x31 || byte > 0x39) return refuseRow(i, begin);
      do {
        if (digits < 9) high = (high * 10 + byte - 0x30) | 0;
        else if (digits < 18) low = (low * 10 + byte - 0x30) | 0;
        digits++;
        byte = bytes[++at];
      } while (byte >= 0x30 && byte <= 0x39);
    }
    if (byte === 0x2e) {
      byte = bytes[++at];
      if (byte < 0x30 || byte > 0x39) return refuseRow(i, begin);
      const point = at;
      if (digits === 0) while (byte === 0x30) byte = bytes[++at];
      while (digits < 9 && byte >= 0x30 && byte <= 0x39) {
        high = (high * 10 + byte - 0x30) | 0;
        digits++;
        byte = bytes[++at];
      }
      while (byte >= 0x30 && byte <= 0x39) {
        if (digits < 18) low = (low * 10 + byte - 0x30) | 0;
        digits++;
        byte = bytes[++at];
      }
      scale = at - point;
    }
    if (byte === 0x65 || byte === 0x45) {
      byte = bytes[++at];
      const below = byte === 0x2d;
      if (below || byte === 0x2b) byte = bytes[++at];
      if (byte < 0x30 || byte > 0x39) return refuseRow(i, begin);
      let exponent = 0;
      do {
        if (exponent < 100000) exponent = exponent * 10 + byte - 0x30;
        byte = bytes[++at];
      } while (byte >= 0x30 && byte <= 0x39);
      scale += below ? exponent : -exponent;
    }

    let value: number;
    if (digits <= EXACT_DIGITS && scale <= LARGEST_POWER && scale >= -LARGEST_POWER) {
      const significand = digits <= 9 ? high : high * POWERS[digits - 9] + low;
      value = scale >= 0 ? significand / POWERS[scale] : significand * POWERS[-scale];
    } else if (digits > EXACT_DIGITS && digits <= 18 && scale >= 0 && scale <= LARGEST_POWER) {
      // nine digits times at most 10^9 need 51 bits: exact
      const upper = high * POWERS[digits - 9];
      const significand = upper + low;
      const power = POWERS[scale];
      value = significand / power;
      // as a float32, a value is beyond doubt unless it lies next to the middle of two
      if (!single || Math.fround(value * (1 + QUOTIENT_DOUBT)) !== Math.fround(value * (1 - QUOTIENT_DOUBT))) {
        const product = value * power;
        const split = value * SPLITTER;
        const valueHigh = split - (split - value);
        const valueLow = value - valueHigh;
        const productError = ((valueHigh * POWERS_HIGH[scale] - product) + valueHigh * POWERS_LOW[scale] + valueLow * POWERS_HIGH[scale])
          + valueLow * POWERS_LOW[scale];
        const correction = (significand - product - productError + (low - (significand - upper))) / power;
        const least = value + correction * (1 - CORRECTION_DOUBT);
        value += correction * (1 + CORRECTION_DOUBT);
        if (least !== value) value = Math.abs(Number(bytes.toString('latin1', begin, at)));
      }
    } else {
      value = Math.abs(Number(bytes.toString('latin1', begin, at)));
    }
    if (value >= limit) return refuseRow(i, begin);
    out[i] = negative ? -value : value;

    while (byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09) byte = bytes[++at];
    if (byte !== (i + 1 < to ? COMMA : CLOSE_ARRAY)) return refuseRow(i, begin);
    at++;
  }
  return from < to ? at : endOfEmptyRow(bytes, at, from);
}

/** One loop for six types of array would make its stores slow: they go through a block of doubles, which hold every 32-bit integer. */
const BLOCK = new Float64Array(1024);

/** Fails on what is no integer from `least` to `most`. `1.0` and `1e2` are integers. */
export function readIntegers(
  bytes: Buffer, start: number, out: { set(values: Float64Array, offset: number): void }, from: number, to: number, least: number, most: number,
): number {
  let at = start;
  let filled = 0;
  for (let i = from; i < to; i++) {
    let byte = bytes[at];
    while (byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09) byte = bytes[++at];
    const begin = at;
    const negative = byte === 0x2d;
    if (negative) byte = bytes[++at];
    let value = 0;
    while (byte >= 0x30 && byte <= 0x39 && at - begin < 12) {
      value = value * 10 + byte - 0x30;
      byte = bytes[++at];
    }
    if (negative) value = -value;
    if ((byte !== COMMA && byte !== CLOSE_ARRAY) || !isPlain(bytes, begin, at)) {
      const end = numberEnd(bytes, begin);
      if (end < 0) return refuseRow(i, begin);
      value = Number(bytes.toString('latin1', begin, end));
      at = end;
      byte = bytes[at];
      while (byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09) byte = bytes[++at];
    }
    // also NaN-free: a number of JSON is none
    if (value < least || value > most || !Number.isInteger(value)) return refuseRow(i, begin);
    if (byte !== (i + 1 < to ? COMMA : CLOSE_ARRAY)) return refuseRow(i, begin);
    at++;
    BLOCK[filled++] = value;
    if (filled === BLOCK.length || i + 1 === to) {
      out.set(filled === BLOCK.length ? BLOCK : BLOCK.subarray(0, filled), i + 1 - filled);
      filled = 0;
    }
  }
  return from < to ? at : endOfEmptyRow(bytes, at, from);
}

const DECIMAL = /^-?(0|[1-9][0-9]{0,19})$/;
const TWO_TO_32 = 2 ** 32;

/**
 * Fails on what is no integer of 64 bits. All digits count, in a number and in a string alike: unlike JSON.parse, nothing is rounded
 * beyond 2^53. A number with a point or an exponent is taken up to 2^53.
 */
export function readWideIntegers(bytes: Buffer, start: number, out: BigInt64Array | BigUint64Array, from: number, to: number): number {
  const unsigned = out instanceof BigUint64Array;
  const least = unsigned ? 0n : -(2n ** 63n);
  const most = unsigned ? 2n ** 64n - 1n : 2n ** 63n - 1n;
  // a BigInt for each element is several times slower than its two halves
  const halves = new Uint32Array(out.buffer, out.byteOffset, out.length * 2);
  let at = start;
  for (let i = from; i < to; i++) {
    let byte = bytes[at];
    while (byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09) byte = bytes[++at];
    const begin = at;
    const negative = byte === 0x2d;
    if (negative) byte = bytes[++at];
    let value = 0;
    while (byte >= 0x30 && byte <= 0x39 && at - begin < 15) {
      value = value * 10 + byte - 0x30;
      byte = bytes[++at];
    }
    if (negative) value = -value;
    if ((byte === COMMA || byte === CLOSE_ARRAY) && isPlain(bytes, begin, at)) {
      if (unsigned && value < 0) return refuseRow(i, begin);
      halves[i * 2] = value;
      halves[i * 2 + 1] = Math.floor(value / TWO_TO_32);
    } else {
      const scanner = new JsonScanner(bytes);
      scanner.at = begin;
      const wide = readWide(scanner);
      if (wide === undefined || wide < least || wide > most) return refuseRow(i, begin);
      out[i] = wide;
      byte = scanner.peek();
      at = scanner.at;
    }
    if (byte !== (i + 1 < to ? COMMA : CLOSE_ARRAY)) return refuseRow(i, begin);
    at++;
  }
  return from < to ? at : endOfEmptyRow(bytes, at, from);
}

function readWide(scanner: JsonScanner): bigint | undefined {
  if (scanner.bytes[scanner.at] === 0x22) {
    const text = scanner.string();
    return DECIMAL.test(text) ? BigInt(text) : undefined;
  }
  const end = numberEnd(scanner.bytes, scanner.at);
  if (end < 0) return undefined;
  const text = scanner.bytes.toString('latin1', scanner.at, end);
  scanner.at = end;
  if (DECIMAL.test(text)) return BigInt(text);
  const value = Number(text);
  return Number.isSafeInteger(value) ? BigInt(value) : undefined;
}

/** Whether these are an optional sign and digits without a leading zero. */
function isPlain(bytes: Uint8Array, begin: number, end: number): boolean {
  const first = bytes[begin] === 0x2d ? begin + 1 : begin;
  return end > first && (bytes[first] !== 0x30 || end === first + 1);
}

/** Where the number ends that begins here; -1: none does. */
export function numberEnd(bytes: Buffer, begin: number): number {
  const first = bytes[begin];
  if (first !== 0x2d && (first < 0x30 || first > 0x39)) return -1;
  const scanner = new JsonScanner(bytes);
  scanner.at = begin;
  try {
    scanner.skip();
  } catch {
    return -1;
  }
  return scanner.at;
}

export function endOfEmptyRow(bytes: Uint8Array, start: number, from: number): number {
  let at = start;
  while (bytes[at] === 0x20 || bytes[at] === 0x0a || bytes[at] === 0x0d || bytes[at] === 0x09) at++;
  return bytes[at] === CLOSE_ARRAY ? at + 1 : refuseRow(from, at);
}

export function refuseRow(element: number, at: number): -1 {
  mismatch.element = element;
  mismatch.at = at;
  return -1;
}
