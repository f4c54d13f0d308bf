import fc from 'fast-check';
import { type BreakerState, CircuitBreaker, REFUSED } from '../../../../runtime/core/resilience/circuit-breaker';

const OPTIONS = { windowMs: 1000, minimumCalls: 4, failureRate: 0.5, openMs: 100, maxOpenMs: 400, probes: 1, successesToClose: 2, random: () => 0 };

let now = 0;
let states: BreakerState[];
let breaker: CircuitBreaker;

beforeEach(() => {
  now = 10_000;
  states = [];
  breaker = new CircuitBreaker({ ...OPTIONS, slowMs: 50, onChange: (state) => states.push(state) });
});

function fail(times = 1): void {
  for (let i = 0; i < times; i++) breaker.failure(breaker.enter(now), now);
}

function succeed(times = 1, tookMs = 1): void {
  for (let i = 0; i < times; i++) breaker.success(breaker.enter(now), now, tookMs);
}

describe('a circuit breaker', () => {
  test('stays closed below its volume and below its rate', () => {
    fail(3);
    expect(breaker.state).toBe('closed');
    succeed(5);
    fail(1);
    expect(breaker.state).toBe('closed');
  });

  test('opens at its rate and refuses until its time is up', () => {
    succeed(2);
    fail(2);
    expect(breaker.state).toBe('open');
    expect(breaker.enter(now)).toBe(REFUSED);
    expect(breaker.retryAfter(now)).toBe(100);
    now += 99;
    expect(breaker.enter(now)).toBe(REFUSED);
    now += 1;
    expect(breaker.enter(now)).not.toBe(REFUSED);
    expect(breaker.state).toBe('half-open');
  });

  test('counts slow calls as failures', () => {
    succeed(4, 50);
    expect(breaker.state).toBe('open');
  });

  test('forgets what has left the window', () => {
    fail(3);
    now += 1100;
    fail(3);
    expect(breaker.state).toBe('closed');
  });

  test('lets one probe through at a time, and closes after enough successes', () => {
    fail(4);
    now += 100;
    const probe = breaker.enter(now);
    expect(breaker.enter(now)).toBe(REFUSED);
    breaker.success(probe, now, 1);
    expect(breaker.state).toBe('half-open');
    succeed();
    expect(states).toEqual(['open', 'half-open', 'closed']);
    fail(3);
    expect(breaker.state).toBe('closed');
  });

  test('a probe that says nothing makes room for the next', () => {
    fail(4);
    now += 100;
    breaker.neutral(breaker.enter(now));
    expect(breaker.enter(now)).not.toBe(REFUSED);
  });

  test('stays open twice as long after each failed probe, up to its bound', () => {
    fail(4);
    const opened: number[] = [];
    for (let i = 0; i < 4; i++) {
      opened.push(breaker.retryAfter(now));
      now += breaker.retryAfter(now);
      fail();
    }
    expect(opened).toEqual([100, 200, 400, 400]);
  });

  test('a call that began before it opened does not count for the probes', () => {
    const old = breaker.enter(now);
    fail(4);
    now += 100;
    const probe = breaker.enter(now);
    breaker.success(old, now, 1);
    breaker.failure(old, now);
    breaker.neutral(old);
    expect(breaker.state).toBe('half-open');
    expect(breaker.enter(now)).toBe(REFUSED);
    breaker.success(probe, now, 1);
  });
});

/** The same rules over a plain list of results. */
class Model {
  state: BreakerState = 'closed';
  private results: { readonly bucket: number; readonly failed: boolean }[] = [];
  private until = 0;
  private opened = 0;
  private successes = 0;

  call(at: number, failed: boolean): boolean {
    if (this.state === 'open' && at >= this.until) {
      this.state = 'half-open';
      this.successes = 0;
    }
    if (this.state === 'open') return false;
    if (this.state === 'half-open') this.probe(at, failed);
    else this.count(at, failed);
    return true;
  }

  private probe(at: number, failed: boolean): void {
    if (failed) {
      this.open(at);
    } else if (++this.successes === OPTIONS.successesToClose) {
      this.state = 'closed';
      this.opened = 0;
      this.results = [];
    }
  }

  private count(at: number, failed: boolean): void {
    const bucket = Math.floor(at / 100);
    this.results = [...this.results.filter((result) => result.bucket > bucket - 10), { bucket, failed }];
    const failures = this.results.filter((result) => result.failed).length;
    if (failed && this.results.length >= OPTIONS.minimumCalls && failures / this.results.length >= OPTIONS.failureRate) this.open(at);
  }

  private open(at: number): void {
    this.state = 'open';
    this.until = at + Math.min(OPTIONS.maxOpenMs, OPTIONS.openMs * 2 ** this.opened++);
  }
}

test('does what a plain list of results says, for any sequence of calls', () => {
  const pauses = fc.oneof(fc.integer({ min: 0, max: 30 }), fc.integer({ min: 0, max: 1500 }));
  const calls = fc.array(fc.record({ after: pauses, failed: fc.boolean() }), { maxLength: 200 });
  fc.assert(fc.property(calls, (given) => {
    const tested = new CircuitBreaker(OPTIONS);
    const model = new Model();
    let at = 0;
    for (const { after, failed } of given) {
      at += after;
      const ticket = tested.enter(at);
      expect(ticket !== REFUSED).toBe(model.call(at, failed));
      if (ticket !== REFUSED && failed) tested.failure(ticket, at);
      else if (ticket !== REFUSED) tested.success(ticket, at, 1);
      expect(tested.state).toBe(model.state);
    }
  }));
});
