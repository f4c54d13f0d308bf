import Ajv from 'ajv';
import { Duration } from 'aws-cdk-lib';
import { FEATURE_GROUP_SCHEMA } from '../../src/contract';
import { EntityKey, Feature, FeatureGroup, FeatureGroupProps, PiiClass } from '../../src/features';

const valid = new Ajv({ allowUnionTypes: true }).compile(FEATURE_GROUP_SCHEMA);

const define = (props: Partial<FeatureGroupProps> = {}, name = 'customer') => FeatureGroup.define(name, {
  owner: 'growth', entityKeys: [EntityKey.string('customer_id')], features: [Feature.float32('spend')], ...props,
});

describe('FeatureGroup', () => {
  test('is version 1 and never expires unless it says so', () => {
    expect(define()._toSchema()).toEqual({
      name: 'customer',
      version: 1,
      owner: 'growth',
      entityKeys: [{ name: 'customer_id', dtype: 'string' }],
      features: [{ name: 'spend', dtype: 'float32', required: false, piiClass: 'none' }],
    });
  });

  test('gives its schema as JSON text, as the client of features takes it', () => {
    const group = define({ ttl: Duration.days(30) });
    expect(JSON.parse(group.toJson())).toEqual(group._toSchema());
    expect(valid(JSON.parse(group.toJson()))).toBe(true);
  });

  test('validates against the contract with everything set', () => {
    const schema = define({
      description: 'What a customer did at a shop',
      version: 3,
      ttl: Duration.days(30),
      entityKeys: [EntityKey.string('customer_id'), EntityKey.int64('shop')],
      features: [
        Feature.bool('active', { defaultValue: false }),
        Feature.int32('visits', { required: true, maxAge: Duration.days(1) }),
        Feature.int64('cents', { defaultValue: -1 }),
        Feature.float32('spend', { description: 'EUR' }),
        Feature.float64('score', { defaultValue: 0.5 }),
        Feature.string('email', { pii: PiiClass.PERSONAL, defaultValue: '' }),
      ],
    })._toSchema();
    expect(valid(schema)).toBe(true);
    expect(schema).toMatchObject({ version: 3, ttl: 2_592_000, description: 'What a customer did at a shop' });
  });

  test('validates against the contract with as little as possible', () => {
    expect(valid(define()._toSchema())).toBe(true);
  });

  test('does not change when the lists that it was made from do', () => {
    const features = [Feature.bool('a')];
    const group = define({ features });
    features.push(Feature.bool('b'));
    expect(group._toSchema().features).toHaveLength(1);
  });

  test.each<[string, () => FeatureGroup, RegExp]>([
    ['its name is no name', () => define({}, 'Customer'), /InvalidName: a feature group name must match .*got 'Customer'/],
    ['two features share a name', () => define({ features: [Feature.bool('a'), Feature.int32('a')] }), /DuplicateName: a column of feature group 'customer': 'a' is declared twice/],
    ['a feature is called like an entity key', () => define({ features: [Feature.bool('customer_id')] }), /DuplicateName: .*'customer_id'/],
    ['it has no entity key', () => define({ entityKeys: [] }), /EntityKeyCount: .*1 to 4 entity keys, got 0/],
    ['it has five entity keys', () => define({ entityKeys: ['a', 'b', 'c', 'd', 'e'].map((name) => EntityKey.string(name)) }), /got 5/],
    ['it has no feature', () => define({ features: [] }), /FeatureCount: .*1 to 500 features, got 0/],
    ['it has 501 features', () => define({ features: Array.from({ length: 501 }, (_, index) => Feature.bool(`f${index}`)) }), /got 501: split/],
    ['its version is 0', () => define({ version: 0 }), /InvalidVersion: the version of feature group 'customer' must be an integer of at least 1, got 0/],
    ['its version is 1.5', () => define({ version: 1.5 }), /got 1\.5/],
    ['its owner is blank', () => define({ owner: '' }), /InvalidText: the owner of feature group 'customer'/],
    ['its ttl is no whole second', () => define({ ttl: Duration.millis(10) }), /InvalidDuration: ttl of feature group 'customer'.*got 0\.01 s/],
  ])('fails when %s', (_, make, message) => {
    expect(make).toThrow(message);
  });
});
