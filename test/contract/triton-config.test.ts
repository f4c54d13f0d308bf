import fc from 'fast-check';
import { readTextFormat, type TextMessage } from './text-format';
import { pairs } from './triton-arbitrary';
import { parseConfiguration } from '../../runtime/core/configuration';
import { parseManifest } from '../../runtime/core/manifest';
import {
  type ModelManifest, renderTritonConfig, tritonModelName, type TritonModelOptions, tritonOptionProblems, tritonProblems, tritonWarmUpFiles,
} from '../../src/contract';

const MANIFEST: ModelManifest = {
  schemaVersion: '1',
  name: 'offer',
  version: '7',
  platform: 'onnx',
  files: [{ path: 'model.onnx', digest: `sha256:${'0'.repeat(64)}`, bytes: 1 }],
  inputs: [{ name: 'x', datatype: 'FP32', shape: [-1, 30] }, { name: 'text', datatype: 'BYTES', shape: [-1, 1] }],
  outputs: [{ name: 'y', datatype: 'FP32', shape: [-1, 1] }],
};
const BATCHED: TritonModelOptions = { platform: 'onnx', maxBatchSize: 8 };
const configuration = (triton: unknown) => JSON.stringify({
  schemaVersion: '1',
  name: 'brain',
  environment: 'dev',
  models: [{ name: 'any-model', owner: 'me' }],
  featureGroups: [],
  vectorIndexes: [],
  limits: { maxBodyBytes: 1024, maxBatch: 1, requestTimeoutMs: 1 },
  triton,
});
const one = (message: TextMessage, ...path: string[]): any => path.reduce<any>((inner, field) => inner[field][0], message);

test('every configuration is text format that says the version, its platform, its tensors and its options', () => {
  fc.assert(fc.property(pairs, ([manifest, options]) => {
    expect(tritonProblems(manifest, options)).toEqual([]);
    const config = readTextFormat(renderTritonConfig(manifest, options));
    expect(one(config, 'name')).toBe(tritonModelName(manifest));
    expect(one(config, 'version_policy', 'specific', 'versions')).toBe(Number(manifest.version));
    expect(one(config, 'max_batch_size')).toBe(options.maxBatchSize);
    for (const direction of ['input', 'output'] as const) {
      const batched = options.maxBatchSize > 0 ? 1 : 0;
      expect(config[direction]).toEqual(manifest[`${direction}s`].map(({ name, datatype, shape }) => ({
        name: [name], data_type: [Symbol.for(datatype === 'BYTES' ? 'TYPE_STRING' : `TYPE_${datatype}`)], dims: shape.slice(batched),
      })));
    }
    const given = (config.parameters ?? []) as TextMessage[];
    const parameters = new Map(given.map((parameter) => [one(parameter, 'key'), one(parameter, 'value', 'string_value')]));
    for (const [name, value] of Object.entries(options.parameters ?? {})) expect([name, parameters.get(name)]).toEqual([name, value]);
    expect((config.instance_group ?? []).length).toBe(options.instanceGroups?.length ?? 0);
    expect(renderTritonConfig(manifest, structuredClone(options))).toBe(renderTritonConfig(manifest, options));
  }));
});

test('every pair of options and manifest that the renderer takes is one that the schemas take', () => {
  fc.assert(fc.property(pairs, ([manifest, options]) => {
    expect(tritonOptionProblems(options)).toEqual([]);
    expect(parseConfiguration(configuration({ 'any-model': options })).triton).toEqual({ 'any-model': JSON.parse(JSON.stringify(options)) });
    expect(parseManifest(JSON.stringify(manifest))).toBeDefined();
  }), { numRuns: 50 });
});

test('a model without options runs one request at a time, wherever its pod can, and guesses nothing', () => {
  expect(renderTritonConfig(MANIFEST)).toBe(`name: "offer.7"
platform: "onnxruntime_onnx"
backend: "onnxruntime"
version_policy {
  specific {
    versions: 7
  }
}
max_batch_size: 0
default_model_filename: "model.onnx"
input {
  name: "x"
  data_type: TYPE_FP32
  dims: -1
  dims: 30
}
input {
  name: "text"
  data_type: TYPE_STRING
  dims: -1
  dims: 1
}
output {
  name: "y"
  data_type: TYPE_FP32
  dims: -1
  dims: 1
}
`);
});

