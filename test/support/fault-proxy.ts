/** A TCP proxy that breaks connections in the ways in which networks do, for tests of what stands before it. */
import { once } from 'node:events';
import { AddressInfo, connect, createServer, Server, Socket } from 'node:net';
import { reset } from './reset';

export type Direction = 'up' | 'down';

/**
 * - `pass`: forwards. What a black hole has held back goes out first.
 * - `latency`: each chunk arrives `ms` later, plus up to `jitterMs`, in either direction and in order.
 * - `bandwidth`: at most so many bytes per second, in either direction by itself.
 * - `black-hole`: accepts, and forwards neither bytes nor ends; they are held back until another fault is set.
 * - `reset`: RST to both sides: at once, or after `afterBytes` more bytes in `direction` (default: of the answer) were forwarded.
 * - `half-open`: bytes and ends are lost for good, and both sockets stay open, as if the peer had lost its power.
 * - `refuse`: new connections are closed at accept; old ones go on. `stopListening` gives a real ECONNREFUSED.
 */
export type Fault =
  | { readonly kind: 'pass' }
  | { readonly kind: 'latency'; readonly ms: number; readonly jitterMs?: number }
  | { readonly kind: 'bandwidth'; readonly bytesPerSecond: number }
  | { readonly kind: 'black-hole' }
  | { readonly kind: 'reset'; readonly afterBytes?: number; readonly direction?: Direction }
  | { readonly kind: 'half-open' }
  | { readonly kind: 'refuse' };

export interface FaultProxyOptions {
  /** Where the target listens. @default 127.0.0.1 */
  readonly host?: string;
  /** Called with each connection at accept: it may set a fault for this one alone. */
  readonly onConnection?: (connection: ProxiedConnection) => void;
  /** Sees every chunk as it arrives at the proxy, whether it is forwarded or not. */
  readonly record?: (chunk: Buffer, direction: Direction, connection: ProxiedConnection) => void;
  /** For jitter. @default Math.random */
  readonly random?: () => number;
}

const PASS: Fault = { kind: 'pass' };
/** Bytes held in one direction before its sender is paused. */
const HIGH_WATER = 1024 * 1024;
/** A throttled chunk goes out in pieces of so many milliseconds' worth. */
const PIECE_MS = 50;
/** A reader that finds bytes and RST at once is told of an end instead (libuv takes POLLHUP after a partial read for one). */
const RESET_AFTER_MS = 10;

export class FaultProxy {
  static async start(targetPort: number, options: FaultProxyOptions = {}): Promise<FaultProxy> {
    const proxy = new FaultProxy(targetPort, options);
    await proxy.startListening();
    return proxy;
  }

  /** Connections accepted so far, refused ones included. */
  connections = 0;
  /** Bytes forwarded so far, from clients to the target and back. */
  readonly forwarded = { up: 0, down: 0 };
  readonly open = new Set<ProxiedConnection>();
  private server: Server | undefined;
  private listenPort = 0;
  private current: Fault = PASS;

  private constructor(readonly targetPort: number, readonly options: FaultProxyOptions) {}

  get port(): number {
    return this.listenPort;
  }

  get fault(): Fault {
    return this.current;
  }

  /** For new connections, and for every open one. */
  set(fault: Fault): void {
    this.current = fault;
    for (const connection of [...this.open]) connection.set(fault);
  }

  /** From now on a connect fails with ECONNREFUSED; open connections go on. */
  stopListening(): void {
    this.server?.close();
    this.server = undefined;
  }

  /** Listens again, at the same port. */
  async startListening(): Promise<void> {
    if (this.server) return;
    // half-open sockets: one side may end while the other still sends
    const server = createServer({ allowHalfOpen: true }, (socket) => this.accept(socket));
    this.server = server;
    server.listen(this.listenPort, '127.0.0.1');
    await once(server, 'listening');
    this.listenPort = (server.address() as AddressInfo).port;
  }

  /** Resets every open connection; new ones follow the fault that is set. */
  resetConnections(): void {
    for (const connection of [...this.open]) connection.reset();
  }

  async close(): Promise<void> {
    const { server } = this;
    this.server = undefined;
    for (const connection of [...this.open]) connection.reset();
    if (!server) return;
    const closed = once(server, 'close');
    server.close();
    await closed;
  }

  private accept(socket: Socket): void {
    this.connections++;
    if (this.current.kind === 'refuse') {
      socket.on('error', () => undefined);
      reset(socket);
      return;
    }
    const connection = new ProxiedConnection(this, socket, this.connections);
    this.open.add(connection);
    connection.set(this.current);
    this.options.onConnection?.(connection);
    connection.begin();
  }
}

export class ProxiedConnection {
  private current: Fault = PASS;
  private readonly up: Pipe;
  private readonly down: Pipe;
  private target: Socket | undefined;
  private begun = false;
  private closed = false;

  constructor(private readonly proxy: FaultProxy, private readonly client: Socket, readonly number: number) {
    this.up = new Pipe(this, 'up', proxy);
    this.down = new Pipe(this, 'down', proxy);
    client.setNoDelay(true);
    client.on('error', () => this.lost());
    client.on('close', (failed) => failed && this.lost());
  }

  get fault(): Fault {
    return this.current;
  }

  /** For this connection alone, until the proxy's fault is set again. */
  set(fault: Fault): void {
    this.current = fault;
    this.up.changed();
    this.down.changed();
    if (this.begun) this.follow();
  }

