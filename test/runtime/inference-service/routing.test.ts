/** The rollout document at work: who gets which version, over REST. */
import { call } from './http.fixture';
import type { Authenticator, Caller } from '../../../runtime/core/caller';
import type { ModelRef } from '../../../runtime/core/ports';
import { NO_TELEMETRY, type ShadowDifference, type Telemetry } from '../../../runtime/core/telemetry';
import type { Tensor } from '../../../runtime/core/tensors';
import { createService, type Service, type ServiceOptions } from '../../../runtime/inference-service/service';
import type { Candidate, ModelManifest } from '../../../src/contract';
import { CONFIGURATION, EchoRuntime, MemoryManifests, MemoryRollout, rolloutOf, SILENT, withCandidate } from '../core/brain.fixture';

const manifest = (version: string): ModelManifest => ({
  schemaVersion: '1',
  name: 'surge',
  version,
  platform: 'onnx',
  files: [{ path: 'model.onnx', digest: `sha256:${'0'.repeat(64)}`, bytes: 1 }],
  inputs: [{ name: 'x', datatype: 'FP32', shape: [-1] }],
  outputs: [{ name: 'y', datatype: 'FP32', shape: [-1] }],
});

/** Answers its input times its version. */
class Multiplier extends EchoRuntime {
  readonly calls: string[] = [];
  failing = new Set<string>();

  override async infer({ version }: ModelRef, inputs: readonly Tensor[]): Promise<Tensor[]> {
    this.calls.push(version);
    await this.inferring();
    if (this.failing.has(version)) throw new Error('no');
    return [{ ...inputs[0], name: 'y', data: (inputs[0].data as Float32Array).map((value) => value * Number(version)) }];
  }
}

const CALLERS: Record<string, Caller> = {
  'Bearer tester': { subject: 'tester', tenant: undefined, scopes: new Set(['brain/override']) },
  'Bearer user': { subject: 'user', tenant: undefined, scopes: new Set() },
};
const VERIFIED: Authenticator = { caller: (authorization) => CALLERS[authorization ?? ''] };

let runtime: Multiplier;
let rollout: MemoryRollout;
let service: Service;
let base: string;
let shadows: { version: string; difference: ShadowDifference }[];
let onShadow: () => void;

const telemetry: Telemetry = {
  ...NO_TELEMETRY,
  beginShadow: (model, version) => ({
    ...NO_TELEMETRY.beginShadow(model, version),
    differs: (difference) => {
      shadows.push({ version, difference });
      onShadow();
    },
  }),
};

const serve = async (candidate?: Candidate, options: Partial<ServiceOptions> = {}) => {
  const document = rolloutOf(manifest('1'), manifest('2'), manifest('3'));
  rollout = new MemoryRollout(candidate ? withCandidate(document, 'surge', candidate) : document);
  service = createService({
    configuration: CONFIGURATION, runtime, rollout, manifests: new MemoryManifests(manifest('1'), manifest('2'), manifest('3')), logger: SILENT, telemetry, retryMs: 1, ...options,
  });
  await service.start();
  base = await service.rest.listen({ host: '127.0.0.1', port: 0 });
};

beforeEach(() => {
  runtime = new Multiplier();
  shadows = [];
  onShadow = () => undefined;
});
afterEach(() => service.close());

const infer = async (headers: Record<string, string> = {}, path = '/v2/models/surge/infer', body: object = {}) => {
  const payload = JSON.stringify({ inputs: [{ name: 'x', datatype: 'FP32', shape: [1], data: [2] }], ...body });
  const answer = await call(base, { method: 'POST', path, headers, payload });
  const { status, headers: answered, body: { code, model_version: version, outputs } } = answer;
  return { status, code, version, y: outputs?.[0].data[0], headers: answered };
};

const CANARY: Candidate = { version: '2', weight: 50, mode: 'canary', stickyKey: 'header:x-user' };

test('each caller sees one version, and both versions are seen', async () => {
  await serve(CANARY);
  const versions = new Map<string, string>();
  for (const user of ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h']) {
    const [first, second] = [await infer({ 'x-user': user }), await infer({ 'x-user': user })];
    expect(first.version).toBe(second.version);
    expect(first.y).toBe(2 * Number(first.version));
    versions.set(user, first.version);
  }
  expect(new Set(versions.values())).toEqual(new Set(['1', '2']));
});

test('a change of the weight is followed at once, and a parameter can be the key', async () => {
  await serve({ ...CANARY, weight: 0, stickyKey: 'parameter:session' });
  expect(await infer({}, undefined, { parameters: { session: 's' } })).toMatchObject({ version: '1' });
  rollout.publish(withCandidate(rolloutOf(manifest('1'), manifest('2')), 'surge', { ...CANARY, weight: 100 }));
  expect(await infer({}, undefined, { parameters: { session: 's' } })).toMatchObject({ version: '2' });
  rollout.publish(rolloutOf(manifest('1')));
  expect(await infer()).toMatchObject({ version: '1' });
});

test('while the candidate is not loaded the stable version answers in its place', async () => {
  runtime.broken.add('surge/2');
  await serve({ ...CANARY, weight: 100 });
  expect(await infer()).toMatchObject({ status: 200, version: '1' });
});

test('blue/green switches everybody', async () => {
  await serve({ version: '2', weight: 0, mode: 'blueGreen' });
  expect(await infer()).toMatchObject({ version: '1' });
  rollout.publish(withCandidate(rolloutOf(manifest('1'), manifest('2')), 'surge', { version: '2', weight: 100, mode: 'blueGreen' }));
  expect(await infer()).toMatchObject({ version: '2' });
});

