import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DataDirectory } from '../../../runtime/adapters/local/data-directory';
import { DuckDb } from '../../../runtime/adapters/local/duckdb';
import { findNatives } from '../../../runtime/adapters/local/natives';
import { OfflineStore } from '../../../runtime/adapters/local/offline-store';
import { rowDigest } from '../../../runtime/core/feature-row';
import type { FeatureWrite } from '../../../runtime/core/ports';
import type { FeatureGroupSchema } from '../../../src/contract';

const feature = (name: string, dtype: FeatureGroupSchema['features'][number]['dtype']) => ({ name, dtype, required: false, piiClass: 'none' as const });
const GROUP: FeatureGroupSchema = {
  name: 'drivers',
  version: 1,
  owner: 'fleet',
  entityKeys: [{ name: 'region', dtype: 'string' }, { name: 'driver', dtype: 'int64' }],
  features: [feature('trips', 'int32'), feature('odometer', 'int64'), feature('rating', 'float32'), feature('earnings', 'float64'), feature('active', 'bool'), feature('vehicle', 'string')],
};
const NOW = Date.UTC(2026, 0, 2);
const NOON = Date.UTC(2026, 0, 1, 12);
const HEADER = 'region,driver,event_time,trips,odometer,rating,earnings,active,vehicle';

