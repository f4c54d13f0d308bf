/** A server under measurement: a process of its own, on one core where the system can pin it, that tells its own CPU time. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { build } from 'esbuild';
import type { Contender } from './interleave';
import type { Load } from './load';
import { COMMON } from '../projenrc/bundle';

const ROOT = join(__dirname, '..');

/** Native parts, looked up at run time. */
const NATIVE = ['lmdb', '@duckdb/node-api', 'onnxruntime-node', 'onnxruntime-web'];

/** The core that servers run on; whoever loads them, and whatever they depend on, takes the other. */
export const SERVER_CORE = 0;
export const LOAD_CORE = 1;

/** What a server is asked over its channel; it answers in the same order. `delay` is of the event loop since `health`, milliseconds. */
export type Question = 'cpu' | 'memory' | 'health' | 'delay' | 'hold' | 'release' | 'inModel';

export interface Memory {
  /** After a collection, bytes. */
  readonly heapUsed: number;
  readonly arrayBuffers: number;
  readonly rss: number;
}

/** How a process that goes on is. */
export interface Health extends Memory {
  /** Open file descriptors. */
  readonly descriptors: number;
  /** What keeps the event loop alive, by kind. */
  readonly resources: Readonly<Record<string, number>>;
}

let pinnable: boolean | undefined;
/** The words before a command that binds it to one core; none where the system cannot. */
export function onCore(core: number): readonly string[] {
  pinnable ??= spawnSync('taskset', ['--version']).status === 0;
  return pinnable ? ['taskset', '-c', String(core)] : [];
}

/** Binds this process to one core, where the system can. */
export function pinSelf(core: number): void {
  const [taskset] = onCore(core);
  if (taskset) spawnSync(taskset, ['-acp', String(core), String(process.pid)]);
}

const bundles = new Map<string, Promise<string>>();

/** `bench/servers/<name>.ts` as one file. */
function bundled(name: string): Promise<string> {
  let file = bundles.get(name);
  if (!file) {
    mkdirSync(join(ROOT, '.tmp'), { recursive: true });
    const folder = mkdtempSync(join(ROOT, '.tmp', 'bench-'));
    process.once('exit', () => rmSync(folder, { recursive: true, force: true }));
    const outfile = join(folder, `${name}.js`);
    const entry = join(__dirname, 'servers', `${name}.ts`);
    file = build({ ...COMMON, write: true, external: NATIVE, entryPoints: [entry], outfile }).then(() => outfile);
    bundles.set(name, file);
  }
  return file;
}

export class ServerProcess {
  /**
   * Starts `bench/servers/<name>.ts`, bundled as the service is.
   *
   * @param settings what the server reads as JSON from its first argument
   */
  static async start(name: string, settings: object = {}, core = SERVER_CORE): Promise<ServerProcess> {
    const [command, ...before] = [...onCore(core), process.env.BENCH_NODE ?? process.execPath];
    const args = [...before, '--expose-gc', ...(process.env.BENCH_NODE_OPTIONS?.split(' ') ?? []), await bundled(name), JSON.stringify(settings)];
    const env = { ...process.env, NODE_ENV: 'production', NODE_OPTIONS: '' };
    const server = new ServerProcess(spawn(command, args, { stdio: ['ignore', 'inherit', 'inherit', 'ipc'], env }));
    try {
      server.ports = await server.answer<Record<string, number>>();
    } catch (error) {
      throw new Error(`${name}: ${(error as Error).message}`);
    }
    return server;
  }

  /** What the server listens on, by name. */
  ports: Readonly<Record<string, number>> = {};
  private readonly waiting: { resolve(answer: never): void; reject(error: Error): void }[] = [];
  private ended: Error | undefined;

  private constructor(private readonly child: ChildProcess) {
    child.on('message', (answer) => this.waiting.shift()?.resolve(answer as never));
    child.once('exit', (code, signal) => {
      this.ended = new Error(`the server ended with ${code ?? signal}`);
      for (const { reject } of this.waiting.splice(0)) reject(this.ended);
    });
    child.on('error', (error) => {
      for (const { reject } of this.waiting.splice(0)) reject(error);
    });
  }

  get pid(): number {
    return this.child.pid!;
  }

  /** The port of a server that has one. */
  get port(): number {
    return Object.values(this.ports)[0];
  }

  /** CPU time so far, user and system, milliseconds. */
  cpuMs(): Promise<number> {
    return this.ask('cpu');
  }

  ask<Answer>(question: Question): Promise<Answer> {
    if (this.ended) return Promise.reject(this.ended);
    this.child.send(question);
    return this.answer();
  }

  /** Waits until a question is answered with this number. */
  async until(question: Question, number: number): Promise<void> {
    while (await this.ask<number>(question) !== number) await new Promise((resolve) => setTimeout(resolve, 5));
  }

  /** This server under a load. */
  under(load: Load, times: number): Contender {
    return { times, cpuMs: () => this.cpuMs(), run: (requests) => load.run(requests) };
  }

  async stop(): Promise<void> {
    if (this.ended) return;
    const exited = once(this.child, 'exit');
    this.child.kill('SIGTERM');
    await exited;
  }

  private answer<Answer>(): Promise<Answer> {
    return new Promise((resolve, reject) => this.waiting.push({ resolve, reject }));
  }
}
