/** What writes features in AWS, on DynamoDB Local: the client of handlers and the command line, with what goes wrong between. */
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ScanCommand } from '@aws-sdk/client-dynamodb';
import { createTable, DynamoDbLocal } from './dynamodb-local';
import { ScriptedKinesis } from './kinesis';
import { DynamoDbOnlineStore, lightReader } from '../../../runtime/adapters/aws/dynamodb-online-store';
import { kinesisClient, LateRows } from '../../../runtime/adapters/aws/late-rows';
import { FeatureClient } from '../../../runtime/feature-client/feature-client';
import { type FeatureGroupSchema, type OnlineImage, OnlineItem, type QuarantinedRow } from '../../../src/contract';
import { bundleCli } from '../../support/cli-bundle';
import { HttpFaults } from '../../support/http-faults';
import { installClient, runIn } from '../../support/installed-client';
import { CliProcess, eventually, writeAssembly } from '../../support/local-brain';

jest.setTimeout(300_000);

const NOON = Date.UTC(2026, 0, 1, 12);
const GROUP: FeatureGroupSchema = {
  name: 'account',
  version: 1,
  owner: 'risk',
  entityKeys: [{ name: 'account', dtype: 'string' }],
  features: [
    { name: 'balance', dtype: 'float64', required: false, piiClass: 'none', expectations: { min: -100, max: 1e9 } },
    { name: 'kind', dtype: 'string', required: false, piiClass: 'none' },
  ],
};
const THROTTLED = { status: 400, body: JSON.stringify({ __type: 'com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException', message: 'slow down' }) };

let server: DynamoDbLocal;
let kinesis: ScriptedKinesis;
let tables = 0;
let table: string;
let quarantined: QuarantinedRow[];
const clients: FeatureClient[] = [];

beforeAll(async () => {
  server = await DynamoDbLocal.start();
});
afterAll(() => server?.stop());
beforeEach(async () => {
  kinesis = await ScriptedKinesis.start();
  table = `ingest-${++tables}`;
  quarantined = [];
  const admin = server.client();
  await createTable(admin, table);
  admin.destroy();
});
afterEach(async () => {
  for (const client of clients.splice(0)) await client.close();
  await kinesis.close();
});

/** @param port of DynamoDB, or of what stands before it */
function open(port = server.port, writesAtOnce = 16): FeatureClient {
  const endpoint = { endpoint: kinesis.endpoint, region: 'us-east-1', credentials: { accessKeyId: 'local', secretAccessKey: 'local' } };
  const store = new DynamoDbOnlineStore({
    client: server.client(port),
    table,
    writesAtOnce,
    writeBudgetMs: 60_000,
    reader: lightReader({ ...server.endpoint(port), table, timeoutMs: 60_000 }),
    late: new LateRows({ client: kinesisClient(endpoint), stream: 'changes', table }),
  });
  const client = new FeatureClient({
    brain: 'bank', groups: [GROUP], store, quarantine: { put: async (_, rows) => void quarantined.push(...rows), close: () => undefined }, clock: { now: () => NOON + 60_000 },
  });
  clients.push(client);
  return client;
}
const row = (account: string, balance: unknown, more: object = {}) => ({ account, balance, event_time: NOON, ...more });
const balances = async (client: FeatureClient, accounts: readonly string[]) => (
  (await client.getMany('account', accounts.map((account) => [account]))).map((found) => found?.values.balance)
);

