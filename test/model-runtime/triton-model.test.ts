import { Duration, Size } from 'aws-cdk-lib';
import fc from 'fast-check';
import { parseConfiguration } from '../../runtime/core/configuration';
import { DEFAULT_LIMITS, type ModelManifest, renderTritonConfig } from '../../src/contract';
import {
  InstanceGroup, OnnxGraphLevel, QueueTimeoutAction, TensorRtPrecision, TritonModel, WarmUp,
} from '../../src/model-runtime';

const manifest = (platform: ModelManifest['platform'], file = 'model.bin'): ModelManifest => ({
  schemaVersion: '1',
  name: 'eta',
  version: '7',
  platform,
  inputs: [{ name: 'x', datatype: 'FP32', shape: [-1, 30] }],
  outputs: [{ name: 'y', datatype: 'FP32', shape: [-1, 1] }],
  files: [{ path: file, digest: `sha256:${'0'.repeat(64)}`, bytes: 1 }],
} as unknown as ModelManifest);

/** What the pods read: fails where they would refuse it. */
const read = (model: TritonModel) => parseConfiguration(JSON.stringify({
  schemaVersion: '1',
  name: 'brain',
  environment: 'dev',
  models: [{ name: 'eta', owner: 'tests' }],
  featureGroups: [],
  vectorIndexes: [],
  limits: DEFAULT_LIMITS,
  triton: { eta: model._toOptions() },
})).triton!.eta;

