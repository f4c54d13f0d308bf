/** A small brain for tests: its model predicts an arrival time from a driver's features and similar past trips. */
import { digestOf } from '../../../runtime/core/digest';
import { refuse } from '../../../runtime/core/errors';
import type {
  CallContext, FeatureRequest, FeatureRow, FeatureWrite, Logger, ManifestSource, ModelRef, ModelRuntime, OnlineFeatureStore, RolloutSource,
  VectorHits, VectorQuery, VectorSearch,
} from '../../../runtime/core/ports';
import type { Tensor } from '../../../runtime/core/tensors';
import type { BrainConfiguration, Candidate, ModelManifest, RolloutDocument } from '../../../src/contract';

export const NOON = Date.UTC(2026, 0, 1, 12);
export const SILENT: Logger = { info: () => undefined, warn: () => undefined, error: () => undefined };
const DIGEST = digestOf('model');

export const CONFIGURATION: BrainConfiguration = {
  schemaVersion: '1',
  name: 'rides',
  environment: 'dev',
  models: [{ name: 'eta', owner: 'rides' }, { name: 'surge', owner: 'rides' }],
  featureGroups: [
    {
      name: 'drivers',
      version: 1,
      owner: 'fleet',
      ttl: 86_400,
      entityKeys: [{ name: 'driver', dtype: 'int64' }],
      features: [
        { name: 'rating', dtype: 'float32', required: false, default: 4.5, piiClass: 'none' },
        { name: 'trips', dtype: 'int32', required: false, default: 0, maxAge: 3600, piiClass: 'none' },
        { name: 'active', dtype: 'bool', required: true, default: true, piiClass: 'none' },
        { name: 'badge', dtype: 'string', required: false, default: 'none', piiClass: 'none' },
        { name: 'income', dtype: 'float64', required: false, default: 0, piiClass: 'personal' },
        { name: 'odometer', dtype: 'int64', required: false, piiClass: 'none' },
      ],
    },
    {
      name: 'cars',
      version: 2,
      owner: 'fleet',
      entityKeys: [{ name: 'driver', dtype: 'int64' }],
      features: [{ name: 'seats', dtype: 'int32', required: false, default: 4, piiClass: 'none' }],
    },
  ],
  vectorIndexes: [{
    name: 'trips',
    dimension: 2,
    similarity: 'l2',
    engine: 'lucene',
    fields: [{ name: 'minutes', type: 'float' }, { name: 'rush', type: 'boolean' }, { name: 'city', type: 'keyword' }],
    hnsw: { m: 16, efConstruction: 100, efSearch: 100 },
  }],
  limits: { maxBodyBytes: 64 * 1024, maxBatch: 8, requestTimeoutMs: 2000 },
};

export const MANIFEST: ModelManifest = {
  schemaVersion: '1',
  name: 'eta',
  version: '1',
  platform: 'onnx',
  files: [{ path: 'model.onnx', digest: DIGEST, bytes: 1 }],
  inputs: [
    { name: 'distance', datatype: 'FP32', shape: [-1, 1] },
    { name: 'driver_features', datatype: 'FP32', shape: [-1, 3] },
    { name: 'neighbours', datatype: 'FP32', shape: [-1, 2, 3] },
  ],
  outputs: [{ name: 'minutes', datatype: 'FP32', shape: [-1] }, { name: 'seen', datatype: 'BYTES', shape: [-1] }],
  enrichment: {
    entities: [{ input: 'driver', datatype: 'INT64' }],
    features: [{ tensor: 'driver_features', keys: ['driver'], groups: [{ group: 'drivers', features: ['rating', 'trips'] }, { group: 'cars', features: ['seats'] }] }],
    vectors: [{ input: 'route', index: 'trips', k: 2, tensor: 'neighbours', fields: ['minutes', '_score', 'rush'] }],
  },
};

/** A model without enrichment: it takes and gives every kind of tensor. */
export const SURGE: ModelManifest = {
  schemaVersion: '1',
  name: 'surge',
  version: '1',
  platform: 'python',
  files: [{ path: 'model.py', digest: DIGEST, bytes: 1 }],
  inputs: [{ name: 'text', datatype: 'BYTES', shape: [-1] }, { name: 'half', datatype: 'FP16', shape: [-1, 2] }],
  outputs: [{ name: 'text', datatype: 'BYTES', shape: [-1] }, { name: 'half', datatype: 'FP16', shape: [-1, 2] }],
};

export const request = (overrides: object = {}) => ({
  inputs: [
    { name: 'distance', datatype: 'FP32', shape: [2, 1], data: [1.5, 3] },
    { name: 'driver', datatype: 'INT64', shape: [2], data: [7, 8] },
    { name: 'route', datatype: 'FP32', shape: [2, 2], data: [0, 1, 1, 1] },
  ],
  ...overrides,
});

const digestOfManifest = (manifest: ModelManifest) => digestOf(JSON.stringify(manifest));

