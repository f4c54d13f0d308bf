/**
 * How many requests at once the service can work on before they only wait for each other, worked out from their latency.
 *
 * TCP Vegas (Brakmo and Peterson, 1995) as Netflix's concurrency-limits carries it over to services (`VegasLimit`): the requests that queue are
 * estimated as limit × (1 − baseline ÷ latency), and the limit grows below α of them and shrinks above β. Three changes. Where fewer are in flight
 * than may be, their number stands in place of the limit: no more can queue than there are (`VegasLimit` leaves a limit alone of which less than half
 * is used). Latencies are averaged over a window, each kind of request against its own baseline, so that a slow model beside a fast one is no queue.
 * And the baseline is measured anew as BBR does it (Cardwell et al., 2016, ProbeRTT): once it is old, the limit is lowered for a window so that queues
 * drain; taking a loaded latency for the new baseline, as Vegas does, lets the limit creep up without end.
 */

/** What one kind of request takes when nothing queues. */
export class LatencyClass {
  /** Milliseconds; undefined: not measured yet. */
  baseline: number | undefined = undefined;
  /** @internal of the window that runs */
  sum = 0;
  /** @internal */
  count = 0;
}

export interface VegasOptions {
  /** @default 32 */
  readonly initial?: number;
  /** @default 4 */
  readonly min?: number;
  /** @default 1024 */
  readonly max?: number;
  /** A window lasts so long at least, milliseconds. @default 100 */
  readonly windowMs?: number;
  /** A window has so many answers at least: an average over fewer is mostly noise. @default 20 */
  readonly windowCalls?: number;
  /** A baseline is measured anew after so long, milliseconds. @default 30000 */
  readonly baselineMs?: number;
}

/** Requests that may queue before the limit stops growing (α), and from which it shrinks (β): counts, and shares of the limit where that is more. */
const ALPHA = 3;
const ALPHA_SHARE = 0.1;
const BETA = 6;
const BETA_SHARE = 0.2;
/** A window that met an overload elsewhere, e.g. timeouts, shrinks the limit to this share (AIMD, as in Netflix's `AIMDLimit`). */
const BACKOFF = 0.9;
/** Share of a window's requests that must have met one: a single model that fails, or a few callers without patience, are no overload of all. */
const OVERLOADED_SHARE = 0.5;
/** Of the estimated capacity, while a baseline is measured: BBR drains with a quarter less than the pipe holds. */
const DRAIN = 0.75;
/** A window average below the baseline moves it by this share: one lucky window is not the truth. */
const SMOOTHING = 0.3;

export class VegasLimit {
  private readonly min: number;
  private readonly max: number;
  private readonly windowMs: number;
  private readonly windowCalls: number;
  private readonly baselineMs: number;
  private readonly classes = new Set<LatencyClass>();
  private estimate: number;
  private windowStart = -Infinity;
  private calls = 0;
  private mostInFlight = 0;
  private drops = 0;
  private baselineAt = -Infinity;
  /** The lowered limit while a baseline is measured. */
  private drained: number | undefined = undefined;
  /** The requests of the window in which the limit was lowered began before: only the one after it measures. */
  private drainedWindows = 0;
  /** A window is no shorter than a request: its answers would all have begun before it. */
  private windowLength: number;

  constructor(options: VegasOptions = {}) {
    this.min = options.min ?? 4;
    this.max = options.max ?? 1024;
    this.windowMs = options.windowMs ?? 100;
    this.windowCalls = options.windowCalls ?? 20;
    this.baselineMs = options.baselineMs ?? 30_000;
    this.windowLength = this.windowMs;
    this.estimate = Math.min(this.max, Math.max(this.min, options.initial ?? 32));
  }

  /** Requests at once; a whole number. */
  get limit(): number {
    return Math.floor(this.drained ?? this.estimate);
  }

