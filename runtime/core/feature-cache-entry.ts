/** What the feature cache holds: an entry for each entity, by group. */
import type { Flight } from './feature-flights';
import type { FeatureRow } from './ports';
import { SieveEntry } from './sieve';
import type { FeatureGroupSchema } from '../../src/contract';

/** An entry without a row, its links and its place in the map, bytes: measured on Node 24. */
export const ENTRY_BYTES = 256;
const ROW_BYTES = 128;
const VALUE_BYTES = 32;

/** What is known of one entity. */
export class CacheEntry extends SieveEntry {
  /** Undefined: the entity is unknown, or nothing was read yet. */
  row: FeatureRow | undefined = undefined;
  /** When the store is to be asked again, milliseconds. */
  freshUntil = 0;
  bytes = 0;
  /** The read that is on its way, and the entry's place in it. */
  flight: Flight | undefined = undefined;
  place = 0;
  /** Event time of a row that is known to exist, until when it is waited for: an older one is not kept. */
  floor = -Infinity;
  floorUntil = 0;
  /** Still in the cache. */
  held = true;

  constructor(readonly group: GroupCache, readonly key: string) {
    super();
  }
}

export class GroupCache {
  readonly name: string;
  readonly entries = new Map<string, CacheEntry>();
  readonly ttlMs: number;
  readonly negativeTtlMs: number;
  /** Not told to telemetry yet. */
  hits = 0;
  misses = 0;

  /** A row is cached for no longer than it may be old. */
  constructor({ name, features, ttl }: FeatureGroupSchema, ttlMs: number, negativeTtlMs: number) {
    let most = ttl === undefined ? ttlMs : Math.min(ttlMs, ttl * 1000);
    for (const { maxAge } of features) if (maxAge !== undefined) most = Math.min(most, maxAge * 1000);
    this.name = name;
    this.ttlMs = most;
    this.negativeTtlMs = Math.min(most, negativeTtlMs);
  }
}

/** Whether `row` comes after `held`, or is of the same instant. */
export function later(row: Pick<FeatureRow, 'eventTime' | 'createdTime'>, held: FeatureRow | undefined): boolean {
  if (held === undefined) return true;
  return row.eventTime === held.eventTime ? row.createdTime >= held.createdTime : row.eventTime > held.eventTime;
}

/** Approximately. */
export function rowBytes({ values }: FeatureRow): number {
  let bytes = ROW_BYTES;
  for (const name in values) {
    const value = values[name];
    bytes += VALUE_BYTES + (typeof value === 'string' ? 2 * value.length : 0);
  }
  return bytes;
}
