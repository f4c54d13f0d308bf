/** The Triton adapter and the start script of our pods, on the real server. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseAllDocuments } from 'yaml';
import { TritonServer } from './triton-server';
import { createApp } from '../../../examples/quickstart/app';
import { TritonRuntime } from '../../../runtime/adapters/aws/triton-runtime';
import type { ModelRef } from '../../../runtime/core/ports';
import type { Tensor } from '../../../runtime/core/tensors';
import type { ModelManifest } from '../../../src/contract';

jest.setTimeout(600_000);

const ECHO: ModelRef = { name: 'echo', version: '1', manifest: {} as ModelManifest };
const TENSORS: readonly Tensor[] = [
  { name: 'fp32', datatype: 'FP32', shape: [2, 3], data: new Float32Array([1, -0.5, 3.25, 4, 1e-30, 3e38]) },
  { name: 'fp64', datatype: 'FP64', shape: [1], data: new Float64Array([0.1 + 0.2]) },
  { name: 'int64', datatype: 'INT64', shape: [2], data: new BigInt64Array([9223372036854775807n, -1n]) },
  { name: 'uint8', datatype: 'UINT8', shape: [2], data: new Uint8Array([0, 255]) },
  { name: 'bool', datatype: 'BOOL', shape: [3], data: new Uint8Array([1, 0, 1]) },
  { name: 'bytes', datatype: 'BYTES', shape: [2], data: ['Škoda 🚗', ''] },
];
const changed = (name: string, change: Partial<Tensor>) => TENSORS.map((tensor) => (tensor.name === name ? { ...tensor, ...change } : tensor));

let server: TritonServer;
let runtime: TritonRuntime;

/** The command of the Triton container as the quickstart synthesizes it. */
function startScript(): string {
  const outdir = mkdtempSync(join(tmpdir(), 'triton-app-'));
  try {
    createApp({ outdir }).synth();
    const objects = parseAllDocuments(readFileSync(join(outdir, 'thalos-brain/brain/manifests/triton-stable.yaml'), 'utf8')).map((document) => document.toJS());
    return objects.find(({ kind }) => kind === 'Deployment').spec.template.spec.containers[0].command.at(-1);
  } finally {
    rmSync(outdir, { recursive: true, force: true });
  }
}

beforeAll(async () => {
  server = await TritonServer.start(startScript());
  runtime = new TritonRuntime(server.url);
});
afterAll(async () => {
  await runtime?.close();
  await server?.stop();
});

test('starts without any model: live, ready, and no version answers', async () => {
  for (const health of ['live', 'ready']) expect((await fetch(`${server.url}/v2/health/${health}`)).status).toBe(200);
  expect(await runtime.ready(ECHO)).toBe(false);
  await expect(runtime.infer(ECHO, TENSORS)).rejects.toMatchObject({ code: 'MODEL_NOT_READY' });
});

test('loads a model for nobody but the holder of the key', async () => {
  expect(await server.manage('load', 'echo')).toBe(403);
  expect(await server.manage('load', 'echo', '0'.repeat(64))).toBe(403);
  expect(await runtime.ready(ECHO)).toBe(false);
  expect(await server.manage('load', 'echo', server.managementKey())).toBe(200);
  expect(await runtime.ready(ECHO)).toBe(true);
});

test('statistics and configuration are management, too', async () => {
  for (const path of ['stats', 'config']) expect((await fetch(`${server.url}/v2/models/echo/${path}`)).status).toBe(403);
});

test('tensors of every kind come back as they went', async () => {
  const answer = await runtime.infer(ECHO, TENSORS);
  for (const { name, datatype, shape, data } of TENSORS.filter((tensor) => tensor.datatype !== 'BYTES')) {
    expect(answer.find((tensor) => tensor.name === `echo_${name}`)).toMatchObject({ datatype, shape, data });
  }
  const bytes = answer.find(({ name }) => name === 'echo_bytes')!.data as (string | Uint8Array)[];
  expect(bytes.map((value) => (typeof value === 'string' ? value : Buffer.from(value).toString()))).toEqual(['Škoda 🚗', '']);
});

test.each([
  ['a shape that the model does not take', changed('fp32', { shape: [3, 2] }), /unexpected shape|shape/i],
  ['a tensor too few', TENSORS.slice(1), /expected 6 inputs|missing/i],
  ['a model that fails', changed('fp64', { data: new Float64Array([-1]) }), /negative numbers are not for this model/],
])("names %s in the server's words", async (_what, tensors, message) => {
  await expect(runtime.infer(ECHO, tensors)).rejects.toMatchObject({ code: 'MODEL_FAILED', message: expect.stringMatching(message) });
});

test('a version that is not there is not ready, and says which', async () => {
  const other = { ...ECHO, version: '7' };
  expect(await runtime.ready(other)).toBe(false);
  await expect(runtime.infer(other, TENSORS)).rejects.toMatchObject({ code: 'MODEL_NOT_READY', message: expect.stringContaining('version 7') });
});

test('an unloaded model answers no more', async () => {
  expect(await server.manage('unload', 'echo', server.managementKey())).toBe(200);
  // unloading goes on after the answer; readiness goes first
  expect(await runtime.ready(ECHO)).toBe(false);
  await expect(runtime.infer(ECHO, TENSORS)).rejects.toMatchObject({ code: 'MODEL_NOT_READY' });
});
