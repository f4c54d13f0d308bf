/**
 * Reads of the online table that share calls: the keys of all requests of one turn of the event loop go out together, each once.
 *
 * Under load this is what makes reads cheap: a call costs as much as the rest of a request. No reader waits for another's deadline or
 * goes with another's cancellation; a call ends early only when all of its readers have gone.
 */
import { setTimeout as wait } from 'node:timers/promises';
import { DynamoDbRefusal, KEYS_PER_CALL, type RowSink } from './batch-get-item';
import { unavailable } from './failures';
import { HttpDeadlineError } from './http-connection';
import { soundRow } from './online-item';
import { BrainError } from '../../core/errors';
import type { CallContext, Clock, FeatureRow } from '../../core/ports';
import { RETRIED } from '../../core/resilience/dependency-guard';
import { MONOTONIC_CLOCK } from '../../core/resilience/monotonic-clock';
import { backoffMs, RetryBudget } from '../../core/resilience/retry-budget';

const UNAVAILABLE = 'FEATURE_STORE_UNAVAILABLE';
/**
 * A few retries are there from the start: DynamoDB leaves keys unprocessed in good times too. The guard before the store has the rest of the tenth
 * that retries may come to (`FEATURE_RETRY_SHARE`).
 */
export const RETRIES = { share: 0.06, initialTokens: 10 };
const BACKOFF = { baseMs: 10, maxMs: 200 };
/** A reader whose deadline is this near to its call's needs no timer of its own, milliseconds. */
const SAME_DEADLINE_MS = 5;

/** Where rows come from: `BatchGetItem.call`, and its `close`. */
export interface RowSource {
  call(keys: readonly string[], sink: RowSink, context?: CallContext): Promise<readonly string[]>;
  close(): void;
}

export interface CoalescedReadsOptions {
  readonly source: RowSource;
  /** Longest time of one read, all attempts together, milliseconds; a caller's deadline may end it before. @default 2000 */
  readonly timeoutMs?: number;
  /** Share it with the source. */
  readonly retries?: RetryBudget;
  /** Told of each call that is sent again. */
  readonly onRetry?: () => void;
  /** That of the callers' deadlines. @default MONOTONIC_CLOCK */
  readonly clock?: Clock;
  /** For the jitter of retries. @default Math.random */
  readonly random?: () => number;
}

export class CoalescedReads {
  private readonly source: RowSource;
  private readonly timeoutMs: number;
  private readonly retries: RetryBudget;
  private readonly clock: Clock;
  private readonly random: () => number;
  private readonly onRetry: (() => void) | undefined;
  /** The calls of this turn, and which one a key stands in. */
  private calls: Call[] = [];
  private byKey = new Map<string, Call>();

  constructor(options: CoalescedReadsOptions) {
    const { source, timeoutMs = 2000, retries = new RetryBudget(RETRIES), clock = MONOTONIC_CLOCK, random = Math.random } = options;
    this.source = source;
    this.timeoutMs = timeoutMs;
    this.retries = retries;
    this.clock = clock;
    this.random = random;
    this.onRetry = options.onRetry;
  }

  /**
   * One row for each key, in their order; undefined where the table has none.
   *
   * Fails with FEATURE_STORE_UNAVAILABLE, with INVALID_FEATURE_ROW where one of its own rows is none, with DEADLINE_EXCEEDED at the
   * caller's deadline, or with the reason of the caller's signal.
   */
  read(keys: readonly string[], context?: CallContext): Promise<(FeatureRow | undefined)[]> {
    if (context?.signal?.aborted) return Promise.reject(context.signal.reason as Error);
    if (keys.length === 0) return Promise.resolve([]);
    return new Promise((resolve, reject) => {
      const reader = new Reader(keys, context, resolve, reject);
      for (const key of keys) reader.awaits(this.place(key));
    });
  }

  close(): void {
    this.source.close();
  }

  private place(key: string): Call {
    let call = this.byKey.get(key);
    if (call) return call;
    call = this.calls[this.calls.length - 1];
    if (!call || call.keys.length === KEYS_PER_CALL) {
      if (!call) setImmediate(() => this.sendAll());
      this.calls.push(call = new Call());
    }
    call.add(key);
    this.byKey.set(key, call);
    return call;
  }

  private sendAll(): void {
    const { calls } = this;
    this.calls = [];
    this.byKey = new Map();
    for (const call of calls) if (call.readers.size > 0) void this.send(call);
  }

  /** Never fails: what went wrong is told to the call's readers. */
  private async send(call: Call): Promise<void> {
    const now = this.clock.now();
    const context: CallContext = { signal: call.abandoned.signal, deadline: Math.min(now + this.timeoutMs, call.lastDeadline()) };
    for (const reader of call.readers) reader.bound(context.deadline!, now);
    try {
      await this.attempt(call, context);
      call.end();
    } catch (error) {
      call.end((reader) => this.failure(error, reader));
    }
  }

