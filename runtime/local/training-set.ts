import { groupNamed, openWorkplace } from './assembly';
import { type Arguments, ASSEMBLY_OPTION, BRAIN_OPTIONS, type Command, type Context, text } from './command';
import { count } from './terminal';
import type { AthenaSets } from './training-set-aws';
import { version } from '../../package.json';
import type { BrainConfiguration, FeatureGroupSchema } from '../../src/contract';
import { DataDirectory } from '../adapters/local/data-directory';
import { DuckDb } from '../adapters/local/duckdb';
import { reject } from '../adapters/local/local-errors';
import { LocalTrainingSets } from '../adapters/local/local-training-sets';
import { timeOf } from '../core/data-quality/row-reader';
import type { KnownAt } from '../core/offline/as-of-join';
import { type Step, type TrainingSetRequest, TrainingSets } from '../core/offline/training-sets';

const KNOWN_AT: readonly string[] = ['label', 'now'] satisfies KnownAt[];
const SNAPSHOT = /^[0-9]{1,19}$/;

/** For sets on S3; region and credentials are those that every tool of AWS finds. */
const AWS_OPTIONS = {
  'database': { type: 'string', shown: '--database <name>', text: 'on AWS: the Glue database of the offline tables' },
  'work-group': { type: 'string', shown: '--work-group <name>', text: 'on AWS: the work group of Athena that reads the offline tables' },
} as const satisfies Command['options'];

export const TRAINING_SET_CREATE: Command = {
  words: 'training-set create',
  positionals: [{ name: 'labels' }],
  summary: 'join labels with features as they were known at the time of each label',
  details: [
    'Reads a .parquet, .csv or .jsonl file with one label a row: the time of the label, the keys of its entities, and anything else, which goes through.',
    'Each label gets the values that were true at its time, and known by then; every label stays. The set is a folder that never changes: data.parquet,',
    'labels.parquet, and manifest.json with the snapshot of each feature group, the query, counts and digests, by which it can be made again.',
  ],
  options: {
    'groups': { type: 'string', shown: '--groups <names>', text: 'feature groups, with commas; all features, or some: drivers:rating+trips' },
    'out': { type: 'string', shown: '--out <folder>', text: 'where the set is to be; nothing may be there yet. s3://bucket/training-sets/name: on AWS, by Athena' },
    'time': { type: 'string', shown: '--time <column>', text: 'when a label was made (default: event_time)' },
    'entity': { type: 'string', shown: '--entity <key=column>', text: 'where columns are not named as entity keys, with commas; group.key=column for one group' },
    'known-at': { type: 'string', shown: '--known-at <label|now>', text: 'whether rows count that came in after the label (default: label, they do not)' },
    'at': { type: 'string', shown: '--at <snapshot|time>', text: 'features as they were stored then: a time (ISO 8601, UTC where it names no offset), a snapshot, or group=snapshot with commas (default: now)' },
    ...AWS_OPTIONS,
    ...ASSEMBLY_OPTION,
    ...BRAIN_OPTIONS,
  },
  async run(args, context) {
    const { configuration, data } = openWorkplace(args);
    const groups = groupsOf(args, configuration);
    const request: TrainingSetRequest = {
      labels: args.positionals[0],
      labelTime: text(args, 'time') ?? 'event_time',
      groups,
      knownAt: knownAt(args),
      at: pinsOf(args, groups.map(({ group }) => group)),
      out: text(args, 'out') ?? reject('USAGE', 'training-set create needs --out <folder>'),
    };
    await withSets(request.out, args, data, context, async (sets, step) => {
      const { data: made, tables } = await sets.create(request, step);
      const pins = tables.map(({ group, snapshot }) => `${group.name} at snapshot ${snapshot}`);
      return `wrote ${count(made.rows)} rows of ${made.columns.length} columns to ${request.out}: ${pins.join(', ')}; ${made.digest}`;
    });
  },
};

export const TRAINING_SET_VERIFY: Command = {
  words: 'training-set verify',
  positionals: [{ name: 'manifest' }],
  summary: 'make a training set again, and prove that its rows are the same',
  details: [
    'Takes a training set\'s manifest.json, or its folder. Compares the stored rows with the manifest, then runs the query again at the same snapshots and',
    'compares what comes out: the same rows, and with the same DuckDB the same bytes. The declarations of today do not matter.',
  ],
  options: { ...AWS_OPTIONS, 'data-dir': BRAIN_OPTIONS['data-dir'] },
  async run(args, context) {
    const data = new DataDirectory(text(args, 'data-dir') ?? '.thalos');
    data.create();
    await withSets(args.positionals[0], args, data, context, async (sets, step) => {
      const { manifest, sameBytes } = await sets.verify(args.positionals[0], step);
      const bytes = sameBytes === undefined ? `the set was written by ${manifest.engine}, so bytes are not compared` : sameBytes ? 'the same bytes' : 'other bytes';
      return `verified ${count(manifest.data.rows)} rows: the same values (${manifest.data.digest}), ${bytes}`;
    });
  },
};

