/** A feature row as an item of the online table, in the layout of contract/online-item.ts, and back. */
import type { AttributeValue } from '@aws-sdk/client-dynamodb';
import { expiresAt, onlineEntity, OnlineItem, onlineKey } from '../../../src/contract';
import { BrainError, refuse } from '../../core/errors';
import { canonicalValues, rowDigest, type RowRank } from '../../core/feature-row';
import type { FeatureRow, FeatureWrite } from '../../core/ports';

export type Item = Record<string, AttributeValue>;

/** Fails with INVALID_FEATURE_ROW where a value does not fit its dtype. */
export function itemOf({ group, entity, eventTime, createdTime, values }: FeatureWrite): Item {
  const expires = expiresAt(group, eventTime);
  const key = onlineKey(group, entity);
  return {
    [OnlineItem.PK]: { S: key },
    [OnlineItem.EVENT_TIME]: { N: String(eventTime) },
    [OnlineItem.CREATED_TIME]: { N: String(createdTime) },
    [OnlineItem.FEATURES]: { S: JSON.stringify(canonicalValues(group, values)) },
    [OnlineItem.DIGEST]: { S: rowDigest(group, values) },
    ...(expires === undefined ? {} : { [OnlineItem.EXPIRES_AT]: { N: String(expires) } }),
    // what the offline table says in its columns must stand somewhere
    ...(onlineEntity(group, key) ? {} : { [OnlineItem.ENTITY]: { L: entity.map((part) => ({ S: part })) } }),
  };
}

/** Of an item that {@link itemOf} made. */
export function rankOf(item: Item): RowRank {
  const { EVENT_TIME, CREATED_TIME, DIGEST } = OnlineItem;
  return { eventTime: Number(item[EVENT_TIME].N), createdTime: Number(item[CREATED_TIME].N), digest: item[DIGEST].S! };
}

/** The row, or INVALID_FEATURE_ROW where the item is not in the layout: the error of one entity, which others must not suffer from. */
export function rowOf(key: string, item: Item): FeatureRow | BrainError {
  const eventTime = timeOf(item[OnlineItem.EVENT_TIME]);
  const createdTime = timeOf(item[OnlineItem.CREATED_TIME]);
  const values = valuesOf(item[OnlineItem.FEATURES]);
  if (eventTime === undefined || createdTime === undefined || values === undefined) {
    return new BrainError('INVALID_FEATURE_ROW', `the online item '${key.slice(0, 128)}' is not in the brain's layout`);
  }
  return { eventTime, createdTime, values };
}

/** Fails where the row is an error. */
export function soundRow(row: FeatureRow | BrainError | undefined): FeatureRow | undefined {
  if (row instanceof BrainError) throw row;
  return row;
}

/** The key of an item. Fails with FEATURE_STORE_UNAVAILABLE where it has none: no table of the brain answers so. */
export function keyOf(item: unknown): string {
  const key = (item as Partial<Record<string, { S?: unknown }>> | null | undefined)?.[OnlineItem.PK]?.S;
  return typeof key === 'string' ? key : refuse('FEATURE_STORE_UNAVAILABLE', 'the feature store answered an item without a key');
}

function timeOf(attribute: AttributeValue | undefined): number | undefined {
  const text: unknown = attribute?.N;
  const time = typeof text === 'string' && text !== '' ? Number(text) : NaN;
  return Number.isSafeInteger(time) ? time : undefined;
}

function valuesOf(attribute: AttributeValue | undefined): FeatureRow['values'] | undefined {
  const text: unknown = attribute?.S;
  if (typeof text !== 'string') return undefined;
  try {
    const values: unknown = JSON.parse(text);
    return typeof values === 'object' && values !== null && !Array.isArray(values) ? values as FeatureRow['values'] : undefined;
  } catch {
    return undefined;
  }
}
