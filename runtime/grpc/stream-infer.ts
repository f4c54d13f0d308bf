/**
 * ModelStreamInfer: requests of one stream are worked on together and answered as they complete; an error of one is a message of the stream,
 * which goes on, as Triton does it.
 */
import { callStatus } from './grpc-status';
import { decodeInferRequest, encodeStreamError, encodeStreamResult, peekId, rawInputStart, WANT_FINAL_RESPONSE } from './oip-infer';
import type { StreamingCall, StreamListener, StreamMethod } from './server-call';
import type { IncomingCall, InferOperation, InferResult, Operations } from '../inference-service/operations';

/** The clock of `InferOperation.receivedAt`; undefined: decoding is not timed. */
export type Now = (() => number) | undefined;

/** Requests of one stream that are worked on at a time; the next ones wait unread, and so does the client. */
const MAX_CONCURRENT = 64;

export function streamInfer(operations: Operations, now: Now): StreamMethod {
  return {
    kind: 'stream',
    // aligned is what a stream sends one message at a time; of several in one piece each is where it is
    alignedStart: rawInputStart,
    open: (call) => new InferStream(call, operations, now),
  };
}

class InferStream implements StreamListener {
  private readonly requests = new Set<StreamedRequest>();
  private ended = false;
  private paused = false;
  private received = 0;
  private readonly openedAt = Date.now();

  constructor(private readonly call: StreamingCall, private readonly operations: Operations, private readonly now: Now) {
    call.onClosed = () => {
      for (const request of this.requests) request.leave();
    };
  }

  onMessage(message: Uint8Array): void {
    const request = new StreamedRequest(this.call, `${this.call.requestId}/${++this.received}`, this.openedAt);
    this.requests.add(request);
    if (this.requests.size >= MAX_CONCURRENT && !this.paused) {
      this.paused = true;
      this.call.pause();
    }
    void this.answer(request, message);
  }

  onEnd(): void {
    this.ended = true;
    this.endIfDone();
  }

  private async answer(request: StreamedRequest, message: Uint8Array): Promise<void> {
    let id: string | undefined;
    try {
      const operation = this.decode(request, message);
      ({ id } = operation);
      await this.run(request, operation);
    } catch (error) {
      const { message: text, status } = callStatus(error);
      this.call.noteFailure(status, error);
      await this.call.write(encodeStreamError(text, id ?? peekId(message)));
    }
    this.requests.delete(request);
    if (this.paused && this.requests.size < MAX_CONCURRENT) {
      this.paused = false;
      this.call.resume();
    }
    this.endIfDone();
  }

  /** Counts a request that fails before it can be asked for, like any other. */
  private decode(request: StreamedRequest, message: Uint8Array): InferOperation {
    try {
      return decodeInferRequest(message, this.now?.());
    } catch (error) {
      throw this.operations.refused(request, 'stream', '', error);
    }
  }

  private async run(request: StreamedRequest, operation: InferOperation): Promise<void> {
    const { call } = this;
    const { [WANT_FINAL_RESPONSE]: wanted, ...parameters } = operation.parameters;
    const final = wanted === undefined ? undefined : false;
    const asked = wanted === undefined ? operation : { ...operation, parameters };
    let last: InferResult | undefined;
    for await (const result of this.operations.stream(request, asked)) {
      // leaving the loop ends the work of a client that is gone
      if (call.ended) return;
      last = result;
      const full = call.write(encodeStreamResult(result, final));
      if (full !== undefined) await full;
    }
    if (wanted !== true) return;
    const { model, version = '', id } = operation;
    await call.write(encodeStreamResult({ model: last?.model ?? model, version: last?.version ?? version, id, outputs: [], parameters: {} }, true));
  }

  private endIfDone(): void {
    if (this.ended && this.requests.size === 0) this.call.end();
  }
}

/** One request of a stream, as a call of its own: what listens to it goes with it, and does not gather on a stream that lives for days. */
class StreamedRequest implements IncomingCall {
  readonly protocol = 'grpc';
  readonly timeoutMs: number | undefined;
  private listeners: (() => void)[] = [];

  /** @param requestId the call's, which the client is answered, and the request's number within it, from 1 */
  constructor(private readonly call: StreamingCall, readonly requestId: string, openedAt: number) {
    this.timeoutMs = call.timeoutMs === undefined ? undefined : Math.max(0, call.timeoutMs - (Date.now() - openedAt));
  }

  header(name: string): string | undefined {
    return this.call.header(name);
  }

  onGone(listener: () => void): void {
    if (this.call.gone) listener();
    else this.listeners.push(listener);
  }

  leave(): void {
    const { listeners } = this;
    this.listeners = [];
    for (const listener of listeners) listener();
  }
}
