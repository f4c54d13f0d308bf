/** The bytes of a request, no more than are allowed, and what its headers say about them. */
import type { IncomingHttpHeaders, IncomingMessage } from 'node:http';
import type { ContinuableRequest } from './http-server';
import { IncomingBytes } from './incoming-bytes';
import { allocateBody } from '../core/binary-tensors';
import { BrainError, refuse } from '../core/errors';
import { HEADER_LENGTH } from '../core/oip';

const tooLarge = (most: number) => new BrainError('BODY_TOO_LARGE', `the body is above ${most} bytes: split the batch`);

const gone = () => new BrainError('CANCELLED', 'the caller closed the connection');

/** For bodies that are small by themselves. */
const UNCOUNTED = new IncomingBytes(Infinity);

/** Who waits for a body: one of the two is called, once. A call of its own, since a promise and its closures cost a small request 1 µs. */
export interface BodyTaker {
  onBody(body: Buffer): void;
  onBodyError(error: BrainError): void;
}

const READER = Symbol('reader');
type ReadRequest = IncomingMessage & { [READER]?: BodyReader };

/**
 * Gives the whole body, as soon as its last byte is there. Fails with BODY_TOO_LARGE before anything is read where `content-length` says so,
 * with CANCELLED where the caller goes away midway, with OVERLOADED where the process receives too much at once.
 */
export function takeBody(request: IncomingMessage, most: number, incoming: IncomingBytes, taker: BodyTaker): void {
  if (request.destroyed && !request.readableEnded) return taker.onBodyError(gone());
  const declared = Number(request.headers['content-length']);
  if (declared > most) return taker.onBodyError(tooLarge(most));
  const announced = request.headers[HEADER_LENGTH];
  (request as ContinuableRequest).continueBody?.();
  (request as ReadRequest)[READER] = new BodyReader(request, most, incoming, declared, announced === undefined ? 0 : Number(announced), taker);
  request.on('data', onData);
  request.on('end', onEnd);
  request.on('error', onError);
}

/** Whether the whole body was read: node itself says so only when it has also told everybody of the end. */
export function bodyIsRead(request: IncomingMessage): boolean {
  return (request as ReadRequest)[READER]?.isWhole ?? false;
}

/** As `takeBody`. */
export function readBody(request: IncomingMessage, most: number, incoming = UNCOUNTED): Promise<Buffer> {
  return new Promise((onBody, onBodyError) => takeBody(request, most, incoming, { onBody, onBodyError }));
}

class BodyReader {
  private first: Buffer | undefined = undefined;
  private rest: Buffer[] | undefined = undefined;
  private whole: Buffer | undefined = undefined;
  private size = 0;
  /** Of a body that comes in pieces: what counts against all that is being received. */
  private held = 0;
  private over = false;
  /** The taker has the whole body. */
  isWhole = false;

  /**
   * @param declared what `content-length` says; NaN: nothing
   * @param announced bytes of JSON before binary tensors, as a header says
   */
  constructor(
    private readonly request: IncomingMessage, private readonly most: number, private readonly incoming: IncomingBytes,
    private readonly declared: number, private readonly announced: number, private readonly taker: BodyTaker,
  ) {}

  take(chunk: Buffer): void {
    if (this.over) return;
    const size = this.size += chunk.length;
    const { first, declared } = this;
    if (size > this.most) return this.refuseRest(tooLarge(this.most));
    if (first) {
      const more = size - this.held;
      this.held = size;
      if (!this.incoming.take(more)) return this.refuseRest(IncomingBytes.refusal());
    }
    if (!first) {
      this.first = chunk;
    } else if (declared >= size) {
      // copied once, to where its binary tensors are aligned; memory that nothing is written to is not used, whatever is declared
      if (!this.whole) first.copy(this.whole = allocateBody(declared, this.headerLength()));
      chunk.copy(this.whole, size - chunk.length);
    } else {
      (this.rest ??= [first]).push(chunk);
    }
    if (size === declared) this.end();
  }

  end(): void {
    if (this.over) return;
    const { whole, rest, first, size } = this;
    this.isWhole = true;
    this.leave();
    this.taker.onBody(whole?.subarray(0, size) ?? (rest ? Buffer.concat(rest, size) : first ?? Buffer.alloc(0)));
  }

  fail(error: BrainError): void {
    if (this.over) return;
    this.leave();
    this.taker.onBodyError(error);
  }

  private leave(): void {
    this.over = true;
    this.first = this.whole = this.rest = undefined;
    this.incoming.give(this.held);
    this.held = 0;
  }

  /** What still comes is thrown away, not kept. */
  private refuseRest(error: BrainError): void {
    this.request.removeListener('data', onData);
    this.request.resume();
    this.fail(error);
  }

  private headerLength(): number {
    return Number.isSafeInteger(this.announced) && this.announced >= 0 ? this.announced : 0;
  }
}

function onData(this: ReadRequest, chunk: Buffer): void {
  this[READER]!.take(chunk);
}

function onEnd(this: ReadRequest): void {
  this[READER]!.end();
}

function onError(this: ReadRequest): void {
  this[READER]!.fail(gone());
}

/**
 * Bytes of JSON at the front of the body, or undefined where all of it is JSON. JSON is taken under any JSON type, and JSON with binary
 * tensors behind it under any type; some stock clients (tritonclient) send no content type at all: that is JSON too.
 */
export function jsonLength(headers: IncomingHttpHeaders, size: number): number | undefined {
  const encoding = headers['content-encoding'];
  if (encoding !== undefined && encoding !== 'identity') refuse('UNSUPPORTED_MEDIA_TYPE', `the body is ${encoding}-encoded: send it uncompressed`);
  const header = headers[HEADER_LENGTH];
  if (header !== undefined) {
    const length = header === '' ? NaN : Number(header);
    if (!Number.isSafeInteger(length) || length < 0 || length > size) refuse('INVALID_REQUEST', `${HEADER_LENGTH} is '${String(header)}', the body has ${size} bytes`);
    return length;
  }
  requireJson(headers['content-type']);
  return undefined;
}

/** Fails with UNSUPPORTED_MEDIA_TYPE unless the type is JSON's, or absent. */
export function requireJson(contentType: string | undefined): void {
  if (contentType === undefined || contentType === 'application/json') return;
  const type = contentType.split(';', 1)[0].trim().toLowerCase();
  if (type !== 'application/json' && !/^application\/[a-z0-9.-]+\+json$/.test(type)) {
    refuse('UNSUPPORTED_MEDIA_TYPE', `the body is ${type}, it must be application/json, or JSON and binary tensors with the ${HEADER_LENGTH} header`);
  }
}
