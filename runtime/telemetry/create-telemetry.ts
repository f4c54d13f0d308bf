/**
 * All telemetry of one process behind the domain's port: numbers for every request; spans, logs, statistics and capture for samples of them.
 *
 * One random number is drawn for a request and compared with each share. So a captured request is a traced one wherever the shares allow.
 */
import { AccessLog, type AccessLogOptions } from './access-log';
import { Capture, type CaptureSink } from './capture';
import { EmfRenderer } from './emf';
import { EmfConnection, parseEndpoint } from './emf-connection';
import type { Signal } from './metric-definitions';
import { PerSecond } from './per-second';
import { type MetricsText, renderMetrics } from './prometheus';
import { type Counter, Registry } from './registry';
import { Request, type RequestOwner } from './request';
import { RequestMetrics } from './request-metrics';
import type { RequestRecorder } from './request-recorder';
import { exportSpans } from './request-spans';
import { poolOf, type ScalingReport, ScalingWindow } from './scaling';
import { ShadowRequest } from './shadow-request';
import { newSpanId, newTraceId, OtlpSpans, type SpanSink } from './spans';
import type { StatisticsSink } from './statistics';
import { StatisticsWindows } from './statistics-windows';
import { formatTraceparent, parseTraceparent } from './trace-context';
import type { BrainConfiguration, TelemetryDeclaration } from '../../src/contract';
import { refuse } from '../core/errors';
import type { Clock, Logger } from '../core/ports';
import type { Arm, Observation, RequestStart, Telemetry, TelemetryEvent, TelemetryGauge } from '../core/telemetry';

/** How often CloudWatch is told, milliseconds: its standard resolution is one minute. */
const EMF_INTERVAL_MS = 30_000;
const STATISTICS_WINDOW_MS = 5 * 60_000;
/** For `close`, milliseconds: less than what a drained pod has left. */
const CLOSE_TIMEOUT_MS = 2000;

/**
 * Traces that a share below 1 begins in one second: a trace costs 0.6 ms of CPU (`npm run bench -- overheads`), which at a thousand requests per
 * second and more is a fifth of all that a small one takes. Requests that come with a sampled context are traced in any case.
 */
const MOST_TRACES_PER_SECOND = 20;
/** Requests whose values go into the distributions in one second, at a share below 1: a window of five minutes then has thirty thousand, far more than drift is seen in. */
const MOST_STATISTICS_PER_SECOND = 100;

export interface TelemetryOptions {
  readonly declaration: TelemetryDeclaration;
  readonly configuration: Pick<BrainConfiguration, 'name' | 'environment' | 'models'>;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Name of this process among its like: the pod's. @default - the process id */
  readonly instance?: string;
  /** Milliseconds, monotonic. @default performance.now */
  readonly now?: () => number;
  /** From 0 to 1, 1 excluded. @default Math.random */
  readonly random?: () => number;
  /** URL that takes OTLP traces over HTTP. @default - no traces; trace contexts are passed on */
  readonly otlpEndpoint?: string;
  /** `host:port` of the CloudWatch agent. @default - no embedded metrics */
  readonly emfEndpoint?: string;
  /** Log group that each of their lines names. @default - the agent's own */
  readonly emfLogGroup?: string;
  readonly emfIntervalMs?: number;
  /** @default - nothing is captured */
  readonly capture?: { readonly sink: CaptureSink; readonly key?: Uint8Array };
  /** @default - no statistics */
  readonly statistics?: { readonly sink: StatisticsSink; readonly windowMs?: number };
  readonly accessLog?: AccessLogOptions;
}

export interface BrainTelemetry extends Telemetry {
  /** What `GET /metrics` answers. @param accept the Accept header */
  metrics(accept?: string): MetricsText;
  /** What `GET /metrics/scaling` answers, as JSON. */
  scaling(): ScalingReport;
  /** From now on finished requests go to the recorder; the result detaches it. */
  attach(recorder: RequestRecorder): () => void;
  /** For parts that lose telemetry of their own: sinks, the log. */
  dropped(signal: Signal, amount?: number): void;
  /** Sends what waits; gives up after `timeoutMs`. */
  close(timeoutMs?: number): Promise<void>;
}

/** Fails with INVALID_CONFIGURATION where an endpoint is not one. */
export function createTelemetry(options: TelemetryOptions): BrainTelemetry {
  return new ComposedTelemetry(options);
}

