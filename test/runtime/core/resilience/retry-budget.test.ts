import fc from 'fast-check';
import { BrainError } from '../../../../runtime/core/errors';
import { RequestScope } from '../../../../runtime/core/resilience/deadline';
import { DeadlineTimers } from '../../../../runtime/core/resilience/deadline-timers';
import { backoffMs, retry, RetryBudget } from '../../../../runtime/core/resilience/retry-budget';

const AWAY = new BrainError('RUNTIME_UNAVAILABLE', 'away');
const isAway = (error: unknown): boolean => error === AWAY;

describe('a retry budget', () => {
  test('never gives more than a tenth of the calls, whatever the order', () => {
    fc.assert(fc.property(fc.array(fc.boolean(), { maxLength: 500 }), (steps) => {
      const budget = new RetryBudget();
      let calls = 0;
      let retries = 0;
      for (const isCall of steps) {
        if (isCall) {
          budget.deposit();
          calls++;
        } else if (budget.tryWithdraw()) {
          retries++;
        }
        expect(retries).toBeLessThanOrEqual(calls / 10);
      }
    }));
  });

  test('gives a retry for every tenth call, and saves up ten at most', () => {
    const budget = new RetryBudget();
    for (let i = 0; i < 10; i++) budget.deposit();
    expect([budget.tryWithdraw(), budget.tryWithdraw()]).toEqual([true, false]);
    for (let i = 0; i < 1000; i++) budget.deposit();
    expect(Array.from({ length: 12 }, () => budget.tryWithdraw()).filter(Boolean)).toHaveLength(10);
  });
});

test('waits are anything up to a bound that doubles, and has a bound itself', () => {
  const bounds = [1, 2, 3, 4].map((count) => backoffMs({ baseMs: 10, maxMs: 35, random: () => 1 }, count));
  expect(bounds).toEqual([10, 20, 35, 35]);
  expect(backoffMs({ random: () => 0 }, 3)).toBe(0);
});

describe('retry', () => {
  let scope: RequestScope;

  beforeEach(() => {
    jest.useFakeTimers();
    scope = RequestScope.start(new DeadlineTimers({ now: () => Date.now() }), { timeoutMs: 1000 });
  });

  afterEach(() => jest.useRealTimers());

  const full = (): RetryBudget => new RetryBudget({ initialTokens: 10 });

  async function run(budget: RetryBudget, work: (attempt: number) => Promise<string>, baseMs = 10): Promise<unknown> {
    const policy = { budget, maxAttempts: 3, baseMs, maxMs: 5000, random: () => 1, retryable: isAway };
    const result = retry(policy, scope, work).catch((error: unknown) => error);
    await jest.advanceTimersByTimeAsync(2000);
    return result;
  }

  test('succeeds with a later attempt', async () => {
    expect(await run(full(), (attempt) => attempt < 3 ? Promise.reject(AWAY) : Promise.resolve(`attempt ${attempt}`))).toBe('attempt 3');
  });

  test('fails with the last error when its attempts are used up', async () => {
    const work = jest.fn(() => Promise.reject(AWAY));
    expect(await run(full(), work)).toBe(AWAY);
    expect(work).toHaveBeenCalledTimes(3);
  });

  test.each([
    ['the error is none to retry', full, new Error('bug'), 10],
    ['the budget is empty', () => new RetryBudget(), AWAY, 10],
    ['the deadline would pass in the wait', full, AWAY, 1500],
  ])('tries once where %s', async (_why, budget, error, baseMs) => {
    const work = jest.fn(() => Promise.reject(error));
    expect(await run(budget(), work, baseMs)).toBe(error);
    expect(work).toHaveBeenCalledTimes(1);
  });
});
