/**
 * A channel to ONE address: it keeps a connection, makes a new one when the old one ends or the peer asks for it (GOAWAY), and runs calls on it.
 * Which address, and whether to try again, is for a balancer above it to say.
 */
import { constants } from 'node:http2';
import type { ConnectionOptions } from 'node:tls';
import { abortError, type CallOptions, ClientStream, UnaryClientCall } from './client-call';
import { ClientConnection } from './client-connection';
import { GrpcError, GrpcStatus } from './grpc-status';
import type { Frame } from './server-call';

/** `backoff`: the last attempt failed, and the next one is not due yet: calls fail at once. */
export type ChannelState = 'idle' | 'connecting' | 'ready' | 'backoff' | 'closed';

export interface ChannelOptions {
  readonly host: string;
  readonly port: number;
  /** Asked for each connection, so that the next one uses renewed certificates; undefined: cleartext. */
  readonly tls?: () => ConnectionOptions;
  /** TCP, TLS and the peer's HTTP/2 settings. @default 2_000 */
  readonly connectTimeoutMs?: number;
  /** How long a peer that owes an answer may be silent before it is asked whether it is there. @default 5_000 */
  readonly keepaliveMs?: number;
  /** How long it may take to answer that. @default 2_000 */
  readonly keepaliveTimeoutMs?: number;
  /** Of one message. @default 64 MiB */
  readonly maxReceiveBytes?: number;
  /** Pause before the next attempt: the first, and the longest; each is 1.6 times the one before, give or take a fifth. @default 100, 10_000 */
  readonly backoff?: { readonly firstMs: number; readonly maxMs: number };
  /** Called after each change of `state`. */
  readonly onState?: (state: ChannelState) => void;
  /** From 0 to 1. @default Math.random */
  readonly random?: () => number;
}

const DEFAULTS = {
  connectTimeoutMs: 2_000, keepaliveMs: 5_000, keepaliveTimeoutMs: 2_000, maxReceiveBytes: 64 * 1024 * 1024, backoff: { firstMs: 100, maxMs: 10_000 },
};
/** Source: gRPC "Connection Backoff Protocol". */
const BACKOFF_FACTOR = 1.6;
const BACKOFF_JITTER = 0.2;
/** A connection that ends earlier counts as a failed attempt: otherwise a peer that accepts and hangs up would be dialled without a pause. */
const STABLE_MS = 1_000;

export class Channel {
  private current: ClientConnection | undefined;
  /** The current one, and those whose last calls are still running. */
  private readonly connections = new Set<ClientConnection>();
  private waiters: { resolve(connection: ClientConnection): void; reject(error: Error): void }[] = [];
  private failures = 0;
  private readyAt = 0;
  private backoffTimer: NodeJS.Timeout | undefined;
  private lastError = '';
  private value: ChannelState = 'idle';
  private keepaliveFactor = 1;
  private allClosed: (() => void)[] = [];

  constructor(private readonly options: ChannelOptions) {}

  get state(): ChannelState {
    return this.value;
  }

  /** Calls that are not over, on the current connection and on those that end; calls that wait for a connection count too. */
  get outstanding(): number {
    let count = this.waiters.length;
    for (const connection of this.connections) count += connection.outstanding;
    return count;
  }

  /** Begins to connect, if it is idle. A channel that has once begun keeps a connection until it is closed. */
  connect(): void {
    if (this.value === 'idle') this.dial();
  }

  /**
   * One message each way.
   *
   * @param request a framed message, as the encoders give it
   * @returns the answer's message, without its prefix
   * Fails with a GrpcError, or with the reason of `signal`.
   */
  async unary(path: string, request: Frame, options: CallOptions = {}): Promise<Uint8Array> {
    if (options.signal?.aborted === true) throw abortError(options.signal);
    const connection = this.readyConnection() ?? await this.waitForConnection(options);
    return connection.open(path, options, (stream) => new UnaryClientCall(stream, connection, options, request)).answer;
  }

  /** Any number of messages each way. Fails like `unary` where there is no connection; later failures are of the iteration. */
  async stream(path: string, options: CallOptions = {}): Promise<ClientStream> {
    if (options.signal?.aborted === true) throw abortError(options.signal);
    const connection = this.readyConnection() ?? await this.waitForConnection(options);
    return connection.open(path, options, (stream) => new ClientStream(stream, connection, options));
  }

  /** Lets calls finish, takes no new ones; after `graceMs` ends what is left. Resolves when every connection is closed. */
  async close(graceMs = 0): Promise<void> {
    this.set('closed');
    clearTimeout(this.backoffTimer);
    this.rejectWaiters(new GrpcError(GrpcStatus.UNAVAILABLE, 'the channel is closed', {}, false));
    this.current = undefined;
    if (this.connections.size === 0) return;
    const closed = new Promise<void>((resolve) => {
      this.allClosed.push(resolve);
    });
    for (const connection of this.connections) {
      if (graceMs > 0 || connection.outstanding === 0) connection.close();
      else connection.destroy('the channel is closed');
    }
    const timer = setTimeout(() => {
      for (const connection of this.connections) connection.destroy('the channel is closed');
    }, graceMs);
    await closed;
    clearTimeout(timer);
  }

