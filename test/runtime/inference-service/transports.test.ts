/** The same cases through REST in JSON, REST with binary tensors, and gRPC with a stock client: the same bytes come back, and the same refusals. */
import { credentials, makeClientConstructor, Metadata, type ServiceError } from '@grpc/grpc-js';
import fc from 'fast-check';
import { DATATYPE_MODELS, giveBack } from './datatypes.fixture';
import { call } from './http.fixture';
import { toBinary } from '../../../runtime/core/binary-tensors';
import { ERRORS, type ErrorCode } from '../../../runtime/core/errors';
import { allocate, elementCount, type Tensor } from '../../../runtime/core/tensors';
import { createService, type Service } from '../../../runtime/inference-service/service';
import { OIP_DATATYPES, type OipDatatype } from '../../../src/contract';
import { CONFIGURATION, EchoRuntime, MemoryManifests, MemoryRollout, rolloutOf, SILENT } from '../core/brain.fixture';
import { load } from '../grpc/stock';

const LENGTH = 'inference-header-content-length';
/** FP16 and BF16 have no JSON form. */
const IN_JSON: readonly OipDatatype[] = OIP_DATATYPES.filter((datatype) => datatype !== 'FP16' && datatype !== 'BF16');

class Same extends EchoRuntime {
  override infer = giveBack;
}

let service: Service;
let base: string;
let client: InstanceType<ReturnType<typeof makeClientConstructor>>;

beforeAll(async () => {
  service = createService({
    configuration: { ...CONFIGURATION, models: DATATYPE_MODELS.map(({ name }) => ({ name, owner: 'test' })) },
    runtime: new Same(),
    manifests: new MemoryManifests(...DATATYPE_MODELS),
    rollout: new MemoryRollout(rolloutOf(...DATATYPE_MODELS)),
    logger: SILENT,
  });
  await service.start();
  base = await service.rest.listen({ host: '127.0.0.1', port: 0 });
  const grpc = await service.grpc.listen({ host: '127.0.0.1', port: 0 });
  const Client = makeClientConstructor(load('inference.proto')['inference.GRPCInferenceService'] as never, 'inference');
  client = new Client(grpc.replace('grpc://', ''), credentials.createInsecure());
});
afterAll(async () => {
  client.close();
  await service.close();
});

interface Answered {
  readonly code: 'OK' | ErrorCode;
  readonly bytes?: string;
}

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex');

async function overBinary(model: string, x: Tensor, change: object = {}): Promise<Answered> {
  const bytes = toBinary(x);
  const { name, datatype, shape } = x;
  const json = Buffer.from(JSON.stringify({
    inputs: [{ name, datatype, shape, parameters: { binary_data_size: bytes.length }, ...change }], parameters: { binary_data_output: true },
  }));
  const payload = Buffer.concat([json, bytes]);
  const answer = await call(base, { method: 'POST', path: `/v2/models/${model}/infer`, headers: { [LENGTH]: json.length }, payload });
  if (answer.status !== 200) return { code: answer.body.code };
  const header = Number(answer.headers[LENGTH]);
  return { code: 'OK', bytes: hex(answer.bytes.subarray(header)) };
}

async function overJson(model: string, x: Tensor, change: object = {}): Promise<Answered> {
  const { name, datatype, shape } = x;
  const data = Array.from(x.data as ArrayLike<unknown>, (value) => {
    if (datatype === 'BOOL') return value === 1;
    return typeof value === 'bigint' ? String(value) : value;
  });
  const payload = JSON.stringify({ inputs: [{ name, datatype, shape, data, ...change }] });
  const answer = await call(base, { method: 'POST', path: `/v2/models/${model}/infer`, payload });
  if (answer.status !== 200) return { code: answer.body.code };
  const [y] = answer.body.outputs;
  return { code: 'OK', bytes: hex(toBinary({ ...x, data: fromJsonValues(datatype, y.data) })) };
}

async function overGrpc(model: string, x: Tensor, change: object = {}): Promise<Answered> {
  const { name, datatype, shape } = x;
  const message = { model_name: model, inputs: [{ name, datatype, shape, ...change }], raw_input_contents: [Buffer.from(toBinary(x))] };
  return new Promise((resolve) => {
    client.ModelInfer(message, new Metadata(), (error: ServiceError | null, answer: { raw_output_contents: Buffer[] }) => {
      if (!error) return resolve({ code: 'OK', bytes: hex(answer.raw_output_contents[0]) });
      const [code] = error.metadata.get('error-code');
      expect(ERRORS[code as ErrorCode]).toBeDefined();
      resolve({ code: code as ErrorCode });
    });
  });
}

