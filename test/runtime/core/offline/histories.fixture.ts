/**
 * Random histories of features, and what a training set of them must be: each label against each row, one after the other, by the words of the design
 * and nothing of the code under test. Every case has entities of its own, so that one table holds many cases, and one query answers them all.
 */
import * as fc from 'fast-check';
import { rowDigest } from '../../../../runtime/core/feature-row';
import type { JoinedGroup, KnownAt, Labels, TypedColumn } from '../../../../runtime/core/offline/as-of-join';
import type { LatestValues } from '../../../../runtime/core/offline/latest-values';
import { DUCKDB } from '../../../../runtime/core/offline/query-engine';
import type { TypedValue } from '../../../../runtime/core/offline/rows-digest';
import { type FeatureDtype, type FeatureGroupSchema, type FeatureValue, offlineColumns, type OfflineType } from '../../../../src/contract';

const feature = (name: string, dtype: FeatureDtype, more: { default?: FeatureValue; maxAge?: number; required?: boolean } = {}) =>
  ({ name, dtype, required: false, piiClass: 'none' as const, ...more });

/** Every type, an expiry, features that age before the row does and after it, defaults and none. */
export const DRIVERS: FeatureGroupSchema = {
  name: 'city-drivers',
  version: 2,
  owner: 'fleet',
  entityKeys: [{ name: 'driver', dtype: 'string' }],
  features: [
    feature('active', 'bool', { default: false }),
    feature('trips', 'int32', { maxAge: 3 }),
    feature('odometer', 'int64', { default: 9007199254740991, maxAge: 100 }),
    feature('rating', 'float32', { default: 0.1 }),
    feature('earnings', 'float64', { required: true }),
    feature('vehicle', 'string', { default: "none's", maxAge: 6 }),
  ],
  ttl: 8,
};
/** Two keys, of which one is a number beyond 2^53; rows never expire. */
export const ZONES: FeatureGroupSchema = {
  name: 'zones',
  version: 1,
  owner: 'fleet',
  entityKeys: [{ name: 'city', dtype: 'string' }, { name: 'cell', dtype: 'int64' }],
  features: [feature('demand', 'float64'), feature('orders', 'int64', { default: -1 })],
};

export const LABEL_COLUMNS: readonly TypedColumn[] = [
  { name: 'nth', type: 'int32' }, { name: 'driver_id', type: 'string' }, { name: 'city', type: 'string' }, { name: 'cell', type: 'int64' },
  { name: 'at', type: 'time' }, { name: 'converted', type: 'bool' }, { name: 'weight', type: 'float32' },
];
export const KEYS: { readonly [group: string]: Readonly<Record<string, string>> } = { 'city-drivers': { driver: 'driver_id' }, 'zones': {} };

export interface Row {
  readonly entity: readonly string[];
  readonly eventTime: number;
  readonly createdTime: number;
  readonly values: Readonly<Record<string, FeatureValue | null>>;
}
export interface Label {
  readonly driver: string | null;
  readonly city: string | null;
  readonly cell: string | null;
  readonly at: number;
  readonly converted: boolean | null;
  readonly weight: number | null;
}
export interface History {
  readonly drivers: readonly Row[];
  readonly zones: readonly Row[];
  readonly labels: readonly Label[];
}

/** Few instants, so that rows often meet in one, and on the very edge of an expiry. */
const START = Date.UTC(2026, 0, 31, 23, 59, 55);
const instant = fc.integer({ min: 0, max: 14 }).map((seconds) => START + seconds * 1000);
const edge = fc.constantFrom(0, 0, 0, -1, 1, 999);

const VALUES: { readonly [dtype in FeatureDtype]: fc.Arbitrary<FeatureValue> } = {
  bool: fc.boolean(),
  int32: fc.constantFrom(0, 1, -1, 2 ** 31 - 1, -(2 ** 31)),
  int64: fc.constantFrom<FeatureValue>(0, -1, 9007199254740991, '9007199254740993', '9223372036854775807', '-9223372036854775808'),
  float32: fc.constantFrom(0, -0, 1.5, 0.1, -3.4028234663852886e38, 1.401298464324817e-45).map(Math.fround),
  float64: fc.constantFrom(0, -0, 0.1 + 0.2, 1e21, 1e-7, 5e-324, -1.7976931348623157e308),
  string: fc.constantFrom('', 'Škoda 🚗', "it's \"quoted\"\\", '\u0001', 'null'),
};

