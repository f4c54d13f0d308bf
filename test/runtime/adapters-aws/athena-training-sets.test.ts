import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { AthenaClient } from '@aws-sdk/client-athena';
import { S3Client } from '@aws-sdk/client-s3';
import { AthenaServer, S3Server, type Scripted } from './athena-server.fixture';
import { Athena } from '../../../runtime/adapters/aws/athena';
import { AthenaTrainingSets } from '../../../runtime/adapters/aws/athena-training-sets';
import { S3ObjectStore } from '../../../runtime/adapters/aws/object-store';
import { DuckDb } from '../../../runtime/adapters/local/duckdb';
import { writeLabels } from '../../../runtime/adapters/local/labels-table';
import { findNatives } from '../../../runtime/adapters/local/natives';
import { asOfJoinSql } from '../../../runtime/core/offline/as-of-join';
import { icebergTable, TRINO } from '../../../runtime/core/offline/query-engine';
import { rowsDigestSql } from '../../../runtime/core/offline/rows-digest';
import { type TrainingSetRequest, TrainingSets } from '../../../runtime/core/offline/training-sets';
import { offlineColumns } from '../../../src/contract';
import { BRAIN } from '../../support/local-brain';

const [DRIVERS] = BRAIN.featureGroups;
/** Beyond what a number of JavaScript holds. */
const SNAPSHOT = '8744736658442914487';
const DIGESTS = { labels: 'a'.repeat(64), data: 'b'.repeat(64) };
const OUT = 's3://sets/training-sets/fleet/clicks';

