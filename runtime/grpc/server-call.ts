/**
 * One call on the server: an HTTP/2 stream from its headers to its trailers. Handlers are shared functions that find their call on the stream:
 * no closure is made for a call.
 * Source: "gRPC over HTTP2".
 */
import { constants, type IncomingHttpHeaders, type OutgoingHttpHeaders, type ServerHttp2Stream } from 'node:http2';
import { callStatus, encodeMessage, ERROR_CODE_METADATA, GrpcError, GrpcStatus } from './grpc-status';
import { parseTimeout } from './grpc-timeout';
import { MessageReader, type MessageSink } from './message-reader';
import { Header } from '../../src/contract';
import { BrainError, refuse } from '../core/errors';
import type { Logger } from '../core/ports';
import { IncomingBytes } from '../inference-service/incoming-bytes';
import type { IncomingCall } from '../inference-service/operations';
import { requestIdOf } from '../inference-service/request-id';

/** The chunks of a framed message, as the encoders give them. */
export type Frame = readonly Uint8Array[];

export interface UnaryMethod {
  readonly kind: 'unary';
  /** Called before anything of a call is read, and waited for. Fails, or rejects, with what `callStatus` knows. */
  before?(call: IncomingCall): void | Promise<void>;
  /** Fails, or rejects, with what `callStatus` knows. */
  handle(message: Uint8Array, call: IncomingCall): Frame | Promise<Frame>;
  /** As in MessageSink. */
  alignedStart?(head: Uint8Array): number | undefined;
}

export interface StreamListener {
  onMessage(message: Uint8Array): void;
  /** The client sends nothing more. */
  onEnd(): void;
}

export interface StreamMethod {
  readonly kind: 'stream';
  /** As of a unary method. */
  before?(call: IncomingCall): void | Promise<void>;
  open(call: StreamingCall): StreamListener;
  alignedStart?(head: Uint8Array): number | undefined;
}

export type Method = UnaryMethod | StreamMethod;

/** What the calls of one connection share. */
export interface CallHost {
  readonly maxBodyBytes: number;
  /** What the whole process holds of messages that are not complete. */
  readonly incoming: IncomingBytes;
  readonly logger: Logger;
  /** Calls of the connection that are not over. */
  readonly calls: Set<ServerCall>;
  /** Bytes of answers that the connection has not taken yet. */
  unsentBytes: number;
}

const CONTENT_TYPE = 'application/grpc';
const RESPONSE_TYPE = 'application/grpc+proto';
/** Shapes that every call shares; node copies what it adds to. */
const RESPOND_OPTIONS = { waitForTrailers: true } as const;
const END_OPTIONS = { endStream: true } as const;
const OK_TRAILERS: OutgoingHttpHeaders = { 'grpc-status': '0' };

const CALL = Symbol('call');
type CallStream = ServerHttp2Stream & { [CALL]?: ServerCall };

/** Why the server is waiting for the client, and so how long it may take. */
export type Waiting = 'message' | 'reader' | undefined;

export abstract class ServerCall implements IncomingCall, MessageSink {
  readonly protocol = 'grpc';
  readonly timeoutMs: number | undefined;
  /** Set while the client is to do something: send a message that it began, or read. */
  waiting: Waiting = 'message';
  /** Since when, milliseconds since the epoch. */
  since = Date.now();
  /** Sent after the data of the answer. */
  trailers: OutgoingHttpHeaders = OK_TRAILERS;
  protected over = false;
  private goneListeners: (() => void)[] | undefined;
  private id: string | undefined;
  protected readonly reader: MessageReader;
  protected unsent = 0;
  private held = 0;

  constructor(
    protected readonly stream: ServerHttp2Stream,
    private readonly headers: IncomingHttpHeaders,
    private readonly rawHeaders: readonly string[],
    protected readonly method: Method,
    protected readonly host: CallHost,
  ) {
    this.timeoutMs = parseTimeout(headers['grpc-timeout'] as string | undefined);
    this.reader = new MessageReader(host.maxBodyBytes, this);
    (stream as CallStream)[CALL] = this;
    host.calls.add(this);
    stream.on('data', onData);
    stream.on('end', onEnd);
    stream.on('close', onClose);
    // what goes wrong with the stream closes it, and that is what is acted on
    stream.on('error', ignore);
  }

  abstract onMessage(message: Uint8Array): void;
  abstract onEnd(): void;
  /** The client gets no whole answer: its stream is closed, or what it sent has ended the call. */
  protected abstract onAbandoned(): void;

  alignedStart(head: Uint8Array): number | undefined {
    return this.method.alignedStart?.(head);
  }

  get requestId(): string {
    return this.id ??= requestIdOf(this.header(Header.REQUEST_ID));
  }

  get gone(): boolean {
    return this.stream.destroyed;
  }

  header(name: string): string | undefined {
    const value = this.headers[name];
    if (typeof value !== 'string') return value?.[0];
    // node joins the values of one name: the first is among the headers as they came
    if (!value.includes(', ')) return value;
    const { rawHeaders } = this;
    for (let i = 0; i < rawHeaders.length; i += 2) if (rawHeaders[i] === name) return rawHeaders[i + 1];
    return value;
  }

