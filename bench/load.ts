/** What loads a server from another core: connections that stay open over all rounds, one request under way on each. */
import { connect as connectHttp2, constants, type ClientHttp2Session } from 'node:http2';
import { connect, type Socket } from 'node:net';

export interface Load {
  /**
   * Sends so many requests, and resolves when all are answered; fails unless every answer is a good one. A request that the service sheds, as
   * it does when the machine has held it up, is sent again; more than `patience` of them fail. @default - one in a hundred, and 8 at least
   */
  run(requests: number, patience?: number): Promise<void>;
  close(): void;
}

/** Connections of every load that says nothing else. */
export const CONNECTIONS = 8;

/** Says that the service is too busy, by either protocol. */
class Shed extends Error {}

async function insist(lanes: readonly (() => Promise<void>)[], requests: number, patience = Math.max(8, requests / 100)): Promise<void> {
  let left = requests;
  let shed = 0;
  await Promise.all(lanes.map(async (ask) => {
    while (left-- > 0) {
      try {
        await ask();
      } catch (error) {
        if (!(error instanceof Shed) || ++shed > patience) throw error;
        left++;
        await new Promise((resolve) => setTimeout(resolve, 10));
      }
    }
  }));
}

export interface HttpRequest {
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body: Uint8Array;
}

const END = Buffer.from('\r\n\r\n');

/** The bytes of a POST. */
export function requestBytes(port: number, { path, headers = {}, body }: HttpRequest): Buffer {
  const all = { 'host': `127.0.0.1:${port}`, 'content-type': 'application/json', ...headers, 'content-length': String(body.length) };
  const head = [`POST ${path} HTTP/1.1`, ...Object.entries(all).map(([name, value]) => `${name}: ${value}`)];
  return Buffer.concat([Buffer.from(`${head.join('\r\n')}\r\n\r\n`), body]);
}

/** HTTP/1.1 from raw sockets: the client's own cost must not bound the load. */
export class HttpLoad implements Load {
  static async open(port: number, request: HttpRequest, connections = CONNECTIONS): Promise<HttpLoad> {
    const bytes = requestBytes(port, request);
    return new HttpLoad(await Promise.all(Array.from({ length: connections }, () => HttpLane.open(port, bytes))));
  }

  private constructor(private readonly lanes: readonly HttpLane[]) {}

  run(requests: number, patience?: number): Promise<void> {
    return insist(this.lanes.map((lane) => () => lane.ask()), requests, patience);
  }

  close(): void {
    for (const lane of this.lanes) lane.close();
  }
}

/** One connection of HTTP/1.1. */
export class HttpLane {
  static open(port: number, bytes: Buffer): Promise<HttpLane> {
    return new Promise((resolve, reject) => {
      const socket = connect({ host: '127.0.0.1', port, noDelay: true });
      socket.once('error', reject).once('connect', () => {
        socket.off('error', reject);
        resolve(new HttpLane(socket, bytes));
      });
    });
  }

  private head: Buffer | undefined;
  /** Bytes of the answer that are still to come; undefined: its head is not whole. */
  private left: number | undefined;
  private waiting: { resolve(): void; reject(error: Error): void } | undefined;
  /** Why the connection is of no use any more. */
  private failed: Error | undefined;
  /** Why the answer under way is no good one. */
  private wrong: Error | undefined;

  private constructor(private readonly socket: Socket, private readonly bytes: Buffer) {
    socket.on('data', (chunk: Buffer) => this.take(chunk));
    socket.on('error', (error) => this.fail(error));
    socket.on('close', () => this.fail(new Error('the server closed the connection')));
  }

  ask(): Promise<void> {
    if (this.failed) return Promise.reject(this.failed);
    return new Promise((resolve, reject) => {
      this.waiting = { resolve, reject };
      this.socket.write(this.bytes);
    });
  }

  close(): void {
    this.socket.destroy();
  }

  /** The answer is left in the socket until `resume`. */
  pause(): void {
    this.socket.pause();
  }

  resume(): void {
    this.socket.resume();
  }

  private take(chunk: Buffer): void {
    if (this.left === undefined) {
      const held = this.head = this.head ? Buffer.concat([this.head, chunk]) : chunk;
      const end = held.indexOf(END);
      if (end < 0) return;
      const text = held.toString('latin1', 0, end);
      this.head = undefined;
      this.wrong = undefined;
      if (text.startsWith('HTTP/1.1 503')) {
        this.wrong = new Shed(held.toString('utf8').slice(0, 1000));
      } else if (!text.startsWith('HTTP/1.1 200')) {
        this.socket.destroy();
        this.fail(new Error(held.toString('utf8').slice(0, 1000)));
        return;
      }
      this.left = end + END.length + Number(/content-length: (\d+)/i.exec(text)?.[1]) - held.length;
    } else {
      this.left -= chunk.length;
    }
    if (this.left > 0) return;
    this.left = undefined;
    const { waiting } = this;
    this.waiting = undefined;
    if (this.wrong) waiting?.reject(this.wrong);
    else waiting?.resolve();
  }

  private fail(error: Error): void {
    this.failed ??= error;
    this.waiting?.reject(error);
    this.waiting = undefined;
  }
}

export interface GrpcRequest {
  readonly path: string;
  readonly metadata?: Readonly<Record<string, string>>;
  /** A framed message, as the encoders give it. */
  readonly frame: readonly Uint8Array[];
}

/** Unary calls over gRPC, one at a time on each connection. */
export class GrpcLoad implements Load {
  static async open(port: number, request: GrpcRequest, connections = CONNECTIONS): Promise<GrpcLoad> {
    const message = Buffer.concat(request.frame);
    const sessions = await Promise.all(Array.from({ length: connections }, () => new Promise<ClientHttp2Session>((resolve, reject) => {
      const session = connectHttp2(`http://127.0.0.1:${port}`, { settings: { initialWindowSize: 4 * 1024 * 1024 } });
      session.once('error', reject).once('connect', () => {
        session.setLocalWindowSize(16 * 1024 * 1024);
        resolve(session);
      });
    })));
    return new GrpcLoad(sessions, request, message);
  }

  private readonly headers: Record<string, string>;

  private constructor(private readonly sessions: readonly ClientHttp2Session[], { path, metadata }: GrpcRequest, private readonly message: Buffer) {
    this.headers = { [constants.HTTP2_HEADER_METHOD]: 'POST', ':path': path, 'content-type': 'application/grpc', 'te': 'trailers', ...metadata };
  }

  run(requests: number, patience?: number): Promise<void> {
    return insist(this.sessions.map((session) => () => this.ask(session)), requests, patience);
  }

  close(): void {
    for (const session of this.sessions) session.destroy();
  }

  private ask(session: ClientHttp2Session): Promise<void> {
    return new Promise((resolve, reject) => {
      const stream = session.request(this.headers);
      let status: unknown;
      let text: unknown;
      const read = (headers: Readonly<Record<string, unknown>>) => {
        status ??= headers['grpc-status'];
        text ??= headers['grpc-message'];
      };
      stream.on('response', read).on('trailers', read).on('error', reject);
      stream.on('close', () => {
        if (status === '0') resolve();
        else reject(new (status === '14' ? Shed : Error)(`grpc-status ${String(status)}: ${String(text)}`));
      });
      stream.resume();
      stream.end(this.message);
    });
  }
}
