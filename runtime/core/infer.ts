/** One inference, from tensors to tensors: choose the version, check against its public signature, enrich, run, account for it. */
import type { ModelCatalog } from './catalog';
import { enrich, type EnrichmentResult, type EnrichmentSources, explain } from './enrichment';
import { refuse } from './errors';
import type { ModelPlan } from './plan';
import type { Clock, ModelRuntime } from './ports';
import type { RequestScope } from './resilience/deadline';
import type { ApprovedVersion } from './rollout';
import { assign, requireApproved, type StickyValues } from './routing';
import type { ShadowTraffic } from './shadow-traffic';
import type { Arm, RequestTelemetry, ShadowTelemetry, Telemetry } from './telemetry';
import { elementCount, shapeFits, type Tensor, texts } from './tensors';
import { type BrainConfiguration, Parameter } from '../../src/contract';

export interface InferCall {
  readonly model: string;
  /** The version that the path names. Undefined: the one that the rollout document gives. */
  readonly version?: string;
  /** The version that a caller chose who may. */
  readonly override?: string;
  readonly inputs: readonly Tensor[];
  /** Names of the outputs to answer, in this order; undefined: all that the manifest declares. */
  readonly outputs?: readonly string[];
  /** Whether the answer shows the features and neighbours that went into it. */
  readonly explain?: boolean;
  /** What a sticky key may name, beside the inputs. */
  readonly sticky: Omit<StickyValues, 'input'>;
  readonly context: RequestScope;
  readonly telemetry: RequestTelemetry;
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
  readonly telemetry: Telemetry;
  readonly shadows: ShadowTraffic;
}

/** Which plan serves a call, and which one is mirrored. */
interface Chosen {
  readonly plan: ModelPlan;
  readonly arm: Arm;
  readonly shadow?: ApprovedVersion;
}

/** What of a call makes the model's tensors. A mirrored one has no more. */
interface Preparing extends Pick<InferCall, 'inputs' | 'outputs' | 'context'> {
  readonly telemetry: Pick<ShadowTelemetry, 'stage'>;
}

/** A call that is ready for the model. */
interface Prepared {
  readonly inputs: ReadonlyMap<string, Tensor>;
  readonly enrichment: EnrichmentResult;
  readonly tensors: readonly Tensor[];
}

export class InferencePipeline {
  constructor(private readonly options: InferencePipelineOptions) {}

  /** Fails with a coded error, at the end of the call's context at the latest: the guards of the ports see to it, and `race` where there is none. */
  async infer(call: InferCall): Promise<InferAnswer> {
    const choosing = this.choose(call);
    const chosen = choosing instanceof Promise ? await call.context.race(choosing) : choosing;
    const { plan, arm } = chosen;
    const { runtime, telemetry } = this.options;
    call.telemetry.served(plan.ref.version, arm);
    if (plan.ref.manifest.streaming) {
      refuse('INVALID_REQUEST', `model '${plan.ref.name}' answers with a sequence: ask it through generate, generate_stream or ModelStreamInfer`, { model: plan.ref.name });
    }
    const preparing = this.prepare(plan, call);
    const prepared = preparing instanceof Promise ? await call.context.race(preparing) : preparing;
    this.countDegraded(prepared);
    const startedAt = telemetry.now();
    telemetry.callBegins(arm, startedAt);
    let given: readonly Tensor[];
    try {
      given = await runtime.infer(plan.ref, prepared.tensors, call.context);
    } finally {
      telemetry.callEnds(arm, startedAt);
    }
    call.telemetry.stage('runtime', startedAt);
    const answer = this.answer(plan, prepared, given, call);
    this.mirror(chosen, call, answer);
    return answer;
  }

