/**
 * The embedded online store: LMDB, a memory-mapped B+ tree with one file. A commit is atomic and synced before `write` resolves, several
 * processes may read and write at once, and a killed one leaves the last commit (copy on write, no log to replay).
 */
import { createHash } from 'node:crypto';
import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { constants } from 'node:os';
import { join } from 'node:path';
import type { Database, RootDatabase } from 'lmdb';
import { messageOf, reject, systemCode } from './local-errors';
import type { Natives } from './natives';
import { type FeatureGroupSchema, type FeatureValue, onlineEntity, onlineKey } from '../../../src/contract';
import { canonicalValues, rankOf, replaces } from '../../core/feature-row';
import type { FeatureRequest, FeatureRow, FeatureWrite, OnlineFeatureStore } from '../../core/ports';

/** `[event time, created time, values]`; values are in canonical form. MessagePack, with feature names stored once per set of features. */
type StoredRow = readonly [number, number, Readonly<Record<string, FeatureValue>>];

const FORBIDDEN: readonly unknown[] = [constants.errno.EACCES, constants.errno.EPERM, constants.errno.EROFS];

/** LMDB's keys hold 1978 bytes at most. */
const LONGEST_KEY = 1978;

/** Of the first page: what it begins with, and where (`MDB_MAGIC`, behind a page's header). The first two pages are written as one. */
const MAGIC = { value: 0xbeefc0de, at: 24, pages: 2 * 4096 };

/** Rows of one transaction: long enough that syncing costs little, short enough that other writers need not wait. */
const ROWS_PER_COMMIT = 2048;

export class LmdbFeatureStore implements OnlineFeatureStore {
  /** Fails with NOT_PERMITTED: who only reads writes too, into the table of readers. Fails with DATA_DIR_CORRUPT where its file is none of LMDB's. */
  static open(natives: Natives, folder: string): LmdbFeatureStore {
    const lmdb = natives.lmdb();
    requireTree(join(folder, 'data.mdb'));
    try {
      return new LmdbFeatureStore(lmdb.open<unknown, Uint8Array>({ path: folder, maxDbs: 4, noSubdir: false }));
    } catch (error) {
      // LMDB gives the number of the system's error, and no path
      if (!FORBIDDEN.includes((error as { code?: unknown }).code)) throw error;
      return reject('NOT_PERMITTED', `the online store in ${folder} needs a user who may write there, for reading too: ${messageOf(error)}`, error);
    }
  }

  private readonly rows: Database<StoredRow, Uint8Array>;
  private readonly applied: Database<number, string>;
  private open = true;

  private constructor(private readonly root: RootDatabase<unknown, Uint8Array>) {
    this.rows = root.openDB<StoredRow, Uint8Array>('rows', { keyEncoding: 'binary', sharedStructuresKey: Buffer.from([0]) });
    this.applied = root.openDB<number, string>('applied', {});
  }

  async read(requests: readonly FeatureRequest[]): Promise<(FeatureRow | undefined)[]> {
    return requests.map(({ group, entity }) => {
      const stored = this.rows.get(keyOf(group, entity));
      return stored && { eventTime: stored[0], createdTime: stored[1], values: stored[2] };
    });
  }

  async write(rows: readonly FeatureWrite[]): Promise<void> {
    const writes = rows.map((row) => {
      const values = canonicalValues(row.group, row.values);
      return { row, key: keyOf(row.group, row.entity), stored: [row.eventTime, row.createdTime, values] as StoredRow };
    });
    for (let at = 0; at < writes.length; at += ROWS_PER_COMMIT) {
      const commit = writes.slice(at, at + ROWS_PER_COMMIT);
      await this.rows.transaction(() => {
        for (const { row, key, stored } of commit) {
          if (wins(row.group, stored, this.rows.get(key))) void this.rows.put(key, stored);
        }
      });
    }
  }

  /**
   * Entities of a group in the order of their keys, from `after` on, whose first key begins with `prefix`. Those whose key is too long for the
   * tree are left out: the tree holds only their digest.
   */
  entities(group: FeatureGroupSchema, prefix: string, limit: number, after?: readonly string[]): string[][] {
    const first = Buffer.from(onlineKey(group, [prefix]));
    const start = after ? Buffer.from(onlineKey(group, after)) : first;
    const found: string[][] = [];
    // no UTF-8 text has this byte
    for (const key of this.rows.getKeys({ start, end: Buffer.concat([first, Buffer.from([0xff])]) })) {
      const entity = onlineEntity(group, Buffer.from(key).toString('utf8'));
      if (!entity || (after && entity.length === after.length && entity.every((part, index) => part === after[index]))) continue;
      found.push(entity);
      if (found.length === limit) break;
    }
    return found;
  }

  /** The last snapshot of the offline store whose rows are all here; 0 where there is none. */
  appliedSnapshot(group: FeatureGroupSchema): number {
    return this.applied.get(`${group.name}/${group.version}`) ?? 0;
  }

  /** Resolves once that is on the disk. */
  async markApplied(group: FeatureGroupSchema, snapshot: number): Promise<void> {
    await this.applied.put(`${group.name}/${group.version}`, snapshot);
  }

  async close(): Promise<void> {
    if (!this.open) return;
    this.open = false;
    await this.root.close();
  }
}

function wins(group: FeatureGroupSchema, row: StoredRow, stored: StoredRow | undefined): boolean {
  if (!stored) return true;
  if (row[0] !== stored[0] || row[1] !== stored[1]) return row[0] === stored[0] ? row[1] > stored[1] : row[0] > stored[0];
  const rank = ([eventTime, createdTime, values]: StoredRow) => rankOf(group, { eventTime, createdTime, values });
  return replaces(rank(row), rank(stored));
}

/** The key of the contract; one that is too long for the tree becomes its digest, in the form that the contract gives to long keys. */
function keyOf(group: FeatureGroupSchema, entity: readonly string[]): Uint8Array {
  const key = Buffer.from(onlineKey(group, entity));
  return key.length <= LONGEST_KEY ? key : Buffer.from(`${group.name}#${group.version}#~${createHash('sha256').update(key).digest('hex')}`);
}

/** LMDB maps the file and trusts it: another one ends the process by a signal, and nobody is told why. */
function requireTree(file: string): void {
  let descriptor: number;
  try {
    descriptor = openSync(file, 'r');
  } catch (error) {
    // whoever opens it next makes it, or says why not
    if (systemCode(error) === 'ENOENT') return;
    throw error;
  }
  try {
    const { size } = fstatSync(descriptor);
    const head = Buffer.alloc(MAGIC.at + 4);
    const isTree = size === 0 || (size >= MAGIC.pages && readSync(descriptor, head) === head.length && head.readUInt32LE(MAGIC.at) === MAGIC.value);
    if (!isTree) reject('DATA_DIR_CORRUPT', `${file} is no file of LMDB's: remove its folder, and the next start makes it anew from the imports, or restore a copy of it`);
  } finally {
    closeSync(descriptor);
  }
}
