import { appendFileSync, cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DataDirectory } from '../../../runtime/adapters/local/data-directory';
import { DuckDb } from '../../../runtime/adapters/local/duckdb';
import { LocalTrainingSets } from '../../../runtime/adapters/local/local-training-sets';
import { findNatives } from '../../../runtime/adapters/local/natives';
import { OfflineStore } from '../../../runtime/adapters/local/offline-store';
import { rowsDigest } from '../../../runtime/core/offline/rows-digest';
import { parseTrainingSetManifest, type TrainingSetManifest } from '../../../runtime/core/offline/training-set-manifest';
import { type TrainingSetRequest, TrainingSets } from '../../../runtime/core/offline/training-sets';
import { bundleCli } from '../../support/cli-bundle';
import { BRAIN, CliProcess, writeAssembly } from '../../support/local-brain';

jest.setTimeout(60_000);

const [DRIVERS] = BRAIN.featureGroups;
const DAY = 24 * 3600 * 1000;
const START = Date.UTC(2026, 0, 1);

describe('training sets of the embedded store', () => {
  let root: string;
  let work: string;
  let db: DuckDb;
  let data: DataDirectory;
  let offline: OfflineStore;
  let sets: TrainingSets;
  beforeAll(() => (root = mkdtempSync(join(tmpdir(), 'thalos-sets-'))));
  afterAll(() => rmSync(root, { recursive: true, force: true }));
  beforeEach(async () => {
    work = mkdtempSync(join(root, 'work-'));
    data = new DataDirectory(join(work, 'data'));
    db = await DuckDb.open(findNatives(), data.spill);
    offline = new OfflineStore(db, data);
    sets = new TrainingSets(new LocalTrainingSets(db, data), 'thalos-brain 0.0.0', () => START + 40 * DAY);
  });
  afterEach(() => db.close());

  const file = (name: string, ...lines: string[]) => {
    writeFileSync(join(work, name), [...lines, ''].join('\n'));
    return join(work, name);
  };
  const day = (number: number, time = '00:00:00') => `2026-01-${String(number).padStart(2, '0')}T${time}Z`;
  /** Rows as a source delivers them a minute after they were true. */
  const features = (...rows: string[]) => file('features.csv', 'driver,event_time,created_time,trips,rating', ...rows);
  const importRows = async (now: number, ...rows: string[]) => offline.append(DRIVERS, features(...rows), now);
  const labels = (...rows: string[]) => file('labels.csv', 'driver,event_time,clicked', ...rows);
  const request = (more: Partial<TrainingSetRequest> = {}): TrainingSetRequest => ({
    labels: join(work, 'labels.csv'), labelTime: 'event_time', groups: [{ group: DRIVERS }], out: join(work, 'set'), ...more,
  });
  const rows = async (out = join(work, 'set')) => {
    const read = await db.rows(`SELECT * REPLACE (epoch_ms(event_time)::DOUBLE AS event_time) FROM read_parquet('${join(out, 'data.parquet')}')`);
    return read.map((row) => Object.values(row));
  };

  const three = async () => {
    await importRows(START + 2 * DAY, `a,${day(1)},${day(1, '00:01:00')},1,1.5`, `a,${day(2)},${day(2, '00:01:00')},2,2.5`);
    await importRows(START + 9 * DAY, `a,${day(3)},${day(9)},3,`, `b,${day(4)},${day(4, '00:01:00')},4,4.5`);
    labels(`b,${day(5)},true`, `a,${day(5)},false`, `a,${day(20)},`, `nobody,${day(5)},true`, `a,${day(2, '00:00:30')},true`);
  };

  test('give each label what was known at its time, in the order of the labels, and keep those that match nothing', async () => {
    await three();
    const steps: string[] = [];
    const manifest = await sets.create(request(), (what, done, total) => steps.push(`${what} ${done}/${total}`));
    expect(await rows()).toEqual([
      ['b', START + 4 * DAY, true, 4, 4.5],
      ['a', START + 4 * DAY, false, 2, 2.5],
      ['a', START + 19 * DAY, null, 3, null],
      ['nobody', START + 4 * DAY, true, null, null],
      // the row of the second day came in thirty seconds after this label
      ['a', START + DAY + 30_000, true, 1, 1.5],
    ]);
    expect(steps.at(0)).toBe('snapshots 0/5');
    expect(steps.at(-1)).toBe('manifest 5/5');
    expect(manifest).toMatchObject({
      knownAt: 'label',
      labelTime: 'event_time',
      createdBy: 'thalos-brain 0.0.0',
      engine: expect.stringMatching(/^duckdb v1\./),
      createdTime: '2026-02-10T00:00:00.000Z',
      tables: [{ table: 'drivers_v1', snapshot: '2', keys: { driver: 'driver' }, group: DRIVERS }],
      data: {
        rows: 5,
        columns: [
          { name: 'driver', type: 'string' }, { name: 'event_time', type: 'time' }, { name: 'clicked', type: 'bool' },
          { name: 'drivers__trips', type: 'int32' }, { name: 'drivers__rating', type: 'float64' },
        ],
      },
    });
    expect(manifest.data.digest).toBe(`sha256:${rowsDigest(manifest.data.columns, await rows() as never[]).digest}`);
    // wherever it is read: neither the query nor a path names this machine
    expect(JSON.stringify(manifest)).not.toContain(work);
    expect(readdirSync(join(work, 'set')).sort()).toEqual(['data.parquet', 'labels.parquet', 'manifest.json']);
    expect(parseTrainingSetManifest(readFileSync(join(work, 'set', 'manifest.json'), 'utf8'))).toEqual(manifest);
  });

  test('know late data too where that is asked for', async () => {
    await three();
    await sets.create(request({ knownAt: 'now' }));
    expect((await rows()).map((row) => row[3])).toEqual([4, 3, 3, null, 2]);
  });

  test('read the features of a snapshot, or of a time', async () => {
    await three();
    await sets.create(request({ at: { snapshots: { drivers: '1' } }, out: join(work, 'first') }));
    await sets.create(request({ at: { time: START + 8 * DAY }, out: join(work, 'week') }));
    await sets.create(request({ at: { time: START + 9 * DAY } }));
    const bytes = ['first', 'week', 'set'].map((name) => readFileSync(join(work, name, 'data.parquet')));
    expect((await rows(join(work, 'first'))).map((row) => row[3])).toEqual([null, 2, 2, null, 1]);
    expect(bytes[0].equals(bytes[1])).toBe(true);
    expect(bytes[0].equals(bytes[2])).toBe(false);
    for (const at of [{ snapshots: { drivers: '3' } }, { snapshots: { drivers: '0' } }, { time: START }]) {
      await expect(sets.create(request({ at, out: join(work, 'none') }))).rejects.toMatchObject({ code: 'SNAPSHOT_NOT_FOUND' });
    }
    expect(existsSync(join(work, 'none'))).toBe(false);
  });

  test('are written once', async () => {
    await three();
    await sets.create(request());
    const before = readFileSync(join(work, 'set', 'manifest.json'), 'utf8');
    await expect(sets.create(request())).rejects.toMatchObject({ code: 'TRAINING_SET_EXISTS', message: expect.stringContaining('never changed') });
    expect(readFileSync(join(work, 'set', 'manifest.json'), 'utf8')).toBe(before);
    // of two that are made at once, one is there and whole
    const other = await DuckDb.open(findNatives(), data.spill);
    const others = new TrainingSets(new LocalTrainingSets(other, data), 'thalos-brain 0.0.0', () => START);
    const both = await Promise.allSettled([sets, others].map((each) => each.create(request({ out: join(work, 'race') }))));
    other.close();
    expect(both.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected']);
    expect(both.find((each) => each.status === 'rejected')).toMatchObject({ reason: { code: 'TRAINING_SET_EXISTS' } });
    await expect(sets.verify(join(work, 'race'))).resolves.toMatchObject({ sameBytes: true });
    expect(readdirSync(work).filter((name) => name.startsWith('.unfinished'))).toEqual([]);
  });

  test('come out the same again, also after later imports, and in other declarations', async () => {
    await three();
    const manifest = await sets.create(request({ groups: [{ group: DRIVERS, features: ['rating'] }] }));
    await importRows(START + 30 * DAY, `a,${day(5)},${day(5)},99,99`);
    for (const location of [join(work, 'set'), join(work, 'set', 'manifest.json')]) expect(await sets.verify(location)).toEqual({ manifest, sameBytes: true });
  });

  // more labels than one row group of parquet holds (122,880)
  test('have the same bytes whatever number of threads wrote them', async () => {
    await db.run(`COPY (SELECT 'd' || (i % 500) AS driver, make_timestamptz(${START}000 + i * 1000000) AS event_time,
      make_timestamptz(${START}000 + i * 1000000 + (i * 7919 % 100) * 1000000) AS created_time, (i % 1000)::INTEGER AS trips, sin(i) AS rating
      FROM range(20000) t(i)) TO '${join(work, 'many.parquet')}' (FORMAT parquet)`);
    await offline.append(DRIVERS, join(work, 'many.parquet'), START + 30 * DAY);
    await db.run(`COPY (SELECT 'd' || (i * 31 % 600) AS driver, make_timestamp(${START}000 + (i * 104729 % 400000) * 1000000) AS event_time
      FROM range(130000) t(i)) TO '${join(work, 'labels.parquet')}' (FORMAT parquet)`);
    const made: TrainingSetManifest[] = [];
    for (const threads of [1, 4]) {
      await db.run(`SET threads = ${threads}`);
      made.push(await sets.create(request({ labels: join(work, 'labels.parquet'), out: join(work, `threads-${threads}`) })));
    }
    expect(made[0].data.files[0].bytes).toBeGreaterThan(0);
    expect(made[1].data).toEqual(made[0].data);
  }, 180_000);

  describe('that were tampered with, or cannot be made again, are told apart:', () => {
    beforeEach(three);
    test('other rows', async () => {
      await sets.create(request());
      const path = join(work, 'set', 'data.parquet');
      await db.run(`CREATE OR REPLACE TABLE t AS SELECT * REPLACE (7::INTEGER AS drivers__trips) FROM '${path}'`);
      await db.run(`COPY t TO '${path}' (FORMAT parquet)`);
      await expect(sets.verify(join(work, 'set'))).rejects.toMatchObject({ code: 'TRAINING_SET_DIFFERS', message: expect.stringMatching(/data of .* has other values/) });
      await db.run(`COPY (FROM t LIMIT 2) TO '${path}' (FORMAT parquet)`);
      await expect(sets.verify(join(work, 'set'))).rejects.toThrow(/has 2 rows, the manifest says 5/);
    });

    test('other features than those that it was made from', async () => {
      await sets.create(request());
      const [path] = offline.paths(DRIVERS, 1);
      await db.run(`CREATE OR REPLACE TABLE t AS SELECT * REPLACE (7::INTEGER AS trips) FROM '${path}'`);
      await db.run(`COPY t TO '${path}' (FORMAT parquet)`);
      await expect(sets.verify(join(work, 'set'))).rejects.toThrow(/TRAINING_SET_DIFFERS: what the query of .* gives now has other values/);
    });

    test.each<[string, (path: string) => void]>([
      ['bytes that were added', (path) => appendFileSync(path, 'x')],
      ['bytes that were cut off', (path) => truncateSync(path, 100)],
      ['nothing but the first bytes of parquet', (path) => writeFileSync(path, 'PAR1')],
      ['no bytes', (path) => writeFileSync(path, '')],
      ['a folder in its place', (path) => {
        rmSync(path);
        mkdirSync(path);
      }],
    ])('a file that cannot be read: %s', async (_, damage) => {
      for (const name of ['data', 'labels']) {
        const out = join(work, `damaged-${name}`);
        await sets.create(request({ out }));
        damage(join(out, `${name}.parquet`));
        await expect(sets.verify(out)).rejects.toMatchObject({ code: 'TRAINING_SET_DIFFERS', message: expect.stringContaining(name) });
      }
    });

    test('an engine that fails over the very bytes that were written says why', async () => {
      await sets.create(request());
      jest.spyOn(db, 'rows').mockRejectedValue(new Error('Out of Memory Error'));
      await expect(sets.verify(join(work, 'set'))).rejects.toThrow(/^Out of Memory Error$/);
    });

    test('a snapshot that is gone points at the copy', async () => {
      await sets.create(request());
      rmSync(offline.paths(DRIVERS, 1)[0]);
      await expect(sets.verify(join(work, 'set'))).rejects.toMatchObject({
        code: 'SNAPSHOT_EXPIRED', message: expect.stringContaining(`the copy in ${join(work, 'set')} is intact`), details: { group: 'drivers', snapshot: '2' },
      });
    });

    test('a folder that is none, and a manifest that is none', async () => {
      await expect(sets.verify(work)).rejects.toMatchObject({ code: 'TRAINING_SET_NOT_FOUND' });
      await sets.create(request());
      cpSync(join(work, 'set'), join(work, 'copy'), { recursive: true });
      appendFileSync(join(work, 'copy', 'manifest.json'), '}');
      await expect(sets.verify(join(work, 'copy'))).rejects.toMatchObject({ code: 'INVALID_TRAINING_SET' });
      const manifest = JSON.parse(readFileSync(join(work, 'set', 'manifest.json'), 'utf8')) as TrainingSetManifest;
      const table = { ...manifest.tables[0], snapshot: 9007199254740993 };
      writeFileSync(join(work, 'copy', 'manifest.json'), JSON.stringify({ ...manifest, tables: [table] }));
      await expect(sets.verify(join(work, 'copy'))).rejects.toThrow(/\/tables\/0\/snapshot must be string/);
      rmSync(join(work, 'set', 'data.parquet'));
      await expect(sets.verify(join(work, 'set'))).rejects.toMatchObject({ code: 'TRAINING_SET_DIFFERS' });
    });
  });

  test.each([
    ['lack their time', ['driver,clicked', 'a,true'], /MISSING_COLUMN: .* lacks 'event_time'; it has the columns driver, clicked/],
    ['lack a key', ['event_time', day(1)], /MISSING_COLUMN: .* lacks 'driver'/],
    ['have a time that is none', ['driver,event_time', 'a,yesterday'], /INVALID_VALUE: row 1: column 'event_time' must be a time/],
    ['are none', ['driver,event_time'], /INVALID_VALUE: .* holds no labels/],
    ['have a column that Glue would rename', ['driver,event_time,Clicked', `a,${day(1)},1`], /INVALID_TRAINING_SET: .* got 'Clicked': rename it/],
  ])('say what is wrong with labels that %s, and leave nothing behind', async (_, lines, message) => {
    await three();
    file('labels.csv', ...lines);
    await expect(sets.create(request())).rejects.toThrow(message);
    expect(readdirSync(work).sort()).toEqual(['data', 'features.csv', 'labels.csv']);
  });

  test('a text key that looks like a number stays as it is written', async () => {
    await importRows(START, `007,${day(1)},${day(1)},7,`);
    labels(`007,${day(2)},true`, `7,${day(2)},true`);
    await sets.create(request());
    expect((await rows()).map((row) => [row[0], row[3]])).toEqual([['007', 7], ['7', null]]);
  });

  test('the command makes a set and verifies it', async () => {
    const { cli } = await bundleCli(join(root, 'cli'));
    const assembly = writeAssembly(join(work, 'cdk.out'));
    await three();
    file('labels.csv', 'who,event_time,clicked', `a,${day(5)},true`);
    const thalos = (...args: string[]) => new CliProcess(cli, [...args, '--data-dir', data.root], undefined, { TZ: 'America/New_York' }).ended;
    const create = (...args: string[]) => thalos('training-set', 'create', join(work, 'labels.csv'), '--assembly', assembly, ...args);
    const out = join(work, 'by-command');
    expect(await create('--groups', 'drivers:trips', '--entity', 'driver=who', '--out', out, '--at', '2026-01-09T20:00')).toMatchObject({
      status: 0,
      err: '',
      out: expect.stringMatching(/^wrote 1 rows of 4 columns to .*by-command: drivers at snapshot 1; sha256:[0-9a-f]{64}\n$/),
    });
    expect(await rows(out)).toEqual([['a', START + 4 * DAY, true, 2]]);
    expect(await thalos('training-set', 'verify', join(out, 'manifest.json'))).toMatchObject({
      status: 0,
      err: '',
      out: expect.stringMatching(/^verified 1 rows: the same values \(sha256:[0-9a-f]{64}\), the same bytes\n$/),
    });
    const failing = async (ended: Promise<{ status: number | null; err: string }>, error: RegExp) => {
      const { status, err } = await ended;
      expect(status).not.toBe(0);
      expect(err).toMatch(error);
    };
    const asked = ['--groups', 'drivers', '--out', out];
    await failing(create(...asked, '--entity', 'driver=who'), /^error: TRAINING_SET_EXISTS: /);
    mkdirSync(join(work, 'empty'));
    await failing(thalos('training-set', 'verify', join(work, 'empty')), /^error: TRAINING_SET_NOT_FOUND: /);
    await failing(create('--out', out), /needs --groups/);
    await failing(create('--groups', 'drivers'), /needs --out/);
    await failing(create('--groups', 'riders', '--out', out), /^error: UNKNOWN_GROUP: brain 'fleet' declares no feature group 'riders'/);
    await failing(create(...asked, '--entity', 'rider=who'), /--entity 'rider=who' must be <entity key>=<column>/);
    await failing(create('--groups', 'drivers', '--out', 's3://sets/clicks'), /a training set on S3 needs --database/);
    await failing(create('--groups', 'drivers', '--out', 's3://sets/clicks', '--database', 'fleet'), /a training set on S3 needs --work-group/);
    await failing(create('--groups', 'drivers', '--out', 's3://sets', '--database', 'fleet', '--work-group', 'brain'), /is at s3:\/\/<bucket>\/training-sets\/<name>, got 's3:\/\/sets'/);
    await failing(create(...asked, '--known-at', 'then'), /--known-at must be label or now, got 'then'/);
    for (const at of ['then', 'drivers 7', '2026-02-30', '1e9', '2026-01-09T20:00 America/New_York']) {
      await failing(create(...asked, '--at', at), /^error: USAGE: --at must be a snapshot or a time \(ISO 8601, UTC where it names no offset\), got '/);
    }
    await failing(create(...asked, '--at', 'riders=1'), /--at 'riders=1' must be <group>=<snapshot>, of drivers/);
  });
});
