/** Recall@k: the share of the true neighbours that an approximate search finds. */
import type { Scored } from './generation-cluster';

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
