import { type Load, seeded, VirtualServer } from './virtual-server.fixture';
import { ConcurrencyLimit, type ConcurrencyLimitOptions, type Lane, type Permit } from '../../../../runtime/core/resilience/concurrency-limit';
import { LatencyClass, VegasLimit } from '../../../../runtime/core/resilience/vegas-limit';

// time is virtual here: the limit's own timer must not sweep
beforeEach(() => jest.useFakeTimers());
afterEach(() => jest.useRealTimers());

describe('admission', () => {
  let now: number;
  let shed: Lane[];

  beforeEach(() => {
    now = 1000;
    shed = [];
  });

  const limit = (options: Partial<ConcurrencyLimitOptions> = {}): ConcurrencyLimit => new ConcurrencyLimit({
    clock: { now: () => now }, initial: 10, min: 10, max: 10, maxQueued: 4, random: () => 0, onShed: (lane) => shed.push(lane), ...options,
  });

  const fill = (limiter: ConcurrencyLimit, lane: Lane, count: number, tenant?: string): Permit[] =>
    Array.from({ length: count }, () => limiter.tryAcquire(lane, undefined, tenant)!);

  test('admits at once up to what the lane may take: low least, high all', () => {
    const limiter = limit();
    expect(fill(limiter, 'low', 7)).not.toContain(undefined);
    expect(limiter.tryAcquire('low')).toBeUndefined();
    expect(fill(limiter, 'normal', 2)).not.toContain(undefined);
    expect(limiter.tryAcquire('normal')).toBeUndefined();
    expect(limiter.tryAcquire('high')).toBeDefined();
    expect(limiter.tryAcquire('high')).toBeUndefined();
    expect(limiter.inFlight).toBe(10);
  });

  test('hands a place that gets free to the one who waits', async () => {
    const limiter = limit();
    const [first] = fill(limiter, 'high', 10);
    const waiting = limiter.acquire('high');
    expect(limiter.queued).toBe(1);
    limiter.release(first!);
    expect(await waiting).toMatchObject({ lane: 'high' });
    expect([limiter.queued, limiter.inFlight]).toEqual([0, 10]);
  });

  test('a new request does not overtake one of its lane that waits', () => {
    const limiter = limit();
    const permits = fill(limiter, 'normal', 9);
    void limiter.acquire('normal');
    void limiter.acquire('normal');
    limiter.release(permits[0]!);
    expect(limiter.queued).toBe(1);
    expect(limiter.tryAcquire('normal')).toBeUndefined();
    expect(limiter.tryAcquire('high')).toBeDefined();
  });

  test('sheds with OVERLOADED and a time to come back when the queue is full', async () => {
    const limiter = limit();
    fill(limiter, 'normal', 9);
    for (let i = 0; i < 4; i++) void limiter.acquire('normal');
    await expect(limiter.acquire('normal')).rejects.toMatchObject({ code: 'OVERLOADED', status: 503, retryAfterS: 1 });
    expect(shed).toEqual(['normal']);
  });

  test('sheds a low one that waits for a more important one', async () => {
    const limiter = limit();
    fill(limiter, 'high', 10);
    const waiting = (['normal', 'low', 'low', 'high'] as const).map((lane) => limiter.acquire(lane).then(() => 'admitted', (error: { code: string }) => error.code));
    void limiter.acquire('normal');
    expect(await waiting[2]).toBe('OVERLOADED');
    expect(shed).toEqual(['low']);
  });

  test('sheds at once what could not be answered within its deadline', async () => {
    const limiter = limit();
    const [first, ...others] = fill(limiter, 'high', 10);
    now += 100;
    limiter.release(first!);
    void limiter.tryAcquire('high');
    await expect(limiter.acquire('high', now + 50)).rejects.toMatchObject({ code: 'OVERLOADED' });
    // what came after its deadline says nothing of the service: gRPC clients look for it
    expect(() => limiter.tryAcquire('high', now)).toThrow('DEADLINE_EXCEEDED');
    const waiting = limiter.acquire('high', now + 120);
    // it waited for so long that there is no time left for the work
    now += 60;
    limiter.release(others[0]!);
    await expect(waiting).rejects.toMatchObject({ code: 'OVERLOADED' });
  });

  test('nobody waits longer than the queue allows', async () => {
    const limiter = limit({ maxWaitMs: 50 });
    fill(limiter, 'high', 10);
    const waiting = limiter.acquire('high');
    now += 49;
    limiter.sweep();
    expect(limiter.queued).toBe(1);
    now += 1;
    limiter.sweep();
    await expect(waiting).rejects.toMatchObject({ code: 'OVERLOADED' });
  });

  test('one whose caller is gone leaves the queue', async () => {
    const limiter = limit();
    fill(limiter, 'high', 10);
    const controller = new AbortController();
    const waiting = limiter.acquire('high', undefined, undefined, controller.signal);
    controller.abort(new Error('gone'));
    await expect(waiting).rejects.toThrow('gone');
    expect(limiter.queued).toBe(0);
    await expect(limiter.acquire('high', undefined, undefined, controller.signal)).rejects.toThrow('gone');
  });

  test('refuses a tenant that fills the queue with RATE_LIMITED, and makes room for others', async () => {
    const limiter = limit();
    fill(limiter, 'normal', 9, 'a');
    const waiting = Array.from({ length: 4 }, () => limiter.acquire('normal', undefined, 'a').then(() => 'admitted', (error: { code: string }) => error.code));
    const other = limiter.acquire('normal', undefined, 'b');
    expect(await waiting[3]).toBe('RATE_LIMITED');
    await expect(limiter.acquire('normal', undefined, 'a')).rejects.toMatchObject({ code: 'RATE_LIMITED', status: 429 });
    expect(limiter.queued).toBe(4);
    void other.catch(() => undefined);
  });

  test('a place that gets free goes to the tenant that has less than its share', async () => {
    const limiter = limit();
    const permits = fill(limiter, 'normal', 9, 'a');
    void limiter.acquire('normal', undefined, 'a');
    const other = limiter.acquire('normal', undefined, 'b');
    limiter.release(permits[0]!);
    expect(await other).toMatchObject({ tenant: 'b' });
    limiter.release(permits[1]!);
    expect(limiter.queued).toBe(0);
  });
});

