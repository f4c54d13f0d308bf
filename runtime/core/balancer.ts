/**
 * Client-side load balancing over the pods of one service: own zone first, least outstanding requests, outlier ejection.
 *
 * The names and defaults follow Envoy's outlier detection (envoyproxy.io, "Outlier detection") and locality-aware load balancing.
 */
import type { Clock } from './ports';

/** One pod as the cluster tells of it. */
export interface Endpoint {
  /** `host:port`; an IPv6 host in brackets. */
  readonly address: string;
  /** Topology zone; undefined where the source knows none. */
  readonly zone?: string;
  readonly ready: boolean;
}

/** Where the endpoints of a service come from. */
export interface EndpointSource {
  /** What is known last; empty until something is. It stays while the source itself is away. */
  current(): readonly Endpoint[];
  /** Calls back on each change after this call; the result unsubscribes. */
  onChange(callback: (endpoints: readonly Endpoint[]) => void): () => void;
  close(): Promise<void>;
}

/**
 * How a request ended, as far as the endpoint may be to blame.
 *
 * - `failure`: it did not answer, or could not.
 * - `error`: it answered that the work failed. That counts in rates, but not in a row: one caller's bad input must not eject an endpoint.
 * - `neutral`: says nothing about it, e.g. the caller went away.
 */
export type Outcome = 'success' | 'failure' | 'error' | 'neutral';

export interface BalancerOptions {
  readonly clock: Clock;
  /** From 0 to below 1. */
  readonly random: () => number;
  /** The caller's own zone; undefined: zone-blind. */
  readonly zone?: string;
  /** Failures one after the other that eject. @default 5 */
  readonly consecutiveFailures?: number;
  /** Length of the windows in which failure rates are compared, milliseconds. @default 10000 */
  readonly windowMs?: number;
  /** Requests of a window below which a failure rate says nothing. @default 20 */
  readonly leastRequests?: number;
  /** First ejection, milliseconds; the n-th lasts n times as long. @default 10000 */
  readonly ejectionMs?: number;
  /** Longest ejection, milliseconds. @default 300000 */
  readonly longestEjectionMs?: number;
  /** Largest share of endpoints that is ejected at a time. @default 0.5 */
  readonly mostEjected?: number;
  /** Outstanding requests for each endpoint by which the own zone must be above the others before they get requests. @default 8 */
  readonly spillAbove?: number;
  /** For how long an endpoint that is new or comes back gets a growing share, milliseconds. @default 0, its full share at once */
  readonly slowStartMs?: number;
  readonly onEjected?: (address: string, forMs: number, reason: string) => void;
}

/** Share of failures that makes an outlier, if it is also {@link OUTLIER_FACTOR} times that of the others. */
const OUTLIER_SHARE = 0.2;
const OUTLIER_FACTOR = 3;
/** Failing in a row is not the endpoint's own fault where the others fail at this share. */
const COMMON_FAILURE_SHARE = 0.5;
/** Healthy share of the own zone below which the other zones help. */
const ENOUGH_HEALTHY = 0.5;
/** Own outstanding requests must also be this many times those of the others before they spill. */
const SPILL_FACTOR = 1.5;
/** Share that an endpoint gets at the beginning of its slow start. */
const FIRST_SHARE = 0.1;

/** An endpoint with what this process knows of it. `value` is what requests are sent through. */
export class Peer<T> {
  outstanding = 0;
  ready = true;
  zone: string | undefined;
  consecutive = 0;
  successes = 0;
  failures = 0;
  lastSuccesses = 0;
  lastFailures = 0;
  ejectedUntil = 0;
  ejections = 0;
  slowSince = -Infinity;

  constructor(readonly address: string, readonly value: T) {}
}

export class Balancer<T> {
  private peers: readonly Peer<T>[] = [];
  private windowEnd: number;
  private readonly zone: string | undefined;
  private readonly consecutiveFailures: number;
  private readonly windowMs: number;
  private readonly leastRequests: number;
  private readonly ejectionMs: number;
  private readonly longestEjectionMs: number;
  private readonly mostEjected: number;
  private readonly spillAbove: number;
  private readonly slowStartMs: number;

