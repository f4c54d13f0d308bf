/** Our server asked by the stock client, over a real socket. */
import { once } from 'node:events';
import { Metadata, type ServiceError, status } from '@grpc/grpc-js';
import { QUIET, Signal, TestOperations } from './operations';
import { collect, Services, type StockClient, stockClient, unary } from './stock-client';
import { ERRORS, type ErrorCode } from '../../../runtime/core/errors';
import { texts } from '../../../runtime/core/tensors';
import { GrpcServer } from '../../../runtime/grpc/server';
import { OIP_DATATYPES } from '../../../src/contract';

const MAX = 4 * 1024 * 1024;

let operations: TestOperations;
let server: GrpcServer;
let client: StockClient;
let port: number;

beforeEach(async () => {
  operations = new TestOperations();
  server = new GrpcServer({ operations, maxBodyBytes: MAX, logger: QUIET });
  ({ port } = await server.listen(0, '127.0.0.1'));
  client = stockClient(Services.inference, port);
});

afterEach(async () => {
  client.close();
  await server.close(0);
});

const floats = (length: number) => Buffer.from(new Float32Array(length).map((_, i) => i / 3).buffer);
const request = (model: string, extra: object = {}) => ({
  model_name: model, inputs: [{ name: 'x', datatype: 'FP32', shape: ['1', '30'] }], raw_input_contents: [floats(30)], ...extra,
});

describe('server and model', () => {
  it('tells whether it is live and ready', async () => {
    expect(await unary(client, 'ServerLive', {})).toEqual({ live: true });
    expect(await unary(client, 'ServerReady', {})).toEqual({ ready: true });
    operations.live = operations.ready = false;
    expect(await unary(client, 'ServerLive', {})).toEqual({ live: false });
    expect(await unary(client, 'ServerReady', {})).toEqual({ ready: false });
  });

  it('tells whether a model is ready, and fails for one that it does not know', async () => {
    expect(await unary(client, 'ModelReady', { name: 'echo' })).toEqual({ ready: true });
    expect(await unary(client, 'ModelReady', { name: 'echo', version: '9' })).toEqual({ ready: false });
    await expect(unary(client, 'ModelReady', { name: 'none' })).rejects.toMatchObject({ code: status.NOT_FOUND });
    await expect(unary(client, 'ModelReady', {})).rejects.toMatchObject({ code: status.INVALID_ARGUMENT });
  });

  it('describes itself and its models', async () => {
    expect(await unary(client, 'ServerMetadata', {})).toEqual({ name: 'test', version: '1.2.3', extensions: ['binary_tensor_data', 'model_repository'] });
    expect(await unary(client, 'ModelMetadata', { name: 'echo', version: '2' })).toEqual({
      name: 'echo',
      versions: ['2'],
      platform: 'onnx_onnxv1',
      inputs: [{ name: 'x', datatype: 'FP32', shape: ['-1', '30'] }],
      outputs: [{ name: 'y', datatype: 'INT64', shape: ['-1'] }],
    });
  });
});