describe('training sets on Athena', () => {
  let folder: string;
  let db: DuckDb;
  let athena: AthenaServer;
  let s3: S3Server;
  /** What the tables hold. */
  let state: { snapshots: string[]; digests: { labels: string; data: string }; again: string; rows: string; unload?: Scripted; drop?: Scripted };
  let sets: TrainingSets;
  const clients: { destroy(): void }[] = [];
  const waits: number[] = [];

  function script(sql: string): Scripted {
    if (sql.startsWith('CREATE EXTERNAL TABLE')) return {};
    if (sql.startsWith('DROP TABLE')) return state.drop ?? {};
    if (sql.startsWith('UNLOAD')) {
      if (!state.unload) s3.objects.set('training-sets/fleet/clicks/data/20261126_part-0', Buffer.from('rows'));
      return state.unload ?? {};
    }
    if (sql.includes('"drivers_v1$history"')) return { columns: ['snapshot'], rows: state.snapshots.slice(-1).map((id) => [id]) };
    if (sql.includes('"drivers_v1$snapshots"')) {
      return { columns: ['snapshots'], rows: [[state.snapshots.some((id) => sql.endsWith(`= ${id}`)) ? '1' : '0']] };
    }
    if (sql.endsWith('LIMIT 0')) return { columns: offlineColumns(DRIVERS).map(({ name }) => name) };
    if (sql.includes('AS "digest"')) {
      const { labels, data } = state.digests;
      const digest = sql.includes('WITH labels') ? state.again : sql.includes('_labels"') ? labels : data;
      return { columns: ['rows', 'digest'], rows: [[state.rows, digest]] };
    }
    throw new Error(`no answer to ${sql}`);
  }

  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), 'thalos-athena-'));
    db = await DuckDb.open(findNatives(), join(folder, 'spill'));
    state = { snapshots: ['1', SNAPSHOT], digests: DIGESTS, again: DIGESTS.data, rows: '2' };
    athena = await AthenaServer.start(script);
    s3 = await S3Server.start();
    const common = { region: 'eu-central-1', credentials: { accessKeyId: 'test', secretAccessKey: 'test' } };
    const queries = new AthenaClient({ ...common, endpoint: athena.endpoint });
    const objects = new S3Client({ ...common, endpoint: s3.endpoint, forcePathStyle: true });
    clients.push(queries, objects);
    waits.length = 0;
    sets = new TrainingSets(new AthenaTrainingSets({
      athena: new Athena({ client: queries, database: 'fleet', workGroup: 'brain', sleep: async (ms) => void waits.push(ms) }),
      objects: new S3ObjectStore(objects, 'sets'),
      database: 'fleet',
      writeLabels: async (file, target, time, keys) => writeLabels(db, file, target, time, keys),
      folder,
    }), 'thalos-brain 0.0.0', () => Date.UTC(2026, 10, 26));
    writeFileSync(join(folder, 'labels.csv'), 'driver,at,clicked\na,2026-01-02T00:00:00Z,true\nb,2026-01-02T00:00:00Z,false\n');
  });
  afterEach(async () => {
    for (const client of clients.splice(0)) client.destroy();
    await Promise.all([athena.close(), s3.close()]);
    db.close();
    rmSync(folder, { recursive: true, force: true });
  });

  const request = (more: Partial<TrainingSetRequest> = {}): TrainingSetRequest =>
    ({ labels: join(folder, 'labels.csv'), labelTime: 'at', groups: [{ group: DRIVERS }], out: OUT, ...more });
  const LABELS = [{ name: 'driver', type: 'string' }, { name: 'at', type: 'time' }, { name: 'clicked', type: 'bool' }] as const;
  const queryOf = (labels: string) => asOfJoinSql(TRINO, {
    labels: { relation: labels, columns: LABELS, time: 'at' },
    groups: [{ group: DRIVERS, rows: { sql: icebergTable('fleet', 'drivers_v1', SNAPSHOT), columns: offlineColumns(DRIVERS).map(({ name }) => name) } }],
  });

  test('are computed by the generated SQL at pinned snapshots, unloaded once, and described by their manifest', async () => {
    const manifest = await sets.create(request());
    const labels = /CREATE EXTERNAL TABLE IF NOT EXISTS `fleet`\.`(training_set_[0-9a-f]{16}_labels)`/.exec(athena.statements.join('\n'))![1];
    const data = labels.replace('_labels', '_data');
    const columns = [...LABELS, { name: 'drivers__trips', type: 'int32' as const }, { name: 'drivers__rating', type: 'float64' as const }];
    expect(athena.statements).toEqual([
      'SELECT CAST(snapshot_id AS varchar) AS snapshot FROM "fleet"."drivers_v1$history" WHERE is_current_ancestor ORDER BY made_current_at DESC LIMIT 1',
      `SELECT CAST(count(*) AS varchar) AS snapshots FROM "fleet"."drivers_v1$snapshots" WHERE snapshot_id = ${SNAPSHOT}`,
      `SELECT * FROM "fleet"."drivers_v1" FOR VERSION AS OF ${SNAPSHOT} LIMIT 0`,
      `CREATE EXTERNAL TABLE IF NOT EXISTS \`fleet\`.\`${labels}\` (\`driver\` string, \`at\` timestamp, \`clicked\` boolean) STORED AS PARQUET LOCATION '${OUT}/labels/'`,
      `UNLOAD (\n${queryOf(`"fleet"."${labels}"`)}\n)\nTO '${OUT}/data/'\nWITH (format = 'PARQUET', compression = 'SNAPPY')`,
      rowsDigestSql(TRINO, `"fleet"."${labels}"`, LABELS),
      `CREATE EXTERNAL TABLE IF NOT EXISTS \`fleet\`.\`${data}\` (\`driver\` string, \`at\` timestamp, \`clicked\` boolean, \`drivers__trips\` int, \`drivers__rating\` double)`
      + ` STORED AS PARQUET LOCATION '${OUT}/data/'`,
      rowsDigestSql(TRINO, `"fleet"."${data}"`, columns),
      `DROP TABLE IF EXISTS \`fleet\`.\`${labels}\``,
      `DROP TABLE IF EXISTS \`fleet\`.\`${data}\``,
    ]);
    expect([...athena.workGroups]).toEqual(['brain']);
    expect(waits.every((ms) => ms >= 100 && ms <= 5000)).toBe(true);
    expect([...s3.objects.keys()].sort()).toEqual(['training-sets/fleet/clicks/data/20261126_part-0', 'training-sets/fleet/clicks/labels/labels.parquet', 'training-sets/fleet/clicks/manifest.json']);
    expect(JSON.parse(s3.objects.get('training-sets/fleet/clicks/manifest.json')!.toString())).toEqual(manifest);
    expect(manifest).toMatchObject({
      engine: 'athena',
      tables: [{ table: 'drivers_v1', snapshot: SNAPSHOT }],
      query: queryOf(`"fleet"."${labels}"`),
      labels: { rows: 2, digest: `sha256:${DIGESTS.labels}` },
      data: { columns, rows: 2, digest: `sha256:${DIGESTS.data}`, files: [{ path: 'data/20261126_part-0', bytes: 4, digest: expect.stringMatching(/^etag:[0-9a-f]{32}$/) }] },
    });
  });

  test('a time asks for the snapshot that was the newest then', async () => {
    await sets.create(request({ at: { time: Date.UTC(2026, 0, 5) } }));
    expect(athena.statements[0]).toContain("WHERE is_current_ancestor AND made_current_at <= TIMESTAMP '2026-01-05 00:00:00.000000' ORDER BY");
    await expect(sets.create(request({ at: { snapshots: { drivers: '7' } }, out: `${OUT}-2` }))).rejects.toMatchObject({ code: 'SNAPSHOT_NOT_FOUND' });
    state.snapshots = [];
    await expect(sets.create(request({ out: `${OUT}-3` }))).rejects.toMatchObject({ code: 'SNAPSHOT_NOT_FOUND', message: expect.stringContaining('no snapshot yet') });
  });

  test('are written once, and an attempt that fails leaves nothing', async () => {
    await sets.create(request());
    await expect(sets.create(request())).rejects.toMatchObject({ code: 'TRAINING_SET_EXISTS' });
    s3.objects.delete('training-sets/fleet/clicks/manifest.json');
    await expect(sets.create(request())).rejects.toMatchObject({ code: 'TRAINING_SET_EXISTS', message: expect.stringContaining('holds 2 objects and no manifest') });
    s3.objects.clear();
    state.unload = { failed: 'HIVE_PATH_ALREADY_EXISTS: Target directory is not empty' };
    await expect(sets.create(request())).rejects.toMatchObject({ code: 'OFFLINE_QUERY_FAILED', message: expect.stringContaining('HIVE_PATH_ALREADY_EXISTS') });
    expect([...s3.objects.keys()]).toEqual([]);
    expect(athena.statements.at(-1)).toMatch(/^DROP TABLE/);
    await expect(sets.create(request({ out: 's3://others/clicks' }))).rejects.toMatchObject({ code: 'INVALID_PARAMETER' });
  });

  test.each(['s3://sets/clicks', 's3://sets/training-sets', 's3://sets/training-sets/', 's3://sets/other/training-sets/clicks'])('are not made in %s, where nothing protects them', async (out) => {
    await expect(sets.create(request({ out }))).rejects.toMatchObject({
      code: 'INVALID_PARAMETER', message: expect.stringContaining(`a new training set is in s3://sets/training-sets/<name>, got '${out}'`),
    });
    expect(s3.objects.size).toBe(0);
    expect(athena.statements).toEqual([]);
  });

  test('tell what went wrong first, and beside it what nobody may remove', async () => {
    state.unload = { failed: 'HIVE_PATH_ALREADY_EXISTS' };
    s3.deletes = false;
    await expect(sets.create(request())).rejects.toMatchObject({
      code: 'OFFLINE_QUERY_FAILED', message: expect.stringMatching(/HIVE_PATH_ALREADY_EXISTS; left behind: files in s3:\/\/sets\/training-sets\/fleet\/clicks\/, without a manifest \(.*Access ?Denied/i),
    });
    expect([...s3.objects.keys()]).toEqual(['training-sets/fleet/clicks/labels/labels.parquet']);
    state.drop = { failed: 'not authorized' };
    await expect(sets.create(request({ out: `${OUT}-2` }))).rejects.toThrow(/HIVE_PATH_ALREADY_EXISTS; left behind: the table fleet\.training_set_[0-9a-f]{16}_labels \(.*not authorized\), files in/);
  });

  test('are there although their tables cannot be removed', async () => {
    state.drop = { failed: 'not authorized' };
    await expect(sets.create(request())).rejects.toThrow(/all was done, but left behind: the table fleet\.training_set_[0-9a-f]{16}_labels .*_data/);
    state.drop = undefined;
    await expect(sets.verify(OUT)).resolves.toMatchObject({ manifest: { engine: 'athena' } });
  });

  test('are proven by what is stored and by what the query gives again', async () => {
    const manifest = await sets.create(request());
    expect(await sets.verify(`${OUT}/manifest.json`)).toEqual({ manifest });
    state.again = 'c'.repeat(64);
    await expect(sets.verify(OUT)).rejects.toMatchObject({ code: 'TRAINING_SET_DIFFERS', message: expect.stringMatching(/gives now has other values/) });
    state.digests = { ...DIGESTS, data: 'd'.repeat(64) };
    await expect(sets.verify(OUT)).rejects.toThrow(/data of .* has other values/);
    await expect(sets.verify(`${OUT}-none`)).rejects.toMatchObject({ code: 'TRAINING_SET_NOT_FOUND' });
  });

  test('a snapshot that has expired points at the copy', async () => {
    await sets.create(request());
    state.snapshots = ['9'];
    await expect(sets.verify(OUT)).rejects.toMatchObject({
      code: 'SNAPSHOT_EXPIRED', message: expect.stringContaining(`the copy in ${OUT} is intact`), details: { snapshot: SNAPSHOT },
    });
  });

  test('a statement that does not end is stopped', async () => {
    state.unload = { hangs: true };
    let now = 0;
    const client = new AthenaClient({ region: 'eu-central-1', endpoint: athena.endpoint, credentials: { accessKeyId: 'test', secretAccessKey: 'test' } });
    clients.push(client);
    const runner = new Athena({ client, database: 'fleet', workGroup: 'brain', timeoutMs: 60_000, now: () => now, sleep: async (ms) => void (now += ms) });
    await expect(runner.run('UNLOAD (SELECT 1)')).rejects.toMatchObject({ code: 'OFFLINE_QUERY_FAILED', message: expect.stringContaining('it ran for 60 s') });
    expect(athena.stopped).toEqual(['0']);
    await expect(runner.run(`SELECT '${'x'.repeat(262_144)}'`)).rejects.toThrow(/Athena takes 262144/);
  });
});
