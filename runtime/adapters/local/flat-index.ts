/** Exact nearest-neighbour search over vectors in memory: every vector is looked at, so recall is 1. Meant for some ten thousand vectors. */
import type { Similarity } from '../../../src/contract';
import { scoreOf } from '../../core/similarity';

export interface FlatHit {
  /** Position of the vector in the index. */
  readonly position: number;
  readonly score: number;
}

export class FlatIndex {
  readonly count: number;
  /** 1 / length of each vector, for cosine. */
  private readonly inverseNorms: Float64Array | undefined;

  /** @param vectors row-major, `count × dimension` */
  constructor(private readonly vectors: Float32Array, private readonly dimension: number, private readonly similarity: Similarity) {
    this.count = vectors.length / dimension;
    if (similarity === 'cosine') {
      this.inverseNorms = new Float64Array(this.count);
      for (let row = 0; row < this.count; row++) {
        const at = row * dimension;
        this.inverseNorms[row] = 1 / Math.sqrt(dot(vectors, at, vectors, at, dimension));
      }
    }
  }

  /** The vector at a position; not a copy. */
  vector(position: number): Float32Array {
    return this.vectors.subarray(position * this.dimension, (position + 1) * this.dimension);
  }

  /**
   * The k nearest, nearest first; of equally near ones the earlier position.
   *
   * @param passing 1 for each vector that may be found, by position; all may without it
   */
  search(query: Float32Array, k: number, passing?: Uint8Array): FlatHit[] {
    const wanted = Math.min(k, this.count);
    if (wanted === 0) return [];
    const raw = this.measure(query);
    // l2 is a distance: negated, larger is nearer for all three
    const sign = this.similarity === 'l2' ? -1 : 1;
    const nearest = new NearestHeap(wanted);
    for (let row = 0; row < this.count; row++) if (!passing || passing[row] === 1) nearest.offer(sign * raw[row], row);
    return nearest.descending().map((position) => ({ position, score: scoreOf(this.similarity, raw[position]) }));
  }

  /** Cosine, dot product or squared distance of every vector, in double precision. */
  private measure(query: Float32Array): Float64Array {
    const { vectors, dimension, count, inverseNorms } = this;
    const raw = new Float64Array(count);
    if (this.similarity === 'l2') {
      for (let row = 0; row < count; row++) raw[row] = squaredDistance(vectors, row * dimension, query, dimension);
      return raw;
    }
    for (let row = 0; row < count; row++) raw[row] = dot(vectors, row * dimension, query, 0, dimension);
    if (inverseNorms) {
      const inverse = 1 / Math.sqrt(dot(query, 0, query, 0, dimension));
      for (let row = 0; row < count; row++) raw[row] = Math.min(1, Math.max(-1, raw[row] * inverseNorms[row] * inverse));
    }
    return raw;
  }
}

/** Four sums at once: they do not wait for each other. */
function dot(a: Float32Array, from: number, b: Float32Array, offset: number, length: number): number {
  let sum0 = 0;
  let sum1 = 0;
  let sum2 = 0;
  let sum3 = 0;
  let i = 0;
  for (; i + 3 < length; i += 4) {
    sum0 += a[from + i] * b[offset + i];
    sum1 += a[from + i + 1] * b[offset + i + 1];
    sum2 += a[from + i + 2] * b[offset + i + 2];
    sum3 += a[from + i + 3] * b[offset + i + 3];
  }
  for (; i < length; i++) sum0 += a[from + i] * b[offset + i];
  return sum0 + sum1 + (sum2 + sum3);
}

function squaredDistance(a: Float32Array, from: number, b: Float32Array, length: number): number {
  let sum0 = 0;
  let sum1 = 0;
  let i = 0;
  for (; i + 1 < length; i += 2) {
    const d0 = a[from + i] - b[i];
    const d1 = a[from + i + 1] - b[i + 1];
    sum0 += d0 * d0;
    sum1 += d1 * d1;
  }
  if (i < length) sum0 += (a[from + i] - b[i]) ** 2;
  return sum0 + sum1;
}

/** The best so far, the worst of them on top. */
class NearestHeap {
  private readonly values: Float64Array;
  private readonly positions: Int32Array;
  private size = 0;

  constructor(private readonly capacity: number) {
    this.values = new Float64Array(capacity);
    this.positions = new Int32Array(capacity);
  }

  offer(value: number, position: number): void {
    if (this.size < this.capacity) {
      this.place(this.size++, value, position, true);
    } else if (value > this.values[0]) {
      // positions come in ascending order, so an equal value never displaces an earlier one
      this.place(0, value, position, false);
    }
  }

  /** Positions, best first. */
  descending(): number[] {
    return Array.from(this.positions.subarray(0, this.size), (position, slot) => ({ position, value: this.values[slot] }))
      .sort((a, b) => b.value - a.value || a.position - b.position)
      .map(({ position }) => position);
  }

  private place(slot: number, value: number, position: number, up: boolean): void {
    const { values, positions } = this;
    while (up && slot > 0) {
      const parent = Math.floor((slot - 1) / 2);
      if (!worse(value, position, values[parent], positions[parent])) break;
      values[slot] = values[parent];
      positions[slot] = positions[parent];
      slot = parent;
    }
    while (!up) {
      let child = 2 * slot + 1;
      if (child >= this.size) break;
      if (child + 1 < this.size && worse(values[child + 1], positions[child + 1], values[child], positions[child])) child++;
      if (!worse(values[child], positions[child], value, position)) break;
      values[slot] = values[child];
      positions[slot] = positions[child];
      slot = child;
    }
    values[slot] = value;
    positions[slot] = position;
  }
}

function worse(value: number, position: number, other: number, otherPosition: number): boolean {
  return value < other || (value === other && position > otherPosition);
}
