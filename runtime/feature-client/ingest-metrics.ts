/** What a writer of features counts, in CloudWatch's embedded metric format: a Lambda function's log line becomes metrics by itself. */
import { DimensionName, type FeatureGroupSchema, MetricName, MetricsNamespace } from '../../src/contract';
import type { Violation } from '../core/data-quality/batch-profile';

export interface IngestCounts {
  /** That came in, the refused ones too. */
  readonly rows: number;
  readonly late: number;
  readonly quarantined: number;
  readonly violations: readonly Violation[];
  /** Of the newest event that was taken, seconds; undefined where none was. */
  readonly eventAgeS?: number;
}

/** One line of JSON. @param now milliseconds since the epoch */
export function ingestMetrics(brain: string, { name }: FeatureGroupSchema, counts: IngestCounts, now: number): string {
  const metrics: Record<string, { readonly value: number; readonly unit: string }> = {
    [MetricName.INGESTED_ROWS]: { value: counts.rows, unit: 'Count' },
    [MetricName.LATE_ROWS]: { value: counts.late, unit: 'Count' },
    [MetricName.QUARANTINED_ROWS]: { value: counts.quarantined, unit: 'Count' },
    [MetricName.EXPECTATIONS_VIOLATED]: { value: counts.violations.length, unit: 'Count' },
    ...counts.eventAgeS === undefined ? {} : { [MetricName.EVENT_AGE]: { value: Math.max(0, counts.eventAgeS), unit: 'Seconds' } },
  };
  return JSON.stringify({
    _aws: {
      Timestamp: now,
      CloudWatchMetrics: [{
        Namespace: MetricsNamespace,
        Dimensions: [[DimensionName.BRAIN, DimensionName.FEATURE_GROUP]],
        Metrics: Object.entries(metrics).map(([Name, { unit }]) => ({ Name, Unit: unit })),
      }],
    },
    [DimensionName.BRAIN]: brain,
    [DimensionName.FEATURE_GROUP]: name,
    ...Object.fromEntries(Object.entries(metrics).map(([metric, { value }]) => [metric, value])),
    // for whoever reads the log: no dimension
    ...counts.violations.length === 0 ? {} : { violations: counts.violations.map(({ text }) => text) },
  });
}