  constructor(private readonly options: BalancerOptions) {
    this.zone = options.zone;
    this.consecutiveFailures = options.consecutiveFailures ?? 5;
    this.windowMs = options.windowMs ?? 10_000;
    this.leastRequests = options.leastRequests ?? 20;
    this.ejectionMs = options.ejectionMs ?? 10_000;
    this.longestEjectionMs = options.longestEjectionMs ?? 300_000;
    this.mostEjected = options.mostEjected ?? 0.5;
    this.spillAbove = options.spillAbove ?? 8;
    this.slowStartMs = options.slowStartMs ?? 0;
    this.windowEnd = options.clock.now() + this.windowMs;
  }

  /** In no particular order. */
  all(): readonly Peer<T>[] {
    return this.peers;
  }

  /**
   * Takes over what the source says. An endpoint that stays keeps its history. Answers the peers that left: requests that they have may
   * end, and nothing picks them any more.
   */
  update(endpoints: readonly Endpoint[], open: (endpoint: Endpoint) => T): Peer<T>[] {
    const before = new Map(this.peers.map((peer) => [peer.address, peer]));
    // at the start every endpoint is new: none needs to be spared for the others
    const late = before.size > 0;
    const peers = new Map<string, Peer<T>>();
    for (const endpoint of endpoints) {
      if (peers.has(endpoint.address)) continue;
      const known = before.get(endpoint.address);
      const peer = known ?? new Peer(endpoint.address, open(endpoint));
      if (late && (!known || (!known.ready && endpoint.ready))) peer.slowSince = this.options.clock.now();
      peer.zone = endpoint.zone;
      peer.ready = endpoint.ready;
      peers.set(endpoint.address, peer);
      before.delete(endpoint.address);
    }
    this.peers = [...peers.values()];
    return [...before.values()];
  }

  /**
   * The endpoint for the next request; undefined where none is eligible. An ejected one is picked only when no other is left (panic).
   *
   * One pass over all peers: pools are small, and a full scan spreads better than two random choices.
   *
   * @param eligible whether requests can be sent to the peer at all
   * @param avoid the peer that an earlier attempt went to: only if there is no other
   */
  pick(eligible: (peer: Peer<T>) => boolean = ALL, avoid?: Peer<T>): Peer<T> | undefined {
    const now = this.options.clock.now();
    const zone = this.zone;
    let own: Peer<T> | undefined;
    let any: Peer<T> | undefined;
    let slow: Peer<T> | undefined;
    let panic: Peer<T> | undefined;
    let ownTies = 0;
    let anyTies = 0;
    let panicTies = 0;
    let ownKnown = 0;
    let ownHealthy = 0;
    let ownOutstanding = 0;
    let otherHealthy = 0;
    let otherOutstanding = 0;
    let fallback: Peer<T> | undefined;
    for (const peer of this.peers) {
      const here = zone !== undefined && peer.zone === zone;
      if (here) ownKnown++;
      if (!peer.ready || !eligible(peer)) continue;
      if (peer === avoid) {
        fallback = peer;
        continue;
      }
      if (peer.ejectedUntil > now) {
        if (!panic || peer.outstanding < panic.outstanding) {
          panic = peer;
          panicTies = 1;
        } else if (peer.outstanding === panic.outstanding && this.wins(++panicTies)) {panic = peer;}
        continue;
      }
      if (here) {
        ownHealthy++;
        ownOutstanding += peer.outstanding;
      } else {
        otherHealthy++;
        otherOutstanding += peer.outstanding;
      }
      if (this.startsSlowly(peer, now)) {
        slow = peer;
        continue;
      }
      if (!any || peer.outstanding < any.outstanding) {
        any = peer;
        anyTies = 1;
      } else if (peer.outstanding === any.outstanding && this.wins(++anyTies)) {any = peer;}
      if (!here) continue;
      if (!own || peer.outstanding < own.outstanding) {
        own = peer;
        ownTies = 1;
      } else if (peer.outstanding === own.outstanding && this.wins(++ownTies)) {own = peer;}
    }
    if (own && ownHealthy >= ENOUGH_HEALTHY * ownKnown) {
      const ownLoad = ownOutstanding / ownHealthy;
      const otherLoad = otherHealthy > 0 ? otherOutstanding / otherHealthy : Infinity;
      if (ownLoad <= SPILL_FACTOR * otherLoad + this.spillAbove) return own;
    }
    return any ?? slow ?? panic ?? fallback;
  }

