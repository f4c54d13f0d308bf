/** One inference, from tensors to tensors: check against the public signature, enrich, run, account for it. */
import type { ModelCatalog } from './catalog';
import { enrich, type EnrichmentResult, type EnrichmentSources, explain } from './enrichment';
import { BrainError, refuse } from './errors';
import type { ModelPlan } from './plan';
import type { Clock, ModelRuntime } from './ports';
import { elementCount, shapeFits, type Tensor } from './tensors';
import { type BrainConfiguration, Parameter } from '../../src/contract';

export interface InferCall {
  readonly model: string;
  /** Undefined: the version that is stable. */
  readonly version?: string;
  readonly inputs: readonly Tensor[];
  /** Names of the outputs to answer, in this order; undefined: all that the manifest declares. */
  readonly outputs?: readonly string[];
  /** Whether the answer shows the features and neighbours that went into it. */
  readonly explain?: boolean;
}

export interface InferAnswer {
  readonly model: string;
  readonly version: string;
  readonly outputs: readonly Tensor[];
  /** By the names of the contract's `Parameter`. */
  readonly parameters: Readonly<Record<string, string>>;
}

export interface InferencePipelineOptions extends EnrichmentSources {
  readonly configuration: BrainConfiguration;
  readonly catalog: ModelCatalog;
  readonly runtime: ModelRuntime;
  readonly clock: Clock;
}

export class InferencePipeline {
  constructor(private readonly options: InferencePipelineOptions) {}

  /**
   * Fails with a coded error, and with DEADLINE_EXCEEDED after the declared request timeout at the latest.
   *
   * @param signal aborts the work when the caller is gone
   */
  infer(call: InferCall, signal?: AbortSignal): Promise<InferAnswer> {
    return withDeadline(this.options.configuration.limits.requestTimeoutMs, signal, (deadline) => this.run(call, deadline));
  }

  private async run(call: InferCall, signal: AbortSignal): Promise<InferAnswer> {
    const { catalog, runtime, clock, configuration } = this.options;
    const plan = call.version === undefined ? catalog.stable(call.model) : await catalog.version(call.model, call.version);
    const inputs = checkInputs(plan, call.inputs);
    const batch = batchOf(plan, inputs, configuration.limits.maxBatch);
    requireOutputs(plan, call.outputs);

    const enrichment = await enrich(plan, inputs, batch, this.options, clock.now(), signal);
    const tensors = [
      ...plan.passThrough.map((name) => inputs.get(name)!),
      ...enrichment.features?.tensors ?? [],
      ...enrichment.vectors?.tensors ?? [],
    ];
    const outputs = checkOutputs(plan, await runtime.infer(plan.ref, tensors, signal), call.outputs);
    return { model: plan.ref.name, version: plan.ref.version, outputs, parameters: account(plan, enrichment, call.explain ?? false) };
  }
}

/** The public inputs by name. Fails with UNEXPECTED_INPUT, DUPLICATE_INPUT, MISSING_INPUT, INVALID_DATATYPE or INVALID_SHAPE. */
function checkInputs(plan: ModelPlan, given: readonly Tensor[]): Map<string, Tensor> {
  const inputs = new Map<string, Tensor>();
  for (const tensor of given) {
    const declared = plan.publicInputs.find(({ name }) => name === tensor.name);
    const details = { tensor: tensor.name };
    if (!declared) {
      refuse('UNEXPECTED_INPUT', plan.produced.has(tensor.name)
        ? `input '${tensor.name}' is filled by the brain itself: leave it out`
        : `model '${plan.ref.name}' has no input '${tensor.name}': it takes ${plan.publicInputs.map(({ name }) => `'${name}'`).join(', ')}`, details);
    }
    if (inputs.has(tensor.name)) refuse('DUPLICATE_INPUT', `input '${tensor.name}' is in the request twice`, details);
    if (tensor.datatype !== declared.datatype) {
      refuse('INVALID_DATATYPE', `input '${tensor.name}' must be ${declared.datatype}, got ${tensor.datatype}`, details);
    }
    if (!shapeFits(tensor.shape, declared.shape)) {
      refuse('INVALID_SHAPE', `input '${tensor.name}' must have shape [${declared.shape.join(', ')}], got [${tensor.shape.join(', ')}]`, details);
    }
    inputs.set(tensor.name, tensor);
  }
  for (const { name, datatype, shape } of plan.publicInputs) {
    if (!inputs.has(name)) refuse('MISSING_INPUT', `input '${name}' is missing: it is ${datatype} [${shape.join(', ')}]`, { tensor: name });
  }
  return inputs;
}

