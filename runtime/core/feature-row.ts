/** Feature values and rows in canonical form, and which of two rows wins (DESIGN §4.4): the same rule online and offline. */
import { createHash, hash } from 'node:crypto';
import { refuse } from './errors';
import type { FeatureRow } from './ports';
import type { FeatureGroupSchema, FeatureSchema, FeatureValue } from '../../src/contract';

const INT32_LEAST = -(2 ** 31);
const INT32_MOST = 2 ** 31 - 1;
const INT64_LEAST = -(2n ** 63n);
const INT64_MOST = 2n ** 63n - 1n;
const DECIMAL = /^-?(0|[1-9][0-9]{0,18})$/;

/** Whether UTF-8 can hold a text: half a surrogate pair it cannot. */
export const isWellFormed = (text: string): boolean => !/\p{Surrogate}/u.test(text);

/**
 * The one form of a value: float32 is rounded to single precision, an int64 is a number while that is exact and a decimal string beyond,
 * -0 is 0. Fails with INVALID_FEATURE_ROW where the value does not fit the dtype.
 */
export function canonicalValue(feature: Pick<FeatureSchema, 'name' | 'dtype'>, value: FeatureValue): FeatureValue {
  switch (feature.dtype) {
    case 'bool':
      if (typeof value === 'boolean') return value;
      break;
    case 'string':
      if (typeof value === 'string') return value;
      break;
    case 'int32':
      if (typeof value === 'number' && Number.isInteger(value) && value >= INT32_LEAST && value <= INT32_MOST) return value + 0;
      break;
    case 'int64':
      if (typeof value === 'number' && Number.isSafeInteger(value)) return value + 0;
      if (typeof value === 'string' && DECIMAL.test(value)) {
        const wide = BigInt(value);
        if (wide >= INT64_LEAST && wide <= INT64_MOST) return Number.isSafeInteger(Number(wide)) ? Number(wide) : wide.toString();
      }
      break;
    case 'float32':
      if (typeof value === 'number' && Number.isFinite(Math.fround(value))) return Math.fround(value) + 0;
      break;
    case 'float64':
      if (typeof value === 'number' && Number.isFinite(value)) return value + 0;
      break;
  }
  return refuse('INVALID_FEATURE_ROW', `feature '${feature.name}' is ${feature.dtype}, and ${JSON.stringify(value)} is none`, { feature: feature.name });
}

/** The row's values in canonical form, without nulls. Fails with INVALID_FEATURE_ROW on a feature that the group does not have. */
export function canonicalValues(group: FeatureGroupSchema, values: FeatureRow['values']): Record<string, FeatureValue> {
  const known = new Map(group.features.map((feature) => [feature.name, feature]));
  const canonical: Record<string, FeatureValue> = {};
  for (const name of Object.keys(values).sort()) {
    const feature = known.get(name) ?? refuse('INVALID_FEATURE_ROW', `feature group '${group.name}' has no feature '${name}'`, { group: group.name });
    const value = values[name];
    if (value !== null && value !== undefined) canonical[name] = canonicalValue(feature, value);
  }
  return canonical;
}

/** SHA-256 (hexadecimal) over the canonical values in the order of their names: the last tie-break between two rows of one instant. */
export function rowDigest(group: FeatureGroupSchema, values: FeatureRow['values']): string {
  return digestOf(Object.entries(canonicalValues(group, values)));
}

function digestOf(entries: readonly (readonly [string, FeatureValue])[]): string {
  return createHash('sha256').update(JSON.stringify(entries)).digest('hex');
}

/**
 * The same for many rows of one group: {@link rowDigest} of values that are canonical already, in the order of the group's features. An int64 may be a
 * bigint.
 */
export function rowDigester(group: Pick<FeatureGroupSchema, 'features'>): (values: readonly (FeatureValue | bigint | null)[]) => string {
  const columns = group.features.map(({ name }, at) => ({ at, name, shown: JSON.stringify(name) })).sort((a, b) => (a.name < b.name ? -1 : 1));
  return (values) => {
    let text = '';
    for (const { at, shown } of columns) {
      const value = values[at];
      if (value === null) continue;
      text += `${text === '' ? '' : ','}[${shown},${canonicalText(value)}]`;
    }
    return hash('sha256', `[${text}]`);
  };
}

function canonicalText(value: FeatureValue | bigint): string {
  switch (typeof value) {
    case 'bigint': return Number.isSafeInteger(Number(value)) ? `${value}` : `"${value}"`;
    case 'number': return `${value + 0}`;
    default: return JSON.stringify(value);
  }
}

/** Furthest time from the epoch, milliseconds: a Date holds no other (ECMA-262, "Time Values and Time Range"), a timestamp of SQL may. */
export const FURTHEST_TIME_MS = 8.64e15;

/** The last instant at which a row counts, milliseconds since the epoch: a training set reads `event_time >= label - ttl`, and serving the same. */
export function countsUntil({ ttl = Infinity }: Pick<FeatureGroupSchema, 'ttl'>, eventTime: number): number {
  return eventTime + ttl * 1000;
}

/** When a row was true, when it was learned, and what it says. */
export interface RowRank {
  readonly eventTime: number;
  readonly createdTime: number;
  readonly digest: string;
}

/**
 * The rank of a row that may be stored: by the digest with which it was written, also where it has a feature that the group does not have. An update
 * that added one, and was rolled back, leaves such rows.
 */
export function rankOf(group: FeatureGroupSchema, { eventTime, createdTime, values }: FeatureRow): RowRank {
  const known = new Set(group.features.map(({ name }) => name));
  const [own, others] = [true, false].map((ours) => Object.entries(values).filter(([name]) => known.has(name) === ours));
  const written = others.filter((entry): entry is [string, FeatureValue] => entry[1] !== null);
  const entries = [...Object.entries(canonicalValues(group, Object.fromEntries(own))), ...written].sort(([a], [b]) => (a < b ? -1 : 1));
  return { eventTime, createdTime, digest: digestOf(entries) };
}

/** Whether `row` replaces `stored`: later event time, then later created time, then larger digest. Equal in all three it changes nothing. */
export function replaces(row: RowRank, stored: RowRank | undefined): boolean {
  if (stored === undefined) return true;
  if (row.eventTime !== stored.eventTime) return row.eventTime > stored.eventTime;
  if (row.createdTime !== stored.createdTime) return row.createdTime > stored.createdTime;
  return row.digest > stored.digest;
}
