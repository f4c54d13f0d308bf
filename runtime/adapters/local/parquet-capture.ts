/**
 * Captured requests as parquet files of the data directory: rows gather in memory, and each time a file is full or old enough DuckDB writes
 * it aside and gives it its name, so that a reader never sees half a file. The oldest files go when there are too many.
 */
import { mkdirSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { DataDirectory } from './data-directory';
import { type DuckDb, literal } from './duckdb';
import { commit, removeUnfinished, syncPath, unfinishedPath, writeSynced } from './durable-files';
import type { Logger } from '../../core/ports';
import type { CapturedRequest, CaptureSink } from '../../telemetry/capture';

export interface ParquetCaptureOptions {
  readonly db: DuckDb;
  readonly data: DataDirectory;
  readonly logger: Logger;
  /** Requests that were lost. */
  readonly dropped: (requests: number) => void;
  /** Rows of a file. @default 1000 */
  readonly maxRows?: number;
  /** How long a row waits for its file, milliseconds. @default 10,000 */
  readonly maxAgeMs?: number;
  /** What waits at most, bytes of JSON. @default 64 MiB */
  readonly maxWaitingBytes?: number;
  /** @default 200 */
  readonly maxFiles?: number;
}

/** Columns and their types: one file can be read beside any other. */
const COLUMNS: Readonly<Record<keyof CapturedRequest, string>> = {
  schema_version: 'VARCHAR',
  time: 'TIMESTAMPTZ',
  brain: 'VARCHAR',
  environment: 'VARCHAR',
  request_id: 'VARCHAR',
  trace_id: 'VARCHAR',
  protocol: 'VARCHAR',
  operation: 'VARCHAR',
  model: 'VARCHAR',
  version: 'VARCHAR',
  arm: 'VARCHAR',
  duration_ms: 'DOUBLE',
  feature_as_of: 'TIMESTAMPTZ',
  index_generation: 'VARCHAR',

  replayable: 'BOOLEAN',
  inputs: 'VARCHAR',
  features: 'VARCHAR',
  neighbours: 'VARCHAR',
  outputs: 'VARCHAR',
  parameters: 'VARCHAR',
};

export class ParquetCapture implements CaptureSink {
  private rows: string[] = [];
  private bytes = 0;
  private timer: NodeJS.Timeout | undefined;
  private writing: Promise<void> = Promise.resolve();
  private busy = false;
  private number = 0;
  private readonly folder: string;

  constructor(private readonly options: ParquetCaptureOptions) {
    this.folder = options.data.capture;
    mkdirSync(this.folder, { recursive: true });
    removeUnfinished(this.folder);
  }

  write(records: readonly CapturedRequest[]): void {
    const { maxRows = 1000, maxWaitingBytes = 64 * 1024 * 1024, dropped } = this.options;
    for (const record of records) {
      const row = `${JSON.stringify(record)}\n`;
      if (this.bytes + row.length > maxWaitingBytes) {
        dropped(1);
        continue;
      }
      this.rows.push(row);
      this.bytes += row.length;
    }
    if (this.rows.length >= maxRows) void this.flush();
    else if (this.rows.length > 0) this.flushLater();
  }

  /** Writes what waits as one file. */
  flush(): Promise<void> {
    clearTimeout(this.timer);
    this.timer = undefined;
    // one file at a time; what comes meanwhile goes into the next
    if (!this.busy) {
      this.busy = true;
      this.writing = this.writeFiles().finally(() => {
        this.busy = false;
        if (this.rows.length > 0) this.flushLater();
      });
    }
    return this.writing;
  }

  async close(): Promise<void> {
    await this.flush();
    await this.flush();
  }

  private flushLater(): void {
    this.timer ??= setTimeout(() => void this.flush(), this.options.maxAgeMs ?? 10_000).unref();
  }

  private async writeFiles(): Promise<void> {
    const { rows, bytes } = this;
    if (rows.length === 0) return;
    this.rows = [];
    try {
      await this.writeFile(rows);
    } catch (error) {
      this.options.dropped(rows.length);
      this.options.logger.warn({ error: error instanceof Error ? error.message : String(error) }, 'captured requests could not be written');
    } finally {
      this.bytes -= bytes;
    }
  }

  private async writeFile(rows: readonly string[]): Promise<void> {
    // the first row's time, so that names sort; the number keeps two files of one instant apart
    const { time } = JSON.parse(rows[0]) as CapturedRequest;
    const name = `${time.replaceAll(':', '')}-${process.pid}-${String(this.number++).padStart(6, '0')}.parquet`;
    const json = unfinishedPath(join(this.folder, 'rows.json'));
    const unfinished = unfinishedPath(join(this.folder, name));
    const columns = Object.entries(COLUMNS).map(([column, type]) => `${column}: '${type}'`).join(', ');
    try {
      writeSynced(json, rows.join(''));
      await this.options.db.run(
        `COPY (SELECT * FROM read_json(${literal(json)}, format = 'newline_delimited', columns = {${columns}}, maximum_object_size = 104857600))`
        + ` TO ${literal(unfinished)} (FORMAT parquet, COMPRESSION zstd)`,
      );
      syncPath(unfinished);
      commit(unfinished, join(this.folder, name));
    } finally {
      rmSync(json, { force: true });
      rmSync(unfinished, { force: true });
    }
    const files = readdirSync(this.folder).filter((file) => file.endsWith('.parquet') && !file.startsWith('.')).sort();
    const { maxFiles = 200 } = this.options;
    for (const file of files.slice(0, Math.max(0, files.length - maxFiles))) rmSync(join(this.folder, file), { force: true });
  }
}
