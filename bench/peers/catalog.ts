/** The servers that ours is compared with, and what each of them is asked. Versions are pinned in `peers/<name>/requirements.txt`. */
import { execFileSync } from 'node:child_process';
import { copyFileSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { MODELS } from './models';
import { type PeerCommand, pythonOf } from './process';
import { freePort } from '../../test/conformance/free-port';

/** `name` of a load in peers.ts, and what ours may cost of what the peer costs. Null: no goal is set, the figure is for orientation. */
export type Goals = Readonly<Partial<Record<Work, number | null>>>;
export const WORKS = ['small-json', 'small-grpc', 'big-json', 'big-binary', 'big-grpc', 'features'] as const;
export type Work = typeof WORKS[number];

export interface Peer {
  readonly goals: Goals;
  /** @param folder an empty one @param models where `<name>.onnx` are */
  command(folder: string, models: string): Promise<PeerCommand & { readonly http: number; readonly grpc?: number }>;
}

const TRITON_BACKEND = ['backends/python/libtriton_python.so', 'backends/python/triton_python_backend_utils.py'];
/** What a Python says about itself: where its packages and its shared library are, and which version it is. */
const ABOUT = 'import sys, sysconfig; print(sysconfig.get_paths()["purelib"], sysconfig.get_config_var("LIBDIR"), "%d.%d" % sys.version_info[:2], sep="\\n")';

const triton: Peer = {
  goals: { 'small-json': 0.5, 'small-grpc': 0.5, 'big-json': 0.6, 'big-binary': 0.6, 'big-grpc': 1 },
  async command(folder, models) {
    const python = pythonOf('triton');
    const [packages, library, version] = execFileSync(python, ['-c', ABOUT], { encoding: 'utf8' }).trim().split('\n');
    const server = join(packages, 'pytriton', 'tritonserver');
    const backend = join(folder, 'backends', 'python');
    mkdirSync(backend, { recursive: true });
    for (const file of [...TRITON_BACKEND, `python_backend_stubs/${version}/triton_python_backend_stub`]) {
      symlinkSync(join(server, file), join(backend, file.split('/').at(-1)!));
    }
    const repository = join(folder, 'models');
    for (const { name, input, output } of MODELS) {
      mkdirSync(join(repository, name, '1'), { recursive: true });
      copyFileSync(join(models, `${name}.onnx`), join(repository, name, '1', 'model.onnx'));
      copyFileSync(join(__dirname, 'triton', 'model.py'), join(repository, name, '1', 'model.py'));
      writeFileSync(join(repository, name, 'config.pbtxt'), [
        `name: "${name}"`,
        'backend: "python"',
        'max_batch_size: 0',
        `input [ { name: "x" data_type: TYPE_FP32 dims: [${input.shape.join(', ')}] } ]`,
        `output [ { name: "y" data_type: TYPE_FP32 dims: [${output.shape.join(', ')}] } ]`,
        'instance_group [ { kind: KIND_CPU count: 1 } ]',
      ].join('\n'));
    }
    const [http, grpc, metrics] = [await freePort(), await freePort(), await freePort()];
    return {
      http,
      grpc,
      command: [
        join(server, 'bin', 'tritonserver'), `--model-repository=${repository}`, `--backend-directory=${join(folder, 'backends')}`,
        `--backend-config=python,shm-region-prefix-name=bench-${process.pid}`, '--http-address=127.0.0.1', '--grpc-address=127.0.0.1',
        '--metrics-address=127.0.0.1', `--http-port=${http}`, `--grpc-port=${grpc}`, `--metrics-port=${metrics}`,
      ],
      env: { PATH: [join(server, 'bin'), join(python, '..'), process.env.PATH].join(':'), PYTHONPATH: packages, LD_LIBRARY_PATH: library },
      readyUrl: `http://127.0.0.1:${http}/v2/health/ready`,
    };
  },
};

const fastapi: Peer = {
  goals: { 'small-json': 0.5, 'big-json': null, 'big-binary': null },
  async command(_folder, models) {
    const http = await freePort();
    return { http, command: [pythonOf('fastapi'), join(__dirname, 'fastapi', 'serve.py'), String(http), models], readyUrl: `http://127.0.0.1:${http}/ready` };
  },
};

const kserve: Peer = {
  goals: { 'small-json': 1 / 6, 'small-grpc': null, 'big-json': null, 'big-binary': null, 'big-grpc': null },
  async command(_folder, models) {
    const [http, grpc] = [await freePort(), await freePort()];
    const command = [pythonOf('kserve'), join(__dirname, 'kserve', 'serve.py'), String(http), String(grpc), models];
    return { http, grpc, command, readyUrl: `http://127.0.0.1:${http}/v2/health/ready` };
  },
};

const mlserver: Peer = {
  goals: { 'small-json': 1 / 6, 'small-grpc': null, 'big-json': null, 'big-grpc': null },
  async command(folder, models) {
    const [http_port, grpc_port, metrics_port] = [await freePort(), await freePort(), await freePort()];
    copyFileSync(join(__dirname, 'mlserver', 'runtime.py'), join(folder, 'runtime.py'));
    // in the server's own process: one worker, and none of the cost of a second
    writeFileSync(join(folder, 'settings.json'), JSON.stringify({ host: '127.0.0.1', http_port, grpc_port, metrics_port, parallel_workers: 0, debug: false }));
    for (const { name } of MODELS) {
      mkdirSync(join(folder, name));
      writeFileSync(join(folder, name, 'model-settings.json'), JSON.stringify({ name, implementation: 'runtime.OnnxModel' }));
    }
    return {
      http: http_port,
      grpc: grpc_port,
      command: [pythonOf('mlserver'), '-c', 'from mlserver.cli import main; main()', 'start', folder],
      env: { BENCH_MODELS: models, PYTHONPATH: folder },
      readyUrl: `http://127.0.0.1:${http_port}/v2/health/ready`,
    };
  },
};

const bentoml: Peer = {
  goals: { 'small-json': null, 'big-json': null },
  async command(folder, models) {
    const http = await freePort();
    copyFileSync(join(__dirname, 'bentoml', 'service.py'), join(folder, 'service.py'));
    return {
      http,
      cwd: folder,
      command: [pythonOf('bentoml'), '-m', 'bentoml', 'serve', 'service:Bench', '--host', '127.0.0.1', '--port', String(http)],
      env: { BENCH_MODELS: models, BENTOML_HOME: join(folder, 'home'), BENTOML_DO_NOT_TRACK: 'true' },
      readyUrl: `http://127.0.0.1:${http}/readyz`,
    };
  },
};

const feast: Peer = {
  goals: { features: 1 / 20 },
  async command(folder) {
    const python = pythonOf('feast');
    const env = { FEAST_USAGE: 'False', IS_TEST: 'True' };
    execFileSync(python, [join(__dirname, 'feast', 'repo.py')], { cwd: folder, env: { ...process.env, ...env }, stdio: ['ignore', 'ignore', 'inherit'] });
    const http = await freePort();
    return {
      http,
      cwd: folder,
      env,
      // as shipped it would start its worker anew after every 1000 requests
      command: [
        python, '-c', 'from feast.cli.cli import cli; cli()', 'serve', '--host', '127.0.0.1', '--port', String(http), '--workers', '1', '--no-access-log',
        '--max-requests', '0', '--max-requests-jitter', '0', '--registry_ttl_sec', '3600',
      ],
      readyUrl: `http://127.0.0.1:${http}/health`,
    };
  },
};

export const PEERS = { triton, fastapi, kserve, mlserver, feast, bentoml } as const satisfies Record<string, Peer>;
