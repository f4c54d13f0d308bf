/** What Athena is asked for a backfill or a consistency check: the latest valid values, in a form that JSON lines hold exactly. */
import { type BackfillQuestion, OfflineColumn, offlineColumns, type OfflineTableColumn, offlineTableName } from '../../../src/contract';
import { consistencySampleSql, latestValuesSql } from '../offline/latest-values';
import { icebergTable, identifier, type QueryEngine, type Relation, TRINO } from '../offline/query-engine';

/** The SELECT over an Iceberg table at its snapshot. Fails with INVALID_PARAMETER. */
export function backfillQuery(question: BackfillQuestion): string {
  const { group, database, snapshot } = question;
  return backfillSql(TRINO, question, { sql: icebergTable(database, offlineTableName(group), snapshot) });
}

/** The same over any relation, for either engine. Columns are those of the table without the digest, which writers compute by themselves. */
export function backfillSql(engine: QueryEngine, { group, asOf, createdFrom, sample }: Omit<BackfillQuestion, 'database' | 'snapshot'>, rows: Relation): string {
  const latest = { group, rows, asOf, createdFrom };
  const values = sample ? consistencySampleSql(engine, { ...latest, ...sample }) : latestValuesSql(engine, latest);
  const columns = offlineColumns(group).filter(({ name }) => name !== OfflineColumn.ROW_DIGEST);
  const keys = new Set(group.entityKeys.map(({ name }) => name));
  return `SELECT ${columns.map((column) => exact(engine, column, keys.has(column.name))).join(', ')}\nFROM (\n${values}\n)`;
}

/** JSON's numbers are read as doubles: wide integers travel as text. */
function exact(engine: QueryEngine, { name, type }: OfflineTableColumn, isKey: boolean): string {
  const column = identifier(name);
  if (type === 'time') return `${engine.name === 'trino' ? milliseconds(column) : `epoch_ms(${column})`} AS ${column}`;
  return type === 'int64' || isKey ? `CAST(${column} AS ${engine.types.string}) AS ${column}` : column;
}

/** Rounded down, as DuckDB does. */
function milliseconds(column: string): string {
  return `date_diff('millisecond', TIMESTAMP '1970-01-01 00:00:00.000000', ${column})`;
}
