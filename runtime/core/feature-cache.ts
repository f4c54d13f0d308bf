/**
 * Hot features in memory, before an online store: bounded, for seconds, and never back in time.
 *
 * A row that was read is as good as the store's for `ttlMs`, and for no longer than the smallest `maxAge` of its group. Concurrent reads of
 * one entity are one read. Rows are handed out by reference: nobody changes them.
 *
 * Of two rows of one entity the one with the later event time stays, whichever arrives last: an eventually consistent read, or one that
 * raced a write, does not bring back what was replaced.
 */
import { CacheEntry, ENTRY_BYTES, GroupCache, later, rowBytes } from './feature-cache-entry';
import { Flight, type FlightOwner, FlightWaiter } from './feature-flights';
import { canonicalValues } from './feature-row';
import { type CallContext, type Clock, type FeatureRequest, type FeatureRow, type FeatureWrite, type OnlineFeatureStore, SYSTEM_CLOCK } from './ports';
import { Sieve } from './sieve';
import { NO_TELEMETRY, type Telemetry } from './telemetry';
import type { FeatureGroupSchema } from '../../src/contract';

export interface FeatureCacheOptions {
  readonly store: OnlineFeatureStore;
  /** Entities, known and unknown ones. @default 50000 */
  readonly maxEntries?: number;
  /** Approximate memory of the rows. @default 64 MiB */
  readonly maxBytes?: number;
  /** How long a row is taken for the store's, milliseconds. @default 2000 */
  readonly ttlMs?: number;
  /** How long an unknown entity is. @default 500 */
  readonly negativeTtlMs?: number;
  readonly clock?: Clock;
  readonly telemetry?: Telemetry;
}

/** How long an announced row is waited for before older ones are cached again, milliseconds: replicas catch up within seconds. */
const FLOOR_MS = 60_000;

export class CachedFeatureStore implements OnlineFeatureStore, FlightOwner {
  private readonly store: OnlineFeatureStore;
  private readonly maxEntries: number;
  private readonly maxBytes: number;
  private readonly ttlMs: number;
  private readonly negativeTtlMs: number;
  private readonly clock: Clock;
  private readonly telemetry: Telemetry;
  private readonly groups = new Map<string, GroupCache>();
  /** The same by the schema itself, which is one object for all requests. */
  private readonly bySchema = new WeakMap<FeatureGroupSchema, GroupCache>();
  private readonly sieve = new Sieve<CacheEntry>();
  private readonly counted: GroupCache[] = [];
  private entries = 0;
  private bytes = 0;

  constructor(options: FeatureCacheOptions) {
    this.store = options.store;
    this.maxEntries = options.maxEntries ?? 50_000;
    this.maxBytes = options.maxBytes ?? 64 * 1024 * 1024;
    this.ttlMs = options.ttlMs ?? 2000;
    this.negativeTtlMs = options.negativeTtlMs ?? 500;
    this.clock = options.clock ?? SYSTEM_CLOCK;
    this.telemetry = options.telemetry ?? NO_TELEMETRY;
    this.telemetry.gauge('cache_entries', () => this.entries);
  }

  /** Entities in the cache. */
  get size(): number {
    return this.entries;
  }

  /** Approximate memory, bytes. */
  get memory(): number {
    return this.bytes;
  }

  read(requests: readonly FeatureRequest[], context?: CallContext): Promise<(FeatureRow | undefined)[]> {
    const now = this.clock.now();
    const rows = new Array<FeatureRow | undefined>(requests.length);
    let missed = false;
    for (let at = 0; at < requests.length; at++) {
      const { group: schema, entity } = requests[at];
      const group = this.bySchema.get(schema) ?? this.groupOf(schema);
      const entry = group.entries.get(entityKey(entity));
      if (group.hits + group.misses === 0) this.counted.push(group);
      if (entry !== undefined && now < entry.freshUntil) {
        entry.visited = true;
        group.hits++;
        rows[at] = entry.row;
      } else {
        group.misses++;
        missed = true;
      }
    }
    this.count();
    if (!missed) return Promise.resolve(rows);
    // what nobody waits for takes no place, and nobody else waits for it
    return context?.mirrored ? this.store.read(requests, context) : this.readThrough(requests, now, context);
  }

  async write(rows: readonly FeatureWrite[]): Promise<void> {
    await this.store.write(rows);
    for (const row of rows) {
      const entry = this.entryOf(row);
      // what nobody reads is not kept
      if (!entry || !later(row, entry.row)) continue;
      const { group, eventTime, createdTime, values } = row;
      this.put(entry, { eventTime, createdTime, values: canonicalValues(group, values) }, this.clock.now() + entry.group.ttlMs);
    }
  }

  /**
   * To be called when a row was written elsewhere. An older one is not served from memory any more.
   *
   * @param eventTime of the row; undefined: whatever is held is forgotten, as after the deletion of an entity
   */
  invalidate(group: FeatureGroupSchema, entity: readonly string[], eventTime?: number): void {
    const entry = this.entryOf({ group, entity });
    if (!entry) return;
    if (eventTime === undefined) this.drop(entry);
    else if (entry.row === undefined || entry.row.eventTime < eventTime) this.expect(entry, eventTime);
  }

