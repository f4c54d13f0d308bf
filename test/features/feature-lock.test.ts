import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { App, Stack } from 'aws-cdk-lib';
import { Annotations, Match } from 'aws-cdk-lib/assertions';
import { FEATURE_LOCK_VERSION, lockedWith } from '../../src/contract';
import { EntityKey, Feature, FeatureGroup, FeatureLock } from '../../src/features';

const group = (features: Feature[], version?: number, keys: readonly string[] = ['id']) =>
  FeatureGroup.define('cards', { owner: 'growth', entityKeys: keys.map((key) => EntityKey.string(key)), features, version });
const BEFORE = group([Feature.int32('visits'), Feature.float32('spent')], 2);

describe('FeatureLock', () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'lock-'));
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  const lockOf = (...groups: FeatureGroup[]) => {
    const file = join(folder, 'features.lock.json');
    writeFileSync(file, JSON.stringify(lockedWith({ schemaVersion: FEATURE_LOCK_VERSION, groups: [] }, groups.map((each) => each._toSchema()))));
    return FeatureLock.fromFile(file);
  };
  const check = (lock: FeatureLock, ...groups: FeatureGroup[]) => {
    const stack = new Stack(new App(), 'Stack');
    lock._check(stack, groups);
    return Annotations.fromStack(stack);
  };

  test('is content with what it knows, in any order', () => {
    check(lockOf(BEFORE), group([Feature.float32('spent', { description: 'in euros' }), Feature.int32('visits')], 2)).hasNoWarning('*', Match.anyValue());
  });

  test('admits new features and new versions, and asks to be written again', () => {
    const told = Match.stringLikeRegexp("run 'thalos-brain features lock'.*feature-lock");
    check(lockOf(BEFORE), group([Feature.int32('visits'), Feature.float32('spent'), Feature.bool('gold')], 2)).hasWarning('*', told);
    check(lockOf(BEFORE), group([Feature.string('visits')], 3)).hasWarning('*', told);
    check(FeatureLock.fromFile(join(folder, 'none.json')), BEFORE).hasWarning('*', told);
  });

  test.each<[string, () => FeatureGroup, RegExp]>([
    ['a feature is dropped', () => group([Feature.int32('visits')], 2), /FeatureEvolution: version 2 of feature group 'cards' drops spent, .*declare a version beyond/],
    ['a feature is retyped', () => group([Feature.int32('visits'), Feature.float64('spent')], 2), /retypes spent from float32 to float64/],
    ['a version is taken back', () => group([Feature.int32('visits')], 1), /goes back behind version 2/],
  ])('fails when %s', (_, make, reason) => {
    expect(() => check(lockOf(BEFORE), make())).toThrow(reason);
  });

  // each has the same columns of the same types
  test.each<[string, string[], string[], string[], string[]]>([
    ['keys are in another order', ['user', 'merchant'], ['merchant', 'user'], [], []],
    ['a feature becomes a key', ['user'], ['user', 'merchant'], ['merchant'], []],
    ['a key becomes a feature', ['user', 'merchant'], ['user'], [], ['merchant']],
  ])('fails when %s', (_, before, after, features, left) => {
    const make = (keys: string[], rest: string[]) => group([Feature.bool('gold'), ...rest.map((name) => Feature.string(name))], 2, keys);
    expect(() => check(lockOf(make(before, features)), make(after, left)))
      .toThrow(`version 2 of feature group 'cards' changes its entity keys from (${before.join(', ')}) to (${after.join(', ')}), and rows, models`);
    check(lockOf(make(before, features)), make(before, features)).hasNoWarning('*', Match.anyValue());
  });

  test('fails when it is none', () => {
    for (const text of ['{', 'null', '{"schemaVersion":"9","groups":[]}', '{"schemaVersion":"1"}']) {
      const file = join(folder, 'broken.json');
      writeFileSync(file, text);
      expect(() => FeatureLock.fromFile(file)).toThrow(/InvalidFeatureLock: .*broken.json is no lock/);
    }
  });

  test('keeps versions that are no longer declared', () => {
    const document = lockedWith({ schemaVersion: FEATURE_LOCK_VERSION, groups: [BEFORE._toSchema()] }, [group([Feature.bool('gold')], 3)._toSchema()]);
    expect(document.groups.map(({ name, version }) => `${name} ${version}`)).toEqual(['cards 2', 'cards 3']);
  });
});
