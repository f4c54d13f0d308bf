/** Scores as OpenSearch defines them for k-NN (its documentation, "Spaces"): larger is nearer, never negative. */
import type { Similarity } from '../../src/contract';

/**
 * @param raw the cosine for `cosine`, the dot product for `dot`, the squared Euclidean distance for `l2`
 */
export function scoreOf(similarity: Similarity, raw: number): number {
  switch (similarity) {
    case 'cosine':
      return (1 + raw) / 2;
    case 'dot':
      return raw >= 0 ? raw + 1 : 1 / (1 - raw);
    case 'l2':
      return 1 / (1 + raw);
  }
}
