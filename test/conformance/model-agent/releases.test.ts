/** Releases through the model agent, on a real Triton and a real S3 server. */
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Pod, type PodOptions } from './pod';
import { BUCKET, documentOf, release, type Release } from './releases';
import { digestOf } from '../../../runtime/core/digest';
import { RecordingProxy } from '../s3/recording-proxy';
import { S3Server } from '../s3/s3-server';
import { startScript } from '../triton/start-script';

jest.setTimeout(600_000);

const X = [1, 2, 3];

let s3: S3Server;
let proxy: RecordingProxy;
let script: string;
let pod: Pod;

const start = async (options: Partial<PodOptions> = {}): Promise<Pod> => (pod = await Pod.start({ script, s3: proxy.url, ...options }));

beforeAll(async () => {
  script = startScript();
  s3 = await S3Server.start();
  await s3.createBucket(BUCKET);
  proxy = await RecordingProxy.start(s3.port);
});
afterEach(async () => {
  proxy.set(() => 'pass');
  await pod.stop();
});
afterAll(async () => {
  await proxy?.stop();
  await s3?.stop();
});

test('a pod becomes ready when its released versions are loaded and warm, and answers with the real ONNX model', async () => {
  const [one, other] = [await release(s3, 'eta', 1, 'onnx'), await release(s3, 'surge', 4)];
  await start();
  expect(pod.agent.ready).toBe(false);
  pod.follow(documentOf([one], [other]));
  await pod.until(() => pod.agent.ready);
  expect(await pod.triton.index()).toEqual(['eta.1', 'surge.4']);
  expect(await pod.triton.infer('eta.1', X)).toEqual([1, 2, 3]);
  expect(await pod.triton.infer('surge.4', X)).toEqual([4, 8, 12]);
});

test('only the holder of the key manages Triton, and only what the agent loads is served', async () => {
  const one = await release(s3, 'eta', 1);
  await start();
  pod.follow(documentOf([one]));
  await pod.until(() => pod.agent.ready);
  for (const path of ['repository/index', 'repository/models/eta.1/unload', 'repository/models/eta.1/load']) {
    expect((await fetch(`${pod.triton.url}/v2/${path}`, { method: 'POST' })).status).toBe(403);
  }
  // what lies in the repository is not loaded by itself
  mkdirSync(join(pod.volume, 'repository/other.1/1'), { recursive: true });
  writeFileSync(join(pod.volume, 'repository/other.1/1/model.py'), one.files['model.py']);
  expect((await fetch(`${pod.triton.url}/v2/models/other.1/ready`)).status).toBe(400);
  expect(pod.triton.log).toContain('model_control_mode');
  expect(pod.triton.log).toMatch(/model_control_mode\s*\|\s*MODE_EXPLICIT/);
  expect(pod.triton.log).toMatch(/strict_readiness\s*\|\s*1/);
  // what somebody else had it load goes again
  const key = pod.triton.key;
  writeFileSync(join(pod.volume, 'repository/other.1/config.pbtxt'), 'name: "other.1"\nbackend: "python"\ninput [{ name: "x" data_type: TYPE_FP32 dims: [-1, 3] }]\noutput [{ name: "y" data_type: TYPE_FP32 dims: [-1, 3] }]\n');
  expect((await fetch(`${pod.triton.url}/v2/repository/models/other.1/load`, { method: 'POST', headers: { 'thalos-management': key } })).status).toBe(200);
  await pod.until(async () => !(await pod.triton.index()).includes('other.1'));
});

