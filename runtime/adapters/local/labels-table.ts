/** Labels of a training set: any file of parquet, CSV or JSON Lines, typed once and for all. */
import { extname } from 'node:path';
import { type DuckDb, identifier, literal } from './duckdb';
import { requireFile } from './durable-files';
import { messageOf, reject } from './local-errors';
import { type ColumnType, type ImportColumn, importTable, ROW } from './table-import';
import type { TypedColumn } from '../../core/offline/as-of-join';

/** What DuckDB finds in a file, as a column of labels; text is what neither counts nor measures. */
const TYPES: Readonly<Record<string, Exclude<ColumnType, object>>> = {
  'BOOLEAN': 'bool',
  'TINYINT': 'int32',
  'UTINYINT': 'int32',
  'SMALLINT': 'int32',
  'USMALLINT': 'int32',
  'INTEGER': 'int32',
  'UINTEGER': 'int64',
  'BIGINT': 'int64',
  'FLOAT': 'float32',
  'DOUBLE': 'float64',
  'VARCHAR': 'string',
  'DATE': 'string',
  'TIME': 'string',
  'UUID': 'string',
  'JSON': 'string',
  'TIMESTAMP': 'time',
  'TIMESTAMP_S': 'time',
  'TIMESTAMP_MS': 'time',
  'TIMESTAMP_NS': 'time',
  'TIMESTAMP WITH TIME ZONE': 'time',
};

/**
 * Writes the labels of `file` to parquet at `target`, in their order, and says which columns they have. Times are kept in milliseconds, as those of
 * features are. Fails with FILE_NOT_FOUND, UNREADABLE_FILE, MISSING_COLUMN or INVALID_VALUE.
 */
export async function writeLabels(
  db: DuckDb, file: string, target: string, time: string, keys: ReadonlyMap<string, 'string' | 'int64'>,
): Promise<readonly TypedColumn[]> {
  const found = await naturalTypes(db, file);
  const lacking = [time, ...keys.keys()].filter((name) => !found.has(name));
  if (lacking.length > 0) {
    reject('MISSING_COLUMN', `${file} lacks ${lacking.map((name) => `'${name}'`).join(', ')}; it has the columns ${[...found.keys()].join(', ')}`);
  }
  const columns = [...found].map(([name, natural]): ImportColumn & TypedColumn => {
    const key = keys.get(name);
    const type = name === time ? 'time' : key ?? TYPES[natural]
      ?? reject('INVALID_VALUE', `column '${name}' of ${file} is ${natural}, which a training set does not keep: cast it to a number, a text or a time`);
    return { name, type, what: `column '${name}'`, required: name === time };
  });
  const rows = await importTable(db, 'label_import', file, columns);
  try {
    if (rows === 0) reject('INVALID_VALUE', `${file} holds no labels`);
    const selected = columns.map(({ name, type }) => (type === 'time' ? `make_timestamp(${identifier(name)} * 1000) AS ${identifier(name)}` : identifier(name)));
    await db.run(`COPY (SELECT ${selected.join(', ')} FROM label_import ORDER BY ${ROW}) TO ${literal(target)} (FORMAT parquet, COMPRESSION zstd)`);
  } finally {
    await db.run('DROP TABLE IF EXISTS label_import');
  }
  return columns.map(({ name, type }) => ({ name, type }));
}

/** Columns of the file in their order, and the types that DuckDB finds in it. */
async function naturalTypes(db: DuckDb, file: string): Promise<Map<string, string>> {
  requireFile(file);
  const rows = await db.rows(`DESCRIBE SELECT * FROM ${readerOf(file)}`)
    .catch((error: unknown) => reject('UNREADABLE_FILE', `${file}: ${messageOf(error).split('\n')[0]}`, error));
  return new Map(rows.map((row) => [String(row.column_name), String(row.column_type)]));
}

function readerOf(file: string): string {
  switch (extname(file).toLowerCase()) {
    case '.parquet': return `read_parquet(${literal(file)})`;
    case '.csv': return `read_csv(${literal(file)}, header = true, sample_size = -1, allow_quoted_nulls = false)`;
    case '.jsonl': case '.ndjson': return `read_json(${literal(file)}, format = 'newline_delimited', sample_size = -1)`;
    default: return reject('UNREADABLE_FILE', `${file} must end with .parquet, .csv or .jsonl`);
  }
}
