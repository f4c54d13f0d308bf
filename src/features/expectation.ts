import { Token } from 'aws-cdk-lib';
import { CATEGORIES_MAX, FeatureDtype, FeatureExpectations } from '../contract';
import { fail } from '../private/fail';

/** Bounds of a range: at least one of the two. */
export interface ExpectedRange {
  /** Least value, inclusive. @default - none */
  readonly min?: number;
  /** Largest value, inclusive. @default - none */
  readonly max?: number;
}

/**
 * What the values of a feature are expected to be, judged on every row that comes in and in every backfill.
 *
 * A row that breaks a range or a set of categories is quarantined with the reason, and the others are written. A null rate is of a batch: its
 * rows are written, and the violation is a metric with an alarm. A batch is one call of a client, one file of an import, and one part of a backfill.
 */
export abstract class Expectation {
  /** A number within bounds. */
  static range(range: ExpectedRange): Expectation {
    return new RangeExpectation(range);
  }

  /** One of these texts: 1 to 1000, each once. */
  static categories(...texts: string[]): Expectation {
    return new CategoryExpectation('string', texts);
  }

  /** One of these integers: 1 to 1000, each once, within ±(2^53 - 1). */
  static codes(...codes: number[]): Expectation {
    return new CategoryExpectation('integer', codes);
  }

  /**
   * At most this share of the rows of a batch lacks the feature.
   *
   * @param most 0 (no row may) to 1; it is judged from 1 / `most` rows on
   */
  static nullRate(most: number): Expectation {
    return new NullRateExpectation(most);
  }

  /** @internal */
  abstract _render(what: string, dtype: FeatureDtype): FeatureExpectations;
}

const isNumber = (dtype: FeatureDtype) => dtype !== 'bool' && dtype !== 'string';
const isInteger = (dtype: FeatureDtype) => dtype === 'int32' || dtype === 'int64';

class RangeExpectation extends Expectation {
  constructor(private readonly range: ExpectedRange) {
    super();
  }

  /** @internal */
  _render(what: string, dtype: FeatureDtype): FeatureExpectations {
    const { min, max } = this.range;
    const reject = (rule: string): never => fail(undefined, 'InvalidExpectation', `the range of ${what} ${rule}`);
    if (!isNumber(dtype)) reject(`needs a number, and the feature is ${dtype}: expect categories of a text`);
    if (min === undefined && max === undefined) reject('has no bound: give min, max or both');
    for (const bound of [min, max]) {
      if (bound === undefined) continue;
      if (Token.isUnresolved(bound) || !Number.isFinite(bound)) reject(`must have finite bounds that are known at synth, got ${bound}`);
      if (isInteger(dtype) && !Number.isSafeInteger(bound)) reject(`must have integers within ±9007199254740991 for bounds, got ${bound} (${dtype})`);
    }
    if (min !== undefined && max !== undefined && min > max) reject(`must have a min of at most its max (${max}), got ${min}`);
    return { ...min === undefined ? {} : { min }, ...max === undefined ? {} : { max } };
  }
}

class CategoryExpectation extends Expectation {
  constructor(private readonly of: 'string' | 'integer', private readonly values: (string | number)[]) {
    super();
  }

  /** @internal */
  _render(what: string, dtype: FeatureDtype): FeatureExpectations {
    const { of, values } = this;
    const reject = (rule: string): never => fail(undefined, 'InvalidExpectation', `the ${of === 'string' ? 'categories' : 'codes'} of ${what} ${rule}`);
    if (of === 'string' ? dtype !== 'string' : !isInteger(dtype)) reject(`need ${of === 'string' ? 'a text' : 'an integer'}, and the feature is ${dtype}`);
    if (values.length < 1 || values.length > CATEGORIES_MAX) reject(`must be 1 to ${CATEGORIES_MAX}, got ${values.length}`);
    const wrong = values.find((value) => Token.isUnresolved(value) || (of === 'integer' && !Number.isSafeInteger(value)));
    if (wrong !== undefined) reject(`must be known at synth${of === 'integer' ? ', and integers within ±9007199254740991' : ''}, got ${wrong}`);
    const twice = values.find((value, index) => values.indexOf(value) !== index);
    if (twice !== undefined) reject(`must stand once each, got ${JSON.stringify(twice)} twice`);
    return { categories: [...values] };
  }
}

class NullRateExpectation extends Expectation {
  constructor(private readonly most: number) {
    super();
  }

  /** @internal */
  _render(what: string): FeatureExpectations {
    if (Token.isUnresolved(this.most) || !(this.most >= 0 && this.most <= 1)) {
      fail(undefined, 'InvalidExpectation', `the null rate of ${what} must be a share from 0 to 1 that is known at synth, got ${this.most}`);
    }
    return { maxNullRate: this.most };
  }
}