  /** The answers of a decoupled model as they come; of another model, its one answer. */
  async* stream(call: InferCall): AsyncGenerator<InferAnswer & { readonly plan: ModelPlan }, void, undefined> {
    const chosen = await this.choose(call);
    const { plan, arm, shadow } = chosen;
    const { runtime, telemetry } = this.options;
    call.telemetry.served(plan.ref.version, arm);
    const prepared = await this.prepare(plan, call);
    this.countDegraded(prepared);
    const startedAt = telemetry.now();
    telemetry.callBegins(arm, startedAt);
    try {
      if (!plan.ref.manifest.streaming) {
        const given = await runtime.infer(plan.ref, prepared.tensors, call.context);
        call.telemetry.stage('runtime', startedAt);
        const answer = this.answer(plan, prepared, given, call);
        this.mirror(chosen, call, answer);
        yield { ...answer, plan };
        return;
      }
      if (shadow) telemetry.count('shadow_dropped', plan.ref.name);
      if (!runtime.stream) return refuse('MODEL_FAILED', `the brain's runtime cannot stream, and model '${plan.ref.name}' answers with a sequence`, { model: plan.ref.name });
      for await (const given of runtime.stream(plan.ref, prepared.tensors, call.context)) yield { ...this.answer(plan, prepared, given, call), plan };
      call.telemetry.stage('runtime', startedAt);
    } finally {
      telemetry.callEnds(arm, startedAt);
    }
  }

  /** At once, but for a version that somebody names and that was not taken up yet. */
  private choose({ model, version, override, inputs, sticky }: InferCall): Chosen | Promise<Chosen> {
    const { catalog } = this.options;
    const named = version ?? override;
    if (named !== undefined) {
      const arm = version === undefined ? 'override' : 'pinned';
      const plan = catalog.taken(requireApproved(model, catalog.routes(model), named));
      if (plan) return { plan, arm };
      this.options.telemetry.callUnmet(arm);
      return catalog.version(model, named).then((taken) => ({ plan: taken, arm }));
    }
    const routes = catalog.routes(model);
    if (!routes.candidate) return { plan: this.stable(model), arm: 'stable' };
    const route = assign(model, routes, new CallValues(sticky, inputs));
    const candidate = route.arm === 'candidate' ? catalog.taken(route.version) : undefined;
    // a candidate that cannot serve yet takes nobody's answer away
    if (candidate) return { plan: candidate, arm: 'candidate' };
    return { plan: this.stable(model), arm: 'stable', shadow: route.shadow };
  }

  /** Whoever asks for what is not loaded yet is counted: a pool of the runtime that has no pod is brought back by it. */
  private stable(model: string): ModelPlan {
    const { catalog, telemetry } = this.options;
    return catalog.serves(model) ?? (telemetry.callUnmet('stable'), catalog.stable(model));
  }

  /** At once where nothing is read. */
  private prepare(plan: ModelPlan, call: Preparing): Prepared | Promise<Prepared> {
    const inputs = checkInputs(plan, call.inputs);
    const batch = batchOf(plan, inputs, this.options.configuration.limits.maxBatch);
    requireOutputs(plan, call.outputs);
    if (plan.features.length === 0 && plan.vectors.length === 0) {
      return { inputs, enrichment: NO_ENRICHMENT, tensors: plan.passThrough.map((name) => inputs.get(name)!) };
    }
    return this.enriched(plan, call, inputs, batch);
  }

  private async enriched(plan: ModelPlan, call: Preparing, inputs: ReadonlyMap<string, Tensor>, batch: number): Promise<Prepared> {
    const { clock, catalog } = this.options;
    const { flags } = catalog.routes(plan.ref.name);
    const enrichment = await enrich(plan, inputs, batch, this.options, clock.now(), call.context, flags, this.stageEnds(call.telemetry));
    const tensors = [
      ...plan.passThrough.map((name) => inputs.get(name)!),
      ...enrichment.features?.tensors ?? [],
      ...enrichment.vectors?.tensors ?? [],
    ];
    return { inputs, enrichment, tensors };
  }

  /** Both stages of enrichment begin now, and at once. */
  private stageEnds(telemetry: Preparing['telemetry']): (stage: 'features' | 'vectors') => void {
    const startedAt = this.options.telemetry.now();
    return (stage) => telemetry.stage(stage, startedAt);
  }

  /** Once for an answer, be it of many pieces; what is mirrored is nobody's answer. */
  private countDegraded({ enrichment: { degraded } }: Prepared): void {
    for (const what of degraded) this.options.telemetry.count('degraded', what);
  }

  private answer(plan: ModelPlan, { inputs, enrichment }: Prepared, given: readonly Tensor[], call: InferCall): InferAnswer {
    const outputs = checkOutputs(plan, given, call.outputs);
    const parameters = account(plan, enrichment, call.explain ?? false);
    call.telemetry.observe({ plan, inputs, enrichment, outputs, parameters });
    return { model: plan.ref.name, version: plan.ref.version, outputs, parameters };
  }

