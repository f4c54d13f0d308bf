/** The ports behind guards: the same interfaces, but a dependency that is slow or away costs a bounded time, and then none. */
import type { BreakerOptions, CircuitBreaker } from './circuit-breaker';
import { RequestScope } from './deadline';
import type { DeadlineTimers } from './deadline-timers';
import { DependencyGuard, type GuardOptions, isNotProcessed } from './dependency-guard';
import type { ModelManifest } from '../../../src/contract';
import type { ErrorCode } from '../errors';
import type {
  CallContext, FeatureRequest, FeatureRow, FeatureWrite, ManifestSource, ModelRef, ModelRuntime, OnlineFeatureStore, VectorHits, VectorQuery,
  VectorSearch,
} from '../ports';
import type { Telemetry } from '../telemetry';
import type { Tensor } from '../tensors';
import { chunkEnd } from '../vector-queries';

/** A key-value read takes single-digit milliseconds (DynamoDB's p99 is below 10 ms): ten times that is an outage, and leaves time for a second try. */
export const FEATURE_TIMEOUT_MS = 100;
/** Rows that are read within {@link FEATURE_TIMEOUT_MS}: what DynamoDB gives in one call. */
const FEATURE_ROWS = 100;
/**
 * Each further {@link FEATURE_ROWS} rows add so much of the time limit. They are asked for at the same time; to read 100 rows of an answer takes this
 * process about 1 ms, and ten times that again is too long.
 */
const MORE_ROWS_SHARE = 0.1;
/** Of one call with up to 32 searches. An approximate search in memory takes 5 to 50 ms at p99; a segment that is read from disk takes longer. */
export const VECTOR_TIMEOUT_MS = 250;
/** Longer than any request of a synchronous API may take (29 s at API Gateway): the request's own deadline is the limit in practice. */
export const RUNTIME_TIMEOUT_MS = 30_000;
/**
 * A request that waited for the model for so long and got no answer counts against the runtime; a caller with less time says nothing. Where requests
 * may take no longer than twice that, half of their time is telling.
 */
export const RUNTIME_TELLING_MS = 1000;
/** A manifest is a small object; it is read when a version is taken up, not while a request waits for long. */
export const MANIFEST_TIMEOUT_MS = 5000;
/**
 * Retries per call of the guards before the stores. Their adapters have what is missing to a tenth: for keys that DynamoDB leaves unprocessed and for
 * connections that a store has closed. So a store never gets more than 1.1 times what was asked for.
 */
const FEATURE_RETRY_SHARE = 0.04;
const VECTOR_RETRY_SHARE = 0.08;
/** A call that takes half of its time limit counts against the dependency: it is about to fail. */
const SLOW_SHARE = 0.5;

export interface GuardedPortOptions {
  readonly timers: DeadlineTimers;
  readonly telemetry: Telemetry;
  /** Of one attempt, milliseconds. @default the port's constant in this file */
  readonly timeoutMs?: number;
  /** A request that ended by its own deadline counts if it had waited for so long, milliseconds. @default half the limit; of the runtime 1000 */
  readonly tellingMs?: number;
  /** Retries per call, in the long run. @default what the port's adapter leaves of a tenth */
  readonly retryShare?: number;
  readonly breaker?: Omit<BreakerOptions, 'onChange'>;
  readonly random?: () => number;
}

/** Before a store: a call that is slow counts as one that failed. */
function storeGuard(
  dependency: string, code: ErrorCode, what: string, limitMs: number, retryShare: number, options: GuardedPortOptions,
): DependencyGuard {
  const timeoutMs = options.timeoutMs ?? limitMs;
  const breaker = { slowMs: timeoutMs * SLOW_SHARE, ...options.breaker };
  return new DependencyGuard({ dependency, code, what, retryShare, ...options, timeoutMs, breaker });
}

export class GuardedFeatureStore implements OnlineFeatureStore {
  private readonly guard: DependencyGuard;
  private readonly breaker: CircuitBreaker;

  constructor(private readonly store: OnlineFeatureStore, options: GuardedPortOptions) {
    this.guard = storeGuard('features', 'FEATURE_STORE_UNAVAILABLE', 'the online feature store', FEATURE_TIMEOUT_MS, FEATURE_RETRY_SHARE, options);
    this.breaker = this.guard.breaker();
  }

  read(requests: readonly FeatureRequest[], context?: CallContext): Promise<(FeatureRow | undefined)[]> {
    const more = Math.ceil(requests.length / FEATURE_ROWS) - 1;
    const share = more > 0 ? 1 + more * MORE_ROWS_SHARE : 1;
    const work = (scope: RequestScope) => this.store.read(requests, scope);
    return context?.mirrored ? this.guard.aside(this.breaker, context, work, share) : this.guard.call(this.breaker, context, work, share);
  }

  /** Not guarded: writes are no part of a request. */
  write(rows: readonly FeatureWrite[]): Promise<void> {
    return this.store.write(rows);
  }

  close(): Promise<void> {
    return this.store.close();
  }
}

/** The time limit is for each chunk of queries that the store is asked at once; a retry repeats a chunk. */
export class GuardedVectorSearch implements VectorSearch {
  private readonly guard: DependencyGuard;
  private readonly breaker: CircuitBreaker;

  constructor(private readonly vectors: VectorSearch, options: GuardedPortOptions) {
    this.guard = storeGuard('vectors', 'VECTOR_STORE_UNAVAILABLE', 'the vector store', VECTOR_TIMEOUT_MS, VECTOR_RETRY_SHARE, options);
    this.breaker = this.guard.breaker();
  }

