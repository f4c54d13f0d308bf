/**
 * The manifest of a training set: everything with which the same rows can be made again, and the proof that they are the same (DESIGN §4.5). It lies
 * beside the rows, is written last, and never changes.
 */
import type { KnownAt, TypedColumn } from './as-of-join';
import {
  array, DIGEST_PATTERN, enumeration, FEATURE_DTYPES, FEATURE_GROUP_SCHEMA, type FeatureGroupSchema, integer, mapOf, object, string,
} from '../../../src/contract';
import { documentReader } from '../validation';

export const TRAINING_SET_VERSION = '1';

/** Names within a training set's folder or prefix. */
export const TrainingSetFile = { MANIFEST: 'manifest.json', LABELS: 'labels', DATA: 'data' } as const;

/** One table that was read. */
export interface PinnedTable {
  /** The group as it was declared, with those of its features that were joined: a later declaration changes nothing of this set. */
  readonly group: FeatureGroupSchema;
  readonly table: string;
  /** Snapshot id; text, because Iceberg's exceed 2^53. */
  readonly snapshot: string;
  /** Column of the labels by entity key. */
  readonly keys: Readonly<Record<string, string>>;
}

/** A file of the set, and its own bytes' digest: `sha256:…`, or on S3 `etag:…`, which is what S3 gives unasked. */
export interface StoredFile {
  /** Relative to the set. */
  readonly path: string;
  readonly bytes: number;
  readonly digest: string;
}

/** Rows that were written: how many, and the digest that no order or engine changes (rows-digest.ts). */
export interface StoredRows {
  readonly columns: readonly TypedColumn[];
  readonly rows: number;
  readonly digest: string;
  readonly files: readonly StoredFile[];
}

export interface TrainingSetManifest {
  readonly schemaVersion: typeof TRAINING_SET_VERSION;
  /** Release that made it, and the engine with its version. */
  readonly createdBy: string;
  readonly engine: string;
  /** ISO 8601, UTC. */
  readonly createdTime: string;
  readonly knownAt: KnownAt;
  /** Column of the labels that says when each was made. */
  readonly labelTime: string;
  readonly tables: readonly PinnedTable[];
  /** The query that was run. */
  readonly query: string;
  readonly labels: StoredRows;
  readonly data: StoredRows;
}

const ROWS = object({
  columns: array(object({ name: string(), type: enumeration([...FEATURE_DTYPES, 'time']) })),
  rows: integer(0),
  digest: string(DIGEST_PATTERN),
  files: array(object({ path: string('^(?!.*\\.\\.)[^/].*$'), bytes: integer(0), digest: string('^(sha256:[0-9a-f]{64}|etag:.+)$') })),
});

const SCHEMA = object({
  schemaVersion: enumeration([TRAINING_SET_VERSION]),
  createdBy: string(),
  engine: string(),
  createdTime: string(),
  knownAt: enumeration(['label', 'now']),
  labelTime: string(),
  tables: array(object({ group: FEATURE_GROUP_SCHEMA, table: string(), snapshot: string('^[0-9]{1,19}$'), keys: mapOf('.', string()) }), { minItems: 1 }),
  query: { type: 'string' },
  labels: ROWS,
  data: ROWS,
});

/** Fails with INVALID_TRAINING_SET. */
export const parseTrainingSetManifest = documentReader<TrainingSetManifest>('the manifest of the training set', 'INVALID_TRAINING_SET', SCHEMA);
