/** Faults of Triton, of the agent's own process and of its disk, on the real servers. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Pod, type PodOptions } from './pod';
import { BUCKET, documentOf, release, type Release } from './releases';
import { TritonContainer } from './triton-container';
import { AgentEnv, type BrainConfiguration } from '../../../src/contract';
import { Peer } from '../../runtime/adapters-aws/peer.fixture';
import { freePort } from '../free-port';
import { RecordingProxy } from '../s3/recording-proxy';
import { S3Server } from '../s3/s3-server';
import { startScript } from '../triton/start-script';

jest.setTimeout(600_000);

const X = [1, 2, 3];
const MIB = 2 ** 20;

let s3: S3Server;
let proxy: RecordingProxy;
let script: string;
let pod: Pod | undefined;

const start = async (options: Partial<PodOptions> = {}): Promise<Pod> => (pod = await Pod.start({ script, s3: proxy.url, ...options }));

beforeAll(async () => {
  script = startScript();
  s3 = await S3Server.start();
  await s3.createBucket(BUCKET);
  proxy = await RecordingProxy.start(s3.port);
});
afterEach(async () => {
  proxy.set(() => 'pass');
  await pod?.stop();
  pod = undefined;
});
afterAll(async () => {
  await proxy?.stop();
  await s3?.stop();
});

test('a Triton that is killed gets back what it held, and the pod is not ready until it has', async () => {
  const [one, two, other] = [await release(s3, 'eta', 1), await release(s3, 'eta', 2), await release(s3, 'surge', 3)];
  const { agent, triton } = await start();
  pod!.follow(documentOf([one], [other]));
  await pod!.until(() => agent.ready);
  pod!.follow(documentOf([two, one], [other]));
  await pod!.untilStatus('eta.2', 'ready');
  const asked = proxy.asked.length;
  for (let kill = 1; kill <= 2; kill++) {
    await triton.kill();
    await pod!.until(() => !agent.ready);
    await pod!.until(() => agent.ready);
    expect(await triton.infer('eta.2', X)).toEqual([2, 4, 6]);
    expect(await triton.infer('surge.3', X)).toEqual([3, 6, 9]);
  }
  // the one for a rollback, too
  await pod!.untilStatus('eta.1', 'ready');
  expect([agent.counts.crashes, proxy.asked.length]).toEqual([2, asked]);
});

test('a version that ends Triton whenever it loads is given up, and the others go on', async () => {
  const [one, poison, other] = [await release(s3, 'eta', 1), await release(s3, 'eta', 2, 'poison'), await release(s3, 'surge', 3)];
  await start({ machine: { probationMs: 1_000 } });
  pod!.follow(documentOf([one], [other]));
  await pod!.until(() => pod!.agent.ready);
  pod!.follow(documentOf([poison, one], [other]));
  await pod!.untilStatus('eta.2', 'poison');
  await pod!.until(() => pod!.agent.ready);
  expect(pod!.agent.counts.crashes).toBe(3);
  expect(await pod!.triton.infer('eta.1', X)).toEqual([1, 2, 3]);
  expect(await pod!.triton.infer('surge.3', X)).toEqual([3, 6, 9]);
  const { starts } = pod!.triton;
  const good = await release(s3, 'eta', 4);
  pod!.follow(documentOf([good, one], [other]));
  await pod!.untilStatus('eta.4', 'ready');
  expect(pod!.triton.starts).toBe(starts);
});

test('a disk that is full fails the download and nothing else; with room it goes on', async () => {
  const volume = mkdtempSync(join(tmpdir(), 'small-disk-'));
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=12m', 'tmpfs', volume]);
  try {
    const [one, two] = [await release(s3, 'eta', 1), await release(s3, 'eta', 2, 'times', 8 * MIB)];
    await start({ volume });
    pod!.follow(documentOf([one]));
    await pod!.until(() => pod!.agent.ready);
    const filler = join(volume, 'filler');
    writeFileSync(filler, Buffer.alloc(8 * MIB));
    pod!.follow(documentOf([two, one]));
    await pod!.untilStatus('eta.2', 'failed');
    expect(pod!.error('eta.2')).toMatch(/ENOSPC/);
    expect([pod!.agent.ready, await pod!.triton.infer('eta.1', X)]).toEqual([true, [1, 2, 3]]);
    rmSync(filler);
    await pod!.untilStatus('eta.2', 'ready');
  } finally {
    await pod?.stop();
    pod = undefined;
    execFileSync('umount', [volume]);
    rmSync(volume, { recursive: true });
  }
});

describe('the process of the agent', () => {
  const CONFIGURATION: BrainConfiguration = {
    schemaVersion: '1',
    name: 'brain',
    environment: 'dev',
    models: [{ name: 'eta', owner: 'tests' }],
    featureGroups: [],
    vectorIndexes: [],
    limits: { maxBodyBytes: MIB, maxBatch: 10, requestTimeoutMs: 1000 },
  };
  let folder: string;
  let bundle: string;
  let triton: TritonContainer;
  let appConfig: Peer;
  let document: string | undefined;
  let processes: ChildProcess[];
  let log: string;

  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'model-agent-'));
    bundle = join(folder, 'index.js');
    execFileSync(process.execPath, [
      require.resolve('esbuild/bin/esbuild'), 'runtime/model-agent/main.ts', '--bundle', '--platform=node', '--target=node20', '--log-level=error', `--outfile=${bundle}`,
    ], { cwd: join(__dirname, '../../..') });
  });
  beforeEach(async () => {
    processes = [];
    log = '';
    const volume = mkdtempSync(join(folder, 'models-'));
    mkdirSync(join(volume, 'repository'));
    triton = await TritonContainer.create(script, volume);
    triton.start();
    appConfig = await Peer.start(({ path }) => {
      if (document === undefined) return { status: 500, body: {} };
      if (path.startsWith('/configurationsessions')) return { status: 201, body: { InitialConfigurationToken: 'one' } };
      return { headers: { 'next-poll-configuration-token': 'two', 'next-poll-interval-in-seconds': '15' }, body: document };
    });
  });
  afterEach(async () => {
    for (const each of processes) if (each.exitCode === null && each.signalCode === null) each.kill('SIGKILL');
    await triton.stop();
    await appConfig.stop();
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  async function run(): Promise<{ readonly child: ChildProcess; readonly get: (path: string) => Promise<{ status: number; text: string }> }> {
    const root = mkdtempSync(join(folder, 'etc-'));
    const files = {
      'brain/brain.json': JSON.stringify(CONFIGURATION),
      'bindings/REGION': 'eu-central-1',
      'bindings/ARTIFACT_BUCKET': BUCKET,
      'bindings/ROLLOUT_APPLICATION': 'app',
      'bindings/ROLLOUT_ENVIRONMENT': 'env',
      'bindings/ROLLOUT_PROFILE': 'profile',
    };
    for (const [path, text] of Object.entries(files)) {
      mkdirSync(join(root, path, '..'), { recursive: true });
      writeFileSync(join(root, path), text);
    }
    const port = await freePort();
    const child = spawn(process.execPath, [
      bundle, '--root', root, '--volume', triton.volume, '--run', triton.run, '--port', String(port), '--look-ms', '50',
      '--triton-http-port', String(triton.ports.http), '--triton-grpc-port', String(triton.ports.grpc), '--triton-metrics-port', String(triton.ports.metrics),
    ], {
      stdio: ['ignore', 'pipe', 'inherit'],
      env: {
        PATH: process.env.PATH,
        NODE_NO_WARNINGS: '1',
        ...S3Server.environment(proxy.url),
        AWS_ENDPOINT_URL_APPCONFIGDATA: appConfig.url,
        [AgentEnv.POOL]: 'stable',
        [AgentEnv.DISK_BUDGET]: String(1024 * MIB),
      },
    });
    child.stdout!.on('data', (piece: Buffer) => { log += piece.toString(); });
    processes.push(child);
    const get = async (path: string) => {
      const answer = await fetch(`http://127.0.0.1:${port}${path}`).catch(() => undefined);
      return { status: answer?.status ?? 0, text: await answer?.text() ?? '' };
    };
    return { child, get };
  }

  async function until(holds: () => boolean | Promise<boolean>): Promise<void> {
    for (const end = Date.now() + 120_000; !await holds();) {
      if (Date.now() > end) throw new Error(`it does not come to that:\n${log.slice(-4000)}\n${triton.log.slice(-2000)}`);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }

  const kill = async (child: ChildProcess, signal: NodeJS.Signals) => {
    const ended = once(child, 'exit');
    child.kill(signal);
    return (await ended)[0];
  };

  test('a download that is cut off by kill -9 goes on where it was, and no range is read twice', async () => {
    const large: Release = await release(s3, 'eta', 1, 'times', 100 * MIB);
    document = JSON.stringify(documentOf([large]));
    const before = proxy.ranges('weights.bin').length;
    // seven of its parts arrive, and the others hang
    let passed = 0;
    proxy.set(({ path, range }) => (path.includes('weights.bin') && range !== undefined && ++passed > 7 ? 'hold' : 'pass'));
    const first = await run();
    await until(() => proxy.ranges('weights.bin').length - before === 13);
    // the agent has written down what it has
    await until(async () => Number(/^thalos_agent_downloaded_bytes_total (\d+)$/m.exec((await first.get('/metrics')).text)?.[1] ?? 0) >= 56 * MIB);
    expect((await first.get('/ready')).status).toBe(503);
    await kill(first.child, 'SIGKILL');
    const asked = proxy.ranges('weights.bin').slice(before);
    expect(triton.files()).toEqual([]);

    proxy.set(() => 'pass');
    const second = await run();
    await until(async () => (await second.get('/ready')).status === 200);
    const again = proxy.ranges('weights.bin').slice(before + asked.length);
    const all = Array.from({ length: 13 }, (_, part) => `bytes=${part * 8 * MIB}-${Math.min((part + 1) * 8, 100) * MIB - 1}`);
    // seven were there; all others were asked for once more, and together they are the file
    expect(again).toHaveLength(13 - 7);
    expect([...new Set([...asked, ...again])].sort()).toEqual([...all].sort());
    expect(await triton.infer('eta.1', X)).toEqual([1, 2, 3]);
    expect(await kill(second.child, 'SIGTERM')).toBe(0);
  });

  test('it starts again without AppConfig and without S3, as a pod that serves must', async () => {
    document = JSON.stringify(documentOf([await release(s3, 'eta', 1)]));
    const first = await run();
    await until(async () => (await first.get('/ready')).status === 200);
    await kill(first.child, 'SIGKILL');
    document = undefined;
    proxy.set(() => 'refuse');
    await triton.kill();
    const second = await run();
    await until(async () => (await second.get('/ready')).status === 200);
    expect(JSON.parse((await second.get('/versions')).text)).toMatchObject({
      ready: true, triton: { up: true, certificate: 'fresh' }, versions: [{ model: 'eta', version: '1', status: 'ready', serving: true }],
    });
    expect((await second.get('/metrics')).text).toMatch(/^thalos_agent_version_state\{model="eta",version="1",state="ready"\} 1$/m);
    expect((await second.get('/live')).status).toBe(200);
    // Triton keeps what it holds when the agent is told to stop
    expect(await kill(second.child, 'SIGTERM')).toBe(0);
    expect(await triton.infer('eta.1', X)).toEqual([1, 2, 3]);
  });

  test('it does not become ready without any document', async () => {
    document = undefined;
    const { child, get } = await run();
    await until(() => log.includes('"message":"started"'));
    expect((await get('/ready')).status).toBe(503);
    expect(await kill(child, 'SIGTERM')).toBe(0);
  });
});
