/** The offline table of a feature group: what the construct creates, the delivery fills, and training sets and backfills read (DESIGN §4.5). */
import { FeatureDtype } from './datatypes';
import { FeatureGroupSchema } from './feature-schema';

/** Columns that every offline row has beside its entity keys and features. */
export const OfflineColumn = {
  /** When the values became true in the world. */
  EVENT_TIME: 'event_time',
  /** When the brain learned them: a training set joins only what was known at the time of its label. */
  CREATED_TIME: 'created_time',
  /** Digest of the canonical values: between two rows of one entity, event time and created time the larger one wins, as it does online. */
  ROW_DIGEST: 'row_digest',
} as const;

/** Type of an offline column; a `time` is kept in microseconds, without a zone, as UTC. */
export type OfflineType = FeatureDtype | 'time';

/** One column of an offline table. */
export interface OfflineTableColumn {
  /** Lower case: Iceberg in Glue folds names. */
  readonly name: string;
  readonly type: OfflineType;
  /** Entity keys, times and digest are in every row; a feature may be null. */
  readonly required: boolean;
}

/** The columns in their order: entity keys, features, event time, created time, digest. */
export function offlineColumns(group: {
  readonly entityKeys: readonly { readonly name: string; readonly dtype: FeatureDtype }[];
  readonly features: readonly { readonly name: string; readonly dtype: FeatureDtype }[];
}): OfflineTableColumn[] {
  return [
    ...group.entityKeys.map(({ name, dtype }): OfflineTableColumn => ({ name, type: dtype, required: true })),
    ...group.features.map(({ name, dtype }): OfflineTableColumn => ({ name, type: dtype, required: false })),
    { name: OfflineColumn.EVENT_TIME, type: 'time', required: true },
    { name: OfflineColumn.CREATED_TIME, type: 'time', required: true },
    { name: OfflineColumn.ROW_DIGEST, type: 'string', required: true },
  ];
}

/** Name of a group's table: its own, with `_` for `-`, and its version, because a new version is a new table. */
export function offlineTableName({ name, version }: Pick<FeatureGroupSchema, 'name' | 'version'>): string {
  return `${name.replace(/-/g, '_')}_v${version}`;
}

/**
 * Name of a table over the files of a training set, which lives as long as they are looked at. That of a group ends otherwise, whatever its name.
 *
 * @param set 16 hexadecimal digits, or `*` for the tables of all sets
 */
export function trainingSetTableName(set: string, what: 'labels' | 'data'): string {
  return `training_set_${set}_${what}`;
}

/** Beside the function that delivers: the schemas of the groups that it knows, a JSON array. */
export const FEATURE_GROUPS_FILE = 'feature-groups.json';
