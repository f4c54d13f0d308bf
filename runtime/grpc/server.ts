/**
 * The gRPC server, on `node:http2` alone. Of `@grpc/grpc-js` a small unary call costs 0.45 ms of CPU and a tensor of 602 KB four times what
 * Triton's Python backend needs; see bench/.
 */
import {
  constants, createSecureServer, createServer, type Http2SecureServer, type Http2Server, type IncomingHttpHeaders, type SecureServerOptions,
  type ServerHttp2Session, type ServerHttp2Stream, type ServerOptions,
} from 'node:http2';
import type { AddressInfo, Socket } from 'node:net';
import { ERROR_CODE_METADATA, GrpcError, GrpcStatus } from './grpc-status';
import { HealthService } from './health';
import { inferenceMethods } from './inference-methods';
import { reflectionMethods } from './reflection';
import { type CallHost, isGrpc, type Method, refuseStream, type ServerCall, StreamingCall, UnaryCall } from './server-call';
import type { Now } from './stream-infer';
import type { Logger } from '../core/ports';
import { IncomingBytes } from '../inference-service/incoming-bytes';
import type { Operations } from '../inference-service/operations';

export interface GrpcServerOptions {
  readonly operations: Operations;
  /** Of one message. */
  readonly maxBodyBytes: number;
  /** Shared with whatever else receives. @default - the server's own */
  readonly incoming?: IncomingBytes;
  readonly logger: Logger;
  /** Undefined: cleartext (h2c with prior knowledge). `requestCert`, `rejectUnauthorized` and `ca` ask clients for a certificate. */
  readonly tls?: SecureServerOptions;
  /** `Telemetry.now`, for `InferOperation.receivedAt`. */
  readonly now?: Now;
  /** Calls that one connection may have open. @default 256 */
  readonly maxConcurrentStreams?: number;
  /** How long a message may take to arrive once it has begun (a unary call: once its headers are there), and an answer to be read. @default 30_000 */
  readonly slowClientMs?: number;
  /** How often a connection is asked whether it is still there; it has as long to answer. @default 30_000 */
  readonly keepaliveMs?: number;
  /** Bytes of answers that one connection may leave unread before its new calls are refused. @default 8 * maxBodyBytes, 64 MiB at least */
  readonly maxUnsentBytes?: number;
}

const DEFAULT_STREAMS = 256;
const DEFAULT_SLOW_CLIENT_MS = 30_000;
const DEFAULT_KEEPALIVE_MS = 30_000;
const MIB = 1024 * 1024;
/** Flow control windows: large enough that a tensor of some hundred kilobytes comes without a pause. */
const STREAM_WINDOW = MIB;
const SESSION_WINDOW = 16 * MIB;
/** What a connection may send in headers of one call: a bearer token and metadata fit. */
const MAX_HEADER_BYTES = 16 * 1024;
const MAX_HEADER_PAIRS = 128;
/** Longest time for a TLS handshake. */
const HANDSHAKE_TIMEOUT_MS = 10_000;
/** How long the second GOAWAY waits for the client to have seen the first. */
const DRAIN_ROUND_TRIP_MS = 1_000;
const LAST_STREAM = 2 ** 31 - 1;
const IDENTITY = { 'grpc-accept-encoding': 'identity' } as const;

interface Session extends CallHost {
  readonly http2: ServerHttp2Session;
  pingedAt: number | undefined;
  heardAt: number;
}

/** What node's TLS server asks of each new connection; `setSecureContext` does not change it. */
interface VerifyingServer {
  requestCert?: boolean;
  rejectUnauthorized?: boolean;
}

export class GrpcServer {
  private readonly server: Http2Server | Http2SecureServer;
  private readonly methods: ReadonlyMap<string, Method>;
  private readonly health: HealthService;
  private readonly sessions = new Map<ServerHttp2Session, Session>();
  /** Connections before TLS, those in the middle of a handshake included. */
  private readonly wires = new Set<Socket>();
  private readonly incoming: IncomingBytes;
  private readonly slowClientMs: number;
  private readonly keepaliveMs: number;
  private readonly maxUnsentBytes: number;
  private watch: NodeJS.Timeout | undefined;
  private draining = false;

