/** Training sets: made once at pinned snapshots, and proven to be made again with the same rows. What stores and computes them is behind a port. */
import { asOfJoinSql, type JoinedGroup, type KnownAt, trainingSetColumns, type TypedColumn } from './as-of-join';
import type { QueryEngine, Relation } from './query-engine';
import {
  parseTrainingSetManifest, type PinnedTable, type StoredFile, type StoredRows, TRAINING_SET_VERSION, type TrainingSetManifest,
} from './training-set-manifest';
import { type FeatureGroupSchema, offlineTableName } from '../../../src/contract';
import { BrainError, refuse } from '../errors';

/** Rows of a relation, counted and digested. */
export interface Counted {
  readonly rows: number;
  readonly digest: string;
}

/** The offline store: its tables, and where training sets lie. */
export interface TrainingSetStore {
  readonly engine: QueryEngine;
  /** `duckdb v1.5.5`, `athena`. */
  engineVersion(): Promise<string>;
  /** Id of the newest snapshot, or of the newest that was there at a time (milliseconds); undefined where there was none. */
  snapshot(group: FeatureGroupSchema, at?: number): Promise<string | undefined>;
  /** The table at a snapshot, with the columns that it had; undefined where the snapshot is gone. */
  rows(group: FeatureGroupSchema, snapshot: string): Promise<Relation | undefined>;
  /** A place for a new set. Fails with TRAINING_SET_EXISTS where there is one. */
  begin(out: string): Promise<NewTrainingSet>;
  /** A set that was made. Fails with TRAINING_SET_NOT_FOUND. */
  open(location: string): Promise<StoredTrainingSet>;
}

/** What can be asked of a set's tables. */
interface Tables {
  /** The labels, as a relation of the engine. */
  labels(columns: readonly TypedColumn[]): Promise<string>;
  /** Rows and digest of the labels or the data, as they are stored. */
  count(what: 'labels' | 'data', columns: readonly TypedColumn[]): Promise<Counted>;
  files(what: 'labels' | 'data'): Promise<readonly StoredFile[]>;
  /** Removes what it needed for itself, and the set if it is not finished; says what is left because it cannot be removed, in words, and never fails. */
  close(): Promise<readonly string[]>;
}

export interface NewTrainingSet extends Tables {
  /** Reads labels, types them, and stores them with the set. `keys` are the types of columns that name entities; fails where a value is none. */
  putLabels(source: string, time: string, keys: ReadonlyMap<string, 'string' | 'int64'>): Promise<readonly TypedColumn[]>;
  /** Computes the rows, and stores them with the set. */
  write(query: string, columns: readonly TypedColumn[]): Promise<void>;
  /** Stores the manifest: with it the set is there. Fails with TRAINING_SET_EXISTS where another one has come into being meanwhile. */
  finish(manifest: string): Promise<void>;
}

export interface StoredTrainingSet extends Tables {
  readonly manifest: string;
  /** As a person finds it. */
  readonly location: string;
  /** Computes the rows again, and stores nothing that stays; the bytes' digests where the engine gives the same bytes for the same rows. */
  again(query: string, columns: readonly TypedColumn[]): Promise<Counted & { readonly files?: readonly StoredFile[] }>;
}

export interface TrainingSetRequest {
  /** Where the labels are: a file of parquet, CSV or JSON Lines. */
  readonly labels: string;
  /** Column of the labels that says when each was made. */
  readonly labelTime: string;
  readonly groups: readonly Omit<JoinedGroup, 'rows'>[];
  /** @default 'label' */
  readonly knownAt?: KnownAt;
  /** Snapshot by group, or a time (milliseconds) whose newest snapshots are read. @default - the newest of now */
  readonly at?: { readonly time: number } | { readonly snapshots: Readonly<Record<string, string>> };
  /** Where the set is to be. */
  readonly out: string;
}

/** How far it is. */
export type Step = (what: string, done: number, total: number) => void;

export interface Verified {
  readonly manifest: TrainingSetManifest;
  /** Whether the files have the same bytes too; undefined where the engine is another one, or gives no such promise. */
  readonly sameBytes?: boolean;
}

