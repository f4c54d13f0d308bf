/**
 * Counts of values in exponential buckets. Each bucket is 10 % wider than the one before, so a quantile is off by less than 5 % where the
 * bucket's geometric middle stands for it, from 0.1 to 30,000 (of whatever unit) in 134 buckets.
 */

const LEAST = 0.1;
const MOST = 30_000;
const GROWTH = 1.1;
const LOG_GROWTH = Math.log(GROWTH);

/** Inclusive upper bounds, ascending; values above the last are in one more bucket. */
export const BOUNDS: readonly number[] = Array.from(
  { length: Math.ceil(Math.log(MOST / LEAST) / LOG_GROWTH) + 1 }, (_, index) => LEAST * GROWTH ** index,
);
const OVERFLOW = BOUNDS.length;
const FIXED = Float64Array.from(BOUNDS);

/** The bucket of a value; what is no number counts as zero. */
export function bucketOf(value: number): number {
  if (!(value > LEAST)) return 0;
  if (value > FIXED[OVERFLOW - 1]) return OVERFLOW;
  let index = Math.ceil(Math.log(value / LEAST) / LOG_GROWTH);
  // the logarithm may be off by its last digit: bounds are exact
  if (value <= FIXED[index - 1]) index--;
  else if (value > FIXED[index]) index++;
  return index;
}

/** What stands for a bucket's values: its geometric middle. */
export function middleOf(bucket: number): number {
  if (bucket === 0) return LEAST / 2;
  if (bucket === OVERFLOW) return FIXED[OVERFLOW - 1];
  return Math.sqrt(FIXED[bucket - 1] * FIXED[bucket]);
}

export class Histogram {
  readonly counts = new Float64Array(OVERFLOW + 1);
  sum = 0;
  count = 0;

  record(value: number): void {
    this.counts[bucketOf(value)]++;
    this.count++;
    if (Number.isFinite(value)) this.sum += value;
  }

  add(other: Histogram): void {
    for (let index = 0; index <= OVERFLOW; index++) this.counts[index] += other.counts[index];
    this.sum += other.sum;
    this.count += other.count;
  }

  copy(): Histogram {
    const copy = new Histogram();
    copy.add(this);
    return copy;
  }

  /** What came since `before`, an earlier copy of this histogram. */
  since(before: Histogram | undefined): Histogram {
    const difference = this.copy();
    if (!before) return difference;
    for (let index = 0; index <= OVERFLOW; index++) difference.counts[index] -= before.counts[index];
    difference.sum -= before.sum;
    difference.count -= before.count;
    return difference;
  }

  /** NaN where nothing was recorded. */
  quantile(share: number): number {
    if (this.count === 0) return NaN;
    let left = Math.max(1, Math.ceil(share * this.count));
    for (let index = 0; index < OVERFLOW; index++) {
      left -= this.counts[index];
      if (left <= 0) return middleOf(index);
    }
    return middleOf(OVERFLOW);
  }
}
