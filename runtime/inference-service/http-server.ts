/** An HTTP/1.1 server with bounds on everything that a caller can stretch: time to send, time to read, headers, quiet. */
import { createServer, type IncomingMessage, type RequestListener, type Server, type ServerResponse } from 'node:http';
import { createServer as createSecureServer, type Server as SecureServer, type ServerOptions as SecureOptions } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import { type AnsweringSocket, answerBrokenRequest } from './http-errors';

/** Quiet after which a kept connection is closed: above the 60 s of a load balancer, which must be the one to close first. */
const KEEP_ALIVE_MS = 75_000;
const RECEIVE_TIMEOUT_MS = 30_000;
const HANDSHAKE_TIMEOUT_MS = 10_000;
const READ_TIMEOUT_MS = 60_000;
/** Connections are looked at so many times within the time for a request to arrive. */
const LOOKS = 6;

/** PEM texts; with `ca`, callers must show a certificate of these authorities. */
export interface TlsMaterial {
  readonly cert: string;
  readonly key: string;
  readonly ca?: string;
}

export interface ListenOptions {
  readonly host: string;
  /** 0: a free one. */
  readonly port: number;
}

/** Milliseconds. */
export interface HttpServerOptions {
  /** @default - plain HTTP */
  readonly tls?: TlsMaterial;
  /** Longest time for a whole request to arrive. @default 30_000 */
  readonly receiveTimeoutMs?: number;
  /** Longest time that a caller may take to read an answer which does not fit its socket's buffer at once, or a piece of one. @default 60_000 */
  readonly readTimeoutMs?: number;
  /** Longest time for a TLS handshake. @default 10_000 */
  readonly handshakeTimeoutMs?: number;
}

/** A connection that knows how long its caller may take to read. */
type LimitedSocket = Socket & { readTimeoutMs?: number };

export class HttpServer {
  private readonly server: Server | SecureServer;
  private readonly secure: boolean;
  /** Connections before TLS, those in the middle of a handshake included. */
  private readonly wires = new Set<Socket>();
  /** Connections that HTTP is spoken over. */
  private readonly sockets = new Set<AnsweringSocket>();

  constructor(handler: RequestListener, {
    tls, receiveTimeoutMs = RECEIVE_TIMEOUT_MS, readTimeoutMs = READ_TIMEOUT_MS, handshakeTimeoutMs = HANDSHAKE_TIMEOUT_MS,
  }: HttpServerOptions = {}) {
    const options = {
      keepAliveTimeout: KEEP_ALIVE_MS,
      headersTimeout: receiveTimeoutMs,
      requestTimeout: receiveTimeoutMs,
      connectionsCheckingInterval: receiveTimeoutMs / LOOKS,
      handshakeTimeout: handshakeTimeoutMs,
      noDelay: true,
      insecureHTTPParser: false,
    };
    this.secure = tls !== undefined;
    this.server = tls ? createSecureServer({ ...options, ...secureOptions(tls) }, handler) : createServer(options, handler);
    this.server.on('clientError', (error: NodeJS.ErrnoException, socket: AnsweringSocket) => {
      // an answer to a handshake that was not made would wait for it
      if (this.sockets.has(socket)) answerBrokenRequest(error, socket);
      else socket.destroy();
    });
    this.server.on('connection', (socket: Socket) => remember(this.wires, socket));
    this.server.on(tls ? 'secureConnection' : 'connection', (socket: LimitedSocket) => {
      socket.readTimeoutMs = readTimeoutMs;
      remember(this.sockets, socket);
    });
    // the handler decides whether the body is wanted: reading it sends `100 Continue`
    this.server.on('checkContinue', (request: IncomingMessage, response: ServerResponse) => {
      (request as ContinuableRequest).continueBody = () => response.writeContinue();
      handler(request, response as Parameters<RequestListener>[1]);
    });
  }

  /** Resolves with the base URL. */
  listen({ host, port }: ListenOptions): Promise<string> {
    return new Promise((resolve, reject) => {
      this.server.once('error', reject);
      this.server.listen({ host, port }, () => {
        this.server.off('error', reject);
        resolve(`${this.secure ? 'https' : 'http'}://${urlHost(host)}:${(this.server.address() as AddressInfo).port}`);
      });
    });
  }

  /** New connections get the new certificate; those that are open keep theirs. */
  renew(tls: TlsMaterial): void {
    if (this.secure) (this.server as SecureServer).setSecureContext(secureOptions(tls));
  }

  /**
   * Takes no new connection, and resolves when what is under way is answered. What still is under way after `graceMs` is cut off: node looks
   * at no connection's time limits any more once its server closes.
   */
  async close(graceMs: number): Promise<void> {
    // node takes for idle what is answered and not read yet
    this.server.closeIdleConnections = () => undefined;
    const closed = new Promise<void>((resolve) => {
      this.server.close(() => resolve());
    });
    for (const socket of this.sockets) endWhenAnswered(socket);
    const timer = setTimeout(() => {
      for (const wire of this.wires) wire.destroy();
    }, graceMs);
    await closed;
    clearTimeout(timer);
  }
}

function remember(sockets: Set<Socket>, socket: Socket): void {
  sockets.add(socket);
  socket.once('close', () => sockets.delete(socket));
}

function endWhenAnswered(socket: AnsweringSocket): void {
  const answer = socket._httpMessage;
  if (answer) answer.once('finish', () => endWhenAnswered(socket));
  else socket.destroySoon();
}

/** A host as it stands in a URL: IPv6 addresses in brackets. */
export const urlHost = (host: string): string => (host.includes(':') ? `[${host}]` : host);

/** A request whose caller waits for `100 Continue` before it sends the body. */
export type ContinuableRequest = IncomingMessage & { continueBody?: () => void };

/** Ends the connection of a caller that does not read its answer. Call it after the answer was written. */
export function limitSlowReader(response: ServerResponse): void {
  // an answer that waits behind that of an earlier request has no socket of its own yet
  const socket: LimitedSocket = response.req.socket;
  if (response.socket && socket.writableLength === 0) return;
  const timer = setTimeout(() => socket.destroy(), socket.readTimeoutMs).unref();
  response.once('close', () => clearTimeout(timer));
}

/** Resolves when the caller has read enough for more to be written; false where it has gone, or reads too slowly. */
export function writable(response: ServerResponse): Promise<boolean> {
  const socket: LimitedSocket = response.req.socket;
  return new Promise((resolve) => {
    const done = (open: boolean) => {
      clearTimeout(timer);
      response.off('drain', onDrain).off('close', onClose);
      resolve(open);
    };
    const onDrain = () => done(true);
    const onClose = () => done(false);
    const timer = setTimeout(() => {
      socket.destroy();
      done(false);
    }, socket.readTimeoutMs).unref();
    response.once('drain', onDrain).once('close', onClose);
  });
}

/** What node's TLS and HTTP/2 servers take for the material. */
export function secureOptions({ cert, key, ca }: TlsMaterial): SecureOptions {
  return { cert, key, minVersion: 'TLSv1.2', ...(ca === undefined ? {} : { ca, requestCert: true, rejectUnauthorized: true }) };
}
