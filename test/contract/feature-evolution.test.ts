import { breakage, groupChanges, knownGroup, type OfflineGroup } from '../../src/contract';

const BEFORE: OfflineGroup = {
  name: 'cards', version: 1, entityKeys: [{ name: 'id', dtype: 'string' }, { name: 'shop', dtype: 'string' }], features: [{ name: 'visits', dtype: 'int32' }, { name: 'kind', dtype: 'string' }],
};
const changes = (after: Partial<OfflineGroup>, before = BEFORE) => groupChanges(knownGroup(before), { ...BEFORE, ...after });
const [ID, SHOP] = BEFORE.entityKeys;
const [VISITS, KIND] = BEFORE.features;

describe('the evolution of a feature group', () => {
  test('may add features', () => {
    const more = changes({ features: [...BEFORE.features, { name: 'spent', dtype: 'float64' }] });
    expect(more.added.map(({ name }) => name)).toEqual(['spent']);
    expect(breakage(more)).toBeUndefined();
  });

  test('may order features anew', () => {
    expect(changes({ features: [KIND, VISITS] })).toEqual({ added: [], dropped: [], retyped: [], lacking: [] });
  });

  test('may not drop, retype or add a key', () => {
    expect(breakage(changes({ features: [{ ...KIND, dtype: 'bool' }], entityKeys: [ID, SHOP, { name: 'country', dtype: 'string' }] })))
      .toBe('drops visits, retypes kind from string to bool, changes its entity keys from (id, shop) to (id, shop, country)');
  });

  test.each<[string, Partial<OfflineGroup>, string]>([
    ['order keys anew', { entityKeys: [SHOP, ID] }, '(shop, id)'],
    ['make a feature a key', { entityKeys: [ID, SHOP, { name: 'kind', dtype: 'string' }], features: [VISITS] }, '(id, shop, kind)'],
    ['make a key a feature', { entityKeys: [ID], features: [SHOP, VISITS, KIND] }, '(id)'],
  ])('may not %s, though the columns stay', (_, after, keys) => {
    expect(breakage(changes(after))).toBe(`changes its entity keys from (id, shop) to ${keys}`);
  });

  test('asks for what every row has', () => {
    const { entityKeys, columns } = knownGroup(BEFORE);
    expect(breakage(groupChanges({ entityKeys, columns: columns.filter(({ name }) => name !== 'event_time') }, BEFORE))).toBe('needs event_time in every row');
  });

  test('compares types in the words of what is there', () => {
    const types = { string: 'varchar', int32: 'integer', time: 'timestamp(6)' } as Record<string, string>;
    const { entityKeys, columns } = knownGroup(BEFORE);
    const known = { entityKeys, columns: columns.map(({ name, type }) => ({ name, type: types[type] })) };
    expect(breakage(groupChanges(known, BEFORE, ({ type }) => types[type]))).toBeUndefined();
    expect(breakage(groupChanges(known, BEFORE))).toContain('visits from integer to int32');
  });
});
