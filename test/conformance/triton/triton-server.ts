import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { MANAGEMENT_HEADER, tritonModelName } from '../../../src/contract';
import type { Pair } from '../../support/certificates';
import { freePort } from '../free-port';
import { pythonWith } from '../python';

/** `<model>/config.pbtxt` for all versions of a model, and a folder for each. */
const MODELS = join(__dirname, 'models');
const SHARED_MEMORY = '/dev/shm';

/** What a Python says about itself: where its packages and its shared library are, and which version it is. */
const ABOUT = 'import sys, sysconfig; print(sysconfig.get_paths()["purelib"], sysconfig.get_config_var("LIBDIR"), "%d.%d" % sys.version_info[:2], sep="\\n")';

export interface Ports {
  readonly http: number;
  readonly grpc: number;
  readonly metrics: number;
}

export interface TritonOptions {
  /** Of a server that was there before and comes back. @default - free ones */
  readonly ports?: Ports;
  /** What it shows to its clients on gRPC, and whose certificates it takes from them. @default - plain text */
  readonly tls?: Pair & { readonly ca: string };
  /** Its repository. @default - every version of the models that lie beside this file */
  readonly models?: string;
}

export const freePorts = async (): Promise<Ports> => ({ http: await freePort(), grpc: await freePort(), metrics: await freePort() });

/** The backends, in a folder, and what a process of Triton needs besides: `folder` also names its shared memory. */
export function installTriton(folder: string): { readonly env: NodeJS.ProcessEnv; readonly flags: readonly string[] } {
  const python = pythonWith(join(__dirname, 'requirements.txt'));
  const [packages, library, version] = execFileSync(python, ['-c', ABOUT], { encoding: 'utf8' }).trim().split('\n');
  const triton = join(packages, 'pytriton', 'tritonserver');
  const backend = join(folder, 'backends', 'python');
  mkdirSync(backend, { recursive: true });
  for (const file of ['backends/python/libtriton_python.so', 'backends/python/triton_python_backend_utils.py', `python_backend_stubs/${version}/triton_python_backend_stub`]) {
    symlinkSync(join(triton, file), join(backend, file.split('/').at(-1)!));
  }
  return {
    env: {
      ...process.env,
      PATH: [join(triton, 'bin'), join(python, '..'), process.env.PATH].join(':'),
      PYTHONPATH: packages,
      LD_LIBRARY_PATH: library,
    },
    flags: [`--backend-directory=${join(folder, 'backends')}`, `--backend-config=python,shm-region-prefix-name=${basename(folder)}`],
  };
}

export interface Adaptation {
  readonly repository: string;
  readonly run: string;
  readonly ports: Ports;
  readonly flags: readonly string[];
}

/** The script of our pods with the paths, the ports, the address and the certificates of this machine, which `flags` name. */
export function adapt(script: string, { repository, run, ports, flags }: Adaptation): string {
  const addresses = ['http', 'grpc', 'metrics'].map((name) => `--${name}-address=127.0.0.1`);
  return script
    .replaceAll('/run/thalos', run)
    .replace(/--grpc-(?:use-ssl|server-|root-)\S+/g, '')
    .replace(/--model-repository=\S+/, [`--model-repository=${repository}`, ...addresses, ...flags].join(' '))
    .replace(/--http-port=\d+/, `--http-port=${ports.http}`)
    .replace(/--grpc-port=\d+/, `--grpc-port=${ports.grpc}`)
    .replace(/--metrics-port=\d+/, `--metrics-port=${ports.metrics}`);
}

/** Removes what a killed server leaves behind in shared memory. */
export function removeSharedMemory(folder: string): void {
  for (const file of readdirSync(SHARED_MEMORY)) if (file.startsWith(basename(folder))) rmSync(join(SHARED_MEMORY, file), { force: true });
}

/**
 * The Triton that the wheel of `nvidia-pytriton` carries, on the CPU with its Python backend, started by the very script of our pods.
 * Only what belongs to this machine is changed in it: paths, ports, and the address, which is the loopback one.
 */
export class TritonServer {
  static async start(script: string, options: TritonOptions = {}): Promise<TritonServer> {
    const folder = mkdtempSync(join(tmpdir(), 'triton-'));
    mkdirSync(join(folder, 'run'));
    const ports = options.ports ?? await freePorts();
    const installed = installTriton(folder);
    const here = adapt(script, { repository: options.models ?? repositoryIn(folder), run: join(folder, 'run'), ports, flags: [...installed.flags, mutualTls(folder, options.tls)] });
    const server = spawn('/bin/sh', ['-ec', here], {
      // its own process group, with the processes of its models
      detached: true,
      stdio: ['ignore', 'ignore', 'pipe'],
      env: installed.env,
    });
    const started = new TritonServer(server, ports, folder);
    await started.listens();
    return started;
  }

