/** What stands between the service and one dependency: time limit, circuit breaker, budgeted retries. */
import { type BreakerOptions, CircuitBreaker, REFUSED } from './circuit-breaker';
import { type CancelListener, RequestScope } from './deadline';
import type { DeadlineTimers } from './deadline-timers';
import { backoffMs, RetryBudget } from './retry-budget';
import { BrainError, type ErrorCode } from '../errors';
import type { CallContext } from '../ports';
import type { Telemetry } from '../telemetry';

export interface GuardOptions {
  /** For telemetry, e.g. `features`. */
  readonly dependency: string;
  /** What the dependency's failures are called; these and only these count against it and are retried. */
  readonly code: ErrorCode;
  /** In messages, e.g. `the feature store`. */
  readonly what: string;
  /** Of one attempt, milliseconds. */
  readonly timeoutMs: number;
  /** A request that ended by its own deadline counts against the dependency if it had waited for so long, milliseconds. @default the breaker's slowMs */
  readonly tellingMs?: number;
  /** The first one included. @default 2 */
  readonly maxAttempts?: number;
  /** Retries per call, in the long run. @default 0.1 */
  readonly retryShare?: number;
  /** Which of the dependency's failures may be tried again. @default all */
  readonly retryable?: (error: BrainError) => boolean;
  readonly breaker?: Omit<BreakerOptions, 'onChange'>;
  readonly timers: DeadlineTimers;
  readonly telemetry: Telemetry;
  readonly random?: () => number;
}

/** An error with these details says that the dependency did not begin the work: asking again repeats nothing. */
export const NOT_PROCESSED = { processed: false } as const;

/** An error with these details comes from an adapter that has tried again by itself, or was out of budget for it. */
export const RETRIED = { retried: true } as const;

export function isNotProcessed(error: BrainError): boolean {
  return error.details.processed === false;
}

export class DependencyGuard {
  private readonly budget: RetryBudget;
  private readonly maxAttempts: number;

  constructor(readonly options: GuardOptions) {
    this.budget = new RetryBudget({ share: options.retryShare });
    this.maxAttempts = options.maxAttempts ?? 2;
  }

  /** A breaker that tells telemetry when it opens and closes: one per part of the dependency that fails by itself. */
  breaker(): CircuitBreaker {
    const { breaker, telemetry, dependency, random } = this.options;
    return new CircuitBreaker({
      random,
      ...breaker,
      onChange: (state) => {
        if (state === 'open') telemetry.count('breaker_opened', dependency);
        else if (state === 'closed') telemetry.count('breaker_closed', dependency);
      },
    });
  }

  /**
   * Fails with the dependency's code where it does not answer in time or its breaker is open, else as the work does.
   *
   * @param share of the time limit that this call has: above 1 where it asks for more than one call usually does. The breaker sees what it took by
   * the same measure, so that a large call is not a slow one.
   */
  call<T>(breaker: CircuitBreaker, context: CallContext | undefined, work: (scope: RequestScope) => Promise<T>, share = 1): Promise<T> {
    this.budget.deposit();
    return new Promise((resolve, reject) => new GuardedCall(this, breaker, context, work, share, resolve, reject).attempt());
  }

  /**
   * For a call that nobody waits for, at the side of the others: it is made once, where the breaker is closed, and has no say in it.
   * Fails as {@link call} does.
   */
  async aside<T>(breaker: CircuitBreaker, context: CallContext, work: (scope: RequestScope) => Promise<T>, share = 1): Promise<T> {
    const { timers, timeoutMs, code, what } = this.options;
    // the probes of a breaker that is half open are for those who are waited for
    if (breaker.state !== 'closed') throw this.refusal(breaker, timers.clock.now());
    const scope = RequestScope.within(timers, context, timeoutMs * share, code, what);
    try {
      return await scope.race(work(scope));
    } catch (error) {
      throw this.isOwnDeadline(error, scope, context) ? scope.late() : error;
    } finally {
      scope.end();
    }
  }

  /** A ticket of the breaker. Fails with the dependency's code where it is open. */
  enter(breaker: CircuitBreaker, now: number): number {
    const ticket = breaker.enter(now);
    if (ticket !== REFUSED) return ticket;
    throw this.refusal(breaker, now);
  }

  private refusal(breaker: CircuitBreaker, now: number): BrainError {
    return BrainError.withoutStack(this.options.code, `${this.options.what} has failed too often of late and is not asked now`, {
      breaker: 'open',
      retry_after_s: Math.max(1, Math.ceil(breaker.retryAfter(now) / 1000)),
    });
  }