/** 20 at once of 40 ms each: 500 per second. */
const WORKERS = 20;
const SERVICE_MS = 40;
const CAPACITY = WORKERS / SERVICE_MS * 1000;
const normal = (rate: number, timeoutMs = 500): Load => ({ lane: 'normal', rate, timeoutMs });

describe('the limit of a server with a fixed capacity', () => {
  test.each([8, 400])('comes near the knee under twice the load, from %d', async (initial) => {
    const server = new VirtualServer(WORKERS, SERVICE_MS, { initial, max: 500, baselineMs: 5000 });
    await server.offer([normal(2 * CAPACITY)], 15_000);
    const [tally] = await server.offer([normal(2 * CAPACITY)], 5000);
    expect(server.limit.limit).toBeGreaterThanOrEqual(WORKERS);
    expect(server.limit.limit).toBeLessThanOrEqual(3 * WORKERS);
    expect(tally!.served).toBeGreaterThan(0.85 * CAPACITY * 5);
    expect(tally!.inTime).toBe(tally!.served);
  });

  test('sheds next to nothing below capacity', async () => {
    const server = new VirtualServer(WORKERS, SERVICE_MS, { initial: 8, max: 500 });
    const [tally] = await server.offer([normal(0.7 * CAPACITY)], 10_000);
    expect(tally!.shed).toBeLessThan(0.01 * tally!.offered);
  });

  test('does not creep up over many baselines', async () => {
    const server = new VirtualServer(WORKERS, SERVICE_MS, { initial: 8, max: 500, baselineMs: 1000 });
    await server.offer([normal(2 * CAPACITY)], 30_000);
    expect(server.limit.limit).toBeLessThanOrEqual(3 * WORKERS);
  });

  test('follows a server that gets slower, and back', async () => {
    const server = new VirtualServer(WORKERS, SERVICE_MS, { initial: 8, max: 500, baselineMs: 5000 });
    await server.offer([normal(2 * CAPACITY)], 10_000);
    server.serviceMs = 3 * SERVICE_MS;
    await server.offer([normal(2 * CAPACITY)], 15_000);
    const [slow] = await server.offer([normal(2 * CAPACITY)], 5000);
    expect(slow!.served).toBeGreaterThan(0.85 * CAPACITY / 3 * 5);
    server.serviceMs = SERVICE_MS;
    await server.offer([normal(2 * CAPACITY)], 5000);
    const [fast] = await server.offer([normal(2 * CAPACITY)], 5000);
    expect(fast!.served).toBeGreaterThan(0.85 * CAPACITY * 5);
    expect(server.limit.limit).toBeLessThanOrEqual(4 * WORKERS);
  });

  test('low is shed first, high hardly at all, and nobody starves', async () => {
    const server = new VirtualServer(WORKERS, SERVICE_MS, { initial: 8, max: 500 });
    const loads: Load[] = [
      { lane: 'high', rate: 0.4 * CAPACITY, timeoutMs: 500 }, { lane: 'normal', rate: 0.8 * CAPACITY, timeoutMs: 500 }, { lane: 'low', rate: CAPACITY, timeoutMs: 500 },
    ];
    await server.offer(loads, 5000);
    const [high, usual, low] = (await server.offer(loads, 10_000)).map(({ served, offered }) => served / offered);
    expect(high!).toBeGreaterThan(0.97);
    expect(usual!).toBeGreaterThan(2 * low!);
    expect(low!).toBeGreaterThan(0.01);
  });

  test('a tenant that floods does not take the others\' share', async () => {
    const server = new VirtualServer(WORKERS, SERVICE_MS, { initial: 8, max: 500 });
    const loads: Load[] = [
      { lane: 'normal', tenant: 'flood', rate: 5 * CAPACITY, timeoutMs: 500 }, { lane: 'normal', tenant: 'modest', rate: 0.3 * CAPACITY, timeoutMs: 500 },
    ];
    await server.offer(loads, 5000);
    const [flood, modest] = await server.offer(loads, 10_000);
    expect(modest!.served / modest!.offered).toBeGreaterThan(0.95);
    expect(flood!.codes.RATE_LIMITED).toBeGreaterThan(0);
    expect(flood!.served).toBeGreaterThan(0.4 * CAPACITY * 10);
  });
});

