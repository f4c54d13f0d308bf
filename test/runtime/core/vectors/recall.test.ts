import fc from 'fast-check';
import { MemoryCluster } from './memory-cluster.fixture';
import type { RecallProgress } from '../../../../runtime/core/vectors/generation-cluster';
import { foundOf, measureRecall, recallOf, type RecallQuestions, without } from '../../../../runtime/core/vectors/recall';
import { questionsAtOnce, type VectorIndexSchema } from '../../../../src/contract';

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

describe('recall that is measured', () => {
  const index: VectorIndexSchema = { name: 'places', dimension: 1, similarity: 'l2', engine: 'lucene', fields: [], hnsw: { m: 16, efConstruction: 100, efSearch: 100 } };
  const clusterOf = (values: readonly number[]): MemoryCluster => {
    const cluster = new MemoryCluster();
    const documents = new Map(values.map((value, at) => [`d${at}`, [value]] as const));
    cluster.made.set('1', { documents, sealed: true, merged: true, replicated: true, warm: true });
    return cluster;
  };
  /** Of a graph that finds every second neighbour. */
  const questionsOf = (cluster: MemoryCluster, k: number, sample: number): RecallQuestions => ({
    cluster, index, generation: '1', k, sample, approximate: async (vector, of) => (await cluster.exact(index, '1', vector, of)).filter((_, at) => at % 2 === 0),
  });

  test('in ranges, call by call, with what was found handed on as text, is what one search over all says', async () => {
    const distinct = fc.uniqueArray(fc.integer({ min: 0, max: 10_000 }), { minLength: 0, maxLength: 60 });
    const upTo = (max: number) => fc.integer({ min: 1, max });
    await fc.assert(fc.asyncProperty(distinct, upTo(70), upTo(12), upTo(40), async (values, step, k, sample) => {
      const cluster = clusterOf(values);
      const whole = await measureRecall(questionsOf(cluster, k, sample), undefined, () => false);
      expect(whole).toMatchObject({ asked: Math.min(sample, values.length), done: true });
      cluster.step = step;
      let progress: RecallProgress | undefined;
      for (let done = false; !done;) {
        const { done: over, ...reached } = await measureRecall(questionsOf(cluster, k, sample), progress, () => true);
        progress = JSON.parse(JSON.stringify(reached)) as RecallProgress;
        done = over;
      }
      expect({ ...progress, done: true }).toEqual(whole);
    }), { numRuns: 60 });
  });

  test('stops after any single call, and is what the graph finds', async () => {
    const cluster = clusterOf(Array.from({ length: 40 }, (_, at) => at * at));
    cluster.step = 7;
    let calls = 0;
    cluster.around = (call, when) => void (when === 'before' && call === 'exact' && calls++);
    const { done, asked } = await measureRecall(questionsOf(cluster, 4, 5), undefined, () => true);
    expect([done, asked, calls]).toEqual([false, 0, 1]);
    const measured = await measureRecall(questionsOf(cluster, 4, 5), undefined, () => false);
    // the vector itself, which does not count, is the first of the five
    expect(recallOf(measured)).toBe(0.5);
  });

  test.each([[10, 11], [1, 20], [100, 2]])('for %i neighbours asks %i questions side by side: what is handed on is bounded', (k, questions) => {
    expect(questionsAtOnce(k)).toBe(questions);
  });

  test('of too few to ask is none', () => expect(recallOf({ found: 0, wanted: 0 })).toBeUndefined());
});
