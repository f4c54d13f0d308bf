/** The pods of a Triton pool: who can be reached, who holds which version, and who gets the next request. */
import type { ClientCertificate } from './client-certificates';
import { TritonPod } from './triton-pod';
import { Balancer, type BalancerOptions, type Endpoint, type EndpointSource, type Peer } from '../../core/balancer';
import type { Clock, Logger, ModelRef } from '../../core/ports';
import type { Telemetry } from '../../core/telemetry';
import type { Channel } from '../../grpc/channel';
import { decodeFlag, encodeEmpty, encodeModelName } from '../../grpc/oip-server';

export const SERVICE = '/inference.GRPCInferenceService/';
/** Longest wait for the answer whether a version is ready, milliseconds. */
const READY_TIMEOUT_MS = 5_000;
/** How often a pod is asked again for a version that it lacked, milliseconds. */
const RECHECK_MS = 1_000;
/** A version that nobody asked for in this time is not asked after any more, milliseconds. */
const FORGET_MS = 600_000;

export interface TritonPoolOptions {
  readonly source: EndpointSource;
  /** The name that the pods' certificates must hold. */
  readonly serverName: string;
  /** Mutual TLS; nothing is connected to while there is no certificate. */
  readonly secure: boolean;
  readonly certificate: () => ClientCertificate | undefined;
  readonly zone?: string;
  readonly clock: Clock;
  readonly random: () => number;
  readonly logger: Logger;
  readonly telemetry: Telemetry;
  readonly balancing?: Partial<BalancerOptions>;
}

/** A version as requests refer to it. */
export interface PooledVersion {
  readonly key: string;
  readonly name: string;
  readonly version: string;
  readonly eligible: (peer: Peer<TritonPod>) => boolean;
  usedAt: number;
  /** Nobody asked for it for long: it is not asked after any more. */
  forgotten: boolean;
}

export class TritonPool {
  readonly balancer: Balancer<TritonPod>;
  private readonly versions = new Map<string, PooledVersion>();
  private readonly byRef = new WeakMap<ModelRef, PooledVersion>();
  /** Pods that are no longer in the pool and still have calls. */
  private readonly leaving = new Set<TritonPod>();
  private waiting: (() => void)[] = [];
  private known = false;
  private closed = false;
  private readonly timer: NodeJS.Timeout;

  constructor(private readonly options: TritonPoolOptions) {
    const { source, clock, random, zone, balancing, logger, telemetry } = options;
    this.balancer = new Balancer({
      clock,
      random,
      ...(zone === undefined ? {} : { zone }),
      ...balancing,
      onEjected: (endpoint, forMs, reason) => {
        telemetry.count('outlier_ejected', 'runtime');
        logger.warn({ endpoint, forMs, reason }, 'a model runtime endpoint gets no requests for a while');
      },
    });
    source.onChange((endpoints) => this.update(endpoints));
    if (source.current().length > 0) this.update(source.current());
    this.timer = setInterval(() => this.recheck(), RECHECK_MS).unref();
  }

  version(ref: ModelRef): PooledVersion {
    const found = this.byRef.get(ref);
    if (found && !found.forgotten) return found;
    const key = `${ref.name}/${ref.version}`;
    let version = this.versions.get(key);
    if (!version) {
      const eligible = ({ value }: Peer<TritonPod>) => value.usable && !value.absent.has(key);
      version = { key, name: ref.name, version: ref.version, eligible, usedAt: this.options.clock.now(), forgotten: false };
      this.versions.set(key, version);
    }
    this.byRef.set(ref, version);
    return version;
  }

  /** Whether any endpoint can be reached, for whatever version. */
  get reachable(): boolean {
    return this.balancer.all().some(({ value }) => value.usable);
  }

  /** Whether waiting may bring a connection: one is being made, or no endpoint is known yet. */
  get opening(): boolean {
    return !this.closed && (!this.known || this.balancer.all().some(({ value }) => value.opening));
  }

  /**
   * Settles at the next change of who can be reached, and when the time is up or the caller is gone.
   *
   * @param deadline by the system's clock, like every deadline here
   */
  changed(deadline: number, signal: AbortSignal | undefined): Promise<void> {
    return new Promise((resolve) => {
      const done = () => {
        clearTimeout(timer);
        signal?.removeEventListener('abort', done);
        resolve();
      };
      const timer = setTimeout(done, Math.max(0, deadline - Date.now())).unref();
      signal?.addEventListener('abort', done);
      this.waiting.push(done);
    });
  }