test('the client as the package ships it puts rows and gets them back, the newest of each entity', async () => {
  const project = mkdtempSync(join(tmpdir(), 'thalos-installed-'));
  await installClient(project);
  const { printed, ended } = await runIn(project, 'handler.cjs', `
    const { featureClient } = require('thalos-brain/client');
    const features = featureClient([${JSON.stringify(GROUP)}], { clock: { now: () => ${NOON} + 60_000 } });
    const row = (account, balance, event_time) => ({ account, balance, event_time });
    (async () => {
      const put = await features.putMany('account', [row('a', 3, ${NOON} + 2), row('c', 4, ${NOON}), row('d', 'many', ${NOON})]);
      const late = await features.put('account', row('a', 2, ${NOON} + 1));
      const found = await features.getMany('account', [['a'], ['b'], ['c']]);
      await features.close();
      console.log(JSON.stringify([put.map(({ status }) => status), late.status, found.map((each) => each && each.values)]));
    })();`, {
    FEATURE_TABLE: table,
    FEATURE_STREAM: 'changes',
    BRAIN: 'bank',
    AWS_REGION: 'us-east-1',
    AWS_ACCESS_KEY_ID: 'local',
    AWS_SECRET_ACCESS_KEY: 'local',
    AWS_ENDPOINT_URL_DYNAMODB: `http://127.0.0.1:${server.port}`,
    AWS_ENDPOINT_URL_KINESIS: kinesis.endpoint,
  });
  const lines = printed.trim().split('\n').map((line) => JSON.parse(line));
  expect([lines.at(-1), ended]).toEqual([[['written', 'written', 'quarantined'], 'stale', [{ balance: 3 }, null, { balance: 4 }]], 0]);
  expect(lines[0]).toMatchObject({ Brain: 'bank', IngestedRows: 3, QuarantinedRows: 1 });
  expect(kinesis.rows).toHaveLength(1);
  rmSync(project, { recursive: true });
});

test('64 clients that race leave the newest row of each entity, and every other row is in the history', async () => {
  const events = Array.from({ length: 512 }, (_, n) => row(`a${n % 8}`, n, { event_time: NOON + (n * 37) % 512, created_time: NOON + 1000 }));
  const client = open();
  const outcomes = (await Promise.all(Array.from({ length: 64 }, (_, writer) => client.putMany('account', events.slice(writer * 8, writer * 8 + 8))))).flat();
  const newest = Array.from({ length: 8 }, (_, n) => (
    events.filter(({ account }) => account === `a${n}`).reduce((a, b) => (b.event_time > a.event_time ? b : a)).balance
  ));
  expect(await balances(client, Array.from({ length: 8 }, (_, n) => `a${n}`))).toEqual(newest);
  // DynamoDB tells its stream of each row that was written; the writer of each that was not
  const stale = events.filter((_, at) => outcomes[at].status === 'stale').map(({ balance }) => balance);
  expect(outcomes.every(({ status }) => status === 'written' || status === 'stale')).toBe(true);
  const featuresOf = (image: OnlineImage) => JSON.parse((image[OnlineItem.FEATURES] as { S: string }).S) as { balance: number };
  const told = kinesis.rows.map(({ dynamodb }) => featuresOf(dynamodb.NewImage).balance);
  expect(told.sort((a, b) => a - b)).toEqual(stale.map(Number).sort((a, b) => a - b));
  expect(told.length).toBeGreaterThan(0);
});

test('a row that is written again is no late one; one that comes too late is put onto the stream, also by a shard that is busy', async () => {
  const client = open();
  const rows = Array.from({ length: 20 }, (_, n) => row(`a${n}`, n, { created_time: NOON }));
  await client.putMany('account', rows);
  expect((await client.putMany('account', rows)).every(({ status }) => status === 'written')).toBe(true);
  expect(kinesis.rows).toEqual([]);
  kinesis.refusing.push(15, 3);
  const late = rows.map((each) => ({ ...each, event_time: NOON - 1 }));
  expect((await client.putMany('account', late)).every(({ status }) => status === 'stale')).toBe(true);
  expect(kinesis.rows.map(({ dynamodb }) => (dynamodb.Keys[OnlineItem.PK] as { S: string }).S).sort()).toEqual(rows.map(({ account }) => `account#1#${account}`).sort());
});