class ComposedTelemetry implements BrainTelemetry, RequestOwner {
  readonly now: () => number;
  private readonly registry = new Registry();
  private readonly requests: RequestMetrics;
  private readonly window: ScalingWindow;
  private readonly log: AccessLog;
  private readonly random: () => number;
  private readonly events = new Map<string, Counter>();
  private readonly spans: SpanSink | undefined;
  private readonly capture: Capture | undefined;
  private readonly statistics: StatisticsWindows | undefined;
  private readonly emf: { renderer: EmfRenderer; connection: EmfConnection; timer: NodeJS.Timeout } | undefined;
  private readonly traceShare: number;
  private readonly captureShare: number;
  private readonly statisticsShare: number;
  /** The largest share for which the observation is kept. */
  private readonly keepShare: number;
  private recorder: RequestRecorder | undefined;
  private readonly traceRate = new PerSecond(MOST_TRACES_PER_SECOND);
  private readonly statisticsRate = new PerSecond(MOST_STATISTICS_PER_SECOND);
  private closing: Promise<void> | undefined;

  constructor(private readonly options: TelemetryOptions) {
    const { declaration, configuration, clock, logger } = options;
    const { name: brain, environment, models } = configuration;
    const instance = options.instance ?? String(process.pid);
    this.now = options.now ?? (() => performance.now());
    this.random = options.random ?? Math.random;
    this.requests = new RequestMetrics(this.registry, models.map(({ name }) => name));
    this.window = new ScalingWindow(this.now);
    this.log = new AccessLog(logger, options.accessLog);
    for (const signal of ['traces', 'capture', 'statistics', 'metrics', 'logs'] as const) this.registry.counter('dropped', signal);
    const dropped = (signal: Signal) => (amount: number) => this.dropped(signal, amount);

    if (options.otlpEndpoint !== undefined) {
      checkUrl(options.otlpEndpoint);
      this.spans = new OtlpSpans({
        endpoint: options.otlpEndpoint,
        dropped: dropped('traces'),
        resource: {
          'service.name': 'thalos-brain-inference',
          'service.namespace': brain,
          'service.instance.id': instance,
          'deployment.environment.name': environment,
        },
      });
    }
    if (options.emfEndpoint !== undefined) {
      const address = parseEndpoint(options.emfEndpoint)
        ?? refuse('INVALID_CONFIGURATION', `EMF_ENDPOINT is '${options.emfEndpoint}', which is no host:port`);
      const connection = new EmfConnection({ ...address, dropped: dropped('metrics') });
      const renderer = new EmfRenderer(this.registry, { brain, environment, instance, logGroup: options.emfLogGroup });
      const timer = setInterval(() => connection.write(renderer.lines(clock.now())), options.emfIntervalMs ?? EMF_INTERVAL_MS);
      timer.unref();
      this.emf = { renderer, connection, timer };
    }
    if (options.capture && declaration.capture > 0) this.capture = new Capture({ ...options.capture, brain, environment, dropped: dropped('capture') });
    if (options.statistics && declaration.statistics > 0) {
      const { sink, windowMs = STATISTICS_WINDOW_MS } = options.statistics;
      this.statistics = new StatisticsWindows({
        sink, clock, logger, brain, environment, instance, share: declaration.statistics, windowMs, dropped: dropped('statistics'),
      });
    }
    this.traceShare = this.spans ? declaration.traces : 0;
    this.captureShare = this.capture ? declaration.capture : 0;
    this.statisticsShare = this.statistics ? declaration.statistics : 0;
    this.keepShare = Math.max(this.captureShare, this.statisticsShare);
  }

  begin(start: RequestStart): Request {
    const draw = this.random();
    const recorded = this.recorder !== undefined;
    const keep = draw < this.keepShare || recorded;
    const model = this.requests.of(start.model);
    const at = this.now();
    this.window.requestBegins(at);
    const traced = draw < this.traceShare && (start.traceparent !== undefined || this.mayTrace());
    if (start.traceparent === undefined && !traced) {
      return new Request(this, start, model, at, undefined, undefined, undefined, draw, keep, recorded ? [] : undefined);
    }
    const parent = parseTraceparent(start.traceparent);
    if (this.spans && (parent ? parent.sampled : traced)) {
      const context = { traceId: parent?.traceId ?? newTraceId(), spanId: newSpanId(), sampled: true };
      return new Request(this, start, model, at, context.traceId, formatTraceparent(context), { context, parent }, draw, keep, []);
    }
    // not ours to sample: the caller's context goes through as it came
    const through = parent ? start.traceparent : undefined;
    return new Request(this, start, model, at, parent?.traceId, through, undefined, draw, keep, recorded ? [] : undefined);
  }

