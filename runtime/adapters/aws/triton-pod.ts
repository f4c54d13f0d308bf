/** One pod of the pool: its channel, what it is known not to hold, and the change to a renewed certificate. */
import { isIP } from 'node:net';
import type { ConnectionOptions } from 'node:tls';
import type { ClientCertificate } from './client-certificates';
import type { Logger } from '../../core/ports';
import { Channel, type ChannelState } from '../../grpc/channel';

export interface TritonPodOptions {
  /** It is of the candidate pool. */
  readonly candidate: boolean;
  /** The name that the pod's certificate must hold; an address: the pod's own address. */
  readonly serverName: string;
  readonly secure: boolean;
  readonly certificate: () => ClientCertificate | undefined;
  /** Asks the pod what it holds. Fails where it does not answer. */
  readonly warm: (pod: TritonPod, channel: Channel) => Promise<void>;
  /** The pod can be reached now, or no longer, or it was tried in vain. */
  readonly changed: () => void;
  readonly random: () => number;
  readonly logger: Logger;
}

/** Longest pause between two attempts to connect, milliseconds: a pod that restarts is back within seconds. */
const BACKOFF = { firstMs: 100, maxMs: 5_000 };
/** Before a pod that is connected, but did not answer, is asked again, milliseconds. */
const WARM_AGAIN_MS = 1_000;
/** How long calls of a connection that is no longer used may last: a stream of tokens takes its time, milliseconds. */
const DRAIN_MS = 600_000;

export class TritonPod {
  /** Keys of versions that the pod said it does not hold. */
  readonly absent = new Set<string>();
  /** It is connected and has answered. */
  usable = false;
  /** What calls go through while it is usable. */
  channel: Channel;
  /** It is being connected to and was not yet tried in vain: worth waiting for. */
  opening = true;
  private active: PodChannel;
  private next: PodChannel | undefined;
  private readonly draining = new Set<Channel>();
  private closed = false;
  private reported = false;

  /** It is of the pool that tries out candidates. */
  readonly candidate: boolean;

  constructor(readonly address: string, private readonly options: TritonPodOptions) {
    this.candidate = options.candidate;
    this.active = this.open();
    this.channel = this.active.channel;
  }

  /** The certificate of its connection is not the one that is in force. */
  get outdated(): boolean {
    return this.active.certificate !== this.options.certificate();
  }

  /**
   * A connection with the certificate that is in force now takes the place of the one before, once it has answered a call: TLS 1.3 lets a
   * client believe that it is connected before the server has looked at its certificate. Until then the old one serves.
   */
  renew(): void {
    if (this.closed || !this.outdated || this.next?.certificate === this.options.certificate()) return;
    this.drain(this.next);
    this.next = this.open();
  }

  /** Takes no new call; those under way may end, unless it is closed `now`. Settles when its connections are closed. */
  async close(now = false): Promise<void> {
    this.closed = true;
    this.usable = false;
    this.opening = false;
    this.drain(this.active);
    this.drain(this.next);
    await Promise.all([...this.draining].map((channel) => channel.close(now ? 0 : DRAIN_MS)));
  }

  private open(): PodChannel {
    const { serverName, secure, certificate, random } = this.options;
    const ask = (channel: Channel) => this.options.warm(this, channel);
    return new PodChannel(this.address, secure ? serverName : undefined, certificate(), random, ask, (opened) => this.follow(opened));
  }

  private follow(opened: PodChannel): void {
    if (this.closed) return;
    const { logger, changed } = this.options;
    if (opened === this.next) {
      if (opened.state === 'failed' && opened.error !== '' && !this.reported) {
        const fields = { endpoint: this.address, error: opened.error };
        logger.error(fields, 'no connection with the renewed certificate: the one before serves on, and it is tried again');
        this.reported = true;
      }
      // the one before gives way to one that works, or when it is lost itself
      if (opened.state !== 'usable' && this.active.state !== 'failed') return;
      this.drain(this.active);
      this.active = opened;
      this.next = undefined;
    }
    if (opened !== this.active) return;
    this.channel = opened.channel;
    this.usable = opened.state === 'usable';
    this.opening = opened.state === 'opening';
    if (opened.state === 'failed' && opened.error !== '' && !this.reported) {
      this.reported = true;
      logger.warn({ endpoint: this.address, error: opened.error }, 'a model runtime endpoint cannot be reached');
    } else if (this.usable && this.reported) {
      this.reported = false;
      logger.info({ endpoint: this.address }, 'a model runtime endpoint is reachable again');
    }
    changed();
  }

  private drain(opened: PodChannel | undefined): void {
    if (!opened) return;
    opened.retired = true;
    const { channel } = opened;
    if (this.draining.has(channel)) return;
    this.draining.add(channel);
    void channel.close(DRAIN_MS).then(() => this.draining.delete(channel));
  }
}

/** A channel with one certificate, from the beginning to the end of its use. */
class PodChannel {
  readonly channel: Channel;
  state: 'opening' | 'usable' | 'failed' = 'opening';
  /** Why it failed; empty while that is not known. */
  error = '';
  retired = false;
  /** Counts connections, so that an answer over one says nothing about the next. */
  private connection = 0;

  constructor(
    address: string, serverName: string | undefined, readonly certificate: ClientCertificate | undefined, random: () => number,
    private readonly warm: (channel: Channel) => Promise<void>, private readonly changed: (opened: PodChannel) => void,
  ) {
    const { hostname, port } = new URL(`grpc://${address}`);
    const tls = serverName === undefined ? {} : { tls: () => tlsTowards(serverName, certificate) };
    this.channel = new Channel({
      host: hostname.replace(/^\[|\]$/g, ''), port: Number(port), backoff: BACKOFF, random, onState: (state) => this.follow(state), ...tls,
    });
    this.channel.connect();
  }

  private follow(state: ChannelState): void {
    if (this.retired) return;
    this.connection++;
    if (state === 'ready') return void this.ask(this.connection);
    // an attempt after one in vain is not worth waiting for
    if (state === 'connecting') return this.set(this.state === 'failed' ? 'failed' : 'opening');
    this.error = '';
    this.set('failed');
    void this.explain(this.connection);
  }

  /** A call now fails with the reason why there is no connection. */
  private async explain(connection: number): Promise<void> {
    try {
      await this.warm(this.channel);
    } catch (error) {
      if (connection !== this.connection) return;
      this.error = (error as Error).message;
      this.set('failed');
    }
  }

  private async ask(connection: number): Promise<void> {
    try {
      await this.warm(this.channel);
      if (connection === this.connection) this.set('usable');
    } catch (error) {
      if (connection !== this.connection || this.retired) return;
      this.error = (error as Error).message;
      this.set('failed');
      setTimeout(() => {
        if (connection === this.connection && !this.retired) void this.ask(connection);
      }, WARM_AGAIN_MS).unref();
    }
  }

  private set(state: PodChannel['state']): void {
    if (this.retired || (this.state === state && state !== 'failed')) return;
    this.state = state;
    this.changed(this);
  }
}

/** Fails while there is no certificate: the channel tries again, and never in plain text. */
function tlsTowards(serverName: string, certificate: ClientCertificate | undefined): ConnectionOptions {
  if (!certificate) throw new Error('no certificate is mounted');
  return { secureContext: certificate.context, ...(isIP(serverName) === 0 ? { servername: serverName } : {}) };
}
