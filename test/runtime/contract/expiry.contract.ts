/** Training and serving read the same truth: on the very edge of an expiry a row counts on both sides, and one millisecond later on neither. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DuckDb } from '../../../runtime/adapters/local/duckdb';
import { findNatives } from '../../../runtime/adapters/local/natives';
import { report } from '../../../runtime/core/backfill/consistency';
import { CachedFeatureStore } from '../../../runtime/core/feature-cache';
import { enrichFeatures } from '../../../runtime/core/feature-enrichment';
import { asOfJoinSql } from '../../../runtime/core/offline/as-of-join';
import { latestValuesSql } from '../../../runtime/core/offline/latest-values';
import { DUCKDB, parquetFiles } from '../../../runtime/core/offline/query-engine';
import { planModel } from '../../../runtime/core/plan';
import type { FeatureWrite, OnlineFeatureStore } from '../../../runtime/core/ports';
import { FeatureClient } from '../../../runtime/feature-client/feature-client';
import { type BrainConfiguration, expiresAt, type FeatureGroupSchema, offlineColumns } from '../../../src/contract';
import { CONFIGURATION, MANIFEST } from '../core/brain.fixture';
import { rowLiterals } from '../core/offline/histories.fixture';

const GROUP: FeatureGroupSchema = {
  name: 'drivers',
  version: 1,
  owner: 'fleet',
  ttl: 60,
  entityKeys: [{ name: 'driver', dtype: 'string' }],
  features: [
    { name: 'trips', dtype: 'int32', required: false, default: -1, piiClass: 'none' },
    { name: 'speed', dtype: 'int32', required: false, default: -1, maxAge: 20, piiClass: 'none' },
  ],
};
const BRAIN: BrainConfiguration = { ...CONFIGURATION, featureGroups: [GROUP] };
const MODEL = planModel({
  name: 'eta',
  version: '1',
  manifest: {
    ...MANIFEST,
    inputs: [{ name: 'x', datatype: 'INT32', shape: [-1, 2] }],
    enrichment: {
      entities: [{ input: 'driver', datatype: 'BYTES' }],
      features: [{ tensor: 'x', keys: ['driver'], groups: [{ group: 'drivers', features: ['trips', 'speed'] }] }],
    },
  },
}, BRAIN);

/** Milliseconds since a row's event, and what a reader gets: trips, and speed. */
const AGES: readonly [age: number, trips: number, speed: number][] = [
  [0, 7, 9], [19_999, 7, 9], [20_000, 7, 9], [20_001, 7, -1], [59_999, 7, -1], [60_000, 7, -1], [60_001, -1, -1], [60_999, -1, -1], [61_000, -1, -1],
];
const COUNTING = AGES.map(([, trips]) => trips !== -1);

/** `open` gives a store that holds nothing. */
export function expiryContract(open: () => Promise<OnlineFeatureStore>): void {
  describe.each([['a whole second', Date.UTC(2026, 0, 1, 12)], ['a fraction of one', Date.UTC(2026, 0, 1, 12) + 1]])('asked at %s', (_, now) => {
    const rows = AGES.map(([age]): FeatureWrite => (
      { group: GROUP, entity: [`d${age}`], eventTime: now - age, createdTime: now - age, values: { trips: 7, speed: 9 } }
    ));
    const requests = rows.map(({ group, entity }) => ({ group, entity }));
    let store: OnlineFeatureStore;
    beforeEach(async () => {
      store = await open();
      await store.write(rows);
    });
    afterEach(() => store.close());

    async function served(from: OnlineFeatureStore): Promise<number[][]> {
      const driver = { name: 'driver', datatype: 'BYTES' as const, shape: [rows.length], data: rows.map(({ entity }) => entity[0]) };
      const { tensors: [{ data }] } = await enrichFeatures(MODEL.features, new Map([['driver', driver]]), rows.length, from, now);
      return rows.map((__, at) => [Number(data[2 * at]), Number(data[2 * at + 1])]);
    }

    test('serving, from the store and from memory, gives what a training set holds', async () => {
      const expected = AGES.map(([, trips, speed]) => [trips, speed]);
      const cached = new CachedFeatureStore({ store, clock: { now: () => now } });
      const [cold, warm] = [await served(cached), await served(cached)];
      expect((await offline(rows, now)).trained).toEqual(expected);
      expect({ online: await served(store), cold, warm }).toEqual({ online: expected, cold: expected, warm: expected });
    });

    test('the client and the check of consistency know the rows that a backfill would write', async () => {
      const client = new FeatureClient({ brain: 'rides', groups: [GROUP], store: Object.assign(store, { writeEach: async () => [] }), clock: { now: () => now } });
      const found = await client.getMany('drivers', rows.map(({ entity }) => entity));
      expect(found.map((each) => each !== undefined)).toEqual(COUNTING);
      const { latest } = await offline(rows, now);
      expect(rows.map(({ entity }) => latest.includes(entity[0]))).toEqual(COUNTING);
      expect(report(GROUP, rows, await store.read(requests), now)).toMatchObject({ sampled: latest.length, same: latest.length, skew: 0 });
    });

    test('DynamoDB may delete no row that counts', () => {
      // TTL compares whole seconds
      const deleted = rows.map(({ eventTime }) => expiresAt(GROUP, eventTime)! <= Math.floor(now / 1000));
      expect(deleted.filter((gone, at) => gone && COUNTING[at])).toEqual([]);
    });
  });
}

/** What a training set holds of the rows, and the entities that a backfill finds. */
async function offline(rows: readonly FeatureWrite[], at: number): Promise<{ trained: number[][]; latest: string[] }> {
  const folder = mkdtempSync(join(tmpdir(), 'thalos-expiry-'));
  const db = await DuckDb.open(findNatives(), join(folder, 'spill'));
  try {
    const parquet = async (name: string, columns: readonly string[], literals: readonly string[]) => {
      const path = join(folder, `${name}.parquet`);
      await db.run(`COPY (SELECT * FROM (VALUES ${literals.join(', ')}) AS t(${columns.join(', ')})) TO '${path}' (FORMAT parquet)`);
      return parquetFiles([path]);
    };
    const moment = new Date(at).toISOString().replace('T', ' ').replace('Z', '');
    const labels = rows.map(({ entity: [driver] }, nth) => `(${nth}, '${driver}', CAST('${moment}' AS ${DUCKDB.types.time}))`);
    const table = { sql: await parquet('rows', offlineColumns(GROUP).map(({ name }) => name), rowLiterals(GROUP, rows, DUCKDB.types)) };
    const joined = asOfJoinSql(DUCKDB, {
      labels: {
        relation: await parquet('labels', ['nth', 'driver', 'label'], labels),
        columns: [{ name: 'nth', type: 'int32' }, { name: 'driver', type: 'string' }, { name: 'label', type: 'time' }],
        time: 'label',
      },
      groups: [{ group: GROUP, rows: table }],
    });
    const trained = await db.rows(`SELECT * FROM (${joined}) ORDER BY nth`);
    const latest = await db.rows(latestValuesSql(DUCKDB, { group: GROUP, rows: table, asOf: at }));
    return {
      trained: trained.map((row) => [Number(row.drivers__trips), Number(row.drivers__speed)]),
      latest: latest.map(({ driver }) => String(driver)),
    };
  } finally {
    db.close();
    rmSync(folder, { recursive: true, force: true });
  }
}
