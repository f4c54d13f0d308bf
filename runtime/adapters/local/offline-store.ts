/**
 * The embedded offline store: parquet files that are only ever added, for each feature group and version, and a log that names them.
 * DuckDB writes them, and any reader of parquet reads them.
 */
import { mkdirSync, readdirSync, rmSync } from 'node:fs';
import { basename, join } from 'node:path';
import type { DataDirectory } from './data-directory';
import { type DuckDb, identifier, literal } from './duckdb';
import { commit, digestOfFile, removeUnfinished, requireFile, syncPath, unfinishedPath } from './durable-files';
import { reject } from './local-errors';
import { OfflineLog } from './offline-log';
import { QuarantineFile } from './quarantine-file';
import { columnsOf, quarantineOf } from './row-import';
import { type ImportColumn, importTable, ROW } from './table-import';
import { type FeatureGroupSchema, type FeatureSchema, type FeatureValue, OfflineColumn, type QuarantineReason } from '../../../src/contract';
import { BatchProfile, type Violation } from '../../core/data-quality/batch-profile';
import { rowDigester } from '../../core/feature-row';
import type { FeatureWrite } from '../../core/ports';

/** Rows whose digests are in memory at once. */
const DIGESTS_AT_ONCE = 65_536;

export interface Appended {
  /** The snapshot that has the rows of the file. */
  readonly snapshot: number;
  /** Rows that were added; where none was, those that the file added before. */
  readonly rows: number;
  /** False where these bytes were imported before, and none of the rows that were refused then fits now. */
  readonly added: boolean;
  /** Rows that were not taken. */
  readonly quarantined: number;
  /** Where they are; undefined where there are none. */
  readonly quarantine?: string;
  /** How many for each reason; empty where none was judged. */
  readonly reasons: ReadonlyMap<QuarantineReason, number>;
  /** What the rows that were taken show together. */
  readonly violations: readonly Violation[];
}

export interface AppendOptions {
  /** Refuse the whole file for one row that cannot be taken. @default false */
  readonly strict?: boolean;
  /** Called as rows are judged. */
  readonly progress?: (done: number, total: number) => void;
}

export class OfflineStore extends OfflineLog {
  constructor(private readonly db: DuckDb, data: DataDirectory) {
    super(data);
  }

  /**
   * Adds the rows of a parquet, CSV or JSON Lines file. Its columns are the group's entity keys and features, `event_time`, and
   * `created_time`, which is `now` where it is absent. Rows that cannot be taken go to the quarantine. Of a file that was imported before, only the rows
   * that were refused then are judged again. Only for the holder of the group's lock.
   */
  async append(group: FeatureGroupSchema, file: string, now: number, options: AppendOptions = {}): Promise<Appended> {
    requireFile(file);
    const folder = this.data.offline(group);
    mkdirSync(folder, { recursive: true });
    this.removeOrphans(group);
    const source = await digestOfFile(file);
    const refused = new QuarantineFile(group, this.data.quarantine(group, source.replace('sha256:', '').slice(0, 16)), basename(file), now);
    const entries = this.entries(group).filter((entry) => entry.source === source);
    const known = entries.reduce((sum, { rows }) => sum + rows, 0);
    const before = entries.at(-1);
    if (before && before.refused === undefined) {
      const { snapshot, quarantined = 0 } = before;
      // a later entry took what an earlier one had refused: one that died in between left the file
      if (quarantined === 0 && entries.length > 1) rmSync(refused.path, { force: true });
      const quarantine = quarantined > 0 ? refused.path : undefined;
      return { snapshot, rows: known, added: false, quarantined, quarantine, reasons: refused.reasons, violations: [] };
    }
    // a feature that was declared after the first import is no column of the file
    const columns = columnsOf(group, now).map((column) => (before && !column.required ? { ...column, optional: true } : column));
    const profile = new BatchProfile(group);
    try {
      const judging = { refused, profile, now, again: before?.refused, ...options };
      const rows = await importTable(this.db, 'imported', file, columns, quarantineOf(group, judging));
      const quarantine = refused.commit();
      const refusals = { quarantined: refused.rows, quarantine, reasons: refused.reasons };
      if (rows === 0 && before) return { snapshot: before.snapshot, rows: known, added: false, ...refusals, violations: [] };
      if (rows === 0) {
        const taken = refused.rows > 0 ? ` that can be taken, ${refused.rows} are in ${refused.path}` : '';
        reject('INVALID_VALUE', `${file} holds no rows${taken}; nothing was imported`);
      }
      const snapshot = this.latest(group) + 1;
      const name = await this.writeParquet(group, snapshot, columns);
      const left = refused.rows > 0 && { quarantined: refused.rows, refused: refused.ranges };
      this.add(group, { snapshot, addedTime: now, file: name, rows, source, ...left });
      if (before && refused.rows === 0) rmSync(refused.path, { force: true });
      return { snapshot, rows, added: true, ...refusals, violations: profile.violations(now) };
    } finally {
      refused.close();
      await this.db.run('DROP TABLE IF EXISTS imported');
    }
  }

