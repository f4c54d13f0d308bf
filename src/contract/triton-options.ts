import { array, enumeration, integer, JsonSchema, mapOf, object, string, TENSOR_NAME_PATTERN } from './json-schema';
import { MODEL_PLATFORMS, ModelPlatform } from './model-manifest';

/**
 * How Triton runs a model, whatever version of it: declared with the model, carried in `brain.json`, and rendered together with a version's
 * manifest to that version's `config.pbtxt`. Names and meaning follow Triton's model configuration (triton-inference-server/common,
 * `protobuf/model_config.proto`); times are milliseconds here.
 */
export interface TritonModelOptions {
  /** What the model's versions are: a manifest of another platform is refused. */
  readonly platform: ModelPlatform;
  /** Rows of one execution. 0: Triton takes each request as it is, and the first dimension is the model's own. */
  readonly maxBatchSize: number;
  /** Joins requests that wait at the same time. Needs a `maxBatchSize` above 0. */
  readonly dynamicBatching?: TritonDynamicBatching;
  /** @default - one instance on each GPU of the pod, or on its CPUs where it has none */
  readonly instanceGroups?: readonly TritonInstanceGroup[];
  readonly optimization?: TritonOptimization;
  /** Made-up requests that each instance runs before the version is ready, beside those of the manifest. */
  readonly warmUp?: readonly TritonWarmUp[];
  /** What the backend itself understands, by its own names. */
  readonly parameters?: Readonly<Record<string, string>>;
  /** Python: a packed environment (conda-pack) among the version's files. */
  readonly environment?: string;
}

export const TRITON_TIMEOUT_ACTIONS = ['reject', 'delay'] as const;

/** What becomes of requests that wait for an execution. */
export interface TritonQueuePolicy {
  /** Longest wait, milliseconds. 0: no limit. */
  readonly timeoutMs: number;
  /** `reject` answers that the time is up, `delay` lets the request wait behind all others of its priority. */
  readonly timeoutAction: typeof TRITON_TIMEOUT_ACTIONS[number];
  /** Whether a request may ask for a shorter wait. */
  readonly allowTimeoutOverride: boolean;
  /** Requests that wait, at most; beyond, they are refused at once. 0: no limit. */
  readonly maxSize: number;
}

export interface TritonDynamicBatching {
  /** An execution begins as soon as one of these sizes is there. @default - `maxBatchSize` */
  readonly preferredBatchSizes?: readonly number[];
  /** How long a request waits for others, milliseconds. */
  readonly maxQueueDelayMs: number;
  readonly preserveOrdering: boolean;
  readonly queue?: TritonQueuePolicy;
  /** Queues by priority: 1 comes first. */
  readonly priorities?: TritonPriorities;
}

export interface TritonPriorities {
  /** How many levels there are. */
  readonly levels: number;
  /** Level of a request that names none. */
  readonly defaultLevel: number;
  /** Policies of single levels; the others have the batcher's. */
  readonly queues?: Readonly<Record<string, TritonQueuePolicy>>;
}

export const TRITON_INSTANCE_KINDS = ['gpu', 'cpu', 'auto', 'model'] as const;

export interface TritonInstanceGroup {
  /** `auto`: on GPUs where the pod has any; `model`: the model places itself. */
  readonly kind: typeof TRITON_INSTANCE_KINDS[number];
  /** Instances on each GPU, or on the CPUs. */
  readonly count: number;
  /** GPUs of the pod, counted from 0. @default - all of them */
  readonly gpus?: readonly number[];
  /** TensorRT: optimization profiles of the plan. @default - the first */
  readonly profiles?: readonly number[];
  readonly rateLimiter?: TritonRateLimiter;
}

/** An instance executes only while it holds its resources: how executions of different models share a GPU. */
export interface TritonRateLimiter {
  readonly resources: readonly { readonly name: string; readonly count: number; readonly global: boolean }[];
  /** An instance of priority 2 gets half of the chances of one of priority 1. */
  readonly priority: number;
}

export interface TritonOptimization {
  /** ONNX: -1 basic, 0 the runtime's default (all), 1 basic and extended. */
  readonly graphLevel?: number;
  /** ONNX on a GPU: subgraphs run in TensorRT, at this precision. */
  readonly tensorRt?: { readonly precision: 'FP32' | 'FP16'; readonly maxWorkspaceBytes?: number };
  /** TensorRT: launches captured CUDA graphs. */
  readonly cudaGraphs?: boolean;
  /** TensorRT: prepares the next batch while the one before executes. */
  readonly eagerBatching?: boolean;
}

export const TRITON_WARM_UP_DATA = ['zero', 'random'] as const;

export interface TritonWarmUp {
  readonly data: typeof TRITON_WARM_UP_DATA[number];
  /** Rows; 1 without `maxBatchSize`. */
  readonly batchSize: number;
  /** How often it runs on each instance. */
  readonly count: number;
  /** What stands for a dimension of any size. */
  readonly variableSize: number;
}

/** Name of a backend's parameter. */
export const TRITON_PARAMETER_PATTERN = '^[A-Za-z_][A-Za-z0-9_.-]{0,127}$';

/** A file of a version, relative to the version's folder. */
export const TRITON_ENVIRONMENT_PATTERN = '^(?!.*(^|/)\\.\\.?(/|$))[A-Za-z0-9_.-][A-Za-z0-9_./-]*$';

