/** One call on the client: an HTTP/2 stream from its headers to its trailers. Source: "gRPC over HTTP2". */
import { type ClientHttp2Stream, constants, type IncomingHttpHeaders } from 'node:http2';
import { decodeMessage, GrpcError, GrpcStatus, statusOfHttp } from './grpc-status';
import { MessageReader, type MessageSink } from './message-reader';
import type { Frame } from './server-call';
import { BrainError } from '../core/errors';

/** What a call needs to know of its connection. */
export interface CallConnection {
  /** Why the connection broke; undefined: it did not. */
  readonly lost: string | undefined;
  readonly maxReceiveBytes: number;
  /** Any sign of life of the peer. */
  heard(): void;
  /** The call is over. */
  finished(call: ClientCall): void;
}

export interface CallOptions {
  /** Milliseconds since the epoch, also sent to the peer; undefined: none. */
  readonly deadline?: number;
  /** Its reason is the call's error where it is an error, else the call fails with CANCELLED. */
  readonly signal?: AbortSignal;
  /** Headers, by name in lower case. */
  readonly metadata?: Readonly<Record<string, string>>;
  /** As in MessageSink, for the answers. */
  readonly alignedStart?: (head: Uint8Array) => number | undefined;
}

const CALL = Symbol('call');
type CallStream = ClientHttp2Stream & { [CALL]?: ClientCall };

const MAX_TIMER_MS = 2 ** 31 - 1;

export abstract class ClientCall implements MessageSink {
  private readonly reader: MessageReader;
  private status: GrpcError | 'ok' | undefined;
  private timer: NodeJS.Timeout | undefined;
  private onAbort: (() => void) | undefined;
  protected over = false;

  constructor(protected readonly stream: ClientHttp2Stream, private readonly connection: CallConnection, private readonly options: CallOptions) {
    this.reader = new MessageReader(connection.maxReceiveBytes, this);
    (stream as CallStream)[CALL] = this;
    stream.on('response', onHeaders);
    stream.on('trailers', onTrailers);
    stream.on('data', onData);
    stream.on('end', onEnd);
    stream.on('close', onClose);
    // what goes wrong with the stream closes it, and that is what is acted on
    stream.on('error', ignore);
    const { deadline, signal } = options;
    if (deadline !== undefined) {
      this.timer = setTimeout(onDeadline, Math.min(MAX_TIMER_MS, Math.max(0, deadline - Date.now())), this);
      this.timer.unref();
    }
    if (signal !== undefined) {
      this.onAbort = () => this.cancel(abortError(signal));
      signal.addEventListener('abort', this.onAbort);
    }
  }

  abstract onMessage(message: Uint8Array): void;
  protected abstract onDone(error: Error | undefined): void;

  alignedStart(head: Uint8Array): number | undefined {
    return this.options.alignedStart?.(head);
  }

  /** Gives up: the peer is told, and the call fails with this error. */
  cancel(error: Error): void {
    if (this.over) return;
    this.done(error);
    this.stream.close(constants.NGHTTP2_CANCEL);
  }

  headers(headers: IncomingHttpHeaders): void {
    this.connection.heard();
    if (this.over) return;
    const http = headers[':status'] as unknown as number;
    if (headers['grpc-status'] !== undefined) return this.trailers(headers);
    if (http !== 200 || !headers['content-type']?.startsWith('application/grpc')) {
      // not gRPC that answers: a proxy, or another kind of server
      this.status = new GrpcError(statusOfHttp(http), `the peer answered with HTTP status ${http} and content-type ${headers['content-type']}`);
      return;
    }
    const encoding = headers['grpc-encoding'];
    if (encoding !== undefined && encoding !== 'identity') this.cancel(new GrpcError(GrpcStatus.INTERNAL, `the peer answered with grpc-encoding ${encoding as string}`));
  }

