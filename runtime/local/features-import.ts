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
  ],
  options: { ...ASSEMBLY_OPTION, ...BRAIN_OPTIONS },
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
      const { rows, snapshot, added } = await offline.append(group, resolve(file), now());
      await follow(group, offline, online, terminal);
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
