/**
 * Reading a parquet, CSV or JSON Lines file into typed columns. Every value is first read as text, so that nothing is rounded, guessed or
 * dropped on the way, and one that does not fit its type is reported with its row.
 */
import { existsSync } from 'node:fs';
import { extname } from 'node:path';
import { type DuckDb, identifier, literal } from './duckdb';
import { messageOf, reject } from './local-errors';

export type ColumnType = 'bool' | 'int32' | 'int64' | 'float32' | 'float64' | 'string' | 'time' | { readonly vector: number };

export interface ImportColumn {
  readonly name: string;
  readonly type: ColumnType;
  /** What a person reads in an error, e.g. `feature 'age'`. */
  readonly what: string;
  /** No row may lack it. */
  readonly required: boolean;
  /** The whole column may be missing: it is null then, or `absent`. */
  readonly optional?: boolean;
  /** SQL for a row without a value. @default - null */
  readonly absent?: string;
}

/** Problems that one error text names before it stops counting them up. */
const SHOWN_PROBLEMS = 5;

/** Position of the row in the file, from 1 and without the header. */
export const ROW = 'row_number';

/**
 * Creates table `name` with the typed columns and {@link ROW}. Fails with FILE_NOT_FOUND, UNREADABLE_FILE, MISSING_COLUMN, UNKNOWN_COLUMN or
 * INVALID_VALUE; then no table is left.
 */
export async function importTable(db: DuckDb, name: string, file: string, columns: readonly ImportColumn[]): Promise<number> {
  if (!existsSync(file)) reject('FILE_NOT_FOUND', `${file} does not exist`);
  const raw = identifier(`${name} as text`);
  const table = identifier(name);
  const present = await presentColumns(db, file, columns);
  try {
    const texts = columns.map((column) => `CAST(${present.has(column.name) ? identifier(column.name) : 'NULL'} AS VARCHAR) AS ${identifier(column.name)}`);
    await reading(file, db.run(`CREATE TEMP TABLE ${raw} AS SELECT row_number() OVER () AS ${ROW}, ${texts.join(', ')} FROM ${sourceSql(file, [...present])}`));
    const typed = columns.map((column) => `${typedSql(column)} AS ${identifier(column.name)}`);
    await db.run(`CREATE TEMP TABLE ${table} AS SELECT ${ROW}, ${typed.join(', ')} FROM ${raw} ORDER BY ${ROW}`);
    await requireValues(db, raw, table, columns);
    return Number((await db.rows(`SELECT count(*) AS count FROM ${table}`))[0].count);
  } catch (error) {
    await db.run(`DROP TABLE IF EXISTS ${table}`);
    throw error;
  } finally {
    await db.run(`DROP TABLE IF EXISTS ${raw}`);
  }
}

async function presentColumns(db: DuckDb, file: string, columns: readonly ImportColumn[]): Promise<Set<string>> {
  const rows = await reading(file, db.rows(`DESCRIBE SELECT * FROM ${sourceSql(file)}`));
  const present = rows.map((row) => String(row.column_name));
  const declared = columns.map(({ name }) => name);
  const missing = columns.filter(({ name, optional }) => !optional && !present.includes(name));
  if (missing.length > 0) {
    reject('MISSING_COLUMN', `${file} lacks ${missing.map(({ what }) => what).join(', ')}; it has the columns ${present.join(', ')}`);
  }
  const unknown = present.filter((column) => !declared.includes(column));
  if (unknown.length > 0) {
    reject('UNKNOWN_COLUMN', `${file} has the column ${unknown.map((column) => `'${column}'`).join(', ')}, which is not declared; the columns are ${declared.join(', ')}`);
  }
  return new Set(present);
}

/** @param columns read these as text; otherwise the file's own types */
function sourceSql(file: string, columns?: readonly string[]): string {
  const path = literal(file);
  switch (extname(file).toLowerCase()) {
    case '.parquet':
      return `read_parquet(${path})`;
    case '.csv':
      // an empty field is no value, a quoted empty one is the empty text
      return `read_csv(${path}, header = true, all_varchar = true, allow_quoted_nulls = false, auto_detect = true)`;
    case '.jsonl':
    case '.ndjson':
      return columns
        ? `read_json(${path}, format = 'newline_delimited', columns = {${columns.map((column) => `${literal(column)}: 'VARCHAR'`).join(', ')}})`
        : `read_json(${path}, format = 'newline_delimited', sample_size = -1)`;
    default:
      return reject('UNREADABLE_FILE', `${file} must end with .parquet, .csv or .jsonl`);
  }
}

