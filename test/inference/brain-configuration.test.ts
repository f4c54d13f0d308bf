import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import Ajv from 'ajv';
import { App, Lazy, Stack } from 'aws-cdk-lib';
import { BRAIN_CONFIGURATION_SCHEMA } from '../../src/contract';
import { EntityKey, Feature, FeatureGroup } from '../../src/features';
import { BrainConfigurationFile, BrainDeclarations } from '../../src/inference';
import { Model } from '../../src/registry';
import { Similarity, VectorIndex } from '../../src/vectors';

const declarations = (): BrainDeclarations => ({
  name: 'price-brain',
  environment: 'dev',
  models: [Model.declare('price', { owner: 'pricing' })],
  featureGroups: [FeatureGroup.define('house', { owner: 'pricing', entityKeys: [EntityKey.string('house_id')], features: [Feature.float32('area')] })],
  vectorIndexes: [VectorIndex.define('listings', { dimension: 3, similarity: Similarity.COSINE })],
});

const file = (given: BrainDeclarations = declarations()) => new BrainConfigurationFile(new Stack(new App(), 'Stack'), 'Configuration', { declarations: given });

describe('BrainConfigurationFile', () => {
  test('holds what the contract asks for', () => {
    const validate = new Ajv({ strict: false }).compile(BRAIN_CONFIGURATION_SCHEMA);
    validate(JSON.parse(file().content));
    expect(validate.errors).toBeNull();
  });

  test('holds the declarations and the default limits', () => {
    expect(JSON.parse(file().content)).toMatchObject({
      schemaVersion: '1',
      name: 'price-brain',
      environment: 'dev',
      models: [{ name: 'price', owner: 'pricing' }],
      featureGroups: [{ name: 'house', features: [{ name: 'area', dtype: 'float32' }] }],
      vectorIndexes: [{ name: 'listings', dimension: 3, similarity: 'cosine' }],
      limits: { maxBodyBytes: 10_485_760, maxBatch: 1024, requestTimeoutMs: 28_000 },
      telemetry: { traces: 0.01, capture: 0, statistics: 0.05 },
    });
  });

  test('holds no token', () => {
    expect(file().content).not.toMatch(/\$\{Token|<<|Fn::|"Ref"/);
  });

  test('is written into the assembly, byte for byte the same in two synths', () => {
    const outdirs = [0, 1].map(() => mkdtempSync(join(tmpdir(), 'configuration-')));
    try {
      const texts = outdirs.map((outdir) => {
        const app = new App({ outdir });
        new BrainConfigurationFile(new Stack(app, 'Stack'), 'Configuration', { declarations: declarations() });
        app.synth();
        return readFileSync(join(outdir, 'thalos-brain', 'price-brain', 'brain.json'), 'utf8');
      });
      expect(texts).toEqual([file().content, file().content]);
    } finally {
      outdirs.forEach((outdir) => rmSync(outdir, { recursive: true, force: true }));
    }
  });

  test('a brain without declarations has empty lists', () => {
    expect(JSON.parse(file({ name: 'brain', environment: 'dev' }).content)).toMatchObject({ models: [], featureGroups: [], vectorIndexes: [] });
  });

  test('fails with a token in a declaration', () => {
    const owner = Lazy.string({ produce: () => 'late' });
    expect(() => file({ ...declarations(), models: [Model.declare('price', { owner })] })).toThrow(/token|known at synth/i);
  });

  test('fails with two models of one name', () => {
    const model = () => Model.declare('price', { owner: 'pricing' });
    expect(() => file({ ...declarations(), models: [model(), model()] })).toThrow(/DuplicateName: model 'price'/);
  });

  test.each([
    [{ requestTimeoutMs: 30_000 }, /requestTimeoutMs must be an integer from 1 to 29000, got 30000/],
    [{ maxBatch: 0 }, /maxBatch must be .* got 0/],
    [{ maxBodyBytes: 10.5 }, /maxBodyBytes must be .* got 10.5/],
  ])('fails with the limits %j', (limits, message) => {
    expect(() => file({ ...declarations(), limits })).toThrow(message);
  });

  test('says how much of the traffic is traced, captured and counted', () => {
    const telemetry = { traces: 1, capture: 0.25, statistics: 0 };
    expect(JSON.parse(file({ ...declarations(), telemetry }).content).telemetry).toEqual(telemetry);
  });

  test.each([['traces', 1.01], ['capture', -0.1], ['statistics', NaN]])('fails with %s of %d', (name, share) => {
    expect(() => file({ ...declarations(), telemetry: { [name]: share } })).toThrow(new RegExp(`TelemetryShare: ${name} must be a share from 0 to 1, got ${share}`));
  });
});