function fromJsonValues(datatype: OipDatatype, values: (number | string | boolean)[]): Tensor['data'] {
  if (datatype === 'BYTES') return values as string[];
  const data = allocate(datatype, values.length) as Float64Array & BigInt64Array;
  const wide = datatype === 'INT64' || datatype === 'UINT64';
  values.forEach((value, at) => {
    data[at] = (wide ? BigInt(value) : Number(value)) as never;
  });
  return data;
}

/** Elements that the datatype holds and JSON can write. */
function elementsOf(datatype: OipDatatype): fc.Arbitrary<number | bigint | string> {
  switch (datatype) {
    case 'BOOL': return fc.integer({ min: 0, max: 1 });
    case 'BYTES': return fc.string({ unit: 'grapheme', maxLength: 8 });
    // JSON.stringify, as most clients, writes -0 as 0
    case 'FP32': return fc.float({ noNaN: true, noDefaultInfinity: true }).map((value) => value + 0);
    case 'FP64': return fc.double({ noNaN: true, noDefaultInfinity: true }).map((value) => value + 0);
    case 'INT64': return fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n });
    case 'UINT64': return fc.bigInt({ min: 0n, max: 2n ** 64n - 1n });
    case 'FP16':
    case 'BF16': return fc.integer({ min: 0, max: 0xffff });
    default: {
      const bits = Number(/\d+/.exec(datatype)![0]);
      return datatype.startsWith('U') ? fc.integer({ min: 0, max: 2 ** bits - 1 }) : fc.integer({ min: -(2 ** (bits - 1)), max: 2 ** (bits - 1) - 1 });
    }
  }
}

const tensorsOf = (datatype: OipDatatype): fc.Arbitrary<Tensor> => fc.integer({ min: 1, max: 4 }).chain((rows) => (
  fc.array(elementsOf(datatype), { minLength: 2 * rows, maxLength: 2 * rows }).map((values): Tensor => {
    if (datatype === 'BYTES') return { name: 'x', datatype, shape: [rows, 2], data: values as string[] };
    const data = allocate(datatype, values.length) as Float64Array;
    values.forEach((value, at) => {
      data[at] = value as never;
    });
    return { name: 'x', datatype, shape: [rows, 2], data };
  })
));

test.each(OIP_DATATYPES)('%s comes back byte for byte, whichever way it goes', async (datatype) => {
  await fc.assert(fc.asyncProperty(tensorsOf(datatype), async (x) => {
    const sent = { code: 'OK', bytes: hex(toBinary(x)) };
    const model = datatype.toLowerCase();
    expect(await overGrpc(model, x)).toEqual(sent);
    expect(await overBinary(model, x)).toEqual(sent);
    if (IN_JSON.includes(datatype)) expect(await overJson(model, x)).toEqual(sent);
  }), { numRuns: 15 });
});

const GOOD: Tensor = { name: 'x', datatype: 'FP32', shape: [2, 2], data: Float32Array.of(1, 2, 3, 4) };

test.each<[string, string, object, ErrorCode]>([
  ['a model that is not declared', 'nobody', {}, 'UNKNOWN_MODEL'],
  ['another input', 'fp32', { name: 'z' }, 'UNEXPECTED_INPUT'],
  ['another datatype', 'fp32', { datatype: 'INT32' }, 'INVALID_DATATYPE'],
  ['a datatype that does not exist', 'fp32', { datatype: 'FLOAT' }, 'INVALID_DATATYPE'],
  ['another rank', 'fp32', { shape: [4] }, 'INVALID_SHAPE'],
  ['a shape that the data does not fill', 'fp32', { shape: [3, 2] }, 'INVALID_SHAPE'],
  ['no row', 'fp32', { shape: [0, 2] }, 'INVALID_SHAPE'],
  ['a negative dimension', 'fp32', { shape: [-2, -2] }, 'INVALID_SHAPE'],
  ['a shape beyond all memory', 'fp32', { shape: [2 ** 40, 2 ** 40] }, 'INVALID_SHAPE'],
])('%s is refused with the same code everywhere', async (_, model, change, code) => {
  expect(await overGrpc(model, GOOD, change)).toEqual({ code });
  expect(await overBinary(model, GOOD, change)).toEqual({ code });
  if (!('datatype' in change && change.datatype === 'INT32')) expect(await overJson(model, GOOD, change)).toEqual({ code });
  expect(elementCount(GOOD.shape)).toBe(4);
});