function row(group: FeatureGroupSchema, entity: fc.Arbitrary<string[]>): fc.Arbitrary<Row> {
  const values = Object.fromEntries(group.features.map(({ name, dtype }) => [name, fc.option(VALUES[dtype], { freq: 3 })]));
  return fc.record({ entity, eventTime: instant, late: fc.constantFrom(0, 0, 0, 1000, 3000, 5000, -2000), values: fc.record(values) })
    .map(({ late, eventTime, ...rest }): Row => ({ ...rest, eventTime, createdTime: eventTime + late }));
}

/** Rows are repeated now and then, whole or with other values at the same instants. */
function rows(group: FeatureGroupSchema, entity: fc.Arbitrary<string[]>): fc.Arbitrary<Row[]> {
  const one = row(group, entity);
  return fc.array(fc.oneof(
    { weight: 4, arbitrary: one.map((each) => [each]) },
    { weight: 1, arbitrary: one.map((each) => [each, each]) },
    { weight: 2, arbitrary: fc.tuple(one, one).map(([each, other]) => [each, { ...each, values: other.values }]) },
  ), { maxLength: 8 }).map((all) => all.flat());
}

/** A case whose entities begin with `prefix`. */
export function history(prefix: string): fc.Arbitrary<History> {
  const driver = fc.constantFrom(`${prefix}-a`, `${prefix}-b`);
  const city = fc.constantFrom(`${prefix}-x`, `${prefix}-y'`);
  const cell = fc.constantFrom('9007199254740993', '9007199254740992', '-5');
  const label = fc.record({
    driver: fc.option(driver, { freq: 9 }),
    city: fc.option(city, { freq: 9 }),
    cell: fc.option(cell, { freq: 9 }),
    at: fc.tuple(instant, edge).map(([at, off]) => at + off),
    converted: fc.option(fc.boolean()),
    weight: fc.option(fc.constantFrom(0, 0.1, -2.5).map(Math.fround)),
  });
  return fc.record({
    drivers: rows(DRIVERS, driver.map((one) => [one])),
    zones: rows(ZONES, fc.tuple(city, cell)),
    labels: fc.array(label, { minLength: 1, maxLength: 6 }),
  });
}

/** The training set, row by row in the order of the labels, with a column for each of {@link trainingSetColumns}. */
export function expectedRows(histories: readonly History[], knownAt: KnownAt): TypedValue[][] {
  let nth = 0;
  return histories.flatMap(({ drivers, zones, labels }) => labels.map((label): TypedValue[] => [
    nth++, label.driver, label.city, label.cell === null ? null : BigInt(label.cell), label.at, label.converted, label.weight,
    ...featuresAt(DRIVERS, drivers, [label.driver], label.at, knownAt),
    ...featuresAt(ZONES, zones, [label.city, label.cell], label.at, knownAt),
  ]));
}

function featuresAt(group: FeatureGroupSchema, all: readonly Row[], entity: readonly (string | null)[], at: number, knownAt: KnownAt): TypedValue[] {
  const known = all.filter((each) => each.entity.every((part, index) => part === entity[index])
    && each.eventTime <= at && (knownAt === 'now' || each.createdTime <= at) && (group.ttl === undefined || each.eventTime >= at - group.ttl * 1000));
  const winner = latest(group, known);
  return group.features.map((each) => {
    const tooOld = winner === undefined || (each.maxAge !== undefined && winner.eventTime < at - each.maxAge * 1000);
    return typed(each.dtype, (tooOld ? null : winner.values[each.name]) ?? each.default ?? null);
  });
}

