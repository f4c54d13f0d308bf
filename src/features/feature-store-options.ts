import { BackfillOptions } from './backfill';
import { FeatureLock } from './feature-lock';
import { FeatureQualityOptions } from './feature-quality';
import { FeatureReplica } from './feature-replica';
import { OfflineStrategy } from './offline';
import { WarmThroughput } from './warm-throughput';

/** How the features of a brain are kept. */
export interface FeatureStoreOptions {
  /** Whether, and how, everything is kept that was ever known. @default OfflineStrategy.iceberg() */
  readonly offline?: OfflineStrategy;
  /** What the groups were like before: dropping or retyping a feature, or changing entity keys or their order, without a new version fails. @default - a warning where the environment protects from deletion: a dropped feature is not noticed; retyped ones and other keys are, by the deployment that changes the offline table */
  readonly lock?: FeatureLock;
  /** What the online table takes at once. @default - what every table on demand does: 12,000 reads and 4,000 writes a second */
  readonly warmThroughput?: WarmThroughput;
  /** Copies of the online table in other Regions, for reading and failover. @default - none */
  readonly replicas?: FeatureReplica[];
  /** How what is only offline comes online, and how both are compared. Needs offline tables. @default - once a day, in dev when somebody starts it */
  readonly backfill?: BackfillOptions;
  /** What becomes of rows that writers refuse. @default - they are kept for 30 days, and each makes an alarm */
  readonly quality?: FeatureQualityOptions;
}
