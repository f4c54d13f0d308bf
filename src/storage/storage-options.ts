import { StorageTiering } from './storage-tiering';
import { RetentionOptions } from './training-set-store';

/** How long what a brain keeps in buckets stays, and where. Offline tables have options of their own, with `featureStore`. */
export interface StorageOptions {
  /** When artifacts of models move to cheaper storage; none expires. @default StorageTiering.byAge() */
  readonly artifacts?: StorageTiering;
  /** @default - training sets never expire */
  readonly trainingSets?: RetentionOptions;
  /** Captured payloads: redacted, and still data about somebody. @default - they expire after 90 days */
  readonly telemetry?: RetentionOptions;
}
