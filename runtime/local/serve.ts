import { once } from 'node:events';
import { type AddressInfo } from 'node:net';
import { openWorkplace, type Workplace } from './assembly';
import { type Arguments, BRAIN_OPTIONS, type Command, type Context, text } from './command';
import { finishInterrupted } from './feature-flow';
import type { Terminal } from './terminal';
import { EMPTY_ROLLOUT_DOCUMENT } from '../../src/contract';
import { createFile } from '../adapters/local/durable-files';
import { reject, systemCode } from '../adapters/local/local-errors';
import { FileManifestSource } from '../adapters/local/manifest-files';
import { LmdbFeatureStore } from '../adapters/local/online-store';
import { sessionKey } from '../adapters/local/onnx-messages';
import { OnnxRuntime } from '../adapters/local/onnx-runtime';
import { FileRolloutSource } from '../adapters/local/rollout-file';
import { FlatVectorSearch } from '../adapters/local/vector-search';
import type { Logger } from '../core/ports';
import { approvedVersions } from '../core/rollout';
import { createService, type Service } from '../inference-service/service';

/** The only address: nothing but this machine reaches a brain that verifies nobody. */
const HOST = '127.0.0.1';

/** Milliseconds between two looks at whether the stable versions are loaded. */
const LOOK_EVERY = 50;

export const LOCAL: Command = {
  words: 'local',
  positionals: [{ name: 'cdk.out', optional: true }],
  summary: 'run the brain of a synthesized assembly on this machine',
  details: [
    'Boots the inference service from the assembly (default: cdk.out) with embedded parts: features, vectors and models are those that',
    'features import, vectors import and models put have put into the data directory. Listens on 127.0.0.1 only, without JWT verification.',
    'Prints one line that begins with "ready" and holds the URL when it can answer. SIGTERM and Ctrl-C drain it.',
  ],
  options: {
    'http-port': { type: 'string', shown: '--http-port <number>', text: 'the port (default: a free one)' },
    ...BRAIN_OPTIONS,
  },
  async run(args, context) {
    const port = portOf(args);
    const workplace = openWorkplace(args, args.positionals[0]);
    context.natives.require(['lmdb', '@duckdb/node-api', 'onnxruntime-node']);
    const lock = workplace.data.lock('local');
    try {
      await serve(workplace, port, context);
    } finally {
      lock.release();
    }
  },
};

function portOf(args: Arguments): number {
  const given = text(args, 'http-port');
  if (given === undefined) return 0;
  const port = Number(given);
  return /^[0-9]+$/.test(given) && port <= 65535 ? port : reject('USAGE', `--http-port must be a number from 0 to 65535, got '${given}'`);
}

async function serve(workplace: Workplace, port: number, { natives, terminal }: Context): Promise<void> {
  const { configuration, data } = workplace;
  const logger = new TerminalLogger(terminal);
  const stopped = stopSignal(terminal, configuration.limits.requestTimeoutMs);
  // like the seed of a deployed brain: without any release there is an empty document, not none
  createFile(data.rollout, `${JSON.stringify(EMPTY_ROLLOUT_DOCUMENT, undefined, 2)}\n`);

  const version = (model: string, number: string) => data.version(model, number);
  const runtime = new OnnxRuntime({ modules: natives.onnx(), folder: version, logger });
  const features = LmdbFeatureStore.open(natives, data.online);
  await finishInterrupted(configuration.featureGroups, data, natives, features, terminal);
  const vectors = new FlatVectorSearch((index) => data.vectors(index), logger);
  for (const index of configuration.vectorIndexes) vectors.follow(index);
  const rollout = new FileRolloutSource(data.rollout, logger);
  rollout.onChange((document) => {
    const approved = Object.keys(document.models).flatMap((model) => approvedVersions(document, model));
    void runtime.retain(new Set(approved.map(({ model, version: number }) => sessionKey({ name: model, version: number })))).catch(() => undefined);
  });
  const service = createService({ configuration, runtime, manifests: new FileManifestSource(version), rollout, features, vectors, logger });
  try {
    const url = await listen(service, port);
    terminal.print(`brain '${configuration.name}' (${configuration.environment}), data in ${data.root}`);
    terminal.print(`no JWT verification: every process on this machine may ask ${url}`);
    await service.start();
    if (await untilReady(service, stopped)) terminal.print(`ready ${url}`);
    await stopped;
    service.drain();
    terminal.warn('draining: requests under way are answered');
  } finally {
    await service.close();
    await Promise.all([runtime.close(), features.close(), vectors.close(), rollout.close()]);
  }
}

async function listen(service: Service, port: number): Promise<string> {
  try {
    await service.app.listen({ host: HOST, port });
  } catch (error) {
    const code = systemCode(error);
    if (code === 'EADDRINUSE') reject('PORT_IN_USE', `port ${port} of ${HOST} is in use: give another --http-port, or none for a free one`, error);
    if (code === 'EACCES') reject('PORT_IN_USE', `port ${port} of ${HOST} is not allowed for this user: give another --http-port, or none for a free one`, error);
    throw error;
  }
  return `http://${HOST}:${(service.app.server.address() as AddressInfo).port}`;
}

/** Waits until the stable versions are loaded; false where it was stopped before. */
async function untilReady(service: Service, stopped: Promise<void>): Promise<boolean> {
  let stop = false;
  void stopped.then(() => {
    stop = true;
  });
  while (!stop && !service.isReady()) await new Promise((resolve) => setTimeout(resolve, LOOK_EVERY));
  return !stop;
}

/** Resolves with the first SIGTERM or SIGINT; a second one ends the process at once, and so does a request that never ends. */
function stopSignal(terminal: Terminal, requestTimeoutMs: number): Promise<void> {
  const force = (reason: string) => () => {
    terminal.warn(reason);
    process.exit(1);
  };
  return Promise.race((['SIGTERM', 'SIGINT'] as const).map((signal) => once(process, signal))).then(() => {
    for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, force('stopped before requests under way were answered'));
    setTimeout(force('a request did not end in time'), 2 * requestTimeoutMs).unref();
  });
}

/** The log for a person: what happened, then the details. */
class TerminalLogger implements Logger {
  constructor(private readonly terminal: Terminal) {}

  info(fields: object, message: string): void {
    this.log('info', fields, message);
  }

  warn(fields: object, message: string): void {
    this.log('warn', fields, message);
  }

  error(fields: object, message: string): void {
    this.log('error', fields, message);
  }

  private log(level: string, fields: object, message: string): void {
    const details = Object.entries(fields).map(([name, value]) => ` ${name}=${typeof value === 'string' ? value : JSON.stringify(value)}`);
    this.terminal.warn(`${level} ${message}${details.join('')}`);
  }
}