  private log = '';

  private constructor(private readonly server: ChildProcess, readonly ports: Ports, private readonly folder: string) {
    server.stderr!.on('data', (piece: Buffer) => { this.log += piece.toString(); });
  }

  /** Base URL of its REST API. */
  get url(): string {
    return `http://127.0.0.1:${this.ports.http}`;
  }

  /** `host:port` of its gRPC API. */
  get address(): string {
    return `127.0.0.1:${this.ports.grpc}`;
  }

  /** Inference requests that arrived at a model and ended, well or not, since the server started. */
  async requests(model: string): Promise<number> {
    const metrics = await (await fetch(`http://127.0.0.1:${this.ports.metrics}/metrics`)).text();
    let sum = 0;
    for (const [, labels, value] of metrics.matchAll(/^nv_inference_request_(?:success|failure)\{([^}]*)\} (\S+)$/gm)) {
      if (labels.includes(`model="${model}.`)) sum += Number(value);
    }
    return sum;
  }

  /** The key that the start script made for the management endpoints. */
  managementKey(): string {
    return readFileSync(join(this.folder, 'run', 'management-key'), 'utf8').trim();
  }

  /** Asks for all versions of a model of the repository to be loaded or unloaded; answers the HTTP status, the worst of them. */
  async manage(action: 'load' | 'unload', model: string, key?: string): Promise<number> {
    const versions = readdirSync(join(MODELS, model)).filter((name) => /^\d+$/.test(name));
    const answers = await Promise.all(versions.map((version) => this.ask(action, tritonModelName({ name: model, version }), key)));
    return Math.max(...answers.map(({ status }) => status));
  }

  /** Asks for one model, as Triton knows it, to be loaded or unloaded. */
  ask(action: 'load' | 'unload', model: string, key?: string): Promise<Response> {
    const headers: Record<string, string> = key === undefined ? {} : { [MANAGEMENT_HEADER]: key };
    return fetch(`${this.url}/v2/repository/models/${model}/${action}`, { method: 'POST', headers });
  }

  /** SIGTERM: requests that it has are answered. */
  stop(): Promise<void> {
    return this.end('SIGTERM');
  }

  /** SIGKILL: requests that it has are lost. */
  kill(): Promise<void> {
    return this.end('SIGKILL');
  }

  private async end(signal: NodeJS.Signals): Promise<void> {
    if (this.server.exitCode === null && this.server.signalCode === null) {
      const ended = once(this.server, 'exit');
      if (signal === 'SIGKILL') process.kill(-this.server.pid!, signal);
      else this.server.kill(signal);
      await ended;
    }
    removeSharedMemory(this.folder);
    rmSync(this.folder, { recursive: true, force: true });
  }

  /** Triton says so on its standard error when its HTTP service is up. */
  private async listens(): Promise<void> {
    const ended = once(this.server, 'exit').then(([code]) => {
      throw new Error(`tritonserver ended with ${code} before it listened:\n${this.log.slice(-2000)}`);
    });
    const up = new Promise<void>((resolve) => {
      this.server.stderr!.on('data', () => {
        if (this.log.includes('Started Metrics Service')) resolve();
      });
    });
    await Promise.race([up, ended]);
    ended.catch(() => undefined);
  }
}

/** Each version as the agent lays it out: a Triton model of its own. */
function repositoryIn(folder: string): string {
  const repository = join(folder, 'repository');
  for (const name of readdirSync(MODELS)) {
    const configuration = readFileSync(join(MODELS, name, 'config.pbtxt'), 'utf8');
    for (const version of readdirSync(join(MODELS, name)).filter((entry) => /^\d+$/.test(entry))) {
      const model = join(repository, tritonModelName({ name, version }));
      mkdirSync(model, { recursive: true });
      writeFileSync(join(model, 'config.pbtxt'), `${configuration}version_policy { specific { versions: ${version} } }\n`);
      symlinkSync(join(MODELS, name, version), join(model, version));
    }
  }
  return repository;
}

function mutualTls(folder: string, tls: TritonOptions['tls']): string {
  if (!tls) return '';
  for (const file of ['cert', 'key', 'ca'] as const) writeFileSync(join(folder, file), tls[file]);
  return `--grpc-use-ssl=true --grpc-use-ssl-mutual=true --grpc-server-cert=${folder}/cert --grpc-server-key=${folder}/key --grpc-root-cert=${folder}/ca`;
}
