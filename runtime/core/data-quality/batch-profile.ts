/** What only a batch can show: how many of its rows lack a feature, and how old its newest event is. Violations are counted, rows are written. */
import type { BatchExpectation, FeatureGroupSchema } from '../../../src/contract';
import type { FeatureWrite } from '../ports';

export interface Violation {
  readonly expectation: BatchExpectation;
  /** Absent for what is expected of the group. */
  readonly feature?: string;
  /** What was found, and what is expected at most: a share of rows, or seconds. */
  readonly found: number;
  readonly most: number;
  readonly text: string;
}

export class BatchProfile {
  private readonly watched: readonly { readonly name: string; readonly most: number }[];
  private readonly nulls: Map<string, number>;
  private newest = -Infinity;
  private count = 0;

  constructor(private readonly group: FeatureGroupSchema) {
    this.watched = group.features.flatMap(({ name, expectations }) => {
      const most = expectations?.maxNullRate;
      return most === undefined ? [] : [{ name, most }];
    });
    this.nulls = new Map(this.watched.map(({ name }) => [name, 0]));
  }

  /** Rows so far. */
  get rows(): number {
    return this.count;
  }

  /** The newest event so far, milliseconds since the epoch; undefined without rows. */
  get newestEvent(): number | undefined {
    return this.count === 0 ? undefined : this.newest;
  }

  /** A row that is written. */
  add({ eventTime, values }: Pick<FeatureWrite, 'eventTime' | 'values'>): void {
    this.count++;
    if (eventTime > this.newest) this.newest = eventTime;
    for (const { name } of this.watched) {
      if (values[name] === null || values[name] === undefined) this.nulls.set(name, this.nulls.get(name)! + 1);
    }
  }

  /**
   * Where one null more or less would decide alone, a rate says nothing: it is judged from 1 / `maxNullRate` rows on.
   *
   * @param now milliseconds since the epoch, by which freshness is judged. @default - it is not: rows of the past are none that came in
   */
  violations(now?: number): Violation[] {
    if (this.count === 0) return [];
    const violations: Violation[] = this.watched.flatMap(({ name, most }) => {
      const found = this.nulls.get(name)! / this.count;
      if (found <= most || (most > 0 && this.count < 1 / most)) return [];
      const text = `${percent(found)} of ${this.count} rows have no '${name}', at most ${percent(most)} are expected`;
      return [{ expectation: 'null-rate', feature: name, found, most, text }];
    });
    const { freshness } = this.group;
    if (now === undefined || freshness === undefined) return violations;
    const age = (now - this.newest) / 1000;
    if (age > freshness) {
      violations.push({ expectation: 'freshness', found: age, most: freshness, text: `the newest event is ${Math.round(age)} s old, at most ${freshness} s are expected` });
    }
    return violations;
  }
}

const percent = (share: number): string => `${Number((share * 100).toPrecision(3))} %`;