describe('TritonModel', () => {
  test('an ONNX model with batches, queues, instances and warm-up becomes its config.pbtxt', () => {
    const model = TritonModel.onnx({
      maxBatchSize: 64,
      dynamicBatching: {
        maxQueueDelay: Duration.millis(2),
        preferredBatchSizes: [16, 64],
        queue: { timeout: Duration.millis(500), maxSize: 100 },
        priorities: { levels: 2, queues: { 1: { timeout: Duration.seconds(1), timeoutAction: QueueTimeoutAction.DELAY } } },
      },
      instanceGroups: [InstanceGroup.gpu({ count: 2, gpus: [0], rateLimiter: { resources: [{ name: 'compute', count: 4, global: true }], priority: 2 } })],
      graphLevel: OnnxGraphLevel.EXTENDED,
      tensorRt: { precision: TensorRtPrecision.FP16, maxWorkspace: Size.gibibytes(1) },
      warmUp: [WarmUp.random({ batchSize: 64, count: 3 })],
      parameters: { enable_mem_arena: '0' },
    });
    const text = renderTritonConfig(manifest('onnx'), read(model));
    for (const line of [
      'max_batch_size: 64', 'max_queue_delay_microseconds: 2000', 'preferred_batch_size: 16', 'default_timeout_microseconds: 500000', 'max_queue_size: 100',
      'priority_levels: 2', 'default_priority_level: 2', 'timeout_action: DELAY', 'kind: KIND_GPU', 'count: 2', 'name: "compute"', 'global: true', 'level: 1',
      'value: "FP16"', 'value: "1073741824"', 'random_data: true', 'batch_size: 64', 'key: "enable_mem_arena"',
    ]) expect(text).toContain(line);
  });

  test.each([
    ['TensorRT', TritonModel.tensorRt({ cudaGraphs: true, eagerBatching: true }), 'tensorrt', ['backend: "tensorrt"', 'graphs: true', 'eager_batching: true']],
    ['PyTorch', TritonModel.pyTorch({ instanceGroups: [InstanceGroup.cpu()] }), 'pytorch', ['backend: "pytorch"', 'kind: KIND_CPU']],
    ['Python', TritonModel.python({ environment: 'model.bin', instanceGroups: [InstanceGroup.model(), InstanceGroup.auto()] }), 'python',
      ['backend: "python"', 'EXECUTION_ENV_PATH', 'kind: KIND_MODEL', 'kind: KIND_AUTO']],
  ] as const)('a %s model', (_, model, platform, lines) => {
    const text = renderTritonConfig(manifest(platform), read(model));
    for (const line of lines) expect(text).toContain(line);
  });

  test.each<[string, () => TritonModel, RegExp]>([
    ['batching without batches', () => TritonModel.onnx({ dynamicBatching: {} }), /TritonModel: dynamicBatching needs a maxBatchSize above 0/],
    ['a preferred batch that is too large', () => TritonModel.onnx({ maxBatchSize: 4, dynamicBatching: { preferredBatchSizes: [8] } }), /at most maxBatchSize \(4\), got 8/],
    ['a preferred batch twice', () => TritonModel.onnx({ maxBatchSize: 4, dynamicBatching: { preferredBatchSizes: [2, 2] } }), /must each stand once/],
    ['profiles without TensorRT', () => TritonModel.onnx({ instanceGroups: [InstanceGroup.gpu({ profiles: [0] })] }), /profiles is for platform tensorrt/],
    ['a delay of two seconds', () => TritonModel.onnx({ maxBatchSize: 4, dynamicBatching: { maxQueueDelay: Duration.seconds(2) } }), /BatchingDelay.*got 2000/],
    ['no instance', () => TritonModel.onnx({ instanceGroups: [InstanceGroup.cpu({ count: 0 })] }), /InstanceCount.*got 0/],
    ['a level that is none', () => TritonModel.onnx({ maxBatchSize: 4, dynamicBatching: { priorities: { levels: 2, queues: { 3: {} } } } }), /PriorityLevels.*got 3/],
    ['a warm-up of more rows than a batch', () => TritonModel.onnx({ maxBatchSize: 4, warmUp: [WarmUp.zero({ batchSize: 8 })] }), /got 8/],
    ['a rate limiter of nothing', () => TritonModel.onnx({ instanceGroups: [InstanceGroup.cpu({ rateLimiter: { resources: [] } })] }), /RateLimiter.*got 0/],
    ['a parameter without a name', () => TritonModel.onnx({ parameters: { '': 'x' } }), /'' is no name of a parameter/],
    ['an environment outside of the version', () => TritonModel.python({ environment: '../env.tar.gz' }), /environment must be a file of the version/],
    ['half a row', () => TritonModel.onnx({ maxBatchSize: 0.5 }), /MaxBatchSize.*got 0.5/],
  ])('fails with %s', (_, make, message) => {
    expect(make).toThrow(message);
  });

  test('whatever is accepted at synth, the pods take', () => {
    const integer = (most = 100_000) => fc.oneof(
      { weight: 30, arbitrary: fc.integer({ min: 1, max: 3 }) }, { weight: 1, arbitrary: fc.integer({ min: -1, max: most }) },
    );
    const name = fc.oneof({ weight: 9, arbitrary: fc.stringMatching(/^[a-z_]{1,9}$/) }, { weight: 1, arbitrary: fc.string({ maxLength: 140 }) });
    const duration = (most: number) => integer(most).filter((ms) => ms >= 0).map((ms) => Duration.millis(ms));
    const policy = fc.record({ timeout: fc.option(duration(4_000_000), { nil: undefined }), maxSize: integer(2_000_000) });
    const group = fc.record({ count: integer(300), gpus: fc.array(integer(17), { maxLength: 3 }) });
    const props = fc.record({
      maxBatchSize: integer(),
      dynamicBatching: fc.option(fc.record({
        maxQueueDelay: duration(1200),
        preferredBatchSizes: fc.array(integer(), { maxLength: 34 }),
        queue: policy,
        priorities: fc.record({
          levels: integer(120), defaultLevel: integer(120), queues: fc.dictionary(integer(120).map(String), policy, { maxKeys: 2 }),
        }),
      }, { requiredKeys: [] }), { nil: undefined }),
      instanceGroups: fc.array(fc.constantFrom('gpu', 'cpu', 'auto', 'model'), { maxLength: 18 }),
      groupProps: group,
      warmUp: fc.array(fc.record({ batchSize: integer(70_000), count: integer(1100), variableSize: integer(2_000_000) }), { maxLength: 18 }),
      parameters: fc.dictionary(name, fc.string({ maxLength: 1100 }), { maxKeys: 3 }),
      environment: fc.option(name, { nil: undefined }),
    }, { requiredKeys: ['groupProps'] });
    let accepted = 0;
    fc.assert(fc.property(props, ({ instanceGroups = [], groupProps, warmUp, ...given }) => {
      let model: TritonModel;
      try {
        model = TritonModel.python({
          ...given,
          instanceGroups: instanceGroups.map((kind) => (kind === 'gpu' ? InstanceGroup.gpu(groupProps) : InstanceGroup[kind as 'cpu']({ count: groupProps.count }))),
          warmUp: warmUp?.map((each) => WarmUp.random(each)),
        });
      } catch {
        return;
      }
      accepted++;
      read(model);
    }), { numRuns: 2000 });
    expect(accepted).toBeGreaterThan(100);
  });
});
