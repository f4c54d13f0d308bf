import { array, assert, asyncProperty, boolean, integer, option } from 'fast-check';
import { CONFIGURATION, MANIFEST, MemoryFeatures, NOON } from './brain.fixture';
import { BrainError } from '../../../runtime/core/errors';
import { enrichFeatures, type FeatureEnrichment } from '../../../runtime/core/feature-enrichment';
import { manifestProblems } from '../../../runtime/core/manifest';
import { planModel } from '../../../runtime/core/plan';
import type { CallContext, FeatureRequest, FeatureRow } from '../../../runtime/core/ports';
import { RequestScope } from '../../../runtime/core/resilience/deadline';
import { DeadlineTimers } from '../../../runtime/core/resilience/deadline-timers';
import type { Tensor } from '../../../runtime/core/tensors';
import type { FeatureTensor, ModelManifest, OipDatatype, TensorSchema } from '../../../src/contract';

const DRIVERS: FeatureTensor = { tensor: 'x', keys: ['driver'], groups: [{ group: 'drivers', features: ['rating', 'trips'] }] };
const CARS: FeatureTensor = { tensor: 'y', keys: ['driver'], groups: [{ group: 'cars', features: ['seats'] }] };
const AWAY = new BrainError('FEATURE_STORE_UNAVAILABLE', 'away');

const manifestOf = (features: readonly FeatureTensor[], datatype: OipDatatype = 'FP32', entities = ['driver', 'other']): ModelManifest => ({
  ...MANIFEST,
  inputs: features.map(({ tensor, groups }): TensorSchema => (
    { name: tensor, datatype, shape: [-1, groups.reduce((sum, { features: of }) => sum + of.length, 0)] }
  )),
  enrichment: { entities: entities.map((input) => ({ input, datatype: 'INT64' as const })), features },
});

/** Fails as it is told to, and keeps what it was asked. */
class Store extends MemoryFeatures {
  readonly contexts: (CallContext | undefined)[] = [];
  failure: unknown;

  override async read(requests: readonly FeatureRequest[], context?: CallContext): Promise<(FeatureRow | undefined)[]> {
    this.contexts.push(context);
    if (this.failure !== undefined) throw this.failure;
    return super.read(requests);
  }
}

let store: Store;
beforeEach(() => {
  store = new Store();
  store.put('drivers', '7', { rating: 4, trips: 70, badge: 'gold' }, NOON - 1000);
  store.put('drivers', '8', { rating: 3, trips: 80 }, NOON - 2000);
  store.put('cars', '7', { seats: 5 }, NOON - 500);
});

afterEach(() => jest.useRealTimers());

interface Call {
  readonly drivers?: readonly number[];
  readonly others?: readonly number[];
  readonly datatype?: OipDatatype;
  readonly context?: CallContext;
  readonly flags?: Record<string, boolean>;
  readonly now?: number;
}

function enrich(features: readonly FeatureTensor[], call: Call = {}): Promise<FeatureEnrichment> {
  const { drivers = [7, 8], others = drivers, datatype, context, flags, now = NOON } = call;
  const entities = features.some(({ keys }) => keys.includes('other')) ? ['driver', 'other'] : ['driver'];
  const plan = planModel({ name: 'eta', version: '1', manifest: manifestOf(features, datatype, entities) }, CONFIGURATION);
  const ids = (name: string, values: readonly number[]): Tensor => ({ name, datatype: 'INT64', shape: [values.length], data: BigInt64Array.from(values, BigInt) });
  return enrichFeatures(plan.features, new Map([['driver', ids('driver', drivers)], ['other', ids('other', others)]]), drivers.length, store, now, context, flags);
}
const valuesOf = ({ tensors }: FeatureEnrichment) => tensors.map(({ data }) => [...data as Float32Array]);

