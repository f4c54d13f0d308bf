/**
 * The statements that make, evolve and maintain an offline table, from one model for two engines: Athena (which is what AWS has) and Trino
 * (the engine behind it, on which tests run what both understand).
 *
 * Sources: Athena user guide, "Create Iceberg tables", "ALTER TABLE ADD COLUMNS", "OPTIMIZE", "VACUUM"; Trino documentation, "Iceberg connector".
 */
import { OfflineColumn, offlineColumns, type OfflineGroup, type OfflineTableColumn, offlineTableName, type OfflineType } from '../../../src/contract';

/** One Iceberg table: format version 2, parquet, rows only ever appended. */
export interface OfflineTable {
  readonly database: string;
  readonly name: string;
  /** `s3://…/`: where metadata and data are. */
  readonly location: string;
  readonly columns: readonly OfflineTableColumn[];
  /** A day of event time is one partition: what a training set of a quarter reads, and what ages at once. */
  readonly partitionedBy: readonly string[];
  /**
   * Entity keys, then event time: as the join looks rows up. Athena's DDL has no word for it, so that only Trino's tables are sorted
   * (docs/adr/0051): nothing may rely on it.
   */
  readonly sortedBy: readonly string[];
}

/** Where a table is, and how long its past stays readable. */
export interface OfflinePlace {
  readonly database: string;
  /** `s3://bucket/prefix`, with or without `/` at its end; each table has a folder of its own below it. */
  readonly location: string;
}

/** How long snapshots stay. @default - a week, and at least one snapshot, as Iceberg does by itself */
export interface SnapshotRetention {
  /** Days after which a snapshot that is not the current one is removed. */
  readonly days: number;
  /** Snapshots that stay whatever their age. */
  readonly least: number;
}

export type Dialect = 'athena' | 'trino';

const DAY_S = 24 * 60 * 60;

/** The same nine types in both engines: what Athena's DDL calls them (Hive's words), and what Trino does. */
const TYPES: { readonly [type in OfflineType]: { readonly [dialect in Dialect]: string } } = {
  bool: { athena: 'boolean', trino: 'boolean' },
  int32: { athena: 'int', trino: 'integer' },
  int64: { athena: 'bigint', trino: 'bigint' },
  float32: { athena: 'float', trino: 'real' },
  float64: { athena: 'double', trino: 'double' },
  string: { athena: 'string', trino: 'varchar' },
  // Iceberg's `timestamp`: microseconds, without a zone
  time: { athena: 'timestamp', trino: 'timestamp(6)' },
};

/** The table of a group's version. */
export function offlineTable(group: OfflineGroup, place: OfflinePlace): OfflineTable {
  const name = offlineTableName(group);
  return {
    database: place.database,
    name,
    location: `${place.location.replace(/\/+$/, '')}/${name}/`,
    columns: offlineColumns(group),
    partitionedBy: [`day(${OfflineColumn.EVENT_TIME})`],
    sortedBy: [...group.entityKeys.map((key) => key.name), OfflineColumn.EVENT_TIME],
  };
}

/** What an engine calls a type. */
export function sqlType(type: OfflineType, dialect: Dialect): string {
  return TYPES[type][dialect];
}

/** A name as the engine's DDL quotes it: Athena's (Hive's) with backticks, Trino's with double quotes. Athena's DML is Trino's. */
export function quoted(name: string, dialect: Dialect): string {
  return dialect === 'athena' ? `\`${name.replace(/`/g, '``')}\`` : `"${name.replace(/"/g, '""')}"`;
}