test('the new version is loaded beside the old one, which stays for a rollback and then goes', async () => {
  const [one, two] = [await release(s3, 'eta', 1), await release(s3, 'eta', 2)];
  await start({ machine: { rollbackMs: 3_000 } });
  pod.follow(documentOf([one]));
  await pod.until(() => pod.agent.ready);
  pod.follow(documentOf([two, one]));
  await pod.untilStatus('eta.2', 'ready');
  expect(await pod.triton.index()).toEqual(['eta.1', 'eta.2']);
  const asked = proxy.asked.length;
  pod.follow(documentOf([one, two]));
  expect(pod.status('eta.1')).toBe('ready');
  expect(await pod.triton.infer('eta.1', X)).toEqual([1, 2, 3]);
  await pod.until(async () => (await pod.triton.index()).join() === 'eta.1');
  // on disk it stays, for as long as there is room
  expect(pod.triton.files()).toEqual(['eta.1', 'eta.2']);
  pod.follow(documentOf([two, one]));
  await pod.untilStatus('eta.2', 'ready');
  expect(proxy.asked.length).toBe(asked);
});

test('a version that is withdrawn is unloaded and removed, whatever it serves', async () => {
  const [one, two] = [await release(s3, 'eta', 1), await release(s3, 'eta', 2, 'broken')];
  await start();
  pod.follow(documentOf([one]));
  await pod.until(() => pod.agent.ready);
  pod.follow(documentOf([two]));
  await pod.until(() => pod.triton.files().join() === 'eta.2' && pod.status('eta.2') === 'failed');
  expect(await pod.triton.index()).toEqual([]);
});

test('other bytes under the same number take the place of those before', async () => {
  const one = await release(s3, 'eta', 1);
  await start();
  pod.follow(documentOf([one]));
  await pod.until(() => pod.agent.ready);
  const again = await release(s3, 'eta', 1, 'onnx');
  pod.follow(documentOf([again]));
  await pod.until(() => pod.agent.state.serving.eta === `eta.1@${again.digest}`);
  expect(existsSync(join(pod.volume, 'repository/eta.1/1/model.onnx'))).toBe(true);
  expect(await pod.triton.infer('eta.1', X)).toEqual([1, 2, 3]);
});

test('an artifact that is not what was released never reaches Triton, and does when it is', async () => {
  const [one, two] = [await release(s3, 'eta', 1), await release(s3, 'eta', 2)];
  const corrupt = Buffer.from(two.files['model.py']);
  corrupt[corrupt.length - 3] = 120;
  await s3.put(BUCKET, 'models/eta/2/model.py', corrupt);
  await start();
  pod.follow(documentOf([one]));
  await pod.until(() => pod.agent.ready);
  pod.follow(documentOf([two, one]));
  await pod.untilStatus('eta.2', 'failed');
  expect(pod.error('eta.2')).toMatch(/^DIGEST_MISMATCH: 'model\.py'/);
  expect(pod.triton.files()).toEqual(['eta.1']);
  expect([pod.agent.ready, await pod.triton.infer('eta.1', X)]).toEqual([true, [1, 2, 3]]);
  await s3.put(BUCKET, 'models/eta/2/model.py', two.files['model.py']);
  await pod.untilStatus('eta.2', 'ready');
});

test('a manifest that is not the approved one is refused', async () => {
  const one = await release(s3, 'eta', 1);
  await start();
  pod.follow(documentOf([{ ...one, digest: digestOf('another manifest') }]));
  await pod.untilStatus('eta.1', 'failed');
  expect(pod.error('eta.1')).toMatch(/^DIGEST_MISMATCH/);
  expect([pod.agent.ready, pod.triton.files()]).toEqual([false, []]);
});

test('a version that cannot be loaded does not change readiness, and the one before serves on', async () => {
  const [one, two] = [await release(s3, 'eta', 1), await release(s3, 'eta', 2, 'broken')];
  await start();
  pod.follow(documentOf([one]));
  await pod.until(() => pod.agent.ready);
  pod.follow(documentOf([two, one]));
  await pod.until(() => pod.agent.counts.failedLoads >= 2);
  expect(pod.error('eta.2')).toMatch(/MODEL_FAILED: .*cannot be loaded/);
  expect([pod.agent.ready, pod.agent.state.serving.eta]).toEqual([true, `eta.1@${one.digest}`]);
  // Triton itself counts it, which is why the pod does not ask it
  expect((await fetch(`${pod.triton.url}/v2/health/ready`)).status).not.toBe(200);
  expect(await pod.triton.infer('eta.1', X)).toEqual([1, 2, 3]);
});

