import { setImmediate as turn } from 'node:timers/promises';
import { array, assert, asyncProperty, boolean, constantFrom, integer, oneof, property, record, constant } from 'fast-check';
import { CONFIGURATION, MemoryFeatures, NOON } from './brain.fixture';
import { BrainError } from '../../../runtime/core/errors';
import { CachedFeatureStore, type FeatureCacheOptions } from '../../../runtime/core/feature-cache';
import { replaces, rowDigest } from '../../../runtime/core/feature-row';
import type { CallContext, FeatureRequest, FeatureRow, FeatureWrite } from '../../../runtime/core/ports';
import { RequestScope } from '../../../runtime/core/resilience/deadline';
import { DeadlineTimers } from '../../../runtime/core/resilience/deadline-timers';
import { NO_TELEMETRY, type TelemetryGauge } from '../../../runtime/core/telemetry';
import type { FeatureGroupSchema } from '../../../src/contract';
import { onlineStoreContract } from '../contract/online-store.contract';

const [DRIVERS, CARS] = CONFIGURATION.featureGroups;
const TTL = 2000;

let now: number;
let store: SlowFeatures;
let cache: CachedFeatureStore;

/** Reads see the rows of the moment when they begin, and land when they are let. */
class SlowFeatures extends MemoryFeatures {
  readonly contexts: (CallContext | undefined)[] = [];
  readonly waiting: (() => void)[] = [];
  slow = false;
  failure: unknown;

  override async read(requests: readonly FeatureRequest[], context?: CallContext): Promise<(FeatureRow | undefined)[]> {
    const rows = await super.read(requests);
    const { failure } = this;
    this.contexts.push(context);
    if (this.slow) await new Promise<void>((resolve) => this.waiting.push(resolve));
    if (failure) throw failure;
    return rows;
  }

  /** The first read that waits ends. */
  async land(): Promise<void> {
    await turn();
    this.waiting.shift()?.();
    await turn();
  }
}

const open = (options: Partial<FeatureCacheOptions> = {}) => {
  cache = new CachedFeatureStore({ store, clock: { now: () => now }, ...options });
};
const drivers = (...ids: string[]) => ids.map((id) => ({ group: DRIVERS, entity: [id] }));
const tripsOf = async (...ids: string[]) => (await cache.read(drivers(...ids))).map((row) => row?.values.trips);
const write = (id: string, trips: number, eventTime: number): FeatureWrite => ({
  group: DRIVERS, entity: [id], values: { trips }, eventTime, createdTime: eventTime,
});
const entitiesRead = () => store.reads.map((requests) => requests.map(({ entity }) => entity.join('/')));

beforeEach(() => {
  now = NOON;
  store = new SlowFeatures();
  store.put('drivers', '7', { trips: 7 });
  store.put('drivers', '8', { trips: 8 });
  open();
});

describe('a cached online store', () => {
  onlineStoreContract(async () => new CachedFeatureStore({ store: new WinningFeatures() }));
});

/** Keeps the winner, as every online store does. */
class WinningFeatures extends MemoryFeatures {
  override async read(requests: readonly FeatureRequest[]): Promise<(FeatureRow | undefined)[]> {
    return requests.map(({ group, entity }) => {
      const row = this.rows.get(JSON.stringify([group.name, group.version, entity]));
      return row && { eventTime: row.eventTime, createdTime: row.createdTime, values: row.values };
    });
  }

  override async write(rows: readonly FeatureWrite[]): Promise<void> {
    const ranked = rows.map(({ group, eventTime, createdTime, values }) => ({ eventTime, createdTime, digest: rowDigest(group, values), values }));
    rows.forEach(({ group, entity }, at) => {
      const key = JSON.stringify([group.name, group.version, entity]);
      if (replaces(ranked[at], this.rows.get(key) as never)) this.rows.set(key, ranked[at]);
    });
  }

  override async close(): Promise<void> {
    this.rows.clear();
  }
}

