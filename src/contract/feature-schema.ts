import { FEATURE_DTYPES, FeatureDtype, FeatureValue, PII_CLASSES, PiiClass } from './datatypes';
import { FEATURE_EXPECTATIONS_SCHEMA, FeatureExpectations, FRESHNESS_SCHEMA } from './expectations';
import { array, COLUMN_PATTERN, enumeration, integer, JsonSchema, NAME_PATTERN, object, string } from './json-schema';

/** One feature of a group, in its final form. */
export interface FeatureSchema {
  readonly name: string;
  readonly dtype: FeatureDtype;
  readonly description?: string;
  /** The value for an entity without a row, or a row without this feature, or one that is too old. Without it such a request fails. */
  readonly default?: FeatureValue;
  /** A required feature is never defaulted: an absent or stale value is an error. */
  readonly required: boolean;
  /** Seconds since the event time after which the value counts as absent. */
  readonly maxAge?: number;
  readonly piiClass: PiiClass;
  /** What its values are expected to be. @default - anything of its type */
  readonly expectations?: FeatureExpectations;
}

/** One part of an entity's key. */
export interface EntityKeySchema {
  readonly name: string;
  readonly dtype: 'string' | 'int64';
}

/** A feature group: one online item per entity (DESIGN §4.4), one offline table (§4.5). */
export interface FeatureGroupSchema {
  readonly name: string;
  /** Incremented when a feature is retyped or dropped. */
  readonly version: number;
  readonly description?: string;
  /** The team that answers for these features. */
  readonly owner: string;
  readonly entityKeys: readonly EntityKeySchema[];
  readonly features: readonly FeatureSchema[];
  /** Seconds after the event time until which a row counts, that instant included; readers filter by it themselves. */
  readonly ttl?: number;
  /** Seconds that the newest event of a batch may be old. @default - any age */
  readonly freshness?: number;
}

export const FEATURE_GROUP_SCHEMA: JsonSchema = object({
  name: string(NAME_PATTERN),
  version: integer(1),
  description: string(),
  owner: string(),
  entityKeys: array(object({ name: string(COLUMN_PATTERN), dtype: enumeration(['string', 'int64']) }), { minItems: 1, maxItems: 4 }),
  features: array(object({
    name: string(COLUMN_PATTERN),
    dtype: enumeration(FEATURE_DTYPES),
    description: string(),
    default: { type: ['boolean', 'number', 'string'] },
    required: { type: 'boolean' },
    maxAge: integer(1),
    piiClass: enumeration(PII_CLASSES),
    expectations: FEATURE_EXPECTATIONS_SCHEMA,
  }, ['name', 'dtype', 'required', 'piiClass']), { minItems: 1, maxItems: 500 }),
  ttl: integer(1),
  freshness: FRESHNESS_SCHEMA,
}, ['name', 'version', 'owner', 'entityKeys', 'features']);

/** Columns that every feature row carries beside its own; no feature or entity key may use these names. */
export const RESERVED_COLUMNS = ['event_time', 'created_time', 'row_digest', 'pk', 'sk', 'expires_at'] as const;
