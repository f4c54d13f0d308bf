import { SageMakerRuntimeClient } from '@aws-sdk/client-sagemaker-runtime';
import { Peer, type PeerAnswer, type PeerRequest, toPeer } from './peer.fixture';
import { AbsentRuntime } from '../../../runtime/adapters/aws/absent-runtime';
import { SageMakerRuntime } from '../../../runtime/adapters/aws/sagemaker-runtime';
import type { BrainError } from '../../../runtime/core/errors';
import { isNotProcessed } from '../../../runtime/core/resilience/dependency-guard';
import { fromJson } from '../../../runtime/core/tensors';
import { MANIFEST, SURGE } from '../core/brain.fixture';

const MODEL = { name: 'surge', version: '1', manifest: SURGE };

let peer: Peer;
let answer: (request: PeerRequest) => PeerAnswer | Promise<PeerAnswer>;
beforeEach(async () => {
  peer = await Peer.start((request) => answer(request));
});
afterEach(() => peer.stop());

describe('SageMaker', () => {
  const model = { name: 'eta', version: '1', manifest: MANIFEST };
  const inputs = [fromJson('distance', 'FP32', [1, 1], [2])];
  const open = () => new SageMakerRuntime({ client: new SageMakerRuntimeClient(toPeer(peer)), endpoint: 'brain-eta', component: ({ name, version }) => `${name}-${version}` });
  const double = ({ body }: PeerRequest): PeerAnswer => {
    const [first] = JSON.parse(body.toString()).inputs;
    return { body: { outputs: [{ name: 'minutes', datatype: 'FP32', shape: [first.data.length], data: first.data.map((value: number) => 2 * value) }] } };
  };

  test('speaks the protocol in JSON to the endpoint and the version\'s component', async () => {
    answer = double;
    const runtime = open();
    expect(await runtime.infer(model, inputs)).toEqual([{ name: 'minutes', datatype: 'FP32', shape: [1], data: Float32Array.of(4) }]);
    const [{ path, headers, body }] = peer.requests;
    expect(path).toBe('/endpoints/brain-eta/invocations');
    expect(headers).toMatchObject({ 'content-type': 'application/json', 'x-amzn-sagemaker-inference-component': 'eta-1' });
    expect(JSON.parse(body.toString())).toEqual({ inputs: [{ name: 'distance', datatype: 'FP32', shape: [1, 1], data: [2] }] });
    await runtime.close();
  });

  test('names the archive of exactly the version that was asked for, where there are no components', async () => {
    answer = double;
    const runtime = new SageMakerRuntime({ client: new SageMakerRuntimeClient(toPeer(peer)), endpoint: 'brain-eta' });
    await runtime.infer({ ...model, version: '1' }, inputs);
    await runtime.infer({ ...model, version: '11' }, inputs);
    expect(peer.requests.map(({ headers }) => headers['x-amzn-sagemaker-target-model'])).toEqual(['eta/1/model.tar.gz', 'eta/11/model.tar.gz']);
    expect(peer.requests[0].headers).not.toHaveProperty('x-amzn-sagemaker-inference-component');
    await runtime.close();
  });

  test('has no version ready where the endpoint takes no version\'s name', async () => {
    answer = ({ headers }) => (headers['x-amzn-sagemaker-target-model'] ? failure(400, 'ValidationError') : double(peer.requests[0]));
    const runtime = new SageMakerRuntime({ client: new SageMakerRuntimeClient(toPeer(peer)), endpoint: 'single-model' });
    expect(await runtime.ready(model)).toBe(false);
    await runtime.close();
  });

  test('asks a version whether it is ready with a warm-up request, or with zeros', async () => {
    answer = double;
    const runtime = open();
    expect(await runtime.ready(model)).toBe(true);
    expect(JSON.parse(peer.requests[0].body.toString()).inputs[2]).toEqual({ name: 'neighbours', datatype: 'FP32', shape: [1, 2, 3], data: [0, 0, 0, 0, 0, 0] });
    const warm = { ...MANIFEST, inputs: [MANIFEST.inputs[0]], warmUp: [{ inputs: [{ name: 'distance', datatype: 'FP32' as const, shape: [1, 1], data: [7] }] }] };
    await runtime.ready({ ...model, manifest: warm });
    expect(JSON.parse(peer.requests[1].body.toString()).inputs[0].data).toEqual([7]);
    await runtime.close();
  });

  const failure = (status: number, type: string, extra: object = {}): PeerAnswer => ({ status, headers: { 'x-amzn-errortype': type }, body: { Message: 'no', ...extra } });

  test.each([
    ['ModelNotReadyException', 429, 'MODEL_NOT_READY'], ['ModelError', 424, 'MODEL_FAILED'], ['ThrottlingException', 400, 'RUNTIME_UNAVAILABLE'], ['ServiceUnavailable', 503, 'RUNTIME_UNAVAILABLE'],
  ])('%s is %s', async (type, status, code) => {
    answer = () => failure(status, type, { OriginalStatusCode: 500, OriginalMessage: 'shape' });
    const runtime = open();
    await expect(runtime.infer(model, inputs)).rejects.toMatchObject({ code });
    expect(await runtime.ready(model)).toBe(false);
    await runtime.close();
  });
});

test('what SageMaker turned away may be asked again, what a container may have begun may not', async () => {
  answer = ({ headers }) => ({ status: 400, headers: { 'x-amzn-errortype': String(headers['x-amzn-sagemaker-inference-component']) }, body: { Message: 'no' } });
  const client = new SageMakerRuntimeClient({ ...toPeer(peer), maxAttempts: 1 });
  const runtime = new SageMakerRuntime({ client, endpoint: 'brain-eta', component: ({ version }) => version });
  const failure = (version: string) => runtime.infer({ ...MODEL, version }, []).then(() => undefined, (error: BrainError) => isNotProcessed(error));
  expect([await failure('ThrottlingException'), await failure('ServiceUnavailable'), await failure('InternalFailure')]).toEqual([true, true, false]);
  await runtime.close();
});

test('a brain without a runtime has no model ready, and says so', async () => {
  const runtime = new AbsentRuntime();
  expect(await runtime.ready()).toBe(false);
  await expect(runtime.infer(MODEL)).rejects.toMatchObject({ code: 'MODEL_NOT_READY' });
  await runtime.close();
});
