/** A Triton container as the kubelet runs it: the script of our pods, started again whenever it ends, over one volume and one folder for its key. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { adapt, freePorts, installTriton, type Ports, removeSharedMemory } from '../triton/triton-server';

export class TritonContainer {
  /** @param certificates folder of `tls.crt`, `tls.key` and `ca.crt`; absent: plain text */
  static async create(script: string, volume: string, certificates?: string): Promise<TritonContainer> {
    return new TritonContainer(script, volume, await freePorts(), mkdtempSync(join(tmpdir(), 'triton-')), certificates);
  }

  /** Processes that were started. */
  starts = 0;
  log = '';
  readonly run: string;
  private readonly env: NodeJS.ProcessEnv;
  private readonly script: string;
  private process: ChildProcess | undefined;
  private stopped = false;

  private constructor(
    script: string, readonly volume: string, readonly ports: Ports, private readonly folder: string, certificates: string | undefined,
  ) {
    this.run = join(folder, 'run');
    mkdirSync(this.run);
    const { env, flags } = installTriton(folder);
    const tls = certificates === undefined ? [] : [
      '--grpc-use-ssl=true', '--grpc-use-ssl-mutual=true',
      `--grpc-server-cert=${certificates}/tls.crt`, `--grpc-server-key=${certificates}/tls.key`, `--grpc-root-cert=${certificates}/ca.crt`,
    ];
    this.env = env;
    this.script = adapt(script, { repository: join(volume, 'repository'), run: this.run, ports: this.ports, flags: [...flags, ...tls] });
  }

  get url(): string {
    return `http://127.0.0.1:${this.ports.http}`;
  }

  get key(): string {
    return readFileSync(join(this.run, 'management-key'), 'utf8').trim();
  }

  start(): void {
    this.starts++;
    const child = spawn('/bin/sh', ['-ec', this.script], { detached: true, stdio: ['ignore', 'ignore', 'pipe'], env: this.env });
    child.stderr.on('data', (piece: Buffer) => { this.log += piece.toString(); });
    this.process = child;
    child.once('exit', () => {
      // with a container end all of its processes
      this.killGroup(child);
      if (!this.stopped) this.start();
    });
  }

  /** SIGKILL to all of its processes. */
  async kill(): Promise<void> {
    const ended = once(this.process!, 'exit');
    this.killGroup(this.process!);
    await ended;
  }

  async stop(): Promise<void> {
    this.stopped = true;
    if (this.process && this.process.exitCode === null && this.process.signalCode === null) await this.kill();
    removeSharedMemory(this.folder);
    rmSync(this.folder, { recursive: true, force: true });
  }

  /** Names and states that it shows to the holder of its key. */
  async index(): Promise<string[]> {
    const answer = await fetch(`${this.url}/v2/repository/index`, { method: 'POST', headers: { 'thalos-management': this.key } });
    const entries = await answer.json() as { name: string; version?: string; state?: string }[];
    return entries.filter(({ state }) => state === 'READY').map(({ name }) => name).sort();
  }

  /** What a version answers to `x`; undefined where it does not answer. */
  async infer(name: string, x: readonly number[]): Promise<readonly number[] | undefined> {
    const body = JSON.stringify({ inputs: [{ name: 'x', datatype: 'FP32', shape: [1, x.length], data: x }] });
    const answer = await fetch(`${this.url}/v2/models/${name}/infer`, { method: 'POST', body }).catch(() => undefined);
    if (answer?.status !== 200) return undefined;
    return ((await answer.json()) as { outputs: { data: number[] }[] }).outputs[0].data;
  }

  files(): string[] {
    const repository = join(this.volume, 'repository');
    return existsSync(repository) ? readdirSync(repository).sort() : [];
  }

  private killGroup(child: ChildProcess): void {
    try {
      process.kill(-child.pid!, 'SIGKILL');
    } catch {
      // all of them have ended
    }
  }
}