  trailers(headers: IncomingHttpHeaders): void {
    if (this.over || this.status !== undefined) return;
    const status = headers['grpc-status'] as string | undefined;
    if (status === '0') {
      this.status = 'ok';
      return;
    }
    const number = Number(status);
    const text = decodeMessage(headers['grpc-message'] as string | undefined ?? '');
    this.status = new GrpcError(Number.isInteger(number) && number > 0 && number <= 16 ? number : GrpcStatus.UNKNOWN, text, metadataOf(headers));
  }

  data(chunk: Uint8Array): void {
    this.connection.heard();
    if (this.over || this.status instanceof GrpcError) return;
    try {
      this.reader.push(chunk);
    } catch (error) {
      this.cancel(error instanceof BrainError ? new GrpcError(GrpcStatus.RESOURCE_EXHAUSTED, error.text) : error as Error);
    }
  }

  /** All that the peer sends has been read. */
  ended(): void {
    if (this.status === undefined) return;
    this.done(this.status === 'ok' ? this.incomplete() : this.status);
  }

  closed(): void {
    if (this.status !== undefined) this.ended();
    else if (!this.over) this.done(this.failure());
    this.connection.finished(this);
  }

  protected incomplete(): GrpcError | undefined {
    return this.reader.partial ? new GrpcError(GrpcStatus.INTERNAL, 'the answer ends within a message') : undefined;
  }

  private done(error: Error | undefined): void {
    if (this.over) return;
    this.over = true;
    clearTimeout(this.timer);
    if (this.onAbort !== undefined) this.options.signal!.removeEventListener('abort', this.onAbort);
    this.onDone(error);
  }

  /** Why a stream closed without a status. Source: "gRPC over HTTP2", Errors. */
  private failure(): GrpcError {
    const { stream, connection } = this;
    const { rstCode } = stream;
    if (rstCode === constants.NGHTTP2_REFUSED_STREAM) return new GrpcError(GrpcStatus.UNAVAILABLE, 'the peer took no more calls on this connection', {}, false);
    // the stream has a number once its headers were sent
    if (connection.lost !== undefined) return new GrpcError(GrpcStatus.UNAVAILABLE, connection.lost, {}, stream.id !== undefined);
    switch (rstCode) {
      case constants.NGHTTP2_CANCEL:
        return new GrpcError(GrpcStatus.CANCELLED, 'the peer cancelled the call');
      case constants.NGHTTP2_ENHANCE_YOUR_CALM:
        return new GrpcError(GrpcStatus.RESOURCE_EXHAUSTED, 'the peer asks for fewer calls');
      case constants.NGHTTP2_INADEQUATE_SECURITY:
        return new GrpcError(GrpcStatus.PERMISSION_DENIED, 'the peer finds the connection not secure enough');
      default:
        return new GrpcError(GrpcStatus.INTERNAL, `the peer closed the call without a status (HTTP/2 code ${rstCode})`);
    }
  }
}

/** A call with one message each way. */
export class UnaryClientCall extends ClientCall {
  private message: Uint8Array | undefined;
  private resolve!: (message: Uint8Array) => void;
  private reject!: (error: Error) => void;
  readonly answer: Promise<Uint8Array>;

  constructor(stream: ClientHttp2Stream, connection: CallConnection, options: CallOptions, request: Frame) {
    super(stream, connection, options);
    this.answer = new Promise((resolve, reject) => {
      this.resolve = resolve;
      this.reject = reject;
    });
    sendFrame(stream, request, true);
  }

  onMessage(message: Uint8Array): void {
    if (this.message !== undefined) throw new GrpcError(GrpcStatus.INTERNAL, 'the peer answered with more than one message');
    this.message = message;
  }

  protected override incomplete(): GrpcError | undefined {
    return super.incomplete() ?? (this.message === undefined ? new GrpcError(GrpcStatus.INTERNAL, 'the peer answered without a message') : undefined);
  }

