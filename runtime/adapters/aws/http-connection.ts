/**
 * HTTP/1.1 to one base URL over kept connections: one request in, one whole answer out, within bounds of time and size.
 *
 * A call costs what node:http's client costs: listeners are methods of one object, and headers that come as pairs are sent as they are.
 */
import { Agent, type ClientRequest, type IncomingHttpHeaders, type IncomingMessage, type OutgoingHttpHeaders, request as httpRequest } from 'node:http';
import { Agent as SecureAgent, request as httpsRequest } from 'node:https';
import type { Duplex } from 'node:stream';
import { type CallContext, type Clock, SYSTEM_CLOCK } from '../../core/ports';

export interface HttpConnectionOptions {
  /** Sockets at once; calls beyond wait for one. @default 256 */
  readonly maxSockets?: number;
  /** Longest wait for a new connection, TLS included, milliseconds. @default 1000 */
  readonly connectTimeoutMs?: number;
  /** Largest body of an answer. @default 256 MiB */
  readonly maxAnswerBytes?: number;
  /** Asked before a request is sent again because its kept connection had been closed. @default always */
  readonly mayRetry?: () => boolean;
  readonly clock?: Clock;
}

export interface HttpAnswer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
}

/** The deadline of the call has passed. */
export class HttpDeadlineError extends Error {
  override readonly name = 'TimeoutError';
}

export class HttpConnection {
  /** As the `host` header of a request says it. */
  readonly host: string;
  /** @internal */
  readonly maxAnswerBytes: number;
  /** @internal */
  readonly clock: Clock;
  private readonly secure: boolean;
  private readonly hostname: string;
  private readonly port: string;
  private readonly agent: Agent;
  private readonly mayRetry: (() => boolean) | undefined;

  /** @param baseUrl `http://host:port` or `https://host:port`, without a path */
  constructor(baseUrl: string, options: HttpConnectionOptions = {}) {
    const { maxSockets = 256, connectTimeoutMs = 1000, maxAnswerBytes = 256 * 1024 * 1024, mayRetry, clock = SYSTEM_CLOCK } = options;
    const url = new URL(baseUrl);
    this.secure = url.protocol === 'https:';
    this.host = url.host;
    // Node takes an IPv6 address without its brackets
    this.hostname = url.hostname.replace(/^\[|\]$/g, '');
    this.port = url.port;
    this.maxAnswerBytes = maxAnswerBytes;
    this.mayRetry = mayRetry;
    this.clock = clock;
    const pool = { keepAlive: true, maxSockets, maxFreeSockets: maxSockets, noDelay: true };
    this.agent = this.secure ? new SecureAgent(pool) : new Agent(pool);
    boundConnect(this.agent, this.secure ? 'secureConnect' : 'connect', connectTimeoutMs);
  }

  /**
   * Fails as node:http does, with the signal's reason when it aborts, or with {@link HttpDeadlineError}.
   * A kept connection that the peer has just closed is tried once more on a new one: requests must be such that this does no harm.
   *
   * @param headers by name; or pairs, among them `host` and, with a body, `content-length`
   */
  async send(
    method: string, path: string, headers: OutgoingHttpHeaders | readonly string[] = {}, body?: string | Uint8Array, context?: CallContext,
  ): Promise<HttpAnswer> {
    try {
      return await this.attempt(method, path, headers, body, context);
    } catch (error) {
      if (!(error instanceof StaleConnectionError)) throw error;
      // what closed one kept connection has closed the others too
      this.dropIdle();
      if (this.mayRetry?.() === false) throw error.cause;
      return this.attempt(method, path, headers, body, context);
    }
  }

  close(): void {
    this.agent.destroy();
  }

  /** Ends connections that no call uses: a peer that no longer answers on one has most likely left the others as well. */
  dropIdle(): void {
    for (const sockets of Object.values(this.agent.freeSockets)) for (const socket of [...sockets ?? []]) socket.destroy();
  }

