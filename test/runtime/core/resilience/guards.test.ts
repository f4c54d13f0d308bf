import { BrainError, type ErrorCode } from '../../../../runtime/core/errors';
import type {
  CallContext, ModelRef, ModelRuntime, OnlineFeatureStore, VectorHits, VectorQuery, VectorSearch,
} from '../../../../runtime/core/ports';
import { RequestScope } from '../../../../runtime/core/resilience/deadline';
import { DeadlineTimers } from '../../../../runtime/core/resilience/deadline-timers';
import { NOT_PROCESSED } from '../../../../runtime/core/resilience/dependency-guard';
import {
  GuardedFeatureStore, GuardedManifestSource, GuardedModelRuntime, type GuardedPortOptions, GuardedVectorSearch,
} from '../../../../runtime/core/resilience/guards';
import { NO_TELEMETRY } from '../../../../runtime/core/telemetry';
import type { Tensor } from '../../../../runtime/core/tensors';
import { CONFIGURATION, MANIFEST } from '../brain.fixture';

const [INDEX] = CONFIGURATION.vectorIndexes;
const never = new Promise<never>(() => undefined);
const OTHER: ModelRef = { name: 'eta', version: '2', manifest: MANIFEST };
const MODEL: ModelRef = { name: 'eta', version: '1', manifest: MANIFEST };

let events: string[];
let options: GuardedPortOptions;
let timers: DeadlineTimers;

beforeEach(() => {
  jest.useFakeTimers();
  events = [];
  timers = new DeadlineTimers({ now: () => Date.now() });
  options = {
    timers,
    telemetry: { ...NO_TELEMETRY, count: (event, dependency) => events.push(`${dependency} ${event}`) },
    timeoutMs: 50,
    breaker: { minimumCalls: 4, openMs: 100 },
    random: () => 0,
  };
});

afterEach(() => jest.useRealTimers());

const error = (code: ErrorCode, details = {}): BrainError => new BrainError(code, 'x', details);

/** What became of a call once everything that it waits for has passed. */
async function outcome(call: Promise<unknown>, forMs = 200): Promise<unknown> {
  const end = call.then((value) => value, (failure: BrainError) => failure.code);
  await jest.advanceTimersByTimeAsync(forMs);
  return end;
}