describe('a shadow', () => {
  const SHADOW: Candidate = { version: '2', weight: 100, mode: 'shadow' };

  test('is asked the same, its difference is recorded, and the answer is the stable one', async () => {
    await serve(SHADOW);
    const recorded = new Promise<void>((resolve) => {
      onShadow = resolve;
    });
    expect(await infer()).toMatchObject({ version: '1', y: 2 });
    await recorded;
    expect(shadows).toEqual([{ version: '2', difference: { largest: 2, share: 1 } }]);
    expect(runtime.calls).toEqual(['1', '2']);
  });

  test('that is withdrawn before the answer is there is not asked', async () => {
    await serve(SHADOW);
    runtime.inferring = async () => rollout.publish(rolloutOf(manifest('1')));
    expect(await infer()).toMatchObject({ status: 200, version: '1' });
    await new Promise(setImmediate);
    expect(runtime.calls).toEqual(['1']);
  });

  test('that hangs holds no answer up', async () => {
    await serve(SHADOW);
    let release = () => undefined as void;
    runtime.inferring = () => (runtime.calls.at(-1) === '2' ? new Promise((resolve) => {
      release = resolve;
    }) : Promise.resolve());
    for (let request = 0; request < 20; request++) expect(await infer()).toMatchObject({ status: 200, version: '1' });
    // no more than sixteen are under way, the others are dropped
    expect(runtime.calls.filter((version) => version === '2')).toHaveLength(16);
    runtime.inferring = async () => undefined;
    release();
    service.drain();
  }, 20_000);

  test('that fails is a difference, not an error', async () => {
    await serve(SHADOW);
    runtime.failing.add('2');
    const recorded = new Promise<void>((resolve) => {
      onShadow = resolve;
    });
    expect(await infer()).toMatchObject({ status: 200, y: 2 });
    await recorded;
    expect(shadows).toEqual([{ version: '2', difference: { largest: Infinity, share: 1 } }]);
  });
});

describe('an override', () => {
  test('gives a tester whose token allows it any approved version', async () => {
    await serve(CANARY, { authenticator: VERIFIED });
    expect(await infer({ 'authorization': 'Bearer tester', 'x-model-version': '3' })).toMatchObject({ status: 200, version: '3' });
    expect(await infer({ 'authorization': 'Bearer tester', 'x-model-version': '9' })).toMatchObject({ status: 404, code: 'UNKNOWN_VERSION' });
  });

  test('is refused to everybody else, and where no token is verified', async () => {
    await serve(CANARY, { authenticator: VERIFIED });
    expect(await infer({ 'authorization': 'Bearer user', 'x-model-version': '3' })).toMatchObject({ status: 403, code: 'PERMISSION_DENIED' });
    await service.close();
    await serve(CANARY);
    expect(await infer({ 'authorization': 'Bearer tester', 'x-model-version': '3' })).toMatchObject({ status: 403, code: 'PERMISSION_DENIED' });
    expect(runtime.calls).toEqual([]);
  });

  test('is no way around a path that names a version', async () => {
    await serve(CANARY, { authenticator: VERIFIED });
    expect(await infer({ 'authorization': 'Bearer tester', 'x-model-version': '3' }, '/v2/models/surge/versions/2/infer')).toMatchObject({ version: '2' });
  });
});

describe('deadline and names of a request', () => {
  test('the caller may shorten the time, and not lengthen it', async () => {
    await serve(undefined, { configuration: { ...CONFIGURATION, limits: { ...CONFIGURATION.limits, requestTimeoutMs: 30 } } });
    runtime.inferring = () => new Promise(() => undefined);
    expect(await infer({ 'x-request-timeout-ms': '5' })).toMatchObject({ status: 504, code: 'DEADLINE_EXCEEDED' });
    expect(await infer({ 'x-request-timeout-ms': '5000000' })).toMatchObject({ status: 504, code: 'DEADLINE_EXCEEDED' });
  });

  test('nobody waits for a version that loads for minutes', async () => {
    await serve(undefined, { configuration: { ...CONFIGURATION, limits: { ...CONFIGURATION.limits, requestTimeoutMs: 30 } } });
    runtime.ready = () => new Promise(() => undefined);
    const { status, body } = await call(base, { path: '/v2/models/surge/versions/2/ready' });
    expect({ status, code: body.code }).toEqual({ status: 504, code: 'DEADLINE_EXCEEDED' });
  });

  test.each(['0', '-1', 'soon', '', 'NaN', 'Infinity'])('a timeout of %p is refused', async (timeout) => {
    await serve();
    expect(await infer({ 'x-request-timeout-ms': timeout })).toMatchObject({ status: 400, code: 'INVALID_PARAMETER' });
  });

  test('the request id comes back, also with a refusal; one that could harm a log is replaced', async () => {
    await serve();
    expect((await infer({ 'x-request-id': 'r-17' })).headers['x-request-id']).toBe('r-17');
    expect((await infer({ 'x-request-id': 'r-18' }, '/v2/models/nobody/infer')).headers['x-request-id']).toBe('r-18');
    for (const harmful of ['a b', 'x'.repeat(129), '{"a":1}']) {
      expect((await infer({ 'x-request-id': harmful })).headers['x-request-id']).toMatch(/^[0-9a-f-]{36}$/);
    }
  });
});
