/** An import into a table of AWS: where refused rows are, and in which order. */
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DataDirectory } from '../../../runtime/adapters/local/data-directory';
import { DuckDb } from '../../../runtime/adapters/local/duckdb';
import { findNatives } from '../../../runtime/adapters/local/natives';
import { importedRows } from '../../../runtime/adapters/local/row-import';
import { ROW } from '../../../runtime/adapters/local/table-import';
import type { FeatureWrite } from '../../../runtime/core/ports';
import { importToTable } from '../../../runtime/local/table-target';
import { StandardTerminal } from '../../../runtime/local/terminal';
import { BRAIN } from '../../support/local-brain';
import { Peer, type PeerAnswer, peerEnvironment } from '../adapters-aws/peer.fixture';

const [GROUP] = BRAIN.featureGroups;
const NOON = Date.UTC(2026, 0, 1, 12);
const KEY = new RegExp(`^/refused/quarantine/${GROUP.name}/v${GROUP.version}/import/[0-9a-f]{16}\\.jsonl$`);

describe('an import into a table', () => {
  const before = { ...process.env };
  let root: string;
  let aws: Peer;
  let calls: string[];
  let objects: Map<string, string>;
  let s3: () => PeerAnswer;
  let dynamoDb: (body: string) => PeerAnswer;
  let file: string;

  beforeEach(async () => {
    root = mkdtempSync(join(tmpdir(), 'thalos-table-'));
    file = join(root, 'drivers.csv');
    writeFileSync(file, 'driver,trips,rating,event_time\nann,1,1,2026-01-01T00:00:00Z\nbob,many,1,2026-01-01T00:00:00Z\n');
    calls = [];
    objects = new Map();
    s3 = () => ({});
    dynamoDb = () => ({ body: {} });
    aws = await Peer.start(({ method, path, headers, body }) => {
      const target = headers['x-amz-target'];
      calls.push(target ? String(target).split('.')[1] : method);
      if (String(target).startsWith('Kinesis')) return { body: { FailedRecordCount: 0, Records: JSON.parse(body.toString()).Records.map(() => ({})) } };
      if (target) return dynamoDb(body.toString());
      const answer = s3();
      if (answer.status === undefined) objects.set(path.split('?')[0], body.toString());
      return answer;
    });
    Object.assign(process.env, peerEnvironment(aws));
  });
  afterEach(async () => {
    process.env = { ...before };
    await aws.stop();
    rmSync(root, { recursive: true, force: true });
  });

  async function run(quarantine?: string, stream?: string) {
    const said: string[] = [];
    const screen = { write: (text: string) => void said.push(text) };
    const data = new DataDirectory(join(root, 'data'));
    mkdirSync(data.root, { recursive: true });
    const target = { configuration: BRAIN, group: GROUP, data, aws: { groups: [GROUP], table: 'features', region: 'eu-central-1', quarantine, stream } };
    await importToTable(target as Parameters<typeof importToTable>[0], file, {}, {
      terminal: new StandardTerminal(screen, screen), natives: findNatives(), now: () => NOON,
    });
    return said.join('');
  }
  const files = () => (existsSync(join(root, 'data', 'quarantine')) ? readdirSync(join(root, 'data', 'quarantine'), { recursive: true, withFileTypes: true }) : [])
    .filter((each) => each.isFile()).map(({ name }) => name);

  test('keeps refused rows in the bucket that was named, before the others are written, and nowhere else', async () => {
    const said = await run('refused');
    expect(calls).toEqual(['PUT', 'PutItem']);
    const [[key, text]] = objects;
    expect(key).toMatch(KEY);
    expect(text).toContain('"reason":"WRONG_TYPE"');
    expect(text).toContain('"source":"drivers.csv"');
    expect(said).toContain(`1 rows are in the quarantine (1 WRONG_TYPE): s3:/${key}\n`);
    expect(said).toContain('wrote 1 rows');
    expect(files()).toEqual([]);
    // the same import again keeps the same rows in the same place
    await run('refused');
    expect([...objects.keys()]).toEqual([key]);
  });

  test('writes nothing where refused rows cannot be kept, and keeps them here', async () => {
    s3 = () => ({ status: 403, body: '<Error><Code>AccessDenied</Code></Error>' });
    await expect(run('refused')).rejects.toMatchObject({ code: 'FEATURE_STORE_UNAVAILABLE', message: expect.stringContaining('the quarantine of features') });
    expect(calls).toEqual(['PUT']);
    expect(files()).toHaveLength(1);
  });

  test('keeps them in a file where no bucket is named', async () => {
    const said = await run();
    expect(calls).toEqual(['PutItem']);
    expect(files()).toHaveLength(1);
    expect(said).toMatch(/1 rows are in the quarantine \(1 WRONG_TYPE\): \//);
  });

  test('writes the history of an entity from the oldest row, so that the table tells all of it to its stream', async () => {
    const told: number[] = [];
    dynamoDb = (body) => {
      told.push(Number(JSON.parse(body).Item.event_time.N) - NOON);
      return { body: {} };
    };
    writeFileSync(file, `driver,trips,rating,event_time\n${[4, 2, 3, 1].map((at) => `ann,${at},1,${NOON + at}\n`).join('')}`);
    expect(await run()).toBe('wrote 4 rows of feature group drivers version 1 to features; 0 came too late\n');
    expect(told).toEqual([1, 2, 3, 4]);
  });

  test.each([
    [undefined, ['PutItem'], '1 rows came behind a newer one of their entity: without --stream they are in no history; the same command with --stream <name> puts them there\n'],
    ['changes', ['PutItem', 'PutRecords'], ''],
  ])('says what becomes of a row that came too late, with stream %p', async (stream, expected, said) => {
    dynamoDb = () => ({ status: 400, body: { __type: 'com.amazonaws.dynamodb.v20120810#ConditionalCheckFailedException', message: 'no', Item: { pk: { S: 'drivers#1#ann' } } } });
    writeFileSync(file, 'driver,trips,rating,event_time\nann,1,1,2026-01-01T00:00:00Z\n');
    expect(await run(undefined, stream)).toBe(`wrote 0 rows of feature group drivers version 1 to features; 1 came too late\n${said}`);
    expect(calls).toEqual(expected);
  });
});

test('rows of a file come from the oldest, and what only digests can rank comes together, in as many pieces as there are', async () => {
  const spill = mkdtempSync(join(tmpdir(), 'thalos-rows-'));
  const db = await DuckDb.open(findNatives(), spill);
  try {
    // 5,000 rows in no order: of each time three, two of which are of one entity
    await db.run(`CREATE TEMP TABLE imported AS SELECT ${ROW}, n // 3 AS event_time, 0 AS created_time, CASE n % 3 WHEN 0 THEN 'x' ELSE 'y' END AS driver, n::INTEGER AS trips,
      NULL::DOUBLE AS rating FROM (SELECT row_number() OVER () AS ${ROW}, (i * 7919) % 5000 AS n FROM range(5000) t(i))`);
    const read = async (from: number) => {
      const pieces: { done: number; rows: FeatureWrite[] }[] = [];
      for await (const piece of importedRows(db, GROUP, from)) pieces.push(piece);
      return pieces;
    };
    const nameOf = ({ eventTime, entity }: FeatureWrite) => `${eventTime} ${entity[0]}`;
    const pieces = await read(0);
    const rows = pieces.flatMap((piece) => piece.rows);
    expect(rows.map(nameOf)).toEqual(Array.from({ length: 5000 }, (_, n) => `${Math.floor(n / 3)} ${n % 3 === 0 ? 'x' : 'y'}`));
    expect(new Set(rows.map(({ values }) => values.trips)).size).toBe(5000);
    expect(pieces.length).toBeGreaterThan(2);
    let done = 0;
    for (const piece of pieces) {
      expect(piece.done).toBe(done += piece.rows.length);
      expect(rows[done] && nameOf(rows[done])).not.toBe(nameOf(rows[done - 1]));
      expect((await read(done)).flatMap((rest) => rest.rows)).toEqual(rows.slice(done));
    }
    // two of one entity and time would have been parted
    expect(pieces.slice(0, -1).map((piece) => piece.done % 3 === 2)).not.toContain(true);
  } finally {
    db.close();
    rmSync(spill, { recursive: true, force: true });
  }
});
