/** What autoscaling reads: numbers over the last seconds, of the service and of each pool of the runtime. */
import { Histogram } from './histogram';
import { RUNTIME_POOLS, type RuntimePool, SCALING_WINDOW_SECONDS } from '../../src/contract';
import type { Arm } from '../core/telemetry';

/** Versions that are tried out run in a pool of their own. */
export const poolOf = (arm: Arm): RuntimePool => (arm === 'candidate' || arm === 'shadow' ? 'candidate' : 'stable');

export interface DemandNumbers {
  /** 95th percentile; 0 where there was none: a trigger needs a number. */
  readonly latencyP95Ms: number;
  /** Per second. */
  readonly qps: number;
  /** Under way, the mean over the window; of what has no end yet too. */
  readonly concurrency: number;
  /** Under way right now. */
  readonly inFlight: number;
}

export interface ScalingReport extends DemandNumbers {
  /** Requests that wait for their turn, right now. */
  readonly queued: number;
  /** Models that have a candidate. */
  readonly candidates: number;
  /** Calls of the runtime, and those that it could not be asked for because the pool has no such version. */
  readonly pools: Readonly<Record<RuntimePool, DemandNumbers>>;
}

/** Slots of this many milliseconds are forgotten one by one. */
const SLOT_MS = 5000;
const WINDOW_MS = SCALING_WINDOW_SECONDS * 1000;
/** A rate over less time says too little. */
const LEAST_MS = 1000;

/**
 * The number under way at each moment, added up: between two times the difference of {@link area} is the integral of that number, whether what is under way
 * has ended or hangs.
 */
class UnderWay {
  count = 0;
  private began = 0;
  private done = 0;

  begins(at: number): void {
    this.count++;
    this.began += at;
  }

  ends(begunAt: number, at: number): void {
    this.count--;
    this.began = this.count === 0 ? 0 : this.began - begunAt;
    this.done += at - begunAt;
  }

  area(at: number): number {
    return this.done + this.count * at - this.began;
  }
}

interface Slot {
  readonly latency: Histogram;
  unmet: number;
  /** Of what was under way, at the slot's first moment. */
  readonly area: number;
}

/** One kind of work: slots of its latencies, and of the others that were asked for. */
class Demand {
  readonly underWay = new UnderWay();
  private slots: Slot[] = [];
  private current: Slot;

  constructor(at: number) {
    this.current = this.turn(at);
  }

  /** A slot begins. @param at its first moment */
  turn(at: number): Slot {
    this.current = { latency: new Histogram(), unmet: 0, area: this.underWay.area(at) };
    this.slots.push(this.current);
    return this.current;
  }

  /** Slots that lie before the window go. */
  keep(most: number): void {
    if (this.slots.length > most) this.slots = this.slots.slice(-most);
  }

  record(latencyMs: number): void {
    this.current.latency.record(latencyMs);
  }

  unmet(): void {
    this.current.unmet++;
  }

  numbers(at: number, windowMs: number): DemandNumbers {
    const all = new Histogram();
    let count = 0;
    for (const { latency, unmet } of this.slots) {
      all.add(latency);
      count += unmet;
    }
    return {
      latencyP95Ms: all.count === 0 ? 0 : round(all.quantile(0.95)),
      qps: round((all.count + count) / windowMs * 1000),
      concurrency: round(Math.max(0, this.underWay.area(at) - this.slots[0].area) / windowMs),
      inFlight: this.underWay.count,
    };
  }
}

/** Cheap to write: a few additions and a histogram entry per request, and per call. */
export class ScalingWindow {
  private readonly requests: Demand;
  private readonly pools: Readonly<Record<RuntimePool, Demand>>;
  /** First moment of each slot that is kept. */
  private starts: number[];
  private endsAt: number;

  constructor(private readonly now: () => number) {
    const at = now();
    this.requests = new Demand(at);
    this.pools = { stable: new Demand(at), candidate: new Demand(at) };
    this.starts = [at];
    this.endsAt = at + SLOT_MS;
  }

  requestBegins(at: number): void {
    if (at >= this.endsAt) this.advance(at);
    this.requests.underWay.begins(at);
  }

  /**
   * @param at        `now()` when the request ended
   * @param latencyMs undefined: it asked for nothing that counts
   */
  requestEnds(begunAt: number, at: number, latencyMs: number | undefined): void {
    if (at >= this.endsAt) this.advance(at);
    this.requests.underWay.ends(begunAt, at);
    if (latencyMs !== undefined) this.requests.record(latencyMs);
  }

  /** A request that was turned away for want of room is demand all the same. */
  requestShed(): void {
    this.requests.unmet();
  }

  callBegins(pool: RuntimePool, at: number): void {
    if (at >= this.endsAt) this.advance(at);
    this.pools[pool].underWay.begins(at);
  }

  callEnds(pool: RuntimePool, begunAt: number, at: number): void {
    if (at >= this.endsAt) this.advance(at);
    this.pools[pool].underWay.ends(begunAt, at);
    this.pools[pool].record(at - begunAt);
  }

  /** The pool has not what it would be called for: a pool without any pod is brought back by this. */
  callUnmet(pool: RuntimePool): void {
    const at = this.now();
    if (at >= this.endsAt) this.advance(at);
    this.pools[pool].unmet();
  }

  report(queued: number, candidates: number): ScalingReport {
    const at = this.now();
    this.advance(at);
    const windowMs = Math.max(LEAST_MS, at - this.starts[0]);
    const { stable, candidate } = this.pools;
    return {
      ...this.requests.numbers(at, windowMs),
      queued,
      candidates,
      pools: { stable: stable.numbers(at, windowMs), candidate: candidate.numbers(at, windowMs) },
    };
  }

  /** Begins the slots up to `at`, those of a pause too: nothing changed in it, and so each begins with what was under way all along. */
  private advance(at: number): void {
    // after a long pause only those that the window still sees
    const skipped = Math.floor((at - this.endsAt - WINDOW_MS) / SLOT_MS);
    if (skipped > 0) this.endsAt += skipped * SLOT_MS;
    while (at >= this.endsAt) {
      for (const demand of this.all()) demand.turn(this.endsAt);
      this.starts.push(this.endsAt);
      this.endsAt += SLOT_MS;
    }
    this.starts = this.starts.filter((start) => start >= at - WINDOW_MS);
    for (const demand of this.all()) demand.keep(this.starts.length);
  }

  private all(): Demand[] {
    return [this.requests, ...RUNTIME_POOLS.map((pool) => this.pools[pool])];
  }
}

const round = (value: number): number => Number(value.toPrecision(6));
