/** What the console shows of the online store: entities of a group, and one entity's row as a request would meet it now. */
import type { FeatureGroupSchema, FeatureSchema, FeatureValue } from '../../../src/contract';
import type { LmdbFeatureStore } from '../../adapters/local/online-store';
import { refuse } from '../../core/errors';
import { countsUntil } from '../../core/feature-row';
import type { FeatureRow } from '../../core/ports';

/** Entities of one answer. */
const PAGE = 50;
const INT64 = /^-?[0-9]{1,19}$/;

/**
 * What a request gets for a feature: the stored value; the declared default, because the value is absent, too old (`maxAge`) or its row is gone
 * (`ttl`); or an error, where there is no default or the feature is required.
 */
export type FeatureOutcome = 'value' | 'default' | 'error';

export interface ShownFeature {
  readonly name: string;
  readonly dtype: string;
  readonly description?: string;
  readonly piiClass: string;
  readonly required: boolean;
  /** Seconds. */
  readonly maxAge?: number;
  /** Null: not known. A personal value is its class. */
  readonly stored: FeatureValue | null;
  readonly default: FeatureValue | null;
  readonly state: 'fresh' | 'stale' | 'expired' | 'absent';
  readonly outcome: FeatureOutcome;
}

export interface ShownRow {
  readonly group: string;
  readonly version: number;
  readonly entity: Readonly<Record<string, string>>;
  /** Milliseconds since the epoch; null: the store has no row of this entity. */
  readonly eventTime: number | null;
  readonly createdTime: number | null;
  /** The last instant at which the row counts; null in a group without `ttl`. */
  readonly expiresAt: number | null;
  readonly features: readonly ShownFeature[];
}

export class FeatureBrowser {
  constructor(private readonly groups: readonly FeatureGroupSchema[], private readonly store: LmdbFeatureStore, private readonly now: () => number) {}

  /** @param after the last entity of the page before */
  entities(name: string, prefix: string, after: readonly string[]): { readonly entities: string[][]; readonly more: boolean } {
    const found = this.store.entities(this.group(name), prefix, PAGE + 1, after.length > 0 ? after : undefined);
    return { entities: found.slice(0, PAGE), more: found.length > PAGE };
  }

  async row(name: string, entity: readonly string[]): Promise<ShownRow> {
    const group = this.group(name);
    const keys = group.entityKeys;
    if (entity.length !== keys.length) refuse('INVALID_PARAMETER', `an entity of group '${name}' has ${keys.length} keys: ${keys.map((key) => key.name).join(', ')}`);
    const odd = keys.findIndex(({ dtype }, position) => dtype === 'int64' && !INT64.test(entity[position]));
    if (odd >= 0) refuse('INVALID_PARAMETER', `key '${keys[odd].name}' is int64, got '${entity[odd].slice(0, 64)}'`);
    const [row] = await this.store.read([{ group, entity }]);
    const expiresAt = row && group.ttl !== undefined ? countsUntil(group, row.eventTime) : null;
    return {
      group: group.name,
      version: group.version,
      entity: Object.fromEntries(keys.map((key, position) => [key.name, entity[position]])),
      eventTime: row?.eventTime ?? null,
      createdTime: row?.createdTime ?? null,
      expiresAt,
      features: group.features.map((feature) => shown(feature, row, expiresAt, this.now())),
    };
  }

  private group(name: string): FeatureGroupSchema {
    return this.groups.find((group) => group.name === name) ?? refuse('ROUTE_NOT_FOUND', `the brain declares no feature group '${name}'`);
  }
}

function shown(feature: FeatureSchema, row: FeatureRow | undefined, expiresAt: number | null, now: number): ShownFeature {
  const { name, dtype, description, piiClass, required, maxAge } = feature;
  const stored = row?.values[name] ?? null;
  const state = stateOf(stored, feature, row, expiresAt, now);
  const fallback = feature.default ?? null;
  const mask = (value: FeatureValue | null) => (value === null || piiClass === 'none' ? value : `<${piiClass}>`);
  return {
    name,
    dtype,
    description,
    piiClass,
    required,
    maxAge,
    state,
    stored: mask(stored),
    default: mask(fallback),
    outcome: state === 'fresh' ? 'value' : required || fallback === null ? 'error' : 'default',
  };
}

function stateOf(
  stored: FeatureValue | null, { maxAge }: FeatureSchema, row: FeatureRow | undefined, expiresAt: number | null, now: number,
): ShownFeature['state'] {
  if (!row || stored === null) return 'absent';
  if (expiresAt !== null && now > expiresAt) return 'expired';
  return maxAge !== undefined && now - row.eventTime > maxAge * 1000 ? 'stale' : 'fresh';
}