  constructor(private readonly options: GrpcServerOptions) {
    const { operations, maxBodyBytes } = options;
    this.slowClientMs = options.slowClientMs ?? DEFAULT_SLOW_CLIENT_MS;
    this.keepaliveMs = options.keepaliveMs ?? DEFAULT_KEEPALIVE_MS;
    this.maxUnsentBytes = options.maxUnsentBytes ?? Math.max(64 * MIB, 8 * maxBodyBytes);
    this.incoming = options.incoming ?? IncomingBytes.for(maxBodyBytes);
    this.health = new HealthService(operations);
    this.methods = new Map([...inferenceMethods(operations, options.now), ...this.health.methods, ...reflectionMethods(operations)]);
    const http2: ServerOptions = {
      // in megabytes; what a connection holds is bounded here by streams, messages and unsent bytes
      maxSessionMemory: Math.ceil((SESSION_WINDOW + this.maxUnsentBytes) / MIB),
      maxHeaderListPairs: MAX_HEADER_PAIRS,
      settings: {
        maxConcurrentStreams: options.maxConcurrentStreams ?? DEFAULT_STREAMS,
        initialWindowSize: STREAM_WINDOW,
        maxHeaderListSize: MAX_HEADER_BYTES,
        enablePush: false,
      },
    };
    this.server = options.tls === undefined ? createServer(http2) : createSecureServer({
      minVersion: 'TLSv1.2', handshakeTimeout: HANDSHAKE_TIMEOUT_MS, ...options.tls, ...http2, allowHTTP1: false,
    });
    this.server.on('connection', (socket: Socket) => {
      socket.setNoDelay(true);
      this.wires.add(socket);
      socket.once('close', () => this.wires.delete(socket));
    });
    this.server.on('session', (session) => this.open(session));
    this.server.on('stream', (stream: ServerHttp2Stream, headers: IncomingHttpHeaders, _flags: number, rawHeaders: readonly string[]) => {
      this.call(stream, headers, rawHeaders);
    });
    // one connection's failure is its own; the error says nothing that a healthy server could act on
    this.server.on('sessionError', () => undefined);
  }

  /** Port 0: any that is free. */
  async listen(port: number, host: string): Promise<AddressInfo> {
    await new Promise<void>((resolve, reject) => {
      this.server.once('error', reject);
      this.server.listen(port, host, () => {
        this.server.off('error', reject);
        resolve();
      });
    });
    this.watch = setInterval(() => this.inspect(Date.now()), Math.max(10, Math.min(this.slowClientMs, this.keepaliveMs) / 6)).unref();
    return this.server.address() as AddressInfo;
  }

  /** New connections get the new certificate; those there are go on. */
  setSecureContext(context: SecureServerOptions): void {
    const server: Http2SecureServer & VerifyingServer = this.server as Http2SecureServer;
    server.setSecureContext({ minVersion: 'TLSv1.2', ...this.options.tls, ...context });
    // authorities that come later ask for certificates from then on; once asked for, certificates stay asked for
    if (context.requestCert) server.requestCert = true;
    if (context.rejectUnauthorized) server.rejectUnauthorized = true;
  }

  /** To be called when `Operations.isReady` may have changed. */
  notifyReadiness(): void {
    this.health.notify();
  }

  /** Takes no new calls, lets those there are finish, and after `graceMs` ends what is left. */
  async close(graceMs: number): Promise<void> {
    this.draining = true;
    this.health.close();
    const closed = new Promise<void>((resolve) => {
      this.server.close(() => resolve());
    });
    for (const { http2 } of this.sessions.values()) this.drain(http2);
    const timer = setTimeout(() => {
      for (const { http2 } of this.sessions.values()) http2.destroy();
      for (const wire of this.wires) wire.destroy();
    }, graceMs);
    await closed;
    clearTimeout(timer);
    clearInterval(this.watch);
  }