  private attempt(
    method: string, path: string, headers: OutgoingHttpHeaders | readonly string[], body: string | Uint8Array | undefined,
    context: CallContext | undefined,
  ): Promise<HttpAnswer> {
    if (context?.signal?.aborted) return Promise.reject(context.signal.reason as Error);
    const send = this.secure ? httpsRequest : httpRequest;
    const length = typeof body === 'string' ? Buffer.byteLength(body) : body?.byteLength;
    const request = send({
      agent: this.agent,
      hostname: this.hostname,
      port: this.port,
      path,
      method,
      headers: length === undefined || Array.isArray(headers) ? headers as OutgoingHttpHeaders : { ...headers as OutgoingHttpHeaders, 'content-length': length },
    });
    return new Promise((resolve, reject) => {
      new Exchange(this, request, context, resolve, reject).start();
      request.end(body);
    });
  }
}

class StaleConnectionError extends Error {}

/** One request and its answer. It is the listener of its own events. */
class Exchange {
  private response: IncomingMessage | undefined;
  private readonly chunks: Buffer[] = [];
  private bytes = 0;
  private timer: NodeJS.Timeout | undefined;
  private settled = false;

  constructor(
    private readonly connection: HttpConnection,
    private readonly request: ClientRequest,
    private readonly context: CallContext | undefined,
    private readonly resolve: (answer: HttpAnswer) => void,
    private readonly reject: (error: unknown) => void,
  ) {}

  start(): void {
    const { request, context } = this;
    request.on('response', (response: IncomingMessage) => this.answered(response));
    request.on('error', (error: NodeJS.ErrnoException) => this.failed(error));
    context?.signal?.addEventListener('abort', this, { once: true });
    if (context?.deadline !== undefined) this.timer = setTimeout(passed, Math.max(0, context.deadline - this.connection.clock.now()), this);
  }

  /** The signal aborted. */
  handleEvent(): void {
    this.fail(this.context!.signal!.reason);
  }

  deadlinePassed(): void {
    const silent = this.request.reusedSocket && this.response === undefined;
    this.fail(new HttpDeadlineError('the deadline has passed'));
    if (silent) this.connection.dropIdle();
  }

  private answered(response: IncomingMessage): void {
    this.response = response;
    response.on('data', (chunk: Buffer) => this.received(chunk));
    response.on('error', (error) => this.fail(error));
    response.on('end', () => this.ended());
  }

  private received(chunk: Buffer): void {
    this.bytes += chunk.length;
    if (this.bytes <= this.connection.maxAnswerBytes) this.chunks.push(chunk);
    else this.fail(new Error(`the answer is above ${this.connection.maxAnswerBytes} bytes`));
  }

  private ended(): void {
    if (!this.settle()) return;
    this.resolve(new WholeAnswer(this.response!, this.chunks.length === 1 ? this.chunks[0] : Buffer.concat(this.chunks, this.bytes)));
  }

  private failed(error: NodeJS.ErrnoException): void {
    if (!this.settle()) return;
    const stale = this.request.reusedSocket && this.response === undefined && (error.code === 'ECONNRESET' || error.code === 'EPIPE');
    this.reject(stale ? new StaleConnectionError('the peer closed a kept connection', { cause: error }) : error);
  }

  private fail(error: unknown): void {
    if (!this.settle()) return;
    this.request.destroy();
    this.reject(error);
  }

  private settle(): boolean {
    if (this.settled) return false;
    this.settled = true;
    clearTimeout(this.timer);
    this.context?.signal?.removeEventListener('abort', this);
    return true;
  }
}

const passed = (exchange: Exchange) => exchange.deadlinePassed();

class WholeAnswer implements HttpAnswer {
  constructor(private readonly response: IncomingMessage, readonly body: Buffer) {}

  get status(): number {
    return this.response.statusCode!;
  }

  /** Node builds them on the first look. */
  get headers(): IncomingHttpHeaders {
    return this.response.headers;
  }
}

/** Ends a new socket that is not connected in time. Kept sockets, which are nearly all, cost nothing. */
function boundConnect(agent: Agent, connected: 'connect' | 'secureConnect', timeoutMs: number): void {
  const create = agent.createConnection.bind(agent);
  agent.createConnection = (options, callback) => {
    const socket: Duplex | null | undefined = create(options, callback);
    if (!socket) return socket;
    const timer = setTimeout(() => {
      socket.destroy(Object.assign(new Error(`no connection within ${timeoutMs} ms`), { code: 'ETIMEDOUT' }));
    }, timeoutMs);
    const clear = () => clearTimeout(timer);
    socket.once(connected, clear);
    socket.once('close', clear);
    return socket;
  };
}
