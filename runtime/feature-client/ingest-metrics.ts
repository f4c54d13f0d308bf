/** What a writer of features counts, in CloudWatch's embedded metric format: a Lambda function's log line becomes metrics by itself. */
import { DimensionName, type FeatureGroupSchema, MetricName } from '../../src/contract';
import type { Violation } from '../core/data-quality/batch-profile';
import { type EmbeddedMetric, embeddedMetrics } from '../handlers/function-log';

export interface IngestCounts {
  /** That came in, the refused ones too. */
  readonly rows: number;
  readonly late: number;
  readonly quarantined: number;
  readonly violations: readonly Violation[];
  /** Of the newest event that was taken, seconds; undefined where none was. */
  readonly eventAgeS?: number;
}

/** One line of JSON, with its line feed. @param now milliseconds since the epoch */
export function ingestMetrics(brain: string, { name }: FeatureGroupSchema, counts: IngestCounts, now: number): string {
  const { rows, late, quarantined, violations, eventAgeS } = counts;
  const metrics: EmbeddedMetric[] = [
    { name: MetricName.INGESTED_ROWS, value: rows, unit: 'Count' },
    { name: MetricName.LATE_ROWS, value: late, unit: 'Count' },
    { name: MetricName.QUARANTINED_ROWS, value: quarantined, unit: 'Count' },
    { name: MetricName.EXPECTATIONS_VIOLATED, value: violations.length, unit: 'Count' },
    ...eventAgeS === undefined ? [] : [{ name: MetricName.EVENT_AGE, value: Math.max(0, eventAgeS), unit: 'Seconds' as const }],
  ];
  const beside = violations.length === 0 ? {} : { violations: violations.map(({ text }) => text) };
  return embeddedMetrics({ [DimensionName.BRAIN]: brain, [DimensionName.FEATURE_GROUP]: name }, metrics, now, beside);
}
