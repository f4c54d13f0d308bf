import { SageMakerRuntimeClient } from '@aws-sdk/client-sagemaker-runtime';
import { never, Peer, type PeerAnswer, type PeerRequest, toPeer } from './peer.fixture';
import { AbsentRuntime } from '../../../runtime/adapters/aws/absent-runtime';
import { SageMakerRuntime } from '../../../runtime/adapters/aws/sagemaker-runtime';
import { TritonRuntime } from '../../../runtime/adapters/aws/triton-runtime';
import { toBinary } from '../../../runtime/core/binary-tensors';
import { fromJson, type Tensor } from '../../../runtime/core/tensors';
import { MANIFEST, SURGE } from '../core/brain.fixture';

const MODEL = { name: 'surge', version: '1', manifest: SURGE };
const INPUTS: Tensor[] = [
  { name: 'text', datatype: 'BYTES', shape: [2], data: ['a', 'ž'] },
  { name: 'half', datatype: 'FP16', shape: [2, 1], data: Uint16Array.of(1, 2) },
  { name: 'wide', datatype: 'INT64', shape: [2], data: BigInt64Array.of(-1n, 2n ** 60n) },
  { name: 'flag', datatype: 'BOOL', shape: [2], data: Uint8Array.of(0, 1) },
];
const bytesOf = (tensors: readonly Tensor[]) => tensors.map((tensor) => [tensor.name, tensor.datatype, tensor.shape, Buffer.from(toBinary(tensor)).toString('hex')]);

let peer: Peer;
let answer: (request: PeerRequest) => PeerAnswer | Promise<PeerAnswer>;
beforeEach(async () => {
  peer = await Peer.start((request) => answer(request));
});
afterEach(() => peer.stop());

describe('Triton', () => {
  let runtime: TritonRuntime;
  beforeEach(() => {
    runtime = new TritonRuntime(peer.url);
  });
  afterEach(() => runtime.close());

  /** Gives back what it got, as Triton's identity backend does with `binary_data_output`. */
  const identity = ({ method, path, headers, body }: PeerRequest): PeerAnswer => {
    if (method === 'GET') return { status: path === '/v2/models/surge/versions/1/ready' ? 200 : 400 };
    if (path !== '/v2/models/surge/versions/1/infer') return { status: 400, body: { error: `Request for unknown model: '${path}' is not found` } };
    const length = Number(headers['inference-header-content-length']);
    const { inputs, parameters } = JSON.parse(body.toString('utf8', 0, length));
    if (parameters.binary_data_output !== true) return { status: 400, body: { error: 'JSON outputs are not tested here' } };
    const header = Buffer.from(JSON.stringify({ model_name: 'surge', model_version: '1', outputs: inputs }));
    return { headers: { 'inference-header-content-length': String(header.length), 'content-type': 'application/octet-stream' }, body: Buffer.concat([header, body.subarray(length)]) };
  };

  test('every datatype reaches it and comes back', async () => {
    answer = identity;
    expect(bytesOf(await runtime.infer(MODEL, INPUTS))).toEqual(bytesOf(INPUTS));
  });

  test('JSON outputs are read too', async () => {
    answer = () => ({ body: { model_name: 'surge', outputs: [{ name: 'y', datatype: 'FP32', shape: [2], data: [0.5, 1] }] } });
    expect(await runtime.infer(MODEL, INPUTS)).toEqual([{ name: 'y', datatype: 'FP32', shape: [2], data: Float32Array.of(0.5, 1) }]);
  });

  test('knows which version is ready', async () => {
    answer = identity;
    expect(await runtime.ready(MODEL)).toBe(true);
    expect(await runtime.ready({ ...MODEL, version: '2' })).toBe(false);
  });

  test('a server that is not there has nothing ready, and infer says that it is unavailable', async () => {
    await peer.stop();
    expect(await runtime.ready(MODEL)).toBe(false);
    await expect(runtime.infer(MODEL, INPUTS)).rejects.toMatchObject({ code: 'RUNTIME_UNAVAILABLE' });
    peer = await Peer.start(() => ({}));
  });

  test.each([
    [400, "Request for unknown model: 'surge' version 1 is not at ready state", 'MODEL_NOT_READY'],
    [400, "unexpected shape for input 'x'", 'MODEL_FAILED'],
    [500, 'CUDA out of memory', 'MODEL_FAILED'],
    [503, 'Exceeds maximum queue size', 'RUNTIME_UNAVAILABLE'],
  ])('its %d "%s" is %s', async (status, error, code) => {
    answer = () => ({ status, body: { error } });
    await expect(runtime.infer(MODEL, INPUTS)).rejects.toMatchObject({ code });
  });

  test('an answer cut short is not taken for outputs', async () => {
    answer = (request) => {
      const whole = identity(request);
      return { ...whole, body: (whole.body as Buffer).subarray(0, (whole.body as Buffer).length - 1) };
    };
    await expect(runtime.infer(MODEL, INPUTS)).rejects.toMatchObject({ code: 'INVALID_MODEL_OUTPUT' });
  });

  test('a kept connection that the server closed meanwhile costs no request', async () => {
    answer = identity;
    await runtime.infer(MODEL, INPUTS);
    let dropped = false;
    answer = (request) => {
      if (dropped) return identity(request);
      dropped = true;
      return { status: 0 };
    };
    expect(await runtime.infer(MODEL, INPUTS)).toHaveLength(4);
  });

  test('stops when the caller gives up', async () => {
    const caller = new AbortController();
    answer = () => {
      caller.abort(new Error('gave up'));
      return never();
    };
    await expect(runtime.infer(MODEL, INPUTS, caller.signal)).rejects.toThrow('gave up');
  });
});

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

test('a brain without a runtime has no model ready, and says so', async () => {
  const runtime = new AbsentRuntime();
  expect(await runtime.ready()).toBe(false);
  await expect(runtime.infer(MODEL)).rejects.toMatchObject({ code: 'MODEL_NOT_READY' });
  await runtime.close();
});
