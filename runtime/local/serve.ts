import { once } from 'node:events';
import { openWorkplace, type Workplace } from './assembly';
import { BearerToken } from './bearer-token';
import { type Arguments, BRAIN_OPTIONS, type Command, type Context, text } from './command';
import { BrainConsole } from './console/console';
import { EXPOSURE_OPTIONS, type Exposure, exposureOf, LOOPBACK } from './exposure';
import { finishInterrupted } from './feature-flow';
import { openLocalTelemetry } from './local-telemetry';
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
import { type Logger, SYSTEM_CLOCK } from '../core/ports';
import { approvedVersions } from '../core/rollout';
import { letHeapGrow } from '../inference-service/heap';
import { createService, type Endpoint, type Service } from '../inference-service/service';

/** What listening fails with where the host is not this machine's, or cannot be resolved. */
const NO_ADDRESS: readonly string[] = ['EADDRNOTAVAIL', 'ENOTFOUND', 'EAI_AGAIN', 'EINVAL'];

/** Milliseconds between two looks at whether the stable versions are loaded. */
const LOOK_EVERY = 50;

export const LOCAL: Command = {
  words: 'local',
  positionals: [{ name: 'cdk.out', optional: true }],
  summary: 'run the brain of a synthesized assembly on this machine',
  details: [
    'Boots the inference service from the assembly (default: cdk.out) with embedded parts: features, vectors and models are those that',
    'features import, vectors import and models put have put into the data directory. Listens on 127.0.0.1 unless told otherwise, without JWT',
    'verification. The web console is on the port of REST, under /console.',
    'Prints one line that begins with "ready" and holds the URL when it can answer. SIGTERM and Ctrl-C drain it.',
  ],
  options: {
    'http-port': { type: 'string', shown: '--http-port <number>', text: 'the port of REST (default: a free one)' },
    'grpc-port': { type: 'string', shown: '--grpc-port <number>', text: 'the port of gRPC (default: a free one)' },
    ...EXPOSURE_OPTIONS,
    ...BRAIN_OPTIONS,
  },
  async run(args, context) {
    const listening = { ...exposureOf(args), http: portOf(args, 'http-port'), grpc: portOf(args, 'grpc-port') };
    // on Linux this takes the place of the command line, which everybody on the machine can see
    if (text(args, 'token') !== undefined) process.title = 'thalos-brain local';
    const workplace = openWorkplace(args, args.positionals[0]);
    context.natives.require(['lmdb', '@duckdb/node-api', 'onnxruntime-node']);
    const lock = workplace.data.lock('local');
    try {
      await serve(workplace, listening, context);
    } finally {
      lock.release();
    }
  },
};

function portOf(args: Arguments, option: 'http-port' | 'grpc-port'): number {
  const given = text(args, option);
  if (given === undefined) return 0;
  const port = Number(given);
  return /^[0-9]+$/.test(given) && port <= 65535 ? port : reject('USAGE', `--${option} must be a number from 0 to 65535, got '${given}'`);
}

interface Listening extends Exposure {
  readonly http: number;
  readonly grpc: number;
}

async function serve(workplace: Workplace, listening: Listening, { natives, terminal }: Context): Promise<void> {
  letHeapGrow();
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
  const local = await openLocalTelemetry(configuration, data, natives, SYSTEM_CLOCK, logger);
  const { telemetry, recorder } = local;
  const { host } = listening;
  const token = listening.token === undefined ? undefined : new BearerToken(listening.token);
  const brainConsole = new BrainConsole({ configuration, data, features, vectors, rollout, recorder, logger, clock: SYSTEM_CLOCK, token });
  const service = createService({
    configuration,
    runtime,
    manifests: new FileManifestSource(version),
    rollout,
    features,
    vectors,
    logger,
    telemetry,
    authenticator: token,
    extra: brainConsole.handle,
  });
  try {
    const url = await listen(service.rest, host, listening.http, '--http-port');
    const grpc = await listen(service.grpc, host, listening.grpc, '--grpc-port');
    brainConsole.listening(host, url, grpc);
    terminal.print(`brain '${configuration.name}' (${configuration.environment}), data in ${data.root}`);
    terminal.print(`no JWT verification: ${token ? 'whoever has the token' : 'every process on this machine'} may ask ${url}`);
    terminal.print(`gRPC at ${grpc}, console at ${url}/console`);
    if (host !== LOOPBACK) terminal.warn(`what goes to ${host}, the token too, is not encrypted: listen there in a network that you trust only, or on ${LOOPBACK} behind a tunnel`);
    await service.start();
    if (await untilReady(service, stopped)) terminal.print(`ready ${url}`);
    await stopped;
    service.drain();
    brainConsole.close();
    terminal.warn('draining: requests under way are answered');
  } finally {
    brainConsole.close();
    await service.close();
    await Promise.all([runtime.close(), features.close(), vectors.close(), rollout.close(), local.close()]);
  }
}

async function listen(endpoint: Endpoint, host: string, port: number, option: string): Promise<string> {
  try {
    return await endpoint.listen({ host, port });
  } catch (error) {
    const code = systemCode(error);
    if (code === 'EADDRINUSE') reject('PORT_IN_USE', `port ${port} of ${host} is in use: give another ${option}, or none for a free one`, error);
    if (code === 'EACCES') reject('PORT_IN_USE', `port ${port} of ${host} is not allowed for this user: give another ${option}, or none for a free one`, error);
    if (code !== undefined && NO_ADDRESS.includes(code)) reject('USAGE', `--host ${host} is no address of this machine (${code})`, error);
    throw error;
  }
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
    const details = Object.entries(fields).filter(([, value]) => value !== undefined).map(([name, value]) => ` ${name}=${typeof value === 'string' ? value : JSON.stringify(value)}`);
    this.terminal.warn(`${level} ${message}${details.join('')}`);
  }
}
