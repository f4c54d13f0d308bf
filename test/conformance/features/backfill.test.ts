/** Backfills on DynamoDB Local: the synthesized state machine on virtual time, with the real writer, the real conditions and the real tables. */
import { gzipSync } from 'node:zlib';
import { ConditionalCheckFailedException, CreateTableCommand, type DynamoDBClient, GetItemCommand, QueryCommand, UpdateItemCommand } from '@aws-sdk/client-dynamodb';
import { createTable, DynamoDbLocal } from './dynamodb-local';
import { DynamoDbOnlineStore } from '../../../runtime/adapters/aws/dynamodb-online-store';
import { replaces, rowDigest } from '../../../runtime/core/feature-row';
import type { FeatureRow, FeatureWrite } from '../../../runtime/core/ports';
import { createWriter } from '../../../runtime/handlers/backfill-writer.lambda';
import { ControlItem, type FeatureGroupSchema } from '../../../src/contract';
import { definitions, GROUP as DECLARED, World } from '../../features/backfill/machine.fixture';
import { MemoryBucket } from '../../runtime/adapters-aws/s3-memory.fixture';
import { VirtualClock } from '../../support/asl/clock';
import { StateError } from '../../support/asl/errors';
import { type Call, type Handler, StateMachine } from '../../support/asl/machine';
import { HttpFaults } from '../../support/http-faults';

jest.setTimeout(600_000);

const GROUP: FeatureGroupSchema = { ...DECLARED._toSchema(), ttl: undefined };
const NOON = Date.UTC(2026, 0, 1, 12);
const machine = new StateMachine(definitions().backfill);

let server: DynamoDbLocal;
let client: DynamoDBClient;
let tables = 0;
beforeAll(async () => {
  server = await DynamoDbLocal.start();
  client = server.client();
});
afterAll(async () => {
  client?.destroy();
  await server?.stop();
});

const rowOf = (id: string, at: number, visits: number): FeatureWrite => (
  { group: GROUP, entity: [id], eventTime: NOON + at, createdTime: NOON + at, values: { visits } });
const lineOf = ({ entity: [id], eventTime, createdTime, values }: FeatureWrite) => (
  JSON.stringify({ id, visits: String(values.visits), event_time: eventTime, created_time: createdTime }));
const rank = ({ eventTime, createdTime, values }: FeatureRow) => ({ eventTime, createdTime, digest: rowDigest(GROUP, values) });

/** Offline: 240 entities in two objects, each with the row that is latest there. */
const OFFLINE = Array.from({ length: 240 }, (_, at) => rowOf(`c${at}`, at % 7, at));
const KEYS = OFFLINE.map(({ entity }) => ({ group: GROUP, entity }));

/** The world of the unit tests, with its tables in DynamoDB Local and the writer as it is deployed. */
class RealWorld extends World {
  static async open(through = client): Promise<RealWorld> {
    const table = `features-${++tables}`;
    await createTable(client, table);
    await client.send(new CreateTableCommand({
      TableName: `control-${tables}`,
      BillingMode: 'PAY_PER_REQUEST',
      KeySchema: [{ AttributeName: ControlItem.PK, KeyType: 'HASH' }, { AttributeName: ControlItem.SK, KeyType: 'RANGE' }],
      AttributeDefinitions: [{ AttributeName: ControlItem.PK, AttributeType: 'S' }, { AttributeName: ControlItem.SK, AttributeType: 'S' }],
    }));
    return new RealWorld(table, `control-${tables}`, through);
  }

  readonly bucket = new MemoryBucket(1000);
  readonly store: DynamoDbOnlineStore;

  private constructor(readonly table: string, readonly controlTable: string, private readonly through: DynamoDBClient) {
    super();
    this.store = new DynamoDbOnlineStore({ client, table });
    this.rows = [OFFLINE.slice(0, 120), OFFLINE.slice(120)].map((part) => part.map(lineOf));
    Object.assign(this.handlers, {
      'dynamodb:updateItem': (args: any) => this.ask(new UpdateItemCommand({ ...args, TableName: controlTable })),
      'dynamodb:getItem': (args: any) => this.ask(new GetItemCommand({ ...args, TableName: controlTable })),
      'dynamodb:query': (args: any) => this.ask(new QueryCommand({ ...args, TableName: controlTable })),
    });
  }

