/** Whether a row whose values have their types may be written, by what its group expects: the one rule for files, clients and backfills. */
import {
  type FeatureGroupSchema, type FeatureSchema, type FeatureValue, FUTURE_TOLERANCE_MS, ONLINE_ITEM_MAX_BYTES, ONLINE_KEY_MAX_BYTES, onlineKey,
  type QuarantinedRow, type QuarantineReason,
} from '../../../src/contract';
import { canonicalValues } from '../feature-row';
import type { FeatureWrite } from '../ports';

/** Why a row is not written. */
export interface Refusal {
  readonly reason: QuarantineReason;
  /** Of a personal value, only that it is wrong. */
  readonly text: string;
  readonly column?: string;
}

/** Names of the attributes of an item, and its three numbers of at most 21 bytes each. */
const FRAME_BYTES = 54 + 3 * 21;
/** A value that is no text, its quotes, colon and comma: `"-9223372036854775808":"",` is the longest. */
const PLAIN_VALUE_BYTES = 32;
/** A character of UTF-16 in JSON text: `\u0000`. */
const CHARACTER_BYTES = 6;

export class RowCheck {
  /** Features whose values {@link check} looks at: a caller that has columns need not read the others. */
  readonly judged: readonly FeatureSchema[];
  private readonly ruled: readonly (readonly [FeatureSchema, (value: FeatureValue) => Refusal | undefined])[];
  private readonly texts: readonly string[];
  private readonly plainBytes: number;

  /** @param toleranceMs how far ahead of `now` the times of a row may be */
  constructor(readonly group: FeatureGroupSchema, private readonly toleranceMs = FUTURE_TOLERANCE_MS) {
    this.texts = group.features.filter(({ dtype }) => dtype === 'string').map(({ name }) => name);
    this.ruled = group.features.flatMap((feature) => {
      const rule = rowRule(feature);
      return rule ? [[feature, rule] as const] : [];
    });
    // numbers and truth values alone never fill an item
    this.judged = this.texts.length > 0 ? group.features : group.features.filter(({ expectations }) => expectations !== undefined);
    this.plainBytes = FRAME_BYTES + ONLINE_KEY_MAX_BYTES + group.features.reduce((sum, { name }) => sum + name.length + PLAIN_VALUE_BYTES, 0);
  }

  /** @param now milliseconds since the epoch */
  check(row: Omit<FeatureWrite, 'group'>, now: number): Refusal | undefined {
    return this.future('event_time', row.eventTime, now) ?? this.future('created_time', row.createdTime, now) ?? this.unexpected(row) ?? this.tooLarge(row);
  }

  private future(column: string, time: number, now: number): Refusal | undefined {
    if (time <= now + this.toleranceMs) return undefined;
    const ahead = `${Math.ceil((time - now) / 1000)} s ahead of this clock; ${this.toleranceMs / 1000} s are tolerated`;
    return { reason: 'FUTURE_TIME', column, text: `'${column}' is ${new Date(time).toISOString()}, ${ahead}` };
  }

  private unexpected({ values }: Pick<FeatureWrite, 'values'>): Refusal | undefined {
    for (const [{ name }, rule] of this.ruled) {
      const value = values[name];
      if (value === null || value === undefined) continue;
      const refusal = rule(value);
      if (refusal) return refusal;
    }
    return undefined;
  }

  private tooLarge({ entity, values }: Pick<FeatureWrite, 'entity' | 'values'>): Refusal | undefined {
    let most = this.plainBytes;
    for (const name of this.texts) {
      const value = values[name];
      if (typeof value === 'string') most += value.length * CHARACTER_BYTES;
    }
    for (const part of entity) most += part.length * CHARACTER_BYTES;
    if (most <= ONLINE_ITEM_MAX_BYTES) return undefined;
    const bytes = itemBytes(this.group, entity, values);
    if (bytes <= ONLINE_ITEM_MAX_BYTES) return undefined;
    return { reason: 'ITEM_TOO_LARGE', text: `the row takes ${bytes} bytes online, and an item has room for ${ONLINE_ITEM_MAX_BYTES}: keep long texts elsewhere, or split the group` };
  }
}

/** Bytes of the item of a row, at most: numbers are counted as their longest. Fails with INVALID_FEATURE_ROW where a value does not fit its type. */
export function itemBytes(group: FeatureGroupSchema, entity: readonly string[], values: FeatureWrite['values']): number {
  const key = Buffer.byteLength(onlineKey(group, entity));
  // a key that became a digest is kept beside it
  const kept = entity.reduce((sum, part) => sum + part.length, 0) > ONLINE_KEY_MAX_BYTES / 3 ? Buffer.byteLength(JSON.stringify(entity)) : 0;
  return FRAME_BYTES + 64 + key + kept + Buffer.byteLength(JSON.stringify(canonicalValues(group, values)));
}

/** What a refused row was, and where it stood. */
export interface Origin {
  readonly source: string;
  /** From 1. */
  readonly row: number;
  readonly record: unknown;
  /** Milliseconds since the epoch. */
  readonly now: number;
}

/** The line of a quarantine file. */
export function quarantinedRow({ name: group, version }: FeatureGroupSchema, refusal: Refusal, { source, row, record, now }: Origin): QuarantinedRow {
  const { reason, text, column } = refusal;
  return { group, version, reason, text, ...column === undefined ? {} : { column }, source, row, time: new Date(now).toISOString(), record };
}

/** The value as an error shows it: short, and not at all where it says something about a person. */
export function shownValue({ piiClass }: Pick<FeatureSchema, 'piiClass'>, value: unknown): string {
  return piiClass === 'none' ? `, got ${typeof value === 'number' ? value : JSON.stringify(value)?.slice(0, 64)}` : '';
}

function rowRule(feature: FeatureSchema): ((value: FeatureValue) => Refusal | undefined) | undefined {
  const { name, expectations } = feature;
  if (expectations === undefined) return undefined;
  const { min = -Infinity, max = Infinity, categories } = expectations;
  // codes of an int64 may come as text
  const allowed = categories && new Set(categories.map(String));
  const refusal = (reason: QuarantineReason, rule: string, value: FeatureValue): Refusal => ({
    reason, column: name, text: `feature '${name}' is expected to be ${rule}${shownValue(feature, value)}`,
  });
  if (allowed) {
    return (value) => (allowed.has(String(value)) ? undefined : refusal('UNKNOWN_CATEGORY', `one of ${allowed.size} categories`, value));
  }
  if (min === -Infinity && max === Infinity) return undefined;
  return (value) => {
    // an int64 beyond 2^53 is a text, and compares rightly as a number: bounds are exact ones below that
    const number = Number(value);
    return number >= min && number <= max ? undefined : refusal('OUT_OF_RANGE', `from ${min} to ${max}`, value);
  };
}