/** Rows of the request: the first dimension of every input whose first dimension is declared as -1. */
function batchOf(plan: ModelPlan, inputs: ReadonlyMap<string, Tensor>, maxBatch: number): number {
  const first = plan.publicInputs.find(({ shape }) => shape[0] === -1);
  if (!first) return 1;
  const batch = inputs.get(first.name)!.shape[0];
  if (batch === 0) refuse('INVALID_SHAPE', `input '${first.name}' has no row: a request needs one at least`, { tensor: first.name });
  if (batch > maxBatch) refuse('BATCH_TOO_LARGE', `the request has ${batch} rows, at most ${maxBatch} are taken: split it`);
  for (const { name, shape } of plan.publicInputs) {
    const rows = inputs.get(name)!.shape[0];
    if (shape[0] === -1 && rows !== batch) {
      refuse('INVALID_SHAPE', `input '${name}' has ${rows} rows, input '${first.name}' has ${batch}: the batch is one and the same`, { tensor: name });
    }
  }
  return batch;
}

function requireOutputs({ ref }: ModelPlan, names: readonly string[] | undefined): void {
  for (const [position, name] of (names ?? []).entries()) {
    if (!ref.manifest.outputs.some((output) => output.name === name)) {
      refuse('UNKNOWN_OUTPUT', `model '${ref.name}' has no output '${name}': it has ${ref.manifest.outputs.map((output) => `'${output.name}'`).join(', ')}`, { tensor: name });
    }
    if (names!.indexOf(name) !== position) refuse('INVALID_REQUEST', `output '${name}' is requested twice`, { tensor: name });
  }
}

/** The outputs asked for, in their order. Fails with INVALID_MODEL_OUTPUT where the runtime's answer is not what the manifest declares. */
function checkOutputs({ ref }: ModelPlan, given: readonly Tensor[], names: readonly string[] | undefined): Tensor[] {
  const wanted = names ? names.map((name) => ref.manifest.outputs.find((output) => output.name === name)!) : ref.manifest.outputs;
  return wanted.map((declared) => {
    const tensor = given.find(({ name }) => name === declared.name);
    if (!tensor) return refuse('INVALID_MODEL_OUTPUT', `the runtime answered no output '${declared.name}'`, { tensor: declared.name });
    if (tensor.datatype !== declared.datatype || !shapeFits(tensor.shape, declared.shape) || tensor.data.length !== elementCount(tensor.shape)) {
      refuse('INVALID_MODEL_OUTPUT', `output '${declared.name}' is ${tensor.datatype} [${tensor.shape.join(', ')}] of ${tensor.data.length} elements, declared is ${declared.datatype} [${declared.shape.join(', ')}]`, { tensor: declared.name });
    }
    return tensor;
  });
}

function account(plan: ModelPlan, result: EnrichmentResult, explained: boolean): Record<string, string> {
  const parameters: Record<string, string> = { [Parameter.MODEL_VERSION]: plan.ref.version };
  const { features, vectors } = result;
  if (features?.asOf !== undefined) parameters[Parameter.FEATURE_AS_OF] = new Date(features.asOf).toISOString();
  if (features && features.defaulted.size > 0) parameters[Parameter.DEFAULTED] = [...features.defaulted].join(',');
  if (vectors) parameters[Parameter.INDEX_GENERATION] = [...vectors.generations].join(',');
  if (explained) parameters[Parameter.ENRICHMENT] = explain(plan, result);
  return parameters;
}

/** Runs work that may ignore its signal: the caller gets an answer in time either way. */
async function withDeadline<T>(milliseconds: number, caller: AbortSignal | undefined, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const controller = new AbortController();
  let reject: (reason: unknown) => void;
  const ended = new Promise<never>((_, refused) => {
    reject = refused;
  });
  const stop = (reason: unknown) => {
    reject(reason);
    controller.abort(reason);
  };
  const onCallerGone = () => stop(caller!.reason);
  const timer = setTimeout(() => stop(new BrainError('DEADLINE_EXCEEDED', `the answer was not ready within ${milliseconds} ms`)), milliseconds);
  caller?.addEventListener('abort', onCallerGone, { once: true });
  try {
    if (caller?.aborted) throw caller.reason;
    return await Promise.race([work(controller.signal), ended]);
  } finally {
    clearTimeout(timer);
    caller?.removeEventListener('abort', onCallerGone);
  }
}