  override async write(part: any, call: Call): Promise<unknown> {
    this.bucket.objects.set(part.key, gzipSync(this.objects.get(part.key)!.map((line) => `${line}\n`).join('')));
    let puts = 0;
    let die: (killed: unknown) => void;
    const death = new Promise<never>((_, reject) => {
      die = reject;
    });
    // a writer can die before and after each of its calls; of its many single writes, every fortieth. What is dead tries nothing again.
    const passes = async (point: string) => {
      try {
        call.point(point);
      } catch (killed) {
        die(killed);
        await new Promise(() => undefined);
      }
    };
    const mortal = {
      send: async (command: any, ...rest: []) => {
        const name: string = command.constructor.name;
        const counts = name !== 'PutItemCommand' || command.input.TableName === this.controlTable || ++puts % 40 === 0;
        if (counts) await passes(`before ${name}`);
        const answer = await this.through.send(command, ...rest);
        if (counts) await passes(`after ${name}`);
        return answer;
      },
    } as DynamoDBClient;
    const writer = createWriter({ brain: 'demo', table: this.table, controlTable: this.controlTable, bucket: 'b', quarantine: 'q', writesPerSecond: 100_000 }, {
      dynamodb: mortal, s3: this.bucket.client, print: () => undefined,
    });
    return Promise.race([writer(part, 900_000), death]);
  }

  run(name: string, options: { killAt?: number; input?: object; handlers?: Record<string, Handler> } = {}) {
    return machine.run({ group: 'customer', ...options.input }, {
      handlers: { ...this.handlers, ...options.handlers }, name, killAt: options.killAt, clock: new VirtualClock(NOON + 60_000),
    });
  }

  read(): Promise<(FeatureRow | undefined)[]> {
    return this.store.read(KEYS);
  }

  private async ask(command: any): Promise<unknown> {
    try {
      return await client.send(command);
    } catch (error) {
      throw error instanceof ConditionalCheckFailedException ? new StateError('DynamoDB.ConditionalCheckFailedException', error.message) : error;
    }
  }
}

/** What every entity must say in the end. */
function wanted(...rows: FeatureWrite[]): FeatureRow[] {
  const best = new Map<string, FeatureWrite>();
  for (const row of [...OFFLINE, ...rows]) {
    const known = best.get(row.entity[0]);
    if (replaces(rank(row), known && rank(known))) best.set(row.entity[0], row);
  }
  return KEYS.map(({ entity: [id] }) => {
    const { eventTime, createdTime, values } = best.get(id)!;
    return { eventTime, createdTime, values };
  });
}

const LIVE = [rowOf('c0', 9, 1), rowOf('c1', 0, 2), rowOf('c130', 9, 3), rowOf('c131', 0, 4), rowOf('c239', 6, 5)];

test('a backfill writes what wins, a second one of the same snapshot nothing', async () => {
  const world = await RealWorld.open();
  await world.store.write(LIVE);
  const first = await world.run('first');
  expect(first.output).toMatchObject({ lines: 240, refused: 0 });
  expect(await world.read()).toEqual(wanted(...LIVE));
  const again = await world.run('second', { input: { full: true } });
  expect(again.output).toMatchObject({ lines: 240, changed: 0, kept: 240 });
  const dry = await world.run('third', { input: { full: true, dryRun: true } });
  expect(dry.output).toMatchObject({ lines: 240, changed: 0, kept: 240, dryRun: true });
});

test('a dry run says what would change, and changes nothing', async () => {
  const world = await RealWorld.open();
  await world.store.write(LIVE);
  const before = await world.read();
  const dry = await world.run('dry', { input: { dryRun: true } });
  expect(await world.read()).toEqual(before);
  expect((await world.run('real')).output).toMatchObject({ changed: (dry.output as any).changed, kept: (dry.output as any).kept });
});

