/** From a record of the change stream to a row of an offline table (contract/feature-change.ts → contract/offline-table.ts). */
import {
  CHANGE_SOURCE, type FeatureChange, type FeatureGroupSchema, type FeatureValue, LATE_ROW_SOURCE, OfflineColumn, offlineColumns, onlineEntity,
  OnlineItem,
} from '../../../src/contract';
import { refuse } from '../errors';
import { canonicalValue, canonicalValues, isWellFormed, rowDigest } from '../feature-row';

/** One JSON value for each column, in the columns' order, as text: an int64 beyond 2^53 has no JavaScript number. */
export type OfflineRow = ReadonlyMap<string, string>;

/** An item as it may have been made: nothing of it is sure. */
interface Image {
  readonly [attribute: string]: { readonly S?: string; readonly N?: string; readonly L?: readonly { readonly S?: string }[] } | undefined;
}

const TIME = /^-?(0|[1-9][0-9]*)$/;

/**
 * The offline row of a change; undefined where the change is none of the group's, or adds nothing to its history: a deletion or an expiry
 * ends what is known online, not what was known. Fails with INVALID_FEATURE_ROW on a record that is not in the contract's form.
 */
export function offlineRow(group: FeatureGroupSchema, change: unknown): OfflineRow | undefined {
  const { eventSource, eventName, dynamodb } = (change ?? {}) as Partial<FeatureChange>;
  if (eventSource !== CHANGE_SOURCE && eventSource !== LATE_ROW_SOURCE) invalid('a record of the stream is neither of the table nor of a writer');
  if (eventName === 'REMOVE') return undefined;
  const image = dynamodb?.NewImage as Image | undefined;
  const key = image?.[OnlineItem.PK]?.S;
  if (image === undefined || typeof key !== 'string') invalid('a record of the stream has no item');
  // the stream carries every group of the table, and versions that came before and after
  if (!key.startsWith(`${group.name}#${group.version}#`)) return undefined;

  const values = valuesOf(image);
  const digest = rowDigest(group, values);
  if (image[OnlineItem.DIGEST]?.S !== digest) invalid('the digest of a row is not that of its values');
  const own = {
    [OfflineColumn.EVENT_TIME]: timeOf(image, OnlineItem.EVENT_TIME),
    [OfflineColumn.CREATED_TIME]: timeOf(image, OnlineItem.CREATED_TIME),
    [OfflineColumn.ROW_DIGEST]: JSON.stringify(digest),
  };
  return rowOf(group, entityOf(group, key, image), values, own);
}

/** The row as one JSON object. @param sparse leaves nulls out */
export function toJson(row: OfflineRow, sparse = false): string {
  const members = [...row].filter(([, value]) => !sparse || value !== 'null').map(([name, value]) => `${JSON.stringify(name)}:${value}`);
  return `{${members.join(',')}}`;
}

/** @param own columns that every row has, by their names */
function rowOf(
  group: FeatureGroupSchema, entity: readonly string[], values: Readonly<Record<string, FeatureValue>>, own: { readonly [name: string]: string },
): OfflineRow {
  const canonical = canonicalValues(group, values);
  const types = new Map(group.features.map(({ name, dtype }) => [name, dtype]));
  const keys = new Map(group.entityKeys.map((key, at) => [key.name, json(key.dtype, canonicalValue(key, entity[at]))]));
  return new Map(offlineColumns(group).map(({ name }): [string, string] => {
    const value = keys.get(name) ?? own[name];
    return [name, value ?? (name in canonical ? json(types.get(name)!, canonical[name]) : 'null')];
  }));
}

/** A wide int64 is canonical as a decimal string, and a column of numbers takes its digits. */
function json(dtype: string, value: FeatureValue): string {
  if (dtype === 'int64') return String(value);
  // parquet holds UTF-8, and half a surrogate pair is none
  if (typeof value === 'string' && !isWellFormed(value)) invalid('a text holds half a surrogate pair');
  return JSON.stringify(value);
}

function entityOf(group: FeatureGroupSchema, key: string, image: Image): string[] {
  const entity = onlineEntity(group, key) ?? image[OnlineItem.ENTITY]?.L?.map(({ S }) => S ?? invalid('a part of an entity is not a string'));
  if (entity?.length !== group.entityKeys.length) {
    invalid(`a row names ${entity?.length ?? 'no'} parts of an entity, and the group has ${group.entityKeys.length}`);
  }
  return entity;
}

function valuesOf(image: Image): Record<string, FeatureValue> {
  let values: unknown;
  try {
    values = JSON.parse(image[OnlineItem.FEATURES]?.S ?? '');
  } catch {
    invalid('the features of a row are not JSON');
  }
  if (typeof values !== 'object' || values === null || Array.isArray(values)) invalid('the features of a row are not an object');
  return values as Record<string, FeatureValue>;
}

/** Microseconds, as Firehose takes a timestamp. The item has milliseconds; a thousandfold would not always be an exact number. */
function timeOf(image: Image, attribute: string): string {
  const text = image[attribute]?.N;
  if (typeof text !== 'string' || !TIME.test(text) || !Number.isSafeInteger(Number(text))) invalid(`the ${attribute} of a row is not a time`);
  return Number(text) === 0 ? '0' : `${text}000`;
}

/** The reason names no value: it goes to a log. */
function invalid(text: string): never {
  return refuse('INVALID_FEATURE_ROW', text);
}
