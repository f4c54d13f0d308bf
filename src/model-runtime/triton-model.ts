import { Size } from 'aws-cdk-lib';
import { DynamicBatching } from './dynamic-batching';
import { InstanceGroup } from './instance-group';
import { renderBatching } from './render-batching';
import { WarmUp } from './warm-up';
import {
  ModelPlatform, TRITON_ENVIRONMENT_PATTERN, TRITON_LIMITS, TRITON_PARAMETER_PATTERN, TritonModelOptions, TritonOptimization, tritonOptionProblems,
} from '../contract';
import { requireInteger } from '../private/declarations';
import { fail } from '../private/fail';

/** How Triton runs a model, whatever backend that takes. Names follow Triton's model configuration (`model_config.proto`). */
export interface TritonModelProps {
  /**
   * Rows of one execution. 0: Triton takes each request as it is, and the first dimension is the model's own; above, each tensor has a first dimension of any size.
   * @default 0
   */
  readonly maxBatchSize?: number;

  /** Joins requests that wait at the same time: needs a `maxBatchSize` above 0. @default - each request is an execution */
  readonly dynamicBatching?: DynamicBatching;

  /** Where it runs in a pod, and how many times at once. @default - one instance on each GPU of the pod, or on its CPUs where it has none */
  readonly instanceGroups?: InstanceGroup[];

  /** Made-up requests that each instance runs before a version is ready. @default - those of the version's manifest alone */
  readonly warmUp?: WarmUp[];

  /** What the backend itself understands, by its own names. @default - none */
  readonly parameters?: { [name: string]: string };
}

/** How hard ONNX Runtime works on the graph before it runs it. */
export enum OnnxGraphLevel {
  /** Redundant nodes go. */
  BASIC = -1,
  /** Nodes are fused as well. */
  EXTENDED = 1,
  /** Everything, changes of the memory layout included. */
  ALL = 0,
}

/** Numbers that TensorRT calculates with. */
export enum TensorRtPrecision {
  /** 32 bits. */
  FP32 = 'FP32',
  /** 16 bits: about twice as fast, and other results. */
  FP16 = 'FP16',
}

/** TensorRT under ONNX Runtime. */
export interface TensorRtProvider {
  /** Numbers that it calculates with. @default TensorRtPrecision.FP32 */
  readonly precision?: TensorRtPrecision;

  /** GPU memory that it may take while it builds its engines. @default - what the backend takes */
  readonly maxWorkspace?: Size;
}

/** How Triton runs an ONNX model. */
export interface OnnxModelProps extends TritonModelProps {
  /** How hard the graph is worked on. @default OnnxGraphLevel.ALL */
  readonly graphLevel?: OnnxGraphLevel;

  /** Runs what it can in TensorRT, on a GPU: engines are built when a version is loaded, which takes minutes. @default - CUDA alone */
  readonly tensorRt?: TensorRtProvider;
}

/** How Triton runs a TensorRT plan. A plan is good for the GPU that it was built on. */
export interface TensorRtModelProps extends TritonModelProps {
  /** Launches captured CUDA graphs: less work on the CPU for small executions. @default false */
  readonly cudaGraphs?: boolean;

  /** Prepares the next batch while the one before executes. @default false */
  readonly eagerBatching?: boolean;
}

/** How Triton runs a Python model. */
export interface PythonModelProps extends TritonModelProps {
  /** A packed environment (conda-pack) among the version's files, e.g. `environment.tar.gz`. @default - the Python of Triton's image */
  readonly environment?: string;
}

/** How Triton runs a model: what its versions are, and how they are executed. It is rendered together with a version's manifest to that version's `config.pbtxt`. */
export class TritonModel {
  /** An ONNX model, by ONNX Runtime. */
  static onnx(props: OnnxModelProps = {}): TritonModel {
    const { graphLevel, tensorRt } = props;
    return new TritonModel('onnx', props, {
      ...graphLevel === undefined ? {} : { graphLevel },
      ...tensorRt === undefined ? {} : {
        tensorRt: {
          precision: tensorRt.precision ?? TensorRtPrecision.FP32,
          ...tensorRt.maxWorkspace === undefined ? {} : { maxWorkspaceBytes: tensorRt.maxWorkspace.toBytes() },
        },
      },
    });
  }

