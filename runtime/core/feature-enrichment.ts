/** Tensors from online features: one batched read per request, duplicates coalesced, typed defaults, never a silent zero. */
import { refuse } from './errors';
import { canonicalValue } from './feature-row';
import type { FeatureColumn, FeatureGroupPlan, FeatureTensorPlan } from './plan';
import type { FeatureRequest, FeatureRow, OnlineFeatureStore } from './ports';
import { allocate, type Tensor, type TensorData, texts } from './tensors';
import type { FeatureValue } from '../../src/contract';

/** What one entity's row of one group gave to a tensor. */
export interface ResolvedGroup {
  readonly group: FeatureGroupPlan;
  readonly entity: readonly string[];
  /** Undefined where the entity is unknown or its row has expired. */
  readonly row: FeatureRow | undefined;
  /** In the order of the group's columns. */
  readonly values: readonly FeatureValue[];
  readonly defaulted: readonly FeatureColumn[];
}

export interface FeatureEnrichment {
  readonly tensors: readonly Tensor[];
  /** For each tensor, each row, each group. */
  readonly resolved: readonly (readonly (readonly ResolvedGroup[])[])[];
  /** Event time of the oldest row that a value was taken from, milliseconds; undefined where there is none. */
  readonly asOf: number | undefined;
  /** Labels of the features that were filled with their default. */
  readonly defaulted: ReadonlySet<string>;
}

/** Entities by group, each once. */
class ReadBatch {
  readonly requests: FeatureRequest[] = [];
  private readonly positions = new Map<string, Map<string, number>>();

  /** The position of the entity's row in the answer. */
  add(group: FeatureGroupPlan, entity: readonly string[]): number {
    let known = this.positions.get(group.schema.name);
    if (!known) this.positions.set(group.schema.name, known = new Map());
    const key = entity.length === 1 ? entity[0] : JSON.stringify(entity);
    let position = known.get(key);
    if (position === undefined) {
      position = this.requests.push({ group: group.schema, entity }) - 1;
      known.set(key, position);
    }
    return position;
  }
}

/** Fails with UNKNOWN_ENTITY, FEATURE_MISSING, FEATURE_STALE, INVALID_FEATURE_ROW, or what the store fails with. */
export async function enrichFeatures(
  plans: readonly FeatureTensorPlan[], inputs: ReadonlyMap<string, Tensor>, batch: number,
  store: OnlineFeatureStore, now: number, signal?: AbortSignal,
): Promise<FeatureEnrichment> {
  const reads = new ReadBatch();
  const positions = plans.map(({ keys, groups }) => {
    const columns = keys.map((key) => keyTexts(inputs.get(key)!));
    return Array.from({ length: batch }, (_, index) => {
      const entity = columns.map((column) => column[index]);
      return groups.map((group) => reads.add(group, entity));
    });
  });
  const rows = await store.read(reads.requests, signal);

  let asOf: number | undefined;
  const defaulted = new Set<string>();
  // an entity that stands in many rows of the batch is resolved once for each tensor
  const resolved = plans.map(({ groups }, plan) => {
    const known = groups.map(() => new Map<number, ResolvedGroup>());
    return positions[plan].map((entityPositions) => entityPositions.map((position, g) => {
      let found = known[g].get(position);
      if (!found) {
        found = resolve(groups[g], reads.requests[position].entity, rows[position], now);
        known[g].set(position, found);
        for (const { label } of found.defaulted) defaulted.add(label);
        if (found.row && found.defaulted.length < found.values.length) asOf = Math.min(asOf ?? Infinity, found.row.eventTime);
      }
      return found;
    }));
  });
  return { tensors: plans.map((plan, index) => fill(plan, resolved[index])), resolved, asOf, defaulted };
}

function resolve(group: FeatureGroupPlan, entity: readonly string[], stored: FeatureRow | undefined, now: number): ResolvedGroup {
  const { schema, columns } = group;
  const expired = stored !== undefined && schema.ttl !== undefined && now >= stored.eventTime + schema.ttl * 1000;
  const row = expired ? undefined : stored;
  if (!row && !group.toleratesUnknown) {
    const key = Object.fromEntries(schema.entityKeys.map(({ name }, position) => [name, entity[position]]));
    refuse('UNKNOWN_ENTITY', `feature group '${schema.name}' has no row for entity ${JSON.stringify(key)}`, { group: schema.name, entity: key });
  }
  const defaulted: FeatureColumn[] = [];
  const values = columns.map((column) => {
    const { feature, fallback } = column;
    const value = row?.values[feature.name] ?? undefined;
    const stale = row !== undefined && value !== undefined && feature.maxAge !== undefined && now - row.eventTime > feature.maxAge * 1000;
    if (value !== undefined && !stale) return canonicalValue(feature, value);
    if (fallback === undefined) refuseValue(group, column, entity, stale ? row : undefined, now);
    defaulted.push(column);
    return fallback;
  });
  return { group, entity, row, values, defaulted };
}

function refuseValue(
  { schema }: FeatureGroupPlan, { feature }: FeatureColumn, entity: readonly string[], stale: FeatureRow | undefined, now: number,
): never {
  const key = Object.fromEntries(schema.entityKeys.map(({ name }, position) => [name, entity[position]]));
  const details = { group: schema.name, feature: feature.name, entity: key };
  const why = feature.required ? 'it is required' : 'it has no default';
  const where = `feature '${feature.name}' of group '${schema.name}' for entity ${JSON.stringify(key)}`;
  if (!stale) refuse('FEATURE_MISSING', `${where} has no value, and ${why}`, details);
  const age = Math.floor((now - stale.eventTime) / 1000);
  return refuse('FEATURE_STALE', `${where} is ${age} s old, its maxAge is ${feature.maxAge} s, and ${why}`, details);
}

function fill({ tensor, width }: FeatureTensorPlan, rows: readonly (readonly ResolvedGroup[])[]): Tensor {
  const { name, datatype } = tensor;
  const shape = [rows.length, width];
  if (datatype === 'BYTES') return { name, datatype, shape, data: rows.flatMap((groups) => groups.flatMap(({ values }) => values as string[])) };

  const data = allocate(datatype, rows.length * width);
  const write = datatype === 'INT64' ? writeWide : writeNumber;
  let at = 0;
  for (const groups of rows) for (const { values } of groups) for (const value of values) write(data, at++, value);
  return { name, datatype, shape, data };
}

const writeNumber = (data: TensorData, at: number, value: FeatureValue) => {
  (data as Float64Array)[at] = Number(value);
};

const writeWide = (data: TensorData, at: number, value: FeatureValue) => {
  (data as BigInt64Array)[at] = BigInt(value);
};

/** Entity keys as text: int64 in decimal. */
function keyTexts(tensor: Tensor): string[] {
  return tensor.datatype === 'INT64' ? Array.from(tensor.data as BigInt64Array, String) : texts(tensor);
}
