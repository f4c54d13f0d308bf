/** DuckDB in memory, as a reader and writer of parquet. It fetches nothing: what it needs is inside its package. */
import { mkdirSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { DuckDBConnection, DuckDBDataChunk, DuckDBValue } from '@duckdb/node-api';
import type { Natives } from './natives';
import { isProcess } from './process-lock';

export class DuckDb {
  /** @param spill folder for what does not fit in memory */
  static async open(natives: Natives, spill: string): Promise<DuckDb> {
    const folder = ownFolder(spill);
    const instance = await natives.duckdb().DuckDBInstance.create(':memory:', {
      autoinstall_known_extensions: 'false',
      autoload_known_extensions: 'false',
      preserve_insertion_order: 'true',
      temp_directory: folder,
    });
    const connection = await instance.connect();
    await connection.run("SET TimeZone = 'UTC'");
    return new DuckDb(connection, folder, () => {
      instance.closeSync();
      rmSync(folder, { recursive: true, force: true });
    });
  }

  /** @param folder for what nobody needs once this is closed */
  private constructor(private readonly connection: DuckDBConnection, readonly folder: string, private readonly closeInstance: () => void) {}

  async run(sql: string): Promise<void> {
    await this.connection.run(sql);
  }

  /** All rows, by column name. */
  async rows(sql: string): Promise<Record<string, DuckDBValue>[]> {
    return (await this.connection.runAndReadAll(sql)).getRowObjects();
  }

  /** The rows in pieces of about two thousand, as they are computed. */
  async* chunks(sql: string): AsyncGenerator<DuckDBDataChunk> {
    const result = await this.connection.stream(sql);
    for (;;) {
      const chunk = await result.fetchChunk();
      if (!chunk || chunk.rowCount === 0) return;
      yield chunk;
    }
  }

  /** Adds rows to a table that is not temporary; texts and whole numbers, in the order of its columns. */
  async append(table: string, rows: Iterable<readonly (string | bigint)[]>): Promise<void> {
    const appender = await this.connection.createAppender(table);
    for (const row of rows) {
      for (const value of row) {
        if (typeof value === 'string') appender.appendVarchar(value);
        else appender.appendBigInt(value);
      }
      appender.endRow();
    }
    appender.closeSync();
  }

  close(): void {
    this.connection.closeSync();
    this.closeInstance();
  }
}

/** Two processes must not spill into one folder: each has its own, and what a killed one left is removed. */
function ownFolder(spill: string): string {
  const own = join(spill, String(process.pid));
  mkdirSync(own, { recursive: true });
  for (const pid of readdirSync(spill)) if (!isProcess(Number(pid))) rmSync(join(spill, pid), { recursive: true, force: true });
  return own;
}

/** A text literal. */
export const literal = (text: string): string => `'${text.replaceAll("'", "''")}'`;

/** A column or table name. */
export const identifier = (name: string): string => `"${name.replaceAll('"', '""')}"`;