async function reading<T>(file: string, result: Promise<T>): Promise<T> {
  return result.catch((error: unknown) => reject('UNREADABLE_FILE', `${file}: ${messageOf(error).split('\n')[0]}`, error));
}

/** SQL of the value; null where the text does not fit the type. */
function typedSql({ name, type, absent }: ImportColumn): string {
  const text = identifier(name);
  const value = castSql(text, type);
  return absent === undefined ? value : `CASE WHEN ${text} IS NULL THEN ${absent} ELSE ${value} END`;
}

function castSql(text: string, type: ColumnType): string {
  if (typeof type === 'object') {
    const list = `TRY_CAST(${text} AS FLOAT[])`;
    return `CASE WHEN len(${list}) = ${type.vector} AND list_bool_and(list_transform(${list}, lambda x: x IS NOT NULL AND isfinite(x))) THEN ${list} END`;
  }
  switch (type) {
    case 'string':
      return text;
    case 'bool':
      return `CASE lower(${text}) WHEN 'true' THEN true WHEN '1' THEN true WHEN 'false' THEN false WHEN '0' THEN false END`;
    case 'int32':
    case 'int64':
      // a cast alone would round 1.5 to 2; tables with gaps often hold whole numbers as 3.0
      return `CASE WHEN regexp_full_match(${text}, '[+-]?[0-9]+(\\.0*)?') THEN TRY_CAST(regexp_replace(${text}, '\\.0*$', '') AS ${type === 'int32' ? 'INTEGER' : 'BIGINT'}) END`;
    case 'float32':
    case 'float64': {
      const number = `TRY_CAST(${text} AS ${type === 'float32' ? 'FLOAT' : 'DOUBLE'})`;
      return `CASE WHEN isfinite(${number}) THEN ${number} END`;
    }
    case 'time': {
      // epoch seconds below 1e11 (the year 5138), milliseconds from there (1973) up to 1e14
      const epoch = `TRY_CAST(${text} AS DOUBLE)`;
      return `CASE WHEN ${epoch} IS NULL THEN epoch_ms(TRY_CAST(${text} AS TIMESTAMPTZ)) `
        + `WHEN abs(${epoch}) < 1e11 THEN CAST(round(${epoch} * 1000) AS BIGINT) WHEN abs(${epoch}) < 1e14 THEN CAST(round(${epoch}) AS BIGINT) END`;
    }
  }
}

function describeType(type: ColumnType): string {
  if (typeof type === 'object') return `a list of ${type.vector} finite numbers`;
  return type === 'time' ? 'a time (ISO 8601, or epoch seconds or milliseconds)' : type;
}

async function requireValues(db: DuckDb, raw: string, table: string, columns: readonly ImportColumn[]): Promise<void> {
  const wrong = columns.map(({ name, required, absent }) => {
    const column = identifier(name);
    const unfit = `(typed.${column} IS NULL AND given.${column} IS NOT NULL)`;
    return required && absent === undefined ? `(typed.${column} IS NULL)` : unfit;
  });
  const from = `FROM ${table} AS typed JOIN ${raw} AS given USING (${ROW}) WHERE ${wrong.join(' OR ')}`;
  const count = Number((await db.rows(`SELECT count(*) AS count ${from}`))[0].count);
  if (count === 0) return;
  const shown = wrong.map((condition, at) => `${condition} AS wrong_${at}, substr(given.${identifier(columns[at].name)}, 1, 64) AS text_${at}`);
  const rows = await db.rows(`SELECT ${ROW}, ${shown.join(', ')} ${from} ORDER BY ${ROW} LIMIT ${SHOWN_PROBLEMS}`);
  const problems = rows.flatMap((row) => columns.flatMap(({ what, type }, at) => {
    if (row[`wrong_${at}`] !== true) return [];
    const text = row[`text_${at}`];
    return [`row ${row[ROW]}: ${what} ${text === null ? 'has no value' : `must be ${describeType(type)}, got '${text}'`}`];
  }));
  const more = count > rows.length ? ` (and ${count - rows.length} more rows)` : '';
  reject('INVALID_VALUE', `${problems.slice(0, SHOWN_PROBLEMS).join('; ')}${more}; nothing was imported`);
}
