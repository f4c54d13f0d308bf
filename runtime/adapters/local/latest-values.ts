/** The latest valid values of a group in the embedded offline store, by the SQL of backfills. */
import type { DuckDb } from './duckdb';
import type { OfflineLog } from './offline-log';
import type { BackfillQuestion, FeatureGroupSchema } from '../../../src/contract';
import { backfillSql } from '../../core/backfill/backfill-query';
import { DUCKDB, parquetFiles } from '../../core/offline/query-engine';

export type LatestValuesQuestion = Pick<BackfillQuestion, 'asOf' | 'sample'>;

/** One line for each entity, in the form that Athena unloads. Nothing where nothing was imported. */
export async function* latestLines(db: DuckDb, log: OfflineLog, group: FeatureGroupSchema, question: LatestValuesQuestion): AsyncGenerator<string> {
  const paths = log.paths(group);
  if (paths.length === 0) return;
  const sql = parquetFiles(paths);
  const columns = (await db.rows(`DESCRIBE SELECT * FROM ${sql}`)).map((row) => String(row.column_name));
  const query = backfillSql(DUCKDB, { group, ...question }, { sql, columns });
  for await (const chunk of db.chunks(query)) {
    for (const row of chunk.getRowObjects(columnsOf(group))) {
      // wide integers come as text already, and times are exact as numbers
      yield JSON.stringify(row, (_, value: unknown) => (typeof value === 'bigint' ? Number(value) : value));
    }
  }
}

function columnsOf({ entityKeys, features }: FeatureGroupSchema): string[] {
  return [...entityKeys, ...features].map(({ name }) => name).concat('event_time', 'created_time');
}
