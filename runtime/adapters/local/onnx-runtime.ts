/**
 * The embedded model runtime: ONNX Runtime in worker threads, one intra-op thread each, each model version loaded once per worker.
 * A model that is faster than the way to a worker and back runs on the thread that asks, where nobody notices.
 */
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { Worker } from 'node:worker_threads';
import type { OnnxModule } from './natives';
import { sessionKey, type WorkerReply, type WorkerRequest, type WorkerSettings, type WorkerSuccess, type WorkerTask } from './onnx-messages';
import { type CallCost, OnnxSessions } from './onnx-sessions';
import { requireSupported } from './onnx-types';
import type { ModelManifest } from '../../../src/contract';
import { BrainError, type ErrorCode } from '../../core/errors';
import { type CallContext, type Clock, type Logger, type ModelRef, type ModelRuntime, SYSTEM_CLOCK } from '../../core/ports';
import { bytesPerElement, type Tensor } from '../../core/tensors';

export interface OnnxRuntimeOptions {
  readonly modules: readonly OnnxModule[];
  /** Folder that holds a version's files. */
  readonly folder: (model: string, version: string) => string;
  readonly logger: Logger;
  /** @default - one for each core but one, at least 1, at most 4 */
  readonly workers?: number;
  /** @default - `onnx-worker.js` beside this file */
  readonly workerFile?: string;
  readonly clock?: Clock;
}

/** A version that did not load is tried again no sooner than this, milliseconds. */
const RETRY_AFTER = 5000;

/**
 * A call that is expected to take no longer than this runs at once, milliseconds: a message to a worker and back costs 0.05 to 0.1 ms of
 * CPU, and the event loop is held up for no longer than by parsing a large request.
 */
const INLINE_MS = 0.25;
/** What the message costs beyond that for each byte of the inputs, milliseconds: they are copied, and moved between the cores' caches (1.3 ms for 602 KB). */
const MESSAGE_MS_PER_BYTE = 2e-6;

/** Failures of the runtime itself, not of one model. */
const OF_THE_RUNTIME: ReadonlySet<ErrorCode> = new Set(['RUNTIME_UNAVAILABLE', 'SHUTTING_DOWN']);

interface Load {
  readonly manifest: ModelManifest;
  readonly done: Promise<void>;
  /** When it failed. */
  failedAt?: number;
  /** Of a call on this thread; undefined where the model runs in workers only. */
  inline?: CallCost;
}

type Waiter = { resolve(reply: WorkerSuccess): void; reject(error: Error): void };

export class OnnxRuntime implements ModelRuntime {
  private readonly pool: OnnxWorker[];
  private readonly loads = new Map<string, Load>();
  private readonly clock: Clock;
  /** Sessions of this thread. */
  private readonly inline: OnnxSessions;

  constructor(private readonly options: OnnxRuntimeOptions) {
    this.clock = options.clock ?? SYSTEM_CLOCK;
    const count = options.workers ?? Math.max(1, Math.min(4, availableParallelism() - 1));
    const file = options.workerFile ?? join(__dirname, 'onnx-worker.js');
    this.inline = new OnnxSessions(options.modules);
    this.pool = Array.from({ length: count }, () => new OnnxWorker(file, { modules: options.modules }));
  }

  /** Which build of ONNX Runtime answers; undefined before the first model is loaded. */
  get kind(): OnnxModule['kind'] | undefined {
    return this.pool.find((worker) => worker.kind)?.kind;
  }

  async ready(model: ModelRef): Promise<boolean> {
    return this.load(model).then(() => true, () => false);
  }

  async infer(model: ModelRef, inputs: readonly Tensor[], context?: CallContext): Promise<Tensor[]> {
    const known = this.loads.get(sessionKey(model));
    const cost = known?.manifest === model.manifest ? known.inline : undefined;
    if (cost && cost.firstRowMs + cost.rowMs * (rowsOf(inputs) - 1) <= INLINE_MS + bytesOf(inputs) * MESSAGE_MS_PER_BYTE) {
      // it runs at once: there is no time in which anybody could give it up
      return this.inline.run(sessionKey(model), inputs);
    }
    const signal = context?.signal;
    signal?.throwIfAborted();
    await this.load(model);
    const task: WorkerTask = { kind: 'infer', model: sessionKey(model), inputs };
    const worker = this.pool.reduce((best, other) => (other.outstanding < best.outstanding ? other : best));
    try {
      return (await abortable(worker.ask(task), signal)).outputs ?? [];
    } catch (error) {
      // a worker that died and came back holds no session yet
      if (!(error instanceof BrainError) || error.code !== 'MODEL_NOT_READY') throw error;
      await worker.ask(this.loadTask(model));
      return (await abortable(worker.ask(task), signal)).outputs ?? [];
    }
  }

  /** Releases the sessions of every version that `keep` does not name (`name/version`). */
  async retain(keep: ReadonlySet<string>): Promise<void> {
    const gone = [...this.loads.keys()].filter((key) => !keep.has(key));
    for (const key of gone) this.loads.delete(key);
    await Promise.all(gone.flatMap((model) => [this.inline.unload(model), ...this.pool.map((worker) => worker.ask({ kind: 'unload', model }))]));
  }

  async close(): Promise<void> {
    await Promise.all(this.pool.map((worker) => worker.close()));
  }

