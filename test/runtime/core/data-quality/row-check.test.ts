import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { itemOf } from '../../../../runtime/adapters/aws/online-item';
import { BatchProfile } from '../../../../runtime/core/data-quality/batch-profile';
import { itemBytes, quarantinedRow, RowCheck } from '../../../../runtime/core/data-quality/row-check';
import { type FeatureExpectations, type FeatureGroupSchema, ONLINE_ITEM_MAX_BYTES, QUARANTINE_REASONS, quarantinePath } from '../../../../src/contract';

const NOON = Date.UTC(2026, 0, 1, 12);
const feature = (name: string, dtype: FeatureGroupSchema['features'][number]['dtype'], expectations?: FeatureExpectations, piiClass: 'none' | 'personal' = 'none') => ({
  name, dtype, required: false, piiClass, ...expectations && { expectations },
});
const GROUP: FeatureGroupSchema = {
  name: 'drivers',
  version: 2,
  owner: 'fleet',
  entityKeys: [{ name: 'driver', dtype: 'string' }],
  features: [
    feature('fare', 'float64', { min: 0, max: 500, maxNullRate: 0.1 }),
    feature('odometer', 'int64', { min: 0 }),
    feature('kind', 'string', { categories: ['car', 'van'] }),
    feature('code', 'int64', { categories: [1, 2] }),
    feature('age', 'int32', { max: 120 }, 'personal'),
    feature('note', 'string'),
  ],
  freshness: 3600,
};
const check = new RowCheck(GROUP);
const judge = (values: Record<string, string | number | boolean | null>, eventTime = NOON, createdTime = NOON) => (
  check.check({ entity: ['d1'], values, eventTime, createdTime }, NOON)
);

describe('a row is written', () => {
  test.each([
    ['within its ranges, both ends', { fare: 0, odometer: 0, age: 120 }],
    ['at the upper end', { fare: 500 }],
    ['with a known category', { kind: 'van', code: 2 }],
    ['without any value', {}], ['with nulls', { fare: null, kind: null }], ['with a wide integer', { odometer: '9223372036854775807' }],
  ])('%s', (_, values) => {
    expect(judge(values)).toBeUndefined();
  });

  test('of the past, and of what clocks may differ', () => {
    expect(judge({}, 0, 0)).toBeUndefined();
    expect(judge({}, NOON + 300_000, NOON + 300_000)).toBeUndefined();
  });
});

test.each<[string, Parameters<typeof judge>, string, string | undefined, RegExp]>([
  ['below its range', [{ fare: -0.01 }], 'OUT_OF_RANGE', 'fare', /^feature 'fare' is expected to be from 0 to 500, got -0.01$/],
  ['above its range', [{ fare: 500.5 }], 'OUT_OF_RANGE', 'fare', /got 500.5/],
  ['a wide integer below its range', [{ odometer: '-9223372036854775808' }], 'OUT_OF_RANGE', 'odometer', /from 0 to Infinity/],
  ['of no known category', [{ kind: 'boat' }], 'UNKNOWN_CATEGORY', 'kind', /one of 2 categories, got "boat"/],
  ['of no known code', [{ code: 3 }], 'UNKNOWN_CATEGORY', 'code', /got 3/],
  ['a personal value, which is not shown', [{ age: 121 }], 'OUT_OF_RANGE', 'age', /to 120$/],
  ['of the future', [{}, NOON + 300_001], 'FUTURE_TIME', 'event_time', /'event_time' is 2026-01-01T12:05:00.001Z, 301 s ahead of this clock; 300 s are tolerated/],
  ['learned in the future', [{}, NOON, NOON + 300_001], 'FUTURE_TIME', 'created_time', /'created_time'/],
  ['larger than an item', [{ note: 'x'.repeat(ONLINE_ITEM_MAX_BYTES) }], 'ITEM_TOO_LARGE', undefined, /takes \d+ bytes online, and an item has room for 409600/],
])('a row is refused that is %s', (_, given, reason, column, text) => {
  const refusal = judge(...given);
  expect(refusal).toMatchObject({ reason, text: expect.stringMatching(text) });
  expect(refusal!.column).toBe(column);
});

