/** `thalos-brain`: the embedded brain and what fills it. Exit status 0, 1 after an error, 2 after a wrong command line. */
import { type Command, parse, usage } from './command';
import { FEATURES_BACKFILL, FEATURES_CHECK } from './features-backfill';
import { FEATURES_GET } from './features-get';
import { FEATURES_IMPORT } from './features-import';
import { FEATURES_LOCK } from './features-lock';
import { FEATURES_PUT } from './features-put';
import { MODELS_PUT } from './models-put';
import { ROLLOUT_PROMOTE, ROLLOUT_ROLLBACK, ROLLOUT_SET, ROLLOUT_SHOW } from './rollout-commands';
import { LOCAL } from './serve';
import { StandardTerminal } from './terminal';
import { TRAINING_SET_CREATE, TRAINING_SET_VERIFY } from './training-set';
import { VECTORS_GENERATIONS, VECTORS_ROLLBACK } from './vectors-generations';
import { VECTORS_IMPORT } from './vectors-import';
import { VECTORS_SEARCH } from './vectors-search';
import { version } from '../../package.json';
import { codedMessage, LocalError } from '../adapters/local/local-errors';
import { findNatives } from '../adapters/local/natives';

const COMMANDS: readonly Command[] = [
  LOCAL, MODELS_PUT, ROLLOUT_SHOW, ROLLOUT_SET, ROLLOUT_PROMOTE, ROLLOUT_ROLLBACK,
  FEATURES_PUT, FEATURES_GET, FEATURES_IMPORT, FEATURES_BACKFILL, FEATURES_CHECK, FEATURES_LOCK, VECTORS_IMPORT,
  VECTORS_SEARCH, VECTORS_GENERATIONS, VECTORS_ROLLBACK,
  TRAINING_SET_CREATE, TRAINING_SET_VERIFY,
];

const OVERVIEW = [
  'usage: thalos-brain <command> [options]',
  '',
  'Runs a synthesized brain on one machine, and fills it.',
  '',
  'commands:',
  ...COMMANDS.map(({ words, summary }) => `  ${words.padEnd(20)} ${summary}`),
  '',
  'thalos-brain <command> --help shows the options of a command; --version the version.',
].join('\n');

async function main(argv: readonly string[]): Promise<number> {
  const terminal = new StandardTerminal();
  if (argv.length === 0 || argv[0] === '--help' || argv[0] === '-h') {
    (argv.length === 0 ? terminal.warn : terminal.print).call(terminal, OVERVIEW);
    return argv.length === 0 ? 2 : 0;
  }
  if (argv[0] === '--version') {
    terminal.print(version);
    return 0;
  }
  const command = COMMANDS.find(({ words }) => words.split(' ').every((word, at) => argv[at] === word));
  if (!command) {
    terminal.warn(`error: USAGE: there is no command '${argv.filter((word) => !word.startsWith('-')).slice(0, 2).join(' ') || argv[0]}'\n\n${OVERVIEW}`);
    return 2;
  }
  try {
    const args = parse(command, argv.slice(command.words.split(' ').length));
    if (args.help) terminal.print(usage(command));
    else await command.run(args, { terminal, natives: findNatives(), now: Date.now });
    return 0;
  } catch (error) {
    if (error instanceof LocalError && error.code === 'USAGE') {
      terminal.warn(`error: ${error.message}\n\n${usage(command)}`);
      return 2;
    }
    terminal.warn(`error: ${codedMessage(error)}`);
    return 1;
  }
}

// the SDK would print eight lines about its own releases of next year before every answer on Node 20
process.env.AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED ??= 'true';

// a reader that went away (`| head`) is no error
for (const stream of [process.stdout, process.stderr]) {
  stream.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') throw error;
  });
}

void main(process.argv.slice(2)).then((status) => {
  // native threads may still run: end once what was printed is out
  process.stdout.write('', () => process.stderr.write('', () => process.exit(status)));
});
