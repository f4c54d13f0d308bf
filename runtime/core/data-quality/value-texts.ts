/** What texts stand for. The patterns are those of both readers of rows, this one and DuckDB's (RE2), so that they cannot drift apart. */
import type { FeatureDtype, FeatureValue } from '../../../src/contract';

/** Spaces around a value do not count. */
const among = (value: string) => `^[ \\t\\r\\n]*${value}[ \\t\\r\\n]*$`;

/** Truth values are matched in lower case. */
export const ValuePattern = {
  /** Group 1: the whole number. Tables with gaps often hold it as `3.0`. */
  INTEGER: among('([+-]?[0-9]+)(?:\\.0*)?'),
  DECIMAL: among('[+-]?(?:[0-9]+\\.?[0-9]*|\\.[0-9]+)(?:[eE][+-]?[0-9]+)?'),
  TRUE: among('(?:true|1(?:\\.0*)?)'),
  FALSE: among('(?:false|0(?:\\.0*)?)'),
  /**
   * ISO 8601, the year first. Groups: year, month, day, hour, minute, second, milliseconds, hours and minutes of the offset; only the first three are sure.
   * Of zone names only those of UTC: another names two instants where clocks are set back.
   */
  TIME: among('([0-9]{4})[-/]([0-9]{1,2})[-/]([0-9]{1,2})(?:[T ]([0-9]{1,2}):([0-9]{1,2})(?::([0-9]{1,2})(?:\\.([0-9]{0,3})[0-9]*)?)?'
    + ' ?(?:Z|UTC|GMT|([+-](?:0[0-9]|1[0-5]))(?::?([0-5][0-9]))?)?)?'),
} as const;

const INTEGER = new RegExp(ValuePattern.INTEGER);
const DECIMAL = new RegExp(ValuePattern.DECIMAL);
const TRUE = new RegExp(ValuePattern.TRUE);
const FALSE = new RegExp(ValuePattern.FALSE);
const TIME = new RegExp(ValuePattern.TIME);
const NOT_FINITE = new RegExp(among('[+-]?(?:nan|inf|infinity)'), 'i');

/** The value of a type that a text stands for; a text that stands for none comes back as it is. NaN: a number that is not finite. */
export function valueOfText(dtype: FeatureDtype, text: string): FeatureValue {
  switch (dtype) {
    case 'string':
      return text;
    case 'bool':
      return TRUE.test(text.toLowerCase()) || (FALSE.test(text.toLowerCase()) ? false : text);
    case 'int32':
    case 'int64': {
      const digits = INTEGER.exec(text)?.[1];
      if (digits === undefined) return text;
      const whole = BigInt(digits.replace('+', ''));
      return Number.isSafeInteger(Number(whole)) ? Number(whole) : whole.toString();
    }
    case 'float32':
    case 'float64':
      return NOT_FINITE.test(text) ? NaN : numberOf(text) ?? text;
  }
}

/** Milliseconds since the epoch, of ISO 8601 (UTC where it names no offset) or of epoch seconds or milliseconds; NaN where the text is no time. */
export function timeOfText(text: string): number {
  const number = numberOf(text);
  if (number !== undefined) return timeOfNumber(number);
  const found = TIME.exec(text);
  if (!found) return NaN;
  const [year, month, day, hour, minute, second] = found.slice(1, 7).map((part = '') => part.padStart(2, '0'));
  const [milliseconds, hours, minutes] = found.slice(7);
  const date = `${year}-${month}-${day}`;
  return isDate(date) ? Date.parse(`${date}T${hour}:${minute}:${second}.${milliseconds || '0'}${hours ?? '+00'}:${minutes ?? '00'}`) : NaN;
}

/** Milliseconds since the epoch of epoch seconds (below 1e11, the year 5138) or milliseconds (from there, 1973, to 1e14); else NaN. */
export function timeOfNumber(value: number): number {
  if (Math.abs(value) < 1e11) return rounded(value * 1000);
  return Math.abs(value) < 1e14 ? rounded(value) : NaN;
}

/** Halves go away from 0, as in SQL. */
const rounded = (value: number) => Math.sign(value) * Math.round(Math.abs(value)) + 0;

const numberOf = (text: string) => (DECIMAL.test(text) ? Number(text) : undefined);

/** Whether the calendar has the day: `Date` takes 30 February for 2 March. @param date YYYY-MM-DD */
function isDate(date: string): boolean {
  const midnight = Date.parse(`${date}T00:00:00Z`);
  return !Number.isNaN(midnight) && new Date(midnight).toISOString().startsWith(date);
}
