import { Duration } from 'aws-cdk-lib';
import { FeatureGroupSchema } from '../contract';
import { EntityKey } from './entity-key';
import { Feature } from './feature';
import { requireSeconds, requireText } from '../private/declarations';
import { fail } from '../private/fail';
import { requireName, requireUnique } from '../private/names';

/** Properties of {@link FeatureGroup}. */
export interface FeatureGroupProps {
  /** The team that answers for these features. */
  readonly owner: string;
  /** What names an entity: 1 to 4 parts, in the order in which requests give them. */
  readonly entityKeys: EntityKey[];
  /** 1 to 500 features. */
  readonly features: Feature[];
  /** Incremented when a feature is retyped or dropped, or entity keys change or their order does: rows of another version are never read. @default 1 */
  readonly version?: number;
  /** Time after a row's event time until which it counts, that instant included, online as in training sets; whole seconds. @default - rows do not expire */
  readonly ttl?: Duration;
  /** Age of the newest event that is expected whenever rows come in; whole seconds. Older is a metric with an alarm, and so is silence: the command line publishes no metric. @default - any age */
  readonly freshness?: Duration;
  /** What the group describes; at most 1024 characters. @default - none */
  readonly description?: string;
}

/** Most parts of an entity's key, and most features of a group: the bounds of the contract's schema. */
const MAX_ENTITY_KEYS = 4;
const MAX_FEATURES = 500;

/** Features that are written together and read together, for one kind of entity: one online item each, one offline table for all. */
export class FeatureGroup {
  /**
   * Declares a feature group.
   *
   * @param name lower case letters, digits, `-` and `_`, at most 63 characters
   */
  static define(name: string, props: FeatureGroupProps): FeatureGroup {
    return new FeatureGroup(name, props);
  }

  /** Its name, unique in the brain. */
  readonly name: string;
  /** Rows of another version are never read. */
  readonly version: number;
  /** What names an entity, in order. */
  readonly entityKeys: EntityKey[];
  /** Its features, in order. */
  readonly features: Feature[];

  private readonly schema: FeatureGroupSchema;

  private constructor(name: string, props: FeatureGroupProps) {
    this.name = requireName(undefined, 'a feature group name', name);
    this.version = props.version ?? 1;
    this.entityKeys = [...props.entityKeys];
    this.features = [...props.features];
    const what = `feature group '${name}'`;

    if (!Number.isInteger(this.version) || this.version < 1) {
      fail(undefined, 'InvalidVersion', `the version of ${what} must be an integer of at least 1, got ${this.version}`);
    }
    if (this.entityKeys.length < 1 || this.entityKeys.length > MAX_ENTITY_KEYS) {
      fail(undefined, 'EntityKeyCount', `${what} must have 1 to ${MAX_ENTITY_KEYS} entity keys, got ${this.entityKeys.length}`);
    }
    if (this.features.length < 1 || this.features.length > MAX_FEATURES) {
      fail(undefined, 'FeatureCount', `${what} must have 1 to ${MAX_FEATURES} features, got ${this.features.length}: split a larger group by what is written together`);
    }
    // an entity key and a feature of one name would be one column offline
    requireUnique(undefined, `a column of ${what}:`, [...this.entityKeys, ...this.features].map((column) => column.name));

    this.schema = {
      name,
      version: this.version,
      ...props.description === undefined ? {} : { description: requireText(undefined, `the description of ${what}`, props.description) },
      owner: requireText(undefined, `the owner of ${what}`, props.owner),
      entityKeys: this.entityKeys.map((key) => key._toSchema()),
      features: this.features.map((feature) => feature._toSchema()),
      ...props.ttl === undefined ? {} : { ttl: requireSeconds(`ttl of ${what}`, props.ttl) },
      ...props.freshness === undefined ? {} : { freshness: requireSeconds(`freshness of ${what}`, props.freshness) },
    };
  }

  /** The schema as JSON text, for a function that puts or gets rows of this group by `thalos-brain/client`. */
  toJson(): string {
    return JSON.stringify(this.schema);
  }

  /** @internal */
  _toSchema(): FeatureGroupSchema {
    return this.schema;
  }
}
