import { Duration } from 'aws-cdk-lib';
import { EngineVersion } from 'aws-cdk-lib/aws-opensearchservice';
import { IBucket } from 'aws-cdk-lib/aws-s3';
import { RecallGateOptions } from './recall-gate-options';

/** How the vectors of a brain are kept, and how new generations of them are built. */
export interface VectorStoreOptions {
  /** Version of OpenSearch, 2.19 or newer. An upgrade outlives a stack update: change nothing else with it. @default EngineVersion.OPENSEARCH_3_5 */
  readonly version?: EngineVersion;
  /** Holds what generations are built from, as JSON lines; lists of parts are written below `builds/`. @default - a bucket of its own */
  readonly source?: IBucket;
  /** What a new generation must reach before it answers, and a restored one in a drill. @default - recall@10 of at least 0.9 over 100 vectors */
  readonly gate?: RecallGateOptions;
  /** Objects that one build loads at the same time, 1 to 40. @default 4 */
  readonly loaders?: number;
  /** How often snapshots are restored to see whether they can be, 1 to 4 whole days. @default - every 4 days where the environment keeps its data, else never */
  readonly drillInterval?: Duration;
}