  onGone(listener: () => void): void {
    if (this.stream.destroyed && !this.over) return listener();
    (this.goneListeners ??= []).push(listener);
  }

  push(chunk: Uint8Array): void {
    if (this.over) return;
    try {
      this.reader.push(chunk);
    } catch (error) {
      return this.fail(error);
    }
    const { held } = this.reader;
    if (held !== this.held) this.hold(held);
  }

  /** Asks what the method wants to know before anything is read. To be called once, when the call is made. */
  begin(): void {
    const { stream } = this;
    try {
      const known = this.method.before?.(this);
      if (!(known instanceof Promise)) return;
      stream.pause();
      known.then(() => stream.resume(), (error: unknown) => {
        this.fail(error);
        stream.resume();
      });
    } catch (error) {
      this.fail(error);
    }
  }

  private hold(held: number): void {
    const more = held - this.held;
    this.held = held;
    if (!this.host.incoming.take(more) && more > 0) this.fail(IncomingBytes.refusal());
  }

  /** Ends the call with a status other than OK, and the work on it. */
  fail(error: unknown): void {
    if (this.over) return;
    const listeners = this.goneListeners;
    this.answerError(error);
    this.abandon(listeners);
  }

  /** Answers a status other than OK. */
  protected answerError(error: unknown): void {
    if (this.over) return;
    const { stream } = this;
    const { status, message, code, retryAfterS } = callStatus(error);
    if (status === GrpcStatus.INTERNAL && isOurs(error)) this.host.logger.error({ code, error: String((error as Error)?.stack ?? error) }, 'call failed');
    this.finish();
    if (stream.closed) return;
    const trailers = statusHeaders(status, message);
    if (code !== undefined) trailers[ERROR_CODE_METADATA] = code;
    if (retryAfterS !== undefined) trailers['retry-after'] = String(retryAfterS);
    if (stream.headersSent) {
      this.trailers = trailers;
      stream.end();
      return;
    }
    // Trailers-Only: one block of headers is the whole answer
    stream.respond({ ...responseHeaders(this.requestId), ...trailers }, END_OPTIONS);
    this.stopReading();
  }

  /** Resets the stream: what the client is asked for did not come. */
  reset(): void {
    this.stream.close(constants.NGHTTP2_CANCEL);
  }

  closed(): void {
    const { host } = this;
    host.calls.delete(this);
    host.unsentBytes -= this.unsent;
    this.unsent = 0;
    host.incoming.give(this.held);
    this.held = 0;
    if (this.over) return;
    this.over = true;
    const listeners = this.goneListeners;
    this.goneListeners = undefined;
    this.abandon(listeners);
  }

  private abandon(listeners: readonly (() => void)[] | undefined): void {
    if (listeners !== undefined) for (const listener of listeners) listener();
    this.onAbandoned();
  }

  /** The answer is decided; what remains is for the client to read it. */
  protected finish(): void {
    this.over = true;
    this.goneListeners = undefined;
    this.waitFor('reader');
  }

  protected waitFor(waiting: Waiting): void {
    this.waiting = waiting;
    if (waiting !== undefined) this.since = Date.now();
  }

  protected respond(): void {
    this.stream.respond(responseHeaders(this.requestId), RESPOND_OPTIONS);
    this.stream.on('wantTrailers', onWantTrailers);
  }

  /** Writes a frame; false: the client reads slower than this. */
  protected send(frame: Frame, last: boolean): boolean {
    const { stream, host } = this;
    let room = true;
    if (frame.length === 1) {
      if (last) stream.end(frame[0]);
      else room = stream.write(frame[0]);
    } else {
      stream.cork();
      for (const chunk of frame) room = stream.write(chunk);
      if (last) stream.end();
      stream.uncork();
    }
    const unsent = stream.writableLength;
    host.unsentBytes += unsent - this.unsent;
    this.unsent = unsent;
    return room;
  }

  /** The client may still be sending what nobody reads: it is told to stop. */
  private stopReading(): void {
    const { stream } = this;
    if (!stream.readableEnded) stream.close(constants.NGHTTP2_NO_ERROR);
  }
}

/** A call with one message each way. */
export class UnaryCall extends ServerCall {
  private received = false;

  onMessage(message: Uint8Array): void {
    if (this.received) refuse('INVALID_REQUEST', 'the call takes one message, and there is another');
    this.received = true;
    this.waitFor(undefined);
    const answer = (this.method as UnaryMethod).handle(message, this);
    if (answer instanceof Promise) answer.then((frame) => this.answer(frame), (error: unknown) => this.answerError(error));
    else this.answer(answer);
  }

  onEnd(): void {
    if (!this.received) this.fail(new GrpcError(GrpcStatus.INVALID_ARGUMENT, 'the call takes one message, and there is none'));
  }

  protected onAbandoned(): void {
    // whoever works on it has heard of it by onGone
  }

