import { rowDigest } from '../../../runtime/core/feature-row';
import type { FeatureWrite, OnlineFeatureStore } from '../../../runtime/core/ports';
import type { FeatureGroupSchema } from '../../../src/contract';

const GROUP: FeatureGroupSchema = {
  name: 'drivers',
  version: 1,
  owner: 'fleet',
  entityKeys: [{ name: 'region', dtype: 'string' }, { name: 'driver', dtype: 'int64' }],
  features: [
    { name: 'trips', dtype: 'int32', required: false, piiClass: 'none' },
    { name: 'odometer', dtype: 'int64', required: false, piiClass: 'none' },
    { name: 'rating', dtype: 'float32', required: false, piiClass: 'none' },
    { name: 'earnings', dtype: 'float64', required: false, piiClass: 'none' },
    { name: 'active', dtype: 'bool', required: false, piiClass: 'none' },
    { name: 'vehicle', dtype: 'string', required: false, piiClass: 'none' },
  ],
};
const OTHER: FeatureGroupSchema = { ...GROUP, name: 'drivers-live', entityKeys: [{ name: 'driver', dtype: 'int64' }] };
const NOON = Date.UTC(2026, 0, 1, 12);

const row = (entity: string[], values: FeatureWrite['values'], eventTime = NOON, createdTime = eventTime, group = GROUP): FeatureWrite => ({
  group, entity, values, eventTime, createdTime,
});