/** Most of each list that options may hold. */
export const TRITON_LIMITS = {
  preferredBatchSizes: 32, instanceGroups: 16, warmUp: 16, parameters: 64, parameterLength: 1024, environmentLength: 255,
} as const;

const QUEUE = object({
  timeoutMs: integer(0, 3_600_000), timeoutAction: enumeration(TRITON_TIMEOUT_ACTIONS), allowTimeoutOverride: { type: 'boolean' }, maxSize: integer(0, 1_000_000),
});

export const TRITON_MODEL_OPTIONS_SCHEMA: JsonSchema = object({
  platform: enumeration(MODEL_PLATFORMS),
  maxBatchSize: integer(0, 65_536),
  dynamicBatching: object({
    preferredBatchSizes: array(integer(1, 65_536), { minItems: 1, maxItems: TRITON_LIMITS.preferredBatchSizes, uniqueItems: true }),
    maxQueueDelayMs: { type: 'number', minimum: 0, maximum: 1000 },
    preserveOrdering: { type: 'boolean' },
    queue: QUEUE,
    priorities: object({ levels: integer(1, 100), defaultLevel: integer(1, 100), queues: mapOf('^[1-9][0-9]{0,2}$', QUEUE) }, ['levels', 'defaultLevel']),
  }, ['maxQueueDelayMs', 'preserveOrdering']),
  instanceGroups: array(object({
    kind: enumeration(TRITON_INSTANCE_KINDS),
    count: integer(1, 256),
    gpus: array(integer(0, 15), { minItems: 1, uniqueItems: true }),
    profiles: array(integer(0, 1000), { minItems: 1, uniqueItems: true }),
    rateLimiter: object({
      resources: array(object({ name: string(TENSOR_NAME_PATTERN), count: integer(1, 1_000_000), global: { type: 'boolean' } }), { minItems: 1, maxItems: 16 }),
      priority: integer(1, 1000),
    }),
  }, ['kind', 'count']), { minItems: 1, maxItems: TRITON_LIMITS.instanceGroups }),
  optimization: object({
    graphLevel: integer(-1, 1),
    tensorRt: object({ precision: enumeration(['FP32', 'FP16']), maxWorkspaceBytes: integer(1) }, ['precision']),
    cudaGraphs: { type: 'boolean' },
    eagerBatching: { type: 'boolean' },
  }, []),
  warmUp: array(object({
    data: enumeration(TRITON_WARM_UP_DATA), batchSize: integer(1, 65_536), count: integer(1, 1000), variableSize: integer(1, 1_000_000),
  }), { maxItems: TRITON_LIMITS.warmUp }),
  parameters: { ...mapOf(TRITON_PARAMETER_PATTERN, { type: 'string', maxLength: TRITON_LIMITS.parameterLength }), maxProperties: TRITON_LIMITS.parameters },
  environment: { type: 'string', pattern: TRITON_ENVIRONMENT_PATTERN, maxLength: TRITON_LIMITS.environmentLength },
}, ['platform', 'maxBatchSize']);

/** What Triton, or the backend of the platform, would refuse or ignore; empty where nothing is. */
export function tritonOptionProblems(options: TritonModelOptions): string[] {
  const { platform, maxBatchSize, dynamicBatching, instanceGroups = [], optimization = {}, warmUp = [] } = options;
  const problems: string[] = [];
  const only = (wanted: ModelPlatform, what: string, given: unknown) => {
    if (given !== undefined && platform !== wanted) problems.push(`${what} is for platform ${wanted}, and this model is ${platform}`);
  };
  if (dynamicBatching) {
    const { preferredBatchSizes = [], priorities } = dynamicBatching;
    if (maxBatchSize === 0) problems.push('dynamicBatching needs a maxBatchSize above 0');
    const large = preferredBatchSizes.find((size) => size > maxBatchSize);
    if (large !== undefined && maxBatchSize > 0) problems.push(`preferredBatchSizes must be at most maxBatchSize (${maxBatchSize}), got ${large}`);
    if (priorities) {
      const { levels, defaultLevel, queues = {} } = priorities;
      if (defaultLevel > levels) problems.push(`defaultLevel must be a priority level (1 to ${levels}), got ${defaultLevel}`);
      const beyond = Object.keys(queues).find((level) => Number(level) > levels);
      if (beyond !== undefined) problems.push(`queues must be of priority levels (1 to ${levels}), got one of level ${beyond}`);
    }
  }
  for (const { kind, gpus, profiles } of instanceGroups) {
    if (gpus && (kind === 'cpu' || kind === 'model')) problems.push(`an instance group of kind ${kind} names GPUs: use kind gpu`);
    only('tensorrt', 'an instance group with profiles', profiles);
  }
  const rows = warmUp.find(({ batchSize }) => batchSize > Math.max(maxBatchSize, 1));
  if (rows) problems.push(`batchSize of a warm-up must be at most ${maxBatchSize > 0 ? `maxBatchSize (${maxBatchSize})` : '1 without maxBatchSize'}, got ${rows.batchSize}`);
  only('onnx', 'graphLevel', optimization.graphLevel);
  only('onnx', 'tensorRt', optimization.tensorRt);
  only('tensorrt', 'cudaGraphs', optimization.cudaGraphs);
  only('tensorrt', 'eagerBatching', optimization.eagerBatching);
  only('python', 'environment', options.environment);
  return problems;
}
