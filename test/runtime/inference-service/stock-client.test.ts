/** Requests and answers byte for byte as stock clients of the protocol write and read them. */
import { call } from './http.fixture';
import { createService, type Service } from '../../../runtime/inference-service/service';
import { CONFIGURATION, EchoRuntime, FixedVectors, MANIFEST, MemoryFeatures, MemoryManifests, MemoryRollout, NOON, request, rolloutOf, SILENT, SURGE } from '../core/brain.fixture';

const LENGTH = 'inference-header-content-length';

let service: Service;
let base: string;

beforeAll(async () => {
  const features = new MemoryFeatures();
  features.put('drivers', '7', { rating: 4, trips: 100 });
  features.put('drivers', '8', { rating: 3, trips: 50 });
  service = createService({
    configuration: CONFIGURATION,
    features,
    vectors: new FixedVectors(),
    runtime: new EchoRuntime(),
    manifests: new MemoryManifests(MANIFEST, SURGE),
    rollout: new MemoryRollout(rolloutOf(MANIFEST, SURGE)),
    clock: { now: () => NOON },
    logger: SILENT,
  });
  await service.start();
  base = await service.rest.listen({ host: '127.0.0.1', port: 0 });
});
afterAll(() => service.close());

/** What tritonclient.http sends: the JSON, then each binary input; no content type. */
const tritonRequest = (header: object, ...sections: Uint8Array[]) => {
  const json = Buffer.from(JSON.stringify(header));
  return { headers: { [LENGTH]: json.length }, payload: Buffer.concat([json, ...sections]) };
};

const bytesOf = (data: NodeJS.TypedArray) => new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
const text = (...values: string[]) => Buffer.concat(values.flatMap((value) => {
  const bytes = Buffer.from(value);
  const length = Buffer.alloc(4);
  length.writeUInt32LE(bytes.length);
  return [length, bytes];
}));

