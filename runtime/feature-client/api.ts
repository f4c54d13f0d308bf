/** What `thalos-brain/client` gives to whoever puts features in and gets them back. */
import type { FeatureGroupSchema, FeatureValue, QuarantineReason } from '../../src/contract';

export type { FeatureGroupSchema, FeatureValue, QuarantineReason };

/**
 * Columns by name: entity keys, features, `event_time`, and `created_time` if it is known. Times are a `Date`, ISO 8601 (UTC where it names no offset), or
 * seconds or milliseconds since the epoch. A text may stand for a number or a truth value, as in a file; a number stands for no text, in a key neither.
 */
export type FeatureRecord = Readonly<Record<string, unknown>>;

/** What is known about an entity. */
export interface FoundFeatures {
  /** When the values became true, and when the brain learned them. */
  readonly eventTime: Date;
  readonly createdTime: Date;
  /** By feature name; an absent one is not known. An int64 beyond 2^53 is a decimal text. */
  readonly values: Readonly<Record<string, FeatureValue>>;
}

/** What became of a row. */
export type PutOutcome =
  | { readonly status: 'written' }
  /** A newer row is there. This one is on its way to the offline table. */
  | { readonly status: 'stale' }
  | { readonly status: 'quarantined'; readonly reason: QuarantineReason; readonly text: string }
  /** Nobody knows: write it again. */
  | { readonly status: 'failed'; readonly text: string };

/** Not every row was written or refused. */
export interface RowsFailed extends Error {
  readonly code: 'FEATURE_STORE_UNAVAILABLE';
  /** Of all rows, in their order: those that failed are to be written again. */
  readonly outcomes: readonly PutOutcome[];
}

export interface FeatureClientOptions {
  /** As `FeatureGroup.toJson()` and `brain.json` have them. */
  readonly groups: readonly FeatureGroupSchema[];
  /** Name of the online table. */
  readonly table: string;
  /** Name of the Kinesis stream that takes rows which lost. @default - they are in no history */
  readonly stream?: string;
  /** Name of the bucket that takes refused rows. @default - they are only told */
  readonly quarantine?: string;
  /** @default - what the environment says */
  readonly region?: string;
  /** Name of the brain, for metrics. @default brain */
  readonly brain?: string;
  /** What quarantined rows name as their source. @default client */
  readonly source?: string;
  /** Milliseconds that one row may wait for DynamoDB to take it. @default 10000 */
  readonly writeBudgetMs?: number;
  /** Writes under way at once. @default 16 */
  readonly writesAtOnce?: number;
  /** Takes lines of the embedded metric format. @default - none */
  readonly metrics?: (line: string) => unknown;
  /** Milliseconds since the epoch. @default - the system's */
  readonly clock?: { now(): number };
}

/**
 * Puts features in and gets them back, by the same rules as an import.
 *
 * A write is monotonic: of an entity's rows the newest stays, in whichever order they arrive and however often. Writing a row again is safe.
 */
export interface FeatureClient {
  /** The newest row of an entity; undefined where there is none, or it has expired. @param entity its key's parts, in the order of the group */
  get(group: string, ...entity: readonly string[]): Promise<FoundFeatures | undefined>;

  /** One answer for each entity, in their order: calls of 100 keys, side by side. Fails with FEATURE_STORE_UNAVAILABLE. */
  getMany(group: string, entities: readonly (readonly string[])[]): Promise<(FoundFeatures | undefined)[]>;

  /** Writes one row: its columns by name, as in a file. Fails as {@link putMany} does. */
  put(group: string, row: FeatureRecord): Promise<PutOutcome>;

  /**
   * Writes rows, and tells of each what became of it: a bad one keeps no other from being written. Those of one entity are written from the oldest:
   * each is in the history.
   *
   * Fails with {@link RowsFailed} (FEATURE_STORE_UNAVAILABLE) where some could not be written within the budget; all others were.
   */
  putMany(group: string, rows: readonly FeatureRecord[]): Promise<PutOutcome[]>;

  close(): Promise<void>;
}
