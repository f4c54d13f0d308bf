/**
 * What the online store should hold, computed from the offline one: for backfills, and for the check that both say the same.
 * An entity's row is the one that wins by `replaces` (feature-row.ts) among those that are neither in the future nor expired.
 */
import { type FeatureGroupSchema, OfflineColumn } from '../../../src/contract';
import { refuse } from '../errors';
import { columnSql, digestColumn, identifier, literal, type QueryEngine, type Relation } from './query-engine';

export interface LatestValues {
  readonly group: FeatureGroupSchema;
  readonly rows: Relation;
  /** Milliseconds since the epoch: rows of a later event time do not count, nor do those that the group's `ttl` had expired by then. */
  readonly asOf: number;
  /** Only rows created at or after this time, milliseconds: an incremental backfill, whose overlap the caller subtracts. @default - all */
  readonly createdFrom?: number;
  /** Only rows created before this time, milliseconds: where the next incremental backfill begins. @default - all */
  readonly createdBefore?: number;
}

export interface ConsistencySample extends LatestValues {
  /** Entities to take. */
  readonly size: number;
  /** Another seed takes other entities; the same takes the same ones, in either engine. */
  readonly seed: string;
}

/** Columns: entity keys, features, `event_time`, `created_time`, `row_digest`, of the types of the table; one row for each entity, in no order. */
export function latestValuesSql(engine: QueryEngine, latest: LatestValues): string {
  const { columns, ranked } = parts(engine, latest);
  return `SELECT ${columns.join(', ')}\nFROM (\n${ranked}\n)\nWHERE _rank = 1`;
}

/** The same for some of the entities, drawn by a digest of their keys, in the order in which they were drawn. Fails with INVALID_PARAMETER. */
export function consistencySampleSql(engine: QueryEngine, sample: ConsistencySample): string {
  if (!Number.isSafeInteger(sample.size) || sample.size < 1) refuse('INVALID_PARAMETER', `a sample must have at least 1 entity, got ${sample.size}`);
  const { columns, ranked } = parts(engine, sample);
  const keys = sample.group.entityKeys.map((key) => `CAST(${identifier(key.name)} AS ${engine.types.string})`);
  const drawn = engine.sha256(engine.utf8([literal(sample.seed), ...keys].join(" || '#' || ")));
  const order = ['_draw', ...sample.group.entityKeys.map((key) => identifier(key.name))];
  return `SELECT ${columns.join(', ')}\nFROM (\n  SELECT *, ${drawn} AS _draw FROM (\n${ranked}\n  ) WHERE _rank = 1\n)\nORDER BY ${order.join(', ')}\nLIMIT ${sample.size}`;
}

function parts(engine: QueryEngine, { group, rows, asOf, createdFrom, createdBefore }: LatestValues): { columns: string[]; ranked: string } {
  const event = engine.time(OfflineColumn.EVENT_TIME);
  const created = engine.time(OfflineColumn.CREATED_TIME);
  const conditions = [
    `${event} <= ${engine.momentOf(asOf)}`,
    ...group.ttl === undefined ? [] : [`${event} >= ${engine.before(engine.momentOf(asOf), group.ttl)}`],
    ...createdFrom === undefined ? [] : [`${created} >= ${engine.momentOf(createdFrom)}`],
    ...createdBefore === undefined ? [] : [`${created} < ${engine.momentOf(createdBefore)}`],
  ];
  const keys = group.entityKeys.map((key) => identifier(key.name));
  const features = group.features.map((feature) => `${columnSql(engine, rows, { name: feature.name, type: feature.dtype })} AS ${identifier(feature.name)}`);
  const position = engine.name === 'duckdb' ? ['file_index DESC', 'file_row_number DESC'] : [];
  const order = [`${OfflineColumn.EVENT_TIME} DESC`, `${OfflineColumn.CREATED_TIME} DESC`, `${digestColumn(engine, rows)} DESC`, ...position];
  const read = [
    ...keys, ...features, OfflineColumn.EVENT_TIME, OfflineColumn.CREATED_TIME, `${digestColumn(engine, rows)} AS ${OfflineColumn.ROW_DIGEST}`,
    `row_number() OVER (PARTITION BY ${keys.join(', ')} ORDER BY ${order.join(', ')}) AS _rank`,
  ];
  const names = group.features.map((feature) => identifier(feature.name));
  return {
    columns: [...keys, ...names, OfflineColumn.EVENT_TIME, OfflineColumn.CREATED_TIME, OfflineColumn.ROW_DIGEST],
    ranked: `    SELECT ${read.join(', ')}\n    FROM ${rows.sql}\n    WHERE ${conditions.join(' AND ')}`,
  };
}