describe('features', () => {
  test('of several groups and entities come with one read, each entity once', async () => {
    const found = await enrich([{ ...DRIVERS, groups: [...DRIVERS.groups, ...CARS.groups] }, { ...DRIVERS, tensor: 'z' }], { drivers: [7, 8, 7] });
    expect(valuesOf(found)).toEqual([[4, 70, 5, 3, 80, 4, 4, 70, 5], [4, 70, 3, 80, 4, 70]]);
    expect(found.tensors.map(({ shape }) => shape)).toEqual([[3, 3], [3, 2]]);
    expect(store.reads.map((requests) => requests.map(({ group, entity }) => `${group.name}/${entity.join('/')}`))).toEqual([
      ['drivers/7', 'drivers/8', 'cars/7', 'cars/8'],
    ]);
    expect([...found.defaulted]).toEqual(['cars.seats']);
    expect(found.asOf).toBe(NOON - 2000);
    expect(found.degraded).toEqual([]);
  });

  test('of different keys do not run into each other', async () => {
    const found = await enrich([DRIVERS, { ...DRIVERS, tensor: 'z', keys: ['other'] }], { drivers: [7, 8], others: [8, 7] });
    expect(valuesOf(found)).toEqual([[4, 70, 3, 80], [3, 80, 4, 70]]);
  });

  test('fill texts and wide integers', async () => {
    store.put('drivers', '8', { odometer: '9007199254740993' });
    store.put('drivers', '7', { badge: 'gold', odometer: 12 });
    const badges = await enrich([{ ...DRIVERS, groups: [{ group: 'drivers', features: ['badge'] }] }], { drivers: [7, 8, 7], datatype: 'BYTES' });
    expect(badges.tensors[0].data).toEqual(['gold', 'none', 'gold']);
    const odometers = await enrich([{ ...DRIVERS, groups: [{ group: 'drivers', features: ['odometer'] }] }], { drivers: [8, 7], datatype: 'INT64' });
    expect(odometers.tensors[0].data).toEqual(BigInt64Array.of(9007199254740993n, 12n));
  });

  test('that are too old, or rows that have expired, count as absent', async () => {
    const old = await enrich([DRIVERS], { drivers: [7], now: NOON - 1000 + 3_600_001 });
    expect([valuesOf(old), [...old.defaulted], old.asOf]).toEqual([[[4, 0]], ['drivers.trips'], NOON - 1000]);
    const expired = await enrich([DRIVERS], { drivers: [7], now: NOON - 1000 + 86_400_001 });
    expect([valuesOf(expired), [...expired.defaulted], expired.asOf]).toEqual([[[4.5, 0]], ['drivers.rating', 'drivers.trips'], undefined]);
  });

  test.each<[string, string, () => void]>([
    ['UNKNOWN_ENTITY', 'active', () => store.rows.clear()],
    ['FEATURE_MISSING', 'active', () => undefined],
    ['FEATURE_MISSING', 'odometer', () => store.put('drivers', '7', { odometer: null })],
    ['INVALID_FEATURE_ROW', 'rating', () => store.put('drivers', '7', { rating: 'good' })],
  ])('fail with %s where feature "%s" must not be filled in', async (code, feature, given) => {
    given();
    await expect(enrich([{ ...DRIVERS, groups: [{ group: 'drivers', features: [feature] }] }], { drivers: [7] })).rejects.toMatchObject({ code });
  });

  test('are explained on demand, row by row', async () => {
    const { resolved } = await enrich([{ ...DRIVERS, groups: [...DRIVERS.groups, ...CARS.groups] }], { drivers: [8, 7, 8] });
    expect(resolved).toHaveLength(1);
    expect(resolved[0].map((groups) => groups.map(({ group, entity, row, values, defaulted }) => (
      [group.schema.name, ...entity, row?.eventTime, values, defaulted.map(({ name }) => name)]
    )))).toEqual([
      [['drivers', '8', NOON - 2000, [3, 80], []], ['cars', '8', undefined, [4], ['seats']]],
      [['drivers', '7', NOON - 1000, [4, 70], []], ['cars', '7', NOON - 500, [5], []]],
      [['drivers', '8', NOON - 2000, [3, 80], []], ['cars', '8', undefined, [4], ['seats']]],
    ]);
  });

  test('in the tensor are those that explain it, whatever rows there are', async () => {
    const row = option(integer({ min: 0, max: 7_200_000 }), { nil: undefined });
    const ids = array(integer({ min: 0, max: 4 }), { minLength: 1, maxLength: 8 });
    await assert(asyncProperty(ids, array(row, { minLength: 5, maxLength: 5 }), boolean(), async (drivers, ages, on) => {
      store = new Store();
      ages.forEach((age, id) => age !== undefined && store.put('drivers', String(id), { rating: id, trips: id % 2 ? id : null }, NOON - age));
      const found = await enrich([{ ...DRIVERS, flag: 'f', groups: [...DRIVERS.groups, ...CARS.groups] }], { drivers, flags: { f: on } });
      expect(valuesOf(found)[0]).toEqual(found.resolved[0].flatMap((groups) => groups.flatMap(({ values }) => values)));
      const all = found.resolved[0].flat();
      expect([...found.defaulted].sort()).toEqual([...new Set(all.flatMap(({ defaulted }) => defaulted.map(({ label }) => label)))].sort());
      const times = all.filter(({ values, defaulted }) => defaulted.length < values.length).map((group) => group.row!.eventTime);
      expect(found.asOf).toBe(times.length > 0 ? Math.min(...times) : undefined);
    }), { numRuns: 100 });
  });
});

