import fc from 'fast-check';
import { BrainError } from '../../../../runtime/core/errors';
import { RequestScope } from '../../../../runtime/core/resilience/deadline';
import { DeadlineEntry, DeadlineTimers } from '../../../../runtime/core/resilience/deadline-timers';

const CLOCK = { now: () => Date.now() };
/** How late the wheel may be: a tick of it, and one of its timer. */
const LATE_MS = 8;
const never = new Promise<never>(() => undefined);

let timers: DeadlineTimers;

beforeEach(() => {
  jest.useFakeTimers();
  timers = new DeadlineTimers(CLOCK);
});

afterEach(() => jest.useRealTimers());

const code = (code_: string): unknown => expect.objectContaining({ code: code_ });

describe('a request scope', () => {
  test('gives the result of the work and leaves no timer entry', async () => {
    const scope = RequestScope.start(timers, { timeoutMs: 100 });
    const result = scope.race(Promise.resolve('done'));
    expect(timers.size).toBe(1);
    await expect(result).resolves.toBe('done');
    scope.end();
    expect(timers.size).toBe(0);
    await jest.advanceTimersByTimeAsync(200);
    expect(scope.aborted).toBe(false);
  });

  test('is in no timer while nobody listens', () => {
    RequestScope.start(timers, { timeoutMs: 100 });
    expect(timers.size).toBe(0);
    expect(jest.getTimerCount()).toBe(0);
  });

  test('fails with the error of the work', async () => {
    const scope = RequestScope.start(timers, { timeoutMs: 100 });
    await expect(scope.race(Promise.reject(new Error('broken')))).rejects.toThrow('broken');
    scope.end();
  });

  test('fails at its deadline even if the work ignores the signal, with the reason of the signal', async () => {
    const scope = RequestScope.start(timers, { timeoutMs: 100 });
    const { signal } = scope;
    const failed = expect(scope.race(never)).rejects.toEqual(code('DEADLINE_EXCEEDED'));
    await jest.advanceTimersByTimeAsync(99);
    expect(signal.aborted).toBe(false);
    await jest.advanceTimersByTimeAsync(1 + LATE_MS);
    await failed;
    expect(signal.reason).toEqual(code('DEADLINE_EXCEEDED'));
    expect(scope.remaining()).toBe(0);
    expect(timers.size).toBe(0);
  });

  test('says how long is left', async () => {
    const scope = RequestScope.start(timers, { timeoutMs: 100 });
    await jest.advanceTimersByTimeAsync(30);
    expect(scope.remaining()).toBe(70);
  });

  test('ends early for everybody when it is cancelled, with the first reason', async () => {
    const scope = RequestScope.start(timers, { timeoutMs: 100 });
    const child = scope.child(50, 'RUNTIME_UNAVAILABLE', 'the runtime');
    const results = Promise.allSettled([scope.race(never), scope.race(never), child.race(never)]);
    const gone = new BrainError('CANCELLED', 'the caller is gone');
    scope.cancel(gone);
    scope.cancel(new Error('later'));
    expect(await results).toEqual([0, 1, 2].map(() => ({ status: 'rejected', reason: gone })));
    expect(scope.signal.reason).toBe(gone);
    expect(child.signal.reason).toBe(gone);
    await expect(scope.race(Promise.resolve(1))).rejects.toBe(gone);
    await expect(scope.child(10, 'INTERNAL', 'x').race(never)).rejects.toBe(gone);
    expect(timers.size).toBe(0);
  });

  test('sleeps, but not beyond its end', async () => {
    const scope = RequestScope.start(timers, { timeoutMs: 100 });
    const short = expect(scope.sleep(40)).resolves.toBeUndefined();
    const long = expect(scope.sleep(400)).rejects.toEqual(code('DEADLINE_EXCEEDED'));
    await jest.advanceTimersByTimeAsync(40 + LATE_MS);
    await short;
    await jest.advanceTimersByTimeAsync(60);
    await long;
  });
});

describe('a child scope', () => {
  test('fails with its own code at its own limit, and its parent goes on', async () => {
    const scope = RequestScope.start(timers, { timeoutMs: 100, traceparent: 'trace' });
    const child = scope.child(20, 'VECTOR_STORE_UNAVAILABLE', 'the vector store');
    const failed = expect(child.race(never)).rejects.toThrow('VECTOR_STORE_UNAVAILABLE: the vector store was not ready within 20 ms');
    await jest.advanceTimersByTimeAsync(20 + LATE_MS);
    await failed;
    expect(scope.aborted).toBe(false);
    expect(child.traceparent).toBe('trace');
    scope.end();
    expect(timers.size).toBe(0);
  });

  test('fails with DEADLINE_EXCEEDED where its parent has less time', async () => {
    const scope = RequestScope.start(timers, { timeoutMs: 20 });
    const child = scope.child(1000, 'VECTOR_STORE_UNAVAILABLE', 'the vector store');
    expect(child.deadline).toBe(scope.deadline);
    const failed = expect(child.race(never)).rejects.toEqual(code('DEADLINE_EXCEEDED'));
    await jest.advanceTimersByTimeAsync(20 + LATE_MS);
    await failed;
  });

  test('ends with a plain context: by its deadline and by its signal', async () => {
    const controller = new AbortController();
    const byDeadline = RequestScope.within(timers, { deadline: Date.now() + 20 }, 1000, 'INTERNAL', 'x');
    const bySignal = RequestScope.within(timers, { signal: controller.signal }, 1000, 'INTERNAL', 'x');
    const byLimit = RequestScope.within(timers, undefined, 30, 'INTERNAL', 'x');
    const results = Promise.allSettled([byDeadline.race(never), bySignal.race(never), byLimit.race(never)]);
    controller.abort('gone');
    await jest.advanceTimersByTimeAsync(30 + LATE_MS);
    expect(await results).toEqual([
      { status: 'rejected', reason: code('DEADLINE_EXCEEDED') }, { status: 'rejected', reason: 'gone' }, { status: 'rejected', reason: code('INTERNAL') },
    ]);
    expect(RequestScope.within(timers, { signal: controller.signal }, 1000, 'INTERNAL', 'x').aborted).toBe(true);
  });
});

test('every deadline is told of once, never early and at most two ticks late, whatever was removed', async () => {
  class Probe extends DeadlineEntry {
    readonly told: number[] = [];

    override expire(): void {
      this.told.push(Date.now());
    }
  }
  const entries = fc.array(fc.record({ after: fc.integer({ min: 0, max: 5000 }), removed: fc.boolean() }), { maxLength: 40 });
  await fc.assert(fc.asyncProperty(entries, async (given) => {
    const start = Date.now();
    const probes = given.map(({ after }) => new Probe(start + after));
    for (const probe of probes) timers.add(probe);
    given.forEach(({ removed }, at) => removed && timers.remove(probes[at]!));
    await jest.advanceTimersByTimeAsync(5000 + LATE_MS);
    given.forEach(({ after, removed }, at) => {
      const { told } = probes[at]!;
      expect(told).toHaveLength(removed ? 0 : 1);
      if (removed) return;
      expect(told[0]! - start).toBeGreaterThanOrEqual(after);
      expect(told[0]! - start).toBeLessThanOrEqual(after + LATE_MS);
    });
    expect(timers.size).toBe(0);
  }), { numRuns: 25 });
});