test('killed at each of its steps and started again, a backfill leaves the same table and goes on where the last one was', async () => {
  const killedIn = new Set<string>();
  let skipped = 0;
  for (let killAt = 0; ; killAt++) {
    const world = await RealWorld.open();
    await world.store.write(LIVE);
    const first = await world.run('first', { killAt });
    if (first.status !== 'KILLED') {
      expect(killAt).toBeGreaterThan(60);
      break;
    }
    killedIn.add(first.killedAt!);
    world.executions.set('first', 'ABORTED');
    let read = 0;
    world.bucket.before = () => read++;
    const second = await world.run('second');
    expect(`${first.killedAt}: ${second.status} ${second.error ?? ''} ${second.cause ?? ''}`).toBe(`${first.killedAt}: SUCCEEDED  `);
    expect(await world.read()).toEqual(wanted(...LIVE));
    if (world.unloads.length === 1) expect(second.output).toMatchObject({ run: expect.stringMatching(/first|second/), refused: 0, lines: expect.any(Number) });
    if (world.unloads.length === 1 && read < 2) skipped++;
  }
  for (const point of ['in WritePart: before BatchGetItemCommand', 'in WritePart: after PutItemCommand', 'before Finish', 'after Finish']) expect(killedIn).toContain(point);
  // parts that were done were not read again
  expect(skipped).toBeGreaterThan(5);
});

test('a backfill among live writes never takes an entity back in time, and ends where the ordered stream would', async () => {
  const world = await RealWorld.open();
  const live = Array.from({ length: 600 }, (_, at) => rowOf(`c${(at * 7) % 240}`, (at * 5) % 14, at));
  const seen = new Map<string, FeatureRow>();
  let running = true;
  const watcher = (async () => {
    while (running) {
      const rows = await world.store.read(KEYS.slice(0, 100));
      rows.forEach((row, at) => {
        const before = seen.get(KEYS[at].entity[0]);
        if (before && row) expect(replaces(rank(before), rank(row))).toBe(false);
        if (row) seen.set(KEYS[at].entity[0], row);
      });
    }
  })();
  const queue = [...live];
  const writers = Array.from({ length: 16 }, async () => {
    for (let next = queue.pop(); next; next = queue.pop()) await world.store.write([next]);
  });
  expect((await world.run('during')).status).toBe('SUCCEEDED');
  await Promise.all(writers);
  running = false;
  await watcher;
  expect(await world.read()).toEqual(wanted(...live));
});

test('two backfills of one group at once: the second is refused, also by the real conditions', async () => {
  const world = await RealWorld.open();
  world.executions.set('first', 'RUNNING');
  let second: Awaited<ReturnType<RealWorld['run']>> | undefined;
  const first = await world.run('first', {
    handlers: {
      'athena:getQueryResults': async (args, call) => {
        second ??= await world.run('second');
        return world.handlers['athena:getQueryResults'](args, call);
      },
    },
  });
  expect(second).toMatchObject({ status: 'FAILED', error: 'BackfillBusy' });
  expect(first.status).toBe('SUCCEEDED');
});

test('a third of the calls throttled: nothing is lost', async () => {
  const faults = await HttpFaults.start(server.port);
  const through = server.client(faults.port);
  try {
    const world = await RealWorld.open(through);
    faults.answerShare(0.33, { status: 400, body: JSON.stringify({ __type: 'com.amazonaws.dynamodb.v20120810#ThrottlingException', message: 'slow down' }) });
    const { status, output } = await world.run('throttled');
    expect({ status, output }).toMatchObject({ status: 'SUCCEEDED', output: { lines: 240, changed: 240, refused: 0 } });
    expect(faults.answered).toBeGreaterThan(50);
    expect(await world.read()).toEqual(wanted());
  } finally {
    through.destroy();
    await faults.close();
  }
});
