/** What the console's plots show: latencies, errors and the split between versions, over the last minutes, from the requests that finish. */
import type { RolloutDocument } from '../../../src/contract';
import type { Arm } from '../../core/telemetry';
import { BOUNDS, Histogram } from '../../telemetry/histogram';
import type { RecordedRequest } from '../../telemetry/request-recorder';

/** Milliseconds of one point of a plot. */
const STEP_MS = 5000;
/** How long points are kept. */
export const MOST_MINUTES = 15;
/** How far back the split looks, milliseconds. */
const SPLIT_MS = 60_000;
const SPLIT_STEP_MS = 1000;
/** Versions with points of their own, all models together. */
const MOST_SERIES = 64;
/** Stands for a request that was refused before a version was chosen for it. */
const NO_VERSION = 'none';

interface Point {
  readonly step: number;
  readonly latency: Histogram;
  readonly errors: Map<string, number>;
}

interface Series {
  readonly model: string;
  readonly version: string;
  points: Point[];
}

interface SplitPoint {
  readonly step: number;
  /** By version and arm. */
  readonly counts: Map<string, number>;
}

/** Requests of one model since `since`, which is a minute ago or the last change of its rollout. */
interface Split {
  since: number;
  points: SplitPoint[];
}

export interface Quantiles {
  readonly p50: number;
  readonly p95: number;
  readonly p99: number;
}

export interface SeriesReport extends Quantiles {
  readonly model: string;
  readonly version: string;
  readonly count: number;
  readonly errors: Readonly<Record<string, number>>;
  /** Only those with requests; `at` in milliseconds since the epoch, where the step begins. */
  readonly points: readonly (Quantiles & { readonly at: number; readonly count: number; readonly errors: number })[];
  /** Requests by latency: each up to `le` milliseconds (null: above all bounds) and above the one before. */
  readonly histogram: readonly { readonly le: number | null; readonly count: number }[];
}

export interface SplitReport {
  readonly model: string;
  /** Milliseconds since the epoch. */
  readonly since: number;
  readonly versions: readonly { readonly version: string; readonly arm: Arm; readonly count: number }[];
}

export interface TrafficReport {
  readonly from: number;
  readonly to: number;
  readonly stepMs: number;
  readonly series: readonly SeriesReport[];
  readonly splits: readonly SplitReport[];
}

export class Traffic {
  private readonly series = new Map<string, Series>();
  private readonly splits: ReadonlyMap<string, Split>;
  private rollout: RolloutDocument['models'] | undefined;

  /** @param now milliseconds since the epoch */
  constructor(models: readonly string[], private readonly now: () => number) {
    this.splits = new Map(models.map((model) => [model, { since: now(), points: [] }]));
  }

  record({ model, version, arm, code, durationMs }: Pick<RecordedRequest, 'model' | 'version' | 'arm' | 'code' | 'durationMs'>): void {
    const split = this.splits.get(model);
    // the name in a request is the caller's to invent
    if (!split) return;
    const now = this.now();
    const point = this.point(model, version ?? NO_VERSION, Math.floor(now / STEP_MS));
    point?.latency.record(durationMs);
    if (point && code !== undefined) point.errors.set(code, (point.errors.get(code) ?? 0) + 1);
    if (version !== undefined && arm !== undefined) count(split, `${arm}/${version}`, now);
  }

  /** The split of a model whose part of the document is another one begins anew. */
  follow({ models }: RolloutDocument): void {
    const before = this.rollout;
    this.rollout = models;
    for (const [model, split] of this.splits) {
      if (!before || JSON.stringify(before[model]) === JSON.stringify(models[model])) continue;
      split.since = this.now();
      split.points = [];
    }
  }

  report(minutes: number): TrafficReport {
    const to = this.now();
    const first = Math.floor((to - minutes * 60_000) / STEP_MS) + 1;
    const series = [...this.series.values()].map((each) => reportOf(each, first)).filter((report) => report.count > 0);
    series.sort((a, b) => inOrder(a.model, b.model) || inOrder(a.version, b.version));
    return { from: first * STEP_MS, to, stepMs: STEP_MS, series, splits: [...this.splits].map(([model, split]) => splitOf(model, split, to)) };
  }

  private point(model: string, version: string, step: number): Point | undefined {
    const key = `${model}/${version}`;
    let series = this.series.get(key);
    if (!series) {
      if (this.series.size >= MOST_SERIES) return undefined;
      this.series.set(key, series = { model, version, points: [] });
    }
    const last = series.points.at(-1);
    if (last?.step === step) return last;
    const oldest = step - MOST_MINUTES * 60_000 / STEP_MS;
    const point: Point = { step, latency: new Histogram(), errors: new Map() };
    series.points = [...series.points.filter((each) => each.step > oldest), point];
    return point;
  }
}

function count(split: Split, key: string, now: number): void {
  const step = Math.floor(now / SPLIT_STEP_MS);
  let point = split.points.at(-1);
  if (point?.step !== step) {
    point = { step, counts: new Map() };
    split.points = [...split.points.filter((each) => each.step > step - SPLIT_MS / SPLIT_STEP_MS), point];
  }
  point.counts.set(key, (point.counts.get(key) ?? 0) + 1);
}

function splitOf(model: string, { since, points }: Split, now: number): SplitReport {
  const from = Math.max(since, now - SPLIT_MS);
  const counts = new Map<string, number>();
  for (const point of points) {
    if ((point.step + 1) * SPLIT_STEP_MS <= from) continue;
    for (const [key, times] of point.counts) counts.set(key, (counts.get(key) ?? 0) + times);
  }
  const versions = [...counts].map(([key, times]) => {
    const slash = key.indexOf('/');
    return { version: key.slice(slash + 1), arm: key.slice(0, slash) as Arm, count: times };
  });
  return { model, since: from, versions: versions.sort((a, b) => inOrder(a.version, b.version) || inOrder(a.arm, b.arm)) };
}

function reportOf({ model, version, points }: Series, first: number): SeriesReport {
  const all = new Histogram();
  const errors: Record<string, number> = {};
  const shown = points.filter(({ step }) => step >= first);
  for (const point of shown) {
    all.add(point.latency);
    for (const [code, times] of point.errors) errors[code] = (errors[code] ?? 0) + times;
  }
  return {
    model,
    version,
    count: all.count,
    errors,
    ...quantiles(all),
    points: shown.map(({ step, latency, errors: failed }) => ({
      at: step * STEP_MS, count: latency.count, errors: [...failed.values()].reduce((sum, times) => sum + times, 0), ...quantiles(latency),
    })),
    histogram: bars(all),
  };
}

/** Numbers by their value, before words. */
const inOrder = (a: string, b: string): number => a.localeCompare(b, 'en', { numeric: true });

function quantiles(histogram: Histogram): Quantiles {
  return { p50: histogram.quantile(0.5), p95: histogram.quantile(0.95), p99: histogram.quantile(0.99) };
}

/** From the first bucket that has requests to the last. */
function bars({ counts }: Histogram): SeriesReport['histogram'] {
  const first = counts.findIndex((times) => times > 0);
  const last = counts.findLastIndex((times) => times > 0);
  if (first < 0) return [];
  return Array.from(counts.subarray(first, last + 1), (times, index) => ({ le: BOUNDS[first + index] ?? null, count: times }));
}
