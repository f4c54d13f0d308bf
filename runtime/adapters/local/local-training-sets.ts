/**
 * Training sets of the embedded offline store: folders of parquet with a manifest. A set is written aside and gets its name when it is whole, so that
 * there is never half a one; an existing folder is never touched.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import type { DataDirectory } from './data-directory';
import { type DuckDb, literal } from './duckdb';
import { digestOfFile, syncPath, unfinishedPath, writeSynced } from './durable-files';
import { writeLabels } from './labels-table';
import { reject, systemCode } from './local-errors';
import { OfflineLog } from './offline-log';
import type { FeatureGroupSchema } from '../../../src/contract';
import { refuse } from '../../core/errors';
import type { TypedColumn } from '../../core/offline/as-of-join';
import { DUCKDB, parquetFiles, type Relation } from '../../core/offline/query-engine';
import { rowsDigestSql } from '../../core/offline/rows-digest';
import { type StoredFile, TrainingSetFile } from '../../core/offline/training-set-manifest';
import type { Counted, NewTrainingSet, StoredTrainingSet, TrainingSetStore } from '../../core/offline/training-sets';

const file = (what: 'labels' | 'data') => `${TrainingSetFile[what === 'labels' ? 'LABELS' : 'DATA']}.parquet`;

export class LocalTrainingSets implements TrainingSetStore {
  readonly engine = DUCKDB;
  private readonly log: OfflineLog;

  constructor(private readonly db: DuckDb, private readonly data: DataDirectory) {
    this.log = new OfflineLog(data);
  }

  async engineVersion(): Promise<string> {
    return `duckdb ${(await this.db.rows('SELECT version() AS version'))[0].version}`;
  }

  async snapshot(group: FeatureGroupSchema, at?: number): Promise<string | undefined> {
    const snapshot = this.log.latest(group, at);
    return snapshot === 0 ? undefined : String(snapshot);
  }

  async rows(group: FeatureGroupSchema, snapshot: string): Promise<Relation | undefined> {
    const wanted = Number(snapshot);
    if (!Number.isSafeInteger(wanted) || wanted < 1 || wanted > this.log.latest(group)) return undefined;
    const paths = this.log.paths(group, wanted);
    if (paths.some((path) => !existsSync(path))) return undefined;
    // the query is kept with the set: it names no folder of this machine
    const sql = parquetFiles(paths.map((path) => path.slice(this.data.root.length + 1).replaceAll('\\', '/')));
    return { sql, columns: (await this.db.rows(`DESCRIBE SELECT * FROM ${parquetFiles(paths)}`)).map((row) => String(row.column_name)) };
  }

  async begin(out: string): Promise<NewTrainingSet> {
    const target = resolve(out);
    requireFree(target);
    const folder = unfinishedPath(target);
    mkdirSync(folder, { recursive: true });
    return {
      ...this.tables(folder),
      putLabels: async (source, time, keys) => writeLabels(this.db, source, join(folder, file('labels')), time, keys),
      write: async (query) => this.copy(query, folder),
      finish: async (manifest) => {
        writeSynced(join(folder, TrainingSetFile.MANIFEST), manifest);
        for (const name of readdirSync(folder)) syncPath(join(folder, name));
        syncPath(folder);
        try {
          renameSync(folder, target);
        } catch (error) {
          if (['EEXIST', 'ENOTEMPTY', 'ENOTDIR', 'EPERM'].includes(systemCode(error) ?? '')) requireFree(target);
          throw error;
        }
        syncPath(dirname(target));
      },
      // gone where it was given its name
      close: async () => removed(folder),
    };
  }

  async open(location: string): Promise<StoredTrainingSet> {
    const folder = basename(location) === TrainingSetFile.MANIFEST ? dirname(resolve(location)) : resolve(location);
    const path = join(folder, TrainingSetFile.MANIFEST);
    if (!isFile(path)) refuse('TRAINING_SET_NOT_FOUND', `there is no training set in ${folder}: it has no ${TrainingSetFile.MANIFEST}`);
    for (const what of ['labels', 'data'] as const) {
      if (!isFile(join(folder, file(what)))) refuse('TRAINING_SET_DIFFERS', `the training set in ${folder} lacks ${file(what)}`);
    }
    const again = join(this.data.spill, `verify-${process.pid}`);
    return {
      ...this.tables(folder),
      manifest: readFileSync(path, 'utf8'),
      location: folder,
      again: async (query: string, columns: readonly TypedColumn[]) => {
        rmSync(again, { recursive: true, force: true });
        mkdirSync(again, { recursive: true });
        await this.copy(query, folder, again);
        return { ...await this.count(join(again, file('data')), columns), files: [await storedFile(again, file('data'))] };
      },
      close: async () => removed(again),
    };
  }

  private tables(folder: string): Pick<NewTrainingSet, 'labels' | 'count' | 'files'> {
    return {
      labels: async () => parquetFiles([file('labels')]),
      count: async (what, columns) => this.count(join(folder, file(what)), columns),
      files: async (what) => [await storedFile(folder, file(what))],
    };
  }

  /** @param labels the folder with the labels that the query names */
  private async copy(query: string, labels: string, target = labels): Promise<void> {
    for (const path of [labels, this.data.root]) {
      if (path.includes(',')) reject('DATA_DIR_INVALID', `'${path}' has a comma in its name, which DuckDB takes for the end of a path: use another folder`);
    }
    await this.db.run(`SET file_search_path = ${literal([labels, this.data.root].join(','))}`);
    try {
      await this.db.run(`COPY (\n${query}\n) TO ${literal(join(target, file('data')))} (FORMAT parquet, COMPRESSION zstd)`);
    } finally {
      await this.db.run('RESET file_search_path');
    }
  }

  private async count(path: string, columns: readonly TypedColumn[]): Promise<Counted> {
    const [{ rows, digest }] = await this.db.rows(rowsDigestSql(DUCKDB, `read_parquet(${literal(path)})`, columns));
    return { rows: Number(rows), digest: `sha256:${digest}` };
  }
}

const isFile = (path: string): boolean => existsSync(path) && statSync(path).isFile();

async function storedFile(folder: string, name: string): Promise<StoredFile> {
  return { path: name, bytes: statSync(join(folder, name)).size, digest: await digestOfFile(join(folder, name)) };
}

function requireFree(target: string): void {
  if (existsSync(target)) refuse('TRAINING_SET_EXISTS', `${target} is there already, and a training set is never changed: give another --out`);
}

/** What is left of a folder, in words. */
function removed(folder: string): string[] {
  try {
    rmSync(folder, { recursive: true, force: true });
    return [];
  } catch (error) {
    return [`${folder} (${(error as Error).message})`];
  }
}
