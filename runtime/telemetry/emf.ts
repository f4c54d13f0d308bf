/**
 * CloudWatch's embedded metric format, from one registry: what changed since the last time, one JSON line for each set of dimensions.
 * A histogram is `{Values, Counts, …}` as the OpenTelemetry Collector's EMF exporter writes it (opentelemetry-collector-contrib
 * pull request 22626), at most 100 values in a line (pull request 36336): CloudWatch refuses longer ones.
 */
import { OK } from './code-counters';
import { BOUNDS, Histogram, middleOf } from './histogram';
import type { CloudWatchUnit, MetricDefinition, MetricKey } from './metric-definitions';
import type { Counter, Registry, Series } from './registry';
import { DimensionName, MetricName, MetricsNamespace } from '../../src/contract';
import { ERRORS, type ErrorCode } from '../core/errors';

const MAX_VALUES = 100;

const DIMENSIONS: Readonly<Record<string, string>> = {
  model: DimensionName.MODEL,
  version: DimensionName.VERSION,
  stage: DimensionName.STAGE,
  group: DimensionName.FEATURE_GROUP,
  feature: DimensionName.FEATURE,
  dependency: DimensionName.DEPENDENCY,
  signal: DimensionName.SIGNAL,
};

interface Reading {
  readonly unit: CloudWatchUnit;
  value: number | Histogram;
  readonly scale: number;
}

interface Line {
  readonly dimensions: Readonly<Record<string, string>>;
  readonly sets: readonly (readonly string[])[];
  readonly readings: Map<string, Reading>;
}

export interface EmfIdentity {
  readonly brain: string;
  /** Beside the metrics, for whoever reads the log group: no dimension. */
  readonly environment: string;
  readonly instance: string;
  /** @default - the agent's own */
  readonly logGroup?: string;
}

export class EmfRenderer {
  private readonly counters = new WeakMap<Counter, number>();
  private readonly histograms = new WeakMap<Histogram, Histogram>();

  constructor(private readonly registry: Registry, private readonly identity: EmfIdentity) {}

  /** The lines since the last call, each ending in a line feed. @param now milliseconds since the epoch */
  lines(now: number): string[] {
    const lines = new Map<string, Line>();
    for (const { key, definition, series } of this.registry.families()) {
      for (const one of series) {
        if (key === 'requests' || key === 'duration') this.request(lines, key, definition, one);
        else if (definition.cloudWatch) this.other(lines, definition, one);
      }
    }
    return [...lines.values()].flatMap((line) => this.write(line, now));
  }

  /** Shadow traffic is nobody's request: it has names of its own, so that no alarm of the service counts it. */
  private request(lines: Map<string, Line>, key: MetricKey, definition: MetricDefinition, { labels, metric }: Series): void {
    const [model, version, arm, code] = labels;
    const shadow = arm === 'shadow';
    const delta = this.delta(metric);
    if (delta === undefined) return;
    const dimensions = this.dimensionsOf({ model, version });
    const line = lineOf(lines, dimensions, [[DimensionName.BRAIN, DimensionName.MODEL], Object.keys(dimensions)]);
    if (key === 'duration') {
      put(line, shadow ? MetricName.SHADOW_LATENCY : MetricName.REQUEST_LATENCY, definition, delta);
      return;
    }
    const status = code === OK ? 200 : ERRORS[code as ErrorCode].status;
    put(line, shadow ? MetricName.SHADOW_REQUESTS : MetricName.REQUESTS, definition, delta);
    put(line, shadow ? MetricName.SHADOW_ERRORS : MetricName.ERRORS, definition, status >= 500 ? delta : 0);
    if (!shadow) put(line, MetricName.CLIENT_ERRORS, definition, status >= 400 && status < 500 ? delta : 0);
  }

  private other(lines: Map<string, Line>, definition: MetricDefinition, { labels, metric }: Series): void {
    const named = Object.fromEntries(definition.labels.map((label, index) => [label, labels[index]]));
    if (named.arm === 'shadow') return;
    const delta = definition.type === 'gauge' ? (metric as Counter).value : this.delta(metric);
    if (delta === undefined || Number.isNaN(delta)) return;
    const dimensions = this.dimensionsOf(named);
    put(lineOf(lines, dimensions, [Object.keys(dimensions)]), definition.cloudWatch!, definition, delta);
  }

