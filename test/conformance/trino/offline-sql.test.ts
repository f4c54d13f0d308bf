/**
 * The generated SQL on Iceberg tables of the real Trino: the rows that the oracle expects, and those of DuckDB. The tables are made by Trino's form of
 * the statements that make them on Athena, and filled in three steps, so that each has snapshots and files of its own.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as fc from 'fast-check';
import { TrinoServer } from './trino-server';
import { AthenaTrainingSets } from '../../../runtime/adapters/aws/athena-training-sets';
import type { ObjectStore } from '../../../runtime/adapters/aws/object-store';
import { DuckDb } from '../../../runtime/adapters/local/duckdb';
import { findNatives } from '../../../runtime/adapters/local/natives';
import { asOfJoinSql, type KnownAt, trainingSetColumns, type TypedColumn } from '../../../runtime/core/offline/as-of-join';
import { addColumns, createTable, offlineTable } from '../../../runtime/core/offline/ddl';
import { consistencySampleSql, latestValuesSql } from '../../../runtime/core/offline/latest-values';
import { DUCKDB, icebergTable, parquetFiles, type QueryEngine, type Relation, TRINO } from '../../../runtime/core/offline/query-engine';
import { rowsDigest, rowsDigestSql, type TypedValue } from '../../../runtime/core/offline/rows-digest';
import { type FeatureGroupSchema, offlineColumns, offlineTableName } from '../../../src/contract';
import {
  DRIVERS, expectedLatest, expectedRows, history, type History, joinOf, labelLiterals, LABEL_COLUMNS, type Row, rowLiterals, ZONES,
} from '../../runtime/core/offline/histories.fixture';

const CASES = 150;
const STEPS = 3;
/** Rows of one INSERT: a statement holds a million characters at most. */
const AT_ONCE = 1000;
const SEED = Number(process.env.CONFORMANCE_SEED ?? Date.now() % 1_000_000);