describe('a guarded feature store', () => {
  let read: jest.Mock<Promise<never[]>, [requests: unknown, context?: CallContext]>;
  let store: GuardedFeatureStore;

  beforeEach(() => {
    read = jest.fn((_requests: unknown, _context?: CallContext) => Promise.resolve([]));
    store = new GuardedFeatureStore({ read, write: () => Promise.resolve(), close: () => Promise.resolve() } as OnlineFeatureStore, options);
  });

  const healthy = async (calls: number): Promise<void> => {
    for (let i = 0; i < calls; i++) await store.read([]);
  };

  test('passes on the trace and a deadline that is its own limit', async () => {
    await store.read([], { traceparent: 'trace', deadline: Date.now() + 1000 });
    expect(read.mock.calls[0]![1]).toMatchObject({ traceparent: 'trace', deadline: Date.now() + 50 });
  });

  test('fails with its own code after its limit, with DEADLINE_EXCEEDED where the request has less time, and stops the work', async () => {
    read.mockReturnValue(never);
    expect(await outcome(store.read([]))).toBe('FEATURE_STORE_UNAVAILABLE');
    expect(read.mock.calls[0]![1]!.signal!.aborted).toBe(true);
    expect(await outcome(store.read([], RequestScope.start(timers, { timeoutMs: 20 })))).toBe('DEADLINE_EXCEEDED');
  });

  test('knows its own limit from that of the request, though the adapter keeps either', async () => {
    read.mockImplementation((_requests, context) => new Promise((_resolve, reject) => {
      setTimeout(() => reject(error('DEADLINE_EXCEEDED')), context!.deadline! - Date.now() - 1);
    }));
    expect(await outcome(store.read([], { deadline: Date.now() + 1000 }))).toBe('FEATURE_STORE_UNAVAILABLE');
    expect(await outcome(store.read([], { deadline: Date.now() + 20 }))).toBe('DEADLINE_EXCEEDED');
    expect(await outcome(store.read([], RequestScope.start(timers, { timeoutMs: 20 })))).toBe('DEADLINE_EXCEEDED');
  });

  test('gives a large read more time, and does not take it for a slow one', async () => {
    const rows = new Array(3100).fill(undefined) as never[];
    read.mockImplementation(() => new Promise((resolve) => setTimeout(() => resolve([]), 90)));
    for (let i = 0; i < 6; i++) expect(await outcome(store.read(rows))).toEqual([]);
    expect(events).toEqual([]);
    expect(await outcome(store.read([]))).toBe('FEATURE_STORE_UNAVAILABLE');
  });

  test('tries once more where the budget has a retry', async () => {
    await healthy(25);
    read.mockRejectedValueOnce(error('FEATURE_STORE_UNAVAILABLE'));
    expect(await outcome(store.read([]))).toEqual([]);
    expect(read).toHaveBeenCalledTimes(27);
    expect(events).toEqual(['features retry']);
    read.mockRejectedValueOnce(error('FEATURE_STORE_UNAVAILABLE'));
    expect(await outcome(store.read([]))).toBe('FEATURE_STORE_UNAVAILABLE');
  });

  test('opens after failures, answers without asking, and closes after successes', async () => {
    read.mockRejectedValue(error('FEATURE_STORE_UNAVAILABLE'));
    for (let i = 0; i < 4; i++) await outcome(store.read([]), 1);
    read.mockClear();
    await expect(store.read([])).rejects.toMatchObject({
      code: 'FEATURE_STORE_UNAVAILABLE', details: { breaker: 'open' }, retryAfterS: 1,
    });
    expect(read).not.toHaveBeenCalled();
    await jest.advanceTimersByTimeAsync(120);
    read.mockResolvedValue([]);
    await healthy(3);
    expect(events).toEqual(['features breaker_opened', 'features breaker_closed']);
  });

  test.each([
    ['the caller\'s own mistake', 'UNKNOWN_ENTITY'], ['a caller that is gone', 'CANCELLED'], ['a broken row', 'INVALID_FEATURE_ROW'],
  ] as const)('neither counts nor retries %s', async (_what, code) => {
    await healthy(1);
    read.mockRejectedValue(error(code));
    for (let i = 0; i < 20; i++) expect(await outcome(store.read([]), 1)).toBe(code);
    expect(read).toHaveBeenCalledTimes(21);
    expect(events).toEqual([]);
  });

  test('requests with hardly any time do not open it, requests that saw it slow do', async () => {
    read.mockReturnValue(never);
    for (let i = 0; i < 10; i++) await outcome(store.read([], { deadline: Date.now() + 1 }), 10);
    expect(events).toEqual([]);
    for (let i = 0; i < 10; i++) await outcome(store.read([], { deadline: Date.now() + 30 }), 40);
    expect(events).toContain('features breaker_opened');
  });
});

describe('a mirrored read of a guarded feature store', () => {
  let read: jest.Mock<Promise<never[]>, [requests: unknown, context?: CallContext]>;
  let store: GuardedFeatureStore;

  beforeEach(() => {
    read = jest.fn((_requests: unknown, _context?: CallContext) => Promise.resolve([]));
    store = new GuardedFeatureStore({ read, write: () => Promise.resolve(), close: () => Promise.resolve() } as OnlineFeatureStore, options);
  });

  /** Within a part of its request, as an enrichment that may be done without is. */
  const mirrored = () => store.read([], RequestScope.start(timers, { timeoutMs: 1000, mirrored: true }).child(600, 'FEATURE_STORE_UNAVAILABLE', 'x'));
  const fails = () => read.mockRejectedValue(error('FEATURE_STORE_UNAVAILABLE'));

  test('has the time limit of any other, and says so to what it asks', async () => {
    read.mockReturnValue(never);
    expect(await outcome(mirrored())).toBe('FEATURE_STORE_UNAVAILABLE');
    expect(read.mock.calls[0]![1]).toMatchObject({ mirrored: true, aborted: true });
  });

  test('that fails neither opens the breaker nor spends a retry', async () => {
    for (let i = 0; i < 25; i++) await store.read([]);
    fails();
    for (let i = 0; i < 50; i++) expect(await outcome(mirrored(), 1)).toBe('FEATURE_STORE_UNAVAILABLE');
    expect(read).toHaveBeenCalledTimes(75);
    expect(events).toEqual([]);
    // the retry that the others have paid for is still there
    read.mockReset().mockRejectedValueOnce(error('FEATURE_STORE_UNAVAILABLE')).mockResolvedValue([]);
    expect(await outcome(store.read([]))).toEqual([]);
    expect(events).toEqual(['features retry']);
  });

  test('that succeeds pays for no retry', async () => {
    for (let i = 0; i < 50; i++) await mirrored();
    fails();
    await outcome(store.read([]));
    expect(events).toEqual([]);
  });

  test('is not made while the breaker is not closed, and takes none of its probes', async () => {
    fails();
    for (let i = 0; i < 4; i++) await outcome(store.read([]), 1);
    read.mockReset().mockResolvedValue([]);
    await expect(mirrored()).rejects.toMatchObject({ code: 'FEATURE_STORE_UNAVAILABLE', details: { breaker: 'open' } });
    await jest.advanceTimersByTimeAsync(120);
    await expect(mirrored()).rejects.toMatchObject({ details: { breaker: 'open' } });
    await store.read([]);
    await expect(mirrored()).rejects.toMatchObject({ details: { breaker: 'open' } });
    expect(read).toHaveBeenCalledTimes(1);
    for (let i = 0; i < 2; i++) await store.read([]);
    expect(await mirrored()).toEqual([]);
  });
});

