/**
 * The two engines that read the offline store, and where their SQL differs: Trino (whose SELECT is Athena's), and DuckDB for the embedded store.
 * Everything else of a query is the same text for both.
 *
 * Sources: Trino documentation, "SELECT", "Iceberg connector: time travel"; Athena user guide, "Version travel queries" (a bigint snapshot id only);
 * DuckDB documentation, "Reading parquet files", "ASOF join".
 */
import { type FeatureDtype, OfflineColumn, type OfflineType } from '../../../src/contract';
import { refuse } from '../errors';

/** Where a query finds rows: something that stands in a FROM clause. */
export interface Relation {
  readonly sql: string;
  /** Columns that are there: a snapshot has only those of its time. @default - all */
  readonly columns?: readonly string[];
}

/** An engine's own words. */
export interface QueryEngine {
  readonly name: 'trino' | 'duckdb';
  readonly types: { readonly [type in OfflineType]: string };
  /** A column with a time, as what {@link momentOf} and {@link before} understand. */
  time(column: string): string;
  /** That, from milliseconds since the epoch. */
  momentOf(ms: number): string;
  /** A moment, some seconds earlier. */
  before(moment: string, seconds: number): string;
  /** Bytes of a value, as {@link rowDigestSql} wants them. */
  bytes(type: OfflineType, value: string): string;
  /** One byte. */
  byte(value: number): string;
  /** SHA-256 of bytes, 64 lower-case hexadecimal digits. */
  sha256(bytes: string): string;
  /** Bytes of a text in UTF-8. */
  utf8(text: string): string;
  /** Texts of a group, in their order, one after the other. */
  concatenated(text: string): string;
}

const EPOCH = "TIMESTAMP '1970-01-01 00:00:00.000000'";

/** Trino 476, and Athena's engine version 3. Times are `timestamp(6)`. */
export const TRINO: QueryEngine = {
  name: 'trino',
  types: { bool: 'boolean', int32: 'integer', int64: 'bigint', float32: 'real', float64: 'double', string: 'varchar', time: 'timestamp(6)' },
  time: (column) => column,
  momentOf: (ms) => `TIMESTAMP '${new Date(ms).toISOString().replace('T', ' ').replace('Z', '')}000'`,
  before: (moment, seconds) => `${moment} - INTERVAL '${seconds}' SECOND`,
  bytes(type, value) {
    switch (type) {
      case 'bool': return `CASE WHEN ${value} THEN X'01' ELSE X'00' END`;
      case 'int32': return `to_big_endian_32(${value})`;
      case 'int64': return `to_big_endian_64(${value})`;
      case 'float32': return `to_ieee754_32(${oneZero(value, 'real')})`;
      case 'float64': return `to_ieee754_64(${oneZero(value, 'double')})`;
      case 'string': return `to_big_endian_64(length(to_utf8(${value}))) || to_utf8(${value})`;
      case 'time': return `to_big_endian_64(date_diff('millisecond', ${EPOCH}, ${value}))`;
    }
  },
  byte: (value) => `X'${hex(value)}'`,
  sha256: (bytes) => `lower(to_hex(sha256(${bytes})))`,
  utf8: (text) => `to_utf8(${text})`,
  concatenated: (text) => `array_join(array_agg(${text} ORDER BY ${text}), '')`,
};

/** DuckDB 1.5. Moments are microseconds since the epoch: it compares integers faster than times, and reads times with and without a zone alike. */
export const DUCKDB: QueryEngine = {
  name: 'duckdb',
  types: { bool: 'BOOLEAN', int32: 'INTEGER', int64: 'BIGINT', float32: 'FLOAT', float64: 'DOUBLE', string: 'VARCHAR', time: 'TIMESTAMP' },
  time: (column) => `epoch_us(${column})`,
  momentOf: (ms) => `${BigInt(ms) * 1000n}`,
  before: (moment, seconds) => `${moment} - ${seconds * 1_000_000}`,
  bytes(type, value) {
    // a BIT is the bits of a number, most significant first
    switch (type) {
      case 'bool': return `CASE WHEN ${value} THEN unhex('01') ELSE unhex('00') END`;
      case 'int32': case 'int64': return `(${value})::BIT::BLOB`;
      case 'float32': return `(${oneZero(value, 'FLOAT')})::BIT::BLOB`;
      case 'float64': return `(${oneZero(value, 'DOUBLE')})::BIT::BLOB`;
      case 'string': return `strlen(${value})::BIGINT::BIT::BLOB || encode(${value})`;
      case 'time': return `epoch_ms(${value})::BIT::BLOB`;
    }
  },
  byte: (value) => `unhex('${hex(value)}')`,
  sha256: (bytes) => `sha256(${bytes})`,
  utf8: (text) => `encode(${text})`,
  concatenated: (text) => `string_agg(${text}, '' ORDER BY ${text})`,
};

/** An Iceberg table, as of a snapshot where one is named. Snapshot ids exceed 2^53, hence text. */
export function icebergTable(database: string, table: string, snapshot?: string): string {
  if (snapshot !== undefined && !/^[0-9]{1,19}$/.test(snapshot)) refuse('INVALID_PARAMETER', `a snapshot id of Iceberg is a whole number, got '${snapshot}'`);
  return `${identifier(database)}.${identifier(table)}${snapshot === undefined ? '' : ` FOR VERSION AS OF ${snapshot}`}`;
}

/** Parquet files, oldest first, as one table with the columns of all of them. */
export function parquetFiles(paths: readonly string[]): string {
  return `read_parquet([${paths.map(literal).join(', ')}], union_by_name = true)`;
}

/** A column or table name. */
export function identifier(value: string): string {
  return `"${value.replace(/"/g, '""')}"`;
}

/** A text literal. */
export function literal(value: string): string {
  return `'${value.replace(/'/g, "''")}'`;
}

/** A value of a feature; a number in the form that JavaScript gives it, which both engines read as exactly that number. */
export function typedLiteral(engine: QueryEngine, dtype: FeatureDtype, given: boolean | number | string): string {
  const written = dtype === 'float32' ? Math.fround(given as number) : given;
  return `CAST(${literal(String(written))} AS ${engine.types[dtype]})`;
}

/** A column of the relation; null where the relation does not have it. */
export function columnSql(engine: QueryEngine, relation: Relation, wanted: { readonly name: string; readonly type: OfflineType }): string {
  if (relation.columns === undefined || relation.columns.includes(wanted.name)) return identifier(wanted.name);
  return `CAST(NULL AS ${engine.types[wanted.type]})`;
}

/** The digest column, empty where files are older than it: such rows are the smallest of their instant. */
export function digestColumn(engine: QueryEngine, relation: Relation): string {
  return `COALESCE(${columnSql(engine, relation, { name: OfflineColumn.ROW_DIGEST, type: 'string' })}, '')`;
}

/** -0 is 0, and there is one NaN. */
function oneZero(number: string, type: string): string {
  return `CASE WHEN ${number} = 0 THEN CAST(0 AS ${type}) WHEN ${number} <> ${number} THEN CAST('NaN' AS ${type}) ELSE ${number} END`;
}

function hex(byte: number): string {
  return byte.toString(16).padStart(2, '0');
}
