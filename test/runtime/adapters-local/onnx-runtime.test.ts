import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { build } from 'esbuild';
import { COMMON } from '../../../projenrc/bundle';
import { findNatives, type OnnxModule } from '../../../runtime/adapters/local/natives';
import { OnnxRuntime } from '../../../runtime/adapters/local/onnx-runtime';
import { digestOf } from '../../../runtime/core/digest';
import type { Clock, ModelRef } from '../../../runtime/core/ports';
import type { Tensor } from '../../../runtime/core/tensors';
import type { ModelManifest, TensorSchema } from '../../../src/contract';
import { identityModel, linearModel, onnxModel } from '../../support/tiny-onnx';

let root: string;
let workerFile: string;
const log: { fields: object; message: string }[] = [];
const logger = {
  info: (fields: object, message: string) => log.push({ fields, message }),
  warn: (fields: object, message: string) => log.push({ fields, message }),
  error: (fields: object, message: string) => log.push({ fields, message }),
};
const modules = findNatives().onnx();
const only = (kind: OnnxModule['kind']) => modules.filter((module) => module.kind === kind);
const folder = (model: string, version: string) => join(root, model, version);

beforeAll(async () => {
  root = mkdtempSync(join(tmpdir(), 'thalos-onnx-'));
  workerFile = join(root, 'onnx-worker.js');
  await build({ ...COMMON, write: true, minify: false, entryPoints: ['runtime/adapters/local/onnx-worker.ts'], outfile: workerFile });
});
afterAll(() => rmSync(root, { recursive: true, force: true }));

let versions = 0;

/** Writes a model with a manifest and gives a reference to it. */
function put(model: Buffer, inputs: TensorSchema[], outputs: TensorSchema[], more: Partial<ModelManifest> = {}): ModelRef {
  const version = String(++versions);
  mkdirSync(folder('m', version), { recursive: true });
  writeFileSync(join(folder('m', version), 'model.onnx'), model);
  const manifest: ModelManifest = {
    schemaVersion: '1', name: 'm', version, platform: 'onnx', files: [{ path: 'model.onnx', digest: digestOf(model), bytes: model.length }], inputs, outputs, ...more,
  };
  return { name: 'm', version, manifest };
}

const linear = (more?: Partial<ModelManifest>) => put(
  linearModel([2, 3], 1), [{ name: 'features', datatype: 'FP32', shape: [-1, 2] }], [{ name: 'score', datatype: 'FP32', shape: [-1, 1] }], more,
);
const features = (...data: number[]): Tensor => ({ name: 'features', datatype: 'FP32', shape: [data.length / 2, 2], data: new Float32Array(data) });

describe.each(['onnxruntime-node', 'onnxruntime-web'] as const)('the embedded model runtime on %s', (kind) => {
  let runtime: OnnxRuntime;
  beforeAll(() => {
    runtime = new OnnxRuntime({ modules: only(kind), folder, logger, workers: 2, workerFile });
  });
  afterAll(() => runtime.close());

  test('answers what the model computes', async () => {
    const model = linear();
    expect(await runtime.ready(model)).toBe(true);
    const [score] = await runtime.infer(model, [features(1, 1, 0, -1)]);
    expect(score).toMatchObject({ name: 'score', datatype: 'FP32', shape: [2, 1] });
    expect([...score.data as Float32Array]).toEqual([6, -2]);
    expect(runtime.kind).toBe(kind);
  });

  test.each([
    ['INT64', 'int64', new BigInt64Array([2n ** 62n, -1n])],
    ['UINT64', 'uint64', new BigUint64Array([2n ** 63n, 1n])],
    ['INT32', 'int32', new Int32Array([-5, 7])],
    ['INT16', 'int16', new Int16Array([-5, 7])],
    ['UINT8', 'uint8', new Uint8Array([255, 0])],
    ['FP64', 'float64', new Float64Array([0.1, 1e300])],
    ['BOOL', 'bool', new Uint8Array([1, 0])],
    ['BYTES', 'string', ['Škoda 🚗', '']],
  ] as const)('carries %s both ways', async (datatype, type, data) => {
    const model = put(identityModel(type), [{ name: 'x', datatype, shape: [-1, 2] }], [{ name: 'y', datatype, shape: [-1, 2] }]);
    const [y] = await runtime.infer(model, [{ name: 'x', datatype, shape: [1, 2], data: data as Tensor['data'] }]);
    expect(y).toMatchObject({ name: 'y', datatype, shape: [1, 2] });
    expect([...y.data as ArrayLike<unknown> & Iterable<unknown>]).toEqual([...data]);
  });

  test('byte strings reach a model as text', async () => {
    const model = put(identityModel('string'), [{ name: 'x', datatype: 'BYTES', shape: [-1, 2] }], [{ name: 'y', datatype: 'BYTES', shape: [-1, 2] }]);
    const [y] = await runtime.infer(model, [{ name: 'x', datatype: 'BYTES', shape: [1, 2], data: [Buffer.from('a'), Buffer.from('é')] }]);
    expect(y.data).toEqual(['a', 'é']);
  });
});

