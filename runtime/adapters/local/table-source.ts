/**
 * A parquet, CSV or JSON Lines file as a table of texts: every value as it stands there, so that nothing is rounded, guessed or dropped on
 * the way. A line that is none of its format is a row too, one that says so: the lines around it are not to blame.
 */
import { closeSync, createReadStream, createWriteStream, openSync, readSync, rmSync } from 'node:fs';
import { extname, join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { type DuckDb, identifier, literal } from './duckdb';
import { requireFile } from './durable-files';
import { jsonLines, LONGEST_LINE, NO_OBJECT } from './json-lines';
import { messageOf, reject } from './local-errors';

/** Position of the row in the file, from 1 and without the header. */
export const ROW = 'row_number';
/** Of JSON Lines: the line, and the first of its members that has a value and is not declared. No declared name has a blank. */
export const LINE = '"the line"';
export const UNKNOWN = '"the unknown column"';

export interface SourceColumn {
  readonly name: string;
  /** What a person reads in an error, e.g. `feature 'age'`. */
  readonly what: string;
  /** The whole column may be missing: it is null then. */
  readonly optional?: boolean;
  /** No row may lack it. */
  readonly required: boolean;
}

/** A line that cannot be read. */
export interface UnreadableLine {
  readonly row: number;
  readonly text: string;
  readonly line: string;
}

/** What no line of JSON holds: for DuckDB, each is a table's only column. */
const [DELIMITER, NULL_TEXT] = ['\x01', '\x02'];
/** Separators of CSV, the usual one first. */
const DELIMITERS = [',', '\t', ';', '|'];
const HEADER_BYTES = 256 * 1024;
/** Tables in which DuckDB keeps the lines of CSV that it could not read. */
const [REJECTS, SCANS] = ['rejected_lines', 'rejected_scans'];

/**
 * Creates table `raw` with {@link ROW}, a text for each column, {@link LINE} and {@link UNKNOWN}; what it cannot hold comes back.
 * Fails with FILE_NOT_FOUND, UNREADABLE_FILE, MISSING_COLUMN or UNKNOWN_COLUMN.
 *
 * @param sparse a line of JSON may lack what is not required
 */
export async function readTexts(db: DuckDb, raw: string, file: string, columns: readonly SourceColumn[], sparse: boolean): Promise<UnreadableLine[]> {
  requireFile(file);
  switch (extname(file).toLowerCase()) {
    case '.parquet': {
      const source = `read_parquet(${literal(file)})`;
      const described = await reading(file, db.rows(`DESCRIBE SELECT * FROM ${source}`));
      await createRaw(db, raw, file, source, columns, presentColumns(file, described.map((row) => String(row.column_name)), columns));
      return [];
    }
    case '.csv':
      return readCsv(db, raw, file, columns);
    case '.jsonl':
    case '.ndjson':
      return readLines(db, raw, file, columns, sparse);
    default:
      return reject('UNREADABLE_FILE', `${file} must end with .parquet, .csv or .jsonl`);
  }
}

async function createRaw(
  db: DuckDb, raw: string, file: string, source: string, columns: readonly SourceColumn[], present: ReadonlySet<string>,
): Promise<void> {
  const texts = columns.map(({ name }) => `CAST(${present.has(name) ? identifier(name) : 'NULL'} AS VARCHAR) AS ${identifier(name)}`);
  await reading(file, db.run(`CREATE TEMP TABLE ${raw} AS
    SELECT row_number() OVER () AS ${ROW}, ${texts.join(', ')}, NULL::VARCHAR AS ${LINE}, NULL::VARCHAR AS ${UNKNOWN} FROM ${source}`));
}

/** Without any guess but the separator, which the header tells. An empty field is no value, a quoted empty one is the empty text. */
async function readCsv(db: DuckDb, raw: string, file: string, columns: readonly SourceColumn[]): Promise<UnreadableLine[]> {
  const header = firstLine(file);
  const split = DELIMITERS.map((delimiter) => ({ delimiter, names: splitHeader(header, delimiter) }));
  const known = ({ names }: typeof split[number]) => names.filter((name) => columns.some((column) => column.name === name)).length;
  const { delimiter, names } = split.reduce((best, next) => (known(next) > known(best) ? next : best));
  const present = presentColumns(file, names, columns);
  const types = names.map((name) => `${literal(name)}: 'VARCHAR'`).join(', ');
  const create = (path: string) => createRaw(db, raw, file, `read_csv(${literal(path)}, auto_detect = false, header = true, columns = {${types}}, delim = ${literal(delimiter)},
    quote = '"', escape = '"', allow_quoted_nulls = false, max_line_size = ${LONGEST_LINE},
    store_rejects = true, rejects_table = '${REJECTS}', rejects_scan = '${SCANS}')`, columns, present);
  const copy = join(db.folder, 'lines.csv');
  try {
    await create(file).catch(async () => {
      await pipeline(createReadStream(file), oneLineEnd, createWriteStream(copy, { mode: 0o600 }));
      await create(copy);
    });
    // a line with two faults stands there twice
    const rows = await db.rows(`SELECT line - 1 AS row, any_value(csv_line) AS line, any_value(error_message) AS text FROM ${REJECTS} GROUP BY row ORDER BY row`);
    const lines = rows.map(({ row, line, text }) => ({ row: Number(row), line: String(line).trim(), text: String(text) }));
    await makeRoom(db, raw, lines);
    return lines;
  } finally {
    for (const table of [REJECTS, SCANS]) await db.run(`DROP TABLE IF EXISTS ${table}`);
    rmSync(copy, { force: true });
  }
}

/** CRLF becomes LF, but in quotes: DuckDB reads no file that has both. */
async function* oneLineEnd(bytes: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  let quoted = false;
  let held = '';
  for await (const chunk of bytes) {
    const text = held + chunk.toString('latin1');
    held = text.endsWith('\r') ? '\r' : '';
    const whole = text.slice(0, text.length - held.length);
    yield Buffer.from(whole.replace(/"|\r\n/g, (found) => {
      if (found === '"') quoted = !quoted;
      return found === '"' || quoted ? found : '\n';
    }), 'latin1');
  }
  yield Buffer.from(held);
}

