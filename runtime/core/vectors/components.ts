/** Which vectors an index takes, as query and as document: what the k-NN plugin would refuse is refused everywhere, with one text. */
import type { VectorIndexSchema } from '../../../src/contract';

/** What each component of a vector may be, in single precision. */
export interface Components {
  readonly least: number;
  readonly most: number;
  readonly whole: boolean;
  /** They in words, plural. */
  readonly what: string;
}

const LARGEST_FLOAT = 3.4028234663852886e38;
const LARGEST_HALF = 65_504;

const FINITE: Components = { least: -LARGEST_FLOAT, most: LARGEST_FLOAT, whole: false, what: 'finite numbers' };
const HALVES: Components = { least: -LARGEST_HALF, most: LARGEST_HALF, whole: false, what: `numbers from -${LARGEST_HALF} to ${LARGEST_HALF}` };
const BYTES: Components = { least: -128, most: 127, whole: true, what: 'whole numbers from -128 to 127' };

/** Of a query: half precision is for documents, which the plugin compares with queries of single precision (its `KNNQueryBuilder`). */
export function queryComponents({ quantization }: VectorIndexSchema): Components {
  return quantization?.kind === 'byte' ? BYTES : FINITE;
}

/** Of a document: the plugin keeps half precision from disk as well where it is twice as small, and clips none (its `FaissMethodResolver`, `FaissSQEncoder`). */
export function documentComponents(index: VectorIndexSchema): Components {
  const { quantization } = index;
  const halves = quantization?.kind === 'fp16' || (quantization?.kind === 'disk' && quantization.compression === 2);
  return halves ? HALVES : queryComponents(index);
}

/** Of a vector that an index with cosine similarity does not take: engines disagree on what is near it. */
export const NO_DIRECTION = 'is zero, which has no cosine';

/** Why the index does not take the vector, as what is said of it; undefined where it does. */
export function vectorProblem({ similarity }: VectorIndexSchema, components: Components, vector: ArrayLike<number>): string | undefined {
  const { least, most, whole, what } = components;
  let zero = true;
  for (let at = 0; at < vector.length; at++) {
    const value = Math.fround(vector[at]);
    // NaN is in no range
    if (!(value >= least && value <= most) || (whole && !Number.isInteger(value))) return `holds ${vector[at]}, and must hold ${what}`;
    if (value !== 0) zero = false;
  }
  return zero && similarity === 'cosine' ? NO_DIRECTION : undefined;
}

/** Whether it is a list of so many numbers, of which {@link vectorProblem} tells whether an index takes them. */
export function isVector({ dimension }: VectorIndexSchema, value: unknown): value is readonly number[] {
  return Array.isArray(value) && value.length === dimension && value.every((component) => typeof component === 'number');
}