  /** RST to both sides. */
  reset(): void {
    this.closed = true;
    this.proxy.open.delete(this);
    this.up.stop();
    this.down.stop();
    reset(this.client);
    if (this.target) reset(this.target);
  }

  /** @internal */
  begin(): void {
    this.begun = true;
    this.up.from(this.client);
    this.down.to(this.client);
    this.follow();
  }

  /** @internal */
  sideEnded(): void {
    if (!this.up.ended || !this.down.ended) return;
    this.closed = true;
    this.proxy.open.delete(this);
  }

  private follow(): void {
    const { kind } = this.current;
    if (this.closed) return;
    if (kind === 'reset' && (this.current.afterBytes ?? 0) === 0) {
      this.reset();
    } else if (!this.target && kind !== 'black-hole' && kind !== 'half-open') {
      const target = connect({ port: this.proxy.targetPort, host: this.proxy.options.host ?? '127.0.0.1', allowHalfOpen: true });
      this.target = target;
      target.setNoDelay(true);
      target.on('error', () => this.lost());
      target.on('close', (failed) => failed && this.lost());
      this.up.to(target);
      this.down.from(target);
    }
  }

  /** A side broke: so does the other, unless the fault keeps that from it. */
  private lost(): void {
    if (this.closed || this.current.kind === 'half-open' || this.current.kind === 'black-hole') return;
    this.reset();
  }
}

/** One direction of a connection: a queue in order, and one timer. */
class Pipe {
  ended = false;
  private readonly queue: { readonly chunk: Buffer | undefined; readonly arrived: number; readonly jitter: number }[] = [];
  private held = 0;
  private source: Socket | undefined;
  private sink: Socket | undefined;
  private timer: NodeJS.Timeout | undefined;
  /** When the line is free again, milliseconds; of a throttled line. */
  private freeAt = 0;
  private leftUntilReset = Infinity;

  constructor(private readonly connection: ProxiedConnection, private readonly direction: Direction, private readonly proxy: FaultProxy) {}

  from(source: Socket): void {
    this.source = source;
    source.on('data', (chunk: Buffer) => {
      this.proxy.options.record?.(chunk, this.direction, this.connection);
      if (this.connection.fault.kind === 'half-open') return;
      this.push(chunk);
      if (this.held >= HIGH_WATER) source.pause();
    });
    source.on('end', () => {
      if (this.connection.fault.kind !== 'half-open') this.push(undefined);
    });
  }

  to(sink: Socket): void {
    this.sink = sink;
    this.pump();
  }

  changed(): void {
    const { fault } = this.connection;
    if (this.ended) return;
    clearTimeout(this.timer);
    this.timer = undefined;
    this.freeAt = 0;
    this.leftUntilReset = fault.kind === 'reset' && (fault.direction ?? 'down') === this.direction ? fault.afterBytes ?? 0 : Infinity;
    if (fault.kind === 'half-open') this.drop();
    this.pump();
  }

  stop(): void {
    clearTimeout(this.timer);
    this.drop();
    this.ended = true;
  }

  private push(chunk: Buffer | undefined): void {
    if (this.ended) return;
    this.queue.push({ chunk, arrived: performance.now(), jitter: (this.proxy.options.random ?? Math.random)() });
    this.held += chunk?.length ?? 0;
    if (!this.timer) this.pump();
  }

  private pump(): void {
    while (this.queue.length > 0 && this.sink && !this.ended && !this.timer) {
      const { fault } = this.connection;
      if (fault.kind === 'black-hole' || fault.kind === 'half-open') return;
      const next = this.queue[0]!;
      const now = performance.now();
      let due = now;
      if (fault.kind === 'latency') due = next.arrived + fault.ms + next.jitter * (fault.jitterMs ?? 0);
      if (fault.kind === 'bandwidth') due = this.freeAt;
      if (due > now) {
        this.timer = setTimeout(() => {
          this.timer = undefined;
          this.pump();
        }, due - now);
        return;
      }
      this.queue.shift();
      if (next.chunk) this.forward(next.chunk, fault, now);
      else this.finish();
    }
    if (this.held < HIGH_WATER) this.source?.resume();
  }

  private forward(chunk: Buffer, fault: Fault, now: number): void {
    let piece = chunk;
    if (fault.kind === 'bandwidth') piece = this.cut(chunk, Math.max(1, Math.floor(fault.bytesPerSecond * PIECE_MS / 1000)));
    if (piece.length > this.leftUntilReset) piece = piece.subarray(0, this.leftUntilReset);
    if (fault.kind === 'bandwidth') this.freeAt = Math.max(this.freeAt, now) + piece.length / fault.bytesPerSecond * 1000;
    this.held -= piece.length;
    this.leftUntilReset -= piece.length;
    this.proxy.forwarded[this.direction] += piece.length;
    const last = this.leftUntilReset <= 0;
    this.sink!.write(piece);
    if (!last) return;
    this.ended = true;
    this.timer = setTimeout(() => this.connection.reset(), RESET_AFTER_MS);
  }

  /** The first `length` bytes; the rest goes back to the head of the queue. */
  private cut(chunk: Buffer, length: number): Buffer {
    if (chunk.length <= length) return chunk;
    this.queue.unshift({ chunk: chunk.subarray(length), arrived: 0, jitter: 0 });
    return chunk.subarray(0, length);
  }

  private finish(): void {
    this.ended = true;
    this.sink!.end();
    this.connection.sideEnded();
  }

  private drop(): void {
    this.queue.length = 0;
    this.held = 0;
    this.source?.resume();
  }
}
