/** What a feature group is expected to look like when rows come in: declared on the construct, judged by runtime/core/data-quality. */
import { array, integer, JsonSchema, object } from './json-schema';

/** What is expected of one feature. A null passes every rule but `maxNullRate`. */
export interface FeatureExpectations {
  /** Least and largest value, both inclusive. A row with another one is quarantined. */
  readonly min?: number;
  readonly max?: number;
  /** The only values there are: texts of a `string`, codes of an integer. A row with another one is quarantined. */
  readonly categories?: readonly (string | number)[];
  /** Share of the rows of a batch, 0 to 1, that may lack the feature. Beyond it the rows are written, and the expectation is violated. */
  readonly maxNullRate?: number;
}

/** Most categories of one feature: `brain.json` and the check of each row stay small. */
export const CATEGORIES_MAX = 1000;

export const FEATURE_EXPECTATIONS_SCHEMA: JsonSchema = object({
  min: { type: 'number' },
  max: { type: 'number' },
  categories: array({ type: ['number', 'string'] }, { minItems: 1, maxItems: CATEGORIES_MAX, uniqueItems: true }),
  maxNullRate: { type: 'number', minimum: 0, maximum: 1 },
}, []);

/** Seconds that the newest event of a batch may be old. */
export const FRESHNESS_SCHEMA: JsonSchema = integer(1);

/** Kinds of expectations that are judged over a batch: rows are written all the same, the violation is a metric. */
export const BATCH_EXPECTATIONS = ['null-rate', 'freshness'] as const;
export type BatchExpectation = typeof BATCH_EXPECTATIONS[number];
