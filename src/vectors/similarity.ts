import * as contract from '../contract';

/** How near two vectors are. Larger scores are nearer, in all of them. */
export class Similarity {
  /** Cosine of the angle between two vectors; their length does not matter. A vector of zeros has no angle and is refused. */
  static readonly COSINE = new Similarity('cosine');
  /** Euclidean distance. */
  static readonly L2 = new Similarity('l2');
  /** Dot product: direction and length. */
  static readonly DOT = new Similarity('dot');

  private constructor(private readonly value: contract.Similarity) {}

  /** The name in the index schema. */
  toString(): string {
    return this.value;
  }

  /** @internal */
  _render(): contract.Similarity {
    return this.value;
  }
}