const STEPS = 5;

export class TrainingSets {
  /** @param createdBy the release, as manifests name it */
  constructor(private readonly store: TrainingSetStore, private readonly createdBy: string, private readonly now: () => number) {}

  /** Makes a set. Fails with INVALID_TRAINING_SET, SNAPSHOT_NOT_FOUND or TRAINING_SET_EXISTS; then nothing of it stays. */
  async create(request: TrainingSetRequest, step: Step = () => undefined): Promise<TrainingSetManifest> {
    const { store } = this;
    const knownAt = request.knownAt ?? 'label';
    step('snapshots', 0, STEPS);
    const set = await store.begin(request.out);
    return closing(set, async () => {
      const pins = await Promise.all(request.groups.map(({ group }) => this.pin(group, request.at)));
      step('labels', 1, STEPS);
      const labelColumns = await set.putLabels(request.labels, request.labelTime, keyTypes(request.groups));
      const labels = { relation: await set.labels(labelColumns), columns: labelColumns, time: request.labelTime };
      const join = { labels, groups: request.groups.map((joined, at) => ({ ...joined, rows: pins[at].rows })), knownAt };
      const columns = trainingSetColumns(join);
      const query = asOfJoinSql(store.engine, join);
      step('rows', 2, STEPS);
      await set.write(query, columns);
      step('digests', 3, STEPS);
      const manifest: TrainingSetManifest = {
        schemaVersion: TRAINING_SET_VERSION,
        createdBy: this.createdBy,
        engine: await store.engineVersion(),
        createdTime: new Date(this.now()).toISOString(),
        knownAt,
        labelTime: request.labelTime,
        tables: request.groups.map((joined, at) => ({
          group: declared(joined), table: offlineTableName(joined.group), snapshot: pins[at].snapshot, keys: keysOf(joined),
        })),
        query,
        labels: await stored(set, 'labels', labelColumns),
        data: await stored(set, 'data', columns),
      };
      if (manifest.data.rows !== manifest.labels.rows) {
        refuse('INTERNAL', `the training set has ${manifest.data.rows} rows for ${manifest.labels.rows} labels`);
      }
      step('manifest', 4, STEPS);
      await set.finish(`${JSON.stringify(manifest, undefined, 2)}\n`);
      step('manifest', STEPS, STEPS);
      return manifest;
    });
  }

  /**
   * Proves that a set is what was made, and that it can be made again. Fails with TRAINING_SET_DIFFERS where what is stored or what is computed is not
   * what the manifest says, with SNAPSHOT_EXPIRED where a snapshot is gone (what is stored was compared before), and with INVALID_TRAINING_SET.
   */
  async verify(location: string, step: Step = () => undefined): Promise<Verified> {
    const { store } = this;
    step('stored rows', 0, 3);
    const set = await store.open(location);
    return closing(set, async () => {
      const manifest = parseTrainingSetManifest(set.manifest);
      for (const what of ['labels', 'data'] as const) {
        const expected = manifest[what];
        requireSame(`${what} of ${set.location}`, await readStored(set, what, expected), expected);
      }
      step('snapshots', 1, 3);
      const groups = await Promise.all(manifest.tables.map(async (pinned): Promise<JoinedGroup> => ({
        group: pinned.group, keys: pinned.keys, rows: await store.rows(pinned.group, pinned.snapshot) ?? expired(pinned, set.location),
      })));
      const labels = { relation: await set.labels(manifest.labels.columns), columns: manifest.labels.columns, time: manifest.labelTime };
      step('rows', 2, 3);
      const again = await set.again(asOfJoinSql(store.engine, { labels, groups, knownAt: manifest.knownAt }), manifest.data.columns);
      requireSame(`what the query of ${set.location} gives now`, again, manifest.data);
      step('rows', 3, 3);
      if (again.files === undefined || manifest.engine !== await store.engineVersion()) return { manifest };
      return { manifest, sameBytes: JSON.stringify(again.files) === JSON.stringify(manifest.data.files) };
    });
  }