/** What every online store does, whatever it is made of. `open` gives a store that holds nothing. */
export function onlineStoreContract(open: () => Promise<OnlineFeatureStore>): void {
  let store: OnlineFeatureStore;
  beforeEach(async () => {
    store = await open();
  });
  afterEach(() => store.close());

  const read = async (entity: string[], group = GROUP) => (await store.read([{ group, entity }]))[0];

  test('gives back every dtype as it was written', async () => {
    const values = { trips: -7, odometer: '9223372036854775807', rating: Math.fround(4.7), earnings: 0.1 + 0.2, active: false, vehicle: 'Škoda 🚗' };
    await store.write([row(['eu', '1'], values, NOON, NOON + 5)]);
    expect(await read(['eu', '1'])).toEqual({ eventTime: NOON, createdTime: NOON + 5, values });
  });

  test('a null and an absent feature both read as not known', async () => {
    await store.write([row(['eu', '1'], { trips: 0, rating: null, vehicle: '' })]);
    const values = (await read(['eu', '1']))!.values;
    expect(values.trips).toBe(0);
    expect(values.vehicle).toBe('');
    expect(values.rating ?? null).toBeNull();
    expect(values.active ?? null).toBeNull();
  });

  test('an unknown entity has no row', async () => {
    expect(await read(['eu', '404'])).toBeUndefined();
  });

  test('answers in the order of the requests, across groups, and for duplicates', async () => {
    await store.write([row(['eu', '1'], { trips: 1 }), row(['eu', '2'], { trips: 2 }), row(['2'], { trips: 22 }, NOON, NOON, OTHER)]);
    const rows = await store.read([
      { group: GROUP, entity: ['eu', '2'] },
      { group: OTHER, entity: ['2'] },
      { group: GROUP, entity: ['eu', '3'] },
      { group: GROUP, entity: ['eu', '1'] },
      { group: GROUP, entity: ['eu', '2'] },
    ]);
    expect(rows.map((found) => found?.values.trips)).toEqual([2, 22, undefined, 1, 2]);
  });

  test('key parts do not run into each other', async () => {
    await store.write([row(['a#b', '1'], { trips: 1 }), row(['a', 'b#1'], { trips: 2 }), row(['a|', '1'], { trips: 3 }), row(['a', '|1'], { trips: 4 })]);
    expect((await read(['a#b', '1']))!.values.trips).toBe(1);
    expect((await read(['a', 'b#1']))!.values.trips).toBe(2);
    expect((await read(['a|', '1']))!.values.trips).toBe(3);
    expect((await read(['a', '|1']))!.values.trips).toBe(4);
  });

  test('another version of a group has rows of its own', async () => {
    await store.write([row(['eu', '1'], { trips: 1 })]);
    expect(await read(['eu', '1'], { ...GROUP, version: 2 })).toBeUndefined();
  });

  test('reads more entities at once than one call of any service takes', async () => {
    const entities = Array.from({ length: 230 }, (_, driver) => ['eu', String(driver)]);
    await store.write(entities.map((entity, trips) => row(entity, { trips })));
    const rows = await store.read(entities.map((entity) => ({ group: GROUP, entity })));
    expect(rows.map((found) => found?.values.trips)).toEqual(entities.map((_, trips) => trips));
  });

  test('reads nothing for no request', async () => {
    expect(await store.read([])).toEqual([]);
    await store.write([]);
  });

  test('a later event wins, in whichever order the two arrive', async () => {
    await store.write([row(['eu', '1'], { trips: 2 }, NOON + 1)]);
    await store.write([row(['eu', '1'], { trips: 1 }, NOON)]);
    expect((await read(['eu', '1']))!.values.trips).toBe(2);
    await store.write([row(['eu', '1'], { trips: 3 }, NOON + 2)]);
    expect((await read(['eu', '1']))!.values.trips).toBe(3);
  });

  test('of one event time the later created wins, in whichever order the two arrive', async () => {
    await store.write([row(['eu', '1'], { trips: 2 }, NOON, NOON + 9)]);
    await store.write([row(['eu', '1'], { trips: 1 }, NOON, NOON + 8)]);
    expect((await read(['eu', '1']))!.values.trips).toBe(2);
    await store.write([row(['eu', '1'], { trips: 3 }, NOON, NOON + 10)]);
    expect((await read(['eu', '1']))!.values.trips).toBe(3);
  });

  test('equal in both times the larger digest wins, in whichever order the two arrive', async () => {
    const [small, large] = [{ trips: 1 }, { trips: 2 }].sort((a, b) => (rowDigest(GROUP, a) < rowDigest(GROUP, b) ? -1 : 1));
    await store.write([row(['eu', '1'], large)]);
    await store.write([row(['eu', '1'], small)]);
    expect((await read(['eu', '1']))!.values).toMatchObject(large);
    await store.write([row(['eu', '2'], small)]);
    await store.write([row(['eu', '2'], large)]);
    expect((await read(['eu', '2']))!.values).toMatchObject(large);
  });

  test('a winner replaces the whole row', async () => {
    await store.write([row(['eu', '1'], { trips: 1, vehicle: 'old' })]);
    await store.write([row(['eu', '1'], { trips: 2 }, NOON + 1)]);
    expect((await read(['eu', '1']))!.values.vehicle ?? null).toBeNull();
  });

  test('one batch may hold an entity twice: the winner stays', async () => {
    await store.write([row(['eu', '1'], { trips: 2 }, NOON + 2), row(['eu', '1'], { trips: 1 }, NOON + 1), row(['eu', '1'], { trips: 3 }, NOON + 3)]);
    expect((await read(['eu', '1']))!.values.trips).toBe(3);
  });

  test('writers that race leave the winner', async () => {
    const writes = Array.from({ length: 40 }, (_, i) => row(['eu', '1'], { trips: i }, NOON + ((i * 17) % 40)));
    await Promise.all(writes.map((write) => store.write([write])));
    const winner = writes.find((write) => write.eventTime === NOON + 39)!;
    expect((await read(['eu', '1']))!.values.trips).toBe(winner.values.trips);
  });

  test('a value that does not fit its dtype is refused, and so is an unknown feature', async () => {
    await expect(store.write([row(['eu', '1'], { trips: 'many' })])).rejects.toMatchObject({ code: 'INVALID_FEATURE_ROW' });
    await expect(store.write([row(['eu', '1'], { trips: 2 ** 31 })])).rejects.toMatchObject({ code: 'INVALID_FEATURE_ROW' });
    await expect(store.write([row(['eu', '1'], { rating: Number.NaN })])).rejects.toMatchObject({ code: 'INVALID_FEATURE_ROW' });
    await expect(store.write([row(['eu', '1'], { colour: 'red' })])).rejects.toMatchObject({ code: 'INVALID_FEATURE_ROW' });
    expect(await read(['eu', '1'])).toBeUndefined();
  });
}
