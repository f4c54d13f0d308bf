import { Duration, Lazy, Token } from 'aws-cdk-lib';
import { FEATURE_DTYPES, PII_CLASSES, RESERVED_COLUMNS } from '../../src/contract';
import { EntityKey, Feature, PiiClass } from '../../src/features';

describe('Feature', () => {
  test('says no more than its name, type, and that it is neither required nor personal', () => {
    expect(Feature.float32('price')._toSchema()).toEqual({ name: 'price', dtype: 'float32', required: false, piiClass: 'none' });
  });

  test('carries everything it is told', () => {
    const feature = Feature.string('segment', {
      description: 'Market segment', defaultValue: '', maxAge: Duration.hours(2), pii: PiiClass.PERSONAL,
    });
    expect(feature._toSchema()).toEqual({
      name: 'segment', dtype: 'string', description: 'Market segment', default: '', required: false, maxAge: 7200, piiClass: 'personal',
    });
    expect(feature.name).toBe('segment');
  });

  test('has a factory for every type of the contract', () => {
    const made = [
      Feature.bool('a'), Feature.int32('a'), Feature.int64('a'), Feature.float32('a'), Feature.float64('a'), Feature.string('a'),
    ].map((feature) => feature._toSchema().dtype);
    expect(made).toEqual(FEATURE_DTYPES);
  });

  test('has a PII class for every class of the contract', () => {
    const classes = [PiiClass.NONE, PiiClass.PSEUDONYMOUS, PiiClass.PERSONAL, PiiClass.SENSITIVE];
    expect(classes.map((pii) => Feature.bool('a', { pii })._toSchema().piiClass)).toEqual(PII_CLASSES);
    expect(classes.map(String)).toEqual(PII_CLASSES);
  });

  test.each([
    ['false for bool', Feature.bool('f', { defaultValue: false }), false],
    ['0 for float64', Feature.float64('f', { defaultValue: 0 }), 0],
    ['the least int32', Feature.int32('f', { defaultValue: -(2 ** 31) }), -2147483648],
    ['the largest int32', Feature.int32('f', { defaultValue: 2 ** 31 - 1 }), 2147483647],
    ['the largest exact int64', Feature.int64('f', { defaultValue: Number.MAX_SAFE_INTEGER }), 9007199254740991],
    ['the largest float32', Feature.float32('f', { defaultValue: 3.4028234663852886e38 }), 3.4028234663852886e38],
  ])('takes as default %s', (_, feature, value) => {
    expect(feature._toSchema().default).toBe(value);
  });

  test.each<[string, () => Feature, RegExp]>([
    ['an int32 out of range', () => Feature.int32('n', { defaultValue: 2 ** 31 }), /feature 'n' must be an integer from -2147483648 to 2147483647.*got 2147483648/],
    ['an int32 that is no integer', () => Feature.int32('n', { defaultValue: 0.5 }), /int32.*got 0\.5/],
    ['an int64 that is not exact', () => Feature.int64('n', { defaultValue: 2 ** 53 }), /int64.*got 9007199254740992/],
    ['a float32 out of range', () => Feature.float32('n', { defaultValue: 1e39 }), /float32.*got 1e\+39/],
    ['no number', () => Feature.float32('n', { defaultValue: Number.NaN }), /finite.*got NaN/],
    ['an infinite number', () => Feature.float64('n', { defaultValue: Infinity }), /finite.*got Infinity/],
    ['text for a number', () => Feature.int32('n', { defaultValue: '1' as unknown as number }), /int32.*got "1"/],
    ['a number for a boolean', () => Feature.bool('n', { defaultValue: 1 as unknown as boolean }), /true or false, got 1/],
    ['a number for text', () => Feature.string('n', { defaultValue: 1 as unknown as string }), /text of at most 1024 characters, got 1/],
    ['text that is too long', () => Feature.string('n', { defaultValue: 'x'.repeat(1025) }), /at most 1024 characters/],
    ['a token', () => Feature.float64('n', { defaultValue: Token.asNumber({ Ref: 'Parameter' }) }), /known at synth/],
  ])('fails when the default is %s', (_, make, message) => {
    expect(make).toThrow(message);
    expect(make).toThrow(/InvalidDefault/);
  });

  test('fails when it is required and has a default', () => {
    expect(() => Feature.int32('n', { required: true, defaultValue: 0 })).toThrow(/RequiredWithDefault: feature 'n' is required and has the default 0.*drop one/);
  });

  test.each(RESERVED_COLUMNS)('fails when it is called %s, which every row has', (name) => {
    expect(() => Feature.bool(name)).toThrow(new RegExp(`ReservedColumn: a feature name must not be '${name}'.*another name`));
    expect(() => EntityKey.string(name)).toThrow(/ReservedColumn/);
  });

  test.each(['', 'Price', '1st', 'a b', 'ä', 'x'.repeat(64), '-a'])("fails when it is called '%s'", (name) => {
    expect(() => Feature.float32(name)).toThrow(/InvalidName: a feature name must match .*use lower case/);
    expect(() => EntityKey.int64(name)).toThrow(/InvalidName: an entity key must match/);
  });

  test('fails with a name that Glue takes for no column', () => {
    expect(() => Feature.float32('dwell-time')).toThrow(/InvalidColumn: a feature name must match .* got 'dwell-time': .* no '-'/);
    expect(() => EntityKey.int64('user-id')).toThrow(/InvalidColumn: an entity key must match/);
  });

  test('fails when its age is not whole seconds', () => {
    expect(() => Feature.bool('a', { maxAge: Duration.millis(1500) })).toThrow(/InvalidDuration: maxAge of feature 'a' must be whole seconds.*got 1\.5 s/);
    expect(() => Feature.bool('a', { maxAge: Duration.seconds(0) })).toThrow(/got 0 s/);
    expect(() => Feature.bool('a', { maxAge: Duration.seconds(Lazy.number({ produce: () => 5 })) })).toThrow(/UnknownDuration/);
  });

  test('fails when its description is blank, too long or a token', () => {
    expect(() => Feature.bool('a', { description: ' ' })).toThrow(/InvalidText: the description of feature 'a' must be 1 to 1024 characters/);
    expect(() => Feature.bool('a', { description: 'x'.repeat(1025) })).toThrow(/got 1025 characters/);
    expect(() => Feature.bool('a', { description: Token.asString({ Ref: 'P' }) })).toThrow(/UnknownText/);
  });
});
