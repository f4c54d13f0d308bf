import fc from 'fast-check';
import { CONFIGURATION } from './brain.fixture';
import { canonicalValue, rankOf, replaces, rowDigest, rowDigester, type RowRank } from '../../../runtime/core/feature-row';
import { scoreOf } from '../../../runtime/core/similarity';

const [DRIVERS] = CONFIGURATION.featureGroups;
const ranks = fc.record({ eventTime: fc.nat(3), createdTime: fc.nat(3), digest: fc.constantFrom('a', 'b', 'c') });

describe('which feature row wins', () => {
  test('a set of rows leaves the same winner in every order of arrival', () => {
    const orders = fc.array(ranks, { minLength: 1, maxLength: 8 })
      .chain((rows) => fc.tuple(fc.constant(rows), fc.shuffledSubarray(rows, { minLength: rows.length })));
    fc.assert(fc.property(orders, ([one, other]) => {
      const winner = (rows: RowRank[]) => rows.reduce<RowRank | undefined>((stored, row) => (replaces(row, stored) ? row : stored), undefined);
      expect(winner(one)).toEqual(winner(other));
    }));
  });

  test('the same row again changes nothing', () => {
    const row = { eventTime: 1, createdTime: 1, digest: 'a' };
    expect(replaces(row, row)).toBe(false);
    expect(replaces(row, undefined)).toBe(true);
  });

  test('the digest tells values, not how they are written', () => {
    const digest = rowDigest(DRIVERS, { rating: 4.7, trips: 0, odometer: 5 });
    expect(rowDigest(DRIVERS, { odometer: '5', trips: -0, rating: Math.fround(4.7), badge: null })).toBe(digest);
    expect(rowDigest(DRIVERS, { rating: 4.7, trips: 1, odometer: 5 })).not.toBe(digest);
    expect(digest).toMatch(/^[0-9a-f]{64}$/);
  });

  test('the digest of many rows is that of each', () => {
    const features = ([['b', 'bool'], ['a', 'int32'], ['é', 'int64'], ['i', 'int64'], ['f', 'float64'], ['s', 'string']] as const)
      .map(([name, dtype]) => ({ name, dtype, required: false, piiClass: 'none' as const }));
    const group = { ...DRIVERS, features };
    const digestOf = rowDigester(group);
    const value = fc.tuple(...[
      fc.boolean(), fc.integer(), fc.maxSafeInteger(), fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
      fc.double({ noNaN: true, noDefaultInfinity: true }), fc.string({ unit: 'binary' }),
    ].map((each: fc.Arbitrary<boolean | number | bigint | string>) => fc.option(each)));
    fc.assert(fc.property(value, (values) => {
      const row = Object.fromEntries(values.map((each, at) => [group.features[at].name, typeof each === 'bigint' ? each.toString() : each]));
      expect(digestOf(values)).toBe(rowDigest(group, row));
    }));
  });
});

describe('the rank of a stored row', () => {
  const row = (values: Record<string, number | null>) => ({ eventTime: 2, createdTime: 1, values });
  const wider = { ...DRIVERS, features: [...DRIVERS.features, { name: 'aptitude', dtype: 'float64' as const, required: false, piiClass: 'none' as const }] };

  test('is that of its values in canonical form', () => {
    const values = { rating: 0.1, trips: null };
    expect(rankOf(DRIVERS, row(values))).toEqual({ eventTime: 2, createdTime: 1, digest: rowDigest(DRIVERS, values) });
  });

  test('counts features that the group does not have any more as they were written', () => {
    const values = { trips: 3, aptitude: 0.1 };
    expect(rankOf(DRIVERS, row(values)).digest).toBe(rowDigest(wider, values));
    expect(rankOf(DRIVERS, row({ ...values, gone: null })).digest).toBe(rowDigest(wider, values));
    expect(rankOf(DRIVERS, row({ trips: 3 })).digest).not.toBe(rowDigest(wider, values));
  });

  test('is that of no row whose value is not of its type', () => {
    expect(() => rankOf(DRIVERS, row({ trips: 0.5 }))).toThrow(/feature 'trips' is int32/);
  });
});

describe('a feature value in canonical form', () => {
  test.each([
    ['int64', '9007199254740993', '9007199254740993'], ['int64', '12', 12], ['int64', -0, 0], ['float32', 0.1, Math.fround(0.1)], ['float64', -0, 0], ['bool', false, false], ['string', '', ''],
  ] as const)('%s %p is %p', (dtype, value, canonical) => {
    expect(Object.is(canonicalValue({ name: 'f', dtype }, value), canonical)).toBe(true);
  });

  test.each([
    ['int32', 1.5], ['int32', 2 ** 31], ['int32', '1'], ['int64', 2 ** 53], ['int64', '9223372036854775808'], ['int64', '1.0'], ['float32', 1e39], ['float64', Infinity], ['float64', '1'], ['bool', 1], ['string', 1],
  ] as const)('%s refuses %p', (dtype, value) => {
    expect(() => canonicalValue({ name: 'f', dtype }, value)).toThrow(expect.objectContaining({ code: 'INVALID_FEATURE_ROW' }));
  });
});

test('similarity scores are those that OpenSearch documents', () => {
  expect([scoreOf('cosine', 1), scoreOf('cosine', 0), scoreOf('cosine', -1)]).toEqual([1, 0.5, 0]);
  expect([scoreOf('l2', 0), scoreOf('l2', 3)]).toEqual([1, 0.25]);
  expect([scoreOf('dot', 2), scoreOf('dot', 0), scoreOf('dot', -3)]).toEqual([3, 1, 0.25]);
});
