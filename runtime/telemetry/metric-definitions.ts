/** Every metric of the service, once: Prometheus text, CloudWatch and docs/telemetry.md are made from or tested against this table. */
import { MetricName, type MetricNameValue } from '../../src/contract';

export type CloudWatchUnit = 'Count' | 'Count/Second' | 'Milliseconds' | 'Seconds' | 'Percent' | 'None';

export interface MetricDefinition {
  /** Prometheus name; a counter's without `_total`, which the text adds. */
  readonly name: string;
  readonly type: 'counter' | 'gauge' | 'histogram';
  readonly labels: readonly string[];
  /** Base unit of Prometheus. */
  readonly unit?: 'seconds';
  /** Histograms keep `value * scale`, so that what matters lies between 0.1 and 30,000. Prometheus gets the value itself. @default 1 */
  readonly scale?: number;
  /** Unit of CloudWatch. @default - Count for counters and gauges, None for histograms */
  readonly cloudWatchUnit?: CloudWatchUnit;
  /** The CloudWatch metric; undefined: Prometheus only, or made by emf.ts from several. */
  readonly cloudWatch?: MetricNameValue;
  /** Every how many bounds one is written to Prometheus; CloudWatch gets all. @default 1 */
  readonly stride?: number;
  readonly meaning: string;
}

const SERVED = ['model', 'version', 'arm'] as const;
/** Bounds that are 46 % apart: stages have six times as many series as requests. */
const COARSE = 4;
/** Durations are measured in milliseconds. */
const MILLISECONDS = { unit: 'seconds', scale: 1000, cloudWatchUnit: 'Milliseconds' } as const;

const events = (event: string, cloudWatch: MetricNameValue, meaning: string): MetricDefinition =>
  ({ name: `thalos_${event}`, type: 'counter', labels: ['dependency'], cloudWatch, meaning });
const gauge = (name: string, cloudWatch: MetricNameValue, meaning: string): MetricDefinition =>
  ({ name: `thalos_${name}`, type: 'gauge', labels: ['dependency'], cloudWatch, meaning });

