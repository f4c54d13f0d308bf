import { breakage, columnChanges, type OfflineTableColumn } from '../../src/contract';

const column = (name: string, type: OfflineTableColumn['type'], required = false): OfflineTableColumn => ({ name, type, required });
const BEFORE = [column('id', 'string', true), column('visits', 'int32'), column('event_time', 'time', true)];

describe('the evolution of a feature group', () => {
  test('may add features', () => {
    const changes = columnChanges(BEFORE, [...BEFORE, column('spent', 'float64')]);
    expect(changes.added.map(({ name }) => name)).toEqual(['spent']);
    expect(breakage(changes)).toBeUndefined();
  });

  test('may order features anew', () => {
    expect(columnChanges(BEFORE, [...BEFORE].reverse())).toEqual({ added: [], dropped: [], retyped: [], rekeyed: [] });
  });

  test('may not drop, retype or add a key', () => {
    const changes = columnChanges(BEFORE, [BEFORE[0], column('country', 'string', true), column('event_time', 'string')]);
    expect(breakage(changes)).toBe('drops visits, retypes event_time from time to string, adds the key country');
  });

  test('compares types in the words of what is there', () => {
    const types = { string: 'varchar', int32: 'integer', time: 'timestamp(6)' } as Record<string, string>;
    const known = BEFORE.map(({ name, type }) => ({ name, type: types[type] }));
    expect(breakage(columnChanges(known, BEFORE, ({ type }) => types[type]))).toBeUndefined();
    expect(breakage(columnChanges(known, BEFORE))).toContain('visits from integer to int32');
  });
});
