/** The operations of the service: who asks, for how long, by which lane, and then the pipeline. */
import { codedError } from './http-errors';
import type { InferOperation, IncomingCall, InferResult, Operations, ParameterValue } from './operations';
import { version as packageVersion } from '../../package.json';
import { Header, type ModelManifest, Parameter, Scope } from '../../src/contract';
import type { Authenticator, Caller } from '../core/caller';
import type { ModelCatalog } from '../core/catalog';
import { BrainError, refuse } from '../core/errors';
import type { InferAnswer, InferCall, InferencePipeline } from '../core/infer';
import { type ModelMetadata, modelMetadata } from '../core/oip';
import type { Logger } from '../core/ports';
import type { ConcurrencyLimit, Lane, Outcome, Permit } from '../core/resilience/concurrency-limit';
import { CancelListener, RequestScope } from '../core/resilience/deadline';
import type { DeadlineTimers } from '../core/resilience/deadline-timers';
import { LatencyClass } from '../core/resilience/vegas-limit';
import type { StickyValues } from '../core/routing';
import type { RequestOperation, RequestTelemetry, Telemetry } from '../core/telemetry';
import { JoinedPieces, TokenCounter } from '../core/token-usage';

export interface InferenceOperationsOptions {
  readonly catalog: ModelCatalog;
  readonly pipeline: InferencePipeline;
  readonly authenticator: Authenticator;
  readonly telemetry: Telemetry;
  readonly timers: DeadlineTimers;
  readonly limit: ConcurrencyLimit;
  readonly logger: Logger;
  /** Longest time of one request, milliseconds. */
  readonly requestTimeoutMs: number;
  readonly isDraining: () => boolean;
}

/** Of the longest time that a request may take: one that was worked on for so long and is not answered was held up. */
const TELLING_SHARE = 0.5;

const EXTENSIONS = ['binary_tensor_data', 'generate'];

interface Piece {
  readonly result: InferResult;
  readonly manifest: ModelManifest;
}

/** What a request went through, and what is to be given back when it is over. */
class Attempt {
  scope: RequestScope | undefined;
  permit: Permit | undefined;
  outcome: Outcome = 'ignored';
  /** What its latency is compared with. */
  kind: LatencyClass | undefined;

  constructor(readonly telemetry: RequestTelemetry) {}
}

/** Listens while a streamed answer waits for its reader: nothing else would end what the request holds. */
class Unread extends CancelListener {
  constructor(private readonly abandon: () => void) {
    super();
  }

  override cancelled(): void {
    this.abandon();
  }
}

export class InferenceOperations implements Operations {
  /** Latencies are compared within one version of a model. */
  private readonly kinds = new Map<string, LatencyClass>();

  constructor(private readonly options: InferenceOperationsOptions) {}

  now(): number {
    return this.options.telemetry.now();
  }

  isLive(): boolean {
    return true;
  }

  isReady(): boolean {
    return !this.options.isDraining() && this.options.catalog.isReady();
  }

  requireReady(): void {
    if (this.options.isDraining()) refuse('SHUTTING_DOWN', 'the process drains', { ready: false });
    if (!this.options.catalog.isReady()) refuse('MODEL_NOT_READY', 'the stable versions are not loaded yet', { ready: false });
  }

  authenticate(call: IncomingCall): Caller | Promise<Caller> {
    return this.options.authenticator.caller(call.header('authorization'));
  }

  serverMetadata(): ReturnType<Operations['serverMetadata']> {
    return { name: 'thalos-brain', version: packageVersion, extensions: EXTENSIONS };
  }

  async modelMetadata(model: string, version?: string): Promise<ModelMetadata> {
    const { plan, versions } = await this.inTime(() => this.options.catalog.describe(model, version));
    return modelMetadata(plan.ref.manifest, version === undefined ? versions : [version], plan.publicInputs);
  }

  async requireModelReady(model: string, version: string | undefined): Promise<void> {
    await this.inTime((scope) => this.options.catalog.requireReady(model, version, scope));
  }

  /** What is no inference takes no longer than one: a version that is not taken up yet may load for minutes. */
  private async inTime<T>(work: (scope: RequestScope) => Promise<T>): Promise<T> {
    const { timers, requestTimeoutMs } = this.options;
    const scope = RequestScope.start(timers, { timeoutMs: requestTimeoutMs });
    try {
      return await scope.race(work(scope));
    } finally {
      scope.end();
    }
  }

  refused(call: IncomingCall, operation: RequestOperation, model: string, error: unknown): BrainError {
    return this.failed(error, new Attempt(this.begin(call, { model, inputs: [], parameters: {} }, operation)), call, model);
  }