test('each kind of bad row is quarantined with its reason, and the rest is written', async () => {
  const bad: [string, object][] = [
    ['WRONG_TYPE', row('b', 'many')], ['UNKNOWN_FEATURE', row('b', 1, { colour: 'red' })], ['MISSING_KEY', { balance: 1, event_time: NOON }], ['MISSING_TIME', { account: 'b', balance: 1 }],
    ['FUTURE_TIME', row('b', 1, { event_time: NOON + 360_001 })], ['NOT_FINITE', row('b', NaN)], ['NOT_FINITE', row('b', -Infinity)],
    ['ITEM_TOO_LARGE', row('b', 1, { kind: 'x'.repeat(410_000) })], ['OUT_OF_RANGE', row('b', -100.5)], ['WRONG_TYPE', row('b', 1, { event_time: 'noon' })],
  ];
  const client = open();
  const outcomes = await client.putMany('account', bad.flatMap(([, each], n) => [each, row(`good${n}`, n)]) as Record<string, unknown>[]);
  expect(outcomes.map((outcome) => (outcome.status === 'quarantined' ? outcome.reason : outcome.status))).toEqual(bad.flatMap(([reason]) => [reason, 'written']));
  expect(quarantined.map(({ reason, row: at }) => [reason, at])).toEqual(bad.map(([reason], n) => [reason, 2 * n + 1]));
  expect(await balances(client, [...bad.map((_, n) => `good${n}`), 'b'])).toEqual([...bad.map((_, n) => n), undefined]);
});

test('the largest row that is taken fits an item of DynamoDB, and little more would', async () => {
  const client = open();
  const ofLength = async (length: number) => (await client.put('account', row('a', 1, { kind: 'x'.repeat(length) }))).status;
  let [fits, tooLong] = [409_000, 409_600];
  while (tooLong - fits > 1) {
    const middle = Math.floor((fits + tooLong) / 2);
    if (await ofLength(middle) === 'quarantined') tooLong = middle;
    else fits = middle;
  }
  expect(await ofLength(fits)).not.toBe('quarantined');
  // names, times and digest take some 150 bytes of the 400 KiB
  expect(fits).toBeGreaterThan(409_600 - 400);
});

test('throttles lose nothing', async () => {
  const faults = await HttpFaults.start(server.port);
  try {
    faults.answerShare(0.2, THROTTLED);
    const client = open(faults.port);
    const accounts = Array.from({ length: 150 }, (_, n) => `a${n}`);
    expect((await client.putMany('account', accounts.map((account, n) => row(account, n)))).every(({ status }) => status === 'written')).toBe(true);
    expect(faults.answered).toBeGreaterThan(20);
    faults.pass();
    expect(await balances(client, accounts)).toEqual(accounts.map((_, n) => n));
  } finally {
    for (const client of clients.splice(0)) await client.close();
    await faults.close();
  }
});

test('more than 100 keys, of which DynamoDB leaves most unprocessed at first, are all read', async () => {
  const partial = await PartialBatches.start(server.port, 60);
  try {
    const accounts = Array.from({ length: 230 }, (_, n) => `a${n}`);
    await open().putMany('account', accounts.map((account, n) => row(account, n)));
    expect(await balances(open(partial.port), accounts)).toEqual(accounts.map((_, n) => n));
    // three calls, of which two are asked for the rest
    expect(partial.calls).toBe(5);
  } finally {
    for (const client of clients.splice(0)) await client.close();
    await partial.close();
  }
});

