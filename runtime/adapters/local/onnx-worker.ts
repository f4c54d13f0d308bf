/** A worker thread that holds ONNX sessions: `session.run` blocks its thread, so it never runs on the one that answers requests. */
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { join, posix } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { parentPort, workerData } from 'node:worker_threads';
import type * as Onnx from 'onnxruntime-node';
import { messageOf } from './local-errors';
import type { OnnxModule } from './natives';
import { sessionKey, type WorkerReply, type WorkerRequest, type WorkerSettings, type WorkerTask } from './onnx-messages';
import { ONNX_TYPES, requireSupported } from './onnx-types';
import type { ModelManifest, OipDatatype, TensorSchema } from '../../../src/contract';
import { requireDigest } from '../../core/digest';
import { BrainError, refuse } from '../../core/errors';
import { fromJson, shapeFits, type Tensor, type TensorData, texts } from '../../core/tensors';

interface LoadedModel {
  readonly manifest: ModelManifest;
  readonly session: Onnx.InferenceSession;
}

const onnxType = (datatype: OipDatatype): Onnx.Tensor.Type => ONNX_TYPES[datatype as keyof typeof ONNX_TYPES];

const { modules } = workerData as WorkerSettings;
const loaded = new Map<string, LoadedModel>();
let runtime: { onnx: typeof Onnx; kind: OnnxModule['kind'] } | undefined;

/** ONNX Runtime, loaded at the first need: `onnxruntime-node`, else the WebAssembly build. */
function onnxRuntime(): NonNullable<typeof runtime> {
  if (runtime) return runtime;
  const failures: string[] = [];
  for (const { kind, file } of modules) {
    try {
      const onnx = createRequire(file)(file) as typeof Onnx;
      if (kind === 'onnxruntime-web') onnx.env.wasm.numThreads = 1;
      runtime = { onnx, kind };
      return runtime;
    } catch (error) {
      failures.push(`${kind}: ${messageOf(error)}`);
    }
  }
  return refuse('RUNTIME_UNAVAILABLE', `ONNX Runtime does not load on ${process.platform}-${process.arch}: ${failures.join('; ')}`);
}

/** Every file is hashed here, from the very bytes that then become the session: what was tampered with is never loaded. */
async function load(folder: string, manifest: ModelManifest): Promise<void> {
  const key = sessionKey(manifest);
  const before = loaded.get(key);
  if (before && isDeepStrictEqual(before.manifest, manifest)) return;
  requireSupported(manifest);
  const files = await Promise.all(manifest.files.map(async ({ path, digest }) => {
    const bytes = await readFile(join(folder, path));
    requireDigest(`file '${path}' of ${key}`, bytes, digest);
    return { path, bytes };
  }));
  const [model, ...others] = files;
  // a model names the files that hold its weights by their path beside it
  const beside = others.map(({ path, bytes }) => ({ path: posix.relative(posix.dirname(model.path), path), data: bytes }));
  const { onnx, kind } = onnxRuntime();
  const session = await onnx.InferenceSession.create(model.bytes, {
    executionProviders: [kind === 'onnxruntime-web' ? 'wasm' : 'cpu'],
    intraOpNumThreads: 1,
    interOpNumThreads: 1,
    // 4 is fatal: every error comes back as an exception as well
    logSeverityLevel: 4,
    ...(beside.length > 0 ? { externalData: beside } : {}),
  }).catch((error: unknown) => refuse('MODEL_FAILED', `ONNX Runtime does not take ${key}: ${messageOf(error)}`));
  try {
    compareSignature(key, 'input', manifest.inputs, session.inputMetadata);
    compareSignature(key, 'output', manifest.outputs, session.outputMetadata);
    await warm(manifest, session);
  } catch (error) {
    await session.release();
    throw error;
  }
  await before?.session.release();
  loaded.set(key, { manifest, session });
}