  /** Asks every endpoint that can be reached; true as soon as one has the version. What is learned decides who gets its requests. */
  async ready(version: PooledVersion, deadline: number, signal: AbortSignal | undefined): Promise<boolean> {
    version.usedAt = this.options.clock.now();
    const until = Math.min(deadline, Date.now() + READY_TIMEOUT_MS);
    while (!this.reachable && this.opening && Date.now() < until && !signal?.aborted) await this.changed(until, signal);
    const asked = this.balancer.all().flatMap(({ value: pod, ready }) => (pod.usable && ready ? [this.ask(pod, version, until, signal)] : []));
    return asked.length > 0 && firstTrue(asked);
  }

  /** A request told that the pod does not hold the version. */
  lacks(pod: TritonPod, version: PooledVersion): void {
    pod.absent.add(version.key);
  }

  /** Each pod changes to the certificate that is in force now. */
  renew(): void {
    for (const { value } of this.balancer.all()) value.renew();
  }

  async close(): Promise<void> {
    this.closed = true;
    clearInterval(this.timer);
    await this.options.source.close();
    await Promise.all([...this.leaving, ...this.balancer.all().map(({ value }) => value)].map((pod) => pod.close(true)));
    this.notify();
  }

  private update(endpoints: readonly Endpoint[]): void {
    if (this.closed) return;
    this.known = true;
    for (const { value } of this.balancer.update(endpoints, ({ address }) => this.open(address))) {
      this.leaving.add(value);
      void value.close().then(() => this.leaving.delete(value));
    }
    this.notify();
  }

  private open(address: string): TritonPod {
    const { serverName, secure, certificate, random, logger } = this.options;
    return new TritonPod(address, {
      serverName, secure, certificate, random, logger, warm: (pod, channel) => this.warm(pod, channel), changed: () => this.notify(),
    });
  }

  /** Before a pod gets its first request, or the first after it was away, it is asked for all versions that are in use. */
  private async warm(pod: TritonPod, channel: Channel): Promise<void> {
    const deadline = Date.now() + READY_TIMEOUT_MS;
    const versions = [...this.versions.values()];
    if (versions.length === 0) await channel.unary(`${SERVICE}ServerReady`, encodeEmpty(), { deadline });
    await Promise.all(versions.map(async (version) => this.learn(pod, version, await this.askOver(channel, version, deadline, undefined))));
  }

  private recheck(): void {
    const now = this.options.clock.now();
    for (const [key, version] of this.versions) {
      if (now - version.usedAt < FORGET_MS) continue;
      version.forgotten = true;
      this.versions.delete(key);
      for (const { value } of this.balancer.all()) value.absent.delete(key);
    }
    for (const { value: pod } of this.balancer.all()) {
      if (!pod.usable) continue;
      if (pod.outdated) pod.renew();
      for (const key of pod.absent) void this.ask(pod, this.versions.get(key)!, Date.now() + READY_TIMEOUT_MS, undefined);
    }
  }

  private async ask(pod: TritonPod, version: PooledVersion, deadline: number, signal: AbortSignal | undefined): Promise<boolean> {
    try {
      return this.learn(pod, version, await this.askOver(pod.channel, version, deadline, signal));
    } catch {
      // what cannot be asked is not ready; whether it gets requests is the balancer's business
      return false;
    }
  }

  private async askOver(channel: Channel, version: PooledVersion, deadline: number, signal: AbortSignal | undefined): Promise<boolean> {
    return decodeFlag(await channel.unary(`${SERVICE}ModelReady`, encodeModelName(version), { deadline, ...(signal ? { signal } : {}) }));
  }

  private learn(pod: TritonPod, { key }: PooledVersion, holds: boolean): boolean {
    if (holds) pod.absent.delete(key);
    else pod.absent.add(key);
    return holds;
  }

  private notify(): void {
    const { waiting } = this;
    this.waiting = [];
    for (const done of waiting) done();
  }
}

/** True as soon as one is, false when all are not. */
function firstTrue(answers: readonly Promise<boolean>[]): Promise<boolean> {
  return new Promise((resolve) => {
    let left = answers.length;
    for (const answer of answers) {
      void answer.then((yes) => {
        if (yes) resolve(true);
        else if (--left === 0) resolve(false);
      });
    }
  });
}
