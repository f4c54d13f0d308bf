/**
 * Reading a parquet, CSV or JSON Lines file into typed columns. A value that does not fit its type refuses its row, with the reason; the
 * caller decides whether that refuses the file.
 */
import { type DuckDb, identifier, literal } from './duckdb';
import { reject } from './local-errors';
import { LINE, readTexts, ROW, type SourceColumn, UNKNOWN } from './table-source';
import type { Refusal } from '../../core/data-quality/row-check';
import { ValuePattern, valueOfText } from '../../core/data-quality/value-texts';
import type { Components } from '../../core/vectors/components';

export { ROW } from './table-source';

export type ColumnType = 'bool' | 'int32' | 'int64' | 'float32' | 'float64' | 'string' | 'time' | VectorType;

export interface VectorType {
  /** Its dimension. */
  readonly vector: number;
  readonly components: Components;
}

export interface ImportColumn extends SourceColumn {
  readonly type: ColumnType;
  /** SQL for a row without a value. @default - null */
  readonly absent?: string;
  /** It is part of an entity's key. */
  readonly key?: boolean;
  /** Its values stand in no error. */
  readonly personal?: boolean;
  /** In JSON Lines only a text is a text. A number is written in many ways, and `7` may have been `007`; an object is none. @default false */
  readonly quoted?: boolean;
}

/** What a caller does with rows that are not imported. */
export interface Quarantine {
  /** One refused row refuses the file, with INVALID_VALUE. */
  readonly strict: boolean;
  /** The rows of the file that count, the first and the last of each run of them. @default - all rows */
  readonly only?: readonly (readonly [first: number, last: number])[];
  /** SQL of what {@link judge} sees of a row, behind {@link ROW}; `total` rows come. */
  readonly judged: readonly string[];
  judge(row: readonly unknown[], total: number): Refusal | undefined;
  /**
   * Called for each refused row in the order of the file, when all rows are judged.
   *
   * @param record JSON text of the row as it came: a line of JSON is that line, no number of it rounded
   */
  refused(row: number, refusal: Refusal, record: string): void;
}

/** Problems that one error text names before it stops counting them up. */
const SHOWN_PROBLEMS = 5;
/** Rows of one statement that names them. */
const ROWS_AT_ONCE = 5000;

/**
 * Creates table `name` with the typed columns and {@link ROW}, and gives the number of its rows. Fails with FILE_NOT_FOUND, UNREADABLE_FILE,
 * MISSING_COLUMN or UNKNOWN_COLUMN; without a quarantine, or with a strict one, also if a row is refused, with UNREADABLE_FILE,
 * UNKNOWN_COLUMN or INVALID_VALUE. Then no table is left.
 */
export async function importTable(
  db: DuckDb, name: string, file: string, columns: readonly ImportColumn[], quarantine?: Quarantine,
): Promise<number> {
  const raw = identifier(`${name} as text`);
  const table = identifier(name);
  try {
    const refusals = new Map<number, Refusal>();
    const unreadable = new Map<number, string>();
    for (const { row, text, line } of await readTexts(db, raw, file, columns, quarantine !== undefined)) {
      if (quarantine?.only?.some(([first, last]) => row >= first && row <= last) === false) continue;
      refusals.set(row, { reason: 'UNREADABLE', text });
      unreadable.set(row, line);
    }
    if (quarantine?.only) await keepOnly(db, raw, quarantine.only);
    const typed = columns.map((column) => `${typedSql(column)} AS ${identifier(column.name)}`);
    await db.run(`CREATE TEMP TABLE ${table} AS SELECT ${ROW}, ${typed.join(', ')} FROM ${raw} ORDER BY ${ROW}`);
    await refuseMisfits(db, { raw, table, columns }, refusals);
    if (quarantine) await refuseJudged(db, table, quarantine, refusals);
    if (!quarantine || quarantine.strict) refuseAll(file, columns, refusals);
    else await moveRefused(db, { raw, table, columns }, { quarantine, refusals, unreadable });
    return Number((await db.rows(`SELECT count(*) AS count FROM ${table}`))[0].count);
  } catch (error) {
    await db.run(`DROP TABLE IF EXISTS ${table}`);
    throw error;
  } finally {
    await db.run(`DROP TABLE IF EXISTS ${raw}`);
  }
}

/** Takes every other row out of the table. */
async function keepOnly(db: DuckDb, raw: string, ranges: NonNullable<Quarantine['only']>): Promise<void> {
  await db.run('CREATE OR REPLACE TABLE ranges (first_row BIGINT, last_row BIGINT)');
  try {
    await db.append('ranges', ranges.map(([first, last]) => [BigInt(first), BigInt(last)]));
    await db.run(`DELETE FROM ${raw} WHERE NOT EXISTS (SELECT 1 FROM ranges WHERE ${ROW} BETWEEN first_row AND last_row)`);
  } finally {
    await db.run('DROP TABLE ranges');
  }
}