  private answer(frame: Frame): void {
    // a stream that is closed takes no headers, and its end is on its way
    if (this.over || this.stream.closed) return;
    this.finish();
    this.respond();
    this.send(frame, true);
  }
}

/** A call with any number of messages each way. */
export class StreamingCall extends ServerCall {
  private readonly listener: StreamListener;
  private drained: (() => void)[] = [];
  private abandoned: (() => void) | undefined;

  constructor(stream: ServerHttp2Stream, headers: IncomingHttpHeaders, rawHeaders: readonly string[], method: StreamMethod, host: CallHost) {
    super(stream, headers, rawHeaders, method, host);
    this.waiting = undefined;
    this.respond();
    stream.on('drain', onDrain);
    this.listener = method.open(this);
  }

  override push(chunk: Uint8Array): void {
    super.push(chunk);
    if (this.over || this.waiting === 'reader') return;
    // between messages a stream may be silent for as long as it likes
    if (!this.reader.partial) this.waiting = undefined;
    else if (this.waiting !== 'message') this.waitFor('message');
  }

  onMessage(message: Uint8Array): void {
    // a message that is whole says that the client is alive: the next one has its own time
    if (this.waiting === 'message') this.waiting = undefined;
    this.listener.onMessage(message);
  }

  onEnd(): void {
    if (!this.over && this.reader.partial) this.fail(new GrpcError(GrpcStatus.INVALID_ARGUMENT, 'the stream ends within a message'));
    else if (!this.over) this.listener.onEnd();
  }

  /** Calls back once if the stream closes before it has ended. */
  set onClosed(listener: () => void) {
    this.abandoned = listener;
  }

  get ended(): boolean {
    return this.over;
  }

  /** Writes a message; undefined: the client takes more; else resolves when it does, or when the stream is over. */
  write(frame: Frame): Promise<void> | undefined {
    if (this.over || this.send(frame, false)) return undefined;
    if (this.waiting !== 'reader') this.waitFor('reader');
    return this.drain();
  }

  end(): void {
    if (this.over) return;
    this.finish();
    this.stream.end();
  }

  /** Logs what the service itself did wrong in one request of the stream. */
  noteFailure(status: number, error: unknown): void {
    if (status === GrpcStatus.INTERNAL && isOurs(error)) this.host.logger.error({ error: String((error as Error)?.stack ?? error) }, 'request of a stream failed');
  }

  /** No more messages are read until `resume`. */
  pause(): void {
    this.stream.pause();
  }

  resume(): void {
    this.stream.resume();
  }

  onDrained(): void {
    this.host.unsentBytes -= this.unsent;
    this.unsent = 0;
    if (!this.over) this.waiting = undefined;
    this.wake();
  }

  override closed(): void {
    super.closed();
    this.wake();
  }

  protected override onAbandoned(): void {
    this.wake();
    this.abandoned?.();
  }

  private drain(): Promise<void> {
    return new Promise((resolve) => {
      this.drained.push(resolve);
    });
  }

  private wake(): void {
    const waiting = this.drained;
    this.drained = [];
    for (const resume of waiting) resume();
  }
}

/** Whether nobody gave the error a meaning: what a client did wrong has one, and what has a code was logged by whoever gave it one. */
function isOurs(error: unknown): boolean {
  return !(error instanceof BrainError || error instanceof GrpcError);
}

function responseHeaders(requestId: string): OutgoingHttpHeaders {
  return { ':status': 200, 'content-type': RESPONSE_TYPE, [Header.REQUEST_ID]: requestId };
}

function statusHeaders(status: number, message: string): OutgoingHttpHeaders {
  return { 'grpc-status': String(status), 'grpc-message': encodeMessage(message) };
}

/** Ends a stream that is no call of ours. */
export function refuseStream(
  stream: ServerHttp2Stream, headers: IncomingHttpHeaders, { status, message }: GrpcError, extra: OutgoingHttpHeaders = {},
): void {
  stream.on('error', ignore);
  const requestId = requestIdOf(headers[Header.REQUEST_ID] as string | undefined);
  stream.respond({ ...responseHeaders(requestId), ...statusHeaders(status, message), ...extra }, END_OPTIONS);
  stream.close(constants.NGHTTP2_NO_ERROR);
}

export function isGrpc(contentType: string | undefined): boolean {
  if (contentType === undefined || !contentType.startsWith(CONTENT_TYPE)) return false;
  const next = contentType[CONTENT_TYPE.length];
  return next === undefined || next === ';' || contentType.startsWith('+proto', CONTENT_TYPE.length);
}

function onData(this: CallStream, chunk: Uint8Array): void {
  this[CALL]!.push(chunk);
}

function onEnd(this: CallStream): void {
  this[CALL]!.onEnd();
}

function onClose(this: CallStream): void {
  this[CALL]!.closed();
}

function onWantTrailers(this: CallStream): void {
  this.sendTrailers(this[CALL]!.trailers);
}

function onDrain(this: CallStream): void {
  (this[CALL] as StreamingCall).onDrained();
}

function ignore(): void {
  // see above
}
