/**
 * Training sets on AWS: Athena computes them from the Iceberg tables and unloads them to S3 as parquet; labels and manifest lie beside. The manifest is
 * written last, only if there is none: without it there is no set.
 */
import { createHash } from 'node:crypto';
import { readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { SqlRunner } from './athena';
import type { ObjectStore } from './object-store';
import { type FeatureGroupSchema, offlineTableName, Paths, trainingSetTableName } from '../../../src/contract';
import { refuse } from '../../core/errors';
import type { TypedColumn } from '../../core/offline/as-of-join';
import { quoted, sqlType } from '../../core/offline/ddl';
import { icebergTable, identifier, literal, type Relation, TRINO } from '../../core/offline/query-engine';
import { rowsDigestSql } from '../../core/offline/rows-digest';
import { TrainingSetFile } from '../../core/offline/training-set-manifest';
import type { Counted, NewTrainingSet, StoredTrainingSet, TrainingSetStore } from '../../core/offline/training-sets';

export interface AthenaTrainingSetsOptions {
  readonly athena: SqlRunner;
  readonly objects: ObjectStore;
  /** The database with the offline tables; the tables of labels and of sets are made in it, and removed again. */
  readonly database: string;
  /** Types a file of labels and writes it to parquet, as the embedded store does. */
  readonly writeLabels: (file: string, target: string, time: string, keys: ReadonlyMap<string, 'string' | 'int64'>) => Promise<readonly TypedColumn[]>;
  /** An empty folder for that. */
  readonly folder: string;
}

type What = 'labels' | 'data';

export class AthenaTrainingSets implements TrainingSetStore {
  readonly engine = TRINO;

  constructor(private readonly options: AthenaTrainingSetsOptions) {}

  async engineVersion(): Promise<string> {
    return 'athena';
  }

  async snapshot(group: FeatureGroupSchema, at?: number): Promise<string | undefined> {
    const when = at === undefined ? '' : ` AND made_current_at <= ${TRINO.momentOf(at)}`;
    const history = this.metadata(group, 'history');
    const { rows } = await this.options.athena.run(`SELECT CAST(snapshot_id AS varchar) AS snapshot FROM ${history} WHERE is_current_ancestor${when} ORDER BY made_current_at DESC LIMIT 1`);
    return rows[0]?.[0] ?? undefined;
  }

  async rows(group: FeatureGroupSchema, snapshot: string): Promise<Relation | undefined> {
    const { athena, database } = this.options;
    const sql = icebergTable(database, offlineTableName(group), snapshot);
    const { rows } = await athena.run(`SELECT CAST(count(*) AS varchar) AS snapshots FROM ${this.metadata(group, 'snapshots')} WHERE snapshot_id = ${snapshot}`);
    if (rows[0]?.[0] !== '1') return undefined;
    return { sql, columns: (await athena.run(`SELECT * FROM ${sql} LIMIT 0`)).columns };
  }

  async begin(out: string): Promise<NewTrainingSet> {
    const { athena, objects, writeLabels, folder } = this.options;
    const set = new SetTables(this.options, out);
    const place = `s3://${objects.bucket}/${Paths.TRAINING_SETS}/`;
    // what protects sets from being changed or deleted protects nothing else
    if (!set.location.startsWith(place)) refuse('INVALID_PARAMETER', `a new training set is in ${place}<name>, got '${out}'`);
    const there = await objects.list(set.key(''));
    if (there.some(({ key }) => key === set.key(TrainingSetFile.MANIFEST))) refuse('TRAINING_SET_EXISTS', `${set.location} is there already, and a training set is never changed: give another place`);
    if (there.length > 0) refuse('TRAINING_SET_EXISTS', `${set.location} holds ${there.length} objects and no manifest, as an attempt leaves that died: give another place, or remove them`);
    let [started, finished] = [false, false];
    return Object.assign(set, {
      putLabels: async (source: string, time: string, keys: ReadonlyMap<string, 'string' | 'int64'>) => {
        const file = join(folder, 'labels.parquet');
        try {
          const columns = await writeLabels(source, file, time, keys);
          if (!await objects.putNew(set.key(`${TrainingSetFile.LABELS}/labels.parquet`), readFileSync(file))) refuse('TRAINING_SET_EXISTS', `another process makes ${set.location} right now`);
          // from here on what lies there is ours
          started = true;
          return columns;
        } finally {
          rmSync(file, { force: true });
        }
      },
      // UNLOAD refuses a place that is not empty
      write: async (query: string) => void await athena.run(`UNLOAD (\n${query}\n)\nTO ${literal(`${set.location}/${TrainingSetFile.DATA}/`)}\nWITH (format = 'PARQUET', compression = 'SNAPPY')`),
      finish: async (manifest: string) => {
        if (!await objects.putNew(set.key(TrainingSetFile.MANIFEST), Buffer.from(manifest))) refuse('TRAINING_SET_EXISTS', `${set.location} was made by another process meanwhile`);
        finished = true;
      },
      close: async () => {
        const left = await set.dropTables();
        if (finished || !started) return left;
        try {
          await objects.remove((await objects.list(set.key(''))).map(({ key }) => key));
        } catch (error) {
          left.push(`files in ${set.location}/, without a manifest (${(error as Error).message})`);
        }
        return left;
      },
    });
  }

  async open(location: string): Promise<StoredTrainingSet> {
    const set = new SetTables(this.options, location.replace(new RegExp(`/${TrainingSetFile.MANIFEST}$`), ''));
    const manifest = await this.options.objects.get(set.key(TrainingSetFile.MANIFEST))
      ?? refuse('TRAINING_SET_NOT_FOUND', `there is no training set in ${set.location}: it has no ${TrainingSetFile.MANIFEST}`);
    return Object.assign(set, {
      manifest,
      again: async (query: string, columns: readonly TypedColumn[]) => set.digest(`(\n${query}\n)`, columns),
      close: async () => set.dropTables(),
    });
  }

  private metadata(group: FeatureGroupSchema, table: 'history' | 'snapshots'): string {
    return `${identifier(this.options.database)}.${identifier(`${offlineTableName(group)}$${table}`)}`;
  }
}

/** The tables over a set's own files: made when they are asked for, removed at the end. */
class SetTables {
  readonly location: string;
  private readonly prefix: string;
  private readonly made = new Set<What>();

  constructor(private readonly options: AthenaTrainingSetsOptions, out: string) {
    const { bucket } = options.objects;
    this.location = out.replace(/\/+$/, '');
    const begin = `s3://${bucket}/`;
    if (!this.location.startsWith(begin)) refuse('INVALID_PARAMETER', `a training set is in ${begin}${Paths.TRAINING_SETS}/<name>, got '${out}'`);
    this.prefix = this.location.slice(begin.length);
  }

  key(path: string): string {
    return `${this.prefix}/${path}`;
  }

  async labels(columns: readonly TypedColumn[]): Promise<string> {
    return this.table('labels', columns);
  }

  async count(what: What, columns: readonly TypedColumn[]): Promise<Counted> {
    return this.digest(await this.table(what, columns), columns);
  }

  async files(what: What) {
    const objects = await this.options.objects.list(this.key(`${TrainingSetFile[what === 'labels' ? 'LABELS' : 'DATA']}/`));
    return objects.map(({ key, bytes, etag }) => ({ path: key.slice(this.prefix.length + 1), bytes, digest: `etag:${etag}` }));
  }

  async digest(relation: string, columns: readonly TypedColumn[]): Promise<Counted> {
    const { rows: [[rows, digest]] } = await this.options.athena.run(rowsDigestSql(TRINO, relation, columns));
    return { rows: Number(rows), digest: `sha256:${digest}` };
  }

  /** Says what is left. */
  async dropTables(): Promise<string[]> {
    const { athena, database } = this.options;
    const left: string[] = [];
    for (const what of this.made) {
      try {
        await athena.run(`DROP TABLE IF EXISTS ${quoted(database, 'athena')}.${quoted(this.name(what), 'athena')}`);
      } catch (error) {
        left.push(`the table ${database}.${this.name(what)} (${(error as Error).message})`);
      }
    }
    this.made.clear();
    return left;
  }

  private async table(what: What, columns: readonly TypedColumn[]): Promise<string> {
    const { athena, database } = this.options;
    if (!this.made.has(what)) {
      const defined = columns.map(({ name, type }) => `${quoted(name, 'athena')} ${sqlType(type, 'athena')}`);
      const location = `${this.location}/${TrainingSetFile[what === 'labels' ? 'LABELS' : 'DATA']}/`;
      this.made.add(what);
      await athena.run(`CREATE EXTERNAL TABLE IF NOT EXISTS ${quoted(database, 'athena')}.${quoted(this.name(what), 'athena')} (${defined.join(', ')}) STORED AS PARQUET LOCATION ${literal(location)}`);
    }
    return `${identifier(database)}.${identifier(this.name(what))}`;
  }

  /** Two processes that verify one set share it. */
  private name(what: What): string {
    return trainingSetTableName(createHash('sha256').update(this.location).digest('hex').slice(0, 16), what);
  }
}
