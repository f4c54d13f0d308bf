/**
 * Numbers of float32 tensors in JSON: few digits that every reader takes for the same float32, whether it parses into a float32 or into a
 * double and narrows that, as NumPy does. The exact double of a float32 has up to 17 digits, more than twice as many.
 *
 * Nine digits always suffice, seven or eight mostly do (R. Steele and J. White, "How to Print Floating-Point Numbers Accurately", 1990).
 */
/* eslint-disable no-bitwise -- 32-bit integers are what the engine computes with fastest */

const LARGEST_POWER = 22;
const POWERS = Array.from({ length: LARGEST_POWER + 1 }, (_, exponent) => Number(`1e${exponent}`));
const DIGITS = [7, 8, 9];
/** Below this every float32 that is whole has at most seven digits. */
const SMALL_WHOLE = 1e7;

/** Decimal form of a magnitude: `significand / 10^places`; written by {@link decimalOf}, valid until its next call. */
export const decimal = { significand: 0, places: 0 };

/** Writes the short form of a positive finite float32 to {@link decimal}. False: there is none with powers of ten that are exact as doubles. */
export function decimalOf(magnitude: number): boolean {
  if (magnitude < SMALL_WHOLE && magnitude === Math.floor(magnitude)) {
    decimal.significand = magnitude;
    decimal.places = 0;
    return true;
  }
  const exponent = Math.floor(Math.log10(magnitude));
  for (let i = 0; i < DIGITS.length; i++) {
    const places = DIGITS[i] - 1 - exponent;
    if (places > LARGEST_POWER || places < 0) return false;
    const power = POWERS[places];
    const significand = Math.round(magnitude * power);
    // what a reader's double is: both operands are exact, so the quotient is rounded once
    const read = significand / power;
    // a little further off still reads the same: not on the edge, where a direct parse and one through a double differ
    if (Math.fround(read) === magnitude && Math.fround(read + (read - magnitude) * 1e-4) === magnitude) {
      decimal.significand = significand;
      decimal.places = places;
      return true;
    }
  }
  return false;
}

/** A double with few digits that narrows to the finite float32 given. */
export function shortDouble(value: number): number {
  const magnitude = value < 0 ? -value : value;
  if (magnitude === 0 || !decimalOf(magnitude)) return value;
  const short = decimal.significand / POWERS[decimal.places];
  return value < 0 ? -short : short;
}

/** The text of one element. JSON has no negative zero for readers that take a number without a point for an integer, as Python's does. */
export function shortText(value: number): string {
  return value === 0 && 1 / value < 0 ? '-0.0' : String(shortDouble(value));
}

/** Bytes of one element and its comma at most: sign, 17 digits, point, exponent and its sign. */
const LONGEST = 26;

/** Writes the elements as JSON text, comma between them; the same text as {@link shortText} gives. Every element must be finite. */
export function writeShortFloats(values: Float32Array): Buffer {
  let out = Buffer.allocUnsafe(Math.max(1024, values.length * 12));
  let at = 0;
  for (let i = 0; i < values.length; i++) {
    if (at + LONGEST > out.length) {
      const larger = Buffer.allocUnsafe(Math.ceil(out.length * 1.5) + LONGEST);
      out.copy(larger, 0, 0, at);
      out = larger;
    }
    if (i > 0) out[at++] = 0x2c;
    const value = values[i];
    // powers of ten as JavaScript writes them: with an exponent below 1e-6
    if (value === 0 || (value < 1e-6 && value > -1e-6) || !decimalOf(value < 0 ? -value : value)) {
      at += out.write(shortText(value), at, 'latin1');
      continue;
    }
    if (value < 0) out[at++] = 0x2d;
    at = writeDecimal(out, at, decimal.significand, decimal.places);
  }
  return out.subarray(0, at);
}

/** Writes `significand / 10^places` without trailing zeros; the significand has at most nine digits. */
function writeDecimal(out: Buffer, start: number, significand: number, places: number): number {
  let rest = significand | 0;
  let behind = places;
  while (behind > 0) {
    const tenth = (rest / 10) | 0;
    if (rest !== tenth * 10) break;
    rest = tenth;
    behind--;
  }
  let digits = 1;
  for (let power = 10; rest >= power && digits < 10; power *= 10) digits++;
  // a zero before the point, and zeros behind it
  const width = digits > behind ? digits : behind + 1;
  const end = start + width + (behind > 0 ? 1 : 0);
  let at = end;
  for (let i = 0; i < width; i++) {
    if (i === behind && behind > 0) out[--at] = 0x2e;
    const tenth = (rest / 10) | 0;
    out[--at] = 0x30 + rest - tenth * 10;
    rest = tenth;
  }
  return end;
}