  private open(http2: ServerHttp2Session): void {
    const { options: { maxBodyBytes, logger }, incoming } = this;
    const session: Session = { http2, maxBodyBytes, incoming, logger, calls: new Set(), unsentBytes: 0, pingedAt: undefined, heardAt: Date.now() };
    this.sessions.set(http2, session);
    http2.setLocalWindowSize(SESSION_WINDOW);
    http2.on('close', () => this.sessions.delete(http2));
    http2.on('error', () => undefined);
    if (this.draining) this.drain(http2);
  }

  private call(stream: ServerHttp2Stream, headers: IncomingHttpHeaders, rawHeaders: readonly string[]): void {
    const session = this.sessions.get(stream.session as ServerHttp2Session);
    if (session === undefined) return stream.close(constants.NGHTTP2_REFUSED_STREAM);
    if (headers[':method'] !== 'POST' || !isGrpc(headers['content-type'])) {
      stream.on('error', () => undefined);
      stream.respond({ ':status': headers[':method'] === 'POST' ? 415 : 405 }, { endStream: true });
      return stream.close(constants.NGHTTP2_NO_ERROR);
    }
    const method = this.methods.get(headers[':path']!);
    if (method === undefined) {
      const unknown = new GrpcError(GrpcStatus.UNIMPLEMENTED, `the service has no method ${headers[':path']}`);
      return refuseStream(stream, headers, unknown, { [ERROR_CODE_METADATA]: 'ROUTE_NOT_FOUND' });
    }
    const encoding = headers['grpc-encoding'];
    if (encoding !== undefined && encoding !== 'identity') {
      return refuseStream(stream, headers, new GrpcError(GrpcStatus.UNIMPLEMENTED, 'the message is compressed, only identity is supported'), IDENTITY);
    }
    if (session.unsentBytes > this.maxUnsentBytes) {
      return refuseStream(stream, headers, new GrpcError(GrpcStatus.RESOURCE_EXHAUSTED, 'the connection leaves too many answers unread'));
    }
    const call: ServerCall = method.kind === 'unary'
      ? new UnaryCall(stream, headers, rawHeaders, method, session)
      : new StreamingCall(stream, headers, rawHeaders, method, session);
    if (Number.isNaN(call.timeoutMs)) call.fail(new GrpcError(GrpcStatus.INVALID_ARGUMENT, 'grpc-timeout is malformed'));
    else call.begin();
  }

  /** Two GOAWAYs: the first says that no stream will be taken soon, the second, a round trip later, which was the last one. */
  private drain(http2: ServerHttp2Session): void {
    if (http2.closed || http2.destroyed) return;
    http2.goaway(constants.NGHTTP2_NO_ERROR, LAST_STREAM);
    const close = () => {
      if (!http2.destroyed) http2.close();
    };
    // a client of node's own that has nothing open answers no ping after a GOAWAY
    const timer = setTimeout(close, DRAIN_ROUND_TRIP_MS);
    http2.once('close', () => clearTimeout(timer));
    if (!http2.ping(close)) close();
  }

  /** Ends calls that wait for their client too long, and connections that are not there any more. */
  private inspect(now: number): void {
    for (const session of this.sessions.values()) {
      for (const call of session.calls) {
        if (call.waiting !== undefined && now - call.since > this.slowClientMs) call.reset();
      }
      this.keepAlive(session, now);
    }
  }

  private keepAlive(session: Session, now: number): void {
    const { http2 } = session;
    if (http2.destroyed) return;
    if (session.pingedAt !== undefined) {
      if (now - session.pingedAt > this.keepaliveMs) http2.destroy();
      return;
    }
    if (now - session.heardAt < this.keepaliveMs) return;
    session.pingedAt = now;
    http2.ping(() => {
      session.pingedAt = undefined;
      session.heardAt = Date.now();
    });
  }
}