  async close(): Promise<void> {
    for (const { entries } of this.groups.values()) for (const entry of entries.values()) this.drop(entry);
    await this.store.close();
  }

  /** @internal */
  landed(entry: CacheEntry, row: FeatureRow | undefined, startedAt: number): FeatureRow | undefined {
    entry.flight = undefined;
    if (!entry.held) return row;
    const now = this.clock.now();
    const { ttlMs, negativeTtlMs } = entry.group;
    const floor = now < entry.floorUntil ? entry.floor : -Infinity;
    if (row === undefined) {
      // a write has overtaken the read
      if (entry.row !== undefined && now < entry.freshUntil) return entry.row;
      if (floor === -Infinity) this.put(entry, undefined, startedAt + negativeTtlMs);
      return undefined;
    }
    // a replica that lags behind, or a write that has overtaken the read
    const kept = entry.row !== undefined && !later(row, entry.row) ? entry.row : row;
    const freshUntil = kept.eventTime < floor ? 0 : startedAt + ttlMs;
    if (kept === row) this.put(entry, row, freshUntil);
    else entry.freshUntil = Math.max(entry.freshUntil, freshUntil);
    return kept;
  }

  /** @internal */
  lost(entry: CacheEntry): void {
    entry.flight = undefined;
    if (entry.held && entry.row === undefined && this.clock.now() >= entry.floorUntil) this.drop(entry);
  }

  /** Some entities are read from the store, or by another read that is on its way. */
  private readThrough(requests: readonly FeatureRequest[], now: number, context: CallContext | undefined): Promise<(FeatureRow | undefined)[]> {
    if (context?.signal?.aborted) return Promise.reject(context.signal.reason as Error);
    return new Promise((resolve, reject) => {
      const waiter = new FlightWaiter(this.store, requests, context, resolve, reject);
      let own: Flight | undefined;
      for (const request of requests) {
        const entry = this.entryOf(request) ?? this.add(request);
        if (now < entry.freshUntil) {
          waiter.has(entry);
          continue;
        }
        if (!entry.flight) (own ??= new Flight(this, now)).add(entry, request);
        waiter.joins(entry, entry.flight!);
      }
      waiter.bound(now);
      own?.start(this.store, waiter);
    });
  }

  private groupOf(schema: FeatureGroupSchema): GroupCache {
    const name = `${schema.name}#${schema.version}`;
    let group = this.groups.get(name);
    if (!group) this.groups.set(name, group = new GroupCache(schema, this.ttlMs, this.negativeTtlMs));
    this.bySchema.set(schema, group);
    return group;
  }

  private entryOf({ group: schema, entity }: FeatureRequest): CacheEntry | undefined {
    return (this.bySchema.get(schema) ?? this.groupOf(schema)).entries.get(entityKey(entity));
  }

  private add({ group: schema, entity }: FeatureRequest): CacheEntry {
    const group = this.groupOf(schema);
    const key = entityKey(entity);
    const entry = new CacheEntry(group, key);
    entry.bytes = ENTRY_BYTES + 2 * key.length;
    this.bytes += entry.bytes;
    this.entries++;
    group.entries.set(key, entry);
    this.sieve.add(entry);
    this.fit();
    return entry;
  }

  private put(entry: CacheEntry, row: FeatureRow | undefined, freshUntil: number): void {
    const bytes = ENTRY_BYTES + 2 * entry.key.length + (row ? rowBytes(row) : 0);
    this.bytes += bytes - entry.bytes;
    entry.bytes = bytes;
    entry.row = row;
    entry.freshUntil = freshUntil;
    this.fit();
  }

  private expect(entry: CacheEntry, eventTime: number): void {
    const now = this.clock.now();
    entry.floor = now < entry.floorUntil ? Math.max(entry.floor, eventTime) : eventTime;
    entry.floorUntil = now + FLOOR_MS;
    entry.freshUntil = Math.min(entry.freshUntil, now);
  }

  private fit(): void {
    while (this.entries > this.maxEntries || this.bytes > this.maxBytes) {
      const entry = this.sieve.evict();
      if (!entry) return;
      this.forget(entry);
    }
  }

  private drop(entry: CacheEntry): void {
    this.sieve.remove(entry);
    this.forget(entry);
  }

  private forget(entry: CacheEntry): void {
    entry.held = false;
    entry.group.entries.delete(entry.key);
    this.entries--;
    this.bytes -= entry.bytes;
  }

  /** One call for all hits and one for all misses of a group. */
  private count(): void {
    for (const group of this.counted) {
      if (group.hits > 0) this.telemetry.count('cache_hit', group.name, group.hits);
      if (group.misses > 0) this.telemetry.count('cache_miss', group.name, group.misses);
      group.hits = 0;
      group.misses = 0;
    }
    this.counted.length = 0;
  }
}

const entityKey = (entity: readonly string[]) => (entity.length === 1 ? entity[0] : JSON.stringify(entity));