test('the size is never less than that of the item', () => {
  type Attribute = { S?: string; N?: string };
  const bytes = ({ S, N }: Attribute) => (S === undefined ? Math.ceil(N!.length / 2) + 1 : Buffer.byteLength(S));
  const text = fc.string({ unit: 'binary', maxLength: 2000 });
  fc.assert(fc.property(text, text, fc.double({ noNaN: true, noDefaultInfinity: true }), (driver, note, fare) => {
    const row = { group: { ...GROUP, ttl: 60 }, entity: [driver], eventTime: NOON, createdTime: NOON, values: { note, fare } };
    const sizes = Object.entries(itemOf(row)).map(([name, attribute]) => name.length + bytes(attribute as Attribute));
    expect(itemBytes(row.group, row.entity, row.values)).toBeGreaterThanOrEqual(sizes.reduce((sum, size) => sum + size, 0));
  }));
});

test('only features that are judged need be given', () => {
  expect(new RowCheck({ ...GROUP, features: GROUP.features.slice(0, 2).concat(feature('plain', 'bool')) }).judged.map(({ name }) => name)).toEqual(['fare', 'odometer']);
  // texts fill an item together with all the rest
  expect(check.judged).toBe(GROUP.features);
});

describe('of a batch', () => {
  const profile = (rows: { values?: Record<string, number | null>; at?: number }[]) => {
    const batch = new BatchProfile(GROUP);
    for (const { values = { fare: 1 }, at = NOON } of rows) batch.add({ values, eventTime: at });
    return batch;
  };
  const nulls = (count: number, of: number) => Array.from({ length: of }, (_, n) => ({ values: { fare: n < count ? null : 1 } }));

  test('nothing is said where all is as expected, nor without rows', () => {
    expect(profile(nulls(1, 10)).violations(NOON + 3_600_000)).toEqual([]);
    expect(new BatchProfile(GROUP).violations(NOON)).toEqual([]);
    expect(new BatchProfile(GROUP).newestEvent).toBeUndefined();
  });

  test('too many nulls are a violation, an absent value is one of them', () => {
    expect(profile([{ values: {} }, ...nulls(1, 10)]).violations(NOON)).toEqual([
      { expectation: 'null-rate', feature: 'fare', found: 2 / 11, most: 0.1, text: "18.2 % of 11 rows have no 'fare', at most 10 % are expected" },
    ]);
  });

  test('a rate is not judged where one row would decide', () => {
    expect(profile(nulls(9, 9)).violations(NOON)).toEqual([]);
    const never = new BatchProfile({ ...GROUP, features: [feature('fare', 'float64', { maxNullRate: 0 })] });
    never.add({ eventTime: NOON, values: {} });
    expect(never.violations(NOON)).toMatchObject([{ expectation: 'null-rate', found: 1 }]);
  });

  test('the newest event decides how fresh it is', () => {
    const batch = profile([{ at: NOON - 9_000_000 }, { at: NOON - 3_601_000 }, { at: NOON - 8_000_000 }]);
    expect(batch.newestEvent).toBe(NOON - 3_601_000);
    expect(batch.violations(NOON)).toEqual([{ expectation: 'freshness', found: 3601, most: 3600, text: 'the newest event is 3601 s old, at most 3600 s are expected' }]);
  });
});

test('a refused row is kept with what it takes to repair it', () => {
  expect(quarantinedRow(GROUP, { reason: 'WRONG_TYPE', column: 'fare', text: 'no' }, { source: 'a.csv', row: 3, record: { fare: 'x' }, now: NOON })).toEqual({
    group: 'drivers', version: 2, reason: 'WRONG_TYPE', column: 'fare', text: 'no', source: 'a.csv', row: 3, time: '2026-01-01T12:00:00.000Z', record: { fare: 'x' },
  });
  expect(quarantinePath(GROUP, 'x')).toBe('quarantine/drivers/v2/x.jsonl');
});

test('docs/errors.md has the table of reasons', () => {
  const text = readFileSync(join(__dirname, '../../../../docs/errors.md'), 'utf8');
  const section = text.split('## Why a row is quarantined\n')[1].split('\n## ')[0];
  const rows = [...section.matchAll(/^\| `([A-Z_]+)` \| ([^|]+) \|$/gm)].map(([, reason, meaning]) => [reason, meaning]);
  expect(Object.fromEntries(rows)).toEqual(QUARANTINE_REASONS);
});
