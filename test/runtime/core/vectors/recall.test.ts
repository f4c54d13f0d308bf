import { foundOf, without } from '../../../../runtime/core/vectors/recall';

const hits = (...scores: number[]) => scores.map((score, at) => ({ id: `d${at}`, score }));

describe('recall', () => {
  test('counts the true neighbours among the first k', () => {
    const exact = hits(0.9, 0.8, 0.7, 0.6);
    expect(foundOf(exact, [exact[0], exact[2], { id: 'x', score: 0.1 }], 3)).toBe(2);
    expect(foundOf(exact, [{ id: 'x', score: 0.9 }, ...exact], 3)).toBe(2);
    expect(foundOf(exact, exact, 3)).toBe(3);
    expect(foundOf(exact, [], 3)).toBe(0);
  });

  test('takes any of those that are as near as the k-th', () => {
    const exact = hits(0.9, 0.5, 0.5, 0.5);
    expect(foundOf(exact, [exact[0], exact[3]], 2)).toBe(2);
    expect(foundOf(exact, [exact[1], exact[2], exact[3]], 3)).toBe(3);
  });

  test('wants no more than there are, and counts nothing twice', () => {
    expect(foundOf(hits(0.9), hits(0.9), 5)).toBe(1);
    expect(foundOf([], [], 5)).toBe(0);
    expect(foundOf(hits(0.9, 0.8), [hits(0.9)[0], hits(0.9)[0]], 2)).toBe(1);
  });

  test('leaves out the question itself', () => expect(without(hits(1, 0.5), 'd0')).toEqual([{ id: 'd1', score: 0.5 }]));
});
