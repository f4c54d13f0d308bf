import fc from 'fast-check';
import { isRefusal, readRow, timeOf } from '../../../../runtime/core/data-quality/row-reader';
import { valueOfText } from '../../../../runtime/core/data-quality/value-texts';
import { canonicalValue } from '../../../../runtime/core/feature-row';
import { FEATURE_DTYPES, type FeatureGroupSchema } from '../../../../src/contract';

const NOON = Date.UTC(2026, 0, 1, 12);
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
    { name: 'email', dtype: 'string', required: false, piiClass: 'personal' },
  ],
};
const ROW = { region: 'eu', driver: '7', event_time: '2026-01-01T12:00:00Z' };
const read = (record: object) => readRow(GROUP, record as Record<string, unknown>, NOON + 5);

describe('a record becomes a row', () => {
  test('with its key in order, its times, and values in canonical form', () => {
    expect(read({ ...ROW, driver: 9007199254740992n, trips: 3, odometer: '12', rating: 4.7, earnings: 0.1, active: true, email: 'a@b' })).toEqual({
      group: GROUP,
      entity: ['eu', '9007199254740992'],
      eventTime: NOON,
      createdTime: NOON + 5,
      values: { trips: 3, odometer: 12, rating: Math.fround(4.7), earnings: 0.1, active: true, email: 'a@b' },
    });
  });

  test('with its own created time, and without what is null', () => {
    const row = { ...ROW, created_time: NOON + 1, trips: null, email: undefined, colour: null };
    expect(read(row)).toMatchObject({ createdTime: NOON + 1, values: {} });
  });

  test.each([[7], ['007'], ['+7'], [7n], ['7.0']])('an int64 key %p is one entity', (driver) => {
    expect(read({ ...ROW, driver })).toMatchObject({ entity: ['eu', '7'] });
  });
});

test.each([
  ['no key', { driver: null }, 'MISSING_KEY', 'driver', /entity key 'driver' has no value/],
  ['a key of another type', { driver: 'seven' }, 'WRONG_TYPE', 'driver', /^entity key 'driver' must be int64$/],
  ['a key that is no text', { region: 5 }, 'WRONG_TYPE', 'region', /^entity key 'region' must be string$/],
  ['no event time', { event_time: null }, 'MISSING_TIME', 'event_time', /has no value/],
  ['a time that is none', { event_time: 'yesterday' }, 'WRONG_TYPE', 'event_time', /must be a time .*got "yesterday"/],
  ['a created time that is none', { created_time: {} }, 'WRONG_TYPE', 'created_time', /must be a time/],
  ['an unknown feature', { colour: 'red' }, 'UNKNOWN_FEATURE', 'colour', /declares no 'colour'/],
  ['text for a number', { trips: 'many' }, 'WRONG_TYPE', 'trips', /^feature 'trips' must be int32, got "many"$/],
  ['a fraction for an integer', { trips: 1.5 }, 'WRONG_TYPE', 'trips', /got 1\.5/],
  ['an integer out of its type', { trips: 2 ** 31 }, 'WRONG_TYPE', 'trips', /got 2147483648/],
  ['an int64 that is not exact', { odometer: 2 ** 53 }, 'WRONG_TYPE', 'odometer', /must be int64/],
  ['a number for text', { email: 5 }, 'WRONG_TYPE', 'email', /^feature 'email' must be string$/],
  ['not a number', { earnings: NaN }, 'NOT_FINITE', 'earnings', /finite float64, got NaN/],
  ['infinity for an integer', { trips: Infinity }, 'NOT_FINITE', 'trips', /finite int32, got Infinity/],
  ['a float32 that overflows', { rating: 1e39 }, 'NOT_FINITE', 'rating', /finite float32, got 1e\+39/],
])('a record with %s is refused', (_, more, reason, column, text) => {
  const refusal = read({ ...ROW, ...more });
  expect(isRefusal(refusal)).toBe(true);
  expect(refusal).toMatchObject({ reason, column, text: expect.stringMatching(text) });
});

describe('a time', () => {
  test.each([
    ['2026-01-01', Date.UTC(2026, 0, 1)], ['2026-01-01T12:00', NOON], ['2026-01-01 12:00:00', NOON], ['2026-01-01T12:00:00.25Z', NOON + 250], ['2026-01-01T13:00:00+01:00', NOON],
    ['2026-01-01T13:00:00+01', NOON], ['2026-01-01T17:30:00+0530', NOON], [NOON / 1000, NOON], [NOON, NOON], [`${NOON / 1000}`, NOON], [new Date(NOON), NOON], ['2024-02-29', Date.UTC(2024, 1, 29)], [-1, -1000], ['1767268801.5', NOON + 1500],
  ])('%p is read as UTC', (value, time) => {
    expect(timeOf('event_time', value)).toBe(time);
  });

  test.each([['noon'], ['2026-13-01'], ['2026-01-01T25:00'], ['2026-02-30'], ['2026-02-29T12:00:00Z'], ['2026-04-31'], ['2026-01-32'], [1e15], [NaN], [new Date(NaN)], [true], ['']])('%p is none', (value) => {
    expect(timeOf('event_time', value)).toMatchObject({ reason: 'WRONG_TYPE' });
  });
});

describe('a text stands for', () => {
  test.each([
    ['bool', 'TRUE', true], ['bool', '0', false], ['int32', '3.0', 3], ['int64', '9223372036854775807', '9223372036854775807'], ['float64', '1e3', 1000], ['float64', '.5', 0.5], ['float32', '-inf', NaN],
    ['string', '', ''], ['int32', '1.5', '1.5'], ['float64', '', ''], ['float64', '0x10', '0x10'], ['bool', 'yes', 'yes'],
  ] as const)('%s %p: %p', (dtype, text, value) => {
    expect(valueOfText(dtype, text)).toBe(value);
  });

  test('every value, what it was written from', () => {
    const finite = { noNaN: true, noDefaultInfinity: true };
    const values = {
      bool: fc.boolean(),
      int32: fc.integer(),
      int64: fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }).map(String),
      float32: fc.float(finite),
      float64: fc.double(finite),
      string: fc.string(),
    };
    for (const dtype of FEATURE_DTYPES) {
      fc.assert(fc.property(values[dtype] as fc.Arbitrary<string | number | boolean>, (value) => {
        const feature = { name: 'f', dtype };
        expect(canonicalValue(feature, valueOfText(dtype, String(value)))).toBe(canonicalValue(feature, value));
      }));
    }
  });
});
