/** The Triton adapter and the start script of our pods, on the real server. */
import { FixedEndpoints, modelRef, openRuntime, TIMES } from './pool';
import { startScript } from './start-script';
import { TritonServer } from './triton-server';
import type { TritonRuntime } from '../../../runtime/adapters/aws/triton-runtime';
import { type Tensor, texts } from '../../../runtime/core/tensors';

jest.setTimeout(600_000);

const ECHO = modelRef('echo');
const TOKENS = modelRef('tokens');
const TENSORS: readonly Tensor[] = [
  { name: 'bool', datatype: 'BOOL', shape: [3], data: new Uint8Array([1, 0, 1]) },
  { name: 'uint8', datatype: 'UINT8', shape: [2], data: new Uint8Array([0, 255]) },
  { name: 'uint16', datatype: 'UINT16', shape: [2], data: new Uint16Array([1, 65535]) },
  { name: 'uint32', datatype: 'UINT32', shape: [2], data: new Uint32Array([2, 4294967295]) },
  { name: 'uint64', datatype: 'UINT64', shape: [2], data: new BigUint64Array([18446744073709551615n, 3n]) },
  { name: 'int8', datatype: 'INT8', shape: [2], data: new Int8Array([-128, 127]) },
  { name: 'int16', datatype: 'INT16', shape: [2], data: new Int16Array([-32768, 5]) },
  { name: 'int32', datatype: 'INT32', shape: [2], data: new Int32Array([-2147483648, 6]) },
  { name: 'int64', datatype: 'INT64', shape: [2], data: new BigInt64Array([9223372036854775807n, -1n]) },
  { name: 'fp16', datatype: 'FP16', shape: [2], data: new Uint16Array([0x3c00, 0xc100]) },
  { name: 'bf16', datatype: 'BF16', shape: [2], data: new Uint16Array([0x3f80, 0xc0a0]) },
  { name: 'fp32', datatype: 'FP32', shape: [2, 3], data: new Float32Array([1, -0.5, 3.25, 4, 1e-30, 3e38]) },
  { name: 'fp64', datatype: 'FP64', shape: [1], data: new Float64Array([0.1 + 0.2]) },
  { name: 'bytes', datatype: 'BYTES', shape: [2], data: ['Škoda 🚗', ''] },
];
const control = (value: number): Tensor => ({ name: 'control', datatype: 'INT32', shape: [1], data: new Int32Array([value]) });
const CALL = [control(0), ...TENSORS];
const changed = (name: string, change: Partial<Tensor>) => CALL.map((tensor) => (tensor.name === name ? { ...tensor, ...change } : tensor));
const prompt = (text: string, count: number, pauseMs = 0): Tensor[] => [
  { name: 'prompt', datatype: 'BYTES', shape: [1], data: [text] },
  { name: 'count', datatype: 'INT32', shape: [1], data: new Int32Array([count]) },
  { name: 'pause_ms', datatype: 'INT32', shape: [1], data: new Int32Array([pauseMs]) },
];

let server: TritonServer;
let runtime: TritonRuntime;

beforeAll(async () => {
  server = await TritonServer.start(startScript());
  runtime = openRuntime(new FixedEndpoints(server.address));
});
afterAll(async () => {
  await runtime?.close();
  await server?.stop();
});

test('starts without any model: live, ready, and no version answers', async () => {
  for (const health of ['live', 'ready']) expect((await fetch(`${server.url}/v2/health/${health}`)).status).toBe(200);
  expect(await runtime.ready(ECHO)).toBe(false);
  await expect(runtime.infer(ECHO, CALL)).rejects.toMatchObject({ code: 'MODEL_NOT_READY' });
});

test('loads a model for nobody but the holder of the key', async () => {
  expect(await server.manage('load', 'echo')).toBe(403);
  expect(await server.manage('load', 'echo', '0'.repeat(64))).toBe(403);
  expect(await runtime.ready(ECHO)).toBe(false);
  expect(await server.manage('load', 'echo', server.managementKey())).toBe(200);
  expect(await runtime.ready(ECHO)).toBe(true);
});

test('statistics and configuration are management, too', async () => {
  for (const path of ['stats', 'config']) expect((await fetch(`${server.url}/v2/models/echo.1/${path}`)).status).toBe(403);
});

test('tensors of every datatype come back as they went', async () => {
  const answer = await runtime.infer(ECHO, CALL);
  expect(answer).toHaveLength(TENSORS.length);
  for (const { name, datatype, shape, data } of TENSORS.filter((tensor) => tensor.datatype !== 'BYTES')) {
    expect(answer.find((tensor) => tensor.name === `echo_${name}`)).toMatchObject({ datatype, shape, data });
  }
  expect(texts(answer.find(({ name }) => name === 'echo_bytes')!)).toEqual(['Škoda 🚗', '']);
});

test('a tensor of a megabyte comes back as it went', async () => {
  const data = Float32Array.from({ length: 3 * 87_381 }, (_, index) => Math.sin(index));
  const answer = await runtime.infer(ECHO, changed('fp32', { shape: [87_381, 3], data }));
  expect(answer.find(({ name }) => name === 'echo_fp32')!.data).toEqual(data);
});

