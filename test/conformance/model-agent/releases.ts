/** Released versions in a bucket: manifests, and files that Triton's Python backend runs. */
import { randomBytes } from 'node:crypto';
import { digestOf } from '../../../runtime/core/digest';
import type { ModelManifest, ModelRollout, RolloutDocument } from '../../../src/contract';
import { onnxModel } from '../../support/tiny-onnx';
import type { S3Server } from '../s3/s3-server';

export const BUCKET = 'artifacts';

/** Runs the ONNX model beside it. */
const ONNX = `
import os
import onnxruntime
import triton_python_backend_utils as triton


class TritonPythonModel:
    def initialize(self, args):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        folder = os.path.join(args["model_repository"], args["model_version"])
        self.session = onnxruntime.InferenceSession(os.path.join(folder, "model.onnx"), options, providers=["CPUExecutionProvider"])

    def execute(self, requests):
        inputs = [triton.get_input_tensor_by_name(request, "x").as_numpy() for request in requests]
        return [triton.InferenceResponse([triton.Tensor("y", self.session.run(["y"], {"x": x})[0])]) for x in inputs]
`;

const factor = (times: number) => `
import triton_python_backend_utils as triton


class TritonPythonModel:
    def execute(self, requests):
        inputs = [triton.get_input_tensor_by_name(request, "x").as_numpy() for request in requests]
        return [triton.InferenceResponse([triton.Tensor("y", x * ${times})]) for x in inputs]
`;

/** Fails to load. */
const BROKEN = `
class TritonPythonModel:
    def initialize(self, args):
        raise ValueError("this version cannot be loaded")

    def execute(self, requests):
        return []
`;

/** Takes the server with it while it loads. Its process is a child of the server's. */
const POISON = `
import os
import signal


class TritonPythonModel:
    def initialize(self, args):
        os.kill(os.getppid(), signal.SIGKILL)

    def execute(self, requests):
        return []
`;

export type Kind = 'onnx' | 'times' | 'broken' | 'poison';

export interface Release {
  readonly model: string;
  readonly version: string;
  readonly digest: string;
  readonly files: Readonly<Record<string, Buffer>>;
  /** All files. */
  readonly bytes: number;
}

/**
 * A version whose `y` is `x` times the version's number.
 *
 * @param weights bytes of one more file, which nobody reads
 */
export async function release(s3: S3Server, model: string, version: number, kind: Kind = 'times', weights = 0): Promise<Release> {
  const code = { onnx: ONNX, times: factor(version), broken: BROKEN, poison: POISON }[kind];
  const files: Record<string, Buffer> = {
    'model.py': Buffer.from(code),
    ...kind === 'onnx' ? { 'model.onnx': multiplication(version) } : {},
    ...weights > 0 ? { 'weights.bin': randomBytes(weights) } : {},
  };
  const tensor = { datatype: 'FP32', shape: [-1, 3] } as const;
  const manifest: ModelManifest = {
    schemaVersion: '1',
    name: model,
    version: String(version),
    platform: 'python',
    files: Object.entries(files).map(([path, bytes]) => ({ path, digest: digestOf(bytes), bytes: bytes.length })),
    inputs: [{ name: 'x', ...tensor }],
    outputs: [{ name: 'y', ...tensor }],
    ...kind === 'onnx' ? { warmUp: [{ inputs: [{ name: 'x', datatype: 'FP32', shape: [1, 3], data: [1, 2, 3] }] }] } : {},
  };
  const text = JSON.stringify(manifest);
  await s3.put(BUCKET, `models/${model}/${version}/brain-model.json`, text);
  for (const [path, bytes] of Object.entries(files)) await s3.put(BUCKET, `models/${model}/${version}/${path}`, bytes);
  return { model, version: String(version), digest: digestOf(text), files, bytes: Object.values(files).reduce((sum, { length }) => sum + length, 0) };
}

/** One document of one model or more: the first version is the stable one. */
export function documentOf(...models: readonly (readonly Release[])[]): RolloutDocument {
  return {
    schemaVersion: '1',
    models: Object.fromEntries(models.map(([stable, ...others]): [string, ModelRollout] => [stable.model, {
      stable: stable.version,
      versions: Object.fromEntries([stable, ...others].map(({ version, digest }) => [version, { digest }])),
    }])),
  };
}

function multiplication(by: number): Buffer {
  return onnxModel({
    inputs: [{ name: 'x', type: 'float32', shape: ['rows', 3] }],
    outputs: [{ name: 'y', type: 'float32', shape: ['rows', 3] }],
    nodes: [{ op: 'Mul', inputs: ['x', 'by'], outputs: ['y'] }],
    weights: [{ name: 'by', shape: [1], data: [by] }],
  });
}
