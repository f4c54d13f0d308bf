import { line, median, reached, type Measure } from '../../bench/measure';

const measure = (value: number, op: Measure['op'] = '<='): Measure => ({ name: 'synth.cpu-ratio', value, op, goal: 1.3, comparedWith: '1 s against 1 s' });

test('a benchmark prints measure, value, goal and verdict, then what it was compared with', () => {
  expect(line(measure(1.23456))).toBe('synth.cpu-ratio 1.235 goal <= 1.3 ok  (1 s against 1 s)');
  expect(line(measure(2))).toMatch(/^synth\.cpu-ratio 2 goal <= 1\.3 short /);
});

test('a goal is reached on its own side, the number itself included', () => {
  expect([1.2, 1.3, 1.4].map((value) => reached(measure(value)))).toEqual([true, true, false]);
  expect([1.2, 1.3, 1.4].map((value) => reached(measure(value, '>=')))).toEqual([false, true, true]);
});

test('the median of an odd and of an even number of values', () => {
  expect([median([3, 1, 2]), median([4, 1, 2, 3])]).toEqual([2, 2.5]);
});
