/**
 * The layout of the online table: what the construct creates and the DynamoDB adapter reads and writes.
 *
 * One item per entity and feature group (DESIGN §4.4), keyed by a partition key alone: a read always knows the whole key, so
 * a request is one `BatchGetItem`, and a sort key would only invite queries that read rows nobody asked for.
 */
import { createHash } from 'node:crypto';
import { FeatureGroupSchema } from './feature-schema';

/** Attribute names of an online item. There is no sort key. */
export const OnlineItem = {
  /** String: {@link onlineKey}. */
  PK: 'pk',
  /** Number: when the values became true in the world, milliseconds since the epoch. */
  EVENT_TIME: 'event_time',
  /** Number: when the brain learned them, milliseconds since the epoch. */
  CREATED_TIME: 'created_time',
  /**
   * Number: seconds since the epoch from which on DynamoDB may delete the item; absent in groups without `ttl`.
   * DynamoDB deletes within days, not seconds, so readers filter by it themselves.
   */
  EXPIRES_AT: 'expires_at',
  /**
   * String: JSON text of the canonical values by feature name, in the order of their names, nulls left out.
   * Text and not a map, because DynamoDB's numbers span 1e-130 to 1e126 and have no -0: a float64 would not always come back as it went in.
   */
  FEATURES: 'features',
  /** String: digest of the canonical values, the last tie-break between two rows of one instant; the larger one wins. */
  DIGEST: 'digest',
  /** List of strings: the parts of the entity's key, where the partition key holds only their digest. */
  ENTITY: 'entity',
} as const;

/** Largest partition key, bytes of UTF-8 (Amazon DynamoDB developer guide, "Service, account, and table quotas"). */
export const ONLINE_KEY_MAX_BYTES = 2048;

/** Largest item, bytes: names and values of its attributes together (same place). */
export const ONLINE_ITEM_MAX_BYTES = 400 * 1024;

/**
 * The partition key of an entity in a group: `group#version#part1#part2…`.
 *
 * `%`, `#` and `~` in a part are written `%25`, `%23` and `%7E`, and half a surrogate pair (which UTF-8 cannot hold) `%uD800`,
 * so that no two entities share a key. A key beyond {@link ONLINE_KEY_MAX_BYTES} becomes `group#version#~` and
 * its SHA-256 in hexadecimal: no escaped part begins with `~`.
 *
 * @param entity values of the entity keys in the order in which the group declares them; int64 in decimal
 */
export function onlineKey(group: Pick<FeatureGroupSchema, 'name' | 'version'>, entity: readonly string[]): string {
  const prefix = `${group.name}#${group.version}#`;
  const key = prefix + entity.map(escapePart).join('#');
  if (Buffer.byteLength(key, 'utf8') <= ONLINE_KEY_MAX_BYTES) return key;
  return `${prefix}~${createHash('sha256').update(key, 'utf8').digest('hex')}`;
}

/** The parts of a key, as {@link onlineKey} wrote them; undefined where the key is of another group or version, or holds only their digest. */
export function onlineEntity(group: Pick<FeatureGroupSchema, 'name' | 'version'>, key: string): string[] | undefined {
  const prefix = `${group.name}#${group.version}#`;
  if (!key.startsWith(prefix) || key.startsWith('~', prefix.length)) return undefined;
  return key.slice(prefix.length).split('#').map((part) => part.replace(/%(?:u([0-9A-F]{4})|([0-9A-F]{2}))/g, unescapePart));
}

const unescapePart = (_: string, wide: string | undefined, narrow: string) => String.fromCharCode(parseInt(wide ?? narrow, 16));

/** Parts that are written as they are: mostly all. */
const PLAIN = /^[ !"$&-}]*$/;

function escapePart(part: string): string {
  if (PLAIN.test(part)) return part;
  return part.replace(/[%#~]|\p{Surrogate}/gu, (character) => {
    const code = character.charCodeAt(0).toString(16).toUpperCase();
    return code.length > 2 ? `%u${code}` : `%${code}`;
  });
}

/** `expires_at` of a row: the first whole second, since the epoch, at which it counts no more; undefined in a group without `ttl`. */
export function expiresAt(group: Pick<FeatureGroupSchema, 'ttl'>, eventTime: number): number | undefined {
  return group.ttl === undefined ? undefined : Math.floor(eventTime / 1000) + group.ttl + 1;
}