  private dimensionsOf(labels: Readonly<Record<string, string>>): Record<string, string> {
    const dimensions: Record<string, string> = { [DimensionName.BRAIN]: this.identity.brain };
    for (const [label, value] of Object.entries(labels)) if (DIMENSIONS[label] && value) dimensions[DIMENSIONS[label]] = value;
    return dimensions;
  }

  /** Undefined where nothing changed. */
  private delta(metric: Counter | Histogram): number | Histogram | undefined {
    if (metric instanceof Histogram) {
      const since = metric.since(this.histograms.get(metric));
      if (since.count === 0) return undefined;
      this.histograms.set(metric, metric.copy());
      return since;
    }
    const since = metric.value - (this.counters.get(metric) ?? 0);
    this.counters.set(metric, metric.value);
    return since === 0 ? undefined : since;
  }

  private write({ dimensions, sets, readings }: Line, now: number): string[] {
    const { environment, instance, logGroup } = this.identity;
    const pieces: Map<string, unknown>[] = [];
    for (const [name, reading] of readings) {
      valuesOf(reading).forEach((value, piece) => {
        (pieces[piece] ??= new Map<string, unknown>()).set(name, value);
      });
    }
    return pieces.map((values) => `${JSON.stringify({
      _aws: {
        Timestamp: now,
        LogGroupName: logGroup,
        CloudWatchMetrics: [{
          Namespace: MetricsNamespace,
          Dimensions: sets,
          Metrics: [...values.keys()].map((Name) => ({ Name, Unit: readings.get(Name)!.unit })),
        }],
      },
      environment,
      instance,
      ...dimensions,
      ...Object.fromEntries(values),
    })}\n`);
  }
}

function lineOf(lines: Map<string, Line>, dimensions: Record<string, string>, sets: readonly (readonly string[])[]): Line {
  const key = JSON.stringify([dimensions, sets.length]);
  let line = lines.get(key);
  if (!line) lines.set(key, line = { dimensions, sets, readings: new Map() });
  return line;
}

function put({ readings }: Line, name: string, definition: MetricDefinition, value: number | Histogram): void {
  const known = readings.get(name);
  if (!known) {
    const unit = definition.cloudWatchUnit ?? (definition.type === 'histogram' ? 'None' : 'Count');
    // milliseconds are what CloudWatch is told, so there they stay
    readings.set(name, { unit, value: value instanceof Histogram ? value.copy() : value, scale: unit === 'Milliseconds' ? 1 : definition.scale ?? 1 });
  } else if (value instanceof Histogram) {
    (known.value as Histogram).add(value);
  } else {
    known.value = (known.value as number) + value;
  }
}

/** A number, or pieces of a histogram. */
function valuesOf({ value, scale }: Reading): unknown[] {
  if (typeof value === 'number') return [value];
  const filled: number[] = [];
  for (let bucket = 0; bucket <= BOUNDS.length; bucket++) if (value.counts[bucket] > 0) filled.push(bucket);
  const pieces: unknown[] = [];
  for (let from = 0; from < filled.length; from += MAX_VALUES) {
    const buckets = filled.slice(from, from + MAX_VALUES);
    const Values = buckets.map((bucket) => rounded(middleOf(bucket) / scale));
    const Counts = buckets.map((bucket) => value.counts[bucket]);
    const whole = filled.length <= MAX_VALUES;
    pieces.push({
      Values,
      Counts,
      Min: Values[0],
      Max: Values[Values.length - 1],
      Count: Counts.reduce((sum, count) => sum + count, 0),
      Sum: rounded(whole ? value.sum / scale : Values.reduce((sum, middle, index) => sum + middle * Counts[index], 0)),
    });
  }
  return pieces;
}

const rounded = (value: number): number => Number(value.toPrecision(6));
