/** Admits as many requests at once as the service can work on, lets a few wait, and sheds the rest before they cost anything. */
import { AdmissionQueue, type Waiting } from './admission-queue';
import { LatencyClass, VegasLimit, type VegasOptions } from './vegas-limit';
import { BrainError } from '../errors';
import type { Clock } from '../ports';

/** Most important first. */
export const LANES = ['high', 'normal', 'low'] as const;
export type Lane = typeof LANES[number];

export interface ConcurrencyLimitOptions extends VegasOptions {
  readonly clock: Clock;
  /** Requests that wait, over all lanes. @default 128 */
  readonly maxQueued?: number;
  /** How long a request waits at most, milliseconds; its own deadline may come first. @default 250 */
  readonly maxWaitMs?: number;
  /** Share of the limit that only the high lane may take, 0 to 1. @default 0.1 */
  readonly reservedForHigh?: number;
  /** Share of the limit beyond which the low lane waits, 0 to 1. @default 0.7 */
  readonly lowShare?: number;
  /** Share of the limit, and of the queue, that one tenant may take while others wait, 0 to 1. @default 0.5 */
  readonly tenantShare?: number;
  /** Spreads `retry_after_s`. @default Math.random */
  readonly random?: () => number;
  readonly onShed?: (lane: Lane) => void;
}

/** What became of an admitted request: `overload` where it was worked on for long and met its deadline, `ignored` where its time says nothing. */
export type Outcome = 'done' | 'overload' | 'ignored';

/** The right to be worked on. Handed back with `release`, once. */
export interface Permit {
  readonly lane: Lane;
  readonly tenant: string | undefined;
  readonly startedAt: number;
}

const RANK = { high: 0, normal: 1, low: 2 } as const satisfies Record<Lane, number>;
/** How often waiting requests are looked through for those whose time is up, milliseconds. */
const SWEEP_MS = 10;
/** Retry-After at most, seconds. */
const MAX_RETRY_AFTER_S = 10;

export class ConcurrencyLimit {
  private readonly vegas: VegasLimit;
  private readonly queue: AdmissionQueue;
  private readonly maxWaitMs: number;
  private readonly reserved: number;
  private readonly lowShare: number;
  private readonly tenantShare: number;
  private readonly random: () => number;
  private readonly tenants = new Map<string, number>();
  private readonly anyKind = new LatencyClass();
  /** Smoothed time that a request is worked on, milliseconds. */
  private tookMs = 0;
  private running = 0;
  private sweeping = false;

  constructor(private readonly options: ConcurrencyLimitOptions) {
    this.vegas = new VegasLimit(options);
    this.queue = new AdmissionQueue(options.maxQueued ?? 128);
    this.maxWaitMs = options.maxWaitMs ?? 250;
    this.reserved = options.reservedForHigh ?? 0.1;
    this.lowShare = options.lowShare ?? 0.7;
    this.tenantShare = options.tenantShare ?? 0.5;
    this.random = options.random ?? Math.random;
  }

  /** Requests at once. */
  get limit(): number {
    return this.vegas.limit;
  }

  get inFlight(): number {
    return this.running;
  }

  get queued(): number {
    return this.queue.size;
  }

  /**
   * A permit where nobody has to wait; undefined: ask `acquire`. Costs 0.2 µs.
   * Fails with DEADLINE_EXCEEDED where the deadline (milliseconds since the epoch) has passed already.
   */
  tryAcquire(lane: Lane, deadline = Infinity, tenant?: string): Permit | undefined {
    const now = this.options.clock.now();
    if (deadline <= now) {
      this.options.onShed?.(lane);
      throw BrainError.withoutStack('DEADLINE_EXCEEDED', 'the request reached the service after its deadline');
    }
    if (this.running >= this.ceiling(lane) || this.queue.waitsAtOrAbove(RANK[lane])) return undefined;
    return this.admit(lane, tenant, now);
  }

  /**
   * A permit, at once or after a wait. Fails with OVERLOADED where the wait would be longer than the deadline or the queue allow,
   * with RATE_LIMITED where the tenant has taken its share and others wait. Aborting the signal takes the request out of the queue.
   */
  acquire(lane: Lane, deadline = Infinity, tenant?: string, signal?: AbortSignal): Promise<Permit> {
    let permit: Permit | undefined;
    try {
      permit = this.tryAcquire(lane, deadline, tenant);
      if (!permit) this.requireRoom(lane, deadline, tenant);
    } catch (error) {
      return Promise.reject(error as BrainError);
    }
    if (permit) return Promise.resolve(permit);
    return new Promise((resolve, reject) => this.wait({ lane, rank: RANK[lane], tenant, deadline, resolve, reject }, signal));
  }

  /** @param kind what the request's time is compared with, one per model version; undefined: all requests are alike */
  release(permit: Permit, outcome: Outcome = 'done', kind: LatencyClass = this.anyKind): void {
    const now = this.options.clock.now();
    const took = now - permit.startedAt;
    if (outcome === 'done') {
      this.tookMs += (took - this.tookMs) * (this.tookMs === 0 ? 1 : 0.1);
      this.vegas.sample(kind, now, took, this.running);
    } else if (outcome === 'overload' && took >= this.tookMs) {
      // one that ended sooner than an answer takes had too little time, or met something that refuses at once
      this.vegas.drop(now, this.running);
    }
    this.running--;
    if (permit.tenant !== undefined) this.leave(permit.tenant);
    if (this.queue.size > 0) this.dispatch(now);
  }

  /** Sheds those whose time is up; called by a timer while somebody waits. */
  sweep(): void {
    const now = this.options.clock.now();
    for (const waiting of this.queue.takeExpired(now)) this.reject(waiting, 'OVERLOADED', 'the service is busy: the request waited for as long as it may');
  }

