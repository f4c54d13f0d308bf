/**
 * A quantile sketch whose error is relative and which merges without loss: DDSketch (Masson, Rim, Lee, VLDB 2019), logarithmic mapping.
 *
 * Own, because @datadog/sketches-js 2.1.1 leaves the negative values out of `merge` and bounds no bins; that library is the reference of
 * the tests. It needs 25 ns for a value, this 55 ns, for sampled requests only.
 */
import { BrainError } from '../core/errors';

/** Of every quantile. */
export const RELATIVE_ACCURACY = 0.01;
const GAMMA = (1 + RELATIVE_ACCURACY) / (1 - RELATIVE_ACCURACY);
const LOG_GAMMA = Math.log(GAMMA);
/** Nearer to zero than this counts as zero. */
const LEAST = 1e-9;
/** Bins of each sign; beyond it the bins nearest to zero become one. 2048 bins span 17 decades. */
const MAX_BINS = 2048;

/** Bin key → count. */
export type Bins = Readonly<Record<string, number>>;

export interface SketchJson {
  readonly type: 'ddsketch';
  readonly relativeAccuracy: number;
  readonly count: number;
  readonly sum: number;
  /** Null where the sketch is empty. */
  readonly min: number | null;
  readonly max: number | null;
  readonly zero: number;
  /** Bin `k` holds values in (γ^(k-1), γ^k], γ = (1 + accuracy) / (1 - accuracy); `negative` by absolute value. */
  readonly positive: Bins;
  readonly negative: Bins;
  /** Values that are no finite number: in none of the others. */
  readonly notFinite: number;
}

export class Sketch {
  /** Fails with INVALID_CONFIGURATION for a sketch of another accuracy: the two do not merge. */
  static fromJSON(json: SketchJson): Sketch {
    if (json.relativeAccuracy !== RELATIVE_ACCURACY) {
      throw new BrainError('INVALID_CONFIGURATION', `a sketch of accuracy ${json.relativeAccuracy} does not merge with one of ${RELATIVE_ACCURACY}`);
    }
    const sketch = new Sketch();
    sketch.count = json.count;
    sketch.sum = json.sum;
    sketch.zero = json.zero;
    sketch.notFinite = json.notFinite;
    sketch.min = json.min ?? Infinity;
    sketch.max = json.max ?? -Infinity;
    for (const [key, count] of Object.entries(json.positive)) sketch.positive.set(Number(key), count);
    for (const [key, count] of Object.entries(json.negative)) sketch.negative.set(Number(key), count);
    return sketch;
  }

  count = 0;
  sum = 0;
  min = Infinity;
  max = -Infinity;
  notFinite = 0;
  private zero = 0;
  private readonly positive = new Map<number, number>();
  private readonly negative = new Map<number, number>();

  add(value: number): void {
    if (!Number.isFinite(value)) {
      this.notFinite++;
      return;
    }
    if (value > LEAST) addTo(this.positive, keyOf(value), 1);
    else if (value < -LEAST) addTo(this.negative, keyOf(-value), 1);
    else this.zero++;
    this.count++;
    this.sum += value;
    if (value < this.min) this.min = value;
    if (value > this.max) this.max = value;
  }

  merge(other: Sketch): void {
    for (const [key, count] of other.positive) addTo(this.positive, key, count);
    for (const [key, count] of other.negative) addTo(this.negative, key, count);
    this.zero += other.zero;
    this.count += other.count;
    this.sum += other.sum;
    this.notFinite += other.notFinite;
    this.min = Math.min(this.min, other.min);
    this.max = Math.max(this.max, other.max);
  }

  /** The value of rank `share * (count - 1)`, within {@link RELATIVE_ACCURACY}; NaN where the sketch is empty. */
  quantile(share: number): number {
    if (this.count === 0) return NaN;
    let left = Math.floor(share * (this.count - 1));
    for (const [key, count] of [...this.negative].sort(([a], [b]) => b - a)) {
      left -= count;
      if (left < 0) return -valueOf(key);
    }
    left -= this.zero;
    if (left < 0) return 0;
    for (const [key, count] of [...this.positive].sort(([a], [b]) => a - b)) {
      left -= count;
      if (left < 0) return valueOf(key);
    }
    return this.max;
  }

  toJSON(): SketchJson {
    const { count, sum, zero, notFinite } = this;
    return {
      type: 'ddsketch',
      relativeAccuracy: RELATIVE_ACCURACY,
      count,
      sum,
      zero,
      notFinite,
      min: count === 0 ? null : this.min,
      max: count === 0 ? null : this.max,
      positive: Object.fromEntries(this.positive),
      negative: Object.fromEntries(this.negative),
    };
  }
}

const keyOf = (value: number): number => Math.ceil(Math.log(value) / LOG_GAMMA);
/** The value that is within the accuracy of both ends of its bin. */
const valueOf = (key: number): number => 2 * GAMMA ** key / (GAMMA + 1);

function addTo(bins: Map<number, number>, key: number, count: number): void {
  const known = bins.get(key);
  if (known !== undefined) {bins.set(key, known + count);} else {
    bins.set(key, count);
    if (bins.size > MAX_BINS) collapse(bins);
  }
}

/** Joins the two bins nearest to zero: what is small loses its accuracy first. */
function collapse(bins: Map<number, number>): void {
  let least = Infinity;
  let next = Infinity;
  for (const key of bins.keys()) {
    if (key < least) {
      next = least;
      least = key;
    } else if (key < next) {
      next = key;
    }
  }
  bins.set(next, bins.get(next)! + bins.get(least)!);
  bins.delete(least);
}
