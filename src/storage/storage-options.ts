import { RetentionOptions } from './training-set-store';

/** How long what a brain keeps in buckets stays, and where. Offline tables have options of their own, with `featureStore`. */
export interface StorageOptions {
  /** @default - training sets never expire */
  readonly trainingSets?: RetentionOptions;
  /** Captured payloads: redacted, and still data about somebody. @default - they expire after 90 days */
  readonly telemetry?: RetentionOptions;
}
