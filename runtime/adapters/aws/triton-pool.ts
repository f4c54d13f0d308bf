/** The pods of Triton, of the stable pool and of the candidates': who can be reached, who holds which version, and who gets the next request. */
import type { ClientCertificate } from './client-certificates';
import { TritonPod } from './triton-pod';
import { tritonModelName } from '../../../src/contract';
import { Balancer, type BalancerOptions, type Endpoint, type EndpointSource, type Peer } from '../../core/balancer';
import type { Clock, Logger, ModelRef } from '../../core/ports';
import { RetryBudget } from '../../core/resilience/retry-budget';
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
/** Retries that are there before any call has paid for them: a lost pod right after the start. */
const INITIAL_RETRIES = 3;

/** A pool as the cluster has it. */
export interface PodSource {
  readonly source: EndpointSource;
  /** The name that the pods' certificates must hold. */
  readonly serverName: string;
}

export interface TritonPoolOptions {
  readonly stable: PodSource;
  /** Pods that hold what a release tries out. */
  readonly candidate?: PodSource;
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
  /** As Triton knows it: each version is a model of its own there. */
  readonly triton: { readonly name: string; readonly version: string };
  readonly eligible: (peer: Peer<TritonPod>) => boolean;
  /** A version whose pods are away must not use up the retries of another. */
  readonly retries: RetryBudget;
  /** The stable pool bears it: candidate pods get no request of it. */
  borne: boolean;
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
  /** The stable pool's source has said what there is. */
  private known = false;
  private closed = false;
  private readonly timer: NodeJS.Timeout;

  constructor(private readonly options: TritonPoolOptions) {
    const { stable, candidate, clock, random, zone, balancing, logger, telemetry } = options;
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
    stable.source.onChange(() => {
      this.known = true;
      this.update();
    });
    candidate?.source.onChange(() => this.update());
    this.known = stable.source.current().length > 0;
    this.update();
    this.timer = setInterval(() => this.recheck(), RECHECK_MS).unref();
  }

  version(ref: ModelRef): PooledVersion {
    const found = this.byRef.get(ref);
    if (found && !found.forgotten) return found;
    const key = `${ref.name}/${ref.version}`;
    let version = this.versions.get(key);
    if (!version) {
      const made: PooledVersion = {
        key,
        name: ref.name,
        version: ref.version,
        triton: { name: tritonModelName(ref), version: ref.version },
        eligible: ({ value }) => value.usable && !value.absent.has(key) && !(value.candidate && made.borne),
        retries: new RetryBudget({ initialTokens: INITIAL_RETRIES }),
        borne: false,
        usedAt: this.options.clock.now(),
        forgotten: false,
      };
      version = made;
      this.versions.set(key, version);
      this.judge(version);
    }
    this.byRef.set(ref, version);
    return version;
  }

  /** Whether an endpoint can be reached, for whatever version; that of a candidate counts once it is clear that no stable one can. */
  get reachable(): boolean {
    const pods = this.balancer.all();
    const stableOpening = !this.known || pods.some(({ value }) => !value.candidate && value.opening);
    return pods.some(({ value }) => value.usable && !(value.candidate && stableOpening));
  }

  /** Whether waiting may bring a connection: one is being made, or no endpoint of the stable pool is known yet. */
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
    this.judge(version);
  }

  /** Each pod changes to the certificate that is in force now. */
  renew(): void {
    for (const { value } of this.balancer.all()) value.renew();
  }

  async close(): Promise<void> {
    this.closed = true;
    clearInterval(this.timer);
    await Promise.all([this.options.stable.source.close(), this.options.candidate?.source.close()]);
    await Promise.all([...this.leaving, ...this.balancer.all().map(({ value }) => value)].map((pod) => pod.close(true)));
    this.notify();
  }

  private update(): void {
    if (this.closed) return;
    const stable = this.options.stable.source.current();
    const candidates = this.options.candidate?.source.current() ?? [];
    const isCandidate = new Map(candidates.map(({ address }) => [address, true]));
    for (const { address } of stable) isCandidate.set(address, false);
    const endpoints = [...stable, ...candidates];
    // an address that a pod of the other pool has now is another pod
    const moved = this.balancer.all().filter(({ address, value }) => isCandidate.get(address) === !value.candidate).map(({ address }) => address);
    if (moved.length > 0) this.take(endpoints.filter(({ address }) => !moved.includes(address)), isCandidate);
    this.take(endpoints, isCandidate);
    this.changedPods();
  }

  private take(endpoints: readonly Endpoint[], isCandidate: ReadonlyMap<string, boolean>): void {
    for (const { value } of this.balancer.update(endpoints, ({ address }) => this.open(address, isCandidate.get(address)!))) {
      this.leaving.add(value);
      void value.close().then(() => this.leaving.delete(value));
    }
  }

  private open(address: string, candidate: boolean): TritonPod {
    const { stable, candidate: candidates, secure, certificate, random, logger } = this.options;
    const { serverName } = candidate ? candidates! : stable;
    return new TritonPod(address, {
      candidate, serverName, secure, certificate, random, logger, warm: (pod, channel) => this.warm(pod, channel), changed: () => this.changedPods(),
    });
  }

  /** Who can be reached has changed. */
  private changedPods(): void {
    for (const version of this.versions.values()) this.judge(version);
    this.notify();
  }

  /**
   * A version is tried out on the candidate pool, and when it becomes stable it comes into the stable pool pod by pod. Both serve it until half of the stable
   * pods have it, which is about what the candidate pool is; from then on nothing that is tried out can disturb it.
   */
  private judge(version: PooledVersion): void {
    let pods = 0;
    let holders = 0;
    for (const { value, ready } of this.balancer.all()) {
      if (value.candidate || !ready || !value.usable) continue;
      pods++;
      if (!value.absent.has(version.key)) holders++;
    }
    version.borne = holders > 0 && 2 * holders >= pods;
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
    return decodeFlag(await channel.unary(`${SERVICE}ModelReady`, encodeModelName(version.triton), { deadline, ...(signal ? { signal } : {}) }));
  }

  private learn(pod: TritonPod, version: PooledVersion, holds: boolean): boolean {
    if (holds) pod.absent.delete(version.key);
    else pod.absent.add(version.key);
    this.judge(version);
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
