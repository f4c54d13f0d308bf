import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DataDirectory } from '../../../runtime/adapters/local/data-directory';
import { DuckDb } from '../../../runtime/adapters/local/duckdb';
import { LONGEST_LINE, NO_OBJECT } from '../../../runtime/adapters/local/json-lines';
import { findNatives } from '../../../runtime/adapters/local/natives';
import { OfflineStore } from '../../../runtime/adapters/local/offline-store';
import { rowDigest } from '../../../runtime/core/feature-row';
import type { FeatureWrite } from '../../../runtime/core/ports';
import type { FeatureGroupSchema, QuarantinedRow } from '../../../src/contract';

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

  const file = (name: string, content: string | Buffer) => {
    writeFileSync(join(root, name), content);
    return join(root, name);
  };
  const csv = (...lines: string[]) => file('in.csv', [HEADER, ...lines, ''].join('\n'));
  const append = (path: string, group = GROUP, strict = false) => store.append(group, path, NOW, { strict });
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
    expect(await append(await source())).toEqual({ snapshot: 1, rows: 2, added: true, quarantined: 0, reasons: new Map(), violations: [] });
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
    expect(await append(path)).toEqual({ snapshot: 1, rows: 1, added: false, quarantined: 0, reasons: new Map(), violations: [] });
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
    ['a time ahead of the clock', ['eu,1,2026-02-01,1,,,,,'], /row 1: 'event_time' is 2026-02-01T00:00:00.000Z, 2592000 s ahead/],
    ['a line of another length', ['eu,1,2026-01-01,1'], /row 1: Expected Number of Columns: 9 Found: 4/],
    ['many bad rows', Array.from({ length: 9 }, () => 'eu,x,2026-01-01,1,,,,,'), /row 5: entity key 'driver' must be int64 \(and 4 more rows\)/],
  ])('fails, where it is strict, when a row has %s, and adds nothing', async (_, lines, message) => {
    await expect(append(csv(...lines), GROUP, true)).rejects.toThrow(message);
    expect(store.latest(GROUP)).toBe(0);
    expect(readdirSync(data.offline(GROUP))).toEqual([]);
  });

  describe('takes the rows that fit, and puts the others into the quarantine', () => {
    const quarantined = (path?: string) => readFileSync(path!, 'utf8').trimEnd().split('\n').map((line) => JSON.parse(line) as QuarantinedRow);
    const shown = (rows: QuarantinedRow[]) => rows.map(({ row, reason, column, text }) => `${row} ${reason} ${column}: ${text}`);

    test('of CSV, each with its reason, its place and what stood there', async () => {
      const { quarantine, ...appended } = await append(csv(
        'eu,1,2026-01-01T12:00:00Z,1,,,,,', 'eu,2,2026-01-01,many,,,,,', 'eu,3', 'eu,4,2026-01-01,4,,,,,', ',5,2026-01-01,5,,,,,', 'eu,x,2026-01-01,6,,,,,',
        'eu,7,,7,,,,,', 'eu,8,yesterday,8,,,,,', 'eu,9,2027-01-01,9,,,,,', 'eu,10,2026-01-01,,,inf,,,', 'eu,11,2026-01-01,,,1e39,,,', 'eu,12,"2026-01-01,1', 'eu,13,2026-01-01,13,,,,,',
      ));
      expect(appended).toEqual({ snapshot: 1, rows: 2, added: true, quarantined: 10, reasons: expect.any(Map), violations: [] });
      expect((await written()).map(({ values: { trips } }) => trips)).toEqual([1, 4]);
      expect(shown(quarantined(quarantine))).toEqual([
        "2 WRONG_TYPE trips: feature 'trips' must be int32, got 'many'",
        '3 UNREADABLE undefined: Expected Number of Columns: 9 Found: 2',
        "5 MISSING_KEY region: entity key 'region' has no value",
        "6 WRONG_TYPE driver: entity key 'driver' must be int64",
        "7 MISSING_TIME event_time: 'event_time' has no value",
        "8 WRONG_TYPE event_time: 'event_time' must be a time (ISO 8601, or epoch seconds or milliseconds), got 'yesterday'",
        "9 FUTURE_TIME event_time: 'event_time' is 2027-01-01T00:00:00.000Z, 31449600 s ahead of this clock; 300 s are tolerated",
        "10 NOT_FINITE rating: feature 'rating' must be float32, got 'inf'",
        "11 NOT_FINITE rating: feature 'rating' must be float32, got '1e39'",
        '12 UNREADABLE undefined: Value with unterminated quote found.',
      ]);
      expect(quarantined(quarantine)[0]).toEqual({
        group: 'drivers',
        version: 1,
        reason: 'WRONG_TYPE',
        column: 'trips',
        text: expect.any(String),
        source: 'in.csv',
        row: 2,
        time: new Date(NOW).toISOString(),
        record: { region: 'eu', driver: '2', event_time: '2026-01-01', trips: 'many', odometer: null, rating: null, earnings: null, active: null, vehicle: null, created_time: null },
      });
    });

    test('of JSON Lines, whose lines have members of their own', async () => {
      const { quarantine, rows } = await append(file('in.jsonl', [
        '{"region":"eu","driver":9007199254740993,"event_time":1767268800,"trips":1}', '{"region":"eu"', '[1]', '',
        '{"region":"eu","driver":9007199254740995,"event_time":1767268800,"colour":"red","odometer":9007199254740995}', '{"region":"eu","driver":4,"event_time":1767268800,"colour":null}', '',
      ].join('\n')));
      expect(rows).toBe(2);
      expect((await written()).map(({ entity }) => entity[1])).toEqual(['9007199254740993', '4']);
      expect(shown(quarantined(quarantine))).toEqual([
        '2 UNREADABLE undefined: the line is no JSON object', '3 UNREADABLE undefined: the line is no JSON object', "4 UNKNOWN_FEATURE colour: 'colour' is not declared",
      ]);
      // as it came: no number is rounded
      expect(readFileSync(quarantine!, 'utf8')).toContain('"record":{"region":"eu","driver":9007199254740995,"event_time":1767268800,"colour":"red","odometer":9007199254740995}}\n');
      expect(quarantined(quarantine)[0].record).toBe('{"region":"eu"');
    });

    test.each([
      ['that is no UTF-8', Buffer.from([0x22, 0xff, 0x22]), 'the line is not UTF-8'],
      ['with a byte that DuckDB takes for the end of a column', '\x01', NO_OBJECT],
      ['with a byte that stands for no value', '{\x02', NO_OBJECT],
      ['that is too long', Buffer.alloc(LONGEST_LINE + 1, 'x'), `the line has ${LONGEST_LINE + 1} bytes, and at most ${LONGEST_LINE} are read`],
      ['with a carriage return', '{"region":\r"eu"}', NO_OBJECT],
    ])('of JSON Lines, a line %s, whatever stands around it', async (_, bad, text) => {
      const row = (driver: number) => `{"region":"eu","driver":${driver},"event_time":1767268800,"trips":${driver}}`;
      const path = file('in.jsonl', Buffer.concat([Buffer.from(`\ufeff${row(1)}\r\n\n  \n${row(2)}\n`), Buffer.from(bad), Buffer.from(`\n\n${row(3)}\n{\n${row(4)}`)]));
      const { quarantine, rows } = await append(path);
      expect(rows).toBe(4);
      expect((await written()).map(({ values: { trips } }) => trips)).toEqual([1, 2, 3, 4]);
      const lines = text === NO_OBJECT && String(bad).includes('\r') ? String(bad).split('\r') : [bad];
      expect(quarantined(quarantine).map(({ row: at, reason, text: why, record }) => ({ at, reason, why, record }))).toEqual([
        ...lines.map((line, n) => ({ at: 3 + n, reason: 'UNREADABLE', why: text, record: line.toString().slice(0, 10_000) })),
        { at: 4 + lines.length, reason: 'UNREADABLE', why: NO_OBJECT, record: '{' },
      ]);
      expect(readdirSync(db.folder)).toEqual([]);
    });

    test('of CSV whose lines end in two ways', async () => {
      const lines = ['eu,1,2026-01-01,1,,,,,"a\r\nb"\r\n', 'eu,2,2026-01-01,2,,,,,\n', 'eu,3\r\n', 'eu,4,2026-01-01,4,,,,,\r\n'];
      const { quarantine, rows } = await append(file('in.csv', `${HEADER}\n${lines.join('')}`));
      expect(rows).toBe(3);
      expect((await written()).map(({ values: { trips, vehicle } }) => [trips, vehicle])).toEqual([[1, 'a\r\nb'], [2, null], [4, null]]);
      expect(quarantined(quarantine)).toMatchObject([{ reason: 'UNREADABLE', record: 'eu,3' }]);
      expect(readdirSync(db.folder)).toEqual([]);
    });

    test('of JSON Lines with what only DuckDB takes for JSON, as lines of JSON', async () => {
      const line = '{"region":"eu","driver":1,"event_time":1767268800,"earnings":NaN}';
      const { quarantine } = await append(file('in.jsonl', `${line}\n{"region":"eu","driver":2,"event_time":1767268800,"trips":1}\n`));
      expect(quarantined(quarantine)).toMatchObject([{ row: 1, reason: 'NOT_FINITE', column: 'earnings', record: line }]);
    });

    test.each(['event_time', 'created_time'])('of parquet and CSV, where %s is no time that can be told', async (column) => {
      const times = ['infinity', '-infinity', '294000-01-01', '290000-01-01 (BC)', '0044-03-15 (BC)'];
      const others = ['2026-01-01', '1000-01-01'];
      const row = (time: string, at: number) => (column === 'event_time' ? `eu,${at},${time},1,,,,,,` : `eu,${at},2026-01-01,1,,,,,,${time}`);
      const text = await append(file('in.csv', [`${HEADER},created_time`, ...[...times, ...others].map(row), ''].join('\n')));
      const rows = [...times, ...others].map((time, at) => (
        `('eu', ${at}::BIGINT, TIMESTAMP '${column === 'event_time' ? time : '2026-01-01'}', 1, TIMESTAMP '${column === 'event_time' ? '2026-01-01' : time}')`
      ));
      await db.run(`COPY (SELECT region, driver, event_time, trips, NULL::BIGINT AS odometer, NULL::FLOAT AS rating, NULL::DOUBLE AS earnings, NULL::BOOLEAN AS active,
        NULL::VARCHAR AS vehicle, created_time FROM (VALUES ${rows.join(', ')}) t(region, driver, event_time, trips, created_time)) TO '${join(root, 'in.parquet')}' (FORMAT parquet)`);
      const binary = await append(join(root, 'in.parquet'));
      for (const { rows: taken, quarantine } of [text, binary]) {
        expect(taken).toBe(2);
        expect(quarantined(quarantine).map(({ row: at, reason, column: of }) => [at, reason, of])).toEqual(times.map((_, at) => [at + 1, 'WRONG_TYPE', column]));
      }
      const [now, then] = [Date.UTC(2026, 0, 1), Date.UTC(1000, 0, 1)];
      expect((await written()).map(({ eventTime, createdTime }) => (column === 'event_time' ? eventTime : createdTime))).toEqual([now, then, now, then]);
    });

    test('of parquet, by what the group expects; what a batch shows is said', async () => {
      const { features } = GROUP;
      const group = {
        ...GROUP,
        freshness: 3600,
        features: features.map((each) => ({ ...each, ...each.name === 'trips' && { expectations: { min: 0, max: 9 } }, ...each.name === 'rating' && { expectations: { maxNullRate: 0.5 } } })),
      };
      await db.run(`COPY (SELECT 'eu' AS region, i AS driver, TIMESTAMP '2026-01-01 12:00:00' AS event_time, i::INTEGER AS trips, NULL::BIGINT AS odometer,
        CASE WHEN i = 3 THEN 1.5::FLOAT END AS rating, NULL::DOUBLE AS earnings, NULL::BOOLEAN AS active, repeat('é', CASE WHEN i = 5 THEN 300000 ELSE 0 END) AS vehicle
        FROM range(-1, 11) t(i)) TO '${join(root, 'in.parquet')}' (FORMAT parquet)`);
      const { quarantine, rows, violations } = await append(join(root, 'in.parquet'), group);
      expect(rows).toBe(9);
      expect(shown(quarantined(quarantine))).toEqual([
        "1 OUT_OF_RANGE trips: feature 'trips' is expected to be from 0 to 9, got -1", expect.stringMatching(/^7 ITEM_TOO_LARGE undefined: the row takes 600\d+ bytes/),
        "12 OUT_OF_RANGE trips: feature 'trips' is expected to be from 0 to 9, got 10",
      ]);
      expect(violations.map(({ text }) => text)).toEqual(["88.9 % of 9 rows have no 'rating', at most 50 % are expected", 'the newest event is 43200 s old, at most 3600 s are expected']);
    });

    test('once: the same file again says where they are', async () => {
      const path = csv('eu,1,2026-01-01,1,,,,,', 'eu,2,2026-01-01,many,,,,,');
      const first = await append(path);
      expect(await append(path)).toEqual({ ...first, added: false });
      expect(store.paths(GROUP)).toHaveLength(1);
    });

    describe('and when the group was repaired, the same file adds what was refused', () => {
      const limited = (max: number) => ({
        ...GROUP, features: GROUP.features.map((each) => (each.name === 'trips' ? { ...each, expectations: { min: 0, max } } : each)),
      });
      const LATER = NOW + 60_000;
      const again = (path: string, group: FeatureGroupSchema, strict = false) => store.append(group, path, LATER, { strict });
      const rowsOf = async (group: FeatureGroupSchema) => (
        (await written(0, group)).map(({ entity, createdTime, values: { trips } }) => [entity[1], trips, createdTime])
      );
      const mixed = () => csv('eu,1,2026-01-01,1,,,,,', 'eu,2,2026-01-01,20,,,,,', 'eu,3,2026-01-01,many,,,,,', 'eu,4', 'eu,5,2026-01-01,5,,,,,', 'eu,6,2026-01-01,30,,,,,', 'eu,7,2026-01-01,200,,,,,');
      const TAKEN = [['1', 1, NOW], ['5', 5, NOW], ['2', 20, LATER], ['6', 30, LATER]];

      test('as a snapshot of its own, known from then on; the others stay in the quarantine', async () => {
        const path = mixed();
        const { quarantine } = await append(path, limited(9));
        expect(quarantined(quarantine).map(({ row }) => row)).toEqual([2, 3, 4, 6, 7]);
        expect(await again(path, limited(99))).toEqual({
          snapshot: 2, rows: 2, added: true, quarantined: 3, quarantine, reasons: new Map([['WRONG_TYPE', 1], ['UNREADABLE', 1], ['OUT_OF_RANGE', 1]]), violations: [],
        });
        expect(await rowsOf(GROUP)).toEqual(TAKEN);
        expect(quarantined(quarantine).map(({ row }) => row)).toEqual([3, 4, 7]);
        // and nothing more
        expect(await again(path, limited(99))).toMatchObject({ snapshot: 2, rows: 4, added: false, quarantined: 3, quarantine });
        expect(await rowsOf(GROUP)).toEqual(TAKEN);
      });

      test('also those whose feature was not declared, until none is left', async () => {
        const path = file('in.jsonl', ['{"region":"eu","driver":1,"event_time":1767225600}', '{"region":"eu","driver":2,"event_time":1767225600,"city":"Bern"}', ''].join('\n'));
        const { quarantine } = await append(path);
        const later = { ...GROUP, features: [...GROUP.features, feature('city', 'string')] };
        expect(await again(path, later)).toMatchObject({ snapshot: 2, rows: 1, added: true, quarantined: 0, quarantine: undefined });
        expect((await written(0, later)).map(({ entity, values: { city } }) => [entity[1], city])).toEqual([['1', null], ['2', 'Bern']]);
        expect(existsSync(quarantine!)).toBe(false);
        // as an import leaves it that died before it removed it
        writeFileSync(quarantine!, '{}\n');
        expect(await again(path, later)).toMatchObject({ snapshot: 2, rows: 2, added: false, quarantined: 0, quarantine: undefined });
        expect(existsSync(quarantine!)).toBe(false);
      });

      test('also where the file lacks a feature that was declared since', async () => {
        const path = mixed();
        await append(path, limited(9));
        const repaired = limited(99);
        expect(await again(path, { ...repaired, features: [...repaired.features, feature('city', 'string')] })).toMatchObject({ rows: 2, added: true });
      });

      test('not where it is strict and a row is left that does not fit', async () => {
        const path = mixed();
        const { quarantine } = await append(path, limited(9));
        await expect(again(path, limited(99), true)).rejects.toThrow(/row 3: feature 'trips' must be int32, got 'many'; .*nothing was imported/);
        expect(await rowsOf(GROUP)).toEqual(TAKEN.slice(0, 2));
        expect(quarantined(quarantine)).toHaveLength(5);
        expect(await again(path, limited(999))).toMatchObject({ rows: 3, quarantined: 2 });
      });

      test.each(['before its rows are a file', 'before they are on record', 'after that'])('once, where it died %s', async (moment) => {
        const path = mixed();
        await append(path, limited(9));
        const steps = store as unknown as { writeParquet(...args: unknown[]): Promise<string>; add(...args: unknown[]): void };
        const add = steps.add.bind(store);
        if (moment === 'before its rows are a file') {
          jest.spyOn(steps, 'writeParquet').mockRejectedValueOnce(new Error('killed'));
        } else {
          jest.spyOn(steps, 'add').mockImplementationOnce((...args) => {
            if (moment === 'after that') add(...args);
            throw new Error('killed');
          });
        }
        await expect(again(path, limited(99))).rejects.toThrow('killed');
        expect(await again(path, limited(99))).toMatchObject({ snapshot: 2, quarantined: 3 });
        expect(await rowsOf(GROUP)).toEqual(TAKEN);
        expect(await again(path, limited(999))).toMatchObject({ snapshot: 3, rows: 1, added: true, quarantined: 2 });
      });

      test('not where the entry is of an earlier release, which did not say which rows they were', async () => {
        const path = mixed();
        const { quarantine } = await append(path, limited(9));
        const log = join(data.offline(GROUP), 'log', '00000001.json');
        const { refused: _, ...entry } = JSON.parse(readFileSync(log, 'utf8')) as object & { refused: unknown };
        writeFileSync(log, JSON.stringify(entry));
        const same = { snapshot: 1, rows: 2, added: false, quarantined: 5, quarantine, reasons: new Map(), violations: [] };
        expect(await again(path, limited(99))).toEqual(same);
      });
    });

    test('and adds nothing where none fits', async () => {
      await expect(append(csv('eu,x,2026-01-01,1,,,,,'))).rejects.toThrow(/INVALID_VALUE: .*holds no rows that can be taken, 1 are in .*quarantine.drivers.v1.\w{16}\.jsonl; nothing was imported/);
      expect(store.latest(GROUP)).toBe(0);
    });
  });

  test('reads CSV by its header, whatever separates its columns, without a guess at what quotes mean', async () => {
    const lines = [HEADER, 'eu,1,2026-01-01,1,,,,,"say ""hi"", twice"', ''].join('\n');
    await append(file('in.csv', `\ufeff${lines.replace(/\n/g, '\r\n')}`));
    await append(file('in.csv', lines.replace('hi"", twice', 'hi""; twice').replace(/,/g, ';')));
    expect((await written()).map(({ values: { vehicle } }) => vehicle)).toEqual(['say "hi", twice', 'say "hi"; twice']);
  });

  test('fails when a column is missing or not declared', async () => {
    await expect(append(file('in.csv', 'region,driver,event_time\neu,1,2026-01-01\n'))).rejects.toThrow(/MISSING_COLUMN: .* lacks feature 'trips'/);
    await expect(append(file('in.csv', `${HEADER},colour\neu,1,2026-01-01,1,,,,,,red\n`))).rejects.toThrow(/UNKNOWN_COLUMN: .*'colour', which is not declared/);
  });
});