describe('ModelInfer', () => {
  it('answers raw contents with raw contents', async () => {
    const answer = await unary(client, 'ModelInfer', request('echo', { id: '7', model_version: '3', parameters: { explain: { bool_param: true } } }));
    expect(answer).toMatchObject({
      model_name: 'echo',
      model_version: '3',
      id: '7',
      parameters: { model_version: { string_param: '1' } },
      outputs: [{ name: 'x', datatype: 'FP32', shape: ['1', '30'], contents: null }],
      raw_output_contents: [floats(30)],
    });
    expect(operations.seen[0].request.parameters).toEqual({ explain: true });
  });

  it('passes tensors of every datatype unchanged', async () => {
    const sizes: Record<string, number> = { BOOL: 1, UINT8: 1, INT8: 1, UINT16: 2, INT16: 2, FP16: 2, BF16: 2, UINT32: 4, INT32: 4, FP32: 4 };
    const inputs = OIP_DATATYPES.map((datatype) => ({ name: datatype.toLowerCase(), datatype, shape: ['2'] }));
    const raw = OIP_DATATYPES.map((datatype) => datatype === 'BYTES' ? Buffer.from('\x02\0\0\0\xff\xfe\0\0\0\0', 'latin1') : Buffer.alloc(2 * (sizes[datatype] ?? 8), 1));
    const answer = await unary(client, 'ModelInfer', { model_name: 'echo', inputs, raw_input_contents: raw });
    expect(answer.outputs).toMatchObject(inputs);
    expect(answer.raw_output_contents).toEqual(raw);
  });

  it('takes typed contents', async () => {
    await unary(client, 'ModelInfer', {
      model_name: 'echo',
      inputs: [
        { name: 'b', datatype: 'BYTES', shape: ['2'], contents: { bytes_contents: [Buffer.from('a'), Buffer.from('ü')] } },
        { name: 'i', datatype: 'INT64', shape: ['1', '2'], contents: { int64_contents: ['-9223372036854775808', '5'] } },
      ],
      outputs: [{ name: 'i' }],
    });
    const { inputs, outputs } = operations.seen[0].request;
    expect(texts(inputs[0])).toEqual(['a', 'ü']);
    expect(inputs[1].data).toEqual(BigInt64Array.of(-(2n ** 63n), 5n));
    expect(outputs).toEqual(['i']);
  });

  it('takes and gives megabytes', async () => {
    const raw = floats(900_000);
    const answer = await unary(client, 'ModelInfer', { model_name: 'echo', inputs: [{ name: 'x', datatype: 'FP32', shape: ['900000'] }], raw_input_contents: [raw] });
    expect(answer.raw_output_contents[0].equals(raw)).toBe(true);
    // put together in a buffer where it lies aligned
    const { data } = operations.seen[0].request.inputs[0];
    expect((data as Float32Array).byteOffset).toBeGreaterThan(0);
  });

  it('passes metadata, the first value of each name, and the deadline', async () => {
    await unary(client, 'ModelInfer', request('echo'), { 'authorization': 'Bearer a, b', 'x-route': 'b' }, { deadline: Date.now() + 60_000 });
    const { call } = operations.seen[0];
    expect(call.protocol).toBe('grpc');
    expect(call.header('authorization')).toBe('Bearer a, b');
    expect(call.header('x-route')).toBe('b');
    expect(call.header('x-none')).toBeUndefined();
    expect(call.timeoutMs).toBeGreaterThan(50_000);
    expect(call.timeoutMs).toBeLessThanOrEqual(60_000);
  });

  it.each(Object.keys(ERRORS) as ErrorCode[])('answers %s with its gRPC status and its code', async (code) => {
    const error = await unary(client, 'ModelInfer', request('refuse', { id: code })).catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ code: status[ERRORS[code].grpc as keyof typeof status], details: `${code}: as asked: 100 % ünicode\n` });
    expect((error as { metadata: { get(name: string): string[] } }).metadata.get('error-code')).toEqual([code]);
  });

  it('keeps the text of what is no coded error to itself', async () => {
    const error = await unary(client, 'ModelInfer', request('crash')).catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ code: status.INTERNAL });
    expect(String((error as Error).message)).not.toContain('secret');
  });

  it('refuses a message above the limit and takes the next one', async () => {
    const size = MAX / 4 + 1;
    const large = { model_name: 'echo', inputs: [{ name: 'x', datatype: 'FP32', shape: [String(size)] }], raw_input_contents: [floats(size)] };
    const error = await unary(client, 'ModelInfer', large).catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ code: status.RESOURCE_EXHAUSTED, details: expect.stringContaining('BODY_TOO_LARGE') });
    await unary(client, 'ModelInfer', request('echo'));
  });

  it('tells the operation that the caller has gone', async () => {
    const failed = unary(client, 'ModelInfer', request('wait'), {}, { deadline: Date.now() + 500 }).catch((error: unknown) => error);
    await operations.gone.happened;
    expect(await failed).toMatchObject({ code: status.DEADLINE_EXCEEDED });
  });

  it('refuses compressed messages and names what it takes', async () => {
    const compressing = stockClient(Services.inference, port, { 'grpc.default_compression_algorithm': 2 });
    await expect(unary(compressing, 'ModelInfer', request('echo'))).rejects.toMatchObject({ code: status.UNIMPLEMENTED });
    compressing.close();
  });

  it('answers calls side by side on one connection', async () => {
    const waiting = unary(client, 'ModelInfer', request('wait', { id: 'w' }));
    await operations.started.happened;
    const answers = await Promise.all(Array.from({ length: 100 }, (_, i) => unary(client, 'ModelInfer', request('echo', { id: String(i) }))));
    expect(answers.map(({ id }) => id)).toEqual(Array.from({ length: 100 }, (_, i) => String(i)));
    operations.release();
    expect(await waiting).toMatchObject({ id: 'w' });
  });
});

