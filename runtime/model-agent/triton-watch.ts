/** Follows Triton's process: whether it is there, whether it is still the same one, what it holds, and which certificate it shows. */
import { X509Certificate } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { connect } from 'node:tls';
import type { TritonManagement } from './triton-management';
import type { AgentEvent } from '../core/model-agent/state';
import type { Logger } from '../core/ports';

export interface TritonWatchOptions {
  readonly triton: TritonManagement;
  /** Port of its gRPC on loopback. */
  readonly grpcPort: number;
  /** Folder of `tls.crt` and `ca.crt` that it starts with. */
  readonly certificates: string;
  readonly logger: Logger;
  readonly send: (event: AgentEvent) => void;
  /** {@link AgentState.operations}, now. */
  readonly operations: () => number;
  /** @default 1000 */
  readonly everyMs?: number;
}

const EVERY_MS = 1_000;
/** Looks in a row without an answer after which it counts as gone: a busy machine misses one. The kubelet's liveness probe ends what hangs. */
const SILENT_LOOKS = 3;
/** What it holds, and its certificate, are asked for each so many looks. */
const THOROUGH = 10;
const HANDSHAKE_MS = 5_000;

export class TritonWatch {
  /** The key of the process that is there now. */
  private currentKey: string | undefined;
  private count = 0;
  private toldGone = false;
  private silent = 0;
  private looks = 0;
  /** The authorities that were mounted when the process was first seen: it shows its certificate, but not whom it believes. */
  private authorities: string | undefined;
  private expiry: number | undefined;
  private looking: Promise<void> | undefined;
  private timer: NodeJS.Timeout | undefined;
  private closed = false;
  private reported: string | undefined;

  constructor(private readonly options: TritonWatchOptions) {}

  /** Looks once, then by itself. */
  async start(): Promise<void> {
    await this.look();
    this.schedule();
  }

  /** Key of the process of that number. Fails where it is another by now. */
  key(instance: number): string {
    if (this.currentKey === undefined || instance !== this.count) throw new Error('this process of Triton is gone');
    return this.currentKey;
  }

  /** When the certificate that it shows is over, seconds since the epoch; undefined where it shows none. */
  get certificateExpiry(): number | undefined {
    return this.expiry;
  }

  /** One look, now, of which there is never more than one. */
  look(): Promise<void> {
    this.looking ??= this.lookOnce().finally(() => {
      this.looking = undefined;
    });
    return this.looking;
  }

  async close(): Promise<void> {
    this.closed = true;
    clearTimeout(this.timer);
    await this.looking;
  }

  private schedule(): void {
    if (this.closed) return;
    this.timer = setTimeout(() => void this.look().then(() => this.schedule()), this.options.everyMs ?? EVERY_MS);
  }

  private async lookOnce(): Promise<void> {
    const { triton, logger } = this.options;
    try {
      const key = await triton.key();
      if (this.currentKey !== undefined && key !== this.currentKey) this.gone();
      if (key === undefined) return this.gone();
      if (!await this.answers()) return;
      // a key that was written while it was asked is the next process's
      if (await triton.key() !== key) return;
      if (this.currentKey === undefined) await this.came(key);
      if (this.looks++ % THOROUGH === 0) await this.lookThoroughly(key);
      this.reported = undefined;
    } catch (error) {
      const reason = (error as Error).message;
      if (reason !== this.reported) logger.warn({ error: reason }, 'a look at Triton failed');
      this.reported = reason;
    }
  }

  private async answers(): Promise<boolean> {
    try {
      if (await this.options.triton.isLive()) {
        this.silent = 0;
        return true;
      }
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ECONNREFUSED') this.silent = SILENT_LOOKS - 1;
    }
    if (++this.silent >= SILENT_LOOKS) this.gone();
    return false;
  }

  private gone(): void {
    this.currentKey = undefined;
    this.silent = 0;
    if (this.toldGone) return;
    this.toldGone = true;
    this.options.send({ kind: 'tritonDown', jitter: Math.random() });
  }

  private async came(key: string): Promise<void> {
    this.authorities = await this.mounted('ca.crt');
    this.currentKey = key;
    this.toldGone = false;
    this.count++;
    this.looks = 0;
    this.options.send({ kind: 'tritonUp', instance: this.count });
  }

  private async lookThoroughly(key: string): Promise<void> {
    const { triton, operations, send } = this.options;
    const instance = this.count;
    const before = operations();
    const names = await triton.index(key);
    if (instance === this.count) send({ kind: 'index', instance, operations: before, names });
    const stale = await this.isStale();
    if (stale !== undefined && instance === this.count) send({ kind: 'certificate', instance, stale });
  }

  /** Undefined where it cannot be told. Triton without certificates needs none. */
  private async isStale(): Promise<boolean | undefined> {
    const [certificate, authorities] = await Promise.all([this.mounted('tls.crt'), this.mounted('ca.crt')]);
    if (certificate === undefined) return false;
    const shown = await this.shown();
    if (!shown) return undefined;
    this.expiry = Date.parse(shown.validTo) / 1000;
    const mounted = new X509Certificate(certificate);
    // one that is not valid yet, or any more, would take nobody further
    const usable = Date.parse(mounted.validFrom) <= Date.now() && Date.now() < Date.parse(mounted.validTo);
    return usable && (!shown.raw.equals(mounted.raw) || authorities !== this.authorities);
  }

  /** What Triton's gRPC port shows before it asks for ours. */
  private shown(): Promise<X509Certificate | undefined> {
    return new Promise((resolve) => {
      const socket = connect({ host: '127.0.0.1', port: this.options.grpcPort, rejectUnauthorized: false, ALPNProtocols: ['h2'], timeout: HANDSHAKE_MS });
      const settle = (certificate?: X509Certificate) => {
        socket.destroy();
        resolve(certificate);
      };
      socket.on('secureConnect', () => settle(socket.getPeerX509Certificate()));
      for (const event of ['error', 'timeout', 'close']) socket.on(event, () => settle());
    });
  }

  private async mounted(file: string): Promise<string | undefined> {
    return readFile(join(this.options.certificates, file), 'utf8').catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return undefined;
      throw error;
    });
  }
}