describe('the embedded offline store', () => {
  let root: string;
  let db: DuckDb;
  let store: OfflineStore;
  let data: DataDirectory;
  beforeEach(async () => {
    root = mkdtempSync(join(tmpdir(), 'thalos-offline-'));
    data = new DataDirectory(root);
    db = await DuckDb.open(findNatives(), data.spill);
    store = new OfflineStore(db, data);
  });
  afterEach(() => {
    db.close();
    rmSync(root, { recursive: true, force: true });
  });

  const file = (name: string, content: string) => {
    writeFileSync(join(root, name), content);
    return join(root, name);
  };
  const csv = (...lines: string[]) => file('in.csv', [HEADER, ...lines, ''].join('\n'));
  const append = (path: string, group = GROUP) => store.append(group, path, NOW);
  async function written(after = 0, group = GROUP): Promise<Omit<FeatureWrite, 'group'>[]> {
    const rows: Omit<FeatureWrite, 'group'>[] = [];
    for await (const piece of store.rowsAfter(group, after)) rows.push(...piece.rows.map(({ group: _, ...row }) => row));
    return rows;
  }

  const values = { trips: -7, odometer: '9223372036854775807', rating: Math.fround(4.7), earnings: 0.1 + 0.2, active: false, vehicle: 'Škoda 🚗' };
  const expected = [
    { entity: ['eu', '9007199254740993'], eventTime: NOON, createdTime: NOW, values },
    { entity: ['us', '7'], eventTime: NOON + 1500, createdTime: NOW, values: { trips: null, odometer: null, rating: null, earnings: null, active: null, vehicle: '' } },
  ];

  test.each([
    ['CSV', () => csv('eu,9007199254740993,2026-01-01T12:00:00Z,-7,9223372036854775807,4.7,0.30000000000000004,false,Škoda 🚗', 'us,007,1767268801.5,,,,,,""')],
    ['JSON Lines', () => file('in.jsonl', [
      '{"region":"eu","driver":9007199254740993,"event_time":"2026-01-01T13:00:00+01:00","trips":-7,"odometer":9223372036854775807,"rating":4.7,"earnings":0.30000000000000004,"active":false,"vehicle":"Škoda 🚗"}',
      '{"region":"us","driver":"7","event_time":1767268801500,"vehicle":""}', '',
    ].join('\n'))],
    ['parquet', async () => {
      await db.run(`COPY (SELECT * FROM (VALUES
        ('eu', 9007199254740993::BIGINT, TIMESTAMP '2026-01-01 12:00:00', -7, 9223372036854775807::BIGINT, 4.7::FLOAT, 0.1::DOUBLE + 0.2::DOUBLE, false, 'Škoda 🚗'),
        ('us', 7, TIMESTAMP '2026-01-01 12:00:01.5', NULL, NULL, NULL, NULL, NULL, '')) t(${HEADER})) TO '${join(root, 'in.parquet')}' (FORMAT parquet)`);
      return join(root, 'in.parquet');
    }],
  ])('takes %s, and every dtype comes out as it went in', async (_, source) => {
    expect(await append(await source())).toEqual({ snapshot: 1, rows: 2, added: true });
    expect(await written()).toEqual(expected);
  });

  test('writes parquet that any reader understands, typed as declared', async () => {
    await append(csv('eu,1,2026-01-01T12:00:00Z,1,2,3,4,true,a'));
    const columns = await db.rows(`DESCRIBE SELECT * FROM read_parquet('${store.paths(GROUP)[0]}')`);
    expect(columns.map(({ column_name: name, column_type: type }) => `${name} ${type}`)).toEqual([
      'region VARCHAR', 'driver BIGINT', 'trips INTEGER', 'odometer BIGINT', 'rating FLOAT', 'earnings DOUBLE', 'active BOOLEAN', 'vehicle VARCHAR',
      'event_time TIMESTAMP WITH TIME ZONE', 'created_time TIMESTAMP WITH TIME ZONE', 'row_digest VARCHAR',
    ]);
  });

  test('writes the digest of each row, by which the online store breaks a tie', async () => {
    await append(csv('eu,1,2026-01-01,-7,9223372036854775807,4.7,0.30000000000000004,false,Škoda 🚗', 'eu,2,2026-01-01,,9007199254740991,,-0,,""', 'eu,3,2026-01-01,,,,,,'));
    const rows = await db.rows(`SELECT row_digest FROM read_parquet('${store.paths(GROUP)[0]}') ORDER BY driver`);
    const given: FeatureWrite['values'][] = [values, { odometer: 9007199254740991, earnings: 0, vehicle: '' }, {}];
    expect(rows.map(({ row_digest: digest }) => digest)).toEqual(given.map((each) => rowDigest(GROUP, each)));
  });

  test('a created time in the file is kept, one that lacks is the time of the import', async () => {
    await append(file('in.csv', `${HEADER},created_time\neu,1,2026-01-01T12:00:00Z,1,,,,,,2026-01-01T12:00:05Z\neu,2,2026-01-01T12:00:00Z,1,,,,,,\n`));
    expect((await written()).map(({ createdTime }) => createdTime)).toEqual([NOON + 5000, NOW]);
  });

  test('a snapshot never changes, and later ones hold more', async () => {
    await append(csv('eu,1,2026-01-01,1,,,,,'));
    const first = store.paths(GROUP, 1);
    await append(csv('eu,2,2026-01-01,2,,,,,', 'eu,3,2026-01-01,3,,,,,'));
    expect(store.latest(GROUP)).toBe(2);
    expect(store.paths(GROUP, 1)).toEqual(first);
    expect(store.paths(GROUP)).toHaveLength(2);
    expect((await written(1)).map(({ entity }) => entity[1])).toEqual(['2', '3']);
    expect([store.countAfter(GROUP, 0), store.countAfter(GROUP, 1), store.countAfter(GROUP, 2)]).toEqual([3, 2, 0]);
  });

  test('the same bytes are added once', async () => {
    const path = csv('eu,1,2026-01-01,1,,,,,');
    await append(path);
    expect(await append(path)).toEqual({ snapshot: 1, rows: 1, added: false });
    expect(store.paths(GROUP)).toHaveLength(1);
  });

  test('what an import left that died between its file and its log entry is no part of any snapshot', async () => {
    await append(csv('eu,1,2026-01-01,1,,,,,'));
    writeFileSync(join(data.offline(GROUP), '00000002.parquet'), 'half');
    writeFileSync(join(data.offline(GROUP), '.unfinished-00000002.parquet-x'), 'half');
    expect(await written()).toHaveLength(1);
    await append(csv('eu,2,2026-01-01,2,,,,,'));
    expect(readdirSync(data.offline(GROUP)).sort()).toEqual(['00000001.parquet', '00000002.parquet', 'log']);
    expect(await written()).toHaveLength(2);
  });

  test('a feature that was declared later reads as not known in older files', async () => {
    await append(csv('eu,1,2026-01-01,1,,,,,'));
    const later = { ...GROUP, features: [...GROUP.features, feature('city', 'string')] };
    expect((await written(0, later))[0].values).toMatchObject({ trips: 1, city: null });
  });

  test('versions of a group lie apart', async () => {
    await append(csv('eu,1,2026-01-01,1,,,,,'));
    expect(store.latest({ ...GROUP, version: 2 })).toBe(0);
  });

  test.each([
    ['a value of another type', ['eu,1,2026-01-01,1,,,,,', 'eu,2,2026-01-01,many,,,,,'], /INVALID_VALUE: row 2: feature 'trips' must be int32, got 'many'; nothing was imported/],
    ['a fraction for an integer', ['eu,1,2026-01-01,1.5,,,,,'], /feature 'trips' must be int32, got '1.5'/],
    ['an integer out of range', ['eu,1,2026-01-01,2147483648,,,,,'], /row 1: feature 'trips'/],
    ['a number that is none', ['eu,1,2026-01-01,,,NaN,,,'], /feature 'rating' must be float32, got 'NaN'/],
    ['a float32 that overflows', ['eu,1,2026-01-01,,,1e39,,,'], /feature 'rating' must be float32, got '1e39'/],
    ['a bool that is none', ['eu,1,2026-01-01,,,,,yes,'], /feature 'active' must be bool, got 'yes'/],
    ['a time that is none', ['eu,1,yesterday,,,,,,'], /'event_time' must be a time \(ISO 8601, or epoch seconds or milliseconds\), got 'yesterday'/],
    ['no event time', ['eu,1,,1,,,,,'], /row 1: 'event_time' has no value/],
    ['no entity', [',1,2026-01-01,1,,,,,'], /row 1: entity key 'region' has no value/],
    ['many bad rows', Array.from({ length: 9 }, () => 'eu,x,2026-01-01,1,,,,,'), /row 5: entity key 'driver' must be int64, got 'x' \(and 4 more rows\)/],
  ])('fails when a row has %s, and adds nothing', async (_, lines, message) => {
    await expect(append(csv(...lines))).rejects.toThrow(message);
    expect(store.latest(GROUP)).toBe(0);
    expect(readdirSync(data.offline(GROUP))).toEqual([]);
  });

  test('fails when a column is missing or not declared', async () => {
    await expect(append(file('in.csv', 'region,driver,event_time\neu,1,2026-01-01\n'))).rejects.toThrow(/MISSING_COLUMN: .* lacks feature 'trips'/);
    await expect(append(file('in.csv', `${HEADER},colour\neu,1,2026-01-01,1,,,,,,red\n`))).rejects.toThrow(/UNKNOWN_COLUMN: .*'colour', which is not declared/);
  });
});