describe('hot features', () => {
  test('are read once in their time to live', async () => {
    expect(await tripsOf('7', '8')).toEqual([7, 8]);
    now += TTL - 1;
    expect(await tripsOf('8', '7', '8')).toEqual([8, 7, 8]);
    now += 1;
    expect(await tripsOf('7')).toEqual([7]);
    expect(entitiesRead()).toEqual([['7', '8'], ['7']]);
  });

  test('serve mirrored reads, which fill and share nothing', async () => {
    const mirrored = { mirrored: true };
    await tripsOf('7');
    expect((await cache.read(drivers('7'), mirrored)).map((row) => row?.values)).toEqual([{ trips: 7 }]);
    expect(entitiesRead()).toEqual([['7']]);
    store.slow = true;
    const aside = cache.read(drivers('7', '8'), mirrored);
    const waited = cache.read(drivers('8'));
    await store.land();
    await store.land();
    expect((await aside).map((row) => row?.values)).toEqual([{ trips: 7 }, { trips: 8 }]);
    expect((await waited).map((row) => row?.values)).toEqual([{ trips: 8 }]);
    expect(entitiesRead()).toEqual([['7'], ['7', '8'], ['8']]);
    expect(store.contexts[1]).toBe(mirrored);
  });

  test('are handed out by reference', async () => {
    const [first] = await cache.read(drivers('7'));
    expect((await cache.read(drivers('7')))[0]).toBe(first);
  });

  test('of one group are not those of another, nor of another version', async () => {
    store.put('cars', '7', { seats: 5 });
    const rows = await cache.read([{ group: DRIVERS, entity: ['7'] }, { group: CARS, entity: ['7'] }]);
    expect(rows.map((row) => row?.values)).toEqual([{ trips: 7 }, { seats: 5 }]);
    await cache.read([{ group: { ...DRIVERS, version: 2 }, entity: ['7'] }]);
    expect(store.reads).toHaveLength(2);
  });

  test('only what is missing is read', async () => {
    await tripsOf('7');
    expect(await tripsOf('7', '8')).toEqual([7, 8]);
    expect(entitiesRead()).toEqual([['7'], ['8']]);
  });

  test('live no longer than the smallest maxAge of their group', async () => {
    const fresh: FeatureGroupSchema = {
      ...DRIVERS, name: 'live', features: [...DRIVERS.features, { name: 'speed', dtype: 'int32', required: false, maxAge: 1, piiClass: 'none' }],
    };
    await cache.read([{ group: fresh, entity: ['7'] }]);
    store.put('live', '7', { speed: 50 });
    await cache.read([{ group: fresh, entity: ['9'] }]);
    now += 1000;
    expect((await cache.read([{ group: fresh, entity: ['7'] }]))[0]?.values).toEqual({ speed: 50 });
  });

  test('an unknown entity is asked for again after a shorter time', async () => {
    expect(await tripsOf('404')).toEqual([undefined]);
    store.put('drivers', '404', { trips: 1 });
    now += 499;
    expect(await tripsOf('404')).toEqual([undefined]);
    now += 1;
    expect(await tripsOf('404')).toEqual([1]);
  });

  test('time counts from the beginning of the read', async () => {
    store.slow = true;
    const reading = tripsOf('7');
    now += TTL;
    await store.land();
    expect(await reading).toEqual([7]);
    store.slow = false;
    await tripsOf('7');
    expect(store.reads).toHaveLength(2);
  });

  test('a deleted entity is unknown once its row has aged', async () => {
    await tripsOf('7');
    store.rows.delete('drivers/7');
    now += TTL;
    expect(await tripsOf('7')).toEqual([undefined]);
  });
});

