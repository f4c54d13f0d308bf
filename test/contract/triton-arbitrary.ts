/** Manifests and Triton options as they may be: each valid by its schema, and fit for one another. */
import fc from 'fast-check';
import {
  MODEL_PLATFORMS, type ModelManifest, type ModelPlatform, OIP_DATATYPES, TENSOR_NAME_PATTERN, type TensorSchema, TRITON_INSTANCE_KINDS,
  TRITON_TIMEOUT_ACTIONS, TRITON_WARM_UP_DATA, type TritonModelOptions, type TritonQueuePolicy,
} from '../../src/contract';

type Kind = typeof TRITON_INSTANCE_KINDS[number];

function optional<T extends object>(model: { [K in keyof T]: fc.Arbitrary<T[K]> }, requiredKeys: (keyof T)[]): fc.Arbitrary<Partial<T>> {
  return fc.record(model, { requiredKeys } as never) as fc.Arbitrary<Partial<T>>;
}

const queue: fc.Arbitrary<TritonQueuePolicy> = fc.record({
  timeoutMs: fc.nat(3_600_000),
  timeoutAction: fc.constantFrom(...TRITON_TIMEOUT_ACTIONS),
  allowTimeoutOverride: fc.boolean(),
  maxSize: fc.nat(1_000_000),
});

const batchings = (maxBatchSize: number) => optional<Required<NonNullable<TritonModelOptions['dynamicBatching']>>>({
  preferredBatchSizes: fc.uniqueArray(fc.integer({ min: 1, max: maxBatchSize }), { minLength: 1, maxLength: Math.min(4, maxBatchSize) }),
  maxQueueDelayMs: fc.oneof(fc.nat(1000), fc.double({ min: 0, max: 1000, noNaN: true })),
  preserveOrdering: fc.boolean(),
  queue,
  priorities: fc.integer({ min: 1, max: 5 }).chain((levels) => fc.record({
    levels: fc.constant(levels),
    defaultLevel: fc.integer({ min: 1, max: levels }),
    queues: fc.dictionary(fc.integer({ min: 1, max: levels }).map(String), queue),
  })),
}, ['maxQueueDelayMs', 'preserveOrdering']);

const instanceGroups = (platform: ModelPlatform, kinds: readonly Kind[]) => fc.constantFrom(...kinds).chain((kind) => optional({
  kind: fc.constant(kind),
  count: fc.integer({ min: 1, max: 4 }),
  ...kind === 'gpu' || kind === 'auto' ? { gpus: fc.uniqueArray(fc.nat(15), { minLength: 1, maxLength: 3 }) } : {},
  ...platform === 'tensorrt' ? { profiles: fc.uniqueArray(fc.nat(9), { minLength: 1, maxLength: 3 }) } : {},
  rateLimiter: fc.record({
    resources: fc.array(fc.record({
      name: fc.stringMatching(new RegExp(TENSOR_NAME_PATTERN)), count: fc.integer({ min: 1, max: 9 }), global: fc.boolean(),
    }), { minLength: 1, maxLength: 3 }),
    priority: fc.integer({ min: 1, max: 5 }),
  }),
}, ['kind', 'count']));

const optimizations = (platform: ModelPlatform) => optional({
  ...platform === 'onnx' ? {
    graphLevel: fc.integer({ min: -1, max: 1 }),
    tensorRt: optional({ precision: fc.constantFrom('FP32', 'FP16'), maxWorkspaceBytes: fc.integer({ min: 1, max: 2 ** 40 }) }, ['precision']),
  } : {},
  ...platform === 'tensorrt' ? { cudaGraphs: fc.boolean(), eagerBatching: fc.boolean() } : {},
}, []);

/** @param kinds instance kinds that the server at hand has */
export const optionsOf = (platform: ModelPlatform, kinds: readonly Kind[] = TRITON_INSTANCE_KINDS): fc.Arbitrary<TritonModelOptions> => (
  fc.oneof(fc.constant(0), fc.integer({ min: 1, max: 64 })).chain((maxBatchSize) => optional({
    platform: fc.constant(platform),
    maxBatchSize: fc.constant(maxBatchSize),
    ...maxBatchSize > 0 ? { dynamicBatching: batchings(maxBatchSize) } : {},
    instanceGroups: fc.array(instanceGroups(platform, kinds), { minLength: 1, maxLength: 3 }),
    optimization: optimizations(platform),
    warmUp: fc.array(fc.record({
      data: fc.constantFrom(...TRITON_WARM_UP_DATA),
      batchSize: fc.integer({ min: 1, max: Math.max(1, maxBatchSize) }),
      count: fc.integer({ min: 1, max: 3 }),
      variableSize: fc.integer({ min: 1, max: 9 }),
    }), { maxLength: 2 }),
    parameters: fc.dictionary(fc.stringMatching(/^[A-Za-z_][A-Za-z0-9_.-]{0,20}$/), fc.string({ unit: 'binary', maxLength: 40 })),
    ...platform === 'python' ? { environment: fc.constant('environment.tar.gz') } : {},
  }, ['platform', 'maxBatchSize']) as unknown as fc.Arbitrary<TritonModelOptions>)
);

const tensors = (batched: boolean): fc.Arbitrary<TensorSchema[]> => fc.uniqueArray(fc.record({
  name: fc.stringMatching(new RegExp(TENSOR_NAME_PATTERN)),
  datatype: fc.constantFrom(...OIP_DATATYPES),
  shape: batched
    ? fc.array(fc.constantFrom(-1, 1, 3, 30), { minLength: 1, maxLength: 3 }).map((rest) => [-1, ...rest])
    : fc.array(fc.constantFrom(-1, 1, 3, 30), { minLength: 1, maxLength: 4 }),
}), { minLength: 1, maxLength: 3, selector: ({ name }) => name });

export const manifestOf = ({ platform, maxBatchSize }: TritonModelOptions): fc.Arbitrary<ModelManifest> => fc.record({
  version: fc.integer({ min: 1, max: 999_999_999 }).map(String),
  inputs: tensors(maxBatchSize > 0),
  outputs: tensors(maxBatchSize > 0),
  streaming: fc.boolean(),
}).map(({ version, inputs, outputs, streaming }) => ({
  schemaVersion: '1',
  name: 'any-model',
  version,
  platform,
  files: ['model.bin', 'environment.tar.gz'].map((path) => ({ path, digest: `sha256:${'0'.repeat(64)}`, bytes: 1 })),
  inputs,
  outputs,
  ...streaming ? { streaming: {} } : {},
}));

/** A manifest and options for its model, of any platform. */
export const pairs = fc.constantFrom(...MODEL_PLATFORMS).chain((platform) => optionsOf(platform))
  .chain((options) => fc.tuple(manifestOf(options), fc.constant(options)));