  /** Behind the answer. A sequence is not mirrored: nothing says how far two of them are apart. */
  private mirror({ plan, shadow }: Chosen, call: InferCall, answer: InferAnswer): void {
    const { catalog, shadows, telemetry } = this.options;
    // one that was withdrawn meanwhile is not asked, and neither is the version that has answered
    const twin = shadow && catalog.taken(shadow);
    if (!twin || twin === plan) return;
    if (twin.ref.manifest.streaming) telemetry.count('shadow_dropped', answer.model);
    else shadows.mirror((own) => this.mirrored(twin, { ...call, ...own }), answer, twin.ref.version);
  }

  /** The same request through another version: its own enrichment, and nothing of it in the request's telemetry. */
  private async mirrored(plan: ModelPlan, call: Preparing): Promise<readonly Tensor[]> {
    const { tensors } = await this.prepare(plan, call);
    const { runtime, telemetry } = this.options;
    const startedAt = telemetry.now();
    telemetry.callBegins('shadow', startedAt);
    let given: readonly Tensor[];
    try {
      given = await runtime.infer(plan.ref, tensors, call.context);
    } finally {
      telemetry.callEnds('shadow', startedAt);
    }
    call.telemetry.stage('runtime', startedAt);
    return checkOutputs(plan, given, call.outputs);
  }
}

const NO_ENRICHMENT: EnrichmentResult = { degraded: [] };

/** What a sticky key may name: the first element of an input, as text, beside what the transport knows. */
class CallValues implements StickyValues {
  readonly subject: string | undefined;
  readonly tenant: string | undefined;
  readonly requestId: string;

  constructor(private readonly others: InferCall['sticky'], private readonly inputs: readonly Tensor[]) {
    ({ subject: this.subject, tenant: this.tenant, requestId: this.requestId } = others);
  }

  input(name: string): string | undefined {
    const tensor = this.inputs.find((each) => each.name === name);
    if (!tensor || tensor.data.length === 0) return undefined;
    return tensor.datatype === 'BYTES' ? texts({ ...tensor, data: [tensor.data[0]] as string[] })[0] : String(tensor.data[0]);
  }

  parameter(name: string): string | undefined {
    return this.others.parameter(name);
  }

  header(name: string): string | undefined {
    return this.others.header(name);
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
  if (names === undefined) return;
  for (const [position, name] of names.entries()) {
    if (!ref.manifest.outputs.some((output) => output.name === name)) {
      refuse('UNKNOWN_OUTPUT', `model '${ref.name}' has no output '${name}': it has ${ref.manifest.outputs.map((output) => `'${output.name}'`).join(', ')}`, { tensor: name });
    }
    if (names.indexOf(name) !== position) refuse('INVALID_REQUEST', `output '${name}' is requested twice`, { tensor: name });
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

/** What an answer says for which nothing was read: the same for each, and frozen, so that it can be written once. */
const VERSION_ONLY = new WeakMap<ModelPlan, Readonly<Record<string, string>>>();

function account(plan: ModelPlan, result: EnrichmentResult, explained: boolean): Readonly<Record<string, string>> {
  if (result === NO_ENRICHMENT && !explained) {
    let parameters = VERSION_ONLY.get(plan);
    if (!parameters) VERSION_ONLY.set(plan, parameters = Object.freeze({ [Parameter.MODEL_VERSION]: plan.ref.version }));
    return parameters;
  }
  const parameters: Record<string, string> = { [Parameter.MODEL_VERSION]: plan.ref.version };
  const { features, vectors } = result;
  if (features?.asOf !== undefined) parameters[Parameter.FEATURE_AS_OF] = new Date(features.asOf).toISOString();
  if (features && features.defaulted.size > 0) parameters[Parameter.DEFAULTED] = [...features.defaulted].join(',');
  if (vectors && vectors.generations.size > 0) parameters[Parameter.INDEX_GENERATION] = [...vectors.generations].join(',');
  if (result.degraded.length > 0) parameters[Parameter.DEGRADED] = result.degraded.join(',');
  if (explained) parameters[Parameter.ENRICHMENT] = explain(plan, result);
  return parameters;
}