function compareSignature(key: string, role: 'input' | 'output', declared: readonly TensorSchema[], actual: readonly Onnx.InferenceSession.ValueMetadata[]): void {
  const problems: string[] = [];
  for (const { name, datatype, shape } of declared) {
    const value = actual.find((candidate) => candidate.name === name);
    if (!value) {problems.push(`${role} '${name}' is not in the model, which has ${actual.map((candidate) => `'${candidate.name}'`).join(', ')}`);} else if (!value.isTensor) {problems.push(`${role} '${name}' is a sequence or a map in the model (export it without ZipMap)`);} else if (value.type !== onnxType(datatype)) {problems.push(`${role} '${name}' is ${datatype}, in the model ${value.type}`);} else if (!shapesAgree(role, shape, value.shape)) {
      problems.push(`${role} '${name}' has shape [${shape.join(', ')}], in the model [${value.shape.join(', ')}]`);
    }
  }
  if (role === 'input') {
    const names = new Set(declared.map(({ name }) => name));
    problems.push(...actual.filter(({ name }) => !names.has(name)).map(({ name }) => `input '${name}' of the model is not in the manifest`));
  }
  if (problems.length > 0) refuse('INVALID_MANIFEST', `the manifest of ${key} does not fit the model: ${problems.join('; ')}`);
}

/** The model's sizes are numbers, or names where any size goes; a manifest may promise less about an output than the model, not more about an input. */
function shapesAgree(role: 'input' | 'output', declared: readonly number[], actual: readonly (number | string)[]): boolean {
  // ONNX allows an output without a shape: it is checked when it is there
  if (actual.length === 0) return true;
  return actual.length === declared.length && actual.every((size, axis) => (
    typeof size !== 'number' || size < 0 || size === declared[axis] || (role === 'output' && declared[axis] === -1)
  ));
}

/** Runs those warm-up requests that are written as the model's own inputs; the others need features and neighbours. */
async function warm(manifest: ModelManifest, session: Onnx.InferenceSession): Promise<void> {
  for (const { inputs } of manifest.warmUp ?? []) {
    const own = inputs.length === manifest.inputs.length && manifest.inputs.every(({ name }) => inputs.some((input) => input.name === name));
    if (own) await run(manifest, session, inputs.map(({ name, datatype, shape, data }) => fromJson(name, datatype, shape, data)));
  }
}

async function run(manifest: ModelManifest, session: Onnx.InferenceSession, inputs: readonly Tensor[]): Promise<Tensor[]> {
  const { onnx } = onnxRuntime();
  const feeds: Record<string, Onnx.Tensor> = {};
  for (const tensor of inputs) {
    const data = tensor.datatype === 'BYTES' ? texts(tensor) : tensor.data;
    feeds[tensor.name] = new onnx.Tensor(onnxType(tensor.datatype), data as Float32Array, tensor.shape);
  }
  const results = await session.run(feeds, manifest.outputs.map(({ name }) => name))
    .catch((error: unknown) => refuse('MODEL_FAILED', `${sessionKey(manifest)} failed: ${messageOf(error)}`));
  return manifest.outputs.map(({ name, datatype, shape }) => {
    const { type, dims, data } = results[name];
    if (type !== onnxType(datatype)) refuse('INVALID_MODEL_OUTPUT', `output '${name}' is ${type}, declared is ${datatype}`);
    if (!shapeFits(dims, shape)) refuse('INVALID_MODEL_OUTPUT', `output '${name}' has shape [${dims.join(', ')}], declared is [${shape.join(', ')}]`);
    return { name, datatype, shape: [...dims], data: data as TensorData };
  });
}

async function perform(task: WorkerTask): Promise<Tensor[] | undefined> {
  switch (task.kind) {
    case 'load':
      await load(task.folder, task.manifest);
      return undefined;
    case 'infer': {
      const model = loaded.get(task.model) ?? refuse('MODEL_NOT_READY', `${task.model} is not loaded`);
      return run(model.manifest, model.session, task.inputs);
    }
    case 'unload':
      await loaded.get(task.model)?.session.release();
      loaded.delete(task.model);
      return undefined;
  }
}

async function answer({ id, task }: WorkerRequest): Promise<WorkerReply> {
  try {
    const outputs = await perform(task);
    return { id, outputs, runtime: onnxRuntime().kind };
  } catch (error) {
    return error instanceof BrainError ? { id, code: error.code, text: error.text } : { id, code: 'MODEL_FAILED', text: messageOf(error) };
  }
}

// One task at a time, in the order in which they came: a session is not asked while it is released.
let last: Promise<void> = Promise.resolve();
parentPort!.on('message', (request: WorkerRequest) => {
  last = last.then(async () => parentPort!.postMessage(await answer(request)));
});
