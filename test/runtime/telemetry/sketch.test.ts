import { LogCollapsingLowestDenseDDSketch } from '@datadog/sketches-js';
import * as fc from 'fast-check';
import { Categories } from '../../../runtime/telemetry/categories';
import { RELATIVE_ACCURACY, Sketch } from '../../../runtime/telemetry/sketch';

const SHARES = [0, 0.01, 0.25, 0.5, 0.75, 0.95, 0.99, 1];
const number = fc.oneof(
  fc.double({ min: -1e6, max: 1e6, noNaN: true }), fc.integer({ min: -10, max: 10 }), fc.constantFrom(0, 1e-6, -1e-6, 1e12, -1e12),
);
const numbers = fc.array(number, { minLength: 1, maxLength: 300 });

function sketchOf(values: readonly number[]): Sketch {
  const sketch = new Sketch();
  for (const value of values) sketch.add(value);
  return sketch;
}

describe('a sketch', () => {
  test('tells every quantile within its relative accuracy, of either sign', () => {
    fc.assert(fc.property(numbers, (values) => {
      const sketch = sketchOf(values);
      const sorted = [...values].sort((a, b) => a - b);
      for (const share of SHARES) {
        const exact = sorted[Math.floor(share * (values.length - 1))];
        expect(Math.abs(sketch.quantile(share) - exact)).toBeLessThanOrEqual(RELATIVE_ACCURACY * Math.abs(exact) * (1 + 1e-9) + 1e-9);
      }
    }));
  });

  test('merged with another is the sketch of all values, in either order', () => {
    fc.assert(fc.property(numbers, numbers, (one, other) => {
      const { sum: total, ...whole } = sketchOf([...one, ...other]).toJSON();
      for (const [first, second] of [[one, other], [other, one]]) {
        const merged = sketchOf(first);
        merged.merge(sketchOf(second));
        const { sum, ...rest } = merged.toJSON();
        expect(rest).toEqual(whole);
        // additions in another order round otherwise
        expect(Math.abs(sum - total)).toBeLessThanOrEqual(1e-9 * [...one, ...other].reduce((size, value) => size + Math.abs(value), 0));
      }
    }));
  });

  test('is the same after it was written and read', () => {
    fc.assert(fc.property(numbers, (values) => {
      const sketch = sketchOf(values);
      const read = Sketch.fromJSON(JSON.parse(JSON.stringify(sketch)));
      expect(JSON.stringify(read)).toBe(JSON.stringify(sketch));
      expect(SHARES.map((share) => read.quantile(share))).toEqual(SHARES.map((share) => sketch.quantile(share)));
    }));
  });

  test('has the quantiles of the reference implementation', () => {
    fc.assert(fc.property(fc.array(fc.double({ min: 1e-3, max: 1e6, noNaN: true }), { minLength: 1 }), (values) => {
      const reference = new LogCollapsingLowestDenseDDSketch({ relativeAccuracy: RELATIVE_ACCURACY });
      for (const value of values) reference.accept(value);
      const sketch = sketchOf(values);
      for (const share of SHARES) {
        // both are within the accuracy of the same value, and a bin's border may fall to either side
        expect(Math.abs(sketch.quantile(share) / reference.getValueAtQuantile(share) - 1)).toBeLessThan(2.1 * RELATIVE_ACCURACY);
      }
    }));
  });

  test('counts what is no finite number beside the others', () => {
    const sketch = sketchOf([1, NaN, Infinity, -Infinity]);
    expect(sketch.toJSON()).toMatchObject({ count: 1, notFinite: 3, min: 1, max: 1, sum: 1 });
  });

  test('of nothing has no quantile, and JSON has its form', () => {
    expect(new Sketch().quantile(0.5)).toBeNaN();
    expect(new Sketch().toJSON()).toMatchObject({ count: 0, min: null, max: null });
  });

  test('keeps large values exact when it runs out of bins', () => {
    const values = Array.from({ length: 5000 }, (_, index) => 1e-8 * 1.02 ** index).filter((value) => value < 1e300);
    const sketch = sketchOf(values);
    const { positive } = sketch.toJSON();
    expect(Object.keys(positive).length).toBeLessThanOrEqual(2048);
    expect(Object.values(positive).reduce((sum, count) => sum + count, 0)).toBe(values.length);
    expect(Math.abs(sketch.quantile(0.99) / values[Math.floor(0.99 * (values.length - 1))] - 1)).toBeLessThan(RELATIVE_ACCURACY * 1.001);
  });

  test('of another accuracy is refused', () => {
    expect(() => Sketch.fromJSON({ ...new Sketch().toJSON(), relativeAccuracy: 0.5 })).toThrow('does not merge');
  });
});

describe('categories', () => {
  const words = fc.array(fc.constantFrom('a', 'b', 'c', 'dd', 'ee'), { maxLength: 100 });
  const of = (values: readonly string[], least = 1) => {
    const categories = new Categories(least);
    for (const value of values) categories.add(value);
    return categories;
  };

  test('merged are the categories of all values', () => {
    fc.assert(fc.property(words, words, (one, other) => {
      const merged = of(one);
      merged.merge(of(other));
      expect(merged.toJSON()).toEqual(of([...one, ...other]).toJSON());
    }));
  });

  test('are bounded, and lose no count', () => {
    const many = of(Array.from({ length: 3000 }, (_, index) => `value ${index % 1500}`));
    many.add('x'.repeat(1000));
    const { count, top, other } = many.toJSON();
    expect(Object.keys(top)).toHaveLength(64);
    expect(Object.values(top).reduce((sum, times) => sum + times, 0) + other).toBe(count);
    expect(count).toBe(3001);
  });

  test('leave out what came too seldom to be a class', () => {
    expect(of(['yes', 'yes', 'yes', 'Ms Smith'], 3).toJSON()).toEqual({ type: 'categories', count: 4, top: { yes: 3 }, other: 1 });
  });

  test('are the same after they were written and read', () => {
    const categories = of(['a', 'b', 'a']);
    expect(Categories.fromJSON(JSON.parse(JSON.stringify(categories))).toJSON()).toEqual(categories.toJSON());
  });
});
