/** The brain of the benchmarks: one model of 30 inputs that costs nothing, one of images, and one that uses every part. */
import { digestOf } from '../../runtime/core/digest';
import type { Logger, ManifestSource, ModelRef, ModelRuntime, RolloutSource } from '../../runtime/core/ports';
import type { Tensor } from '../../runtime/core/tensors';
import type { BrainConfiguration, ModelManifest, RolloutDocument } from '../../src/contract';

export const SILENT: Logger = { info: () => undefined, warn: () => undefined, error: (fields, message) => console.error(message, fields) };

export const WIDTH = 30;
export const IMAGE = [1, 3, 224, 224];
export const DIMENSION = 16;
export const FEATURES = Array.from({ length: 10 }, (_, at) => `f${at}`);

const manifest = (name: string, more: Partial<ModelManifest> = {}): ModelManifest => ({
  schemaVersion: '1',
  name,
  version: '1',
  platform: 'onnx',
  files: [{ path: 'model.onnx', digest: `sha256:${'0'.repeat(64)}`, bytes: 1 }],
  inputs: [{ name: 'x', datatype: 'FP32', shape: [-1, WIDTH] }],
  outputs: [{ name: 'y', datatype: 'FP32', shape: [-1, 1] }],
  ...more,
});

const image = { datatype: 'FP32', shape: [-1, ...IMAGE.slice(1)] } as const;

/** Features and neighbours become inputs beside the one that passes through. */
const ENRICHED = manifest('enriched', {
  inputs: [
    { name: 'x', datatype: 'FP32', shape: [-1, WIDTH] },
    { name: 'features', datatype: 'FP32', shape: [-1, FEATURES.length] },
    { name: 'neighbours', datatype: 'FP32', shape: [-1, 5, 2] },
  ],
  enrichment: {
    entities: [{ input: 'user', datatype: 'INT64' }],
    features: [{ tensor: 'features', keys: ['user'], groups: [{ group: 'users', features: FEATURES }] }],
    vectors: [{ input: 'query', index: 'items', k: 5, tensor: 'neighbours', fields: ['price', '_score'] }],
  },
});

/** Gives its image back, so that the tensor goes both ways. */
const ECHO = manifest('image', { inputs: [{ name: 'x', ...image }], outputs: [{ name: 'y', ...image }] });

export const MANIFESTS = [manifest('plain'), ENRICHED, ECHO];

/** One row of features for each user. */
export const USERS: BrainConfiguration['featureGroups'][number] = {
  name: 'users',
  version: 1,
  owner: 'bench',
  entityKeys: [{ name: 'user', dtype: 'int64' }],
  features: FEATURES.map((name) => ({ name, dtype: 'float32', required: false, default: 0, piiClass: 'none' })),
};

export const CONFIGURATION: BrainConfiguration = {
  schemaVersion: '1',
  name: 'bench',
  environment: 'dev',
  models: MANIFESTS.map(({ name }) => ({ name, owner: 'bench' })),
  featureGroups: [USERS],
  vectorIndexes: [{
    name: 'items',
    dimension: DIMENSION,
    similarity: 'l2',
    engine: 'lucene',
    fields: [{ name: 'price', type: 'float' }],
    hnsw: { m: 16, efConstruction: 100, efSearch: 100 },
  }],
  limits: { maxBodyBytes: 10 * 1024 * 1024, maxBatch: 1024, requestTimeoutMs: 28_000 },
};

/** Of a brain whose models need neither store. */
export const BARE: BrainConfiguration = {
  ...CONFIGURATION, models: CONFIGURATION.models.filter(({ name }) => name !== ENRICHED.name), featureGroups: [], vectorIndexes: [],
};

export const manifests: ManifestSource = { manifest: async (model) => MANIFESTS.find(({ name }) => name === model)! };

export function rolloutOf({ models }: BrainConfiguration): RolloutSource {
  const routed = MANIFESTS.filter(({ name }) => models.some((model) => model.name === name));
  const document: RolloutDocument = {
    schemaVersion: '1',
    models: Object.fromEntries(routed.map((each) => [each.name, { stable: '1', versions: { 1: { digest: digestOf(JSON.stringify(each)) } } }])),
  };
  return { current: () => document, onChange: () => () => undefined, close: async () => undefined };
}

/** What every model of this brain answers: an image as it came, or one number for each row. */
export function outputsOf(model: string, inputs: readonly Tensor[]): Tensor[] {
  if (model === ECHO.name) return [{ ...inputs[0], name: 'y' }];
  const rows = inputs[0].shape[0];
  return [{ name: 'y', datatype: 'FP32', shape: [rows, 1], data: new Float32Array(rows) }];
}

/** Answers at once; or, while it is held, when it is released. */
export class NoModel implements ModelRuntime {
  /** Requests that are held. */
  waiting = 0;
  private held: Promise<void> | undefined;
  private letGo: () => void = () => undefined;

  async ready(): Promise<boolean> {
    return true;
  }

  infer({ name }: ModelRef, inputs: readonly Tensor[]): Promise<Tensor[]> {
    const outputs = outputsOf(name, inputs);
    if (!this.held) return Promise.resolve(outputs);
    this.waiting++;
    return this.held.then(() => {
      this.waiting--;
      return outputs;
    });
  }

  hold(): void {
    this.held = new Promise((resolve) => {
      this.letGo = resolve;
    });
  }

  release(): void {
    this.held = undefined;
    this.letGo();
  }

  async close(): Promise<void> {
    // nothing is open
  }
}