/** Rows after a line that could not be read are numbered as if it had been. */
async function makeRoom(db: DuckDb, raw: string, lines: readonly UnreadableLine[]): Promise<void> {
  if (lines.length === 0) return;
  // row n of those that were read stands behind every line that has fewer than n of them before it
  const before = lines.map(({ row }, at) => row - at - 1);
  await db.run(`UPDATE ${raw} SET ${ROW} = ${ROW} + len(list_filter([${before.join(', ')}], lambda count: count < ${ROW}))`);
}

async function readLines(db: DuckDb, raw: string, file: string, columns: readonly SourceColumn[], sparse: boolean): Promise<UnreadableLine[]> {
  const faults = new Map<number, UnreadableLine>();
  const copy = join(db.folder, 'lines.jsonl');
  try {
    await createRawOfLines(db, raw, file, columns).catch(async () => {
      // DuckDB fails at a line that it cannot read: it gets a copy in which there is none
      for (const fault of await copyReadable(file, copy)) faults.set(fault.row, fault);
      await reading(file, createRawOfLines(db, raw, copy, columns));
    });
  } finally {
    rmSync(copy, { force: true });
  }
  const rows = await db.rows(`SELECT ${ROW} AS row, ${LINE} AS line FROM ${raw} WHERE "is unreadable" ORDER BY row`);
  await db.run(`DELETE FROM ${raw} WHERE "is unreadable"`);
  await requireMembers(db, raw, file, columns, sparse);
  return rows.map(({ row, line }) => faults.get(Number(row)) ?? { row: Number(row), line: String(line), text: NO_OBJECT });
}