describe('the SQL of the offline store, on Trino with Iceberg', () => {
  let trino: TrinoServer;
  let duckdb: DuckDb;
  let folder: string;
  /** Rows that each step added, by group. */
  const steps = new Map<FeatureGroupSchema, Row[][]>();
  /** Snapshot after each step, by group. */
  const snapshots = new Map<FeatureGroupSchema, string[]>();
  let histories: History[];

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'thalos-trino-'));
    console.log(`histories of seed ${SEED}`);
    trino = await TrinoServer.start();
    duckdb = await DuckDb.open(findNatives(), join(folder, 'spill'));
    histories = Array.from({ length: CASES }, (_, at) => fc.sample(history(`case-${at}`), { numRuns: 1, seed: SEED + at })[0]);
    await trino.run(`CREATE TABLE labels (${LABEL_COLUMNS.map(({ name, type }) => `"${name}" ${TRINO.types[type]}`).join(', ')})`);
    await insert('labels', labelLiterals(histories, TRINO.types));
    for (const group of [DRIVERS, ZONES]) {
      await trino.run(createTable(offlineTable(group, { database: 'lake', location: 'local:///unused' }), 'trino'));
      const all = rowsOf(group);
      const ids: string[] = [];
      steps.set(group, Array.from({ length: STEPS }, (_, step) => all.filter((__, at) => at % STEPS === step)));
      for (const rows of steps.get(group)!) {
        await insert(offlineTableName(group), rowLiterals(group, rows, TRINO.types));
        ids.push(await trino.snapshot(offlineTableName(group)));
      }
      snapshots.set(group, ids);
    }
  }, 900_000);
  afterAll(async () => {
    duckdb?.close();
    await trino?.stop();
    rmSync(folder, { recursive: true, force: true });
  });

  async function insert(table: string, literals: readonly string[]): Promise<void> {
    for (let at = 0; at < literals.length; at += AT_ONCE) await trino.run(`INSERT INTO lake."${table}" VALUES ${literals.slice(at, at + AT_ONCE).join(', ')}`);
  }
  const rowsOf = (group: FeatureGroupSchema) => histories.flatMap((each) => (group === DRIVERS ? each.drivers : each.zones));
  const table = (group: FeatureGroupSchema, snapshot?: string): Relation => ({ sql: icebergTable('lake', offlineTableName(group), snapshot) });
  const text = (row: TypedValue[]) => JSON.stringify(row.map((value) => (typeof value === 'bigint' ? `${value}n` : value)));
  const sorted = (rows: TypedValue[][]) => rows.map(text).sort();
  /** DuckDB on the very files that Trino wrote. */
  async function onDuckDb(sql: string, columns: readonly TypedColumn[]): Promise<TypedValue[][]> {
    const read = columns.map(({ name, type }) => (type === 'time' ? `epoch_ms("${name}")::DOUBLE AS "${name}"` : `"${name}"`));
    const rows = await duckdb.rows(`SELECT ${read.join(', ')} FROM (\n${sql}\n)`);
    return rows.map((row) => columns.map(({ name, type }) => (type.startsWith('float') && row[name] !== null ? (row[name] as number) + 0 : row[name]) as TypedValue));
  }
  const files = async (name: string) => parquetFiles(await trino.files(name));
  const digestOn = async (engine: QueryEngine, sql: string, columns: readonly TypedColumn[]) => {
    const digestSql = rowsDigestSql(engine, `(\n${sql}\n)`, columns);
    if (engine === TRINO) return (await trino.rows(digestSql)).map(([rows, digest]) => ({ rows, digest }))[0];
    const [{ rows, digest }] = await duckdb.rows(digestSql);
    return { rows: Number(rows), digest };
  };

  test.each<KnownAt>(['label', 'now'])('a training set is what a comparison with every row gives, and what DuckDB gives: known at %s', async (knownAt) => {
    const asked = joinOf('lake.labels', table(DRIVERS), table(ZONES), knownAt);
    const columns = trainingSetColumns(asked);
    const sql = asOfJoinSql(TRINO, asked);
    const expected = expectedRows(histories, knownAt);
    expect(sorted(await trino.typed(sql, columns))).toEqual(sorted(expected));

    const local = asOfJoinSql(DUCKDB, joinOf(await files('labels'), { sql: await files(offlineTableName(DRIVERS)) }, { sql: await files(offlineTableName(ZONES)) }, knownAt));
    expect(sorted(await onDuckDb(local, columns))).toEqual(sorted(expected));

    const digest = rowsDigest(columns, expected);
    expect(await digestOn(TRINO, sql, columns)).toEqual(digest);
    expect(await digestOn(DUCKDB, local, columns)).toEqual(digest);
  }, 300_000);

  test('at a pinned snapshot a training set is what it was then', async () => {
    for (const step of Array.from({ length: STEPS }, (_, at) => at)) {
      const [drivers, zones] = [DRIVERS, ZONES].map((group) => new Set(steps.get(group)!.slice(0, step + 1).flat()));
      const then = histories.map((each): History => ({
        labels: each.labels, drivers: each.drivers.filter((row) => drivers.has(row)), zones: each.zones.filter((row) => zones.has(row)),
      }));
      const asked = joinOf('lake.labels', table(DRIVERS, snapshots.get(DRIVERS)![step]), table(ZONES, snapshots.get(ZONES)![step]), 'label');
      expect(sorted(await trino.typed(asOfJoinSql(TRINO, asked), trainingSetColumns(asked)))).toEqual(sorted(expectedRows(then, 'label')));
    }
  }, 300_000);

  test('a feature that was added later reads as its default in a snapshot that does not have it, and in old rows', async () => {
    const added = { name: 'surge', dtype: 'float32' as const, default: 1.5, required: false, piiClass: 'none' as const };
    const evolved: FeatureGroupSchema = { ...ZONES, features: [...ZONES.features, added] };
    const before = await trino.snapshot(offlineTableName(ZONES));
    const statements = addColumns(offlineTable(ZONES, { database: 'lake', location: 'local:///unused' }), [{ name: 'surge', type: 'float32', required: false }], 'trino');
    for (const sql of statements) await trino.run(sql);
    const label = histories[0].labels[0];
    const row: Row = { entity: ['late', '1'], eventTime: label.at, createdTime: label.at, values: { demand: 2, orders: 3, surge: 0.1 } };
    const types = [...evolved.entityKeys, ...evolved.features].map(({ name }) => `"${name}"`);
    const inserted = `(${types.join(', ')}, event_time, created_time, row_digest) VALUES ${rowLiterals(evolved, [row], TRINO.types).join(', ')}`;
    await trino.run(`INSERT INTO lake.zones_v1 ${inserted}`);
    const labels = labelLiterals([{ labels: [{ ...label, city: 'late', cell: '1' }, label], drivers: [], zones: [] }], TRINO.types);
    const names = LABEL_COLUMNS.map(({ name }) => name).join(', ');
    await trino.run(`CREATE TABLE late_labels AS SELECT * FROM (VALUES ${labels.join(', ')}) AS t(${names})`);

    const ask = async (snapshot?: string) => {
      const relation = icebergTable('lake', 'zones_v1', snapshot);
      const asked = {
        labels: { relation: 'lake.late_labels', columns: LABEL_COLUMNS, time: 'at' },
        groups: [{ group: evolved, rows: { sql: relation, columns: await trino.columns(`SELECT * FROM ${relation} LIMIT 0`) } }],
      };
      const rows = await trino.typed(asOfJoinSql(TRINO, asked), trainingSetColumns(asked));
      return rows.sort((a, b) => Number(a[0]) - Number(b[0])).map((each) => each.slice(LABEL_COLUMNS.length));
    };
    expect((await ask()).map((each) => each[2])).toEqual([Math.fround(0.1), 1.5]);
    expect((await ask(before)).map((each) => each[2])).toEqual([1.5, 1.5]);
    expect((await ask(before))[0]).toEqual([null, -1n, 1.5]);
  }, 300_000);

  test('a snapshot that is gone, or never was, is refused', async () => {
    await expect(trino.rows(`SELECT * FROM ${icebergTable('lake', 'zones_v1', '9007199254740993')}`)).rejects.toThrow(/snapshot/i);
  });

  test('the statements that find a snapshot, and its columns, mean on Trino what they mean on Athena', async () => {
    const athena = {
      run: async (sql: string) => ({ columns: await trino.columns(sql), rows: (await trino.rows(sql)) as (string | null)[][] }),
    };
    const nothing = async (): Promise<never> => Promise.reject(new Error('no labels are read here'));
    const store = new AthenaTrainingSets({ athena, objects: { bucket: 'none' } as ObjectStore, database: 'lake', writeLabels: nothing, folder });
    const [first, , last] = snapshots.get(DRIVERS)!;
    expect(await store.snapshot(DRIVERS)).toBe(last);
    const [[made]] = await trino.rows(`SELECT CAST(to_unixtime(made_current_at) * 1000 AS bigint) FROM lake."city_drivers_v2$history" WHERE snapshot_id = ${first}`);
    expect(await store.snapshot(DRIVERS, made as number)).toBe(first);
    expect(await store.snapshot(DRIVERS, 0)).toBeUndefined();
    expect(await store.rows(DRIVERS, first)).toEqual({ sql: icebergTable('lake', 'city_drivers_v2', first), columns: offlineColumns(DRIVERS).map(({ name }) => name) });
    expect(await store.rows(DRIVERS, '9007199254740993')).toBeUndefined();
  }, 300_000);

  const base = Date.UTC(2026, 0, 31, 23, 59, 55);
  test.each([
    ['all', {}], ['of a window of created times', { createdFrom: base + 3000, createdBefore: base + 8000 }],
  ])('the latest valid values, %s, are the oracle\'s and DuckDB\'s', async (_, window) => {
    for (const group of [DRIVERS, ZONES]) {
      const pinned = table(group, snapshots.get(group)!.at(-1));
      const asked = { group, asOf: base + 9000, ...window };
      const expected = sorted(expectedLatest(asked, rowsOf(group)));
      const columns = offlineColumns(group);
      expect(sorted(await trino.typed(latestValuesSql(TRINO, { ...asked, rows: pinned }), columns))).toEqual(expected);
      if (group === DRIVERS) {
        const local = latestValuesSql(DUCKDB, { ...asked, rows: { sql: await files(offlineTableName(group)) } });
        expect(sorted(await onDuckDb(local, columns))).toEqual(expected);
      }
    }
  }, 300_000);

  test('the sample of a consistency check is the same on both engines', async () => {
    const columns = offlineColumns(DRIVERS);
    const asked = { group: DRIVERS, asOf: base + 9000, size: 25, seed: "run's 7" };
    const drawn = await trino.typed(consistencySampleSql(TRINO, { ...asked, rows: table(DRIVERS) }), columns);
    expect(drawn).toHaveLength(25);
    const local = await onDuckDb(consistencySampleSql(DUCKDB, { ...asked, rows: { sql: await files(offlineTableName(DRIVERS)) } }), columns);
    expect(sorted(drawn)).toEqual(sorted(local));
    expect(sorted(expectedLatest(asked, rowsOf(DRIVERS)))).toEqual(expect.arrayContaining(sorted(drawn)));
  }, 300_000);
});