test('a slow kind of request beside a fast one is no queue, and overload elsewhere is one', () => {
  let now = 0;
  const random = seeded(3);
  const limiter = new ConcurrencyLimit({ clock: { now: () => now }, initial: 40, min: 4, max: 40, random });
  const kinds = [new LatencyClass(), new LatencyClass()];
  const step = (outcome: 'done' | 'overload'): void => {
    const permits = Array.from({ length: 30 }, () => limiter.tryAcquire('high')!);
    const slow = random() < 0.5 ? 1 : 0;
    now += slow ? 200 : 5;
    for (const permit of permits) if (permit) limiter.release(permit, outcome, kinds[slow]);
  };
  for (let i = 0; i < 400; i++) step('done');
  expect(limiter.limit).toBe(40);
  for (let i = 0; i < 100; i++) step('overload');
  expect(limiter.limit).toBeLessThan(10);
  for (let i = 0; i < 400; i++) step('done');
  expect(limiter.limit).toBe(40);
});

test('a few slow requests far below the limit lower it for nobody', () => {
  const vegas = new VegasLimit({ initial: 32 });
  const kind = new LatencyClass();
  let now = 0;
  const window = (tookMs: number, inFlight: number) => {
    for (let i = 0; i < 21; i++) vegas.sample(kind, now += 10, tookMs, inFlight);
  };
  window(10, 6);
  for (let i = 0; i < 20; i++) window(500, 6);
  expect(vegas.limit).toBe(32);
  // the same slowness is a queue where it is that of as many as may be
  for (let i = 0; i < 10; i++) window(500, 32);
  expect(vegas.limit).toBeLessThan(32);
});

test('one kind of request that hangs beside many that are answered lowers no limit', () => {
  let now = 0;
  const limiter = new ConcurrencyLimit({ clock: { now: () => now }, initial: 32, max: 32, random: () => 0.5 });
  const kind = new LatencyClass();
  for (let second = 0; second < 20; second++) {
    const hanging = Array.from({ length: 8 }, () => limiter.tryAcquire('normal')!);
    for (let answered = 0; answered < 200; answered++) {
      const permit = limiter.tryAcquire('normal')!;
      now += 5;
      limiter.release(permit, 'done', kind);
      // one after the other, so that every window has one
      if (answered % 25 === 24) limiter.release(hanging.pop()!, 'overload', kind);
    }
  }
  expect(limiter.limit).toBe(32);
});
