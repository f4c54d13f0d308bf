/**
 * A Lease of the Kubernetes API (`coordination.k8s.io/v1`) that one process at a time holds. The object exists already; its `resourceVersion`
 * decides who of two that want it gets it.
 *
 * Clocks of different nodes are never compared: whoever waits takes a lease over only after it has itself seen it unchanged for as long as it lasts.
 */
import { askKubernetes, type KubernetesApi, KubernetesStatusError, readAll } from './kubernetes-api';
import type { Clock, Logger } from '../../core/ports';

/** What is read and written of it (Kubernetes API reference, "Lease v1 coordination.k8s.io"). */
interface Lease {
  readonly metadata: { readonly resourceVersion?: string; readonly [field: string]: unknown };
  readonly spec?: {
    readonly holderIdentity?: string | null;
    readonly leaseDurationSeconds?: number | null;
    readonly acquireTime?: string | null;
    readonly renewTime?: string | null;
    readonly leaseTransitions?: number | null;
  };
}

export interface KubernetesLeaseOptions {
  readonly api: KubernetesApi;
  readonly namespace: string;
  readonly name: string;
  /** Whoever holds it: the pod's name. A process that comes back as the same holder has it still. */
  readonly identity: string;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly onAcquired: () => void;
  /** It could not be renewed in time, or is somebody else's. */
  readonly onLost: () => void;
  /** How long it lasts without renewal. @default 60 */
  readonly seconds?: number;
}

/** Renewals that may fail one after the other before it is lost: a third of its time lies between two. */
const RENEWALS = 3;
const CONFLICT = 409;
/** Less than what lies between two renewals. */
const REQUEST_MS = 10_000;

export class KubernetesLease {
  private wanted = false;
  private held = false;
  private renewedAt = 0;
  private seen: { readonly version: string | undefined; readonly at: number } | undefined;
  private reported: string | undefined;
  private timer: NodeJS.Timeout | undefined;
  /** One request after the other, in the order in which they were asked for. */
  private queue: Promise<void> = Promise.resolve();
  private readonly everyMs: number;

  constructor(private readonly options: KubernetesLeaseOptions) {
    this.everyMs = (options.seconds ?? 60) * 1000 / RENEWALS;
  }

  /** Tries until it is held; then renews it until it is released or lost. */
  acquire(): void {
    this.wanted = true;
    this.schedule(0);
  }

  /** Gives it back, at once where the API answers; else it runs out. */
  release(): void {
    this.wanted = false;
    clearTimeout(this.timer);
    this.queue = this.queue.then(() => this.giveBack());
  }

  /** Settles when what was asked for is done. */
  async settled(): Promise<void> {
    await this.queue;
  }

  private schedule(afterMs: number): void {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => {
      this.queue = this.queue.then(() => this.attempt());
    }, afterMs).unref();
  }

  private async attempt(): Promise<void> {
    if (!this.wanted) return;
    try {
      await this.take();
      this.reported = undefined;
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      if (reason !== this.reported && !(error instanceof KubernetesStatusError && error.status === CONFLICT)) {
        this.reported = reason;
        this.options.logger.warn({ lease: this.options.name, error: reason, held: this.held }, 'the lease cannot be written');
      }
      if (this.held && this.options.clock.now() - this.renewedAt >= (RENEWALS - 1) * this.everyMs) this.lose();
    }
    if (this.wanted) this.schedule(this.everyMs / (this.held ? 1 : 4));
  }

  private async take(): Promise<void> {
    const { identity, clock } = this.options;
    const lease = await this.read();
    const { holderIdentity, leaseDurationSeconds, leaseTransitions, acquireTime } = lease.spec ?? {};
    const mine = holderIdentity === identity;
    const version = lease.metadata.resourceVersion;
    if (this.seen?.version !== version) this.seen = { version, at: clock.now() };
    if (!mine && holderIdentity) {
      if (this.held) return this.lose();
      if (clock.now() - this.seen!.at < (leaseDurationSeconds ?? 0) * 1000) return undefined;
    }
    const now = microTime(clock.now());
    await this.write(lease, {
      holderIdentity: identity,
      leaseDurationSeconds: Math.ceil(this.everyMs * RENEWALS / 1000),
      acquireTime: mine ? acquireTime ?? now : now,
      renewTime: now,
      leaseTransitions: (leaseTransitions ?? 0) + (mine ? 0 : 1),
    });
    this.renewedAt = clock.now();
    if (this.held || !this.wanted) return undefined;
    this.held = true;
    return this.options.onAcquired();
  }

  private async giveBack(): Promise<void> {
    this.held = false;
    try {
      const lease = await this.read();
      if (lease.spec?.holderIdentity !== this.options.identity) return;
      await this.write(lease, { ...lease.spec, holderIdentity: null, renewTime: microTime(this.options.clock.now()) });
    } catch (error) {
      this.options.logger.warn({ lease: this.options.name, error: (error as Error).message }, 'the lease cannot be given back: it runs out by itself');
    }
  }

  private lose(): void {
    this.held = false;
    this.wanted = false;
    this.options.onLost();
  }

  private async read(): Promise<Lease> {
    return JSON.parse(await readAll(await askKubernetes(this.options.api, { path: this.path, signal: this.bound() }))) as Lease;
  }

  private async write(lease: Lease, spec: Lease['spec']): Promise<void> {
    await readAll(await askKubernetes(this.options.api, { method: 'PUT', path: this.path, body: { ...lease, spec }, signal: this.bound() }));
  }

  private get path(): string {
    return `/apis/coordination.k8s.io/v1/namespaces/${this.options.namespace}/leases/${this.options.name}`;
  }

  private bound(): AbortSignal {
    return AbortSignal.timeout(REQUEST_MS);
  }
}

/** Kubernetes' MicroTime: RFC 3339 with six digits of a second. */
const microTime = (now: number) => new Date(now).toISOString().replace('Z', '000Z');
