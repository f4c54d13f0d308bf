/** Properties of the custom resource that makes an offline table (runtime/handlers/offline-tables.lambda.ts). All of them are texts. */
export const OfflineTableResource = {
  /** Name of the Glue database. */
  DATABASE: 'Database',
  /** Athena workgroup that the statements run in; it decides where results go. */
  WORKGROUP: 'WorkGroup',
  /** `s3://bucket/prefix`: the tables are below it. */
  LOCATION: 'Location',
  /** JSON of an {@link OfflineGroup}. */
  GROUP: 'Group',
  /** Days for which snapshots stay. */
  SNAPSHOT_DAYS: 'SnapshotDays',
} as const;

/** The part of a group's schema that its table is made of: nothing else runs a statement when it changes. */
export interface OfflineGroup {
  readonly name: string;
  readonly version: number;
  readonly entityKeys: readonly { readonly name: string; readonly dtype: 'string' | 'int64' }[];
  readonly features: readonly { readonly name: string; readonly dtype: 'bool' | 'int32' | 'int64' | 'float32' | 'float64' | 'string' }[];
}

/** Snapshots that stay whatever their age. */
export const LEAST_SNAPSHOTS = 1;

export function offlineGroup({ name, version, entityKeys, features }: OfflineGroup): OfflineGroup {
  return {
    name,
    version,
    entityKeys: entityKeys.map((key) => ({ name: key.name, dtype: key.dtype })),
    features: features.map((feature) => ({ name: feature.name, dtype: feature.dtype })),
  };
}

/** Below the bucket of the offline store. */
export const OfflinePrefix = {
  /** Data and metadata of the tables. */
  TABLES: 'tables',
  /** What Firehose could not deliver. */
  ERRORS: 'delivery-errors',
  /** Results of queries. */
  RESULTS: 'query-results',
} as const;
