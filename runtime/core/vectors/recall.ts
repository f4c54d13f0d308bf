/** Recall@k: the share of the true neighbours that an approximate search finds. */
import type { GenerationCluster, RecallProgress, Scored } from './generation-cluster';
import { EXACT_TIES, questionsAtOnce, type VectorIndexSchema } from '../../../src/contract';

/** Scores of the two searches are computed in different precision and order of summation; nearer than this they are one distance. */
const TIE = 1e-4;

/**
 * How many of the first k exact neighbours, or of those as near as the last of them, were found.
 *
 * @param exact nearest first, more than k where there are more, so that ties with the k-th are among them
 */
export function foundOf(exact: readonly Scored[], approximate: readonly Scored[], k: number): number {
  const wanted = Math.min(k, exact.length);
  if (wanted === 0) return 0;
  const least = exact[wanted - 1].score - TIE * Math.abs(exact[wanted - 1].score);
  const near = new Set(exact.filter(({ score }) => score >= least).map(({ id }) => id));
  const found = new Set(approximate.slice(0, k).map(({ id }) => id).filter((id) => near.has(id)));
  return Math.min(wanted, found.size);
}

/** Without one document, for questions that are vectors of the index themselves. */
export const without = (hits: readonly Scored[], id: string): Scored[] => hits.filter((hit) => hit.id !== id);

export interface RecallQuestions {
  readonly cluster: GenerationCluster;
  readonly index: VectorIndexSchema;
  /** Whose vectors are asked for, and searched exactly. */
  readonly generation: string;
  readonly k: number;
  /** Vectors that are asked for. */
  readonly sample: number;
  /** The search that is measured. */
  readonly approximate: (vector: readonly number[], k: number) => Promise<readonly Scored[]>;
}

/**
 * Goes on measuring until it is done, or `isOver` says after a call that the rest is for another time.
 *
 * Exact search looks at so much that it takes many calls: documents are looked at range by range, and at each for some questions, one after the other,
 * so that it is read from disk once for all of these.
 */
export async function measureRecall(
  questions: RecallQuestions, progress: RecallProgress | undefined, isOver: () => boolean,
): Promise<RecallProgress & { readonly done: boolean }> {
  const { cluster, index, generation, k, approximate } = questions;
  const sample = await cluster.sample(index.name, generation, questions.sample);
  const { end, step } = await cluster.extent(index, generation);
  const kept = k + 1 + EXACT_TIES;
  let { asked, found, wanted, part } = progress ?? { asked: 0, found: 0, wanted: 0 };
  while (asked < sample.length) {
    const together = sample.slice(asked, asked + questionsAtOnce(k));
    const { from, at, nearest }: NonNullable<typeof part> = part ?? { from: 0, at: 0, nearest: together.map(() => []) };
    const { id, vector } = together[at];
    if (from < end) {
      const hits = await cluster.exact(index, generation, vector, kept, { from, to: from + step });
      const merged = nearest.map((before, of) => (of === at ? [...before, ...hits].sort((a, b) => b.score - a.score).slice(0, kept) : before));
      part = at + 1 < together.length ? { from, at: at + 1, nearest: merged } : { from: from + step, at: 0, nearest: merged };
    } else {
      // the vector itself is its own nearest neighbour, and found by any graph: it does not count
      const exact = without(nearest[at], id);
      found += foundOf(exact, without(await approximate(vector, k + 1), id), k);
      wanted += Math.min(k, exact.length);
      part = at + 1 < together.length ? { from, at: at + 1, nearest } : undefined;
      if (part === undefined) asked += together.length;
    }
    if (isOver()) break;
  }
  return { asked, found, wanted, ...part && { part }, done: asked >= sample.length };
}

/** Undefined where there was nothing to find. */
export function recallOf({ found, wanted }: Pick<RecallProgress, 'found' | 'wanted'>): number | undefined {
  return wanted === 0 ? undefined : found / wanted;
}