describe('reads at the same time', () => {
  beforeEach(() => {
    store.slow = true;
  });

  test('of one entity are one read', async () => {
    const reads = [tripsOf('7'), tripsOf('7', '8'), tripsOf('8', '7')];
    await turn();
    expect(entitiesRead()).toEqual([['7'], ['8']]);
    await store.land();
    await store.land();
    expect(await Promise.all(reads)).toEqual([[7], [7, 8], [8, 7]]);
  });

  test('one that leaves does not end it for the others', async () => {
    const caller = new AbortController();
    const leaves = cache.read(drivers('7'), { signal: caller.signal });
    const stays = tripsOf('7');
    caller.abort(new Error('gave up'));
    await expect(leaves).rejects.toThrow('gave up');
    expect(store.contexts[0]!.signal!.aborted).toBe(false);
    await store.land();
    expect(await stays).toEqual([7]);
  });

  test('the last one that leaves ends it, and the next read is a new one', async () => {
    const callers = [new AbortController(), new AbortController()];
    const reads = callers.map(({ signal }) => cache.read(drivers('7'), { signal }));
    for (const caller of callers) caller.abort(new Error('gave up'));
    await Promise.all(reads.map((read) => expect(read).rejects.toThrow('gave up')));
    await turn();
    expect(store.contexts[0]!.signal!.aborted).toBe(true);
    expect(cache.size).toBe(0);
    store.slow = false;
    expect(await tripsOf('7')).toEqual([7]);
  });

  test('a deadline that goes by another clock than the rows is kept all the same', async () => {
    const scope = RequestScope.start(new DeadlineTimers(), { timeoutMs: 60_000 });
    for (const [driver, time] of [['7', scope.deadline + 60_000], ['8', NOON]] as const) {
      now = time;
      const read = cache.read(drivers(driver), scope);
      await store.land();
      expect(await read).toHaveLength(1);
    }
    scope.end();
  });

  test('each ends at its own deadline', async () => {
    const short = cache.read(drivers('7'), { deadline: now + 5 });
    const long = cache.read(drivers('7'), { deadline: now + 60_000 });
    await expect(short).rejects.toMatchObject({ code: 'DEADLINE_EXCEEDED' });
    await store.land();
    expect((await long)[0]?.values).toEqual({ trips: 7 });
  });

  test('an aborted caller is not read for', async () => {
    await expect(cache.read(drivers('7'), { signal: AbortSignal.abort(new Error('gave up')) })).rejects.toThrow('gave up');
    expect(store.reads).toEqual([]);
  });

  test('fail together, and the failure is not remembered', async () => {
    store.failure = new BrainError('FEATURE_STORE_UNAVAILABLE', 'away');
    const reads = [tripsOf('7'), tripsOf('7')].map((read) => expect(read).rejects.toMatchObject({ code: 'FEATURE_STORE_UNAVAILABLE' }));
    await store.land();
    await Promise.all(reads);
    expect([store.reads.length, cache.size]).toEqual([1, 0]);
    store.slow = false;
    store.failure = undefined;
    expect(await tripsOf('7')).toEqual([7]);
  });

  test('the spoilt row that one asked for is no error of another', async () => {
    store.failure = new BrainError('INVALID_FEATURE_ROW', 'spoilt');
    const spoilt = expect(tripsOf('9', '7')).rejects.toMatchObject({ code: 'INVALID_FEATURE_ROW' });
    await turn();
    store.failure = undefined;
    const sound = tripsOf('7', '8');
    await turn();
    while (store.waiting.length > 0) await store.land();
    await spoilt;
    expect(await sound).toEqual([7, 8]);
  });

  test('a row that is held does not outlive a failure', async () => {
    store.slow = false;
    await tripsOf('7');
    now += TTL;
    store.failure = new BrainError('FEATURE_STORE_UNAVAILABLE', 'away');
    await expect(tripsOf('7')).rejects.toMatchObject({ code: 'FEATURE_STORE_UNAVAILABLE' });
  });
});

describe('newer rows', () => {
  test('replace what is held when they are written through the cache', async () => {
    await tripsOf('7');
    await cache.write([write('7', 70, NOON + 1)]);
    expect(await tripsOf('7')).toEqual([70]);
    expect(store.reads).toHaveLength(1);
  });

  test('older ones do not', async () => {
    await tripsOf('7');
    await cache.write([write('7', 1, NOON - 1)]);
    expect(await tripsOf('7')).toEqual([7]);
  });

  test('are not kept where nobody reads', async () => {
    await cache.write([write('9', 1, NOON)]);
    expect(cache.size).toBe(0);
  });

  test('win over a read that they overtook', async () => {
    store.slow = true;
    const raced = tripsOf('7');
    await turn();
    await cache.write([write('7', 70, NOON + 1)]);
    await store.land();
    expect(await raced).toEqual([70]);
    expect(await tripsOf('7')).toEqual([70]);
  });

  test('win over a read that finds no row yet', async () => {
    store.slow = true;
    const raced = tripsOf('9');
    await turn();
    await cache.write([write('9', 90, NOON)]);
    await store.land();
    expect(await raced).toEqual([90]);
  });

  test('win over a replica that lags behind', async () => {
    await tripsOf('7');
    await cache.write([write('7', 70, NOON + 1)]);
    store.put('drivers', '7', { trips: 7 });
    now += TTL;
    expect(await tripsOf('7')).toEqual([70]);
  });

  test('that were written elsewhere drop what is held, and older ones are not kept until they arrive', async () => {
    await tripsOf('7');
    cache.invalidate(DRIVERS, ['7'], NOON + 1);
    expect(await tripsOf('7')).toEqual([7]);
    expect(await tripsOf('7')).toEqual([7]);
    expect(store.reads).toHaveLength(3);
    store.put('drivers', '7', { trips: 70 }, NOON + 1);
    expect(await tripsOf('7')).toEqual([70]);
    expect(await tripsOf('7')).toEqual([70]);
    expect(store.reads).toHaveLength(4);
  });

  test('that were written elsewhere taint the read that is on its way', async () => {
    store.slow = true;
    const raced = tripsOf('7');
    await turn();
    cache.invalidate(DRIVERS, ['7'], NOON + 1);
    await store.land();
    expect(await raced).toEqual([7]);
    store.slow = false;
    await tripsOf('7');
    expect(store.reads).toHaveLength(2);
  });

  test('that are held already change nothing', async () => {
    await tripsOf('7');
    cache.invalidate(DRIVERS, ['7'], NOON);
    cache.invalidate(DRIVERS, ['9'], NOON);
    await tripsOf('7');
    expect(store.reads).toHaveLength(1);
  });

  test('a row that never comes is not waited for for ever', async () => {
    await tripsOf('7');
    cache.invalidate(DRIVERS, ['7'], NOON + 1);
    now += 60_000;
    await tripsOf('7');
    await tripsOf('7');
    expect(store.reads).toHaveLength(2);
  });

  test('without an event time everything is forgotten', async () => {
    await tripsOf('7');
    store.put('drivers', '7', { trips: 1 }, NOON - 5);
    cache.invalidate(DRIVERS, ['7']);
    expect(await tripsOf('7')).toEqual([1]);
  });
});

