import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePort } from '../free-port';
import { pythonWith } from '../python';

const MODELS = join(__dirname, 'models');

/** What a Python says about itself: where its packages and its shared library are, and which version it is. */
const ABOUT = 'import sys, sysconfig; print(sysconfig.get_paths()["purelib"], sysconfig.get_config_var("LIBDIR"), "%d.%d" % sys.version_info[:2], sep="\\n")';

/**
 * The Triton that the wheel of `nvidia-pytriton` carries, on the CPU with its Python backend, started by the very script of our pods.
 * Only what belongs to this machine is changed in it: paths, ports, and the address, which is the loopback one.
 */
export class TritonServer {
  static async start(script: string): Promise<TritonServer> {
    const python = pythonWith(join(__dirname, 'requirements.txt'));
    const [packages, library, version] = execFileSync(python, ['-c', ABOUT], { encoding: 'utf8' }).trim().split('\n');
    const triton = join(packages, 'pytriton', 'tritonserver');
    const folder = mkdtempSync(join(tmpdir(), 'triton-'));
    const backend = join(folder, 'backends', 'python');
    mkdirSync(backend, { recursive: true });
    mkdirSync(join(folder, 'run'));
    for (const file of ['backends/python/libtriton_python.so', 'backends/python/triton_python_backend_utils.py', `python_backend_stubs/${version}/triton_python_backend_stub`]) {
      symlinkSync(join(triton, file), join(backend, file.split('/').at(-1)!));
    }
    const [http, grpc, metrics] = [await freePort(), await freePort(), await freePort()];
    const here = script
      .replaceAll('/run/thalos', join(folder, 'run'))
      .replace('--model-repository=/models', `--model-repository=${MODELS} --backend-directory=${join(folder, 'backends')} --http-address=127.0.0.1 --grpc-address=127.0.0.1 --metrics-address=127.0.0.1`)
      .replace(/--http-port=\d+/, `--http-port=${http}`)
      .replace(/--grpc-port=\d+/, `--grpc-port=${grpc}`)
      .replace(/--metrics-port=\d+/, `--metrics-port=${metrics}`);
    const server = spawn('/bin/sh', ['-ec', here], {
      stdio: ['ignore', 'ignore', 'pipe'],
      env: {
        ...process.env,
        PATH: [join(triton, 'bin'), join(python, '..'), process.env.PATH].join(':'),
        PYTHONPATH: packages,
        LD_LIBRARY_PATH: library,
      },
    });
    const started = new TritonServer(server, `http://127.0.0.1:${http}`, folder);
    await started.listens();
    return started;
  }

  private log = '';

  private constructor(private readonly server: ChildProcess, readonly url: string, private readonly folder: string) {
    server.stderr!.on('data', (piece: Buffer) => { this.log += piece.toString(); });
  }

  /** The key that the start script made for the management endpoints. */
  managementKey(): string {
    return readFileSync(join(this.folder, 'run', 'management-key'), 'utf8').trim();
  }

  /** Asks for a model of the repository to be loaded or unloaded; answers the HTTP status. */
  async manage(action: 'load' | 'unload', model: string, key?: string): Promise<number> {
    const headers: Record<string, string> = key === undefined ? {} : { 'thalos-management': key };
    return (await fetch(`${this.url}/v2/repository/models/${model}/${action}`, { method: 'POST', headers })).status;
  }

  async stop(): Promise<void> {
    const ended = once(this.server, 'exit');
    this.server.kill('SIGTERM');
    await ended;
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
