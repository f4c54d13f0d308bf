/** A small brain for tests of the command line: an assembly, a model, rows and vectors, and processes that are really started. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { onnxModel } from './tiny-onnx';
import { digestOf } from '../../runtime/core/digest';
import { type BrainConfiguration, DEFAULT_LIMITS, type ModelManifest } from '../../src/contract';

export const ROOT = join(__dirname, '..', '..');

export const BRAIN: BrainConfiguration = {
  schemaVersion: '1',
  name: 'fleet',
  environment: 'dev',
  models: [{ name: 'price', owner: 'pricing' }],
  featureGroups: [{
    name: 'drivers',
    version: 1,
    owner: 'fleet',
    entityKeys: [{ name: 'driver', dtype: 'string' }],
    features: [{ name: 'trips', dtype: 'int32', required: false, piiClass: 'none' }, { name: 'rating', dtype: 'float64', required: false, piiClass: 'none' }],
  }],
  vectorIndexes: [{
    name: 'places', dimension: 2, similarity: 'l2', engine: 'faiss', fields: [{ name: 'fare', type: 'float' }], hnsw: { m: 16, efConstruction: 100, efSearch: 100 },
  }, {
    name: 'articles', dimension: 2, similarity: 'l2', engine: 'faiss', fields: [{ name: 'fare', type: 'float' }, { name: 'about', type: 'text' }], hnsw: { m: 16, efConstruction: 100, efSearch: 100 },
  }],
  limits: DEFAULT_LIMITS,
};

/** Writes an assembly and gives its folder. */
export function writeAssembly(folder: string, brain: BrainConfiguration | object = BRAIN, name = 'fleet'): string {
  const at = join(folder, 'thalos-brain', name);
  mkdirSync(at, { recursive: true });
  writeFileSync(join(at, 'brain.json'), JSON.stringify(brain));
  return folder;
}

/** price = 2 × trips + 3 × rating + fare of the nearest place + bias */
export function writeModel(folder: string, version: string, bias: number, more: Partial<ModelManifest> = {}): string {
  const model = onnxModel({
    inputs: [{ name: 'features', type: 'float32', shape: ['batch', 2] }, { name: 'nearby', type: 'float32', shape: ['batch', 1, 1] }],
    outputs: [{ name: 'price', type: 'float32', shape: ['batch', 1] }],
    nodes: [
      { op: 'Flatten', inputs: ['nearby'], outputs: ['fares'], attributes: { axis: 1 } },
      { op: 'Concat', inputs: ['features', 'fares'], outputs: ['all'], attributes: { axis: 1 } },
      { op: 'Gemm', inputs: ['all', 'weights', 'bias'], outputs: ['price'] },
    ],
    weights: [{ name: 'weights', shape: [3, 1], data: [2, 3, 1] }, { name: 'bias', shape: [1], data: [bias] }],
  });
  const manifest: ModelManifest = {
    schemaVersion: '1',
    name: 'price',
    version,
    platform: 'onnx',
    files: [{ path: 'model.onnx', digest: digestOf(model), bytes: model.length }],
    inputs: [{ name: 'features', datatype: 'FP32', shape: [-1, 2] }, { name: 'nearby', datatype: 'FP32', shape: [-1, 1, 1] }],
    outputs: [{ name: 'price', datatype: 'FP32', shape: [-1, 1] }],
    enrichment: {
      entities: [{ input: 'driver', datatype: 'BYTES' }],
      features: [{ tensor: 'features', keys: ['driver'], groups: [{ group: 'drivers', features: ['trips', 'rating'] }] }],
      vectors: [{ input: 'place', index: 'places', k: 1, tensor: 'nearby', fields: ['fare'] }],
    },
    ...more,
  };
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'model.onnx'), model);
  writeFileSync(join(folder, 'brain-model.json'), JSON.stringify(manifest));
  return folder;
}

export interface Ended {
  readonly status: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly out: string;
  readonly err: string;
}

/** A process of the command line. Its output is kept, and can be waited for. */
export class CliProcess {
  out = '';
  err = '';
  readonly ended: Promise<Ended>;
  private readonly child: ChildProcess;

  /**
   * @param env beside the test's own environment
   * @param through a command that starts the process, with its arguments
   */
  constructor(cli: string, args: readonly string[], cwd = ROOT, env: Readonly<Record<string, string>> = {}, through: readonly string[] = []) {
    const [command, ...words] = [...through, process.execPath, cli, ...args];
    this.child = spawn(command, words, { cwd, env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'pipe'] });
    this.child.stdout!.setEncoding('utf8').on('data', (text: string) => {
      this.out += text;
    });
    this.child.stderr!.setEncoding('utf8').on('data', (text: string) => {
      this.err += text;
    });
    this.ended = once(this.child, 'close').then(([status, signal]) => ({
      status: status as number | null, signal: signal as NodeJS.Signals | null, out: this.out, err: this.err,
    }));
  }

  get pid(): number {
    return this.child.pid!;
  }

  kill(signal: NodeJS.Signals): void {
    this.child.kill(signal);
  }

  /** Waits until the output matches. Fails when the process ends before. */
  async until(stream: 'stdout' | 'stderr', pattern: RegExp): Promise<RegExpExecArray> {
    const text = () => pattern.exec(stream === 'stdout' ? this.out : this.err);
    let over = false;
    void this.ended.then(() => {
      over = true;
    });
    for (;;) {
      const match = text();
      if (match) return match;
      if (over) throw new Error(`ended without ${pattern}:\n${this.out}\n${this.err}`);
      await Promise.race([once(this.child[stream]!, 'data'), this.ended]);
    }
  }

  /** The URL of the line that begins with `ready`. */
  async ready(): Promise<string> {
    return (await this.until('stdout', /^ready (\S+)$/m))[1];
  }
}

/** Waits for what has no event of its own; the test's own timeout ends it. */
export async function eventually(condition: () => boolean | Promise<boolean>): Promise<void> {
  while (!await condition()) await new Promise((resolve) => setTimeout(resolve, 2));
}

export interface Answer {
  readonly status: number;
  readonly body: {
    readonly error?: string;
    readonly code?: string;
    readonly parameters?: Record<string, string>;
    readonly outputs?: { readonly name: string; readonly data: number[] }[];
  };
}

/** Asks for the price of a ride of `driver` at `place`. */
export async function askPrice(url: string, driver: string, place: readonly [number, number] = [0, 0]): Promise<Answer> {
  const response = await fetch(`${url}/v2/models/price/infer`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(priceRequest(driver, place)),
  });
  return { status: response.status, body: await response.json() as Answer['body'] };
}

export function priceRequest(driver: string, place: readonly [number, number] = [0, 0]): object {
  return {
    inputs: [{ name: 'driver', datatype: 'BYTES', shape: [1], data: [driver] }, { name: 'place', datatype: 'FP32', shape: [1, 2], data: place }],
  };
}