  started(peer: Peer<T>): void {
    peer.outstanding++;
  }

  finished(peer: Peer<T>, outcome: Outcome): void {
    peer.outstanding--;
    if (outcome === 'neutral') return;
    const now = this.options.clock.now();
    if (now >= this.windowEnd) this.closeWindow(now);
    if (outcome === 'success') {
      peer.successes++;
      peer.consecutive = 0;
      return;
    }
    peer.failures++;
    if (outcome === 'error') return;
    peer.consecutive++;
    if (peer.consecutive < this.consecutiveFailures || peer.ejectedUntil > now) return;
    if (!this.allOthersFail(peer, now)) this.eject(peer, now, `${peer.consecutive} failures in a row`);
  }

  /** One of `ties` equals is chosen, each with the same probability. */
  private wins(ties: number): boolean {
    return this.options.random() * ties < 1;
  }

  /** Whether a peer in its slow start is passed over this time. */
  private startsSlowly(peer: Peer<T>, now: number): boolean {
    const age = now - Math.max(peer.slowSince, peer.ejectedUntil > 0 ? peer.ejectedUntil : -Infinity);
    if (age >= this.slowStartMs) return false;
    return this.options.random() >= FIRST_SHARE + (1 - FIRST_SHARE) * (age / this.slowStartMs);
  }

  private closeWindow(now: number): void {
    this.windowEnd = now + this.windowMs;
    for (const peer of this.peers) {
      peer.lastSuccesses = peer.successes;
      peer.lastFailures = peer.failures;
      peer.successes = 0;
      peer.failures = 0;
      // what behaved for a whole window is forgiven one ejection
      if (peer.ejectedUntil <= now - this.windowMs && peer.ejections > 0 && peer.lastFailures === 0) peer.ejections--;
    }
    for (const peer of this.peers) {
      const total = peer.lastSuccesses + peer.lastFailures;
      if (total < this.leastRequests || peer.ejectedUntil > now) continue;
      const share = peer.lastFailures / total;
      if (share >= OUTLIER_SHARE && share >= OUTLIER_FACTOR * this.failureShareOfOthers(peer)) {
        this.eject(peer, now, `${Math.round(share * 100)} % of ${total} requests failed`);
      }
    }
  }

  /** Then it is not the endpoint: the model fails, or the network does. What had no request yet is taken to be well. */
  private allOthersFail(peer: Peer<T>, now: number): boolean {
    for (const other of this.peers) {
      if (other === peer || other.ejectedUntil > now) continue;
      const failures = other.failures + other.lastFailures;
      const total = failures + other.successes + other.lastSuccesses;
      if (total === 0 || failures < COMMON_FAILURE_SHARE * total) return false;
    }
    return true;
  }

  /** Over this window and the last one; 0 where the others had no request. */
  private failureShareOfOthers(peer: Peer<T>): number {
    let failures = 0;
    let total = 0;
    for (const other of this.peers) {
      if (other === peer) continue;
      const failed = other.failures + other.lastFailures;
      failures += failed;
      total += failed + other.successes + other.lastSuccesses;
    }
    return total === 0 ? 0 : failures / total;
  }

  private eject(peer: Peer<T>, now: number, reason: string): void {
    if (!this.peers.includes(peer)) return;
    let ejected = 1;
    for (const other of this.peers) if (other.ejectedUntil > now) ejected++;
    if (ejected > this.mostEjected * this.peers.length) return;
    peer.ejections++;
    const forMs = Math.min(this.ejectionMs * peer.ejections, this.longestEjectionMs);
    peer.ejectedUntil = now + forMs;
    // on probation when it comes back: one more failure ejects it again, a success clears it
    peer.consecutive = this.consecutiveFailures - 1;
    this.options.onEjected?.(peer.address, forMs, reason);
  }
}

const ALL = () => true;