describe('bounds', () => {
  test('entries beyond them go, those that were used once before those that are used', async () => {
    open({ maxEntries: 10 });
    await tripsOf('7');
    await tripsOf('7');
    for (let id = 100; id < 150; id++) await tripsOf(String(id), '7');
    expect(cache.size).toBe(10);
    expect(entitiesRead().filter((ids) => ids.includes('7'))).toHaveLength(1);
  });

  test('hold for entries and for bytes, whatever is read, written and forgotten', async () => {
    const request = record({ id: integer({ min: 0, max: 40 }).map(String), badge: integer({ min: 0, max: 500 }).map((length) => 'x'.repeat(length)) });
    const step = record({ kind: constantFrom('read', 'write', 'forget'), requests: array(request, { minLength: 1, maxLength: 6 }), slow: boolean() });
    const script = array(step, { maxLength: 40 });
    await assert(asyncProperty(script, integer({ min: 1, max: 12 }), integer({ min: 300, max: 6000 }), async (steps, maxEntries, maxBytes) => {
      store = new SlowFeatures();
      open({ maxEntries, maxBytes });
      let time = NOON;
      for (const { kind, requests, slow } of steps) {
        store.slow = slow;
        for (const { id, badge } of requests) if (Number(id) % 3 > 0) store.put('drivers', id, { badge });
        if (kind === 'read') void tripsOf(...requests.map(({ id }) => id));
        if (kind === 'write') await cache.write(requests.map(({ id, badge }) => ({ ...write(id, 1, ++time), values: { badge } })));
        if (kind === 'forget') for (const { id } of requests) cache.invalidate(DRIVERS, [id]);
        if (!slow) await store.land();
        expect(cache.size).toBeLessThanOrEqual(maxEntries);
        expect(cache.memory).toBeLessThanOrEqual(maxBytes);
      }
      while (store.waiting.length > 0) await store.land();
      await cache.close();
      expect([cache.size, cache.memory]).toEqual([0, 0]);
    }), { numRuns: 60 });
  });

  test('a cache that holds less than one request asks for still answers it', async () => {
    open({ maxEntries: 1 });
    expect(await tripsOf('7', '8', '9', '7')).toEqual([7, 8, undefined, 7]);
    expect(cache.size).toBe(1);
  });
});

test('tells hits and misses of each group, and how many entries there are', async () => {
  const counted: unknown[] = [];
  const gauges = new Map<TelemetryGauge, () => number>();
  open({ telemetry: { ...NO_TELEMETRY, count: (...event) => counted.push(event), gauge: (name, read) => gauges.set(name, read) } });
  await tripsOf('7', '8');
  await cache.read([...drivers('7', '8', '9'), { group: CARS, entity: ['7'] }]);
  expect(counted).toEqual([['cache_miss', 'drivers', 2], ['cache_hit', 'drivers', 2], ['cache_miss', 'drivers', 1], ['cache_miss', 'cars', 1]]);
  expect(gauges.get('cache_entries')!()).toBe(4);
});