describe('the command line', () => {
  let work: string;
  let cli: string;
  const ROWS = 8000;
  const run = (...args: string[]) => new CliProcess(cli, ['features', ...args, '--table', table, '--stream', 'changes', '--region', 'us-east-1',
    '--assembly', join(work, 'cdk.out'), '--data-dir', join(work, 'data')], undefined, {
    AWS_ENDPOINT_URL_DYNAMODB: `http://127.0.0.1:${server.port}`,
    AWS_ENDPOINT_URL_KINESIS: kinesis.endpoint,
    AWS_ACCESS_KEY_ID: 'local',
    AWS_SECRET_ACCESS_KEY: 'local',
  });

  beforeAll(async () => {
    work = mkdtempSync(join(tmpdir(), 'thalos-ingest-'));
    ({ cli } = await bundleCli(join(work, 'cli')));
    writeAssembly(join(work, 'cdk.out'));
  });
  afterAll(() => rmSync(work, { recursive: true, force: true }));
  test('puts a row, gets it, and says of a late one that it is late', async () => {
    expect(await run('put', 'drivers', 'driver=ann', 'trips=3', 'event_time=2026-01-01').ended).toMatchObject({
      status: 0, out: 'wrote 1 rows of feature group drivers version 1; 0 came too late\n',
    });
    expect((await run('put', 'drivers', 'driver=ann', 'trips=2', 'event_time=2025-12-31').ended).out).toBe('wrote 0 rows of feature group drivers version 1; 1 came too late\n');
    expect(kinesis.rows).toHaveLength(1);
    expect(JSON.parse((await run('get', 'drivers', 'ann').ended).out)).toMatchObject({ driver: 'ann', trips: 3, event_time: '2026-01-01T00:00:00.000Z' });
    const refused = await run('put', 'drivers', 'driver=ann', 'trips=x').ended;
    expect(refused.status).toBe(1);
    // the SDK may have something to say before it
    expect(refused.err).toMatch(/(^|\n)error: INVALID_VALUE: feature 'trips' must be int32, got "x"; nothing was written\n$/);
  });

  test('an import that is killed goes on where it was, and leaves every row once', async () => {
    const file = join(work, 'drivers.csv');
    const lines = Array.from({ length: ROWS }, (_, n) => `d${n},${n % 1000 === 7 ? 'many' : n},1,2026-01-01T00:00:00Z`);
    writeFileSync(file, `driver,trips,rating,event_time\n${lines.join('\n')}\n`);
    const begun = () => {
      try {
        return readdirSync(join(work, 'data', 'imports')).some((name) => name.endsWith('.json'));
      } catch {
        return false;
      }
    };
    const first = run('import', 'drivers', file);
    let over = false;
    void first.ended.then(() => {
      over = true;
    });
    await eventually(() => over || begun());
    first.kill('SIGKILL');
    expect((await first.ended).signal).toBe('SIGKILL');
    const { status, out, err } = await run('import', 'drivers', file).ended;
    expect({ status, out }).toEqual({ status: 0, out: `wrote 7,992 rows of feature group drivers version 1 to ${table}; 0 came too late\n` });
    expect(err).toMatch(/going on behind the [\d,]+ oldest rows, where an import of this file ended\n8 rows are in the quarantine \(8 WRONG_TYPE\): /);
    expect(kinesis.rows).toEqual([]);
    const client = server.client();
    let count = 0;
    for (let start: Record<string, never> | undefined, more = true; more;) {
      const page = await client.send(new ScanCommand({ TableName: table, Select: 'COUNT', ExclusiveStartKey: start }));
      count += page.Count!;
      start = page.LastEvaluatedKey as typeof start;
      more = start !== undefined;
    }
    client.destroy();
    expect(count).toBe(ROWS - 8);
    expect(begun()).toBe(false);
  });
});

/** Stands before DynamoDB and lets it see the first keys of each BatchGetItem; the others come back unprocessed. */
class PartialBatches {
  static async start(target: number, keys: number): Promise<PartialBatches> {
    const partial = new PartialBatches(target, keys);
    await new Promise<void>((resolve) => partial.server.listen(0, '127.0.0.1', resolve));
    return partial;
  }

  calls = 0;
  private readonly server: Server;

  private constructor(target: number, keys: number) {
    this.server = createServer((request, response) => {
      const chunks: Buffer[] = [];
      request.on('data', (chunk: Buffer) => chunks.push(chunk)).on('end', () => void (async () => {
        this.calls++;
        const input = JSON.parse(Buffer.concat(chunks).toString()) as { RequestItems: Record<string, { Keys: unknown[] }> };
        const [[name, { Keys, ...rest }]] = Object.entries(input.RequestItems);
        const body = JSON.stringify({ RequestItems: { [name]: { ...rest, Keys: Keys.slice(0, keys) } } });
        const headers = { 'content-type': 'application/x-amz-json-1.0', 'x-amz-target': String(request.headers['x-amz-target']), 'authorization': request.headers.authorization! };
        const answer = await fetch(`http://127.0.0.1:${target}/`, { method: 'POST', headers, body });
        const { Responses } = await answer.json() as { Responses: unknown };
        const left = Keys.slice(keys);
        response.writeHead(200, { 'content-type': 'application/x-amz-json-1.0' });
        response.end(JSON.stringify({ Responses, UnprocessedKeys: left.length === 0 ? {} : { [name]: { ...rest, Keys: left } } }));
      })());
    });
  }

  get port(): number {
    return (this.server.address() as AddressInfo).port;
  }

  async close(): Promise<void> {
    this.server.closeAllConnections();
    await new Promise((resolve) => this.server.close(resolve));
  }
}
