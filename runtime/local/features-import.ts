import { resolve } from 'node:path';
import { openWorkplace } from './assembly';
import { ASSEMBLY_OPTION, BRAIN_OPTIONS, type Command } from './command';
import { follow } from './feature-flow';
import { count } from './terminal';
import { DuckDb } from '../adapters/local/duckdb';
import { reject } from '../adapters/local/local-errors';
import { OfflineStore } from '../adapters/local/offline-store';
import { LmdbFeatureStore } from '../adapters/local/online-store';

export const FEATURES_IMPORT: Command = {
  words: 'features import',
  positionals: [{ name: 'group' }, { name: 'file' }],
  summary: 'add rows to a feature group, offline and online',
  details: [
    'Reads a .parquet, .csv or .jsonl file whose columns are the entity keys and features of the group, event_time, and created_time if it',
    'has one (otherwise the time of this import). Times are ISO 8601 (UTC where no offset is given), or epoch seconds or milliseconds.',
    'Online the newest row of each entity wins. Importing the same file again changes nothing.',
    'Rows that do not fit the group go to a file of the quarantine, each with its reason; the others are imported.',
  ],
  options: {
    ...ASSEMBLY_OPTION,
    ...BRAIN_OPTIONS,
    strict: { type: 'boolean', shown: '--strict', text: 'import nothing of a file that has a row which does not fit' },
  },
  async run(args, { terminal, natives, now }) {
    const [name, file] = args.positionals;
    const { configuration, data } = openWorkplace(args);
    const group = configuration.featureGroups.find((declared) => declared.name === name)
      ?? reject('UNKNOWN_GROUP', `brain '${configuration.name}' declares no feature group '${name}'; it declares ${configuration.featureGroups.map((declared) => declared.name).join(', ') || 'none'}`);
    natives.require(['lmdb', '@duckdb/node-api']);
    const lock = data.lock(`features-${group.name}`);
    const online = LmdbFeatureStore.open(natives, data.online);
    const db = await DuckDb.open(natives, data.spill);
    try {
      const offline = new OfflineStore(db, data);
      const progress = terminal.progress(`features ${group.name}, checked`);
      const appended = await offline.append(group, resolve(file), now(), {
        strict: args.options.strict === true,
        progress: (done, total) => progress.update(done, total),
      }).finally(() => progress.end());
      const { rows, snapshot, added, quarantined, quarantine, reasons, violations } = appended;
      await follow(group, offline, online, terminal);
      for (const { text: violation } of violations) terminal.warn(`not as expected: ${violation}`);
      if (quarantined > 0) terminal.warn(`${count(quarantined)} rows are in the quarantine${shownReasons(reasons)}: ${quarantine}`);
      terminal.print(added
        ? `imported ${count(rows)} rows into feature group ${group.name} version ${group.version}: snapshot ${snapshot}`
        : `feature group ${group.name} version ${group.version} has the ${count(rows)} rows of this file already: snapshot ${snapshot}`);
    } finally {
      db.close();
      await online.close();
      lock.release();
    }
  },
};

/** ` (3 WRONG_TYPE, 1 MISSING_KEY)`, the most frequent first. */
export function shownReasons(reasons: ReadonlyMap<string, number>): string {
  const sorted = [...reasons].sort(([, a], [, b]) => b - a);
  return sorted.length === 0 ? '' : ` (${sorted.map(([reason, rows]) => `${count(rows)} ${reason}`).join(', ')})`;
}