describe('in any order of reads, writes, replicas that lag and time', () => {
  const IDS = ['a', 'b', 'c'];
  const id = constantFrom(...IDS);
  const steps = array(oneof(
    record({ kind: constant('read'), ids: array(id, { minLength: 1, maxLength: 3 }), slow: boolean() }),
    record({ kind: constant('land'), count: integer({ min: 1, max: 3 }) }),
    // a write through the cache, one elsewhere that is announced, and one that is not
    record({ kind: constantFrom('write', 'announce', 'elsewhere'), ids: array(id, { minLength: 1, maxLength: 1 }), at: integer({ min: 0, max: 30 }) }),
    record({ kind: constant('lag'), ids: array(id, { minLength: 1, maxLength: 1 }) }),
    record({ kind: constant('time'), at: integer({ min: 1, max: TTL }) }),
  ), { maxLength: 60 });
  interface Step { readonly kind: string; readonly ids?: string[]; readonly at?: number; readonly slow?: boolean; readonly count?: number }

  test('no entity goes back in time, and no row is served that the store did not give or take within the time to live', async () => {
    await assert(asyncProperty(steps, async (script) => {
      now = NOON;
      const truth = new Map<string, number>();
      const history = new Map<string, number[]>(IDS.map((each) => [each, []]));
      /** When the store last gave, or took, each event time of each entity; a read counts from its beginning. */
      const asked = new Map<string, number>();
      const lagging = new Set<string>();
      store = new SlowFeatures();
      const served = new Map<string, number>();
      const rowOf = (each: string) => {
        const past = history.get(each)!;
        const at = lagging.has(each) && past.length > 1 ? past[past.length - 2] : truth.get(each);
        return at === undefined ? undefined : { eventTime: at, createdTime: at, values: { trips: at - NOON } };
      };
      store.read = async (requests) => {
        const rows = requests.map(({ entity: [each] }) => rowOf(each));
        for (const { entity: [each] } of requests) asked.set(each, now);
        if (store.slow) await new Promise<void>((resolve) => store.waiting.push(resolve));
        return rows;
      };
      open();
      const put = (each: string, at: number) => {
        if (at <= (truth.get(each) ?? -Infinity)) return;
        truth.set(each, at);
        history.get(each)!.push(at);
      };
      store.write = async ([{ entity: [each], eventTime }]) => put(each, eventTime);
      const pending: Promise<void>[] = [];
      for (const { kind, ids = [], at = 0, slow = false, count = 0 } of script as Step[]) {
        const eventTime = NOON + at;
        if (kind === 'read') {
          store.slow = slow;
          const began = now;
          // a read that goes to the store, or with one that is on its way, is as old as that one
          const fromMemory = !slow && store.waiting.length === 0;
          pending.push(cache.read(drivers(...ids)).then((rows) => rows.forEach((row, position) => {
            const each = ids[position];
            if (row) {
              expect(row.eventTime).toBeGreaterThanOrEqual(served.get(each) ?? -Infinity);
              served.set(each, row.eventTime);
            }
            if (fromMemory) expect(began - asked.get(each)!).toBeLessThan(TTL);
          })));
        }
        if (kind === 'land') for (let n = 0; n < count; n++) await store.land();
        if (kind === 'write') {
          await cache.write([write(ids[0], at, eventTime)]);
          asked.set(ids[0], now);
        }
        if (kind === 'announce' || kind === 'elsewhere') put(ids[0], eventTime);
        if (kind === 'announce') cache.invalidate(DRIVERS, ids, eventTime);
        if (kind === 'lag') lagging.has(ids[0]) ? lagging.delete(ids[0]) : lagging.add(ids[0]);
        if (kind === 'time') now += at;
        await turn();
      }
      while (store.waiting.length > 0) await store.land();
      await Promise.all(pending);
    }), { numRuns: 200 });
  });
});

test('the hand of the sieve goes round however entries come and go', () => {
  assert(property(array(record({ id: integer({ min: 0, max: 20 }).map(String), forget: boolean() }), { maxLength: 100 }), (script) => {
    open({ maxEntries: 4 });
    for (const { id, forget } of script) {
      if (forget) cache.invalidate(DRIVERS, [id]);
      else void cache.read(drivers(id));
      expect(cache.size).toBeLessThanOrEqual(4);
    }
  }));
});
