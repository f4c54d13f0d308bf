import { OipDatatype } from './datatypes';
import { ModelManifest, ModelPlatform, TensorSchema } from './model-manifest';
import { TritonDynamicBatching, TritonInstanceGroup, TritonModelOptions, TritonOptimization, TritonQueuePolicy, TritonWarmUp } from './triton-options';

/**
 * Each version is a model of its own to Triton: one configuration holds for all versions of a Triton model, signature included, while ours are
 * released with a signature each; and a load that fails for one version undoes those beside it. The point is in no declared name.
 */
export function tritonModelName({ name, version }: { readonly name: string; readonly version: string }): string {
  return `${name}.${version}`;
}

/** Under the folder of a Triton model: where its configuration is, and where Triton looks for warm-up data. The version's files are in a folder named after it. */
export const TritonRepository = { CONFIGURATION: 'config.pbtxt', WARM_UP: 'warmup' } as const;

/** A warm-up tensor of the manifest: its first row, raw as the protocol's binary extension has it, belongs into `warmup/<file>` of the Triton model. */
export interface TritonWarmUpFile {
  readonly file: string;
  readonly tensor: TensorSchema & { readonly data: readonly (number | string | boolean)[] };
  /** Whether the file holds the first row only, because Triton repeats it for the batch. */
  readonly firstRowOnly: boolean;
}

/** Backend, platform and the unit that runs it, as Triton names them. Both must be given where Triton may not guess. */
const BACKENDS: Readonly<Record<ModelPlatform, { readonly backend: string; readonly platform?: string }>> = {
  onnx: { backend: 'onnxruntime', platform: 'onnxruntime_onnx' },
  tensorrt: { backend: 'tensorrt', platform: 'tensorrt_plan' },
  pytorch: { backend: 'pytorch', platform: 'pytorch_libtorch' },
  python: { backend: 'python' },
};

/** What makes a version unfit for its model's options; empty where nothing does. */
export function tritonProblems(manifest: ModelManifest, options: TritonModelOptions | undefined): string[] {
  const problems: string[] = [];
  if (!options) return problems;
  if (manifest.platform !== options.platform) problems.push(`the model is declared for platform ${options.platform}, and this version is ${manifest.platform}`);
  if (options.maxBatchSize > 0) {
    for (const { name, shape } of [...manifest.inputs, ...manifest.outputs]) {
      if (shape[0] !== -1 || shape.length < 2) {
        problems.push(`tensor '${name}' has shape [${shape.join(', ')}]: with maxBatchSize it needs a first dimension of any size (-1), and another one`);
      }
    }
  }
  if (options.environment !== undefined && !manifest.files.some(({ path }) => path === options.environment)) {
    problems.push(`environment '${options.environment}' is no file of this version`);
  }
  return problems;
}

/** Warm-up requests of the manifest that name the model's own inputs: those that Triton can run by itself. */
export function tritonWarmUpFiles(manifest: ModelManifest, options: TritonModelOptions | undefined): TritonWarmUpFile[] {
  return ownWarmUps(manifest, options).flat();
}

/**
 * `config.pbtxt` of one version: protobuf text format. The manifest is valid by its schema, and {@link tritonProblems} has found nothing. The same
 * text for the same input.
 */
export function renderTritonConfig(manifest: ModelManifest, options?: TritonModelOptions): string {
  const { backend, platform } = BACKENDS[manifest.platform];
  const { maxBatchSize = 0, dynamicBatching, instanceGroups = [], optimization, warmUp = [] } = options ?? {};
  const tensor = ({ name, datatype, shape }: TensorSchema): Message => ({
    name, data_type: dataType(datatype), dims: dimensions(shape, maxBatchSize),
  });
  return text({
    name: tritonModelName(manifest),
    ...platform === undefined ? {} : { platform },
    backend,
    version_policy: { specific: { versions: [Number(manifest.version)] } },
    max_batch_size: maxBatchSize,
    default_model_filename: manifest.files[0].path,
    input: manifest.inputs.map(tensor),
    output: manifest.outputs.map(tensor),
    ...instanceGroups.length === 0 ? {} : { instance_group: instanceGroups.map(instanceGroup) },
    ...dynamicBatching ? { dynamic_batching: batching(dynamicBatching) } : {},
    ...optimization ? { optimization: optimizations(optimization) } : {},
    ...manifest.streaming ? { model_transaction_policy: { decoupled: true } } : {},
    model_warmup: [
      ...ownWarmUps(manifest, options).map((files, position) => ownWarmUp(files, position, maxBatchSize)),
      ...warmUp.map((request, position) => madeUpWarmUp(manifest, request, position, maxBatchSize)),
    ],
    parameters: parameters(manifest, options),
  });
}

function dimensions(shape: readonly number[], maxBatchSize: number): readonly number[] {
  return maxBatchSize > 0 ? shape.slice(1) : shape;
}

function ownWarmUps({ warmUp = [], inputs }: ModelManifest, options: TritonModelOptions | undefined): TritonWarmUpFile[][] {
  const own = new Set(inputs.map(({ name }) => name));
  return warmUp
    .filter((request) => request.inputs.length === own.size && request.inputs.every(({ name }) => own.has(name)))
    .map((request, position) => request.inputs.map((tensor, input) => ({
      file: `request-${position}-${input}`, tensor, firstRowOnly: (options?.maxBatchSize ?? 0) > 0,
    })));
}

