/**
 * All numbers of one process. A metric is bound to its labels once and then counts by plain additions: what the hot path holds is the
 * counter or the histogram itself.
 */
import { Histogram } from './histogram';
import { type MetricDefinition, type MetricKey, METRICS } from './metric-definitions';

/** Label sets of one metric; further ones are counted together under {@link OTHER}, so that no caller can fill the memory. */
const MAX_SERIES = 2000;
export const OTHER = 'other';

export class Counter {
  value = 0;

  add(amount = 1): void {
    this.value += amount;
  }
}

export interface Series<M extends Counter | Histogram = Counter | Histogram> {
  /** In the order of the definition's labels. */
  readonly labels: readonly string[];
  readonly metric: M;
}

interface Gauge {
  readonly labels: readonly string[];
  readonly reads: (() => number)[];
}

export class Registry {
  private readonly series = new Map<MetricKey, Map<string, Series>>();
  private readonly gauges = new Map<MetricKey, Map<string, Gauge>>();

  counter(key: MetricKey, ...labels: string[]): Counter {
    return this.bind(key, labels, () => new Counter()) as Counter;
  }

  histogram(key: MetricKey, ...labels: string[]): Histogram {
    return this.bind(key, labels, () => new Histogram()) as Histogram;
  }

  /** A value that is read when metrics are; several of the same labels are added up. */
  gauge(key: MetricKey, read: () => number, ...labels: string[]): void {
    const known = at(this.gauges, key);
    const name = labels.join('\0');
    const gauge = known.get(name);
    if (gauge) gauge.reads.push(read);
    else known.set(name, { labels, reads: [read] });
  }

  /** Every metric that has a value, in the order of the definitions. */
  * families(): Generator<{ key: MetricKey; definition: MetricDefinition; series: readonly Series[] }> {
    for (const [key, definition] of Object.entries(METRICS) as [MetricKey, MetricDefinition][]) {
      const series: Series[] = definition.type === 'gauge' ? this.readings(key) : [...this.series.get(key)?.values() ?? []];
      if (series.length > 0) yield { key, definition, series };
    }
  }

  /** The sum of a gauge's values over all its labels. */
  reading(key: MetricKey): number {
    return this.readings(key).reduce((sum, { metric }) => sum + metric.value, 0);
  }

  private readings(key: MetricKey): Series<Counter>[] {
    return [...this.gauges.get(key)?.values() ?? []].map(({ labels, reads }) => {
      const metric = new Counter();
      for (const read of reads) metric.add(valueOf(read));
      return { labels, metric };
    });
  }

  private bind(key: MetricKey, labels: string[], make: () => Counter | Histogram): Counter | Histogram {
    const known = at(this.series, key);
    const bound = known.size < MAX_SERIES ? labels : labels.map(() => OTHER);
    const name = labels.join('\0');
    const found = known.get(name) ?? known.get(bound.join('\0'));
    if (found) return found.metric;
    const metric = make();
    known.set(bound.join('\0'), { labels: bound, metric });
    return metric;
  }
}

function at<K, V>(maps: Map<K, Map<string, V>>, key: K): Map<string, V> {
  let found = maps.get(key);
  if (!found) maps.set(key, found = new Map());
  return found;
}

/** A gauge whose owner fails reads as not a number, and hides no other metric. */
function valueOf(read: () => number): number {
  try {
    return read();
  } catch {
    return NaN;
  }
}
