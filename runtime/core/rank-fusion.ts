/** One list of neighbours from several, by their ranks alone: scores of words and of vectors have no common scale. */
import type { VectorHit } from './ports';

/** Cormack, Clarke and Büttcher, "Reciprocal Rank Fusion outperforms Condorcet and individual Rank Learning Methods", SIGIR 2009. */
const RANK_CONSTANT = 60;

/** What each list is asked for at least: a document that only one list has, behind this rank, adds little to what others have. */
const LEAST_DEPTH = 50;

/** How many hits each list must have for `k` of both. */
export const fusionDepth = (k: number): number => Math.max(k, LEAST_DEPTH);

/** The best `k` of all lists: the score is the sum of 1 / (60 + rank), ranks from 1. Of equal ones those of the first list come first. */
export function fuse(lists: readonly (readonly VectorHit[])[], k: number): VectorHit[] {
  const fused = new Map<string, VectorHit>();
  for (const list of lists) {
    for (const [at, hit] of list.entries()) {
      const score = 1 / (RANK_CONSTANT + at + 1) + (fused.get(hit.id)?.score ?? 0);
      fused.set(hit.id, { ...hit, score });
    }
  }
  return [...fused.values()].sort((a, b) => b.score - a.score).slice(0, k);
}