test('what one version is called is what no other version of any model is', () => {
  const names = [['a', '1'], ['a', '11'], ['a1', '1'], ['a-1', '1'], ['a_1', '1']].map(([name, version]) => tritonModelName({ name, version }));
  expect(new Set(names).size).toBe(names.length);
});

test('queues wait as long as they are told, in Triton\'s microseconds, each level by its own policy', () => {
  const queue = { timeoutMs: 250, timeoutAction: 'delay', allowTimeoutOverride: true, maxSize: 100 } as const;
  const config = readTextFormat(renderTritonConfig(MANIFEST, {
    ...BATCHED,
    dynamicBatching: {
      preferredBatchSizes: [4, 8],
      maxQueueDelayMs: 1.5,
      preserveOrdering: true,
      queue,
      priorities: { levels: 10, defaultLevel: 2, queues: { 10: queue, 3: { ...queue, timeoutMs: 0 } } },
    },
  }));
  const [action, override] = ['DELAY', 'true'].map(Symbol.for);
  const expected = { timeout_action: [action], default_timeout_microseconds: [250_000], allow_timeout_override: [override], max_queue_size: [100] };
  expect(config.dynamic_batching).toEqual([{
    preferred_batch_size: [4, 8],
    max_queue_delay_microseconds: [1500],
    preserve_ordering: [Symbol.for('true')],
    default_queue_policy: [expected],
    priority_levels: [10],
    default_priority_level: [2],
    priority_queue_policy: [{ key: [3], value: [{ ...expected, default_timeout_microseconds: [0] }] }, { key: [10], value: [expected] }],
  }]);
});

test('a version whose manifest streams is decoupled', () => {
  expect(readTextFormat(renderTritonConfig({ ...MANIFEST, streaming: {} })).model_transaction_policy).toEqual([{ decoupled: [Symbol.for('true')] }]);
});

describe('warm-up', () => {
  const tensor = (name: string, rows: number, width: number) => {
    const datatype = name === 'x' ? 'FP32' as const : 'BYTES' as const;
    return { name, datatype, shape: [rows, width], data: Array<number>(rows * width).fill(0) };
  };
  const warmUp = [{ inputs: [{ name: 'customer', datatype: 'BYTES' as const, shape: [1], data: ['c'] }] }, { inputs: [tensor('x', 3, 30), tensor('text', 3, 1)] }];

  test('a request of the manifest that names the model\'s own inputs runs from files, one that needs enrichment does not', () => {
    const manifest = { ...MANIFEST, warmUp };
    expect(readTextFormat(renderTritonConfig(manifest)).model_warmup).toEqual([{
      name: ['request-0'],
      batch_size: [1],
      inputs: [
        { key: ['x'], value: [{ data_type: [Symbol.for('TYPE_FP32')], dims: [3, 30], input_data_file: ['request-0-0'] }] },
        { key: ['text'], value: [{ data_type: [Symbol.for('TYPE_STRING')], dims: [3, 1], input_data_file: ['request-0-1'] }] },
      ],
    }]);
    expect(tritonWarmUpFiles(manifest, undefined)).toEqual([
      { file: 'request-0-0', tensor: warmUp[1].inputs[0], firstRowOnly: false }, { file: 'request-0-1', tensor: warmUp[1].inputs[1], firstRowOnly: false },
    ]);
  });

  test('Triton repeats its first row where it batches, up to the largest batch', () => {
    const manifest = { ...MANIFEST, warmUp };
    const inputs = [{ value: [{ dims: [30] }] }, { value: [{ dims: [1] }] }];
    expect(readTextFormat(renderTritonConfig(manifest, BATCHED)).model_warmup).toMatchObject([{ batch_size: [3], inputs }]);
    expect(readTextFormat(renderTritonConfig(manifest, { ...BATCHED, maxBatchSize: 2 })).model_warmup).toMatchObject([{ batch_size: [2] }]);
    expect(tritonWarmUpFiles(manifest, BATCHED).map(({ firstRowOnly }) => firstRowOnly)).toEqual([true, true]);
  });

  test('made-up requests have a size in place of each open dimension', () => {
    const config = readTextFormat(renderTritonConfig({ ...MANIFEST, inputs: [{ name: 'ids', datatype: 'INT64', shape: [-1, -1] }] }, {
      ...BATCHED, warmUp: [{ data: 'random', batchSize: 8, count: 2, variableSize: 128 }],
    }));
    expect(config.model_warmup).toEqual([{
      name: ['random-0'],
      batch_size: [8],
      count: [2],
      inputs: [{ key: ['ids'], value: [{ data_type: [Symbol.for('TYPE_INT64')], dims: [128], random_data: [Symbol.for('true')] }] }],
    }]);
  });
});