  /** Gives the name of the file that then holds what was imported. */
  private async writeParquet(group: FeatureGroupSchema, snapshot: number, columns: readonly ImportColumn[]): Promise<string> {
    const folder = this.data.offline(group);
    const name = `${String(snapshot).padStart(8, '0')}.parquet`;
    const unfinished = unfinishedPath(join(folder, name));
    try {
      await this.writeDigests(group);
      const selected = columns.map(({ name: column, type }) => (type === 'time' ? `make_timestamptz(${identifier(column)} * 1000) AS ${column}` : identifier(column)));
      const whole = `SELECT ${selected.join(', ')}, ${OfflineColumn.ROW_DIGEST} FROM imported JOIN digests USING (${ROW}) ORDER BY ${ROW}`;
      await this.db.run(`COPY (${whole}) TO ${literal(unfinished)} (FORMAT parquet, COMPRESSION zstd)`);
      syncPath(unfinished);
      commit(unfinished, join(folder, name));
    } finally {
      rmSync(unfinished, { force: true });
      await this.db.run('DROP TABLE IF EXISTS digests');
    }
    return name;
  }

  /** Rows that the snapshots after `after` added, in pieces, each with the snapshot that it came with. */
  async* rowsAfter(group: FeatureGroupSchema, after: number): AsyncGenerator<{ snapshot: number; rows: FeatureWrite[]; lastOfSnapshot: boolean }> {
    const keys = group.entityKeys.map(({ name }) => `CAST(${identifier(name)} AS VARCHAR)`);
    const features = group.features.map(({ name, dtype }) => (dtype === 'int64' ? `CAST(${identifier(name)} AS VARCHAR)` : identifier(name)));
    for (const { snapshot, file } of this.entries(group).filter((entry) => entry.snapshot > after)) {
      const path = join(this.data.offline(group), file);
      const known = new Set((await this.db.rows(`DESCRIBE SELECT * FROM read_parquet(${literal(path)})`)).map((row) => String(row.column_name)));
      const columns = group.features.map(({ name }, at) => (known.has(name) ? features[at] : 'NULL'));
      const sql = `SELECT epoch_ms(event_time)::DOUBLE, epoch_ms(created_time)::DOUBLE, ${[...keys, ...columns].join(', ')} FROM read_parquet(${literal(path)})`;
      for await (const chunk of this.db.chunks(sql)) {
        const rows = chunk.getRows().map(([eventTime, createdTime, ...values]): FeatureWrite => ({
          group,
          eventTime: eventTime as number,
          createdTime: createdTime as number,
          entity: values.slice(0, keys.length) as string[],
          values: valuesOf(group.features, values.slice(keys.length) as (FeatureValue | null)[]),
        }));
        yield { snapshot, rows, lastOfSnapshot: false };
      }
      yield { snapshot, rows: [], lastOfSnapshot: true };
    }
  }

  /** Table `digests`: the digest of each row of `imported`, by {@link ROW}. */
  private async writeDigests(group: FeatureGroupSchema): Promise<void> {
    // quarantined rows leave gaps
    const last = Number((await this.db.rows(`SELECT max(${ROW}) AS last FROM imported`))[0].last);
    await this.db.run(`CREATE OR REPLACE TABLE digests (${ROW} BIGINT, ${OfflineColumn.ROW_DIGEST} VARCHAR)`);
    const digestOf = rowDigester(group);
    const features = group.features.map(({ name }) => identifier(name));
    for (let from = 1; from <= last; from += DIGESTS_AT_ONCE) {
      const piece: (readonly [bigint, string])[] = [];
      const sql = `SELECT ${[ROW, ...features].join(', ')} FROM imported WHERE ${ROW} BETWEEN ${from} AND ${from + DIGESTS_AT_ONCE - 1}`;
      for await (const chunk of this.db.chunks(sql)) {
        for (const [row, ...values] of chunk.getRows()) piece.push([row as bigint, digestOf(values as (FeatureValue | bigint | null)[])]);
      }
      await this.db.append('digests', piece);
    }
  }

  /** Removes what an import that died left: unfinished files, and a finished one that no entry names. */
  private removeOrphans(group: FeatureGroupSchema): void {
    const folder = this.data.offline(group);
    removeUnfinished(folder);
    removeUnfinished(this.folder(group));
    const named = new Set(this.entries(group).map(({ file }) => file));
    for (const name of readdirSync(folder)) if (name.endsWith('.parquet') && !named.has(name)) rmSync(join(folder, name));
  }
}

function valuesOf(features: readonly FeatureSchema[], values: readonly (FeatureValue | null)[]): Record<string, FeatureValue | null> {
  return Object.fromEntries(features.map(({ name }, at) => [name, values[at] ?? null]));
}
