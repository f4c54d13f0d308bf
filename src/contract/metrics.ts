/** Metrics as CloudWatch knows them: the service emits them, alarms and dashboards read them. docs/telemetry.md says what each means. */
import type { RuntimePool } from './names';

export const MetricsNamespace = 'ThalosBrain';

/** Names in {@link MetricsNamespace}. */
export const MetricName = {
  /** Per {@link DimensionName.MODEL}, and per model and version; without shadow traffic. */
  REQUESTS: 'Requests',
  REQUEST_LATENCY: 'RequestLatency',
  /** Answers of status 500 and above, without shadow traffic: also emitted as 0 where there were requests. */
  ERRORS: 'Errors',
  /** Answers of status 400 to 499. */
  CLIENT_ERRORS: 'ClientErrors',
  STAGE_LATENCY: 'StageLatency',
  SHADOW_REQUESTS: 'ShadowRequests',
  SHADOW_ERRORS: 'ShadowErrors',
  SHADOW_LATENCY: 'ShadowLatency',
  SHADOW_DIFFERENCE: 'ShadowDifference',
  SHADOW_DIFFERING_SHARE: 'ShadowDifferingShare',
  TIME_TO_FIRST_TOKEN: 'TimeToFirstToken',
  TOKENS_PER_SECOND: 'TokensPerSecond',
  PROMPT_TOKENS: 'PromptTokens',
  COMPLETION_TOKENS: 'CompletionTokens',
  FEATURE_MISS: 'FeatureMiss',
  FEATURE_DEFAULT: 'FeatureDefault',
  FEATURE_AGE: 'FeatureAge',
  REQUESTS_IN_FLIGHT: 'RequestsInFlight',
  SHED: 'Shed',
  RETRY: 'Retry',
  BREAKER_OPENED: 'BreakerOpened',
  BREAKER_CLOSED: 'BreakerClosed',
  OUTLIER_EJECTED: 'OutlierEjected',
  CACHE_HIT: 'CacheHit',
  CACHE_MISS: 'CacheMiss',
  DEGRADED: 'Degraded',
  SHADOW_DROPPED: 'ShadowDropped',
  IN_FLIGHT: 'InFlight',
  CONCURRENCY_LIMIT: 'ConcurrencyLimit',
  QUEUED: 'Queued',
  CACHE_ENTRIES: 'CacheEntries',
  CANDIDATES: 'Candidates',
  TELEMETRY_DROPPED: 'TelemetryDropped',
  /** Per {@link DimensionName.FEATURE_GROUP}: lines that backfills have done, rows that they changed online, rows that they refused. */
  BACKFILL_ROWS: 'BackfillRows',
  BACKFILL_CHANGED: 'BackfillChanged',
  BACKFILL_REFUSED: 'BackfillRefused',
  /** 1 for each backfill that is complete; a dry run is none. */
  BACKFILL_COMPLETED: 'BackfillCompleted',
  /** Percent of a sample of entities whose row is absent or older online than offline, and how many were sampled. */
  FEATURE_SKEW: 'FeatureSkew',
  FEATURE_SKEW_SAMPLED: 'FeatureSkewSampled',
  /** 1 for each consistency check that came to its end, also where nothing is offline yet. */
  CONSISTENCY_CHECKED: 'ConsistencyChecked',
  /** Per {@link DimensionName.FUNCTION} and {@link DimensionName.FEATURE_GROUP}: records of the stream that are no row of an offline table. */
  UNDELIVERABLE_RECORDS: 'UndeliverableRecords',
  /** Per {@link DimensionName.FEATURE_GROUP}: rows that came in, and of these the late and the quarantined ones. */
  INGESTED_ROWS: 'IngestedRows',
  LATE_ROWS: 'LateRows',
  QUARANTINED_ROWS: 'QuarantinedRows',
  /** Batches whose null rate or freshness was not as expected: one for each expectation. */
  EXPECTATIONS_VIOLATED: 'ExpectationsViolated',
  /** Seconds from the newest event of a batch to its arrival. */
  EVENT_AGE: 'EventAge',
} as const;
export type MetricNameValue = typeof MetricName[keyof typeof MetricName];

export const DimensionName = {
  BRAIN: 'Brain',
  MODEL: 'Model',
  VERSION: 'Version',
  /** One of decode, admit, features, vectors, runtime, encode. */
  STAGE: 'Stage',
  /** Name of a function that delivers offline, which knows no brain. */
  FUNCTION: 'Function',
  /** Name of a feature group. */
  FEATURE_GROUP: 'FeatureGroup',
  /** `group.feature`. */
  FEATURE: 'Feature',
  /** What the service called: the feature store, the vector store, the runtime … */
  DEPENDENCY: 'Dependency',
  /** Which kind of telemetry was lost: traces, capture, statistics, metrics or logs. */
  SIGNAL: 'Signal',
} as const;

/** Paths on {@link Port.METRICS}. */
export const MetricsPath = {
  /** Prometheus text, or OpenMetrics where the scraper asks for it. */
  PROMETHEUS: '/metrics',
  /** JSON numbers over the last {@link SCALING_WINDOW_SECONDS}, for KEDA's metrics-api trigger. */
  SCALING: '/metrics/scaling',
} as const;

export const SCALING_WINDOW_SECONDS = 30;

/** Where the numbers stand in the JSON at {@link MetricsPath.SCALING}, as KEDA's `valueLocation` writes it. */
export const ScalingValue = {
  LATENCY_P95_MS: 'latencyP95Ms',
  QPS: 'qps',
  /** Requests under way: the mean over the window. */
  CONCURRENCY: 'concurrency',
  IN_FLIGHT: 'inFlight',
  QUEUED: 'queued',
  /** Models that have a candidate. */
  CANDIDATES: 'candidates',
  poolQps: (pool: RuntimePool) => `pools.${pool}.qps`,
  poolLatencyP95Ms: (pool: RuntimePool) => `pools.${pool}.latencyP95Ms`,
  /** Calls that wait for the pool or run in it: the mean over the window. */
  poolConcurrency: (pool: RuntimePool) => `pools.${pool}.concurrency`,
  poolInFlight: (pool: RuntimePool) => `pools.${pool}.inFlight`,
} as const;