/** Fails with the first problems, where there are any. */
export function refuseAll(file: string, columns: readonly ImportColumn[], refusals: ReadonlyMap<number, Refusal>): void {
  if (refusals.size === 0) return;
  const unknown = [...refusals.values()].find(({ reason }) => reason === 'UNKNOWN_FEATURE')?.column;
  if (unknown !== undefined) reject('UNKNOWN_COLUMN', `${file} has the column '${unknown}', which is not declared; the columns are ${columns.map(({ name }) => name).join(', ')}`);
  const rows = [...refusals].sort(([a], [b]) => a - b);
  const more = rows.length > SHOWN_PROBLEMS ? ` (and ${rows.length - SHOWN_PROBLEMS} more rows)` : '';
  const code = rows.some(([, { reason }]) => reason === 'UNREADABLE') ? 'UNREADABLE_FILE' : 'INVALID_VALUE';
  reject(code, `${rows.slice(0, SHOWN_PROBLEMS).map(([row, { text }]) => `row ${row}: ${text}`).join('; ')}${more}; nothing was imported`);
}

/** SQL of the value; null where the text does not fit the type. */
function typedSql({ name, type, absent, quoted }: ImportColumn): string {
  const text = identifier(name);
  const value = quoted ? `CASE WHEN ${LINE} IS NULL OR json_type(${LINE}, ${literal(`/${name}`)}) = 'VARCHAR' THEN ${text} END` : castSql(text, type);
  return absent === undefined ? value : `CASE WHEN ${text} IS NULL THEN ${absent} ELSE ${value} END`;
}

function castSql(text: string, type: ColumnType): string {
  if (typeof type === 'object') {
    const list = `TRY_CAST(${text} AS FLOAT[])`;
    const { least, most, whole } = type.components;
    // NaN is the largest number to the database: it is in no range either
    const fits = `x IS NOT NULL AND x BETWEEN ${least}::FLOAT AND ${most}::FLOAT${whole ? ' AND x = trunc(x)' : ''}`;
    return `CASE WHEN len(${list}) = ${type.vector} AND list_bool_and(list_transform(${list}, lambda x: ${fits})) THEN ${list} END`;
  }
  const { TRUE, FALSE, INTEGER, DECIMAL } = ValuePattern;
  const is = (pattern: string) => `regexp_matches(${text}, ${literal(pattern)})`;
  switch (type) {
    case 'string':
      return text;
    case 'bool':
      return `CASE WHEN regexp_matches(lower(${text}), ${literal(TRUE)}) THEN true WHEN regexp_matches(lower(${text}), ${literal(FALSE)}) THEN false END`;
    case 'int32':
    case 'int64':
      // a cast alone would round 1.5 to 2
      return `TRY_CAST(regexp_extract(${text}, ${literal(INTEGER)}, 1) AS ${type === 'int32' ? 'INTEGER' : 'BIGINT'})`;
    case 'float32':
    case 'float64': {
      const number = `TRY_CAST(${text} AS ${type === 'float32' ? 'FLOAT' : 'DOUBLE'})`;
      return `CASE WHEN ${is(DECIMAL)} AND isfinite(${number}) THEN ${number} END`;
    }
    case 'time': {
      // epoch seconds below 1e11 (the year 5138), milliseconds from there (1973) up to 1e14
      const epoch = `TRY_CAST(${text} AS DOUBLE)`;
      return `CASE WHEN NOT ${is(DECIMAL)} THEN ${instantSql(text)} `
        + `WHEN abs(${epoch}) < 1e11 THEN CAST(round(${epoch} * 1000) AS BIGINT) WHEN abs(${epoch}) < 1e14 THEN CAST(round(${epoch}) AS BIGINT) END`;
    }
  }
}

/** Milliseconds since the epoch of a text of {@link ValuePattern.TIME}. A cast of the text itself would take zone names, `epoch` and the year 26. */
function instantSql(text: string): string {
  const parts = `regexp_extract(${text}, ${literal(ValuePattern.TIME)}, ['year', 'month', 'day', 'hour', 'minute', 'second', 'fraction', 'hours', 'minutes'])`;
  // no column has a blank in its name
  const given = '"the parts"';
  const or = (part: string, other: string) => `coalesce(nullif(${given}.${part}, ''), '${other}')`;
  const date = `${given}.year, '-', ${given}.month, '-', ${given}.day`;
  const clock = `${or('hour', '0')}, ':', ${or('minute', '0')}, ':', ${or('second', '0')}, '.', ${given}.fraction, ${or('hours', '+00')}, ':', ${or('minutes', '00')}`;
  return `epoch_ms(list_transform([${parts}], lambda ${given}: TRY_CAST(concat(${date}, ' ', ${clock}) AS TIMESTAMPTZ))[1])`;
}