  /** Below so many requests at once, one of the lane is admitted without a wait. */
  private ceiling(lane: Lane): number {
    const { limit } = this.vegas;
    if (lane === 'high') return limit;
    return Math.max(1, lane === 'low' ? Math.floor(limit * this.lowShare) : limit - Math.ceil(limit * this.reserved));
  }

  private admit(lane: Lane, tenant: string | undefined, now: number): Permit {
    this.running++;
    if (tenant !== undefined) this.tenants.set(tenant, (this.tenants.get(tenant) ?? 0) + 1);
    return { lane, tenant, startedAt: now };
  }

  private leave(tenant: string): void {
    const left = this.tenants.get(tenant)! - 1;
    if (left === 0) this.tenants.delete(tenant);
    else this.tenants.set(tenant, left);
  }

  /** Fails where the request would wait for nothing, or makes room by shedding one that matters less. */
  private requireRoom(lane: Lane, deadline: number, tenant: string | undefined): void {
    const most = this.tenantMost();
    // those of a tenant that has its share are passed over for one of another
    const counts = tenant === undefined
      ? undefined
      : (waiting: Waiting): boolean => waiting.tenant === undefined || waiting.tenant === tenant || this.runningOf(waiting.tenant) < most;
    const wait = this.expectedWait(this.queue.ahead(RANK[lane], counts) + 1);
    if (wait > this.maxWaitMs || this.options.clock.now() + wait + this.tookMs > deadline) {
      this.shed(lane, 'OVERLOADED', 'the service is busy: the request would not be answered in time');
    }
    if (!this.queue.full) return;
    const share = Math.max(1, this.queue.capacity * this.tenantShare);
    if (tenant !== undefined && this.queue.ofTenant(tenant) >= share && this.queue.hasOthers(tenant)) {
      this.shed(lane, 'RATE_LIMITED', 'the tenant has as many requests waiting as it may while others wait');
    }
    const hogging = this.queue.takeNewestOfHog(share, tenant);
    if (hogging) {
      this.reject(hogging, 'RATE_LIMITED', 'the tenant has as many requests waiting as it may while others wait');
      return;
    }
    const lesser = this.queue.takeNewestBelow(RANK[lane]);
    if (!lesser) this.shed(lane, 'OVERLOADED', 'the service is busy: too many requests wait already');
    this.reject(lesser, 'OVERLOADED', 'the service is busy: a more important request took the place in the queue');
  }

  private wait(waiting: Omit<Waiting, 'until'>, signal: AbortSignal | undefined): void {
    if (signal?.aborted) {
      waiting.reject(signal.reason);
      return;
    }
    const entry: Waiting = { ...waiting, until: Math.min(waiting.deadline, this.options.clock.now() + this.maxWaitMs) };
    this.queue.push(entry);
    signal?.addEventListener('abort', () => {
      if (this.queue.remove(entry)) entry.reject(signal.reason);
    }, { once: true });
    if (!this.sweeping) this.sweepLater();
  }

  private sweepLater(): void {
    this.sweeping = true;
    setTimeout(() => {
      this.sweep();
      if (this.queue.size > 0) this.sweepLater();
      else this.sweeping = false;
    }, SWEEP_MS).unref();
  }

  /** Hands free places to those who wait. */
  private dispatch(now: number): void {
    const { limit } = this.vegas;
    const most = this.tenantMost();
    const mayRun = (waiting: Waiting): boolean => waiting.tenant === undefined
      || this.runningOf(waiting.tenant) < most || !this.queue.hasOthers(waiting.tenant);
    // the low lane's turn is a turn of the normal lane's places, or a busy normal lane would starve it
    const forAll = this.ceiling('normal');
    while (this.queue.size > 0 && this.running < limit) {
      const lowest = this.running < forAll ? RANK.low : RANK.high;
      // where all who wait have their share already, a place is better taken than empty
      const next = this.queue.take(lowest, mayRun) ?? this.queue.take(lowest, () => true);
      if (!next) return;
      // one that cannot be answered in time any more must not take the place of one that can
      if (now + this.tookMs > next.deadline || now > next.until) {
        this.reject(next, 'OVERLOADED', 'the service is busy: the request would not be answered in time');
      } else {
        next.resolve(this.admit(next.lane, next.tenant, now));
      }
    }
  }

  /** What one tenant may have running while others wait. */
  private tenantMost(): number {
    return Math.max(1, Math.floor(this.vegas.limit * this.tenantShare));
  }

  private runningOf(tenant: string): number {
    return this.tenants.get(tenant) ?? 0;
  }

  private expectedWait(ahead: number): number {
    return ahead * this.tookMs / Math.max(1, this.vegas.limit);
  }

  private shed(lane: Lane, code: 'OVERLOADED' | 'RATE_LIMITED', text: string): never {
    throw this.refusal(lane, code, text);
  }

  private reject(waiting: Waiting, code: 'OVERLOADED' | 'RATE_LIMITED', text: string): void {
    waiting.reject(this.refusal(waiting.lane, code, text));
  }

  private refusal(lane: Lane, code: 'OVERLOADED' | 'RATE_LIMITED', text: string): BrainError {
    this.options.onShed?.(lane);
    // as long as the queue takes to empty, and a spread, so that those who were shed together do not come back together
    const seconds = 1 + Math.round(this.expectedWait(this.queue.size) / 1000 + this.random());
    return BrainError.withoutStack(code, text, { retry_after_s: Math.min(MAX_RETRY_AFTER_S, seconds) });
  }
}