  /** What an error says about the dependency. */
  failed(breaker: CircuitBreaker, ticket: number, now: number, tookMs: number, error: unknown): void {
    const code = error instanceof BrainError ? error.code : undefined;
    if (code === this.options.code) {
      breaker.failure(ticket, now);
    } else if (code === undefined || code === 'DEADLINE_EXCEEDED' || code === 'CANCELLED' || code === 'SHUTTING_DOWN') {
      // a caller with little time, or one that went away, says nothing, unless it had waited for long enough to see that the dependency is slow
      if (tookMs >= (this.options.tellingMs ?? breaker.slowMs)) breaker.failure(ticket, now);
      else breaker.neutral(ticket);
    } else {
      // it answered, if only to refuse
      breaker.success(ticket, now, tookMs);
    }
  }

  /** Whether to try again, after a wait: a promise only then. */
  retry(attempt: number, context: CallContext | undefined, error: unknown): Promise<boolean> | false {
    return attempt < this.maxAttempts && this.mayRetry(error) && this.waitForRetry(attempt, context);
  }

  /** An adapter that keeps the deadline by itself cannot know that it was this guard's, and not the request's. */
  isOwnDeadline(error: unknown, scope: RequestScope, context: CallContext | undefined): boolean {
    return error instanceof BrainError && error.code === 'DEADLINE_EXCEEDED' && scope.deadline < (context?.deadline ?? Infinity);
  }

  private mayRetry(error: unknown): boolean {
    if (!(error instanceof BrainError) || error.code !== this.options.code) return false;
    if (error.details.breaker !== undefined || error.details.retried) return false;
    return this.options.retryable === undefined || this.options.retryable(error);
  }

  /** Whether there is time and budget for one more attempt; then the wait before it is over. */
  private async waitForRetry(attempt: number, context: CallContext | undefined): Promise<boolean> {
    const { timers, telemetry, dependency, random } = this.options;
    const wait = backoffMs({ random }, attempt);
    if (timers.clock.now() + wait >= (context?.deadline ?? Infinity) || !this.budget.tryWithdraw()) return false;
    telemetry.count('retry', dependency);
    const scope = RequestScope.within(timers, context, Infinity, 'DEADLINE_EXCEEDED', 'the answer');
    try {
      await scope.sleep(wait);
      return true;
    } finally {
      scope.end();
    }
  }
}

/**
 * One call with its attempts. Written out, for it stands in every request: one promise for the caller, instead of one for the race with
 * the time limit, one for the attempt and one for the retries around it.
 */
class GuardedCall<T> implements CancelListener {
  /** @internal */
  after: CancelListener['after'] = undefined;
  /** @internal */
  before: CancelListener['before'] = undefined;
  private attempts = 0;
  private began = 0;
  private ticket = REFUSED;
  /** Of the attempt under way. */
  private scope: RequestScope | undefined = undefined;

  constructor(
    private readonly guard: DependencyGuard, private readonly breaker: CircuitBreaker, private readonly context: CallContext | undefined,
    private readonly work: (scope: RequestScope) => Promise<T>, private readonly share: number, private readonly resolve: (result: T) => void,
    private readonly reject: (reason: unknown) => void,
  ) {}

  attempt(): void {
    const { guard: { options: { timers, timeoutMs, code, what } } } = this;
    this.attempts++;
    const began = this.began = timers.clock.now();
    try {
      this.ticket = this.guard.enter(this.breaker, began);
    } catch (error) {
      // a refusal says nothing new about the dependency
      this.reject(error);
      return;
    }
    const scope = this.scope = RequestScope.within(timers, this.context, timeoutMs * this.share, code, what);
    // one that has ended already fails the call here
    scope.onCancel(this);
    if (this.scope !== scope) return;
    let work: Promise<T>;
    try {
      work = this.work(scope);
    } catch (error) {
      this.failed(scope, error);
      return;
    }
    work.then((result) => this.succeeded(scope, result), (error: unknown) => this.failed(scope, error));
  }

  /** @internal the attempt's time is up, or its caller is gone */
  cancelled(reason: unknown): void {
    this.failed(this.scope!, reason);
  }

  private succeeded(scope: RequestScope, result: T): void {
    // what comes after the end of its attempt is nobody's
    if (scope !== this.scope) return;
    this.leave(scope);
    const now = this.guard.options.timers.clock.now();
    this.breaker.success(this.ticket, now, (now - this.began) / this.share);
    this.resolve(result);
  }

  private failed(scope: RequestScope, given: unknown): void {
    if (scope !== this.scope) return;
    const error = this.guard.isOwnDeadline(given, scope, this.context) ? scope.late() : given;
    this.leave(scope);
    const now = this.guard.options.timers.clock.now();
    this.guard.failed(this.breaker, this.ticket, now, (now - this.began) / this.share, error);
    const waiting = this.guard.retry(this.attempts, this.context, error);
    if (!waiting) {
      this.reject(error);
      return;
    }
    waiting.then((again) => {
      if (again) this.attempt();
      else this.reject(error);
    }, this.reject);
  }

  private leave(scope: RequestScope): void {
    this.scope = undefined;
    scope.offCancel(this);
    scope.end();
  }
}
