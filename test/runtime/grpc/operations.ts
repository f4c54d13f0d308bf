/** Operations to call, each model a behaviour. */
import { ANONYMOUS } from '../../../runtime/core/caller';
import { BrainError, type ErrorCode } from '../../../runtime/core/errors';
import type { RequestOperation } from '../../../runtime/core/telemetry';
import type { IncomingCall, InferOperation, InferResult, Operations } from '../../../runtime/inference-service/operations';

export const QUIET = { info: () => undefined, warn: () => undefined, error: () => undefined };

/** Something that happens once, to wait for. */
export class Signal<T = void> {
  resolve!: (value: T) => void;
  readonly happened = new Promise<T>((resolve) => {
    this.resolve = resolve;
  });
}

/**
 * `echo` gives the inputs back, `refuse` fails with the code in its id, `crash` throws what is no coded error, `wait` answers when `release` is
 * called, `count` streams as many answers as its parameter `n` says, `endless` streams until nobody listens.
 */
export class TestOperations implements Operations {
  live = true;
  ready = true;
  readonly seen: { readonly call: IncomingCall; readonly request: InferOperation }[] = [];
  started = new Signal<IncomingCall>();
  gone = new Signal();
  released = new Signal();
  streamed = 0;
  left = new Signal();

  release(): void {
    this.released.resolve();
  }

  now(): number {
    return performance.now();
  }

  requireReady(): void {
    if (!this.ready) throw new BrainError('MODEL_NOT_READY', 'not yet');
  }

  authenticate(): typeof ANONYMOUS {
    return ANONYMOUS;
  }

  refused(_call: IncomingCall, _operation: RequestOperation, _model: string, error: unknown): BrainError {
    return error as BrainError;
  }

  generate(): Promise<InferResult> {
    throw new Error('gRPC has no such method');
  }

  isLive(): boolean {
    return this.live;
  }

  isReady(): boolean {
    return this.ready;
  }

  serverMetadata() {
    return { name: 'test', version: '1.2.3', extensions: ['binary_tensor_data', 'model_repository'] };
  }

  async modelMetadata(model: string, version?: string) {
    this.require(model);
    return {
      name: model,
      versions: version === undefined ? ['1', '2'] : [version],
      platform: 'onnx_onnxv1',
      inputs: [{ name: 'x', datatype: 'FP32' as const, shape: [-1, 30] }],
      outputs: [{ name: 'y', datatype: 'INT64' as const, shape: [-1] }],
    };
  }

  async requireModelReady(model: string, version: string | undefined): Promise<void> {
    this.require(model);
    if (version === '9') throw new BrainError('MODEL_NOT_READY', 'not yet');
  }

  async infer(call: IncomingCall, request: InferOperation): Promise<InferResult> {
    this.seen.push({ call, request });
    if (request.model === 'refuse') throw new BrainError(request.id as ErrorCode, 'as asked: 100 % ünicode\n');
    if (request.model === 'crash') throw new TypeError('secret detail');
    if (request.model === 'wait') {
      call.onGone(() => this.gone.resolve());
      this.started.resolve(call);
      await this.released.happened;
    } else {
      this.require(request.model);
    }
    return { model: request.model, version: request.version ?? '1', id: request.id, outputs: request.inputs, parameters: { model_version: '1' } };
  }

  async *stream(call: IncomingCall, request: InferOperation): AsyncGenerator<InferResult, void, undefined> {
    const { model } = request;
    if (model !== 'count' && model !== 'endless') {
      yield await this.infer(call, request);
      return;
    }
    this.seen.push({ call, request });
    const n = model === 'endless' ? Infinity : Number(request.parameters.n);
    try {
      for (let i = 0; i < n; i++) {
        this.streamed++;
        await new Promise(setImmediate);
        yield { model, version: '1', id: request.id, outputs: request.inputs, parameters: { i: String(i) } };
      }
    } finally {
      this.left.resolve();
    }
  }

  private require(model: string): void {
    if (!['echo', 'count', 'endless'].includes(model)) throw new BrainError('UNKNOWN_MODEL', `the brain declares no model '${model}'`);
  }
}
