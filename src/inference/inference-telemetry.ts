import { TelemetrySink } from '../observability';

/** How much of the traffic the brain remembers, and where that goes. Shares are from 0 to 1. */
export interface InferenceTelemetry {
  /** Share of requests that begin a trace of their own; one that arrives with a sampled trace context is always traced. @default 0.01 */
  readonly traces?: number;

  /** Share of requests whose payload is captured, redacted. Above 0 the data plane has a stream and a bucket for them. @default 0 */
  readonly capture?: number;

  /** Share of requests whose features and predictions go into the distributions that drift is measured on. @default 0.05 */
  readonly statistics?: number;

  /** Where metrics and traces go. @default TelemetrySink.cloudWatch() */
  readonly sink?: TelemetrySink;
}
