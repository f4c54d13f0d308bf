import Ajv from 'ajv';
import { Duration, Token } from 'aws-cdk-lib';
import { FEATURE_GROUP_SCHEMA } from '../../src/contract';
import { EntityKey, Expectation, Feature, FeatureGroup } from '../../src/features';

const expectations = (feature: Feature) => feature._toSchema().expectations;

describe('Expectation', () => {
  test.each<[string, Feature, object | undefined]>([
    ['nothing', Feature.float64('f'), undefined],
    ['nothing by an empty list', Feature.float64('f', { expect: [] }), undefined],
    ['a range', Feature.float64('f', { expect: [Expectation.range({ min: 0, max: 0.5 })] }), { min: 0, max: 0.5 }],
    ['a lower bound of an integer', Feature.int64('f', { expect: [Expectation.range({ min: -5 })] }), { min: -5 }],
    ['categories', Feature.string('f', { expect: [Expectation.categories('a', '')] }), { categories: ['a', ''] }],
    ['codes', Feature.int32('f', { expect: [Expectation.codes(1, 2)] }), { categories: [1, 2] }],
    ['a null rate', Feature.bool('f', { expect: [Expectation.nullRate(0)] }), { maxNullRate: 0 }],
    ['several rules', Feature.float32('f', { defaultValue: 1, expect: [Expectation.nullRate(0.1), Expectation.range({ max: 1 })] }), { maxNullRate: 0.1, max: 1 }],
  ])('says %s in the schema', (_, feature, schema) => {
    expect(expectations(feature)).toEqual(schema);
    const group = FeatureGroup.define('g', { owner: 'o', entityKeys: [EntityKey.string('k')], features: [feature], freshness: Duration.hours(2) })._toSchema();
    expect(group.freshness).toBe(7200);
    expect(new Ajv({ allowUnionTypes: true }).validate(FEATURE_GROUP_SCHEMA, JSON.parse(JSON.stringify(group)))).toBe(true);
  });

  test.each<[string, () => Feature, RegExp]>([
    ['a range is of a text', () => Feature.string('f', { expect: [Expectation.range({ min: 1 })] }), /InvalidExpectation: the range of feature 'f' needs a number, and the feature is string/],
    ['a range has no bound', () => Feature.int32('f', { expect: [Expectation.range({})] }), /has no bound: give min, max or both/],
    ['a range is upside down', () => Feature.int32('f', { expect: [Expectation.range({ min: 2, max: 1 })] }), /a min of at most its max \(1\), got 2/],
    ['a bound is no number', () => Feature.float64('f', { expect: [Expectation.range({ max: NaN })] }), /finite bounds that are known at synth, got NaN/],
    ['a bound is a token', () => Feature.float64('f', { expect: [Expectation.range({ max: Token.asNumber({ Ref: 'P' }) })] }), /known at synth/],
    ['a bound of an integer is none', () => Feature.int64('f', { expect: [Expectation.range({ max: 0.5 })] }), /integers within .* got 0\.5 \(int64\)/],
    ['categories are of a number', () => Feature.int32('f', { expect: [Expectation.categories('a')] }), /the categories of feature 'f' need a text, and the feature is int32/],
    ['codes are of a text', () => Feature.string('f', { expect: [Expectation.codes(1)] }), /the codes of feature 'f' need an integer/],
    ['there is no category', () => Feature.string('f', { expect: [Expectation.categories()] }), /must be 1 to 1000, got 0/],
    ['a category stands twice', () => Feature.string('f', { expect: [Expectation.categories('a', 'b', 'a')] }), /once each, got "a" twice/],
    ['a code is no integer', () => Feature.int32('f', { expect: [Expectation.codes(1.5)] }), /integers within .* got 1\.5/],
    ['a null rate is no share', () => Feature.bool('f', { expect: [Expectation.nullRate(5)] }), /share from 0 to 1 .* got 5/],
    ['a rule stands twice', () => Feature.float64('f', { expect: [Expectation.range({ min: 0 }), Expectation.range({ min: 1 })] }), /DuplicateExpectation: feature 'f' is expected twice to have a min/],
    ['codes have a range beside them', () => Feature.int32('f', { expect: [Expectation.codes(1), Expectation.range({ min: 0 })] }), /has a range and codes/],
    ['the default is out of the range', () => Feature.float64('f', { defaultValue: -1, expect: [Expectation.range({ min: 0 })] }), /UnexpectedDefault: the default of feature 'f' is -1.*change one of the two/],
    ['the default is none of the categories', () => Feature.string('f', { defaultValue: '', expect: [Expectation.categories('a')] }), /UnexpectedDefault: .* is ""/],
  ])('fails when %s', (_, make, message) => {
    expect(make).toThrow(message);
  });

  test('a group that need not be fresh says nothing of it, and one that must says it in whole seconds', () => {
    const define = (freshness?: Duration) => FeatureGroup.define('g', { owner: 'o', entityKeys: [EntityKey.string('k')], features: [Feature.bool('f')], freshness });
    expect(define()._toSchema()).not.toHaveProperty('freshness');
    expect(() => define(Duration.millis(10))).toThrow(/InvalidDuration: freshness of feature group 'g'/);
  });
});