  async infer(call: IncomingCall, request: InferOperation): Promise<InferResult> {
    const attempt = new Attempt(this.begin(call, request, 'infer'));
    const { telemetry } = attempt;
    try {
      const admitted = this.admit(call, request, attempt);
      const inferCall = admitted instanceof Promise ? await admitted : admitted;
      const answer = await this.options.pipeline.infer(inferCall);
      attempt.outcome = 'done';
      attempt.kind = this.kindOf(answer);
      return {
        model: answer.model,
        version: answer.version,
        id: request.id,
        outputs: answer.outputs,
        parameters: answer.parameters,
        encoded: (startedAt, failure) => {
          telemetry.stage('encode', startedAt);
          telemetry.end(failure);
        },
      };
    } catch (error) {
      throw this.failed(error, attempt, call, request.model);
    } finally {
      this.over(attempt);
    }
  }

  async generate(call: IncomingCall, request: InferOperation): Promise<InferResult> {
    let joined: JoinedPieces | undefined;
    let last: InferResult | undefined;
    for await (const { result, manifest } of this.pieces(call, request, 'generate')) {
      joined ??= new JoinedPieces(manifest);
      joined.add(result.outputs);
      last = result;
    }
    return last ? { ...last, outputs: joined!.outputs } : refuse('INVALID_MODEL_OUTPUT', `model '${request.model}' gave no answer`, { model: request.model });
  }

  async* stream(call: IncomingCall, request: InferOperation): AsyncGenerator<InferResult, void, undefined> {
    for await (const { result } of this.pieces(call, request, 'stream')) yield result;
  }

  private async* pieces(call: IncomingCall, request: InferOperation, operation: RequestOperation): AsyncGenerator<Piece, void, undefined> {
    const attempt = new Attempt(this.begin(call, request, operation));
    const { telemetry } = attempt;
    let ended = false;
    try {
      const inferCall = await this.admit(call, request, attempt);
      const scope = attempt.scope!;
      const answers = this.options.pipeline.stream(inferCall)[Symbol.asyncIterator]();
      const stop = () => void answers.return?.(undefined).catch(() => undefined);
      const unread = new Unread(() => {
        this.release(attempt);
        stop();
      });
      let counter: TokenCounter | undefined;
      try {
        for (;;) {
          const next = await scope.race(answers.next());
          if (next.done) break;
          const { model, version, outputs, parameters, plan: { ref: { manifest } } } = next.value;
          if (manifest.streaming) counter ??= new TokenCounter(manifest.streaming);
          telemetry.piece();
          scope.onCancel(unread);
          yield { result: { model, version, id: request.id, outputs, parameters, usage: counter?.add(outputs) }, manifest };
          scope.offCancel(unread);
        }
      } finally {
        // they were generated, whether or not the answer came to its end
        if (counter) telemetry.tokens(counter.usage);
        // a caller that goes away midway ends the work behind it
        stop();
      }
      ended = true;
      telemetry.end();
    } catch (error) {
      ended = true;
      throw this.failed(error, attempt, call, request.model);
    } finally {
      // one that goes away between two pieces leaves this generator where it stands
      if (!ended) telemetry.end('CANCELLED');
      this.over(attempt);
    }
  }

  /** Who asks, until when, and whether there is room: in this order, so that a request that nobody may make takes nobody's place. */
  private admit(call: IncomingCall, request: InferOperation, attempt: Attempt): InferCall | Promise<InferCall> {
    const caller = this.authenticate(call);
    return caller instanceof Promise ? caller.then((known) => this.enter(call, request, attempt, known)) : this.enter(call, request, attempt, caller);
  }

  private enter(call: IncomingCall, request: InferOperation, attempt: Attempt, caller: Caller): InferCall | Promise<InferCall> {
    const { limit } = this.options;
    const lane = laneOf(call, caller);
    const scope = this.scope(call, attempt.telemetry);
    attempt.scope = scope;
    attempt.permit = limit.tryAcquire(lane, scope.deadline, caller.tenant);
    if (attempt.permit) return this.inferCall(call, request, caller, scope, attempt.telemetry);
    const startedAt = this.now();
    return limit.acquire(lane, scope.deadline, caller.tenant, scope.signal).then((permit) => {
      attempt.permit = permit;
      attempt.telemetry.stage('admit', startedAt);
      return this.inferCall(call, request, caller, scope, attempt.telemetry);
    });
  }

  private over(attempt: Attempt): void {
    attempt.scope?.end();
    this.release(attempt);
  }

  private release(attempt: Attempt): void {
    const { permit, outcome, kind } = attempt;
    if (!permit) return;
    attempt.permit = undefined;
    this.options.limit.release(permit, outcome, kind);
  }

  private kindOf({ model, version }: InferAnswer): LatencyClass {
    const name = `${model}/${version}`;
    let kind = this.kinds.get(name);
    if (!kind) this.kinds.set(name, kind = new LatencyClass());
    return kind;
  }

  /**
   * Whether a request that was late says that the service has too much to do. A caller with little time does not, and neither does a dependency that is
   * away: its breaker stands before it, and a lower limit would only turn away those who do without it.
   */
  private isTelling({ permit }: Attempt): boolean {
    const { timers, requestTimeoutMs } = this.options;
    return permit !== undefined && timers.clock.now() - permit.startedAt >= requestTimeoutMs * TELLING_SHARE;
  }