test.each([
  ['a shape that the model does not take', changed('fp32', { shape: [3, 2] }), /INVALID_ARGUMENT/],
  ['a datatype that the model does not take', changed('fp64', { datatype: 'INT64', data: new BigInt64Array(1) }), /data-?type/i],
  ['a tensor too few', CALL.slice(1), /expected 15 inputs|missing/i],
  ['a model that fails', changed('control', { data: new Int32Array([-1]) }), /negative numbers are not for this model/],
])("names %s in the server's words", async (_what, tensors, message) => {
  await expect(runtime.infer(ECHO, tensors)).rejects.toMatchObject({ code: 'MODEL_FAILED', message: expect.stringMatching(message) });
});

test('a version that is not there is not ready, and says which', async () => {
  const other = { ...ECHO, version: '7' };
  expect(await runtime.ready(other)).toBe(false);
  await expect(runtime.infer(other, CALL)).rejects.toMatchObject({ code: 'MODEL_NOT_READY', message: expect.stringContaining('version 7') });
});

test('each version of a model answers for itself', async () => {
  expect(await server.manage('load', 'times', server.managementKey())).toBe(200);
  const x: Tensor = { name: 'x', datatype: 'FP32', shape: [1, 30], data: new Float32Array(30).fill(1) };
  for (const [version, factor] of [['1', 2], ['2', 3]] as const) {
    expect(await runtime.ready({ ...TIMES, version })).toBe(true);
    expect((await runtime.infer({ ...TIMES, version }, [x]))[0].data[0]).toBe(factor);
  }
});

test('a deadline ends the call, and the server is free again for the next', async () => {
  await expect(runtime.infer(ECHO, changed('control', { data: new Int32Array([2_000]) }), { deadline: Date.now() + 100 }))
    .rejects.toMatchObject({ code: 'DEADLINE_EXCEEDED' });
  expect(await runtime.infer(ECHO, CALL)).toHaveLength(TENSORS.length);
});

test('a caller that gives up ends the call with its own reason', async () => {
  const caller = new AbortController();
  const call = runtime.infer(ECHO, changed('control', { data: new Int32Array([2_000]) }), { signal: caller.signal });
  caller.abort(new Error('gave up'));
  await expect(call).rejects.toThrow('gave up');
});

describe('a decoupled model', () => {
  const read = async (tensors: readonly Tensor[], most = Infinity): Promise<string[]> => {
    const pieces: string[] = [];
    for await (const outputs of runtime.stream(TOKENS, tensors)) {
      pieces.push(texts(outputs.find(({ name }) => name === 'text')!)[0]);
      if (pieces.length === most) break;
    }
    return pieces;
  };

  beforeAll(async () => {
    expect(await server.manage('load', 'tokens', server.managementKey())).toBe(200);
  });

  test('answers token by token', async () => {
    expect(await read(prompt('a', 4, 2))).toEqual(['a-0', 'a-1', 'a-2', 'a-3']);
    expect(await read(prompt('b', 0))).toEqual([]);
  });

  test('fails in the middle with the words of the model', async () => {
    const pieces: string[] = [];
    await expect((async () => {
      for await (const [text] of runtime.stream(TOKENS, prompt('fail', 2))) pieces.push(texts(text)[0]);
    })()).rejects.toMatchObject({ code: 'MODEL_FAILED', message: expect.stringContaining('the model lost its thread') });
    expect(pieces).toEqual(['fail-0', 'fail-1']);
  });

  test('a version that is not there is not ready', async () => {
    await expect(runtime.stream({ ...TOKENS, version: '9' }, prompt('a', 1))[Symbol.asyncIterator]().next()).rejects.toMatchObject({ code: 'MODEL_NOT_READY' });
  });

  test('does not answer to a plain request', async () => {
    await expect(runtime.infer(TOKENS, prompt('a', 1))).rejects.toMatchObject({ code: 'MODEL_FAILED', message: expect.stringContaining('decoupled') });
  });

  test('a reader that stops early cancels the request at the server', async () => {
    expect(await read(prompt('c', 10_000, 1), 2)).toEqual(['c-0', 'c-1']);
    let cancelled = '0';
    while (cancelled === '0') [cancelled] = await read(prompt('cancelled', 0));
    expect(cancelled).toBe('1');
  });

  test('a deadline ends the stream', async () => {
    await expect((async () => {
      for await (const outputs of runtime.stream(TOKENS, prompt('d', 10_000, 10), { deadline: Date.now() + 200 })) expect(outputs).toHaveLength(2);
    })()).rejects.toMatchObject({ code: 'DEADLINE_EXCEEDED' });
  });
});

test('an unloaded model answers no more', async () => {
  expect(await server.manage('unload', 'echo', server.managementKey())).toBe(200);
  // unloading goes on after the answer; readiness goes first
  expect(await runtime.ready(ECHO)).toBe(false);
  await expect(runtime.infer(ECHO, CALL)).rejects.toMatchObject({ code: 'MODEL_NOT_READY' });
});
