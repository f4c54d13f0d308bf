/** What functions write to their log: lines of JSON, and metrics in CloudWatch's embedded format. */
import { MetricsNamespace } from '../../src/contract';
import type { Logger } from '../core/ports';

export const FUNCTION_LOG: Logger = {
  info: (fields, message) => console.info(JSON.stringify({ message, ...fields })),
  warn: (fields, message) => console.warn(JSON.stringify({ message, ...fields })),
  error: (fields, message) => console.error(JSON.stringify({ message, ...fields })),
};

export interface EmbeddedMetric {
  readonly name: string;
  readonly value: number;
  readonly unit: 'Count' | 'Percent' | 'Seconds' | 'None';
}

/**
 * One line of metrics with one set of dimensions. Not by way of `console`, whose lines Lambda wraps where a function logs in JSON: CloudWatch reads
 * the format from the line itself (CloudWatch user guide, "Specification: Embedded metric format").
 *
 * @param beside for whoever reads the log
 */
export function embeddedMetrics(
  dimensions: Readonly<Record<string, string>>, metrics: readonly EmbeddedMetric[], now: number, beside: object = {},
): string {
  return `${JSON.stringify({
    _aws: {
      Timestamp: now,
      CloudWatchMetrics: [{
        Namespace: MetricsNamespace, Dimensions: [Object.keys(dimensions)], Metrics: metrics.map(({ name: Name, unit: Unit }) => ({ Name, Unit })),
      }],
    },
    ...dimensions,
    ...Object.fromEntries(metrics.map(({ name, value }) => [name, value])),
    ...beside,
  })}\n`;
}