describe('a guarded vector search', () => {
  let ask: jest.Mock<Promise<VectorHits[]>, [readonly VectorQuery[]]>;
  let search: GuardedVectorSearch;
  const queries = (count: number, k = 1) => Array.from({ length: count }, (_, at) => ({ index: INDEX, vector: Float32Array.of(at, 0), k }));
  const answers = (asked: readonly VectorQuery[]) => asked.map(({ vector }): VectorHits => ({ generation: String(vector[0]), hits: [] }));
  const late = (asked: readonly VectorQuery[], afterMs: number) => (
    new Promise<VectorHits[]>((resolve) => setTimeout(() => resolve(answers(asked)), afterMs))
  );

  beforeEach(() => {
    ask = jest.fn((asked: readonly VectorQuery[]) => Promise.resolve(answers(asked)));
    search = new GuardedVectorSearch({ search: ask, close: () => Promise.resolve() } as VectorSearch, options);
  });

  test('fails with its own code', async () => {
    ask.mockReturnValue(never);
    expect(await outcome(search.search(queries(1)))).toBe('VECTOR_STORE_UNAVAILABLE');
  });

  test('of many rows asks for them in turn, each time with the whole limit, and answers in their order', async () => {
    ask.mockImplementation((asked) => late(asked, 20));
    const found = await outcome(search.search(queries(100)), 500) as VectorHits[];
    expect(found.map(({ generation }) => Number(generation))).toEqual([...new Array(100).keys()]);
    expect(ask.mock.calls.map(([asked]) => asked.length)).toEqual([32, 32, 32, 4]);
    expect(events).toEqual([]);
  });

  test('asks for no more hits at once than an answer may hold', async () => {
    await search.search(queries(9, 1000));
    expect(ask.mock.calls.map(([asked]) => asked.length)).toEqual([4, 4, 1]);
  });

  test('asks again for the part that failed only', async () => {
    for (let i = 0; i < 13; i++) await search.search(queries(1));
    ask.mockClear();
    ask.mockImplementationOnce((asked) => Promise.resolve(answers(asked))).mockRejectedValueOnce(error('VECTOR_STORE_UNAVAILABLE'));
    expect(await outcome(search.search(queries(40)))).toHaveLength(40);
    expect(ask.mock.calls.map(([asked]) => asked.length)).toEqual([32, 8, 8]);
  });
});

test('a guarded manifest source fails with its own code', async () => {
  const source = new GuardedManifestSource({ manifest: () => never }, options);
  expect(await outcome(source.manifest('eta', '1', 'sha256:x'))).toBe('ARTIFACT_STORE_UNAVAILABLE');
});