function describeType(type: ColumnType): string {
  if (typeof type === 'object') return `a list of ${type.vector} ${type.components.what}`;
  if (type === 'string') return 'a string, which JSON has in quotes';
  return type === 'time' ? 'a time (ISO 8601, or epoch seconds or milliseconds)' : type;
}

/** Rows with a value that does not fit, without one that they need, or with one that is not declared: the first of each counts. */
async function refuseMisfits(db: DuckDb, { raw, table, columns }: Tables, refusals: Map<number, Refusal>): Promise<void> {
  const wrong = columns.map(({ name, required, absent }) => {
    const column = identifier(name);
    const unfit = `(typed.${column} IS NULL AND given.${column} IS NOT NULL)`;
    return required && absent === undefined ? `(typed.${column} IS NULL)` : unfit;
  });
  const first = `CASE ${wrong.map((condition, at) => `WHEN ${condition} THEN ${at}`).join(' ')} ELSE -1 END`;
  const text = `CASE ${wrong.map((condition, at) => `WHEN ${condition} THEN substr(given.${identifier(columns[at].name)}, 1, 64)`).join(' ')} END`;
  const sql = `SELECT ${ROW}::DOUBLE, given.${UNKNOWN}, ${first}, ${text} FROM ${table} AS typed JOIN ${raw} AS given USING (${ROW})
    WHERE given.${UNKNOWN} IS NOT NULL OR ${wrong.join(' OR ')}`;
  for await (const chunk of db.chunks(sql)) {
    for (const [row, unknown, at, value] of chunk.getRows() as [number, string | null, number, string | null][]) {
      refusals.set(row, unknown === null ? misfit(columns[at], value) : { reason: 'UNKNOWN_FEATURE', column: unknown, text: `'${unknown}' is not declared` });
    }
  }
}

function misfit({ name, what, type, key, personal }: ImportColumn, text: string | null): Refusal {
  if (text === null) return { reason: type === 'time' ? 'MISSING_TIME' : 'MISSING_KEY', column: name, text: `${what} has no value` };
  // a number, and none of this precision
  const reason = (type === 'float32' || type === 'float64') && typeof valueOfText(type, text) === 'number' ? 'NOT_FINITE' : 'WRONG_TYPE';
  return { reason, column: name, text: `${what} must be ${describeType(type)}${key || personal ? '' : `, got '${text}'`}` };
}

async function refuseJudged(db: DuckDb, table: string, { judged, judge }: Quarantine, refusals: Map<number, Refusal>): Promise<void> {
  const values = [`${ROW}::DOUBLE`, ...judged];
  const total = Number((await db.rows(`SELECT count(*) AS count FROM ${table}`))[0].count);
  for await (const chunk of db.chunks(`SELECT ${values.join(', ')} FROM ${table} ORDER BY ${ROW}`)) {
    for (const row of chunk.getRows()) {
      if (refusals.has(row[0] as number)) continue;
      const refusal = judge(row, total);
      if (refusal) refusals.set(row[0] as number, refusal);
    }
  }
}

interface Tables {
  readonly raw: string;
  readonly table: string;
  readonly columns: readonly ImportColumn[];
}

interface Refused {
  readonly quarantine: Quarantine;
  readonly refusals: ReadonlyMap<number, Refusal>;
  /** Lines that are in no table. */
  readonly unreadable: ReadonlyMap<number, string>;
}

/** Takes the refused rows out of the table, and hands each over as it came. */
async function moveRefused(db: DuckDb, { raw, table, columns }: Tables, { quarantine, refusals, unreadable }: Refused): Promise<void> {
  const rows = [...refusals.keys()].sort((a, b) => a - b);
  const texts = columns.map(({ name }) => identifier(name));
  for (let at = 0; at < rows.length; at += ROWS_AT_ONCE) {
    const piece = rows.slice(at, at + ROWS_AT_ONCE);
    const among = `WHERE ${ROW} IN (${piece.join(', ')})`;
    const records = new Map<number, string>();
    for await (const chunk of db.chunks(`SELECT ${ROW}::DOUBLE, ${LINE}, ${texts.join(', ')} FROM ${raw} ${among}`)) {
      for (const [row, line, ...values] of chunk.getRows() as [number, string | null, ...(string | null)[]][]) {
        const byColumn = () => JSON.stringify(Object.fromEntries(columns.map(({ name }, column) => [name, values[column]])));
        records.set(row, line === null ? byColumn() : recordOf(line));
      }
    }
    await db.run(`DELETE FROM ${table} ${among}`);
    for (const row of piece) quarantine.refused(row, refusals.get(row)!, records.get(row) ?? JSON.stringify(unreadable.get(row)));
  }
}

/** DuckDB takes `NaN` and `Infinity` for JSON, which others do not. */
function recordOf(line: string): string {
  try {
    JSON.parse(line);
    return line;
  } catch {
    return JSON.stringify(line);
  }
}
