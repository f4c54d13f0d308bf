/** Retries that cannot make an outage worse: a share of the calls pays for them, and they end with the request's time. */
import type { RequestScope } from './deadline';

/**
 * Retries per call, in the long run: a dependency never gets more than 1.1 times the calls that were asked for.
 * Source of the scheme: Finagle's RetryBudget; Google, "Site Reliability Engineering", ch. 21, per-client retry budget of 10 %.
 */
const RETRY_SHARE = 0.1;
/** Saved-up retries, at most: what a burst of failures may spend at once. */
const MAX_TOKENS = 10;

export interface RetryBudgetOptions {
  /** Retries that each call pays for. @default 0.1 */
  readonly share?: number;
  /** @default 10 */
  readonly maxTokens?: number;
  /** Retries that are there before any call has paid. They come on top of the share. @default 0 */
  readonly initialTokens?: number;
}

/** A token bucket that calls fill and retries empty. */
export class RetryBudget {
  private readonly share: number;
  private readonly maxTokens: number;
  private tokens: number;

  constructor(options: RetryBudgetOptions = {}) {
    this.share = options.share ?? RETRY_SHARE;
    this.maxTokens = options.maxTokens ?? MAX_TOKENS;
    this.tokens = options.initialTokens ?? 0;
  }

  /** A call was made; retries are not calls. */
  deposit(): void {
    this.tokens = Math.min(this.maxTokens, this.tokens + this.share);
  }

  /** Whether one more retry may be made; it counts as made. */
  tryWithdraw(): boolean {
    // ten deposits of a tenth are a hair less than one
    if (this.tokens < 1 - 1e-9) return false;
    this.tokens = Math.max(0, this.tokens - 1);
    return true;
  }
}

export interface RetryPolicy {
  readonly budget: RetryBudget;
  /** The first one included. @default 2 */
  readonly maxAttempts?: number;
  /** Upper bound of the first wait, milliseconds; it doubles with each retry. @default 5 */
  readonly baseMs?: number;
  /** Upper bound of every wait, milliseconds. @default 100 */
  readonly maxMs?: number;
  readonly random?: () => number;
  readonly retryable: (error: unknown) => boolean;
  readonly onRetry?: () => void;
}

/**
 * Full jitter: anything between nothing and the exponential bound.
 * Source: AWS Architecture Blog, "Exponential Backoff And Jitter".
 *
 * @param count of the retry, from 1
 */
export function backoffMs(policy: Pick<RetryPolicy, 'baseMs' | 'maxMs' | 'random'>, count: number): number {
  const { baseMs = 5, maxMs = 100, random = Math.random } = policy;
  return random() * Math.min(maxMs, baseMs * 2 ** (count - 1));
}

/** Runs the work until it succeeds, fails for good, or attempts, budget or time are used up; then it fails with the last error. */
export async function retry<T>(policy: RetryPolicy, scope: RequestScope, work: (attempt: number) => Promise<T>): Promise<T> {
  policy.budget.deposit();
  for (let attempt = 1; ; attempt++) {
    try {
      return await work(attempt);
    } catch (error) {
      if (!mayRetry(policy, scope, attempt, error)) throw error;
      const wait = backoffMs(policy, attempt);
      if (wait >= scope.remaining() || !policy.budget.tryWithdraw()) throw error;
      policy.onRetry?.();
      await scope.sleep(wait);
    }
  }
}

function mayRetry(policy: RetryPolicy, scope: RequestScope, attempt: number, error: unknown): boolean {
  return attempt < (policy.maxAttempts ?? 2) && !scope.aborted && policy.retryable(error);
}
