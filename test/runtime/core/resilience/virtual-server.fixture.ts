/** A server of fixed capacity behind a concurrency limit, in virtual time: an event queue, no timers. */
import { ConcurrencyLimit, type ConcurrencyLimitOptions, type Lane, type Permit } from '../../../../runtime/core/resilience/concurrency-limit';

export interface Load {
  readonly lane: Lane;
  readonly tenant?: string;
  /** Requests per second; evenly spread with a jitter. */
  readonly rate: number;
  readonly timeoutMs: number;
}

export interface Tally {
  offered: number;
  served: number;
  /** Served within their deadline. */
  inTime: number;
  shed: number;
  codes: Record<string, number>;
}

/** The same numbers in every run (Park and Miller). */
export function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = state * 48271 % 2147483647;
    return state / 2147483647;
  };
}

interface Event {
  readonly at: number;
  readonly run: () => void;
}

/** `workers` requests are worked on at once, `serviceMs` each with a spread; others wait in the server's own queue, unseen by the limit. */
export class VirtualServer {
  now = 1_000_000;
  serviceMs: number;
  readonly limit: ConcurrencyLimit;
  private readonly random = seeded(42);
  private readonly events: Event[] = [];
  private readonly backlog: (() => void)[] = [];
  private busy = 0;

  constructor(private readonly workers: number, serviceMs: number, options: Omit<ConcurrencyLimitOptions, 'clock' | 'random'> = {}) {
    this.serviceMs = serviceMs;
    this.limit = new ConcurrencyLimit({ ...options, clock: { now: () => this.now }, random: seeded(7) });
  }

  /** Offers the loads for so long and counts what becomes of what arrived then. */
  async offer(loads: readonly Load[], forMs: number): Promise<Tally[]> {
    const until = this.now + forMs;
    const tallies = loads.map((): Tally => ({ offered: 0, served: 0, inTime: 0, shed: 0, codes: {} }));
    loads.forEach((load, index) => this.arrive(load, tallies[index]!, until));
    for (let at = this.now; at < until; at += 10) this.at(at, () => this.limit.sweep());
    await this.runUntil(until);
    return tallies;
  }

  private arrive(load: Load, tally: Tally, until: number): void {
    const next = this.now + 1000 / load.rate * (0.5 + this.random());
    if (next > until) return;
    this.at(next, () => {
      tally.offered++;
      const deadline = this.now + load.timeoutMs;
      this.limit.acquire(load.lane, deadline, load.tenant).then((permit) => this.work(permit, deadline, tally), (error: { code: string }) => {
        tally.shed++;
        tally.codes[error.code] = (tally.codes[error.code] ?? 0) + 1;
      });
      this.arrive(load, tally, until);
    });
  }

  private work(permit: Permit, deadline: number, tally: Tally): void {
    const start = (): void => {
      this.busy++;
      this.at(this.now + this.serviceMs * (0.5 + this.random()), () => {
        this.busy--;
        tally.served++;
        if (this.now <= deadline) tally.inTime++;
        this.limit.release(permit);
        this.backlog.shift()?.();
      });
    };
    if (this.busy < this.workers) start();
    else this.backlog.push(start);
  }

  private at(at: number, run: () => void): void {
    let low = 0;
    let high = this.events.length;
    while (low < high) {
      const middle = Math.floor((low + high) / 2);
      if (this.events[middle]!.at <= at) low = middle + 1;
      else high = middle;
    }
    this.events.splice(low, 0, { at, run });
  }

  private async runUntil(until: number): Promise<void> {
    while (this.events.length > 0 && this.events[0]!.at <= until) {
      const event = this.events.shift()!;
      this.now = event.at;
      event.run();
      // permits and refusals arrive as promises
      await Promise.resolve();
      await Promise.resolve();
    }
    this.now = until;
  }
}