  private async pin(group: FeatureGroupSchema, at: TrainingSetRequest['at']): Promise<{ snapshot: string; rows: Relation }> {
    const named = at && 'snapshots' in at ? at.snapshots[group.name] : undefined;
    const time = at && 'time' in at ? at.time : undefined;
    const snapshot = named ?? await this.store.snapshot(group, time)
      ?? refuse('SNAPSHOT_NOT_FOUND', `feature group '${group.name}' had no snapshot ${time === undefined ? 'yet' : `at ${new Date(time).toISOString()}`}`);
    const rows = await this.store.rows(group, snapshot) ?? refuse('SNAPSHOT_NOT_FOUND', `feature group '${group.name}' has no snapshot ${snapshot}`);
    return { snapshot, rows };
  }
}

/** What fails first is what is told; what cannot be removed then is told beside it. */
async function closing<T>(set: Tables, work: () => Promise<T>): Promise<T> {
  let done: T;
  try {
    done = await work();
  } catch (error) {
    const left = await set.close();
    if (left.length === 0) throw error;
    const [code, text, details] = error instanceof BrainError ? [error.code, error.text, error.details] : ['OFFLINE_QUERY_FAILED' as const, String((error as Error).message)];
    throw new BrainError(code, `${text}; left behind: ${left.join(', ')}`, details, { cause: error });
  }
  const left = await set.close();
  if (left.length > 0) refuse('OFFLINE_QUERY_FAILED', `all was done, but left behind: ${left.join(', ')}`);
  return done;
}

/** A column that two groups read differently is text: what names no number fails when it is cast. */
function keyTypes(groups: readonly Omit<JoinedGroup, 'rows'>[]): Map<string, 'string' | 'int64'> {
  const types = new Map<string, 'string' | 'int64'>();
  for (const { group, keys = {} } of groups) {
    for (const { name, dtype } of group.entityKeys) {
      const label = keys[name] ?? name;
      types.set(label, (types.get(label) ?? dtype) === dtype ? dtype : 'string');
    }
  }
  return types;
}

function keysOf({ group, keys = {} }: Omit<JoinedGroup, 'rows'>): Record<string, string> {
  return Object.fromEntries(group.entityKeys.map(({ name }) => [name, keys[name] ?? name]));
}

function declared({ group, features }: Omit<JoinedGroup, 'rows'>): FeatureGroupSchema {
  return features === undefined ? group : { ...group, features: features.map((wanted) => group.features.find(({ name }) => name === wanted)!) };
}

async function stored(set: Tables, what: 'labels' | 'data', columns: readonly TypedColumn[]): Promise<StoredRows> {
  return { columns, ...await set.count(what, columns), files: await set.files(what) };
}

/** An engine that cannot read what is stored says why, and not that the bytes are others than those that were written. */
async function readStored(set: StoredTrainingSet, what: 'labels' | 'data', { columns, files }: StoredRows): Promise<Counted> {
  try {
    return await set.count(what, columns);
  } catch (error) {
    if (JSON.stringify(await set.files(what)) === JSON.stringify(files)) throw error;
    throw new BrainError('TRAINING_SET_DIFFERS', `${what} of ${set.location} cannot be read, and has other bytes than the manifest says: ${(error as Error).message}`, {}, { cause: error });
  }
}

function requireSame(what: string, { rows, digest }: Counted, expected: Counted): void {
  if (rows !== expected.rows) refuse('TRAINING_SET_DIFFERS', `${what} has ${rows} rows, the manifest says ${expected.rows}`);
  if (digest !== expected.digest) refuse('TRAINING_SET_DIFFERS', `${what} has other values than the manifest says: digest ${digest}, not ${expected.digest}`);
}

function expired({ group, snapshot }: PinnedTable, location: string): never {
  return refuse('SNAPSHOT_EXPIRED', `snapshot ${snapshot} of feature group '${group.name}' is gone, so the rows cannot be made again: `
    + `the copy in ${location} is intact, train from it`, { group: group.name, snapshot, location });
}