  private load(model: ModelRef): Promise<void> {
    const key = sessionKey(model);
    const before = this.loads.get(key);
    const again = before?.failedAt !== undefined && this.clock.now() - before.failedAt >= RETRY_AFTER;
    const same = before && (before.manifest === model.manifest || isDeepStrictEqual(before.manifest, model.manifest));
    if (same && !again) return before.done;
    const load: Load = { manifest: model.manifest, done: this.loadEverywhere(model, (cost) => (load.inline = cost)) };
    this.loads.set(key, load);
    load.done.catch(() => {
      load.failedAt = this.clock.now();
    });
    return load.done;
  }

  private async loadEverywhere(model: ModelRef, isFast: (cost: CallCost | undefined) => void): Promise<void> {
    const { name, version } = model;
    try {
      const task = this.loadTask(model);
      const loaded = await Promise.all(this.pool.map((worker) => worker.ask(task)));
      const firstRowMs = Math.min(...loaded.map(({ cost }) => cost?.firstRowMs ?? Infinity));
      if (firstRowMs <= INLINE_MS + rowBytesOf(model.manifest) * MESSAGE_MS_PER_BYTE && this.kind === 'onnxruntime-node') {
        // where this thread does not take it, the workers do
        await this.inline.load(this.options.folder(name, version), model.manifest).then(isFast, () => undefined);
      }
      this.options.logger.info({ model: name, version, runtime: this.kind }, 'model loaded');
    } catch (error) {
      if (error instanceof BrainError && error.code === 'SHUTTING_DOWN') throw error;
      this.options.logger.error({ model: name, version, error: (error as Error).message }, 'model not loaded');
      if (error instanceof BrainError && OF_THE_RUNTIME.has(error.code)) throw error;
      throw new BrainError('MODEL_NOT_READY', `version ${version} of model '${name}' is not loaded: ${(error as Error).message}`, { model: name, version }, { cause: error });
    }
  }

  private loadTask(model: ModelRef): WorkerTask {
    requireSupported(model.manifest);
    return { kind: 'load', folder: this.options.folder(model.name, model.version), manifest: model.manifest };
  }
}

/** One thread. It starts with the first task after construction or after its death, so a thread that cannot live does not spin. */
class OnnxWorker {
  kind: OnnxModule['kind'] | undefined;
  private thread: Worker | undefined;
  private readonly waiting = new Map<number, Waiter>();
  private next = 0;
  private closed = false;

  constructor(private readonly file: string, private readonly settings: WorkerSettings) {
    this.start();
  }

  get outstanding(): number {
    return this.waiting.size;
  }

  ask(task: WorkerTask): Promise<WorkerSuccess> {
    if (this.closed) return Promise.reject(new BrainError('SHUTTING_DOWN', 'the model runtime is closed'));
    const thread = this.thread ?? this.start();
    const id = this.next++;
    thread.ref();
    return new Promise<WorkerSuccess>((resolve, reject) => {
      this.waiting.set(id, { resolve, reject });
      thread.postMessage({ id, task } satisfies WorkerRequest);
    });
  }

  async close(): Promise<void> {
    this.closed = true;
    await this.thread?.terminate();
  }

  private start(): Worker {
    const thread = new Worker(this.file, { workerData: this.settings, stdout: false, stderr: false });
    thread.on('message', (reply: WorkerReply) => this.settle(reply));
    thread.on('error', (error) => this.bury(thread, error.message));
    thread.on('exit', (code) => this.bury(thread, `it ended with ${code}`));
    // an idle worker keeps no process alive
    thread.unref();
    this.thread = thread;
    return thread;
  }

  private settle(reply: WorkerReply): void {
    const waiter = this.waiting.get(reply.id);
    this.waiting.delete(reply.id);
    if (this.waiting.size === 0) this.thread?.unref();
    if ('code' in reply) {
      waiter?.reject(new BrainError(reply.code as ErrorCode, reply.text));
    } else {
      this.kind = reply.runtime;
      waiter?.resolve(reply);
    }
  }

  private bury(thread: Worker, reason: string): void {
    if (this.thread !== thread) return;
    this.thread = undefined;
    const waiters = [...this.waiting.values()];
    this.waiting.clear();
    for (const waiter of waiters) {
      waiter.reject(new BrainError(this.closed ? 'SHUTTING_DOWN' : 'RUNTIME_UNAVAILABLE', `the model runtime's worker stopped: ${reason}`));
    }
  }
}

/** Rows of a call: the first dimension of its first input. */
const rowsOf = (inputs: readonly Tensor[]) => inputs[0]?.shape[0] ?? 1;

/** Of numbers; text is left out. */
function bytesOf(inputs: readonly Tensor[]): number {
  let bytes = 0;
  for (const { data } of inputs) if (!Array.isArray(data)) bytes += data.byteLength;
  return bytes;
}

/** Of one row, as the manifest has it; dimensions of any size count as one. */
function rowBytesOf({ inputs }: ModelManifest): number {
  let bytes = 0;
  for (const { datatype, shape } of inputs) {
    if (datatype !== 'BYTES') bytes += shape.reduce((count, size) => count * Math.max(1, size), bytesPerElement(datatype));
  }
  return bytes;
}

/** The same promise, given up when the signal says so; the worker finishes in its own time. */
function abortable<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (!signal) return promise;
  return new Promise<T>((resolve, reject) => {
    const abort = () => reject(signal.reason as Error);
    if (signal.aborted) abort();
    signal.addEventListener('abort', abort, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', abort));
  });
}