  search(queries: readonly VectorQuery[], context?: CallContext): Promise<VectorHits[]> {
    return chunkEnd(queries, 0) === queries.length ? this.chunk(queries, context) : this.chunks(queries, context);
  }

  close(): Promise<void> {
    return this.vectors.close();
  }

  private chunk(queries: readonly VectorQuery[], context: CallContext | undefined): Promise<VectorHits[]> {
    const work = (scope: RequestScope) => this.vectors.search(queries, scope);
    return context?.mirrored ? this.guard.aside(this.breaker, context, work) : this.guard.call(this.breaker, context, work);
  }

  /** One after the other: a large request must not take the place of many small ones. */
  private async chunks(queries: readonly VectorQuery[], context: CallContext | undefined): Promise<VectorHits[]> {
    const found: VectorHits[] = [];
    for (let from = 0, end; from < queries.length; from = end) {
      end = chunkEnd(queries, from);
      for (const hits of await this.chunk(queries.slice(from, end), context)) found.push(hits);
    }
    return found;
  }
}

export class GuardedManifestSource implements ManifestSource {
  private readonly guard: DependencyGuard;
  private readonly breaker: CircuitBreaker;

  constructor(private readonly source: ManifestSource, options: GuardedPortOptions) {
    this.guard = new DependencyGuard({
      dependency: 'manifests', code: 'ARTIFACT_STORE_UNAVAILABLE', what: 'the artifact store', ...options, timeoutMs: options.timeoutMs ?? MANIFEST_TIMEOUT_MS,
    });
    this.breaker = this.guard.breaker();
  }

  manifest(model: string, version: string, digest: string): Promise<ModelManifest> {
    return this.guard.call(this.breaker, undefined, () => this.source.manifest(model, version, digest));
  }
}

interface GuardedVersion {
  readonly guard: DependencyGuard;
  readonly breaker: CircuitBreaker;
}

/**
 * A breaker and a budget of retries per model version: a version that is away must not take the others with it. Only a call that the runtime did not begin is tried again:
 * models need not be idempotent, and work that was begun costs a device's time. A mirrored call counts like any other: it is of another
 * version than the one that answers.
 */
export class GuardedModelRuntime implements ModelRuntime {
  /** Undefined where the runtime cannot stream. */
  readonly stream: ModelRuntime['stream'];
  private readonly options: GuardOptions;
  private readonly versions = new WeakMap<ModelRef, GuardedVersion>();

  constructor(private readonly runtime: ModelRuntime, options: GuardedPortOptions) {
    this.options = {
      dependency: 'runtime',
      code: 'RUNTIME_UNAVAILABLE',
      what: 'the model runtime',
      retryable: isNotProcessed,
      ...options,
      tellingMs: options.tellingMs ?? RUNTIME_TELLING_MS,
      timeoutMs: options.timeoutMs ?? RUNTIME_TIMEOUT_MS,
    };
    if (runtime.stream) this.stream = (model, inputs, context) => this.pieces(model, inputs, context);
  }

  /** Not guarded: to load a version may take minutes, and no request waits for it. */
  ready(model: ModelRef, context?: CallContext): Promise<boolean> {
    return this.runtime.ready(model, context);
  }

  infer(model: ModelRef, inputs: readonly Tensor[], context?: CallContext): Promise<Tensor[]> {
    const { guard, breaker } = this.guarded(model);
    return guard.call(breaker, context, (scope) => this.runtime.infer(model, inputs, scope));
  }

  close(): Promise<void> {
    return this.runtime.close();
  }

  private guarded(model: ModelRef): GuardedVersion {
    let version = this.versions.get(model);
    if (!version) {
      const guard = new DependencyGuard(this.options);
      version = { guard, breaker: guard.breaker() };
      this.versions.set(model, version);
    }
    return version;
  }

  /** The time limit is for each piece; nothing is tried again. A stream counts for the breaker once: with its first piece, or with its failure. */
  private async *pieces(model: ModelRef, inputs: readonly Tensor[], context: CallContext | undefined): AsyncGenerator<Tensor[], void, undefined> {
    const { timers, timeoutMs, code, what } = this.options;
    const { guard, breaker } = this.guarded(model);
    const began = timers.clock.now();
    const ticket = guard.enter(breaker, began);
    const whole = RequestScope.within(timers, context, Infinity, code, what);
    let counted = false;
    let over = false;
    let answers: AsyncIterator<Tensor[]> | undefined;
    try {
      answers = this.runtime.stream!(model, inputs, whole)[Symbol.asyncIterator]();
      for (;;) {
        const piece = whole.child(timeoutMs, code, what);
        const next = await piece.race(answers.next()).finally(() => piece.end());
        if (!counted) {
          counted = true;
          const now = timers.clock.now();
          breaker.success(ticket, now, now - began);
        }
        if (next.done) {
          over = true;
          return;
        }
        yield next.value;
      }
    } catch (error) {
      const now = timers.clock.now();
      over = true;
      if (!counted) guard.failed(breaker, ticket, now, now - began, error);
      counted = true;
      whole.cancel(error);
      // it may never come back from the piece that it waits for
      answers?.return?.().then(undefined, () => undefined);
      throw error;
    } finally {
      if (!counted) breaker.neutral(ticket);
      if (!over) await answers?.return?.();
      whole.end();
    }
  }
}