function ownWarmUp(files: readonly TritonWarmUpFile[], position: number, maxBatchSize: number): Message {
  const inputs = files.map(({ file, tensor: { name, datatype, shape } }): Message => ({
    key: name, value: { data_type: dataType(datatype), dims: dimensions(shape, maxBatchSize), input_data_file: file },
  }));
  const rows = files[0].tensor.shape[0];
  return { name: `request-${position}`, batch_size: maxBatchSize > 0 ? Math.max(1, Math.min(rows, maxBatchSize)) : 1, inputs };
}

function madeUpWarmUp(
  { inputs }: ModelManifest, { data, batchSize, count, variableSize }: TritonWarmUp, position: number, maxBatchSize: number,
): Message {
  return {
    name: `${data}-${position}`,
    batch_size: batchSize,
    count,
    inputs: inputs.map(({ name, datatype, shape }) => ({
      key: name,
      value: {
        data_type: dataType(datatype),
        dims: dimensions(shape, maxBatchSize).map((size) => (size === -1 ? variableSize : size)),
        [`${data}_data`]: true,
      },
    })),
  };
}

function instanceGroup({ kind, count, gpus = [], profiles = [], rateLimiter }: TritonInstanceGroup): Message {
  return {
    kind: symbol(`KIND_${kind.toUpperCase()}`),
    count,
    gpus,
    profile: profiles.map(String),
    ...rateLimiter ? {
      rate_limiter: {
        resources: rateLimiter.resources.map(({ name, global, count: needed }) => ({ name, global, count: needed })), priority: rateLimiter.priority,
      },
    } : {},
  };
}

function batching({ preferredBatchSizes = [], maxQueueDelayMs, preserveOrdering, queue, priorities }: TritonDynamicBatching): Message {
  return {
    preferred_batch_size: preferredBatchSizes,
    max_queue_delay_microseconds: Math.round(maxQueueDelayMs * 1000),
    preserve_ordering: preserveOrdering,
    ...queue ? { default_queue_policy: queuePolicy(queue) } : {},
    ...priorities ? {
      priority_levels: priorities.levels,
      default_priority_level: priorities.defaultLevel,
      priority_queue_policy: Object.entries(priorities.queues ?? {}).sort(([a], [b]) => Number(a) - Number(b))
        .map(([level, policy]) => ({ key: Number(level), value: queuePolicy(policy) })),
    } : {},
  };
}

function queuePolicy({ timeoutAction, timeoutMs, allowTimeoutOverride, maxSize }: TritonQueuePolicy): Message {
  return {
    timeout_action: symbol(timeoutAction.toUpperCase()),
    default_timeout_microseconds: timeoutMs * 1000,
    allow_timeout_override: allowTimeoutOverride,
    max_queue_size: maxSize,
  };
}

function optimizations({ graphLevel, tensorRt, cudaGraphs, eagerBatching }: TritonOptimization): Message {
  const accelerator = tensorRt && {
    name: 'tensorrt',
    parameters: [
      { key: 'precision_mode', value: tensorRt.precision },
      ...tensorRt.maxWorkspaceBytes === undefined ? [] : [{ key: 'max_workspace_size_bytes', value: String(tensorRt.maxWorkspaceBytes) }],
    ],
  };
  return {
    ...graphLevel === undefined ? {} : { graph: { level: graphLevel } },
    ...cudaGraphs === undefined ? {} : { cuda: { graphs: cudaGraphs } },
    ...accelerator ? { execution_accelerators: { gpu_execution_accelerator: [accelerator] } } : {},
    ...eagerBatching === undefined ? {} : { eager_batching: eagerBatching },
  };
}

function parameters({ version }: ModelManifest, options: TritonModelOptions | undefined): Message[] {
  const given = Object.entries(options?.parameters ?? {});
  const environment = options?.environment;
  // The Python backend puts the model's folder in place of the variable; the version's files are one folder further down.
  if (environment !== undefined) given.push(['EXECUTION_ENV_PATH', `$$TRITON_MODEL_DIRECTORY/${version}/${environment}`]);
  return given.sort(([a], [b]) => (a < b ? -1 : 1)).map(([key, value]) => ({ key, value: { string_value: value } }));
}

const dataType = (datatype: OipDatatype) => symbol(datatype === 'BYTES' ? 'TYPE_STRING' : `TYPE_${datatype}`);

/** An enumeration's value, which stands without quotes. */
class Symbolic {
  constructor(readonly name: string) {}
}
const symbol = (name: string) => new Symbolic(name);

interface Message {
  readonly [field: string]: Value | readonly Value[];
}
type Value = string | number | boolean | Symbolic | Message;

/** Protobuf's text format: a list is a repeated field, and a field each. Control characters and what is not ASCII are octal escapes of their UTF-8. */
function text(message: Message, indent = ''): string {
  return Object.entries(message).flatMap(([field, value]) => (Array.isArray(value) ? value : [value as Value]).map((each: Value) => {
    if (typeof each === 'object' && !(each instanceof Symbolic)) return `${indent}${field} {\n${text(each, `${indent}  `)}${indent}}\n`;
    return `${indent}${field}: ${scalar(each)}\n`;
  })).join('');
}

function scalar(value: string | number | boolean | Symbolic): string {
  if (value instanceof Symbolic) return value.name;
  return typeof value === 'string' ? quoted(value) : String(value);
}

function quoted(value: string): string {
  let quotedText = '';
  for (const byte of new TextEncoder().encode(value)) {
    const character = String.fromCharCode(byte);
    if (character === '"' || character === '\\') quotedText += `\\${character}`;
    else if (byte < 0x20 || byte > 0x7e) quotedText += `\\${byte.toString(8).padStart(3, '0')}`;
    else quotedText += character;
  }
  return `"${quotedText}"`;
}
