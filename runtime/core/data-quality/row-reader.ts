/** A row as people and programs give it, by column, as a row of the feature store: every value of its declared type, or a refusal that says why not. */
import { type Refusal, shownValue } from './row-check';
import { type EntityKeySchema, type FeatureDtype, type FeatureGroupSchema, type FeatureSchema, type FeatureValue, OfflineColumn } from '../../../src/contract';
import { canonicalValue } from '../feature-row';
import type { FeatureWrite } from '../ports';

/** Columns by name: entity keys, features, `event_time`, and `created_time` if it is known. */
export type FeatureRecord = Readonly<Record<string, unknown>>;

const { EVENT_TIME, CREATED_TIME } = OfflineColumn;
const ISO_TIME = /^(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d(?::\d\d(?:\.\d+)?)?)\s*(Z|[+-]\d\d(?::?\d\d)?)?)?$/;
const NOT_FINITE = /^[+-]?(nan|inf|infinity)$/i;
const INTEGER = /^[+-]?\d+(\.0*)?$/;
const DECIMAL = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i;

/** @param now what `created_time` is where the record has none, milliseconds since the epoch */
export function readRow(group: FeatureGroupSchema, record: FeatureRecord, now: number): FeatureWrite | Refusal {
  const known = new Set([...group.entityKeys, ...group.features].map(({ name }) => name).concat(EVENT_TIME, CREATED_TIME));
  for (const [name, value] of Object.entries(record)) {
    if (!known.has(name) && absent(value) === false) {
      return { reason: 'UNKNOWN_FEATURE', column: name, text: `feature group '${group.name}' declares no '${name}'` };
    }
  }
  const entity: string[] = [];
  for (const key of group.entityKeys) {
    const part = keyPart(key, record[key.name]);
    if (typeof part !== 'string') return part;
    entity.push(part);
  }
  const eventTime = timeOf(EVENT_TIME, record[EVENT_TIME]);
  if (typeof eventTime !== 'number') return eventTime;
  const createdTime = timeOf(CREATED_TIME, record[CREATED_TIME] ?? now);
  if (typeof createdTime !== 'number') return createdTime;
  const values: Record<string, FeatureValue | null> = {};
  for (const feature of group.features) {
    const value = record[feature.name];
    if (absent(value)) continue;
    const refusal = misfit(feature, value);
    if (refusal) return refusal;
    values[feature.name] = canonicalValue(feature, value as FeatureValue);
  }
  return { group, entity, eventTime, createdTime, values };
}

export const isRefusal = (read: FeatureWrite | Refusal): read is Refusal => 'reason' in read;

/**
 * The value that a text stands for, by the rules of files: whole numbers may be written `3.0`, truth values `true`, `false`, `1` and `0`.
 * A text that stands for none comes back as it is, and {@link readRow} says what is wrong with it.
 */
export function valueOfText(dtype: FeatureDtype, text: string): FeatureValue {
  switch (dtype) {
    case 'string':
      return text;
    case 'bool':
      return ({ true: true, 1: true, false: false, 0: false } as Record<string, boolean>)[text.toLowerCase()] ?? text;
    case 'int32':
    case 'int64': {
      if (!INTEGER.test(text)) return text;
      const whole = BigInt(text.replace(/\.0*$/, '').replace(/^\+/, ''));
      return Number.isSafeInteger(Number(whole)) ? Number(whole) : whole.toString();
    }
    case 'float32':
    case 'float64':
      if (NOT_FINITE.test(text)) return NaN;
      return DECIMAL.test(text) ? Number(text) : text;
  }
}

/** Why a text of a file stands for no value of its type. */
export function misfitOfText(column: { readonly name: string; readonly dtype: FeatureDtype; readonly piiClass?: FeatureSchema['piiClass'] }, text: string): Refusal {
  const { name, dtype, piiClass = 'none' } = column;
  return misfit({ name, dtype, piiClass }, valueOfText(dtype, text)) ?? wrongType(`'${name}'`, name, dtype, shownValue({ piiClass }, text));
}

/** Milliseconds since the epoch: of ISO 8601 (UTC where it names no offset), a Date, or epoch seconds (below 1e11) or milliseconds. */
export function timeOf(column: string, value: unknown): number | Refusal {
  if (absent(value)) return { reason: 'MISSING_TIME', column, text: `'${column}' has no value` };
  const time = value instanceof Date ? value.getTime() : typeof value === 'number' ? epoch(value) : typeof value === 'string' ? timeOfText(value) : NaN;
  if (Number.isSafeInteger(time)) return time;
  return wrongType(`'${column}'`, column, 'a time (ISO 8601, or epoch seconds or milliseconds)', shownValue({ piiClass: 'none' }, value));
}

function epoch(value: number): number {
  if (Math.abs(value) < 1e11) return Math.round(value * 1000);
  return Math.abs(value) < 1e14 ? Math.round(value) : NaN;
}

function timeOfText(text: string): number {
  const iso = ISO_TIME.exec(text.trim());
  if (!iso) return DECIMAL.test(text.trim()) ? epoch(Number(text)) : NaN;
  const [, date, time = '00:00', zone = 'Z'] = iso;
  if (!isDate(date)) return NaN;
  const offset = zone === 'Z' || zone.includes(':') ? zone : `${zone.slice(0, 3)}:${zone.slice(3) || '00'}`;
  return Date.parse(`${date}T${time}${offset}`);
}

/** Whether the calendar has the day: `Date` takes 30 February for 2 March. @param date YYYY-MM-DD */
function isDate(date: string): boolean {
  const midnight = Date.parse(`${date}T00:00:00Z`);
  return !Number.isNaN(midnight) && new Date(midnight).toISOString().startsWith(date);
}

function keyPart({ name, dtype }: EntityKeySchema, value: unknown): string | Refusal {
  if (absent(value)) return { reason: 'MISSING_KEY', column: name, text: `entity key '${name}' has no value` };
  if (dtype === 'string' && typeof value === 'string') return value;
  if (dtype === 'int64') {
    const whole = typeof value === 'bigint' ? value.toString() : typeof value === 'string' ? valueOfText('int64', value) : value;
    if (misfit({ name, dtype, piiClass: 'none' }, whole) === undefined) return String(canonicalValue({ name, dtype }, whole as FeatureValue));
  }
  // a key names somebody: its value is not shown
  return wrongType(`entity key '${name}'`, name, dtype, '');
}

function misfit(feature: Pick<FeatureSchema, 'name' | 'dtype' | 'piiClass'>, value: unknown): Refusal | undefined {
  const { name, dtype } = feature;
  if (typeof value === 'number' && dtype !== 'string' && dtype !== 'bool') {
    const kept = dtype === 'float32' ? Math.fround(value) : value;
    if (!Number.isFinite(kept)) return { reason: 'NOT_FINITE', column: name, text: `feature '${name}' must be a finite ${dtype}${shownValue(feature, value)}` };
  }
  try {
    canonicalValue(feature, value as FeatureValue);
    return undefined;
  } catch {
    return wrongType(`feature '${name}'`, name, dtype, shownValue(feature, typeof value === 'bigint' ? value.toString() : value));
  }
}

const wrongType = (what: string, column: string, type: string, got: string): Refusal => ({ reason: 'WRONG_TYPE', column, text: `${what} must be ${type}${got}` });

const absent = (value: unknown): boolean => value === null || value === undefined;