  /** A TensorRT plan. */
  static tensorRt(props: TensorRtModelProps = {}): TritonModel {
    const { cudaGraphs, eagerBatching } = props;
    return new TritonModel('tensorrt', props, { ...cudaGraphs === undefined ? {} : { cudaGraphs }, ...eagerBatching === undefined ? {} : { eagerBatching } });
  }

  /** A TorchScript model, by LibTorch. */
  static pyTorch(props: TritonModelProps = {}): TritonModel {
    return new TritonModel('pytorch', props);
  }

  /** A model in Python: `model.py` with `TritonPythonModel`. */
  static python(props: PythonModelProps = {}): TritonModel {
    return new TritonModel('python', props, {}, props.environment);
  }

  private readonly options: TritonModelOptions;

  private constructor(platform: ModelPlatform, props: TritonModelProps, optimization: TritonOptimization = {}, environment?: string) {
    const { maxBatchSize = 0, dynamicBatching, instanceGroups, warmUp, parameters } = props;
    this.options = {
      platform,
      maxBatchSize: requireInteger(undefined, 'MaxBatchSize', 'maxBatchSize', maxBatchSize, 0, 65_536),
      ...dynamicBatching === undefined ? {} : { dynamicBatching: renderBatching(dynamicBatching) },
      ...instanceGroups === undefined || instanceGroups.length === 0 ? {} : { instanceGroups: instanceGroups.map((group) => group._render()) },
      ...Object.keys(optimization).length === 0 ? {} : { optimization },
      ...warmUp === undefined ? {} : { warmUp: warmUp.map((request) => request._render()) },
      ...parameters === undefined ? {} : { parameters },
      ...environment === undefined ? {} : { environment },
    };
    const problems = [...tritonOptionProblems(this.options), ...listProblems(this.options)];
    if (problems.length > 0) fail(undefined, 'TritonModel', `${problems.join('; ')}: Triton would refuse each version, or ignore what it says`);
  }

  /** GPUs of the pod that it names by number, the highest of them; -1 where it names none. @internal */
  get _highestGpu(): number {
    return Math.max(-1, ...(this.options.instanceGroups ?? []).flatMap(({ gpus = [] }) => gpus));
  }

  /** @internal */
  _toOptions(): TritonModelOptions {
    return this.options;
  }
}

/** What the options' schema in the pods would refuse, of what no single value says. */
function listProblems({ instanceGroups = [], warmUp = [], parameters = {}, environment, dynamicBatching }: TritonModelOptions): string[] {
  const problems: string[] = [];
  const sizes = dynamicBatching?.preferredBatchSizes ?? [];
  const lists = { preferredBatchSizes: sizes, instanceGroups, warmUp, parameters: Object.keys(parameters) };
  for (const [name, list] of Object.entries(lists) as [keyof typeof lists, readonly unknown[]][]) {
    if (list.length > TRITON_LIMITS[name]) problems.push(`${name} must be at most ${TRITON_LIMITS[name]}, got ${list.length}`);
  }
  if (new Set(sizes).size < sizes.length) problems.push(`preferredBatchSizes must each stand once, got ${sizes.join(', ')}`);
  for (const [name, value] of Object.entries(parameters)) {
    if (!new RegExp(TRITON_PARAMETER_PATTERN).test(name)) problems.push(`'${name}' is no name of a parameter`);
    if (value.length > TRITON_LIMITS.parameterLength) problems.push(`parameter '${name}' must be at most ${TRITON_LIMITS.parameterLength} characters, got ${value.length}`);
  }
  const isFile = (path: string) => path.length <= TRITON_LIMITS.environmentLength && new RegExp(TRITON_ENVIRONMENT_PATTERN).test(path);
  if (environment !== undefined && !isFile(environment)) {
    problems.push(`environment must be a file of the version, got '${environment}'`);
  }
  return problems;
}