  private async attempt(call: Call, context: CallContext): Promise<void> {
    let pending: readonly string[] = call.keys;
    let refusal: DynamoDbRefusal | undefined;
    this.retries.deposit();
    for (let attempt = 0; ; attempt++) {
      try {
        pending = await this.source.call(pending, call, context);
        refusal = undefined;
      } catch (error) {
        // why it was sent again says more than that the time for it was short
        if (refusal && error instanceof HttpDeadlineError) throw new HttpDeadlineError(error.message, { cause: refusal });
        if (!(error instanceof DynamoDbRefusal && error.retryable)) throw error;
        refusal = error;
      }
      if (refusal === undefined && pending.length === 0) return;
      // full jitter, at least a millisecond
      const backoff = 1 + backoffMs({ ...BACKOFF, random: this.random }, attempt + 1);
      if (this.clock.now() + backoff >= context.deadline! || !this.retries.tryWithdraw()) {
        if (refusal) throw new BrainError(UNAVAILABLE, `the feature store does not answer (${refusal.name})`, RETRIED, { cause: refusal });
        return call.leave(pending, new BrainError(UNAVAILABLE, `the feature store left ${pending.length} of ${call.keys.length} keys unprocessed`, RETRIED));
      }
      this.onRetry?.();
      await wait(backoff, undefined, { signal: context.signal });
    }
  }

  private failure(error: unknown, reader: Reader): unknown {
    if (!(error instanceof HttpDeadlineError)) return unavailable(UNAVAILABLE, 'the feature store', error);
    const refused = error.cause instanceof DynamoDbRefusal ? ` (${error.cause.name} before)` : '';
    return reader.late(this.clock.now()) ?? new BrainError(UNAVAILABLE, `the feature store did not answer within ${this.timeoutMs} ms${refused}`, {}, { cause: error });
  }
}

/** One call, from its first key to its last retry. */
class Call implements RowSink {
  readonly keys: string[] = [];
  readonly places = new Map<string, number>();
  readonly rows: (FeatureRow | BrainError | undefined)[] = [];
  readonly readers = new Set<Reader>();
  /** Aborts when the last reader has gone. */
  readonly abandoned = new AbortController();

  add(key: string): void {
    this.places.set(key, this.keys.length);
    this.keys.push(key);
    this.rows.push(undefined);
  }

  lastDeadline(): number {
    let last = -Infinity;
    for (const { deadline } of this.readers) last = Math.max(last, deadline);
    return last;
  }

  /** Gives up on some of the keys: the readers of others have their rows. */
  leave(keys: readonly string[], error: BrainError): void {
    for (const key of keys) this.rows[this.places.get(key)!] = error;
  }

  end(failure?: (reader: Reader) => unknown): void {
    for (const reader of this.readers) {
      if (failure) reader.fail(failure(reader));
      else reader.arrived();
    }
  }

  forget(reader: Reader): void {
    this.readers.delete(reader);
    if (this.readers.size === 0) this.abandoned.abort();
  }
}

/** One caller, who waits for one call or more. It is the listener of its caller's signal. */
class Reader {
  readonly deadline: number;
  /** For each key. */
  private readonly calls: Call[] = [];
  private pending = 0;
  private timer: NodeJS.Timeout | undefined;
  private settled = false;

  constructor(
    private readonly keys: readonly string[],
    private readonly context: CallContext | undefined,
    private readonly resolve: (rows: (FeatureRow | undefined)[]) => void,
    private readonly reject: (error: unknown) => void,
  ) {
    this.deadline = context?.deadline ?? Infinity;
    context?.signal?.addEventListener('abort', this, { once: true });
  }

  awaits(call: Call): void {
    this.calls.push(call);
    if (call.readers.has(this)) return;
    call.readers.add(this);
    this.pending++;
  }

  /** A call goes out, and ends at `deadline` at the latest. */
  bound(deadline: number, now: number): void {
    if (this.timer !== undefined || this.deadline >= deadline - SAME_DEADLINE_MS) return;
    this.timer = setTimeout(tooLate, Math.max(0, this.deadline - now), this);
  }

  /** The error of a caller whose deadline has passed. Timers may fire a moment before their time. */
  late(now: number): BrainError | undefined {
    if (now + SAME_DEADLINE_MS < this.deadline) return undefined;
    return new BrainError('DEADLINE_EXCEEDED', "the feature store did not answer within the request's deadline");
  }

  arrived(): void {
    if (--this.pending > 0 || this.settled) return;
    try {
      const rows = this.keys.map((key, at) => soundRow(this.calls[at].rows[this.calls[at].places.get(key)!]));
      this.settle();
      this.resolve(rows);
    } catch (error) {
      this.fail(error);
    }
  }

  /** The signal aborted. */
  handleEvent(): void {
    this.fail(this.context!.signal!.reason);
  }

  fail(error: unknown): void {
    if (this.settled) return;
    this.settle();
    for (const call of this.calls) call.forget(this);
    this.reject(error);
  }

  private settle(): void {
    this.settled = true;
    clearTimeout(this.timer);
    this.context?.signal?.removeEventListener('abort', this);
  }
}

const tooLate = (reader: Reader) => reader.fail(reader.late(Infinity));
