/** Where a command of `features` works: in the embedded brain, or in a table of AWS that the command line names. */
import { groupNamed, openWorkplace, type Workplace } from './assembly';
import { type Arguments, ASSEMBLY_OPTION, BRAIN_OPTIONS, type Option, text } from './command';
import { count, type Terminal } from './terminal';
import type { FeatureGroupSchema } from '../../src/contract';
import { reject } from '../adapters/local/local-errors';
import type { FeatureClientOptions } from '../feature-client/api';
import type { FeatureClient } from '../feature-client/feature-client';
import { openFeatureClient } from '../feature-client/open-client';

/** Options of every command of `features`. */
export const FEATURE_OPTIONS: Readonly<Record<string, Option>> = {
  ...ASSEMBLY_OPTION,
  ...BRAIN_OPTIONS,
  table: { type: 'string', shown: '--table <name>', text: 'work on this DynamoDB table, not on the embedded brain; its alarms hear nothing of it' },
  stream: { type: 'string', shown: '--stream <name>', text: 'with --table: the Kinesis stream for rows that came too late (default: they are in no history)' },
  quarantine: { type: 'string', shown: '--quarantine <name>', text: 'with --table: the bucket for refused rows (default: import keeps them in a file, put tells the first)' },
  region: { type: 'string', shown: '--region <name>', text: 'with --table: its Region (default: AWS_REGION)' },
};

/** Writes under way at once: a person waits for them. */
const WRITES_AT_ONCE = 64;

export interface FeatureTarget extends Workplace {
  readonly group: FeatureGroupSchema;
  /** Of the table that was named; undefined: the embedded brain is meant. */
  readonly aws?: FeatureClientOptions;
}

/** Fails with USAGE, UNKNOWN_GROUP, or as the workplace does. */
export function featureTarget(args: Arguments): FeatureTarget {
  const [name] = args.positionals;
  const workplace = openWorkplace(args);
  const { configuration } = workplace;
  const group = groupNamed(configuration, name);
  const table = text(args, 'table');
  const alone = ['stream', 'quarantine', 'region'].find((option) => args.options[option] !== undefined);
  if (table === undefined) return alone === undefined ? { ...workplace, group } : reject('USAGE', `--${alone} needs --table`);
  return {
    ...workplace,
    group,
    aws: {
      groups: [group],
      table,
      stream: text(args, 'stream'),
      quarantine: text(args, 'quarantine'),
      region: text(args, 'region'),
      brain: configuration.name,
      source: 'thalos-brain',
      writesAtOnce: WRITES_AT_ONCE,
    },
  };
}

/** Says what becomes of rows that lost against a newer one where no stream takes them: the change stream of the table has only those that won. */
export function tellLate(terminal: Terminal, rows: number, { stream }: Pick<FeatureClientOptions, 'stream'>): void {
  if (rows === 0 || stream !== undefined) return;
  terminal.warn(`${count(rows)} rows came behind a newer one of their entity: without --stream they are in no history; the same command with --stream <name> puts them there`);
}

/** Opens the client for as long as `run` takes. */
export async function withClient<T>(options: FeatureClientOptions, run: (client: FeatureClient) => Promise<T>): Promise<T> {
  const client = openFeatureClient(options);
  try {
    return await run(client);
  } finally {
    await client.close();
  }
}

