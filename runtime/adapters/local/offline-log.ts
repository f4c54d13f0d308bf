/**
 * The log of the embedded offline store: which parquet files a feature group has, in the order in which they were added.
 * Snapshot n is the files of the entries 1 to n: it never changes, so a training set can name the one that it was made from.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import type { DataDirectory } from './data-directory';
import { createFile } from './durable-files';
import { reject } from './local-errors';
import type { FeatureGroupSchema } from '../../../src/contract';

const ENTRY = /^([0-9]{8})\.json$/;

export interface LogEntry {
  readonly snapshot: number;
  /** When it was added, milliseconds since the epoch. */
  readonly addedTime: number;
  readonly file: string;
  readonly rows: number;
  /** Digest of the file that was imported: importing it again adds what was refused then and fits now, as an entry of its own. */
  readonly source: string;
  /** Rows of the file that went to the quarantine instead. @default 0 */
  readonly quarantined?: number;
  /** Which rows of the file these are, the first and the last of each run of them. @default - nobody knows: the entry is of an earlier release */
  readonly refused?: readonly (readonly [first: number, last: number])[];
}

export class OfflineLog {
  constructor(protected readonly data: DataDirectory) {}

  /** The latest snapshot of a group, or the latest that was there at a time, milliseconds; 0 where nothing was imported. */
  latest(group: FeatureGroupSchema, at = Infinity): number {
    return this.entries(group).filter((entry) => entry.addedTime <= at).at(-1)?.snapshot ?? 0;
  }

  /** Absolute paths of a snapshot's parquet files, oldest first. */
  paths(group: FeatureGroupSchema, snapshot = Number.MAX_SAFE_INTEGER): string[] {
    return this.entries(group).filter((entry) => entry.snapshot <= snapshot).map(({ file }) => join(this.data.offline(group), file));
  }

  /** Number of rows that the snapshots after `after` added. */
  countAfter(group: FeatureGroupSchema, after: number): number {
    return this.entries(group).filter((entry) => entry.snapshot > after).reduce((sum, { rows }) => sum + rows, 0);
  }

  protected folder(group: FeatureGroupSchema): string {
    return join(this.data.offline(group), 'log');
  }

  protected entries(group: FeatureGroupSchema): LogEntry[] {
    const folder = this.folder(group);
    if (!existsSync(folder)) return [];
    return readdirSync(folder).filter((name) => ENTRY.test(name)).sort().map((name, at) => {
      const entry = JSON.parse(readFileSync(join(folder, name), 'utf8')) as LogEntry;
      if (entry.snapshot !== at + 1 || basename(entry.file) !== entry.file) {
        reject('DATA_DIR_CORRUPT', `the log of feature group '${group.name}' lacks snapshot ${at + 1}: ${folder}`);
      }
      return entry;
    });
  }

  /** Fails with DATA_DIR_BUSY where the snapshot exists already. */
  protected add(group: FeatureGroupSchema, entry: LogEntry): void {
    const added = createFile(join(this.folder(group), `${String(entry.snapshot).padStart(8, '0')}.json`), `${JSON.stringify(entry)}\n`);
    if (!added) reject('DATA_DIR_BUSY', `another process added snapshot ${entry.snapshot} of feature group '${group.name}' at the same time; run the import again`);
  }
}
