/** ONNX sessions of one thread: loaded from checked files, compared with their manifests, warmed, timed and run. */
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { join, posix } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import type * as Onnx from 'onnxruntime-node';
import { messageOf } from './local-errors';
import type { OnnxModule } from './natives';
import { sessionKey } from './onnx-messages';
import { ONNX_TYPES, requireSupported } from './onnx-types';
import type { ModelManifest, OipDatatype, TensorSchema } from '../../../src/contract';
import { requireDigest } from '../../core/digest';
import { refuse } from '../../core/errors';
import { ownWarmUps, zeroInputs } from '../../core/sample-inputs';
import { shapeFits, type Tensor, type TensorData, texts } from '../../core/tensors';

interface LoadedModel {
  readonly manifest: ModelManifest;
  readonly session: Onnx.InferenceSession;
  readonly outputNames: readonly string[];
}

/**
 * Runs that are timed after the warm-up; the fastest counts, because only it was not disturbed. A fast model gets more of them: its first ones
 * run code that is not compiled yet, and a thread of a busy machine is disturbed often.
 */
const TIMED_RUNS = { least: 12, most: 300, ms: 15 };
/** Rows of the second measurement: the first row pays for the call, the others for themselves. */
const TIMED_ROWS = 16;
const SLOW_MS = 20;

/** Milliseconds of a call: of its first row, and of each further one. */
export interface CallCost {
  readonly firstRowMs: number;
  readonly rowMs: number;
}

const onnxType = (datatype: OipDatatype): Onnx.Tensor.Type => ONNX_TYPES[datatype as keyof typeof ONNX_TYPES];

export class OnnxSessions {
  private readonly loaded = new Map<string, LoadedModel>();
  private runtime: { readonly onnx: typeof Onnx; readonly kind: OnnxModule['kind'] } | undefined;

  /** @param modules to try, in order: the first that loads is used */
  constructor(private readonly modules: readonly OnnxModule[]) {}

  /**
   * Loads a version, and gives what a call takes. Every file is hashed here, from the very bytes that then become the session: what was tampered with is never loaded.
   */
  async load(folder: string, manifest: ModelManifest): Promise<CallCost | undefined> {
    const key = sessionKey(manifest);
    const before = this.loaded.get(key);
    if (before && isDeepStrictEqual(before.manifest, manifest)) return this.time(before);
    requireSupported(manifest);
    const files = await Promise.all(manifest.files.map(async ({ path, digest }) => {
      const bytes = await readFile(join(folder, path));
      requireDigest(`file '${path}' of ${key}`, bytes, digest);
      return { path, bytes };
    }));
    const [main, ...others] = files;
    // a model names the files that hold its weights by their path beside it
    const beside = others.map(({ path, bytes }) => ({ path: posix.relative(posix.dirname(main.path), path), data: bytes }));
    const { onnx, kind } = this.onnxRuntime();
    const session = await onnx.InferenceSession.create(main.bytes, {
      executionProviders: [kind === 'onnxruntime-web' ? 'wasm' : 'cpu'],
      intraOpNumThreads: 1,
      interOpNumThreads: 1,
      // 4 is fatal: every error comes back as an exception as well
      logSeverityLevel: 4,
      ...(beside.length > 0 ? { externalData: beside } : {}),
    }).catch((error: unknown) => refuse('MODEL_FAILED', `ONNX Runtime does not take ${key}: ${messageOf(error)}`));
    const model: LoadedModel = { manifest, session, outputNames: manifest.outputs.map(({ name }) => name) };
    let took: CallCost | undefined;
    try {
      compareSignature(key, 'input', manifest.inputs, session.inputMetadata);
      compareSignature(key, 'output', manifest.outputs, session.outputMetadata);
      await this.warm(model);
      took = await this.time(model);
    } catch (error) {
      await session.release();
      throw error;
    }
    await before?.session.release();
    this.loaded.set(key, model);
    return took;
  }

