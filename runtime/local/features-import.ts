import { resolve } from 'node:path';
import type { Command, Context } from './command';
import { follow } from './feature-flow';
import { FEATURE_OPTIONS, type FeatureTarget, featureTarget } from './feature-target';
import { importToTable } from './table-target';
import { count } from './terminal';
import { DuckDb } from '../adapters/local/duckdb';
import { OfflineStore } from '../adapters/local/offline-store';
import { LmdbFeatureStore } from '../adapters/local/online-store';

export const FEATURES_IMPORT: Command = {
  words: 'features import',
  positionals: [{ name: 'group' }, { name: 'file' }],
  summary: 'add rows to a feature group, offline and online',
  details: [
    'Reads a .parquet, .csv or .jsonl file whose columns are the entity keys and features of the group, event_time, and created_time if it',
    'has one (otherwise the time of this import). Times are ISO 8601 (UTC where no offset is given), or epoch seconds or milliseconds.',
    'Online the newest row of each entity wins. An import that died goes on where it was.',
    'Rows that do not fit the group go to a file of the quarantine, each with its reason; the others are imported. Importing the same file again adds',
    'what was refused and fits since the group was repaired, and nothing else.',
  ],
  options: { ...FEATURE_OPTIONS, strict: { type: 'boolean', shown: '--strict', text: 'import nothing of a file that has a row which does not fit' } },
  async run(args, context) {
    const target = featureTarget(args);
    const options = { strict: args.options.strict === true };
    if (target.aws) await importToTable(target, resolve(args.positionals[1]), options, context);
    else await importEmbedded(target, args.positionals[1], options, context);
  },
};

export interface ImportOptions {
  readonly strict?: boolean;
}

/** Offline first, and online follows. */
export async function importEmbedded(
  { group, data }: FeatureTarget, file: string, { strict }: ImportOptions, { terminal, natives, now }: Context,
): Promise<void> {
  natives.require(['lmdb', '@duckdb/node-api']);
  const lock = data.lock(`features-${group.name}`);
  const online = LmdbFeatureStore.open(natives, data.online);
  const db = await DuckDb.open(natives, data.spill);
  try {
    const offline = new OfflineStore(db, data);
    const progress = terminal.progress(`features ${group.name}, checked`);
    const appended = await offline.append(group, resolve(file), now(), {
      strict,
      progress: (done, total) => progress.update(done, total),
    }).finally(() => progress.end());
    const { rows, snapshot, added, quarantined, quarantine, reasons, violations } = appended;
    await follow(group, offline, online, terminal);
    for (const { text } of violations) terminal.warn(`not as expected: ${text}`);
    if (quarantined > 0) terminal.warn(`${count(quarantined)} rows are in the quarantine${shownReasons(reasons)}: ${quarantine}`);
    terminal.print(added
      ? `imported ${count(rows)} rows into feature group ${group.name} version ${group.version}: snapshot ${snapshot}`
      : `feature group ${group.name} version ${group.version} has the ${count(rows)} rows of this file already: snapshot ${snapshot}`);
  } finally {
    db.close();
    await online.close();
    lock.release();
  }
}

/** ` (3 WRONG_TYPE, 1 MISSING_KEY)`, the most frequent first. */
export function shownReasons(reasons: ReadonlyMap<string, number>): string {
  const sorted = [...reasons].sort(([, a], [, b]) => b - a);
  return sorted.length === 0 ? '' : ` (${sorted.map(([reason, rows]) => `${count(rows)} ${reason}`).join(', ')})`;
}