/** The row that the online store would hold. */
function latest(group: FeatureGroupSchema, rowsOfEntity: readonly Row[]): Row | undefined {
  return [...rowsOfEntity].sort((a, b) => a.eventTime - b.eventTime || a.createdTime - b.createdTime
    || (rowDigest(group, a.values) < rowDigest(group, b.values) ? -1 : 1)).at(-1);
}

/** Entity keys, features, event time, created time and digest of each entity that has a row, in the order of the keys as text. */
export function expectedLatest(asked: Omit<LatestValues, 'rows'>, all: readonly Row[]): TypedValue[][] {
  const { group, asOf, createdFrom = -Infinity, createdBefore = Infinity } = asked;
  const counting = all.filter((each) => each.eventTime <= asOf && (group.ttl === undefined || each.eventTime >= asOf - group.ttl * 1000)
    && each.createdTime >= createdFrom && each.createdTime < createdBefore);
  const entities = [...new Set(counting.map((each) => JSON.stringify(each.entity)))].sort();
  return entities.map((entity) => {
    const winner = latest(group, counting.filter((each) => JSON.stringify(each.entity) === entity))!;
    return [
      ...group.entityKeys.map(({ dtype }, at) => typed(dtype, winner.entity[at])),
      ...group.features.map((each) => typed(each.dtype, winner.values[each.name])),
      winner.eventTime, winner.createdTime, rowDigest(group, winner.values),
    ];
  });
}

export function typed(dtype: OfflineType, value: FeatureValue | null): TypedValue {
  if (value === null) return null;
  if (dtype === 'int64') return BigInt(value);
  return dtype === 'float32' ? Math.fround(value as number) + 0 : dtype === 'float64' ? (value as number) + 0 : value;
}

/** `VALUES` lists for both engines, whose types the caller gives; -0 stays -0. */
export function rowLiterals(group: FeatureGroupSchema, all: readonly Row[], types: { readonly [type in OfflineType]: string }): string[] {
  return all.map(({ entity, eventTime, createdTime, values }) => `(${[
    ...group.entityKeys.map(({ dtype }, at) => literal(types, dtype, entity[at])),
    ...group.features.map(({ name, dtype }) => literal(types, dtype, values[name])),
    literal(types, 'time', eventTime), literal(types, 'time', createdTime), literal(types, 'string', rowDigest(group, values)),
  ].join(', ')})`);
}

export function labelLiterals(histories: readonly History[], types: { readonly [type in OfflineType]: string }): string[] {
  return histories.flatMap(({ labels }) => labels).map((label, nth) => `(${[
    nth, label.driver, label.city, label.cell, label.at, label.converted, label.weight,
  ].map((value, at) => literal(types, LABEL_COLUMNS[at].type, value)).join(', ')})`);
}

function literal(types: { readonly [type in OfflineType]: string }, type: OfflineType, value: FeatureValue | null): string {
  if (value === null) return `CAST(NULL AS ${types[type]})`;
  const text = type === 'time' ? new Date(value as number).toISOString().replace('T', ' ').replace('Z', '') : Object.is(value, -0) ? '-0' : String(value);
  return `CAST('${text.replace(/'/g, "''")}' AS ${types[type]})`;
}

/** For DuckDB: the table of a group into which nothing was written. */
export function noRows(group: FeatureGroupSchema): string {
  const nulls = offlineColumns(group).map(({ name, type }) => `CAST(NULL AS ${DUCKDB.types[type]}) AS "${name}"`);
  return `(SELECT ${nulls.join(', ')}, 0 AS file_index, 0 AS file_row_number WHERE false)`;
}

/** The join that {@link expectedRows} is the answer to. */
export function joinOf(labels: string, drivers: JoinedGroup['rows'], zones: JoinedGroup['rows'], knownAt: KnownAt) {
  const table: Labels = { relation: labels, columns: LABEL_COLUMNS, time: 'at' };
  return { labels: table, groups: [{ group: DRIVERS, rows: drivers, keys: KEYS['city-drivers'] }, { group: ZONES, rows: zones }], knownAt };
}