  protected onDone(error: Error | undefined): void {
    if (error === undefined) this.resolve(this.message!);
    else this.reject(error);
  }
}

/** Messages that wait for the reader before the peer is slowed down. */
const MAX_WAITING = 16;

/** A call with any number of messages each way. To be iterated once; leaving the iteration early cancels the call. */
export class ClientStream extends ClientCall implements AsyncIterable<Uint8Array> {
  private waiting: Uint8Array[] = [];
  private wake: (() => void) | undefined;
  private error: Error | undefined;

  onMessage(message: Uint8Array): void {
    this.waiting.push(message);
    if (this.waiting.length >= MAX_WAITING) this.stream.pause();
    this.wakeUp();
  }

  /** Sends a message; undefined: there is room for more; else resolves when there is, or when the call is over. */
  write(frame: Frame): Promise<void> | undefined {
    const { stream } = this;
    if (this.over || stream.destroyed || stream.writableEnded) return undefined;
    if (sendFrame(stream, frame, false)) return undefined;
    return new Promise((resolve) => {
      const done = () => {
        stream.off('drain', done);
        stream.off('close', done);
        resolve();
      };
      stream.once('drain', done);
      stream.once('close', done);
    });
  }

  /** Nothing more is sent. */
  end(): void {
    if (!this.over) this.stream.end();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array, void, undefined> {
    try {
      for (;;) {
        const next = this.waiting.shift();
        if (next !== undefined) {
          if (this.waiting.length === 0 && this.stream.isPaused()) this.stream.resume();
          yield next;
        } else if (!this.over) {
          await new Promise<void>((resolve) => {
            this.wake = resolve;
          });
        } else {
          if (this.error !== undefined) throw this.error;
          return;
        }
      }
    } finally {
      this.cancel(new GrpcError(GrpcStatus.CANCELLED, 'the reader left'));
    }
  }

  protected onDone(error: Error | undefined): void {
    this.error = error;
    this.wakeUp();
  }

  private wakeUp(): void {
    const { wake } = this;
    this.wake = undefined;
    wake?.();
  }
}

export function abortError(signal: AbortSignal): Error {
  const reason: unknown = signal.reason;
  // the reason of an abort without one is a DOMException, which says nothing
  return reason instanceof Error && reason.name !== 'AbortError' ? reason : new GrpcError(GrpcStatus.CANCELLED, 'the caller cancelled the call');
}

function sendFrame(stream: ClientHttp2Stream, frame: Frame, last: boolean): boolean {
  if (frame.length === 1) {
    if (!last) return stream.write(frame[0]);
    stream.end(frame[0]);
    return true;
  }
  let room = true;
  stream.cork();
  for (const chunk of frame) room = stream.write(chunk);
  if (last) stream.end();
  stream.uncork();
  return room;
}

/** Trailers that are not the protocol's own. */
function metadataOf(headers: IncomingHttpHeaders): Record<string, string> {
  const metadata: Record<string, string> = {};
  for (const [name, value] of Object.entries(headers)) {
    if (typeof value === 'string' && !name.startsWith(':') && name !== 'grpc-status' && name !== 'grpc-message' && name !== 'content-type') metadata[name] = value;
  }
  return metadata;
}

function onHeaders(this: CallStream, headers: IncomingHttpHeaders): void {
  this[CALL]!.headers(headers);
}

function onTrailers(this: CallStream, headers: IncomingHttpHeaders): void {
  this[CALL]!.trailers(headers);
}

function onData(this: CallStream, chunk: Uint8Array): void {
  this[CALL]!.data(chunk);
}

function onEnd(this: CallStream): void {
  this[CALL]!.ended();
}

function onClose(this: CallStream): void {
  this[CALL]!.closed();
}

function onDeadline(call: ClientCall): void {
  call.cancel(new GrpcError(GrpcStatus.DEADLINE_EXCEEDED, 'the deadline has passed'));
}

function ignore(): void {
  // see above
}
