/** Reads of the store that several requests wait for, each with its own deadline and its own right to leave. */
import { BrainError } from './errors';
import { type CacheEntry, later } from './feature-cache-entry';
import type { CallContext, FeatureRequest, FeatureRow, OnlineFeatureStore } from './ports';
import { RequestScope } from './resilience/deadline';

export interface FlightOwner {
  /** The store gave `row` for an entry, to a read that began at `startedAt`. What those who wait are given comes back. */
  landed(entry: CacheEntry, row: FeatureRow | undefined, startedAt: number): FeatureRow | undefined;
  /** The read failed, or nobody waits for it any more: that is nothing to remember. */
  lost(entry: CacheEntry): void;
}

/** One read of the store. It goes on until it ends or the last one who waits has left. */
export class Flight {
  readonly waiters = new Set<FlightWaiter>();
  /** Who began it: the errors of its rows are this one's own. */
  pilot: FlightWaiter | undefined;
  private readonly entries: CacheEntry[] = [];
  private readonly requests: FeatureRequest[] = [];
  private readonly abandoned = new AbortController();
  private over = false;

  constructor(private readonly owner: FlightOwner, private readonly startedAt: number) {}

  add(entry: CacheEntry, request: FeatureRequest): void {
    entry.flight = this;
    entry.place = this.entries.push(entry) - 1;
    this.requests.push(request);
  }

  /** No deadline goes along: each one who waits has its own, and the store has its bounds. */
  start(store: OnlineFeatureStore, pilot: FlightWaiter): void {
    this.pilot = pilot;
    reading(store, this.requests, { signal: this.abandoned.signal }).then((rows) => this.land(rows), (error: unknown) => this.crash(error));
  }

  leave(waiter: FlightWaiter): void {
    this.waiters.delete(waiter);
    if (this.waiters.size > 0 || this.over) return;
    this.lose();
    this.abandoned.abort(new BrainError('CANCELLED', 'nobody waits for these features any more'));
  }

  private land(rows: readonly (FeatureRow | undefined)[]): void {
    if (this.over) return;
    this.over = true;
    const given = this.entries.map((entry, at) => this.owner.landed(entry, rows[at], this.startedAt));
    for (const waiter of this.waiters) waiter.landed(this, given);
  }

  private crash(error: unknown): void {
    if (this.over) return;
    this.lose();
    for (const waiter of this.waiters) waiter.crashed(this, error);
  }

  private lose(): void {
    this.over = true;
    for (const entry of this.entries) this.owner.lost(entry);
  }
}

/** One request that waits for one flight or more. It is the listener of its own signal. */
export class FlightWaiter {
  private readonly entries: CacheEntry[] = [];
  /** For each entry; undefined where its row was there. */
  private readonly flights: (Flight | undefined)[] = [];
  private readonly places: number[] = [];
  private readonly rows: (FeatureRow | undefined)[] = [];
  private pending = 0;
  private timer: NodeJS.Timeout | undefined;
  private settled = false;

  constructor(
    private readonly store: OnlineFeatureStore,
    private readonly requests: readonly FeatureRequest[],
    private readonly context: CallContext | undefined,
    private readonly resolve: (rows: (FeatureRow | undefined)[]) => void,
    private readonly reject: (error: unknown) => void,
  ) {}

  has(entry: CacheEntry): void {
    this.push(entry, undefined, entry.row);
  }

  joins(entry: CacheEntry, flight: Flight): void {
    this.push(entry, flight, undefined);
    if (flight.waiters.has(this)) return;
    flight.waiters.add(this);
    this.pending++;
  }

  bound(now: number): void {
    const { context } = this;
    context?.signal?.addEventListener('abort', this, { once: true });
    if (context?.deadline === undefined) return;
    // a scope goes by a clock of its own
    const left = context instanceof RequestScope ? context.remaining() : context.deadline - now;
    this.timer = setTimeout(tooLate, Math.max(0, left), this);
  }

  landed(flight: Flight, given: readonly (FeatureRow | undefined)[]): void {
    for (let at = 0; at < this.rows.length; at++) if (this.flights[at] === flight) this.rows[at] = given[this.places[at]];
    this.arrived();
  }

  /** The spoilt row that another request asked for is no error of this one. */
  crashed(flight: Flight, error: unknown): void {
    if (this.settled) return;
    if (flight.pilot === this || !(error instanceof BrainError && error.code === 'INVALID_FEATURE_ROW')) return this.fail(error);
    const places = this.rows.map((_, at) => at).filter((at) => this.flights[at] === flight);
    this.store.read(places.map((at) => this.requests[at]), this.context).then((rows) => {
      rows.forEach((row, at) => {
        this.rows[places[at]] = row;
      });
      this.arrived();
    }, (own: unknown) => this.fail(own));
  }

  /** The signal aborted. */
  handleEvent(): void {
    this.fail(this.context!.signal!.reason);
  }

  fail(error: unknown): void {
    if (this.settled) return;
    this.settle();
    for (const flight of this.flights) flight?.leave(this);
    this.reject(error);
  }

  private push(entry: CacheEntry, flight: Flight | undefined, row: FeatureRow | undefined): void {
    this.entries.push(entry);
    this.flights.push(flight);
    this.places.push(entry.place);
    this.rows.push(row);
  }

  private arrived(): void {
    if (--this.pending > 0 || this.settled) return;
    this.settle();
    // while this one waited, others may have been given later rows
    this.resolve(this.rows.map((row, at) => {
      const entry = this.entries[at];
      return entry.held && entry.row !== undefined && row !== undefined && later(entry.row, row) ? entry.row : row;
    }));
  }

  private settle(): void {
    this.settled = true;
    clearTimeout(this.timer);
    this.context?.signal?.removeEventListener('abort', this);
  }
}

const tooLate = (waiter: FlightWaiter) => waiter.fail(new BrainError('DEADLINE_EXCEEDED', "the features were not there within the request's deadline"));

/** A store that fails at once fails as one that fails later. */
async function reading(store: OnlineFeatureStore, requests: readonly FeatureRequest[], context: CallContext): Promise<(FeatureRow | undefined)[]> {
  return store.read(requests, context);
}