  private readyConnection(): ClientConnection | undefined {
    return this.value === 'ready' ? this.current : undefined;
  }

  private async waitForConnection({ deadline, signal }: CallOptions): Promise<ClientConnection> {
    if (this.value === 'closed') throw new GrpcError(GrpcStatus.UNAVAILABLE, 'the channel is closed', {}, false);
    if (this.value === 'backoff') throw new GrpcError(GrpcStatus.UNAVAILABLE, this.lastError, {}, false);
    this.connect();
    let timer: NodeJS.Timeout | undefined;
    let onAbort: (() => void) | undefined;
    try {
      return await new Promise<ClientConnection>((resolve, reject) => {
        const waiter = { resolve, reject };
        const giveUp = (error: Error) => {
          this.waiters = this.waiters.filter((other) => other !== waiter);
          reject(error);
        };
        this.waiters.push(waiter);
        if (deadline !== undefined) {
          timer = setTimeout(() => giveUp(new GrpcError(GrpcStatus.DEADLINE_EXCEEDED, 'the deadline has passed', {}, false)), Math.max(0, deadline - Date.now()));
        }
        if (signal !== undefined) {
          onAbort = () => giveUp(abortError(signal));
          signal.addEventListener('abort', onAbort);
        }
      });
    } finally {
      clearTimeout(timer);
      if (onAbort !== undefined) signal!.removeEventListener('abort', onAbort);
    }
  }

  private dial(): void {
    const { host, port, tls } = this.options;
    const { connectTimeoutMs, keepaliveMs, keepaliveTimeoutMs, maxReceiveBytes } = { ...DEFAULTS, ...defined(this.options) };
    this.set('connecting');
    let connection: ClientConnection;
    try {
      connection = new ClientConnection(
        { host, port, tls: tls?.(), connectTimeoutMs, keepaliveMs: keepaliveMs * this.keepaliveFactor, keepaliveTimeoutMs, maxReceiveBytes },
        {
          onReady: () => this.ready(connection),
          onGoaway: (code) => this.goaway(connection, code),
          onClosed: (reason) => this.closed(connection, reason),
        },
      );
    } catch (error) {
      // certificates that cannot be read now may be readable the next time
      this.failed((error as Error).message);
      return;
    }
    this.current = connection;
    this.connections.add(connection);
  }

  private ready(connection: ClientConnection): void {
    if (this.current !== connection) return;
    this.readyAt = Date.now();
    this.set('ready');
    const { waiters } = this;
    this.waiters = [];
    for (const { resolve } of waiters) resolve(connection);
  }

  private goaway(connection: ClientConnection, code: number): void {
    // "too many pings": ask less often from now on
    if (code === constants.NGHTTP2_ENHANCE_YOUR_CALM) this.keepaliveFactor = Math.min(64, this.keepaliveFactor * 2);
    if (this.current !== connection) return;
    this.current = undefined;
    this.redial('the peer ends the connection');
  }

  private closed(connection: ClientConnection, reason: string): void {
    this.connections.delete(connection);
    if (this.connections.size === 0) for (const resolve of this.allClosed) resolve();
    if (this.current !== connection) return;
    this.current = undefined;
    if (this.value === 'ready') this.redial(reason);
    else this.failed(reason);
  }

  /** After a connection that was ready. */
  private redial(reason: string): void {
    if (Date.now() - this.readyAt < STABLE_MS && this.failures > 0) return this.failed(reason);
    this.failures = Date.now() - this.readyAt < STABLE_MS ? 1 : 0;
    this.dial();
  }

  private failed(reason: string): void {
    if (this.value === 'closed') return;
    this.lastError = reason;
    const { firstMs, maxMs } = this.options.backoff ?? DEFAULTS.backoff;
    const random = this.options.random ?? Math.random;
    const pause = Math.min(maxMs, firstMs * BACKOFF_FACTOR ** this.failures++) * (1 + BACKOFF_JITTER * (2 * random() - 1));
    this.backoffTimer = setTimeout(() => this.dial(), pause).unref();
    this.set('backoff');
    this.rejectWaiters(new GrpcError(GrpcStatus.UNAVAILABLE, reason, {}, false));
  }

  private rejectWaiters(error: GrpcError): void {
    const { waiters } = this;
    this.waiters = [];
    for (const { reject } of waiters) reject(error);
  }

  private set(state: ChannelState): void {
    if (this.value === state || this.value === 'closed') return;
    this.value = state;
    this.options.onState?.(state);
  }
}

/** Options that are set: an undefined one must not hide its default. */
function defined<T extends object>(options: T): T {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as T;
}