async function createRawOfLines(db: DuckDb, raw: string, file: string, columns: readonly SourceColumn[]): Promise<void> {
  const source = `read_csv(${literal(file)}, auto_detect = false, header = false, columns = {'line': 'VARCHAR'}, delim = '${DELIMITER}', quote = '', escape = '',
    nullstr = '${NULL_TEXT}', max_line_size = ${LONGEST_LINE})`;
  const structure = JSON.stringify(Object.fromEntries(columns.map(({ name }) => [name, 'VARCHAR'])));
  const declared = columns.map(({ name }) => literal(name)).join(', ');
  const pointer = "('/' || replace(replace(k, '~', '~0'), '/', '~1'))";
  const texts = columns.map(({ name }) => `members.${identifier(name)} AS ${identifier(name)}`);
  await db.run(`CREATE TEMP TABLE ${raw} AS
    SELECT ${ROW}, ${texts.join(', ')}, line AS ${LINE}, members IS NULL AS "is unreadable",
      list_filter(json_keys(object), lambda k: NOT list_contains([${declared}], k) AND (object ->> ${pointer}) IS NOT NULL)[1] AS ${UNKNOWN}
    FROM (SELECT *, json_transform(object, ${literal(structure)}) AS members
      FROM (SELECT row_number() OVER () AS ${ROW}, line, CASE WHEN json_valid(line) AND json_type(line) = 'OBJECT' THEN line END AS object
        FROM ${source} WHERE regexp_full_match(line, '\\s*') IS DISTINCT FROM true))`);
}

/** Writes the lines of `file` to `copy`; those that DuckDB cannot read come back, and in their place stands one that is no object. */
async function copyReadable(file: string, copy: string): Promise<UnreadableLine[]> {
  const faults: UnreadableLine[] = [];
  const readable = async function* () {
    let row = 0;
    for await (const { text: line, fault } of jsonLines(createReadStream(file))) {
      row++;
      const text = fault ?? (line.includes(DELIMITER) || line.includes(NULL_TEXT) ? NO_OBJECT : undefined);
      if (text !== undefined) faults.push({ row, line, text });
      yield text === undefined ? `${line}\n` : '0\n';
    }
  };
  await pipeline(readable, createWriteStream(copy, { mode: 0o600 }));
  return faults;
}

/** A member that no line has is a misspelt one, unless lines may lack it. */
async function requireMembers(db: DuckDb, raw: string, file: string, columns: readonly SourceColumn[], sparse: boolean): Promise<void> {
  const needed = columns.filter(({ optional, required }) => !optional && (required || !sparse));
  if (needed.length === 0) return;
  const having = (name: string) => `count(*) FILTER (list_contains(json_keys(${LINE}), ${literal(name)}))`;
  const [counts] = await db.rows(`SELECT count(*) AS "all rows", ${needed.map(({ name }) => `${having(name)} AS ${identifier(name)}`).join(', ')} FROM ${raw}`);
  const missing = needed.filter(({ name }) => Number(counts['all rows']) > 0 && Number(counts[name]) === 0);
  if (missing.length > 0) reject('MISSING_COLUMN', `${file} lacks ${missing.map(({ what }) => what).join(', ')}: no line has it`);
}

function presentColumns(file: string, present: readonly string[], columns: readonly SourceColumn[]): Set<string> {
  const declared = columns.map(({ name }) => name);
  const missing = columns.filter(({ name, optional }) => !optional && !present.includes(name));
  if (missing.length > 0) {
    reject('MISSING_COLUMN', `${file} lacks ${missing.map(({ what }) => what).join(', ')}; it has the columns ${present.join(', ')}`);
  }
  const unknown = present.filter((column) => !declared.includes(column));
  if (unknown.length > 0) {
    reject('UNKNOWN_COLUMN', `${file} has the column ${unknown.map((column) => `'${column}'`).join(', ')}, which is not declared; the columns are ${declared.join(', ')}`);
  }
  const twice = present.find((column, at) => present.indexOf(column) !== at);
  if (twice !== undefined) reject('UNREADABLE_FILE', `${file} has the column '${twice}' twice`);
  return new Set(present);
}

function firstLine(file: string): string {
  const descriptor = openSync(file, 'r');
  try {
    const bytes = Buffer.alloc(HEADER_BYTES);
    return bytes.toString('utf8', 0, readSync(descriptor, bytes)).replace(/^\ufeff/, '').split(/\r\n|\n|\r/, 1)[0];
  } finally {
    closeSync(descriptor);
  }
}

function splitHeader(header: string, delimiter: string): string[] {
  return header.split(delimiter).map((name) => name.trim().replace(/^"(.*)"$/, '$1'));
}

async function reading<T>(file: string, result: Promise<T>): Promise<T> {
  return result.catch((error: unknown) => reject('UNREADABLE_FILE', `${file}: ${messageOf(error).split('\n')[0]}`, error));
}