describe('ModelStreamInfer', () => {
  it('answers in order of completion, an error as a message, and goes on', async () => {
    const call = client.ModelStreamInfer();
    const all = collect(call);
    call.write(request('wait', { id: 'slow' }));
    call.write(request('none', { id: 'bad' }));
    call.write({ ...request('echo', { id: 'short' }), raw_input_contents: [Buffer.alloc(3)] });
    call.write(request('echo', { id: 'quick' }));
    await operations.started.happened;
    call.once('data', () => setImmediate(() => operations.release()));
    call.end();
    const messages = await all;
    expect(messages.map(({ error_message: error, infer_response: answer }) => [answer.id, error.split(':')[0]])).toEqual([
      ['short', 'INVALID_SHAPE'], ['bad', 'UNKNOWN_MODEL'], ['quick', ''], ['slow', ''],
    ].sort((a, b) => order(messages, a[0]) - order(messages, b[0])));
    expect(order(messages, 'slow')).toBe(3);
  });

  it('gives every answer of a decoupled model, in order, and an empty last one where it is asked for', async () => {
    const call = client.ModelStreamInfer();
    const all = collect(call);
    const parameters = { n: { int64_param: '5' }, triton_enable_empty_final_response: { bool_param: true } };
    call.write(request('count', { id: 'c', parameters }));
    call.end();
    const answers = (await all).map((message) => message.infer_response);
    expect(answers.slice(0, 5).map(({ parameters: { i } }) => i.string_param)).toEqual(['0', '1', '2', '3', '4']);
    expect(answers.map(({ parameters: p }) => p.triton_final_response.bool_param)).toEqual([false, false, false, false, false, true]);
    expect(answers[5]).toMatchObject({ id: 'c', outputs: [] });
    expect(operations.seen[0].request.parameters).toEqual({ n: 5 });
  });

  it('does not run ahead of a client that does not read, and stops when it goes', async () => {
    const call = client.ModelStreamInfer();
    call.on('error', () => undefined);
    const paused = new Signal();
    call.once('data', () => {
      call.pause();
      paused.resolve();
    });
    const raw = floats(100_000);
    call.write({ model_name: 'endless', inputs: [{ name: 'x', datatype: 'FP32', shape: ['100000'] }], raw_input_contents: [raw] });
    await paused.happened;
    let before = -1;
    while (before !== operations.streamed) {
      before = operations.streamed;
      for (let i = 0; i < 200; i++) await new Promise(setImmediate);
    }
    expect(operations.streamed).toBeLessThan(200);
    call.cancel();
    await operations.left.happened;
  });

  it('tells each request of a stream that the caller has gone', async () => {
    const call = client.ModelStreamInfer();
    call.on('error', () => undefined);
    call.write(request('wait'));
    await operations.started.happened;
    call.cancel();
    await operations.gone.happened;
    operations.release();
  });
});

describe('the request id', () => {
  const GIVEN = 'order-4711';
  const ids = (metadata: Metadata) => metadata.get('x-request-id');
  const sent = (id?: string) => {
    const metadata = new Metadata();
    if (id !== undefined) metadata.set('x-request-id', id);
    return metadata;
  };
  /** What a unary call is answered before its message, or with its failure. */
  const answered = (model: string, id?: string) => new Promise<Metadata>((resolve) => {
    const call = client.ModelInfer(request(model, { id: 'UNKNOWN_MODEL' }), sent(id), (error: ServiceError | null) => error && resolve(error.metadata));
    call.on('metadata', resolve);
  });

  it.each([['echo'], ['refuse'], ['crash'], ['none']])('of the caller is given back: %s', async (model) => {
    expect(ids(await answered(model, GIVEN))).toEqual([GIVEN]);
    expect(operations.seen[0].call.requestId).toBe(GIVEN);
  });

  it.each([['is not there', undefined], ['is harmful', 'a b'], ['is too long', 'x'.repeat(129)]])('that %s is made', async (_, id) => {
    expect(ids(await answered('echo', id))).toEqual([operations.seen[0].call.requestId]);
    expect(operations.seen[0].call.requestId).toMatch(/^[0-9a-f-]{36}$/);
  });

  it('is given back where there is no such method, and for an encoding that is not taken', async () => {
    const none = client.makeUnaryRequest('/none/None', (message: Buffer) => message, (message: Buffer) => message, Buffer.alloc(0), sent(GIVEN), () => undefined);
    expect(ids((await once(none, 'status'))[0].metadata)).toEqual([GIVEN]);
    const zipping = stockClient(Services.inference, port, { 'grpc.default_compression_algorithm': 2 });
    const zipped = zipping.ServerLive({}, sent(GIVEN), () => undefined);
    expect(ids((await once(zipped, 'status'))[0].metadata)).toEqual([GIVEN]);
    zipping.close();
  });

  it('of a stream is that of its requests, each with its number', async () => {
    const call = client.ModelStreamInfer(sent(GIVEN));
    const metadata = once(call, 'metadata');
    const messages = collect(call);
    for (const model of ['echo', 'none', 'echo']) call.write(request(model));
    call.end();
    expect(ids((await metadata)[0])).toEqual([GIVEN]);
    await messages;
    expect(operations.seen.map(({ call: { requestId } }) => requestId)).toEqual([`${GIVEN}/1`, `${GIVEN}/2`, `${GIVEN}/3`]);
  });
});

describe('draining', () => {
  it('finishes the calls that are there and takes no new ones', async () => {
    const waiting = unary(client, 'ModelInfer', request('wait', { id: 'w' }));
    await operations.started.happened;
    const closed = server.close(10_000);
    operations.release();
    expect(await waiting).toMatchObject({ id: 'w' });
    await closed;
    await expect(unary(client, 'ModelInfer', request('echo'))).rejects.toMatchObject({ code: status.UNAVAILABLE });
  });

  it('ends what does not finish in time', async () => {
    const waiting = unary(client, 'ModelInfer', request('wait')).catch((error: unknown) => error);
    await operations.started.happened;
    await server.close(50);
    expect(await waiting).toMatchObject({ code: expect.any(Number) });
    operations.release();
  });
});

function order(messages: readonly { infer_response: { id: string } | null }[], id: string): number {
  return messages.findIndex(({ infer_response: answer }) => (answer?.id ?? '') === id);
}