describe('a stock client of the Open Inference Protocol', () => {
  // tritonclient.http: set_data_from_numpy(..., binary_data=False), InferRequestedOutput(..., binary_data=False)
  test('tritonclient in JSON, which names no content type', async () => {
    const payload = JSON.stringify({
      id: '1',
      inputs: request().inputs.map(({ name, shape, datatype, data }) => ({ name, shape, datatype, data })),
      outputs: [{ name: 'minutes', parameters: { binary_data: false } }],
    });
    const { status, body, headers } = await call(base, { method: 'POST', path: '/v2/models/eta/infer', payload });
    expect(status).toBe(200);
    expect(headers[LENGTH]).toBeUndefined();
    expect(body).toMatchObject({ id: '1', outputs: [{ name: 'minutes', shape: [2], datatype: 'FP32', data: [expect.closeTo(144.4, 2), expect.closeTo(94.9, 2)] }] });
  });

  // KServe's InferenceRESTClient: json= of httpx; parameters stand on inputs and request
  test('KServe in JSON', async () => {
    const payload = JSON.stringify({
      id: '2c7d', model_name: 'eta', inputs: request().inputs.map((input) => ({ ...input, parameters: {} })), parameters: {},
    });
    const { status, body, headers } = await call(base, {
      method: 'POST', path: '/v2/models/eta/infer', payload, headers: { 'content-type': 'application/json', 'accept': '*/*', 'accept-encoding': 'gzip, deflate', 'user-agent': 'python-httpx/0.27' },
    });
    expect(status).toBe(200);
    expect(headers['content-type']).toMatch(/^application\/json/);
    expect(Object.keys(body)).toEqual(['model_name', 'model_version', 'id', 'parameters', 'outputs']);
  });

  // tritonclient.http by default: every input binary, and binary_data_output because no output is named
  test('tritonclient in binary, as it is by default', async () => {
    const sections = [bytesOf(Float32Array.of(1.5, 3)), bytesOf(BigInt64Array.of(7n, 8n)), bytesOf(Float32Array.of(0, 1, 1, 1))];
    const { headers, payload } = tritonRequest({
      parameters: { binary_data_output: true },
      inputs: request().inputs.map(({ name, shape, datatype }, index) => (
        { name, shape, datatype, parameters: { binary_data_size: sections[index].length } }
      )),
    }, ...sections);
    const answer = await call(base, { method: 'POST', path: '/v2/models/eta/infer', headers, payload });
    expect(answer.status).toBe(200);
    expect(answer.headers['content-type']).toBe('application/octet-stream');
    const length = Number(answer.headers[LENGTH]);
    const header = JSON.parse(answer.bytes.toString('utf8', 0, length));
    expect(header.outputs).toEqual([
      { name: 'minutes', datatype: 'FP32', shape: [2], parameters: { binary_data_size: 8 } },
      { name: 'seen', datatype: 'BYTES', shape: [2], parameters: { binary_data_size: answer.bytes.length - length - 8 } },
    ]);
    expect(answer.bytes.readFloatLE(length)).toBeCloseTo(144.4, 2);
    expect(answer.bytes.subarray(length + 8)).toEqual(text('1.5 4 100 4 12.5 0.9 1 20 0.5 0', '3 3 50 4 12.5 0.9 1 20 0.5 0'));
  });

  test('a query vector of NaN, which only binary can hold, is refused', async () => {
    const sections = [bytesOf(Float32Array.of(1)), bytesOf(BigInt64Array.of(7n)), bytesOf(Float32Array.of(NaN, 1))];
    const { headers, payload } = tritonRequest({
      inputs: request().inputs.map(({ name, shape, datatype }, index) => (
        { name, shape: [1, ...shape.slice(1)], datatype, parameters: { binary_data_size: sections[index].length } }
      )),
    }, ...sections);
    const { status, body } = await call(base, { method: 'POST', path: '/v2/models/eta/infer', headers, payload });
    expect({ status, code: body.code }).toEqual({ status: 400, code: 'INVALID_DATA' });
  });

  test('binary outputs by output, FP16 and bytes that are no text among them', async () => {
    const sections = [Buffer.from([2, 0, 0, 0, 0xff, 0xfe]), bytesOf(Uint16Array.of(0x3c00, 0xc000))];
    const inputs = [{ name: 'text', datatype: 'BYTES', shape: [1] }, { name: 'half', datatype: 'FP16', shape: [1, 2] }]
      .map((input, index) => ({ ...input, parameters: { binary_data_size: sections[index].length } }));
    const outputs = [{ name: 'half', parameters: { binary_data: true } }, { name: 'text', parameters: { binary_data: true } }];
    const { headers, payload } = tritonRequest({ inputs, outputs }, ...sections);
    const answer = await call(base, { method: 'POST', path: '/v2/models/surge/infer', headers: { ...headers, 'content-type': 'application/octet-stream' }, payload });
    const length = Number(answer.headers[LENGTH]);
    expect(answer.bytes.subarray(length)).toEqual(Buffer.concat([sections[1], sections[0]]));
  });

  test.each([
    ['beyond the body', { [LENGTH]: 999_999 }, 4, 'INVALID_REQUEST'],
    ['that is no number', { [LENGTH]: 'many' }, 4, 'INVALID_REQUEST'],
    ['within the JSON', { [LENGTH]: 10 }, 4, 'INVALID_JSON'],
    ['and a tensor beyond the body', {}, 4000, 'INVALID_REQUEST'],
    ['and bytes that no tensor uses', {}, 4, 'INVALID_REQUEST'],
    ['and a size below zero', {}, -1, 'INVALID_REQUEST'],
  ])('a header length %s is refused', async (_, override, size, code) => {
    const { headers, payload } = tritonRequest({ inputs: [{ name: 'distance', datatype: 'FP32', shape: [1, 1], parameters: { binary_data_size: size } }] }, new Uint8Array(8));
    const { status, body } = await call(base, { method: 'POST', path: '/v2/models/eta/infer', headers: { ...headers, ...override }, payload });
    expect({ status, code: body.code }).toEqual({ status: 400, code });
  });

  test('errors are objects with a string `error`, as clients expect', async () => {
    const { body } = await call(base, { method: 'POST', path: '/v2/models/nope/infer', payload: '{}' });
    expect(typeof body.error).toBe('string');
  });
});