export const METRICS = {
  requests: { name: 'thalos_requests', type: 'counter', labels: [...SERVED, 'code'], meaning: 'Finished requests; `code` is `OK` or the error code.' },
  duration: {
    name: 'thalos_request_duration_seconds',
    type: 'histogram',
    labels: SERVED,
    ...MILLISECONDS,
    meaning: 'From the arrival of the request to the end of its answer.',
  },
  stage: {
    name: 'thalos_stage_duration_seconds',
    type: 'histogram',
    labels: [...SERVED, 'stage'],
    ...MILLISECONDS,
    stride: COARSE,
    cloudWatch: MetricName.STAGE_LATENCY,
    meaning: 'Time that a request spent in a stage, all visits together.',
  },
  requestsInFlight: {
    name: 'thalos_requests_in_flight', type: 'gauge', labels: ['model'], cloudWatch: MetricName.REQUESTS_IN_FLIGHT, meaning: 'Requests that are not yet answered.',
  },
  firstToken: {
    name: 'thalos_time_to_first_token_seconds',
    type: 'histogram',
    labels: SERVED,
    ...MILLISECONDS,
    cloudWatch: MetricName.TIME_TO_FIRST_TOKEN,
    meaning: 'From the arrival of a streamed request to the first piece of its answer.',
  },
  tokenRate: {
    name: 'thalos_tokens_per_second',
    type: 'histogram',
    labels: SERVED,
    stride: COARSE,
    cloudWatchUnit: 'Count/Second',
    cloudWatch: MetricName.TOKENS_PER_SECOND,
    meaning: 'Completion tokens after the first piece, per second of the answer.',
  },
  promptTokens: { name: 'thalos_prompt_tokens', type: 'counter', labels: SERVED, cloudWatch: MetricName.PROMPT_TOKENS, meaning: 'Tokens of prompts.' },
  completionTokens: {
    name: 'thalos_completion_tokens', type: 'counter', labels: SERVED, cloudWatch: MetricName.COMPLETION_TOKENS, meaning: 'Tokens that models generated.',
  },
  featureMisses: {
    name: 'thalos_feature_misses',
    type: 'counter',
    labels: ['group'],
    cloudWatch: MetricName.FEATURE_MISS,
    meaning: 'Rows of requests whose entity is unknown to the feature group, or expired.',
  },
  featureDefaults: {
    name: 'thalos_feature_defaults',
    type: 'counter',
    labels: ['feature'],
    cloudWatch: MetricName.FEATURE_DEFAULT,
    meaning: 'Requests in which the feature (`group.feature`) was filled with its default.',
  },
  featureAge: {
    name: 'thalos_feature_age_seconds',
    type: 'histogram',
    labels: ['model', 'version'],
    unit: 'seconds',
    stride: COARSE,
    // 10 seconds to 34 days
    scale: 0.01,
    cloudWatchUnit: 'Seconds',
    cloudWatch: MetricName.FEATURE_AGE,
    meaning: 'Age of the oldest feature row that went into an answer.',
  },
  shadowDifference: {
    name: 'thalos_shadow_difference',
    type: 'histogram',
    labels: ['model', 'version'],
    stride: COARSE,
    // 0.0001 to 30
    scale: 1000,
    cloudWatch: MetricName.SHADOW_DIFFERENCE,
    meaning: "Largest absolute difference of the shadow version's outputs.",
  },
  shadowShare: {
    name: 'thalos_shadow_differing_percent',
    type: 'histogram',
    labels: ['model', 'version'],
    stride: COARSE,
    cloudWatchUnit: 'Percent',
    cloudWatch: MetricName.SHADOW_DIFFERING_SHARE,
    meaning: 'Per cent of the elements of an answer in which the shadow version differs.',
  },
  shed: events('shed', MetricName.SHED, 'Requests or calls refused to protect what is behind.'),
  retry: events('retry', MetricName.RETRY, 'Calls that were tried again.'),
  breaker_opened: events('breaker_opened', MetricName.BREAKER_OPENED, 'Times that a circuit breaker opened.'),
  breaker_closed: events('breaker_closed', MetricName.BREAKER_CLOSED, 'Times that a circuit breaker closed.'),
  outlier_ejected: events('outlier_ejected', MetricName.OUTLIER_EJECTED, 'Peers taken out of balancing because they failed.'),
  cache_hit: events('cache_hit', MetricName.CACHE_HIT, 'Reads answered by the cache.'),
  cache_miss: events('cache_miss', MetricName.CACHE_MISS, 'Reads that the cache could not answer.'),
  degraded: events('degraded', MetricName.DEGRADED, 'Answers given with a declared fallback in place of a dependency.'),
  shadow_dropped: events('shadow_dropped', MetricName.SHADOW_DROPPED, 'Shadow requests that were not made: too many were under way, or a version answers with a sequence.'),
  in_flight: gauge('in_flight', MetricName.IN_FLIGHT, 'Calls of a dependency that are not yet answered.'),
  concurrency_limit: gauge('concurrency_limit', MetricName.CONCURRENCY_LIMIT, 'How many calls the adaptive limit lets run at once.'),
  queued: gauge('queued', MetricName.QUEUED, 'Requests or calls that wait for their turn.'),
  cache_entries: gauge('cache_entries', MetricName.CACHE_ENTRIES, 'Rows in the cache.'),
  candidates: gauge('candidates', MetricName.CANDIDATES, 'Models of which the rollout document names a candidate.'),
  dropped: {
    name: 'thalos_telemetry_dropped',
    type: 'counter',
    labels: ['signal'],
    cloudWatch: MetricName.TELEMETRY_DROPPED,
    meaning: 'Spans, captured requests, statistics windows, metric lines and log lines that were lost, because a queue was full or its receiver away.',
  },
} as const satisfies Record<string, MetricDefinition>;

export type MetricKey = keyof typeof METRICS;
export type Signal = 'traces' | 'capture' | 'statistics' | 'metrics' | 'logs';
