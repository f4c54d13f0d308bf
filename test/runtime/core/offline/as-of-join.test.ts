import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as fc from 'fast-check';
import {
  DRIVERS, expectedLatest, expectedRows, history, type History, joinOf, labelLiterals, LABEL_COLUMNS, noRows, type Row, rowLiterals, ZONES,
} from './histories.fixture';
import { DuckDb } from '../../../../runtime/adapters/local/duckdb';
import { findNatives } from '../../../../runtime/adapters/local/natives';
import { asOfJoinSql, type KnownAt, trainingSetColumns, type TypedColumn } from '../../../../runtime/core/offline/as-of-join';
import { consistencySampleSql, latestValuesSql } from '../../../../runtime/core/offline/latest-values';
import { DUCKDB, parquetFiles, TRINO } from '../../../../runtime/core/offline/query-engine';
import { rowsDigest, rowsDigestSql, type TypedValue } from '../../../../runtime/core/offline/rows-digest';
import { type FeatureGroupSchema, offlineColumns } from '../../../../src/contract';

describe('the point-in-time join', () => {
  let folder: string;
  let db: DuckDb;
  let written = 0;
  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'thalos-as-of-'));
    db = await DuckDb.open(findNatives(), join(folder, 'spill'));
  });
  afterAll(() => {
    db.close();
    rmSync(folder, { recursive: true, force: true });
  });

  async function parquet(literals: readonly string[], columns: readonly TypedColumn[]): Promise<string> {
    const path = join(folder, `${written++}.parquet`);
    const names = columns.map(({ name }) => `"${name}"`).join(', ');
    await db.run(`COPY (SELECT * FROM (VALUES ${literals.join(', ')}) AS t(${names})) TO '${path}' (FORMAT parquet)`);
    return path;
  }
  /** In two files, as two imports leave them. */
  async function table(group: FeatureGroupSchema, rows: readonly Row[]): Promise<string> {
    const literals = rowLiterals(group, rows, DUCKDB.types);
    const halves = [literals.slice(0, literals.length / 2), literals.slice(literals.length / 2)].filter((half) => half.length > 0);
    if (halves.length === 0) return noRows(group);
    return parquetFiles(await Promise.all(halves.map((half) => parquet(half, offlineColumns(group)))));
  }
  async function answer(sql: string, columns: readonly TypedColumn[]): Promise<TypedValue[][]> {
    const read = columns.map(({ name, type }) => (type === 'time' ? `epoch_ms("${name}")::DOUBLE AS "${name}"` : `"${name}"`));
    const rows = await db.rows(`SELECT ${read.join(', ')} FROM (${sql})`);
    return rows.map((row) => columns.map(({ name, type }) => {
      const value = row[name] as TypedValue;
      return typeof value === 'number' && type.startsWith('float') ? value + 0 : value;
    }));
  }
  async function training(histories: readonly History[], knownAt: KnownAt) {
    const labels = `read_parquet('${await parquet(labelLiterals(histories, DUCKDB.types), LABEL_COLUMNS)}')`;
    const drivers = await table(DRIVERS, histories.flatMap((each) => each.drivers));
    const zones = await table(ZONES, histories.flatMap((each) => each.zones));
    const asked = joinOf(labels, { sql: drivers }, { sql: zones }, knownAt);
    const sql = asOfJoinSql(DUCKDB, asked);
    const columns = trainingSetColumns(asked);
    return { columns, sql, rows: await answer(sql, columns) };
  }
  const cases = (least: number, most = least) => fc.array(fc.nat(), { minLength: least, maxLength: most })
    .chain((all) => fc.tuple(...all.map((_, at) => history(`case-${at}`))));
  const knownAt = fc.constantFrom<KnownAt>('label', 'now');

  test('gives each label what a comparison with every row gives', async () => {
    await fc.assert(fc.asyncProperty(cases(1, 60), knownAt, async (histories, known) => {
      const { rows, columns, sql } = await training(histories, known);
      const expected = expectedRows(histories, known);
      expect(rows).toEqual(expected);
      const [digest] = await db.rows(rowsDigestSql(DUCKDB, `(${sql})`, columns));
      expect({ rows: Number(digest.rows), digest: digest.digest }).toEqual(rowsDigest(columns, expected));
    }), { numRuns: 12 });
  }, 60_000);

  test('never shows a row that was created after the label, or is of a later event', async () => {
    await fc.assert(fc.asyncProperty(cases(1, 10), fc.integer({ min: 0, max: 20 }), async (histories, seconds) => {
      const at = histories[0].labels[0].at;
      const all = histories.map((each) => ({ ...each, labels: each.labels.map((label) => ({ ...label, at })) }));
      const nothing = (row: Row) => Object.fromEntries(Object.keys(row.values).map((name) => [name, null]));
      const later = (row: Row): Row => ({ ...row, createdTime: at + 1 + seconds, values: nothing(row) });
      const future = (row: Row): Row => ({ ...row, eventTime: at + 1 + seconds });
      const leaking = all.map((each) => ({
        ...each,
        drivers: [...each.drivers, ...each.drivers.map(later), ...each.drivers.map(future)],
        zones: [...each.zones.map(later), ...each.zones.map(future), ...each.zones],
      }));
      expect((await training(leaking, 'label')).rows).toEqual((await training(all, 'label')).rows);
    }), { numRuns: 5 });
  }, 60_000);

  test('keeps every label where nothing was imported yet', async () => {
    const [{ labels }] = fc.sample(history('empty'), { numRuns: 1, seed: 7 });
    const none: History = { labels, drivers: [], zones: [] };
    expect((await training([none], 'label')).rows).toEqual(expectedRows([none], 'label'));
  });

  test('reads a feature that a snapshot does not have as null, and files without a digest', async () => {
    const values = { active: true, trips: 1, odometer: 2, rating: 3, earnings: 4, vehicle: 'x' };
    const at = Date.UTC(2026, 0, 1);
    const one: History = {
      drivers: [{ entity: ['a'], eventTime: at, createdTime: at, values }, { entity: ['a'], eventTime: at, createdTime: at, values: { ...values, trips: 2 } }],
      zones: [],
      labels: [{ driver: 'a', city: null, cell: null, at, converted: null, weight: null }],
    };
    const whole = await parquet(rowLiterals(DRIVERS, one.drivers, DUCKDB.types), offlineColumns(DRIVERS));
    const old = join(folder, 'old.parquet');
    await db.run(`COPY (SELECT * EXCLUDE (vehicle, odometer, row_digest) FROM read_parquet('${whole}')) TO '${old}' (FORMAT parquet)`);
    const columns = offlineColumns(DRIVERS).map(({ name }) => name).filter((name) => !['vehicle', 'odometer', 'row_digest'].includes(name));
    const labels = `read_parquet('${await parquet(labelLiterals([one], DUCKDB.types), LABEL_COLUMNS)}')`;
    const asked = joinOf(labels, { sql: parquetFiles([old]), columns }, { sql: noRows(ZONES) }, 'label');
    const [row] = await answer(asOfJoinSql(DUCKDB, asked), trainingSetColumns(asked));
    // of two rows of one instant without digests, the one that came later; the absent features are their defaults
    expect(row.slice(LABEL_COLUMNS.length, LABEL_COLUMNS.length + 6)).toEqual([true, 2, 9007199254740991n, 3, 4, "none's"]);
  });

  const latestOf = (histories: readonly History[], group: FeatureGroupSchema) =>
    histories.flatMap((each) => (group === DRIVERS ? each.drivers : each.zones));
  const byKeys = (rows: TypedValue[][], keys: number) => [...rows].sort((a, b) => (keyText(a, keys) < keyText(b, keys) ? -1 : 1));
  const keyText = (row: TypedValue[], keys: number) => JSON.stringify(row.slice(0, keys).map(String));

  test('finds the latest values that were valid at a time, of rows created in a window', async () => {
    await fc.assert(fc.asyncProperty(cases(1, 15), fc.constantFrom(DRIVERS, ZONES), fc.integer({ min: 0, max: 9 }),
      fc.option(fc.integer({ min: 1, max: 9 }), { nil: undefined }), async (histories, group, from, width) => {
        const base = Date.UTC(2026, 0, 31, 23, 59, 55);
        const created = width === undefined ? {} : { createdFrom: base + from * 1000, createdBefore: base + (from + width) * 1000 };
        const window = { group, asOf: base + 9000, ...created };
        const rows = latestOf(histories, group);
        const found = await answer(latestValuesSql(DUCKDB, { ...window, rows: { sql: await table(group, rows) } }), offlineColumns(group));
        expect(byKeys(found, group.entityKeys.length)).toEqual(expectedLatest(window, rows));
      }), { numRuns: 10 });
  }, 60_000);

  test('draws the same sample for the same seed, each entity with its latest values', async () => {
    const histories = fc.sample(cases(40), { numRuns: 1, seed: 3 })[0];
    const rows = latestOf(histories, ZONES);
    const asked = { group: ZONES, asOf: Date.UTC(2026, 1, 1), rows: { sql: await table(ZONES, rows) } };
    const draw = async (seed: string, size: number) => answer(consistencySampleSql(DUCKDB, { ...asked, seed, size }), offlineColumns(ZONES));
    const all = expectedLatest(asked, rows);
    const twenty = await draw('monday', 20);
    expect(twenty).toHaveLength(20);
    expect(all).toEqual(expect.arrayContaining(twenty));
    expect(await draw('monday', 10)).toEqual(twenty.slice(0, 10));
    expect(await draw('tuesday', 20)).not.toEqual(twenty);
    expect(byKeys(await draw('monday', 10_000), 2)).toEqual(all);
  });

  describe('refuses', () => {
    const labels = { relation: 'labels', columns: LABEL_COLUMNS, time: 'at' };
    const keyed = { group: DRIVERS, rows: { sql: 't' }, keys: { driver: 'driver_id' } };
    test.each([
      ['no group at all', { labels, groups: [] }, /at least one feature group/],
      ['labels without their time', { labels: { ...labels, time: 'when' }, groups: [keyed] }, /no column 'when' with their time; they have nth, driver_id/],
      ['a time that is none', { labels: { ...labels, time: 'weight' }, groups: [keyed] }, /'weight', must be a time, got float32/],
      ['labels without a key', { labels, groups: [{ ...keyed, keys: {} }] }, /no column 'driver' for entity key 'driver'/],
      ['a key of another type', { labels, groups: [{ ...keyed, keys: { driver: 'weight' } }] }, /'driver' of feature group 'city-drivers' is string, and/],
      ['a key that the group does not have', { labels, groups: [{ ...keyed, keys: { rider: 'at' } }] }, /no entity key 'rider'; it has driver/],
      ['a feature that the group does not have', { labels, groups: [{ ...keyed, features: ['speed'] }] }, /no feature 'speed'; it has active, trips/],
      ['a group twice', { labels, groups: [keyed, keyed] }, /'city_drivers__active' would be in the training set twice/],
      ['a name that Glue would change', { labels: { ...labels, columns: [{ name: 'Clicked', type: 'bool' as const }] }, groups: [keyed] }, /got 'Clicked': rename it/],
    ])('%s', (_, asked, message) => {
      for (const engine of [DUCKDB, TRINO]) {
        expect(() => asOfJoinSql(engine, asked)).toThrow(expect.objectContaining({ code: 'INVALID_TRAINING_SET', message: expect.stringMatching(message) }));
      }
    });
  });
});
