/**
 * Stops asking a dependency that fails, so that its callers fail fast and it can recover.
 * Source of the states: M. Nygard, "Release It!", 2nd ed., 5.2 "Circuit Breaker"; of the sliding window with rate and volume: Hystrix and resilience4j.
 */

export const BREAKER_STATES = ['closed', 'open', 'half-open'] as const;
export type BreakerState = typeof BREAKER_STATES[number];

export interface BreakerOptions {
  /** How far back failures count, milliseconds. @default 10000 */
  readonly windowMs?: number;
  /** Below so many calls in the window the breaker never opens. @default 20 */
  readonly minimumCalls?: number;
  /** Opens at this share of failures, 0 to 1. @default 0.5 */
  readonly failureRate?: number;
  /** A call of so many milliseconds or more counts as a failure, whatever came of it. @default Infinity */
  readonly slowMs?: number;
  /** How long it stays open the first time, milliseconds. @default 1000 */
  readonly openMs?: number;
  /** Each time a probe fails it stays open twice as long, up to so many milliseconds. @default 30000 */
  readonly maxOpenMs?: number;
  /** Calls let through at once while half open. @default 2 */
  readonly probes?: number;
  /** Successes in a row, while half open, that close it. @default 3 */
  readonly successesToClose?: number;
  /** Up to a fifth is added to each open time, so that the breakers of many processes do not probe together. @default Math.random */
  readonly random?: () => number;
  readonly onChange?: (state: BreakerState) => void;
}

/** The window moves on in steps of a tenth. */
const BUCKETS = 10;
const JITTER = 0.2;
/** What `enter` answers where the call must not be made. */
export const REFUSED = -1;

export class CircuitBreaker {
  readonly slowMs: number;
  private readonly bucketMs: number;
  private readonly successes = new Array<number>(BUCKETS).fill(0);
  private readonly failures = new Array<number>(BUCKETS).fill(0);
  private readonly minimumCalls: number;
  private readonly failureRate: number;
  private readonly openMs: number;
  private readonly maxOpenMs: number;
  private readonly probes: number;
  private readonly successesToClose: number;
  private readonly random: () => number;
  private current: BreakerState = 'closed';
  /** Changes with each state, so that a call that began in another one does not count in this one. */
  private generation = 0;
  private bucketNumber = -Infinity;
  private bucket = 0;
  private openUntil = 0;
  private openedInARow = 0;
  private probing = 0;
  private probeSuccesses = 0;

  constructor(private readonly options: BreakerOptions = {}) {
    this.bucketMs = (options.windowMs ?? 10_000) / BUCKETS;
    this.minimumCalls = options.minimumCalls ?? 20;
    this.failureRate = options.failureRate ?? 0.5;
    this.slowMs = options.slowMs ?? Infinity;
    this.openMs = options.openMs ?? 1000;
    this.maxOpenMs = options.maxOpenMs ?? 30_000;
    this.probes = options.probes ?? 2;
    this.successesToClose = options.successesToClose ?? 3;
    this.random = options.random ?? Math.random;
  }

  /** As of the last call: an open breaker becomes half open only when somebody asks. */
  get state(): BreakerState {
    return this.current;
  }

  /** Milliseconds until an open breaker lets a probe through; 0 where it is not open. */
  retryAfter(now: number): number {
    return this.current === 'open' ? Math.max(0, this.openUntil - now) : 0;
  }

  /** Before a call: a ticket to hand in with its end, or REFUSED. */
  enter(now: number): number {
    if (this.current === 'closed') return this.generation;
    if (this.current === 'open') {
      if (now < this.openUntil) return REFUSED;
      this.change('half-open');
    }
    if (this.probing >= this.probes) return REFUSED;
    this.probing++;
    return this.generation;
  }

  /** The dependency answered, after `tookMs`. */
  success(ticket: number, now: number, tookMs: number): void {
    if (tookMs >= this.slowMs) {
      this.failure(ticket, now);
      return;
    }
    if (ticket !== this.generation) return;
    if (this.current === 'closed') {
      this.advance(now);
      this.successes[this.bucket]++;
    } else {
      this.probing--;
      if (++this.probeSuccesses >= this.successesToClose) this.close();
    }
  }

  /** The dependency did not answer, or too late. */
  failure(ticket: number, now: number): void {
    if (ticket !== this.generation) return;
    if (this.current === 'closed') {
      this.advance(now);
      this.failures[this.bucket]++;
      if (this.tripped()) this.open(now);
    } else {
      this.open(now);
    }
  }

  /** The call ended in a way that says nothing about the dependency, e.g. its caller went away. */
  neutral(ticket: number): void {
    if (ticket === this.generation && this.current === 'half-open') this.probing--;
  }

  private tripped(): boolean {
    let failed = 0;
    let calls = 0;
    for (let at = 0; at < BUCKETS; at++) {
      failed += this.failures[at];
      calls += this.failures[at] + this.successes[at];
    }
    return calls >= this.minimumCalls && failed >= this.failureRate * calls;
  }

  private open(now: number): void {
    const time = Math.min(this.maxOpenMs, this.openMs * 2 ** this.openedInARow);
    this.openedInARow++;
    this.openUntil = now + time * (1 + JITTER * this.random());
    this.change('open');
  }

  private close(): void {
    this.openedInARow = 0;
    this.successes.fill(0);
    this.failures.fill(0);
    this.change('closed');
  }

  private change(state: BreakerState): void {
    this.current = state;
    this.generation++;
    this.probing = 0;
    this.probeSuccesses = 0;
    this.options.onChange?.(state);
  }

  /** Moves the window on to `now` and forgets what has left it. */
  private advance(now: number): void {
    const number = Math.floor(now / this.bucketMs);
    if (number <= this.bucketNumber) return;
    const steps = Math.min(BUCKETS, number - this.bucketNumber);
    for (let step = 0; step < steps; step++) {
      this.bucket = (this.bucket + 1) % BUCKETS;
      this.successes[this.bucket] = 0;
      this.failures[this.bucket] = 0;
    }
    this.bucketNumber = number;
  }
}