test('a Python environment is found beside the version\'s files', () => {
  const manifest: ModelManifest = { ...MANIFEST, platform: 'python', files: ['model.py', 'env.tar.gz'].map((path) => ({ ...MANIFEST.files[0], path })) };
  const options: TritonModelOptions = { platform: 'python', maxBatchSize: 0, environment: 'env.tar.gz', parameters: { A: '"quoted" \\ Škoda\n' } };
  expect(readTextFormat(renderTritonConfig(manifest, options)).parameters).toEqual([
    { key: ['A'], value: [{ string_value: ['"quoted" \\ Škoda\n'] }] },
    { key: ['EXECUTION_ENV_PATH'], value: [{ string_value: ['$$TRITON_MODEL_DIRECTORY/7/env.tar.gz'] }] },
  ]);
});

test.each<[string, Partial<TritonModelOptions>, RegExp]>([
  ['batching without a size', { dynamicBatching: { maxQueueDelayMs: 1, preserveOrdering: false } }, /dynamicBatching needs a maxBatchSize above 0/],
  ['a preferred size beyond the largest', { maxBatchSize: 4, dynamicBatching: { maxQueueDelayMs: 1, preserveOrdering: false, preferredBatchSizes: [4, 5] } }, /at most maxBatchSize \(4\), got 5/],
  ['a default level that is none', { maxBatchSize: 4, dynamicBatching: { maxQueueDelayMs: 1, preserveOrdering: false, priorities: { levels: 2, defaultLevel: 3 } } }, /1 to 2\), got 3/],
  ['GPUs of a CPU group', { instanceGroups: [{ kind: 'cpu', count: 1, gpus: [0] }] }, /kind cpu names GPUs/],
  ['profiles of another backend', { instanceGroups: [{ kind: 'gpu', count: 1, profiles: [0] }] }, /profiles is for platform tensorrt, and this model is onnx/],
  ['CUDA graphs of another backend', { optimization: { cudaGraphs: true } }, /cudaGraphs is for platform tensorrt/],
  ['a graph level of another backend', { platform: 'pytorch', optimization: { graphLevel: 1 } }, /graphLevel is for platform onnx/],
  ['an environment of another backend', { environment: 'env.tar.gz' }, /environment is for platform python/],
  ['a warm-up larger than a batch', { maxBatchSize: 4, warmUp: [{ data: 'zero', batchSize: 5, count: 1, variableSize: 1 }] }, /at most maxBatchSize \(4\), got 5/],
  ['a warm-up of rows that Triton does not batch', { warmUp: [{ data: 'zero', batchSize: 2, count: 1, variableSize: 1 }] }, /at most 1 without maxBatchSize, got 2/],
])('refuses %s', (_, options, message) => {
  const whole: TritonModelOptions = { platform: 'onnx', maxBatchSize: 0, ...options };
  expect(tritonOptionProblems(whole).join()).toMatch(message);
  expect(() => parseConfiguration(configuration({ 'any-model': whole }))).toThrow(message);
});

test('refuses options of a model that the brain does not declare', () => {
  expect(() => parseConfiguration(configuration({ other: BATCHED }))).toThrow(/given for 'other', and no such model is declared/);
});

test.each<[string, Partial<ModelManifest>, Partial<TritonModelOptions>, RegExp]>([
  ['of another platform', { platform: 'pytorch' }, {}, /declared for platform onnx, and this version is pytorch/],
  ['whose tensor has no dimension beside the batch', { outputs: [{ name: 'label', datatype: 'INT64', shape: [-1] }] }, { maxBatchSize: 2 }, /'label' has shape \[-1\]/],
  ['whose first dimension is fixed', { inputs: [{ name: 'x', datatype: 'FP32', shape: [1, 30] }] }, { maxBatchSize: 2 }, /'x' has shape \[1, 30\]/],
  ['without the environment', { platform: 'python' }, { platform: 'python', environment: 'env.tar.gz' }, /'env.tar.gz' is no file/],
])('refuses a version %s', (_, manifest, options, message) => {
  expect(tritonProblems({ ...MANIFEST, ...manifest }, { platform: 'onnx', maxBatchSize: 0, ...options }).join()).toMatch(message);
});