type Work = (sets: TrainingSets, step: Step) => Promise<string>;

/** Prints what the work says, in the place of its progress. Sets on S3 are the business of Athena, which leaves the embedded store alone. */
async function withSets(location: string, args: Arguments, data: DataDirectory, context: Context, work: Work): Promise<void> {
  const { natives, terminal, now } = context;
  natives.require(['@duckdb/node-api']);
  const db = await DuckDb.open(natives, data.spill);
  const progress = terminal.progress('training set');
  let aws: AthenaSets | undefined;
  let said: string;
  try {
    // the SDK is loaded only where it is needed
    if (location.startsWith('s3://')) aws = (await import('./training-set-aws')).athenaSets(location, args, db, data);
    const sets = new TrainingSets(aws?.store ?? new LocalTrainingSets(db, data), `thalos-brain ${version}`, now);
    said = await work(sets, (_, done, total) => progress.update(done, total));
  } finally {
    progress.end();
    aws?.close();
    db.close();
  }
  terminal.print(said);
}

function groupsOf(args: Arguments, configuration: BrainConfiguration): TrainingSetRequest['groups'] {
  const named = list(text(args, 'groups') ?? reject('USAGE', 'training-set create needs --groups <names>'));
  const groups = named.map((each) => {
    const [name, features] = split(each, ':');
    const group = groupNamed(configuration, name);
    return { group, keys: {} as Record<string, string>, ...features === undefined ? {} : { features: features.split('+') } };
  });
  for (const each of list(text(args, 'entity') ?? '')) {
    const [left, column] = split(each, '=');
    const [first, second] = split(left, '.');
    const key = second ?? first;
    const meant = groups.filter(({ group }) => (second === undefined || group.name === first) && group.entityKeys.some(({ name }) => name === key));
    if (column === undefined || meant.length === 0) {
      reject('USAGE', `--entity '${each}' must be <entity key>=<column> or <group>.<entity key>=<column>, of ${groups.map(({ group }) => `${group.name} (${group.entityKeys.map(({ name }) => name).join(', ')})`).join(', ')}`);
    }
    for (const { keys } of meant) keys[key] = column;
  }
  return groups;
}

function knownAt(args: Arguments): KnownAt {
  const given = text(args, 'known-at') ?? 'label';
  if (!KNOWN_AT.includes(given)) reject('USAGE', `--known-at must be label or now, got '${given}'`);
  return given as KnownAt;
}

/** A number alone is a snapshot: where several groups are joined, of which one is not said. */
function pinsOf(args: Arguments, groups: readonly FeatureGroupSchema[]): TrainingSetRequest['at'] {
  const given = text(args, 'at');
  if (given === undefined) return undefined;
  if (SNAPSHOT.test(given)) {
    if (groups.length > 1) reject('USAGE', `--at ${given} names a snapshot of one feature group, and ${groups.length} are joined: write ${groups.map(({ name }) => `${name}=<snapshot>`).join(',')}, or a time`);
    return { snapshots: { [groups[0].name]: given } };
  }
  if (given.includes('=')) {
    return {
      snapshots: Object.fromEntries(list(given).map((each) => {
        const [name, snapshot = ''] = split(each, '=');
        if (!SNAPSHOT.test(snapshot) || !groups.some((group) => group.name === name)) reject('USAGE', `--at '${each}' must be <group>=<snapshot>, of ${groups.map((group) => group.name).join(', ')}`);
        return [name, snapshot];
      })),
    };
  }
  // a number is never a time here: a snapshot of another name would become an instant in 1970
  const time = Number.isNaN(Number(given)) ? timeOf('--at', given) : undefined;
  return typeof time === 'number' ? { time } : reject('USAGE', `--at must be a snapshot or a time (ISO 8601, UTC where it names no offset), got '${given}'`);
}

function list(given: string): string[] {
  return given.split(',').map((each) => each.trim()).filter((each) => each !== '');
}

/** At the first separator. */
function split(given: string, separator: string): [string, string | undefined] {
  const at = given.indexOf(separator);
  return at < 0 ? [given, undefined] : [given.slice(0, at), given.slice(at + 1)];
}
