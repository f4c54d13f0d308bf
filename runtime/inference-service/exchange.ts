/** One HTTP exchange: an incoming call, and the ways to answer it. */
import type { IncomingMessage, OutgoingHttpHeader, ServerResponse } from 'node:http';
import { limitSlowReader, writable } from './http-server';
import type { IncomingCall } from './operations';
import { bodyIsRead } from './request-body';
import { requestIdOf } from './request-id';
import { Header } from '../../src/contract';
import type { BrainError } from '../core/errors';

export const JSON_TYPE = 'application/json; charset=utf-8';

const EXCHANGE = Symbol('exchange');
type ExchangeResponse = ServerResponse & { [EXCHANGE]?: Exchange };

export class Exchange implements IncomingCall {
  readonly protocol = 'rest';
  readonly requestId: string;
  readonly timeoutMs = undefined;
  private goneListener: (() => void) | undefined = undefined;

  constructor(readonly request: IncomingMessage, readonly response: ServerResponse, private readonly isDraining: () => boolean) {
    this.requestId = requestIdOf(this.header(Header.REQUEST_ID));
  }

  header(name: string): string | undefined {
    const value = this.request.headers[name];
    return typeof value === 'object' ? value[0] : value;
  }

  onGone(listener: () => void): void {
    if (this.response.destroyed) return listener();
    if (this.goneListener === undefined) {
      // one function for all: a closure for each request would be made for the few that lose their caller
      (this.response as ExchangeResponse)[EXCHANGE] = this;
      this.response.on('close', onClose);
      this.goneListener = listener;
    } else {
      const before = this.goneListener;
      this.goneListener = () => {
        before();
        listener();
      };
    }
  }

  /** The connection is closed, or the answer is out. */
  closed(): void {
    const { goneListener } = this;
    this.goneListener = undefined;
    if (goneListener && !this.response.writableFinished) goneListener();
  }

  /** Writes the whole answer; nothing where the caller has gone. */
  send(status: number, type: string, body: string, length = Buffer.byteLength(body), more?: Readonly<Record<string, string>>): void {
    const { response } = this;
    if (!this.writeHead(status, type, length, more)) return;
    response.end(body);
    limitSlowReader(response);
  }

  /** Writes an answer whose bytes come in pieces. */
  sendChunks(status: number, type: string, chunks: readonly Uint8Array[], length: number, more?: Readonly<Record<string, string>>): void {
    const { response } = this;
    if (!this.writeHead(status, type, length, more)) return;
    response.cork();
    for (const chunk of chunks) response.write(chunk);
    response.end();
    response.uncork();
    limitSlowReader(response);
  }

  json(status: number, body: object, more?: Readonly<Record<string, string>>): void {
    this.send(status, JSON_TYPE, JSON.stringify(body), undefined, more);
  }

  fail(error: BrainError): void {
    const { status, retryAfterS, details: { allow } } = error;
    this.json(status, error.toBody(), {
      ...(status === 401 ? { 'www-authenticate': 'Bearer' } : {}),
      ...(retryAfterS === undefined ? {} : { 'retry-after': String(retryAfterS) }),
      ...(typeof allow === 'string' ? { allow } : {}),
    });
  }

  /** Begins an answer that comes in pieces; `more` writes them. */
  begin(type: string): void {
    this.writeHead(200, type, undefined, { 'cache-control': 'no-store' });
  }

  /** Writes one piece, and waits for a reader who is slower. False where the caller has gone. */
  async more(text: string): Promise<boolean> {
    const { response } = this;
    if (response.destroyed) return false;
    return response.write(text) || writable(response);
  }

  end(): void {
    this.response.end();
    limitSlowReader(this.response);
  }

  get begun(): boolean {
    return this.response.headersSent;
  }

  /** False where it was written before, or where the caller has gone. */
  private writeHead(status: number, type: string, length: number | undefined, more: Readonly<Record<string, string>> | undefined): boolean {
    const { response } = this;
    if (response.headersSent || response.destroyed) return false;
    const headers: OutgoingHttpHeader[] = ['content-type', type, Header.REQUEST_ID, this.requestId];
    if (length !== undefined) headers.push('content-length', String(length));
    for (const name in more) headers.push(name, more[name]);
    // a connection that is kept after its last answer would hold the drain up; so would one whose body nobody reads
    if (this.isDraining() || (!bodyIsRead(this.request) && bodyIsComing(this.request))) headers.push('connection', 'close');
    response.writeHead(status, headers);
    return true;
  }
}

/** A request without a body is not yet complete either when its handler is called. */
function bodyIsComing({ complete, headers }: IncomingMessage): boolean {
  return !complete && (headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0);
}

function onClose(this: ExchangeResponse): void {
  this[EXCHANGE]!.closed();
}
