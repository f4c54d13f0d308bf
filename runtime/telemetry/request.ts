/** One request as telemetry sees it. Not traced and not sampled, it is one object and a few additions at its end. */
import type { ModelMetrics, VersionMetrics } from './request-metrics';
import type { TraceContext } from './trace-context';
import type { ErrorCode } from '../core/errors';
import {
  type Arm, type Observation, type RequestStart, type RequestTelemetry, type Stage, STAGES, type TokenUsage,
} from '../core/telemetry';

/** Position of each stage in STAGES. */
export const STAGE_INDEX = Object.fromEntries(STAGES.map((stage, index) => [stage, index])) as Readonly<Record<Stage, number>>;

/** What a request asks of the whole. */
export interface RequestOwner {
  now(): number;
  /** Milliseconds since the epoch. */
  wallClock(): number;
  defaults(observation: Observation): void;
  /** The numbers are counted; spans, logs, statistics, capture and the tracer are left. */
  finished(request: Request, at: number): void;
}

export class Request implements RequestTelemetry {
  /** Counted per version once it is known which serves. */
  private series: VersionMetrics;
  startedAt: number;
  private durations = [NaN, NaN, NaN, NaN, NaN, NaN];
  private ended = false;
  firstPieceAt = NaN;
  usage: TokenUsage | undefined;
  version: string | undefined;
  arm: Arm | undefined;
  code: ErrorCode | undefined;
  observation: Observation | undefined;

  /**
   * @param marks stage, start and end of each stage, where somebody wants them one by one
   * @param keep whether the observation is needed after the answer
   */
  constructor(
    private readonly owner: RequestOwner,
    readonly start: RequestStart,
    private readonly model: ModelMetrics,
    /** When it was begun; decoding may have begun before. */
    readonly begunAt: number,
    readonly traceId: string | undefined,
    readonly traceparent: string | undefined,
    /** Undefined: not sampled. */
    readonly span: { readonly context: TraceContext; readonly parent: TraceContext | undefined } | undefined,
    readonly draw: number,
    readonly keep: boolean,
    readonly marks: number[] | undefined,
  ) {
    this.series = model.unserved;
    this.startedAt = begunAt;
    model.inFlight++;
  }

  get modelLabel(): string {
    return this.model.model;
  }

  served(version: string, arm: Arm): void {
    this.version = version;
    this.arm = arm;
    this.series = this.model.of(version, arm);
  }

  stage(stage: Stage, startedAt: number): void {
    const now = this.owner.now();
    const index = STAGE_INDEX[stage];
    const spent = now - startedAt;
    const before = this.durations[index];
    // NaN: the first visit
    this.durations[index] = before === before ? before + spent : spent;
    // decoding begins before anybody knows which model is asked
    if (startedAt < this.startedAt) this.startedAt = startedAt;
    if (this.marks) this.marks.push(index, startedAt, now);
  }

  observe(observation: Observation): void {
    if (this.keep) this.observation = observation;
    const { features } = observation.enrichment;
    if (features === undefined) return;
    if (features.asOf !== undefined) this.series.featureAge.record((this.owner.wallClock() - features.asOf) / AGE_UNIT_MS);
    if (features.defaulted.size > 0) this.owner.defaults(observation);
  }

  piece(): void {
    if (this.firstPieceAt === this.firstPieceAt) return;
    this.firstPieceAt = this.owner.now();
    this.series.histogram('firstToken').record(this.firstPieceAt - this.startedAt);
  }

  tokens(usage: TokenUsage): void {
    this.usage = usage;
  }

  end(code?: ErrorCode): void {
    if (this.ended) return;
    this.ended = true;
    this.code = code;
    const at = this.owner.now();
    const { series, durations } = this;
    this.model.inFlight--;
    series.codes.count(code);
    series.duration.record(at - this.startedAt);
    for (let index = 0; index < durations.length; index++) {
      const spent = durations[index];
      if (spent === spent) series.stage(index).record(spent);
    }
    if (this.usage) this.countTokens(this.usage, at);
    this.owner.finished(this, at);
  }

  /** Milliseconds in a stage; undefined where the request was never in it. */
  spent(index: number): number | undefined {
    const spent = this.durations[index];
    return spent === spent ? spent : undefined;
  }

  private countTokens({ promptTokens, completionTokens }: TokenUsage, at: number): void {
    this.series.counter('promptTokens').add(promptTokens);
    this.series.counter('completionTokens').add(completionTokens);
    // the first token is in the time to it: the rate is that of the others
    const seconds = (at - this.firstPieceAt) / 1000;
    if (completionTokens > 1 && seconds > 0) this.series.histogram('tokenRate').record((completionTokens - 1) / seconds);
  }
}

/** The age histogram counts in units of 100 seconds (`scale` of its definition). */
const AGE_UNIT_MS = 100_000;