  /** An answer that took `tookMs`, given while `inFlight` requests were worked on, itself included. */
  sample(kind: LatencyClass, now: number, tookMs: number, inFlight: number): void {
    kind.sum += tookMs;
    kind.count++;
    if (kind.count === 1) this.classes.add(kind);
    this.calls++;
    if (inFlight > this.mostInFlight) this.mostInFlight = inFlight;
    if (this.windowStart === -Infinity) this.startWindow(now);
    else if (this.calls >= this.windowCalls && now - this.windowStart >= this.windowLength) this.closeWindow(now);
  }

  /** A request met an overload: it was not answered in time. */
  drop(now: number, inFlight: number): void {
    this.drops++;
    this.calls++;
    if (inFlight > this.mostInFlight) this.mostInFlight = inFlight;
    if (this.windowStart === -Infinity) this.startWindow(now);
    else if (this.calls >= this.windowCalls && now - this.windowStart >= this.windowLength) this.closeWindow(now);
  }

  private startWindow(now: number): void {
    this.windowStart = now;
    if (this.baselineAt === -Infinity) this.baselineAt = now;
    this.calls = 0;
    this.mostInFlight = 0;
    this.drops = 0;
    for (const kind of this.classes) {
      kind.sum = 0;
      kind.count = 0;
    }
    this.classes.clear();
  }

  private closeWindow(now: number): void {
    const slowdown = this.slowdown();
    if (this.drained !== undefined) {
      if (++this.drainedWindows === 2) this.drained = undefined;
      else this.forgetBaselines();
    } else if (this.drops >= OVERLOADED_SHARE * this.calls) {
      this.set(this.estimate * BACKOFF);
    } else if (now - this.baselineAt >= this.baselineMs) {
      this.renewBaselines(now, slowdown);
    } else {
      this.adjust(slowdown);
    }
    this.startWindow(now);
  }

  /** How much longer than their baselines the window's requests took, on average: 1 is no queue. Takes up what the window says about baselines. */
  private slowdown(): number {
    let weighted = 0;
    let total = 0;
    let count = 0;
    for (const kind of this.classes) {
      const average = kind.sum / kind.count;
      if (kind.baseline === undefined) kind.baseline = average;
      else if (average < kind.baseline) kind.baseline += (average - kind.baseline) * SMOOTHING;
      weighted += kind.count * (kind.baseline > 0 ? average / kind.baseline : 1);
      total += kind.sum;
      count += kind.count;
    }
    this.windowLength = Math.max(this.windowMs, count === 0 ? 0 : total / count);
    return count === 0 ? 1 : Math.max(1, weighted / count);
  }

  private adjust(slowdown: number): void {
    const limit = this.estimate;
    // a few that were slow, as on a cold or a busy machine, say little of a limit that is far above them
    const queued = Math.min(limit, this.mostInFlight) * (1 - 1 / slowdown);
    const alpha = Math.max(ALPHA, ALPHA_SHARE * limit);
    const beta = Math.max(BETA, BETA_SHARE * limit);
    const step = Math.max(1, Math.log10(limit));
    // a limit that nobody reaches is not shown to be right, and is not raised
    if (queued < alpha && this.mostInFlight * 2 >= limit) this.set(limit + (queued <= step ? beta : step));
    else if (queued > beta) this.set(limit - Math.max(step, (queued - beta) / 2));
  }

  private renewBaselines(now: number, slowdown: number): void {
    this.baselineAt = now;
    this.forgetBaselines();
    // far below the limit nothing queues: the next window is as good as a drained one
    if (this.mostInFlight * 2 < this.estimate) return;
    this.drained = Math.max(this.min, this.estimate / slowdown * DRAIN);
    this.drainedWindows = 0;
  }

  /** Of the kinds that the window has seen. */
  private forgetBaselines(): void {
    for (const kind of this.classes) kind.baseline = undefined;
  }

  private set(limit: number): void {
    this.estimate = Math.min(this.max, Math.max(this.min, limit));
  }
}