  /** Which build of ONNX Runtime answers. */
  get kind(): OnnxModule['kind'] {
    return this.onnxRuntime().kind;
  }

  run(model: string, inputs: readonly Tensor[]): Promise<Tensor[]> {
    return this.runOn(this.loaded.get(model) ?? refuse('MODEL_NOT_READY', `${model} is not loaded`), inputs);
  }

  async unload(model: string): Promise<void> {
    await this.loaded.get(model)?.session.release();
    this.loaded.delete(model);
  }

  /** What a call takes, by calls of zeros; no cost where the model does not take them. */
  private async time(model: LoadedModel): Promise<CallCost | undefined> {
    try {
      const one = await this.fastest(model, 1);
      const batches = model.manifest.inputs.every(({ shape }) => shape[0] === -1);
      const many = batches ? await this.fastest(model, TIMED_ROWS) : one;
      return { firstRowMs: one, rowMs: Math.max(0, many - one) / (TIMED_ROWS - 1) };
    } catch {
      return undefined;
    }
  }

  private async fastest(model: LoadedModel, rows: number): Promise<number> {
    const inputs = zeroInputs(model.manifest, rows);
    let fastest = Infinity;
    const { least, most, ms } = TIMED_RUNS;
    let spent = 0;
    for (let run = 0; run < least || (run < most && spent < ms); run++) {
      const startedAt = performance.now();
      await this.runOn(model, inputs);
      const took = performance.now() - startedAt;
      spent += took;
      fastest = Math.min(fastest, took);
      // a slow model is slow: nobody waits for a better number
      if (fastest > SLOW_MS) break;
    }
    return fastest;
  }

  /** ONNX Runtime, loaded at the first need: `onnxruntime-node`, else the WebAssembly build. */
  private onnxRuntime(): NonNullable<OnnxSessions['runtime']> {
    if (this.runtime) return this.runtime;
    const failures: string[] = [];
    for (const { kind, file } of this.modules) {
      try {
        const onnx = createRequire(file)(file) as typeof Onnx;
        if (kind === 'onnxruntime-web') onnx.env.wasm.numThreads = 1;
        this.runtime = { onnx, kind };
        return this.runtime;
      } catch (error) {
        failures.push(`${kind}: ${messageOf(error)}`);
      }
    }
    return refuse('RUNTIME_UNAVAILABLE', `ONNX Runtime does not load on ${process.platform}-${process.arch}: ${failures.join('; ')}`);
  }

  private async warm(model: LoadedModel): Promise<void> {
    for (const inputs of ownWarmUps(model.manifest)) await this.runOn(model, inputs);
  }

  private async runOn({ manifest, session, outputNames }: LoadedModel, inputs: readonly Tensor[]): Promise<Tensor[]> {
    const { onnx } = this.onnxRuntime();
    const feeds: Record<string, Onnx.Tensor> = {};
    for (const tensor of inputs) {
      const data = tensor.datatype === 'BYTES' ? texts(tensor) : tensor.data;
      feeds[tensor.name] = new onnx.Tensor(onnxType(tensor.datatype), data as Float32Array, tensor.shape);
    }
    const results = await session.run(feeds, outputNames)
      .catch((error: unknown) => refuse('MODEL_FAILED', `${sessionKey(manifest)} failed: ${messageOf(error)}`));
    return manifest.outputs.map(({ name, datatype, shape }) => {
      const { type, dims, data } = results[name];
      if (type !== onnxType(datatype)) refuse('INVALID_MODEL_OUTPUT', `output '${name}' is ${type}, declared is ${datatype}`);
      if (!shapeFits(dims, shape)) refuse('INVALID_MODEL_OUTPUT', `output '${name}' has shape [${dims.join(', ')}], declared is [${shape.join(', ')}]`);
      return { name, datatype, shape: [...dims], data: data as TensorData };
    });
  }
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