  private begin(call: IncomingCall, request: InferOperation, operation: RequestOperation): RequestTelemetry {
    const telemetry = this.options.telemetry.begin({
      protocol: call.protocol,
      operation,
      model: request.model,
      requestId: call.requestId,
      traceparent: call.header('traceparent'),
      tracestate: call.header('tracestate'),
    });
    if (request.receivedAt !== undefined) telemetry.stage('decode', request.receivedAt);
    return telemetry;
  }

  private scope(call: IncomingCall, { traceparent }: RequestTelemetry): RequestScope {
    const { timers, requestTimeoutMs } = this.options;
    const timeoutMs = Math.min(requestTimeoutMs, call.timeoutMs ?? Infinity, timeoutOf(call.header(Header.TIMEOUT)));
    const scope = RequestScope.start(timers, { timeoutMs, traceparent });
    call.onGone(() => scope.cancel(new BrainError('CANCELLED', 'the caller closed the connection')));
    return scope;
  }

  private inferCall(call: IncomingCall, request: InferOperation, caller: Caller, context: RequestScope, telemetry: RequestTelemetry): InferCall {
    return {
      model: request.model,
      version: request.version,
      override: request.version === undefined ? overrideOf(call, caller) : undefined,
      inputs: request.inputs,
      outputs: request.outputs,
      explain: flag(request.parameters, Parameter.EXPLAIN),
      sticky: new CallKeys(caller.subject, caller.tenant, call, request),
      context,
      telemetry,
    };
  }

  private failed(error: unknown, attempt: Attempt, call: IncomingCall, model: string): BrainError {
    const { telemetry } = attempt;
    const coded = codedError(error);
    if (coded.code === 'DEADLINE_EXCEEDED' && this.isTelling(attempt)) attempt.outcome = 'overload';
    telemetry.end(coded.code);
    logFailure(this.options.logger, coded, { requestId: call.requestId, traceId: telemetry.traceId, model });
    return coded;
  }
}

/** What a sticky key may name, as far as the transport knows it. */
class CallKeys implements Omit<StickyValues, 'input'> {
  constructor(
    readonly subject: string | undefined, readonly tenant: string | undefined, private readonly call: IncomingCall,
    private readonly request: InferOperation,
  ) {}

  get requestId(): string {
    return this.call.requestId;
  }

  parameter(name: string): string | undefined {
    return textOf(this.request.parameters[name]);
  }

  header(name: string): string | undefined {
    return this.call.header(name);
  }
}

/** Logs what is the service's own fault with what only the log may know, but nothing of the payload; that it failed is in the access log. */
export function logFailure(logger: Logger, coded: BrainError, fields: object): void {
  if (coded.status < 500 || coded.cause === undefined) return;
  // a model's own words may quote what it was given
  const said = coded.code === 'MODEL_FAILED' ? undefined : { error: coded.message, cause: String(coded.cause instanceof Error ? coded.cause.stack : coded.cause) };
  logger.error({ ...fields, code: coded.code, ...said }, 'why a request failed');
}

function overrideOf(call: IncomingCall, caller: Caller): string | undefined {
  const version = call.header(Header.MODEL_VERSION);
  if (version === undefined) return undefined;
  if (!caller.scopes.has(Scope.OVERRIDE)) {
    refuse('PERMISSION_DENIED', `the header ${Header.MODEL_VERSION} needs a verified token with the scope '${Scope.OVERRIDE}'`, { missing: [Scope.OVERRIDE] });
  }
  return version;
}

function laneOf(call: IncomingCall, caller: Caller): Lane {
  const priority = call.header(Header.PRIORITY);
  switch (priority) {
    case undefined:
    case 'normal':
      return 'normal';
    case 'low':
      return 'low';
    case 'high':
      if (caller.scopes.has(Scope.PRIORITY)) return 'high';
      return refuse('PERMISSION_DENIED', `priority 'high' needs a verified token with the scope '${Scope.PRIORITY}'`, { missing: [Scope.PRIORITY] });
    default:
      return refuse('INVALID_PARAMETER', `the header ${Header.PRIORITY} must be high, normal or low, got '${priority.slice(0, 64)}'`, { parameter: Header.PRIORITY });
  }
}

function timeoutOf(header: string | undefined): number {
  if (header === undefined) return Infinity;
  const milliseconds = Number(header);
  if (header !== '' && Number.isFinite(milliseconds) && milliseconds > 0) return milliseconds;
  return refuse('INVALID_PARAMETER', `the header ${Header.TIMEOUT} must be a positive number of milliseconds, got '${header.slice(0, 64)}'`, { parameter: Header.TIMEOUT });
}

function flag(parameters: InferOperation['parameters'], name: string): boolean {
  const value = parameters[name];
  if (value === undefined || typeof value === 'boolean') return value ?? false;
  return refuse('INVALID_PARAMETER', `parameter '${name}' must be true or false, got ${JSON.stringify(value).slice(0, 64)}`, { parameter: name });
}

const textOf = (value: ParameterValue | undefined): string | undefined => (value === undefined ? undefined : String(value));