describe('while the feature store is away', () => {
  const SOFT: FeatureTensor = { ...DRIVERS, onUnavailable: 'defaults' };

  test.each([AWAY, new BrainError('DEADLINE_EXCEEDED', 'too slow')])('defaults stand in where the manifest says so: %s', async (failure) => {
    store.failure = failure;
    const found = await enrich([SOFT]);
    expect([valuesOf(found), found.degraded, [...found.defaulted], found.asOf]).toEqual([
      [[4.5, 0, 4.5, 0]], ['features:x'], ['drivers.rating', 'drivers.trips'], undefined,
    ]);
    expect(found.resolved[0][0][0]).toMatchObject({ entity: ['7'], row: undefined, values: [4.5, 0] });
  });

  test('a request with a tensor that may not be filled in fails', async () => {
    store.failure = AWAY;
    await expect(enrich([DRIVERS])).rejects.toBe(AWAY);
    await expect(enrich([SOFT, CARS])).rejects.toBe(AWAY);
  });

  test.each([new BrainError('INVALID_FEATURE_ROW', 'spoilt'), new BrainError('INTERNAL', 'bug'), new TypeError('bug')])('%s is no absence', async (failure) => {
    store.failure = failure;
    await expect(enrich([SOFT])).rejects.toBe(failure);
  });

  test('a caller that is gone gets no defaults', async () => {
    store.failure = AWAY;
    await expect(enrich([SOFT], { context: { signal: AbortSignal.abort(new Error('gone')) } })).rejects.toBe(AWAY);
  });

  test('a store that is too slow leaves the model its time', async () => {
    jest.useFakeTimers();
    const scope = RequestScope.start(new DeadlineTimers({ now: () => Date.now() }), { timeoutMs: 50 });
    store.read = () => new Promise(() => undefined);
    const answer = enrich([SOFT], { context: scope });
    await jest.advanceTimersByTimeAsync(0.6 * 50 + 8);
    const found = await answer;
    expect([found.degraded, scope.aborted]).toEqual([['features:x'], false]);
    scope.end();
  });

  test('its deadline is shorter only where something can stand in', async () => {
    await enrich([SOFT], { context: { deadline: NOON + 1000 } });
    await enrich([SOFT, CARS], { context: { deadline: NOON + 1000 } });
    expect(store.contexts.map((context) => context!.deadline)).toEqual([NOON + 600, NOON + 1000]);
  });

  test('a row without a feature is still filled in by itself, and that degrades nothing', async () => {
    const found = await enrich([SOFT], { drivers: [404] });
    expect([valuesOf(found), found.degraded]).toEqual([[[4.5, 0]], []]);
  });
});

describe('a flag', () => {
  const FLAGGED: FeatureTensor = { ...DRIVERS, flag: 'driver-features' };

  test.each<Record<string, boolean> | undefined>([undefined, { 'driver-features': true }, { another: false }])('that is on or absent reads: %j', async (flags) => {
    expect(valuesOf(await enrich([FLAGGED], { flags }))).toEqual([[4, 70, 3, 80]]);
  });

  test('that is off reads nothing, and that degrades nothing', async () => {
    const found = await enrich([FLAGGED, { ...CARS, flag: 'driver-features' }], { flags: { 'driver-features': false } });
    expect([valuesOf(found), found.degraded, store.contexts]).toEqual([[[4.5, 0, 4.5, 0], [4, 4]], [], []]);
    expect([...found.defaulted]).toEqual(['drivers.rating', 'drivers.trips', 'cars.seats']);
  });

  test('that is off leaves other tensors their reads, of the same group too', async () => {
    const found = await enrich([FLAGGED, { ...DRIVERS, tensor: 'z' }], { flags: { 'driver-features': false } });
    expect(valuesOf(found)).toEqual([[4.5, 0, 4.5, 0], [4, 70, 3, 80]]);
    expect(found.asOf).toBe(NOON - 2000);
  });
});

describe('a manifest', () => {
  const problems = (tensor: FeatureTensor) => manifestProblems(manifestOf([tensor], 'FP32', ['driver']), CONFIGURATION);
  const features = (...names: string[]) => [{ group: 'drivers', features: names }];

  test('may let defaults stand in where every feature has one', () => {
    expect(problems({ ...DRIVERS, onUnavailable: 'defaults', flag: 'f' })).toEqual([]);
    expect(problems({ ...DRIVERS, groups: features('odometer', 'active'), onUnavailable: 'fail' })).toEqual([]);
  });

  test('may not where a feature has none, or is required', () => {
    expect(problems({ ...DRIVERS, groups: features('rating', 'odometer', 'active'), onUnavailable: 'defaults' })).toEqual([
      "tensor 'x' has onUnavailable 'defaults', but feature 'odometer' of group 'drivers' has no default",
      "tensor 'x' has onUnavailable 'defaults', but feature 'active' of group 'drivers' is required",
    ]);
    expect(problems({ ...DRIVERS, groups: features('odometer'), flag: 'f' })).toEqual([
      "tensor 'x' has flag 'f', but feature 'odometer' of group 'drivers' has no default",
    ]);
  });
});
