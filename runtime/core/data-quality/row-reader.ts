/**
 * A row as people and programs give it, by column, as a row of the feature store: every value of its declared type, or a refusal that says why not.
 * The rules are those of files, which DuckDB reads (`table-import.ts`): a test holds both to one table of cases.
 */
import { type Refusal, shownValue } from './row-check';
import { timeOfNumber, timeOfText, valueOfText } from './value-texts';
import { type EntityKeySchema, type FeatureGroupSchema, type FeatureSchema, type FeatureValue, OfflineColumn } from '../../../src/contract';
import { canonicalValue, isWellFormed } from '../feature-row';
import type { FeatureWrite } from '../ports';

/** Columns by name: entity keys, features, `event_time`, and `created_time` if it is known. */
export type FeatureRecord = Readonly<Record<string, unknown>>;

const { EVENT_TIME, CREATED_TIME } = OfflineColumn;

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
    const given = record[feature.name];
    if (absent(given)) continue;
    const value = meant(feature, given);
    const refusal = misfit(feature, value);
    if (refusal) return refusal;
    values[feature.name] = canonicalValue(feature, value as FeatureValue);
  }
  return { group, entity, eventTime, createdTime, values };
}

export const isRefusal = (read: FeatureWrite | Refusal): read is Refusal => 'reason' in read;

/** Milliseconds since the epoch: of ISO 8601 (UTC where it names no offset), a Date, or epoch seconds (below 1e11) or milliseconds. */
export function timeOf(column: string, value: unknown): number | Refusal {
  if (absent(value)) return { reason: 'MISSING_TIME', column, text: `'${column}' has no value` };
  const time = value instanceof Date ? value.getTime() : typeof value === 'number' ? timeOfNumber(value) : typeof value === 'string' ? timeOfText(value) : NaN;
  if (Number.isSafeInteger(time)) return time;
  return wrongType(`'${column}'`, column, 'a time (ISO 8601, or epoch seconds or milliseconds)', shownValue({ piiClass: 'none' }, value));
}

function keyPart({ name, dtype }: EntityKeySchema, value: unknown): string | Refusal {
  if (absent(value)) return { reason: 'MISSING_KEY', column: name, text: `entity key '${name}' has no value` };
  if (dtype === 'string' && typeof value === 'string') return isWellFormed(value) ? value : brokenText(`entity key '${name}'`, name);
  if (dtype === 'int64') {
    const whole = typeof value === 'bigint' ? value.toString() : typeof value === 'string' ? valueOfText('int64', value) : value;
    if (misfit({ name, dtype, piiClass: 'none' }, whole) === undefined) return String(canonicalValue({ name, dtype }, whole as FeatureValue));
  }
  // a key names somebody: its value is not shown
  return wrongType(`entity key '${name}'`, name, dtype, '');
}

/** What a text or a 0 or 1 stands for; anything else is itself. */
function meant({ dtype }: Pick<FeatureSchema, 'dtype'>, value: unknown): unknown {
  if (typeof value === 'string') return valueOfText(dtype, value);
  return dtype === 'bool' && typeof value === 'number' ? valueOfText(dtype, String(value)) : value;
}

function misfit(feature: Pick<FeatureSchema, 'name' | 'dtype' | 'piiClass'>, value: unknown): Refusal | undefined {
  const { name, dtype } = feature;
  if (typeof value === 'number' && dtype !== 'string' && dtype !== 'bool') {
    const kept = dtype === 'float32' ? Math.fround(value) : value;
    if (!Number.isFinite(kept)) return { reason: 'NOT_FINITE', column: name, text: `feature '${name}' must be a finite ${dtype}${shownValue(feature, value)}` };
  }
  if (typeof value === 'string' && !isWellFormed(value)) return brokenText(`feature '${name}'`, name);
  try {
    canonicalValue(feature, value as FeatureValue);
    return undefined;
  } catch {
    return wrongType(`feature '${name}'`, name, dtype, shownValue(feature, typeof value === 'bigint' ? value.toString() : value));
  }
}

const wrongType = (what: string, column: string, type: string, got: string): Refusal => ({ reason: 'WRONG_TYPE', column, text: `${what} must be ${type}${got}` });

/** It would be written online, and no file of UTF-8 could hold it offline. */
const brokenText = (what: string, column: string): Refusal => ({ reason: 'WRONG_TYPE', column, text: `${what} holds half a surrogate pair` });

const absent = (value: unknown): boolean => value === null || value === undefined;