/** Makes the table, and leaves alone one that is there. */
export function createTable(table: OfflineTable, dialect: Dialect, retention?: SnapshotRetention): string {
  const columns = table.columns.map((column) => `  ${definition(column, dialect)}`).join(',\n');
  const head = `CREATE TABLE IF NOT EXISTS ${tableOf(table, dialect)} (\n${columns}\n)`;
  if (dialect === 'trino') {
    const properties = [
      "format = 'PARQUET'",
      'format_version = 2',
      `partitioning = ${array(table.partitionedBy)}`,
      `sorted_by = ${array(table.sortedBy.map((name) => quoted(name, dialect)))}`,
    ];
    return `${head}\nWITH (\n${properties.map((property) => `  ${property}`).join(',\n')}\n)`;
  }
  const properties = [
    "'table_type' = 'ICEBERG'",
    "'format' = 'parquet'",
    "'write_compression' = 'zstd'",
    ...retention ? retentionProperties(retention) : [],
  ];
  return [
    head,
    `PARTITIONED BY (${table.partitionedBy.join(', ')})`,
    `LOCATION ${text(table.location)}`,
    `TBLPROPERTIES (\n${properties.map((property) => `  ${property}`).join(',\n')}\n)`,
  ].join('\n');
}

/** Adds columns that the table lacks; their values are null in every row that is there. Athena takes all in one statement, Trino one at a time. */
export function addColumns(table: OfflineTable, columns: readonly OfflineTableColumn[], dialect: Dialect): string[] {
  if (columns.length === 0) return [];
  const definitions = columns.map((column) => definition(column, dialect));
  if (dialect === 'athena') return [`ALTER TABLE ${tableOf(table, dialect)} ADD COLUMNS (${definitions.join(', ')})`];
  return definitions.map((one) => `ALTER TABLE ${tableOf(table, dialect)} ADD COLUMN ${one}`);
}

/** Says how long snapshots stay, to an engine that keeps it with the table; Trino is told with each removal ({@link removeSnapshots}). */
export function setRetention(table: OfflineTable, retention: SnapshotRetention): string {
  return `ALTER TABLE ${tableOf(table, 'athena')} SET TBLPROPERTIES (${retentionProperties(retention).join(', ')})`;
}

/** Rewrites small files into large ones: the same rows. Its cost is that of the partitions that it looks at, hence the bounds. */
export function compact(table: OfflineTable, dialect: Dialect, days?: { readonly from: string; readonly to: string }): string {
  const where = days === undefined ? '' : ` WHERE ${quoted(OfflineColumn.EVENT_TIME, 'trino')} >= timestamp '${midnight(days.from)}'`
    + ` AND ${quoted(OfflineColumn.EVENT_TIME, 'trino')} < timestamp '${midnight(days.to)}'`;
  // OPTIMIZE and VACUUM are DML: names are quoted as Trino quotes them
  const name = tableOf(table, 'trino');
  return dialect === 'athena' ? `OPTIMIZE ${name} REWRITE DATA USING BIN_PACK${where}` : `ALTER TABLE ${name} EXECUTE optimize${where}`;
}

/** Removes snapshots beyond their retention, then files that nothing refers to. Athena does both at once, with the retention that the table has. */
export function removeSnapshots(table: OfflineTable, dialect: Dialect, retention: SnapshotRetention): string[] {
  const name = tableOf(table, 'trino');
  if (dialect === 'athena') return [`VACUUM ${name}`];
  const threshold = `retention_threshold => '${retention.days}d'`;
  return [`ALTER TABLE ${name} EXECUTE expire_snapshots(${threshold})`, `ALTER TABLE ${name} EXECUTE remove_orphan_files(${threshold})`];
}

function definition({ name, type }: OfflineTableColumn, dialect: Dialect): string {
  return `${quoted(name, dialect)} ${sqlType(type, dialect)}`;
}

function tableOf({ database, name }: OfflineTable, dialect: Dialect): string {
  return `${quoted(database, dialect)}.${quoted(name, dialect)}`;
}

/** Athena user guide, "Iceberg table properties": the names of what Iceberg calls `history.expire.…`. */
function retentionProperties({ days, least }: SnapshotRetention): string[] {
  return [`'vacuum_max_snapshot_age_seconds' = '${days * DAY_S}'`, `'vacuum_min_snapshots_to_keep' = '${least}'`];
}

function array(items: readonly string[]): string {
  return `ARRAY[${items.map(text).join(', ')}]`;
}

function text(value: string): string {
  return `'${value.replace(/'/g, "''")}'`;
}

function midnight(day: string): string {
  if (!/^\d{4}-\d{2}-\d{2}$/.test(day)) throw new RangeError(`a day is written like 2026-01-31, got '${day}'`);
  return `${day} 00:00:00`;
}
