import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { groupNamed, openWorkplace } from './assembly';
import { type Arguments, ASSEMBLY_OPTION, BRAIN_OPTIONS, type Command, type Context, text } from './command';
import { count } from './terminal';
import { type BackfillPart, type FeatureGroupSchema, Paths, quarantineLines, quarantinePath } from '../../src/contract';
import type { DataDirectory } from '../adapters/local/data-directory';
import { DuckDb } from '../adapters/local/duckdb';
import { replaceFile } from '../adapters/local/durable-files';
import { latestLines } from '../adapters/local/latest-values';
import { reject } from '../adapters/local/local-errors';
import { OfflineLog } from '../adapters/local/offline-log';
import { LmdbFeatureStore } from '../adapters/local/online-store';
import { report } from '../core/backfill/consistency';
import { readLine } from '../core/backfill/line';
import { writePart } from '../core/backfill/part-writer';
import { TokenBucket } from '../core/backfill/token-bucket';
import { RowCheck } from '../core/data-quality/row-check';
import type { FeatureWrite } from '../core/ports';

/** One machine needs no rate: the store is its own. */
const UNBOUNDED = 1e9;
const SAMPLE = 1000;

export const FEATURES_BACKFILL: Command = {
  words: 'features backfill',
  positionals: [{ name: 'group' }],
  summary: 'bring online what is only offline',
  details: [
    'Computes the latest valid row of each entity from the offline store, and writes those that win online. What is online already, or newer there,',
    'stays. Running it again changes nothing.',
  ],
  options: { 'dry-run': { type: 'boolean', shown: '--dry-run', text: 'count what would change, and write nothing' }, ...ASSEMBLY_OPTION, ...BRAIN_OPTIONS },
  async run(args, context) {
    await withStores(args, context, async ({ group, data, db, online }) => {
      const { terminal, now } = context;
      const log = new OfflineLog(data);
      const progress = terminal.progress(`features ${group.name}, backfill`);
      const total = log.countAfter(group, 0);
      const part: BackfillPart = { group, run: String(now()), key: 'offline', dryRun: args.options['dry-run'] === true };
      let lines = 0;
      const sleep = (ms: number) => wait(ms);
      const found = await writePart(part, {
        lines: () => latestLines(db, log, group, { asOf: now() }),
        store: online,
        checkpoints: { load: async () => undefined, save: async () => true },
        quarantine: async (name, rows) => {
          replaceFile(join(data.root, quarantinePath(group, name)), quarantineLines(rows));
        },
        rate: new TokenBucket(UNBOUNDED, { now }, sleep),
        clock: { now },
        sleep,
        random: Math.random,
        log: { info: () => undefined, warn: (_, message) => terminal.warn(message), error: (_, message) => terminal.warn(message) },
        progress: (since) => progress.update(lines += since.lines, Math.max(lines, total)),
      }, { deadline: Infinity }).finally(() => progress.end());
      const verb = part.dryRun ? 'would change' : 'changed';
      terminal.print(`${verb} ${count(found.changed)} of ${count(found.lines)} entities of feature group ${group.name} version ${group.version} online`);
      if (found.refused > 0) terminal.warn(`${count(found.refused)} rows ${part.dryRun ? 'would be refused' : `were refused: ${join(data.root, Paths.QUARANTINE)}`}`);
    });
  },
};

export const FEATURES_CHECK: Command = {
  words: 'features check',
  positionals: [{ name: 'group' }],
  summary: 'compare a sample of entities online and offline',
  details: ['Draws entities from the offline store, and says how many are absent or older online. The same seed draws the same ones.'],
  options: {
    size: { type: 'string', shown: '--size <number>', text: `entities to draw (default: ${SAMPLE})` },
    seed: { type: 'string', shown: '--seed <text>', text: 'which ones (default: others each time)' },
    ...ASSEMBLY_OPTION,
    ...BRAIN_OPTIONS,
  },
  async run(args, context) {
    await withStores(args, context, async ({ group, data, db, online }) => {
      const { terminal, now } = context;
      const size = Number(text(args, 'size') ?? SAMPLE);
      if (!Number.isSafeInteger(size) || size < 1) reject('USAGE', `--size must be a whole number of at least 1, got '${text(args, 'size')}'`);
      const rows: FeatureWrite[] = [];
      const check = new RowCheck(group);
      const question = { asOf: now(), sample: { size, seed: text(args, 'seed') ?? String(now()) } };
      for await (const line of latestLines(db, new OfflineLog(data), group, question)) {
        const read = readLine(check, line, { source: 'offline', row: rows.length + 1, now: now() });
        if (!('reason' in read)) rows.push(read);
      }
      const { sampled, same, ahead, missing, behind, skew } = report(group, rows, await online.read(rows), now());
      terminal.print(`feature group ${group.name} version ${group.version}: of ${count(sampled)} entities ${count(same)} say the same online and offline, `
        + `${count(ahead)} are newer online, ${count(behind)} older, ${count(missing)} absent: skew ${Number((100 * skew).toPrecision(3))} %`);
    });
  },
};

interface Stores {
  readonly group: FeatureGroupSchema;
  readonly data: DataDirectory;
  readonly db: DuckDb;
  readonly online: LmdbFeatureStore;
}

async function withStores(args: Arguments, { natives }: Context, work: (stores: Stores) => Promise<void>): Promise<void> {
  const { configuration, data } = openWorkplace(args);
  const [name] = args.positionals;
  const group = groupNamed(configuration, name);
  natives.require(['lmdb', '@duckdb/node-api']);
  const lock = data.lock(`features-${group.name}`);
  const online = LmdbFeatureStore.open(natives, data.online);
  const db = await DuckDb.open(natives, data.spill);
  try {
    await work({ group, data, db, online });
  } finally {
    db.close();
    await online.close();
    lock.release();
  }
}
