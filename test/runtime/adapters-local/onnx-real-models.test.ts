import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { build } from 'esbuild';
import { COMMON } from '../../../projenrc/bundle';
import { findNatives } from '../../../runtime/adapters/local/natives';
import { OnnxRuntime } from '../../../runtime/adapters/local/onnx-runtime';
import { digestOf } from '../../../runtime/core/digest';
import type { ModelRef } from '../../../runtime/core/ports';
import { elementCount } from '../../../runtime/core/tensors';

jest.setTimeout(120_000);

/** PaddleOCR's models as other people exported them: a detector, an angle classifier and a recogniser. */
const MODELS = join(__dirname, '..', '..', '..', 'node_modules', '@gutenye', 'ocr-models', 'assets');
const CASES = [
  { file: 'ch_ppocr_mobile_v2.0_cls_infer.onnx', input: [2, 3, 48, 192], declared: [-1, 3, -1, -1], output: 'softmax_0.tmp_0', answer: [-1, 2] },
  { file: 'ch_PP-OCRv4_det_infer.onnx', input: [1, 3, 96, 96], declared: [-1, 3, -1, -1], output: 'sigmoid_0.tmp_0', answer: [-1, 1, -1, -1] },
  { file: 'ch_PP-OCRv4_rec_infer.onnx', input: [2, 3, 48, 64], declared: [-1, 3, 48, -1], output: 'softmax_11.tmp_0', answer: [-1, -1, 6625] },
] as const;

/** A smooth picture, so that the models see something like paper and ink. */
const picture = (size: number) => Float32Array.from({ length: size }, (_, i) => Math.fround(Math.sin(i / 7) * Math.cos(i / 131)));

/** ONNX Runtime without anything of ours, in a process of its own. */
function runDirectly(file: string, shape: readonly number[]): Float32Array {
  const script = `
    const onnx = require('onnxruntime-node');
    const [file, shape] = JSON.parse(process.argv[1]);
    const size = shape.reduce((product, value) => product * value, 1);
    const data = Float32Array.from({ length: size }, (_, i) => Math.fround(Math.sin(i / 7) * Math.cos(i / 131)));
    onnx.InferenceSession.create(file, { intraOpNumThreads: 1, interOpNumThreads: 1 })
      .then((session) => session.run({ x: new onnx.Tensor('float32', data, shape) }))
      .then((answer) => process.stdout.write(Buffer.from(Object.values(answer)[0].data.buffer)));
  `;
  const bytes = execFileSync(process.execPath, ['-e', script, JSON.stringify([file, shape])], { cwd: __dirname, maxBuffer: 64 * 1024 * 1024 });
  return new Float32Array(new Uint8Array(bytes).buffer);
}

describe.each(['onnxruntime-node', 'onnxruntime-web'] as const)("other people's models on %s", (kind) => {
  let folder: string;
  let runtime: OnnxRuntime;
  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'thalos-real-'));
    const workerFile = join(folder, 'onnx-worker.js');
    await build({ ...COMMON, write: true, entryPoints: ['runtime/adapters/local/onnx-worker.ts'], outfile: workerFile });
    const modules = findNatives().onnx().filter((module) => module.kind === kind);
    const logger = { info: () => undefined, warn: () => undefined, error: () => undefined };
    runtime = new OnnxRuntime({ modules, folder: () => MODELS, logger, workers: 1, workerFile });
  });
  afterAll(async () => {
    await runtime.close();
    rmSync(folder, { recursive: true, force: true });
  });

  test.each(CASES)('$file answers as it does without us', async ({ file, input, declared, output, answer }) => {
    const bytes = readFileSync(join(MODELS, file));
    const model: ModelRef = {
      name: 'ocr',
      version: '1',
      manifest: {
        schemaVersion: '1',
        name: 'ocr',
        version: '1',
        platform: 'onnx',
        files: [{ path: file, digest: digestOf(bytes), bytes: bytes.length }],
        inputs: [{ name: 'x', datatype: 'FP32', shape: declared }],
        outputs: [{ name: output, datatype: 'FP32', shape: answer }],
      },
    };
    const size = elementCount(input);
    const [tensor] = await runtime.infer(model, [{ name: 'x', datatype: 'FP32', shape: input, data: picture(size) }]);
    const expected = runDirectly(join(MODELS, file), input);
    const actual = tensor.data as Float32Array;
    expect(actual.length).toBe(expected.length);
    // the same build gives the same bits; another one rounds its sums in another order
    const tolerance = kind === 'onnxruntime-node' ? 0 : 2e-3;
    let worst = 0;
    for (let i = 0; i < actual.length; i++) worst = Math.max(worst, Math.abs(actual[i] - expected[i]));
    expect(worst).toBeLessThanOrEqual(tolerance);
  });
});
