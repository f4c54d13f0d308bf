/** One command of `thalos-brain`, and how a command line becomes a call of it. */
import { parseArgs, type ParseArgsConfig } from 'node:util';
import type { Terminal } from './terminal';
import { messageOf, reject } from '../adapters/local/local-errors';
import type { Natives } from '../adapters/local/natives';

export interface Context {
  readonly terminal: Terminal;
  readonly natives: Natives;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
}

export interface Option {
  readonly type: 'string' | 'boolean';
  /** As usage shows it: `--http-port <number>`. */
  readonly shown: string;
  readonly text: string;
}

export interface Arguments {
  readonly positionals: readonly string[];
  readonly options: Readonly<Record<string, string | boolean | undefined>>;
}

export interface Positional {
  readonly name: string;
  readonly optional?: boolean;
  /** The last one may stand several times. */
  readonly rest?: boolean;
}

export interface Command {
  /** `models put` */
  readonly words: string;
  /** `<dir>`: what stands behind the words. */
  readonly positionals: readonly Positional[];
  readonly summary: string;
  readonly details: readonly string[];
  readonly options: Readonly<Record<string, Option>>;
  run(args: Arguments, context: Context): Promise<void>;
}

/** Options of every command that needs the synthesized brain. */
export const BRAIN_OPTIONS: Readonly<Record<string, Option>> = {
  'data-dir': { type: 'string', shown: '--data-dir <folder>', text: 'where the embedded brain keeps everything (default: .thalos)' },
  'brain': { type: 'string', shown: '--brain <name>', text: 'which brain, where the assembly holds several' },
};

export const ASSEMBLY_OPTION: Readonly<Record<string, Option>> = {
  assembly: { type: 'string', shown: '--assembly <folder>', text: 'the synthesized cloud assembly (default: cdk.out)' },
};

const HELP: Option = { type: 'boolean', shown: '--help', text: 'show this text' };

/** Fails with USAGE. */
export function parse(command: Command, argv: readonly string[]): Arguments & { readonly help: boolean } {
  const options: ParseArgsConfig['options'] = { help: { type: 'boolean', short: 'h' } };
  for (const [name, { type }] of Object.entries(command.options)) options[name] = { type };
  let parsed: { values: Arguments['options']; positionals: string[] };
  try {
    parsed = parseArgs({ args: [...argv], options, allowPositionals: true, strict: true }) as typeof parsed;
  } catch (error) {
    return reject('USAGE', messageOf(error).split('. ')[0]);
  }
  const { help, ...values } = parsed.values;
  if (help === true) return { positionals: [], options: values, help: true };
  const given = parsed.positionals.length;
  const missing = command.positionals.filter(({ optional }) => !optional)[given];
  if (missing) reject('USAGE', `${command.words} needs <${missing.name}>`);
  const most = command.positionals.at(-1)?.rest ? Infinity : command.positionals.length;
  if (given > most) reject('USAGE', `${command.words} does not take '${parsed.positionals[command.positionals.length]}'`);
  return { positionals: parsed.positionals, options: values, help: false };
}

export function usage(command: Command): string {
  return [
    `usage: thalos-brain ${[command.words, ...command.positionals.map(shownPositional)].join(' ')} [options]`,
    '',
    ...command.details,
    '',
    'options:',
    ...Object.values({ ...command.options, help: HELP }).map((option) => `  ${option.shown.padEnd(22)} ${option.text}`),
  ].join('\n');
}

const shownPositional = ({ name, optional, rest }: Positional): string => `${optional ? `[${name}]` : `<${name}>`}${rest ? '…' : ''}`;

export function text(args: Arguments, option: string): string | undefined {
  const value = args.options[option];
  return typeof value === 'string' ? value : undefined;
}
