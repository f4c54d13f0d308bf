/** One HTTP/2 connection of a channel: from the first packet to its end, with the calls on it. */
import { type ClientHttp2Session, connect, constants, type OutgoingHttpHeaders } from 'node:http2';
import { connect as connectTcp, type Socket } from 'node:net';
import { connect as connectTls, type ConnectionOptions } from 'node:tls';
import type { CallConnection, CallOptions, ClientCall } from './client-call';
import { GrpcError, GrpcStatus } from './grpc-status';
import { formatTimeout } from './grpc-timeout';

export interface ConnectionSettings {
  readonly host: string;
  readonly port: number;
  /** Undefined: cleartext. */
  readonly tls: ConnectionOptions | undefined;
  readonly connectTimeoutMs: number;
  readonly keepaliveMs: number;
  readonly keepaliveTimeoutMs: number;
  readonly maxReceiveBytes: number;
}

export interface ConnectionListener {
  /** The peer speaks HTTP/2. */
  onReady(): void;
  /** The peer takes no more calls; those there are go on. */
  onGoaway(code: number): void;
  /** The connection is over, whatever it was before. */
  onClosed(reason: string): void;
}

const MIB = 1024 * 1024;
const STREAM_WINDOW = MIB;
const SESSION_WINDOW = 16 * MIB;
/** Megabytes that node lets one connection hold; the calls' own bounds are narrower. */
const MAX_SESSION_MEMORY = 256;

export class ClientConnection implements CallConnection {
  lost: string | undefined;
  readonly maxReceiveBytes: number;
  private readonly socket: Socket;
  private readonly session: ClientHttp2Session;
  private readonly calls = new Set<ClientCall>();
  private readonly scheme: string;
  private readonly authority: string;
  private connectTimer: NodeJS.Timeout | undefined;
  private keepaliveTimer: NodeJS.Timeout | undefined;
  private pingTimer: NodeJS.Timeout | undefined;
  private heardSince = false;
  private silence = 0;
  private closing = false;
  private settled = false;
  private over = false;

  constructor(private readonly settings: ConnectionSettings, private readonly listener: ConnectionListener) {
    const { host, port, tls, connectTimeoutMs, maxReceiveBytes } = settings;
    this.maxReceiveBytes = maxReceiveBytes;
    this.scheme = tls === undefined ? 'http' : 'https';
    this.authority = `${host.includes(':') ? `[${host}]` : host}:${port}`;
    const socket = tls === undefined
      ? connectTcp({ host, port, noDelay: true })
      : connectTls({ minVersion: 'TLSv1.2', ...tls, host, port, ALPNProtocols: ['h2'] });
    if (tls !== undefined) socket.setNoDelay(true);
    this.socket = socket;
    // before the session listens: its calls must find the reason when they close
    socket.on('error', (error) => {
      this.lost ??= `no connection to ${this.authority}: ${error.message}`;
    });
    socket.on('close', () => {
      this.lost ??= `the connection to ${this.authority} broke`;
      // a session whose TLS socket the peer refused after its own side of the handshake does not hear of this
      setImmediate(() => this.destroy(this.lost!));
    });
    this.session = connect(`${this.scheme}://${this.authority}`, {
      createConnection: () => socket,
      maxSessionMemory: MAX_SESSION_MEMORY,
      settings: { enablePush: false, initialWindowSize: STREAM_WINDOW },
    });
    this.connectTimer = setTimeout(() => this.destroy(`no connection to ${this.authority} within ${connectTimeoutMs} ms`), connectTimeoutMs);
    this.session.once('remoteSettings', () => this.ready());
    this.session.on('goaway', (code: number) => this.goaway(code));
    this.session.on('error', (error: Error) => {
      this.lost ??= `no connection to ${this.authority}: ${error.message}`;
    });
    this.session.on('close', () => this.closed());
  }

  /** Calls that are not over. */
  get outstanding(): number {
    return this.calls.size;
  }

  /** Opens a stream for a call. Fails with UNAVAILABLE, nothing sent, where the connection takes none. */
  open<Call extends ClientCall>(path: string, options: CallOptions, make: (stream: ReturnType<ClientHttp2Session['request']>) => Call): Call {
    const headers: OutgoingHttpHeaders = {
      ':method': 'POST',
      ':scheme': this.scheme,
      ':authority': this.authority,
      ':path': path,
      'content-type': 'application/grpc+proto',
      'te': 'trailers',
    };
    if (options.deadline !== undefined) headers['grpc-timeout'] = formatTimeout(options.deadline - Date.now());
    if (options.metadata !== undefined) Object.assign(headers, options.metadata);
    if (this.lost !== undefined || this.closing || this.session.closed || this.session.destroyed) throw this.unavailable();
    let stream;
    try {
      stream = this.session.request(headers);
    } catch (error) {
      throw new GrpcError(GrpcStatus.UNAVAILABLE, `${this.authority} takes no call: ${(error as Error).message}`, {}, false, { cause: error });
    }
    const call = make(stream);
    this.calls.add(call);
    return call;
  }

  heard(): void {
    this.heardSince = true;
  }

  finished(call: ClientCall): void {
    this.calls.delete(call);
  }

  /** Ends the connection when its calls have ended. */
  close(): void {
    this.closing = true;
    if (this.session.destroyed) return;
    if (this.settled) this.session.close();
    else this.destroy('the channel was closed');
  }

  /** Ends the connection and its calls now. */
  destroy(reason: string): void {
    this.lost ??= reason;
    this.session.destroy();
    this.socket.destroy();
    this.closed();
  }

  private ready(): void {
    clearTimeout(this.connectTimer);
    if (this.session.destroyed) return;
    this.settled = true;
    this.session.setLocalWindowSize(SESSION_WINDOW);
    this.keepaliveTimer = setInterval(() => this.keepAlive(), this.settings.keepaliveMs).unref();
    this.listener.onReady();
  }

  private goaway(code: number): void {
    this.closing = true;
    // node ends the connection at once on any other code than NO_ERROR
    if (code !== constants.NGHTTP2_NO_ERROR) this.lost ??= `${this.authority} ended the connection (HTTP/2 code ${code})`;
    this.listener.onGoaway(code);
  }

  private closed(): void {
    if (this.over) return;
    this.over = true;
    clearTimeout(this.connectTimer);
    clearInterval(this.keepaliveTimer);
    clearTimeout(this.pingTimer);
    this.listener.onClosed(this.lost ?? `the connection to ${this.authority} ended`);
  }

  /**
   * Asks a silent peer that owes an answer whether it is there. A server of gRPC's C core ends connections that ask too often without data
   * (`GRPC_ARG_HTTP2_MAX_PING_STRIKES`), so the pause doubles while nothing but pings is answered.
   */
  private keepAlive(): void {
    if (this.heardSince || this.calls.size === 0) {
      this.heardSince = false;
      this.silence = 0;
      return;
    }
    this.silence++;
    // the first, second, fourth, eighth … silent interval
    if (!Number.isInteger(Math.log2(this.silence)) || this.pingTimer !== undefined) return;
    const { keepaliveTimeoutMs } = this.settings;
    this.pingTimer = setTimeout(() => this.destroy(`${this.authority} did not answer a ping within ${keepaliveTimeoutMs} ms`), keepaliveTimeoutMs).unref();
    this.session.ping(() => {
      clearTimeout(this.pingTimer);
      this.pingTimer = undefined;
    });
  }

  private unavailable(): GrpcError {
    return new GrpcError(GrpcStatus.UNAVAILABLE, this.lost ?? `${this.authority} takes no more calls on this connection`, {}, false);
  }
}