describe('the embedded model runtime', () => {
  let runtime: OnnxRuntime;
  let now = 0;
  const clock: Clock = { now: () => now };
  beforeEach(() => {
    log.length = 0;
    runtime = new OnnxRuntime({ modules, folder, logger, workers: 1, workerFile, clock });
  });
  afterEach(() => runtime.close());

  const unready = async (model: ModelRef, reason: RegExp) => {
    expect(await runtime.ready(model)).toBe(false);
    await expect(runtime.infer(model, [])).rejects.toMatchObject({ code: 'MODEL_NOT_READY', message: expect.stringMatching(reason) });
  };

  test('loads a version once, however many ask for it at the same time', async () => {
    const model = linear();
    await Promise.all(Array.from({ length: 20 }, () => runtime.infer(model, [features(1, 2)])));
    expect(log.filter(({ message }) => message === 'model loaded')).toHaveLength(1);
  });

  test('falls back to the WebAssembly build where the native one does not load', async () => {
    const broken = join(root, 'broken.js');
    writeFileSync(broken, 'throw new Error("wrong platform");');
    const fallback = new OnnxRuntime({ modules: [{ kind: 'onnxruntime-node', file: broken }, ...only('onnxruntime-web')], folder, logger, workers: 1, workerFile });
    const [score] = await fallback.infer(linear(), [features(1, 1)]);
    expect([...score.data as Float32Array]).toEqual([6]);
    expect(fallback.kind).toBe('onnxruntime-web');
    await fallback.close();
  });

  test('never loads a model whose bytes were tampered with', async () => {
    const model = linear();
    writeFileSync(join(folder('m', model.version), 'model.onnx'), linearModel([2, 4], 1));
    await unready(model, /DIGEST_MISMATCH/);
  });

  test('a version that did not load is tried again later, not at every request', async () => {
    const model = linear();
    const file = join(folder('m', model.version), 'model.onnx');
    writeFileSync(file, 'half a model');
    expect(await runtime.ready(model)).toBe(false);
    writeFileSync(file, linearModel([2, 3], 1));
    expect(await runtime.ready(model)).toBe(false);
    now += 5000;
    expect(await runtime.ready(model)).toBe(true);
  });

  test('fails when the manifest has a tensor that the model has not', () => unready(
    put(linearModel([2, 3], 1), [{ name: 'x', datatype: 'FP32', shape: [-1, 2] }], [{ name: 'score', datatype: 'FP32', shape: [-1, 1] }]),
    /input 'x' is not in the model, which has 'features'/,
  ));
  test('fails when a datatype differs', () => unready(
    put(linearModel([2, 3], 1), [{ name: 'features', datatype: 'FP64', shape: [-1, 2] }], [{ name: 'score', datatype: 'FP32', shape: [-1, 1] }]),
    /input 'features' is FP64, in the model float32/,
  ));
  test('fails when a shape differs', () => unready(
    put(linearModel([2, 3], 1), [{ name: 'features', datatype: 'FP32', shape: [-1, 3] }], [{ name: 'score', datatype: 'FP32', shape: [-1, 1] }]),
    /shape \[-1, 3\], in the model \[batch, 2\]/,
  ));
  test('fails when the manifest promises a batch that the model does not take', () => unready(
    put(identityModel('float32', [1, 2]), [{ name: 'x', datatype: 'FP32', shape: [-1, 2] }], [{ name: 'y', datatype: 'FP32', shape: [-1, 2] }]),
    /shape \[-1, 2\], in the model \[1, 2\]/,
  ));
  test('refuses FP16 with a remedy', () => unready(
    put(identityModel('float16'), [{ name: 'x', datatype: 'FP16', shape: [-1, 2] }], [{ name: 'y', datatype: 'FP16', shape: [-1, 2] }]),
    /'x' is FP16, which the embedded runtime does not run: export the model with FP32/,
  ));
  test('refuses another platform', () => unready(linear({ platform: 'tensorrt' }), /is of platform tensorrt, and the embedded runtime runs onnx/));
  test('refuses bytes that are no ONNX model', () => unready(
    put(Buffer.from('no model'), [{ name: 'x', datatype: 'FP32', shape: [-1, 2] }], [{ name: 'y', datatype: 'FP32', shape: [-1, 2] }]), /MODEL_FAILED: ONNX Runtime does not take m\//,
  ));

  test('runs the warm-up requests, and a model that fails one is not ready', async () => {
    const reshape = () => put(
      onnxModel({
        inputs: [{ name: 'x', type: 'float32', shape: ['n'] }, { name: 'shape', type: 'int64', shape: [2] }],
        outputs: [{ name: 'y', type: 'float32', shape: ['a', 'b'] }],
        nodes: [{ op: 'Reshape', inputs: ['x', 'shape'], outputs: ['y'] }],
      }),
      [{ name: 'x', datatype: 'FP32', shape: [-1] }, { name: 'shape', datatype: 'INT64', shape: [2] }], [{ name: 'y', datatype: 'FP32', shape: [-1, -1] }],
    );
    const warm = ({ manifest, ...model }: ModelRef, rows: number): ModelRef => ({
      ...model,
      manifest: {
        ...manifest,
        warmUp: [{ inputs: [{ name: 'x', datatype: 'FP32', shape: [4], data: [1, 2, 3, 4] }, { name: 'shape', datatype: 'INT64', shape: [2], data: [rows, 2] }] }],
      },
    });
    expect(await runtime.ready(warm(reshape(), 2))).toBe(true);
    await unready(warm(reshape(), 3), /MODEL_FAILED/);
  });

  test('an answer that does not have the declared shape is an error, not an answer', async () => {
    const model = put(
      onnxModel({
        inputs: [{ name: 'x', type: 'float32', shape: ['n'] }, { name: 'shape', type: 'int64', shape: ['r'] }],
        outputs: [{ name: 'y', type: 'float32', shape: [] }],
        nodes: [{ op: 'Reshape', inputs: ['x', 'shape'], outputs: ['y'] }],
      }),
      [{ name: 'x', datatype: 'FP32', shape: [-1] }, { name: 'shape', datatype: 'INT64', shape: [-1] }], [{ name: 'y', datatype: 'FP32', shape: [-1, 2] }],
    );
    const ask = (...shape: bigint[]) => runtime.infer(model, [
      { name: 'x', datatype: 'FP32', shape: [4], data: new Float32Array(4) }, { name: 'shape', datatype: 'INT64', shape: [shape.length], data: new BigInt64Array(shape) },
    ]);
    await expect(ask(4n, 1n)).rejects.toMatchObject({ code: 'INVALID_MODEL_OUTPUT' });
    expect((await ask(2n, 2n))[0].shape).toEqual([2, 2]);
    await expect(ask(3n, 3n)).rejects.toMatchObject({ code: 'MODEL_FAILED' });
  });

  test('weights may lie in a second file, whose digest counts as well', async () => {
    const model = linear();
    const other = Buffer.from('beside');
    const manifest = { ...model.manifest, files: [...model.manifest.files, { path: 'model.onnx.data', digest: digestOf(other), bytes: other.length }] };
    writeFileSync(join(folder('m', model.version), 'model.onnx.data'), 'other!');
    await unready({ ...model, manifest }, /DIGEST_MISMATCH/);
    writeFileSync(join(folder('m', model.version), 'model.onnx.data'), other);
    now += 5000;
    expect(await runtime.ready({ ...model, manifest })).toBe(true);
  });

  test('a caller that gives up gets its own reason', async () => {
    const model = linear();
    await runtime.ready(model);
    const gone = new AbortController();
    // so many rows that they go to a worker
    const many = { ...features(1, 1), shape: [65_536, 2], data: new Float32Array(2 * 65_536) };
    const answer = runtime.infer(model, [many], { signal: gone.signal });
    gone.abort(new Error('too late'));
    await expect(answer).rejects.toThrow('too late');
    await expect(runtime.infer(model, [many], { signal: AbortSignal.abort(new Error('before')) })).rejects.toThrow('before');
  });

  test('a released version is loaded again when it is asked for', async () => {
    const [old, kept] = [linear(), linear()];
    await Promise.all([runtime.ready(old), runtime.ready(kept)]);
    await runtime.retain(new Set([`m/${kept.version}`]));
    log.length = 0;
    await runtime.infer(kept, [features(1, 1)]);
    expect(log).toEqual([]);
    await runtime.infer(old, [features(1, 1)]);
    expect(log).toHaveLength(1);
  });

  test('after closing it says that it is closed', async () => {
    const model = linear();
    await runtime.close();
    await expect(runtime.infer(model, [features(1, 1)])).rejects.toMatchObject({ code: 'SHUTTING_DOWN' });
  });
});