describe('a guarded runtime', () => {
  let infer: jest.Mock<Promise<Tensor[]>, [ModelRef]>;
  let stream: jest.Mock<AsyncIterable<Tensor[]>>;
  let runtime: GuardedModelRuntime;

  beforeEach(() => {
    infer = jest.fn((_model: ModelRef) => Promise.resolve([]));
    stream = jest.fn();
    runtime = new GuardedModelRuntime({ infer, stream, ready: () => Promise.resolve(true), close: () => Promise.resolve() } as ModelRuntime, options);
  });

  const pieces = async (): Promise<number> => {
    let count = 0;
    for await (const piece of runtime.stream!(MODEL, [])) count += piece.length + 1;
    return count;
  };

  test('tries again only what was not begun', async () => {
    for (let i = 0; i < 20; i++) await runtime.infer(MODEL, []);
    infer.mockRejectedValueOnce(error('RUNTIME_UNAVAILABLE'));
    expect(await outcome(runtime.infer(MODEL, []))).toBe('RUNTIME_UNAVAILABLE');
    infer.mockRejectedValueOnce(error('RUNTIME_UNAVAILABLE', NOT_PROCESSED));
    expect(await outcome(runtime.infer(MODEL, []))).toEqual([]);
    expect(infer).toHaveBeenCalledTimes(23);
  });

  test('a version that is away does not take the others with it', async () => {
    infer.mockImplementation((model) => model === OTHER ? Promise.reject(error('RUNTIME_UNAVAILABLE')) : Promise.resolve([]));
    for (let i = 0; i < 5; i++) await outcome(runtime.infer(OTHER, []), 1);
    expect(events).toEqual(['runtime breaker_opened']);
    expect(await runtime.infer(MODEL, [])).toEqual([]);
  });

  test('a version that is away does not use up the retries of others', async () => {
    for (let i = 0; i < 10; i++) await runtime.infer(MODEL, []);
    infer.mockRejectedValueOnce(error('RUNTIME_UNAVAILABLE', NOT_PROCESSED));
    expect(await outcome(runtime.infer(OTHER, []))).toBe('RUNTIME_UNAVAILABLE');
    infer.mockRejectedValueOnce(error('RUNTIME_UNAVAILABLE', NOT_PROCESSED));
    expect(await outcome(runtime.infer(MODEL, []))).toEqual([]);
  });

  test('a runtime that lets requests wait to their deadlines opens it, requests with little time do not', async () => {
    const inner: ModelRuntime = { infer, ready: () => Promise.resolve(true), close: () => Promise.resolve() };
    runtime = new GuardedModelRuntime(inner, { ...options, timeoutMs: 9000, tellingMs: 30 });
    infer.mockReturnValue(never);
    for (let i = 0; i < 5; i++) expect(await outcome(runtime.infer(MODEL, [], { deadline: Date.now() + 20 }), 30)).toBe('DEADLINE_EXCEEDED');
    expect(events).toEqual([]);
    for (let i = 0; i < 4; i++) expect(await outcome(runtime.infer(MODEL, [], { deadline: Date.now() + 30 }), 40)).toBe('DEADLINE_EXCEEDED');
    expect(events).toEqual(['runtime breaker_opened']);
  });

  test('a model that fails on its input does not open it', async () => {
    infer.mockRejectedValue(error('MODEL_FAILED'));
    for (let i = 0; i < 20; i++) await outcome(runtime.infer(MODEL, []), 1);
    expect(events).toEqual([]);
  });

  test('passes on the pieces of a stream', async () => {
    stream.mockImplementation(async function* () {
      yield [];
      yield [];
    });
    expect(await pieces()).toBe(2);
  });

  test('a stream that falls silent ends with its code, and its source is told', async () => {
    let told: AbortSignal | undefined;
    stream.mockImplementation(async function* (_model: ModelRef, _inputs: Tensor[], context: CallContext) {
      told = context.signal;
      yield [];
      await never;
    });
    expect(await outcome(pieces())).toBe('RUNTIME_UNAVAILABLE');
    expect(told!.aborted).toBe(true);
  });

  test('a stream that its reader leaves ends its source', async () => {
    const ended = jest.fn();
    stream.mockImplementation(async function* () {
      try {
        for (;;) yield [];
      } finally {
        ended();
      }
    });
    for await (const piece of runtime.stream!(MODEL, [])) if (piece.length === 0) break;
    expect(ended).toHaveBeenCalledTimes(1);
    expect(timers.size).toBe(0);
  });

  test('streams that fail open the breaker for the next call', async () => {
    stream.mockImplementation(() => ({ [Symbol.asyncIterator]: () => ({ next: () => Promise.reject(error('RUNTIME_UNAVAILABLE')) }) }));
    for (let i = 0; i < 4; i++) expect(await outcome(pieces(), 1)).toBe('RUNTIME_UNAVAILABLE');
    await expect(runtime.infer(MODEL, [])).rejects.toMatchObject({ details: { breaker: 'open' } });
  });
});