/** The same document with a candidate beside a model's stable version. */
export function withCandidate(document: RolloutDocument, model: string, candidate: Candidate): RolloutDocument {
  return { ...document, models: { ...document.models, [model]: { ...document.models[model], candidate } } };
}

/** A rollout document that approves the given manifests; the first of each model is stable. */
export function rolloutOf(...manifests: ModelManifest[]): RolloutDocument {
  const models: Record<string, { stable: string; versions: Record<string, { digest: string }> }> = {};
  for (const manifest of manifests) {
    models[manifest.name] ??= { stable: manifest.version, versions: {} };
    models[manifest.name].versions[manifest.version] = { digest: digestOfManifest(manifest) };
  }
  return { schemaVersion: '1', models };
}

/** Features in memory; counts the reads. */
export class MemoryFeatures implements OnlineFeatureStore {
  readonly reads: (readonly FeatureRequest[])[] = [];
  readonly rows = new Map<string, FeatureRow>();

  async read(requests: readonly FeatureRequest[]): Promise<(FeatureRow | undefined)[]> {
    this.reads.push(requests);
    return requests.map(({ group, entity }) => this.rows.get(`${group.name}/${entity.join('/')}`));
  }

  async write(rows: readonly FeatureWrite[]): Promise<void> {
    for (const { group, entity, ...row } of rows) this.rows.set(`${group.name}/${entity.join('/')}`, row);
  }

  async close(): Promise<void> {
    this.rows.clear();
  }

  put(group: string, entity: string, values: FeatureRow['values'], eventTime = NOON): void {
    this.rows.set(`${group}/${entity}`, { eventTime, createdTime: eventTime, values });
  }
}

/** Always the same neighbours, nearest first. */
export class FixedVectors implements VectorSearch {
  readonly queries: number[][] = [];
  answer: VectorHits = {
    generation: 'g7',
    hits: [{ id: 'a', score: 0.9, fields: { minutes: 12.5, rush: true, city: 'Wien' } }, { id: 'b', score: 0.5, fields: { minutes: 20, rush: false, city: 'Graz' } }],
  };

  async search(queries: readonly VectorQuery[]): Promise<VectorHits[]> {
    this.queries.push(...queries.map(({ vector }) => [...vector]));
    return queries.map(() => this.answer);
  }

  async close(): Promise<void> {
    this.queries.length = 0;
  }
}

/** For `eta` it sums what each row was given, and shows it as text; for `surge` it gives back what it got. */
export class EchoRuntime implements ModelRuntime {
  /** `model/version` that are not ready. */
  readonly broken = new Set<string>();
  readonly inputs: (readonly Tensor[])[] = [];
  inferring: (signal?: AbortSignal) => Promise<void> = async () => undefined;

  async ready({ name, version }: ModelRef): Promise<boolean> {
    return !this.broken.has(`${name}/${version}`);
  }

  async infer({ name }: ModelRef, inputs: readonly Tensor[], { signal }: CallContext = {}): Promise<Tensor[]> {
    this.inputs.push(inputs);
    await this.inferring(signal);
    if (name === 'surge') return [...inputs];
    const rows = inputs[0].shape[0];
    const given = Array.from({ length: rows }, (_, row) => inputs.flatMap(({ data, shape }) => {
      const width = shape.slice(1).reduce((a, b) => a * b, 1);
      return [...(data as Float32Array).subarray(row * width, (row + 1) * width)];
    }));
    return [
      { name: 'seen', datatype: 'BYTES', shape: [rows], data: given.map((values) => values.map((value) => Math.round(value * 100) / 100).join(' ')) },
      { name: 'minutes', datatype: 'FP32', shape: [rows], data: Float32Array.from(given, (values) => values.reduce((a, b) => a + b, 0)) },
    ];
  }

  async close(): Promise<void> {
    this.inputs.length = 0;
  }
}

export class MemoryManifests implements ManifestSource {
  readonly manifests: ModelManifest[];
  fails = false;

  constructor(...manifests: ModelManifest[]) {
    this.manifests = manifests;
  }

  async manifest(model: string, version: string, digest: string): Promise<ModelManifest> {
    if (this.fails) refuse('ARTIFACT_STORE_UNAVAILABLE', 'the artifact store does not answer');
    const found = this.manifests.find((manifest) => manifest.name === model && manifest.version === version);
    if (!found) return refuse('MANIFEST_NOT_FOUND', 'none');
    if (digestOfManifest(found) !== digest) refuse('DIGEST_MISMATCH', 'another digest');
    return found;
  }
}

export class MemoryRollout implements RolloutSource {
  private readonly callbacks = new Set<(document: RolloutDocument) => void>();

  constructor(private document?: RolloutDocument) {}

  current(): RolloutDocument | undefined {
    return this.document;
  }

  onChange(callback: (document: RolloutDocument) => void): () => void {
    this.callbacks.add(callback);
    return () => this.callbacks.delete(callback);
  }

  publish(document: RolloutDocument): void {
    this.document = document;
    for (const callback of this.callbacks) callback(document);
  }

  async close(): Promise<void> {
    this.callbacks.clear();
  }
}
