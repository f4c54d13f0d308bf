/** How often each value of a category came: exact for the first that were seen, the rest together, so that memory is bounded. */

/** Distinct values that are kept while counting, and that are written. */
const MAX_DISTINCT = 512;
const TOP = 64;
/** A longer text is no category. */
const MAX_LENGTH = 64;

export interface CategoriesJson {
  readonly type: 'categories';
  readonly count: number;
  /** The most frequent values, by count. */
  readonly top: Readonly<Record<string, number>>;
  /** Occurrences of all others. */
  readonly other: number;
}

export class Categories {
  static fromJSON({ count, top, other }: CategoriesJson): Categories {
    const categories = new Categories();
    for (const [value, times] of Object.entries(top)) categories.counts.set(value, times);
    categories.other = other;
    categories.count = count;
    return categories;
  }

  count = 0;
  private other = 0;
  private readonly counts = new Map<string, number>();

  /** @param least values that came less often are written among the others: one that came once may be somebody's own */
  constructor(private readonly least = 1) {}

  add(value: string, count = 1): void {
    this.count += count;
    const known = this.counts.get(value);
    if (known !== undefined) this.counts.set(value, known + count);
    else if (this.counts.size < MAX_DISTINCT && value.length <= MAX_LENGTH) this.counts.set(value, count);
    else this.other += count;
  }

  merge(other: Categories): void {
    for (const [value, count] of other.counts) this.add(value, count);
    this.count += other.other;
    this.other += other.other;
  }

  /** 0 for a value that is among the others. */
  of(value: string): number {
    return this.counts.get(value) ?? 0;
  }

  toJSON(): CategoriesJson {
    const frequent = [...this.counts].filter(([, times]) => times >= this.least);
    const top = frequent.sort(([a, x], [b, y]) => y - x || (a < b ? -1 : 1)).slice(0, TOP);
    const shown = top.reduce((sum, [, times]) => sum + times, 0);
    return { type: 'categories', count: this.count, top: Object.fromEntries(top), other: this.count - shown };
  }
}
