/** What the domain says about each request. The adapter decides what becomes a metric, a span, a statistic or a captured payload. */
import type { EnrichmentResult } from './enrichment';
import type { ErrorCode } from './errors';
import type { ModelPlan } from './plan';
import type { Tensor } from './tensors';

/** The parts of a request that are timed, in the order in which they come. */
export const STAGES = ['decode', 'admit', 'features', 'vectors', 'runtime', 'encode'] as const;
export type Stage = typeof STAGES[number];

/** How a version came to serve a request. */
export const ARMS = ['stable', 'candidate', 'pinned', 'override', 'shadow'] as const;
export type Arm = typeof ARMS[number];

/** `stream` is `generate_stream` over REST, and ModelStreamInfer over gRPC. */
export type RequestOperation = 'infer' | 'generate' | 'stream';

export interface RequestStart {
  readonly protocol: 'rest' | 'grpc';
  readonly operation: RequestOperation;
  readonly model: string;
  readonly requestId: string;
  /** W3C trace context as it arrived. */
  readonly traceparent?: string;
  readonly tracestate?: string;
}

/** What went through a request: for drift statistics, payload capture and the console. */
export interface Observation {
  readonly plan: ModelPlan;
  /** Public inputs, by name. */
  readonly inputs: ReadonlyMap<string, Tensor>;
  readonly enrichment: EnrichmentResult;
  /** Every output of the manifest that was asked for. */
  readonly outputs: readonly Tensor[];
  /** Parameters of the answer. */
  readonly parameters: Readonly<Record<string, string>>;
}

export interface TokenUsage {
  readonly promptTokens: number;
  readonly completionTokens: number;
}

/** The difference between two answers to one request: the one that was given, and the shadow's. */
export interface ShadowDifference {
  /** Largest absolute difference over all numeric outputs; Infinity where shapes or datatypes differ. */
  readonly largest: number;
  /** Share of elements that differ by more than 1e-6 relatively, or at all where they are text. */
  readonly share: number;
}

export interface Telemetry {
  /** Milliseconds, monotonic, with a fraction: what every `startedAt` is taken from. */
  now(): number;
  begin(start: RequestStart): RequestTelemetry;
  /** A mirrored request begins: it has numbers under the arm `shadow`, and no log line, trace, capture or statistics. @param version the shadow's */
  beginShadow(model: string, version: string): ShadowTelemetry;
  /**
   * An event outside of a request's stages, e.g. a breaker that opens.
   *
   * @param times how often it has happened. @default 1
   */
  count(event: TelemetryEvent, dependency: string, times?: number): void;
  /** The runtime is called for a version of that arm: what autoscaling follows. @param at `now()` */
  callBegins(arm: Arm, at: number): void;
  /** That call has ended, whichever way. */
  callEnds(arm: Arm, begunAt: number): void;
  /** A version of that arm was wanted, and the runtime has it not yet. */
  callUnmet(arm: Arm): void;
  /** A value that is read when metrics are; values of one name and dependency are added up. */
  gauge(name: TelemetryGauge, read: () => number, dependency?: string): void;
}

export const TELEMETRY_EVENTS = ['shed', 'retry', 'breaker_opened', 'breaker_closed', 'outlier_ejected', 'cache_hit', 'cache_miss', 'degraded', 'shadow_dropped'] as const;
export type TelemetryEvent = typeof TELEMETRY_EVENTS[number];
export const TELEMETRY_GAUGES = ['in_flight', 'concurrency_limit', 'queued', 'cache_entries', 'candidates'] as const;
export type TelemetryGauge = typeof TELEMETRY_GAUGES[number];

export interface RequestTelemetry {
  /** Hexadecimal; undefined where the request is not traced and came with no trace context. */
  readonly traceId: string | undefined;
  /** To send along to dependencies; undefined where the request is not traced and came with no trace context. */
  readonly traceparent: string | undefined;
  /** Which version serves, and how it came to. */
  served(version: string, arm: Arm): void;
  /** A stage that began at `startedAt` has just ended. */
  stage(stage: Stage, startedAt: number): void;
  /** Called once the answer is known, before `end`. */
  observe(observation: Observation): void;
  /** A piece of a streamed answer went out; the first one ends the time to first token. */
  piece(): void;
  tokens(usage: TokenUsage): void;
  /** The request is over; nothing is said about it after this. */
  end(code?: ErrorCode): void;
}

export interface ShadowTelemetry extends Pick<RequestTelemetry, 'stage' | 'end'> {
  /** How far its answer is from the one that was given; said once, also of one that failed. */
  differs(difference: ShadowDifference): void;
}

const NO_REQUEST: RequestTelemetry = {
  traceId: undefined,
  traceparent: undefined,
  served: () => undefined,
  stage: () => undefined,
  observe: () => undefined,
  piece: () => undefined,
  tokens: () => undefined,
  end: () => undefined,
};

const NO_SHADOW: ShadowTelemetry = { stage: () => undefined, end: () => undefined, differs: () => undefined };

/** Says nothing to anybody. */
export const NO_TELEMETRY: Telemetry = {
  now: () => performance.now(),
  begin: () => NO_REQUEST,
  beginShadow: () => NO_SHADOW,
  count: () => undefined,
  callBegins: () => undefined,
  callEnds: () => undefined,
  callUnmet: () => undefined,
  gauge: () => undefined,
};
