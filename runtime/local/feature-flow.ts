/** From the offline store to the online one. Offline is written first and is the record; online follows it, also after an import that died. */
import type { Terminal } from './terminal';
import type { FeatureGroupSchema } from '../../src/contract';
import type { DataDirectory } from '../adapters/local/data-directory';
import { DuckDb } from '../adapters/local/duckdb';
import { LocalError } from '../adapters/local/local-errors';
import type { Natives } from '../adapters/local/natives';
import { OfflineLog } from '../adapters/local/offline-log';
import { OfflineStore } from '../adapters/local/offline-store';
import type { LmdbFeatureStore } from '../adapters/local/online-store';

/** Writes online what offline has beyond it. Writing a row twice changes nothing, so dying midway costs nothing but time. */
export async function follow(group: FeatureGroupSchema, offline: OfflineStore, online: LmdbFeatureStore, terminal: Terminal): Promise<void> {
  const after = online.appliedSnapshot(group);
  const total = offline.countAfter(group, after);
  const progress = terminal.progress(`features ${group.name}, online`);
  let done = 0;
  try {
    for await (const { snapshot, rows, lastOfSnapshot } of offline.rowsAfter(group, after)) {
      await online.write(rows);
      if (lastOfSnapshot) await online.markApplied(group, snapshot);
      progress.update(done += rows.length, total);
    }
  } finally {
    progress.end();
  }
}

/** Finishes what an import that died left undone. A group that is being imported right now is left to that import. */
export async function finishInterrupted(
  groups: readonly FeatureGroupSchema[], data: DataDirectory, natives: Natives, online: LmdbFeatureStore, terminal: Terminal,
): Promise<void> {
  const log = new OfflineLog(data);
  for (const group of groups.filter((each) => log.latest(each) > online.appliedSnapshot(each))) {
    let lock: { release(): void };
    try {
      lock = data.lock(`features-${group.name}`);
    } catch (error) {
      if (error instanceof LocalError && error.code === 'DATA_DIR_BUSY') continue;
      throw error;
    }
    const db = await DuckDb.open(natives, data.spill);
    try {
      terminal.warn(`an import of feature group '${group.name}' did not finish: finishing it`);
      await follow(group, new OfflineStore(db, data), online, terminal);
    } finally {
      db.close();
      lock.release();
    }
  }
}
