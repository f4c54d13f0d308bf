import { PerSecond } from '../../../runtime/telemetry/per-second';

test('a second holds so many, and the next one as many again', () => {
  const rate = new PerSecond(3);
  const taken = (now: number) => [1, 2, 3, 4, 5].filter(() => rate.take(now)).length;
  expect(taken(5000)).toBe(3);
  expect(taken(5999)).toBe(0);
  expect(taken(6000)).toBe(3);
});
