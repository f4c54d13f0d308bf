import * as fc from 'fast-check';
import { BOUNDS, bucketOf, Histogram, middleOf } from '../../../runtime/telemetry/histogram';

const value = fc.double({ min: 0.1, max: 30_000, noNaN: true });

describe('a histogram', () => {
  test('puts each value into the bucket whose bounds hold it', () => {
    fc.assert(fc.property(fc.oneof(value, fc.constantFrom(...BOUNDS)), (given) => {
      const bucket = bucketOf(given);
      expect(given).toBeLessThanOrEqual(BOUNDS[bucket]);
      if (bucket > 0) expect(given).toBeGreaterThan(BOUNDS[bucket - 1]);
    }));
  });

  test('tells every quantile from 0.1 to 30,000 within 5 %', () => {
    fc.assert(fc.property(fc.array(value, { minLength: 1, maxLength: 200 }), fc.constantFrom(0.5, 0.95, 0.99, 1), (values, share) => {
      const histogram = new Histogram();
      for (const one of values) histogram.record(one);
      const exact = values.sort((a, b) => a - b)[Math.max(1, Math.ceil(share * values.length)) - 1];
      expect(Math.abs(histogram.quantile(share) / exact - 1)).toBeLessThan(exact === 0.1 ? 0.51 : 0.05);
    }));
  });

  test('takes what is beyond its range, and what is no number, without losing count', () => {
    const histogram = new Histogram();
    for (const odd of [0, -1, NaN, Infinity, 1e9]) histogram.record(odd);
    expect(histogram.count).toBe(5);
    expect(histogram.counts[0]).toBe(3);
    expect(histogram.counts[BOUNDS.length]).toBe(2);
    expect(Number.isFinite(histogram.sum)).toBe(true);
  });

  test('knows what came since a copy', () => {
    const histogram = new Histogram();
    histogram.record(5);
    const before = histogram.copy();
    histogram.record(500);
    const since = histogram.since(before);
    expect([since.count, since.sum]).toEqual([1, 500]);
    expect(since.quantile(0.5)).toBe(middleOf(bucketOf(500)));
  });

  test('of nothing has no quantile', () => {
    expect(new Histogram().quantile(0.5)).toBeNaN();
  });
});
