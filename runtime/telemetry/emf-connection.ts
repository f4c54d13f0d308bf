/** One TCP connection to the CloudWatch agent: lines wait in a bounded buffer while it is away, and the oldest give way to new ones. */
import { connect, type Socket } from 'node:net';

export interface EmfConnectionOptions {
  readonly host: string;
  readonly port: number;
  /** Lines that were lost. */
  readonly dropped: (lines: number) => void;
  /** What waits at most, bytes. @default 1 MiB: an hour of a brain with ten versions */
  readonly maxBuffer?: number;
  /** First and longest pause between two attempts, milliseconds; each pause is twice the one before. @default 100 and 30,000 */
  readonly backoff?: { readonly first: number; readonly longest: number };
  /** From 0 to 1. @default Math.random */
  readonly random?: () => number;
}

export class EmfConnection {
  private socket: Socket | undefined;
  private waiting: string[] = [];
  private waitingBytes = 0;
  private timer: NodeJS.Timeout | undefined;
  private pause: number;
  private closed = false;
  private blocked = false;
  private readonly longest: number;
  private readonly first: number;
  private readonly maxBuffer: number;
  private onIdle: (() => void) | undefined;

  constructor(private readonly options: EmfConnectionOptions) {
    this.maxBuffer = options.maxBuffer ?? 1024 * 1024;
    this.first = this.pause = options.backoff?.first ?? 100;
    this.longest = options.backoff?.longest ?? 30_000;
  }

  /** Never waits and never throws. */
  write(lines: readonly string[]): void {
    if (this.closed) {
      this.options.dropped(lines.length);
      return;
    }
    for (const line of lines) {
      this.waiting.push(line);
      this.waitingBytes += Buffer.byteLength(line);
    }
    let lost = 0;
    while (this.waitingBytes > this.maxBuffer && this.waiting.length > 0) {
      this.waitingBytes -= Buffer.byteLength(this.waiting.shift()!);
      lost++;
    }
    if (lost > 0) this.options.dropped(lost);
    this.send();
  }

  /** Sends what waits, as far as the agent takes it within `timeoutMs`. */
  async close(timeoutMs: number): Promise<void> {
    if (this.closed) return;
    this.closed = true;
    clearTimeout(this.timer);
    if (this.waiting.length > 0 && !this.socket) this.open();
    if (this.waiting.length > 0 || (this.socket?.writableLength ?? 0) > 0) {
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, timeoutMs);
        this.onIdle = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
    if (this.waiting.length > 0) this.options.dropped(this.waiting.length);
    this.waiting = [];
    const { socket } = this;
    if (!socket) return;
    this.socket = undefined;
    socket.destroySoon();
  }

  private send(): void {
    if (this.waiting.length === 0 || this.blocked) return;
    if (!this.socket) {
      if (!this.timer) this.open();
      return;
    }
    if (this.socket.connecting) return;
    const text = this.waiting.join('');
    this.waiting = [];
    this.waitingBytes = 0;
    this.blocked = !this.socket.write(text, () => {
      if (this.waiting.length === 0) this.onIdle?.();
    });
  }

  private open(): void {
    const { host, port } = this.options;
    const socket = connect({ host, port, keepAlive: true, noDelay: true });
    this.socket = socket;
    this.blocked = false;
    // it must not keep a process alive that is otherwise done
    socket.unref();
    // the agent answers nothing, but its end must be noticed
    socket.resume();
    socket.on('connect', () => {
      this.pause = this.first;
      this.send();
    });
    socket.on('drain', () => {
      this.blocked = false;
      this.send();
    });
    socket.on('error', () => undefined);
    socket.on('end', () => socket.destroy());
    socket.on('close', () => {
      if (this.socket !== socket) return;
      this.socket = undefined;
      this.blocked = false;
      if (this.closed) this.onIdle?.();
      else this.retryLater();
    });
  }

  private retryLater(): void {
    const jitter = 0.5 + (this.options.random ?? Math.random)() / 2;
    this.timer = setTimeout(() => {
      this.timer = undefined;
      this.send();
    }, this.pause * jitter);
    this.timer.unref();
    this.pause = Math.min(this.pause * 2, this.longest);
  }
}

/** `host:port`; undefined where it is not that. */
export function parseEndpoint(text: string): { host: string; port: number } | undefined {
  const colon = text.lastIndexOf(':');
  const port = Number(text.slice(colon + 1));
  let host = text.slice(0, Math.max(colon, 0));
  if (host.startsWith('[') && host.endsWith(']')) host = host.slice(1, -1);
  return host !== '' && Number.isInteger(port) && port > 0 && port < 65536 ? { host, port } : undefined;
}
