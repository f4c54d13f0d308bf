/** Work that a request can do without: when its dependency is away, or too slow, a declared stand-in takes its place. */
import { BrainError, type ErrorCode } from './errors';
import type { CallContext } from './ports';
import { RequestScope } from './resilience/deadline';

/** Share of the time left that such work may take. The rest is the model's: an answer with a stand-in is still one in time. */
const SHARE = 0.6;

export interface Dependency {
  /** What its absence is called. */
  readonly code: ErrorCode;
  /** In messages, e.g. `the feature store`. */
  readonly what: string;
}

/**
 * What the work answers; undefined where its dependency is away or too slow to leave the model its time. Whatever else goes wrong is an
 * error as ever: wrong data are wrong whether or not the store is there, and a caller that is gone needs no stand-in.
 *
 * @param now milliseconds since the epoch
 */
export async function unlessAway<T>(
  { code, what }: Dependency, context: CallContext | undefined, now: number, work: (context: CallContext | undefined) => Promise<T>,
): Promise<T | undefined> {
  try {
    if (context instanceof RequestScope) return await workInScope(context.child(context.remaining() * SHARE, code, what), work);
    return await work(context?.deadline === undefined ? context : new Shortened(context, now));
  } catch (error) {
    const ended = context instanceof RequestScope ? context.aborted : context?.signal?.aborted;
    if (ended || !(error instanceof BrainError && (error.code === code || error.code === 'DEADLINE_EXCEEDED'))) throw error;
    return undefined;
  }
}

/** Ends in time even where the dependency does not keep its deadline. */
async function workInScope<T>(scope: RequestScope, work: (context: CallContext) => Promise<T>): Promise<T> {
  try {
    return await scope.race(work(scope));
  } finally {
    scope.end();
  }
}

/** The context with less time. A signal is made only where it is read. */
class Shortened implements CallContext {
  readonly deadline: number;

  constructor(private readonly context: CallContext, now: number) {
    this.deadline = now + (context.deadline! - now) * SHARE;
  }

  get signal(): AbortSignal | undefined {
    return this.context.signal;
  }

  get traceparent(): string | undefined {
    return this.context.traceparent;
  }

  get mirrored(): boolean | undefined {
    return this.context.mirrored;
  }
}