test('a document that flaps never takes away what serves, and ends as its last word', async () => {
  const [one, two] = [await release(s3, 'eta', 1, 'times', 2 ** 20), await release(s3, 'eta', 2, 'times', 2 ** 20)];
  await start();
  pod.follow(documentOf([one, two]));
  await pod.until(() => pod.agent.ready);
  let flapping = true;
  const answers = (async () => {
    const seen: (readonly number[] | undefined)[] = [];
    while (flapping) seen.push(await pod.triton.infer('eta.1', X));
    return seen;
  })();
  for (let turn = 0; turn < 40; turn++) {
    pod.follow(documentOf(turn % 2 === 0 ? [two, one] : [one, two]));
    await new Promise((resolve) => setTimeout(resolve, turn * 5));
  }
  pod.follow(documentOf([two, one]));
  await pod.untilStatus('eta.2', 'ready');
  flapping = false;
  const seen = await answers;
  expect(seen.length).toBeGreaterThan(10);
  expect(seen.filter((answer) => answer?.join() !== '1,2,3')).toEqual([]);
  expect(pod.agent.state.serving.eta).toBe(`eta.2@${two.digest}`);
});

test('while the store is away the pod stays as it is, and goes on when it is back', async () => {
  const [one, two] = [await release(s3, 'eta', 1), await release(s3, 'eta', 2)];
  await start();
  pod.follow(documentOf([one]));
  await pod.until(() => pod.agent.ready);
  proxy.set(() => 'refuse');
  pod.follow(documentOf([two, one]));
  await pod.untilStatus('eta.2', 'failed');
  expect(pod.error('eta.2')).toMatch(/^ARTIFACT_STORE_UNAVAILABLE/);
  expect([pod.agent.ready, await pod.triton.infer('eta.1', X)]).toEqual([true, [1, 2, 3]]);
  proxy.set(() => 503);
  await pod.until(() => pod.agent.state.versions[`eta.2@${two.digest}`].failures >= 3);
  proxy.set(() => 'pass');
  await pod.untilStatus('eta.2', 'ready');
});

test('an agent that starts again takes up what Triton holds and loads nothing twice', async () => {
  const one = await release(s3, 'eta', 1);
  await start();
  pod.follow(documentOf([one]));
  await pod.until(() => pod.agent.ready);
  const asked = proxy.asked.length;
  await pod.restartAgent();
  await pod.until(() => pod.agent.ready);
  expect([pod.agent.counts.loads, proxy.asked.length]).toEqual([0, asked]);
  expect(await pod.triton.infer('eta.1', X)).toEqual([1, 2, 3]);
});

describe('with room for two versions', () => {
  const WEIGHTS = 2 ** 20;
  let versions: Release[];
  const follow = (stable: number) => pod.follow(documentOf([versions[stable - 1], ...versions.filter((_, index) => index !== stable - 1)]));

  beforeEach(async () => {
    versions = await Promise.all([1, 2, 3].map((version) => release(s3, 'eta', version, 'times', WEIGHTS)));
  });

  test('the version that was used least recently gives way', async () => {
    await start({ machine: { diskBudget: 2.5 * WEIGHTS, rollbackMs: 0 } });
    follow(1);
    await pod.until(() => pod.agent.ready);
    follow(2);
    await pod.untilStatus('eta.2', 'ready');
    expect(pod.triton.files()).toEqual(['eta.1', 'eta.2']);
    follow(3);
    await pod.untilStatus('eta.3', 'ready');
    expect(pod.triton.files()).toEqual(['eta.2', 'eta.3']);
  });

  test('what is in use is not removed for what does not fit: the pod serves on and says so', async () => {
    await start({ machine: { diskBudget: 1.5 * WEIGHTS } });
    follow(1);
    await pod.until(() => pod.agent.ready);
    follow(2);
    await pod.untilStatus('eta.2', 'failed');
    expect(pod.error('eta.2')).toMatch(/it does not fit/);
    expect([pod.agent.ready, pod.triton.files()]).toEqual([true, ['eta.1']]);
  });
});