  beginShadow(model: string, version: string): ShadowRequest {
    return new ShadowRequest(this.registry, this.now, this.requests.of(model), version);
  }

  private mayTrace(): boolean {
    return this.traceShare >= 1 || this.traceRate.take(this.now());
  }

  count(event: TelemetryEvent, dependency: string, times = 1): void {
    const key = `${event}/${dependency}`;
    let counter = this.events.get(key);
    if (!counter) this.events.set(key, counter = this.registry.counter(event, dependency));
    counter.value += times;
  }

  gauge(name: TelemetryGauge, read: () => number, dependency = ''): void {
    this.registry.gauge(name, read, dependency);
  }

  dropped(signal: Signal, amount = 1): void {
    this.registry.counter('dropped', signal).add(amount);
  }

  metrics(accept?: string): MetricsText {
    return renderMetrics(this.registry, accept);
  }

  scaling(): ScalingReport {
    const reading = (gauge: 'queued' | 'candidates') => {
      const value = this.registry.reading(gauge);
      return Number.isFinite(value) ? value : 0;
    };
    return this.window.report(reading('queued'), reading('candidates'));
  }

  callBegins(arm: Arm, at: number): void {
    this.window.callBegins(poolOf(arm), at);
  }

  callEnds(arm: Arm, begunAt: number): void {
    this.window.callEnds(poolOf(arm), begunAt, this.now());
  }

  callUnmet(arm: Arm): void {
    this.window.callUnmet(poolOf(arm));
  }

  attach(recorder: RequestRecorder): () => void {
    this.recorder = recorder;
    return () => {
      if (this.recorder === recorder) this.recorder = undefined;
    };
  }

  close(timeoutMs = CLOSE_TIMEOUT_MS): Promise<void> {
    return this.closing ??= this.shutdown(timeoutMs);
  }

  wallClock(): number {
    return this.options.clock.now();
  }

  defaults({ enrichment }: Observation): void {
    const { resolved, defaulted } = enrichment.features!;
    for (const label of defaulted) this.registry.counter('featureDefaults', label).value++;
    for (const tensor of resolved) {
      for (const row of tensor) {
        for (const { group, row: stored } of row) if (stored === undefined) this.registry.counter('featureMisses', group.schema.name).value++;
      }
    }
  }

  finished(request: Request, at: number): void {
    const durationMs = at - request.startedAt;
    this.window.requestEnds(request.begunAt, at, request.arm === undefined ? undefined : durationMs);
    if (request.code === 'OVERLOADED') this.window.requestShed();
    if (this.log.wants(request, durationMs)) this.log.write(request, durationMs);
    if (!request.span && !request.keep) return;
    try {
      this.sample(request, at, durationMs);
    } catch (error) {
      this.options.logger.error({ error: error instanceof Error ? error.message : String(error) }, 'telemetry of a request failed');
    }
  }

  /** What only some requests get. */
  private sample(request: Request, at: number, durationMs: number): void {
    const { observation, start, traceId, arm, version, code, startedAt, marks, draw } = request;
    const { protocol, operation, requestId, model } = start;
    const time = this.wallClock();
    if (request.span) exportSpans(this.spans!, request, at, time - at);
    if (observation) {
      if (draw < this.statisticsShare && (this.statisticsShare >= 1 || this.statisticsRate.take(at))) this.statistics!.add(observation);
      if (draw < this.captureShare) this.capture!.add({ requestId, traceId, protocol, operation, arm: arm ?? '', time, durationMs, observation });
    }
    this.recorder?.record({
      requestId,
      traceId,
      protocol,
      operation,
      model,
      version,
      arm,
      code,
      durationMs,
      startedAt,
      observation,
      time: time - durationMs,
      marks: marks ?? [],
    });
  }

  private async shutdown(timeoutMs: number): Promise<void> {
    const { emf } = this;
    if (emf) {
      clearInterval(emf.timer);
      emf.connection.write(emf.renderer.lines(this.wallClock()));
    }
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, timeoutMs);
    });
    const closed = [emf?.connection.close(timeoutMs), this.spans?.close(), this.capture?.close(), this.statistics?.close()];
    await Promise.race([late, Promise.allSettled(closed)]);
    clearTimeout(timer);
  }
}

function checkUrl(text: string): void {
  if (!URL.canParse(text) || !text.startsWith('http')) refuse('INVALID_CONFIGURATION', `OTLP_ENDPOINT is '${text}', which is no http or https URL`);
}
