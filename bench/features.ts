/**
 * What do the feature store's own parts add to the calls of DynamoDB? Against a stub in another process, over loopback, in turns after rounds that
 * are not counted.
 *
 * - A batch read of 20 entities of 10 features, one at a time, through the client of handlers: over the SDK and over the light client, against the
 *   SDK's bare BatchGetItem call, whose items nobody looks into.
 * - An import of rows, judged, encoded and put conditionally, against as many bare PutItem calls of items that are ready, as many at once.
 */
import { BatchGetItemCommand, DynamoDBClient, PutItemCommand } from '@aws-sdk/client-dynamodb';
import { median, type Measure } from './measure';
import { LOAD_CORE, pinSelf, ServerProcess } from './server-process';
import { CONDITION, DynamoDbOnlineStore, lightReader, NAMES } from '../runtime/adapters/aws/dynamodb-online-store';
import { itemOf } from '../runtime/adapters/aws/online-item';
import { FeatureClient } from '../runtime/feature-client/feature-client';
import { type FeatureGroupSchema, OnlineItem, onlineKey } from '../src/contract';

const ROUNDS = 9;
const READS = 200;
const ENTITIES = 20;
const ROWS = 1500;
const AT_ONCE = 16;
const NOON = Date.UTC(2026, 0, 1, 12);

const GROUP: FeatureGroupSchema = {
  name: 'drivers',
  version: 1,
  owner: 'fleet',
  entityKeys: [{ name: 'driver', dtype: 'string' }],
  features: Array.from({ length: 10 }, (_, n) => ({
    name: `f${n}`, dtype: 'float64' as const, required: false, piiClass: 'none' as const, expectations: { min: 0, max: 100, maxNullRate: 0.1 },
  })),
};

interface Side {
  /** Milliseconds of each run, by round. */
  readonly rounds: number[][];
  run(): Promise<void>;
}

const side = (run: () => Promise<void>): Side => ({ run, rounds: [] });

/** Each side in turn, so that a slow moment of the machine meets all. */
async function takeTurns(sides: readonly Side[], times: number): Promise<void> {
  for (let round = -2; round < ROUNDS; round++) {
    for (const { run, rounds } of round % 2 === 0 ? sides : [...sides].reverse()) {
      const taken: number[] = [];
      for (let n = 0; n < times; n++) {
        const start = performance.now();
        await run();
        taken.push(performance.now() - start);
      }
      if (round >= 0) rounds.push(taken);
    }
  }
}

const quantile = (share: number) => (values: readonly number[]) => [...values].sort((a, b) => a - b)[Math.ceil(values.length * share) - 1];

/** Median over the rounds of the ratio of a quantile. */
function compare(name: string, of: Side, bare: Side, at: number, goal: number): Measure {
  const [mine, theirs] = [of, bare].map(({ rounds }) => rounds.map(quantile(at)));
  const shown = `p${at * 100} ${median(mine).toFixed(2)} ms, bare SDK call ${median(theirs).toFixed(2)} ms; median ratio of ${ROUNDS} rounds`;
  return { name, value: median(mine.map((value, round) => value / theirs[round])), op: '<=', goal, comparedWith: shown };
}

export async function features(): Promise<Measure[]> {
  pinSelf(LOAD_CORE);
  const stub = await ServerProcess.start('dynamodb');
  const credentials = { accessKeyId: 'AKIDEXAMPLE', secretAccessKey: 'secret' };
  const [endpoint, region, table] = [`http://127.0.0.1:${stub.port}`, 'eu-central-1', 'features'];
  const sdk = () => new DynamoDBClient({ endpoint, region, credentials });
  const clientOf = (store: DynamoDbOnlineStore) => new FeatureClient({ brain: 'fleet', groups: [GROUP], store, metrics: () => undefined });
  const bareClient = sdk();
  const overSdk = clientOf(new DynamoDbOnlineStore({ client: sdk(), table, writesAtOnce: AT_ONCE }));
  const reader = lightReader({ endpoint, region, table, credentials: async () => credentials });
  const light = clientOf(new DynamoDbOnlineStore({ client: sdk(), table, reader }));
  const entities = Array.from({ length: ENTITIES }, (_, n) => [`driver-${n}`]);
  const keys = entities.map((entity) => ({ [OnlineItem.PK]: { S: onlineKey(GROUP, entity) } }));
  const records = Array.from({ length: ROWS }, (_, n) => ({
    driver: `driver-${n}`, event_time: NOON, created_time: NOON, ...Object.fromEntries(GROUP.features.map(({ name }, at) => [name, n % 90 + at / 10])),
  }));
  const items = records.map(({ driver, event_time: eventTime, created_time: createdTime, ...values }) => (
    itemOf({ group: GROUP, entity: [driver], eventTime, createdTime, values })
  ));
  const putBare = async (): Promise<void> => {
    const left = [...items];
    await Promise.all(Array.from({ length: AT_ONCE }, async () => {
      for (let item = left.pop(); item; item = left.pop()) {
        const values = { ':event': item[OnlineItem.EVENT_TIME], ':created': item[OnlineItem.CREATED_TIME], ':digest': item[OnlineItem.DIGEST] };
        await bareClient.send(new PutItemCommand({
          TableName: table, Item: item, ConditionExpression: CONDITION, ExpressionAttributeNames: NAMES, ExpressionAttributeValues: values,
        }));
      }
    }));
  };
  const bare = side(async () => void await bareClient.send(new BatchGetItemCommand({ RequestItems: { [table]: { Keys: keys } } })));
  const [reference, lean] = [overSdk, light].map((client) => side(async () => void await client.getMany(GROUP.name, entities)));
  const [ceiling, ours] = [side(putBare), side(async () => void await overSdk.putMany(GROUP.name, records))];
  try {
    await takeTurns([bare, reference, lean], READS);
    await takeTurns([ceiling, ours], 1);
  } finally {
    bareClient.destroy();
    await overSdk.close();
    await light.close();
    await stub.stop();
  }
  const rates = [ours, ceiling].map(({ rounds }) => rounds.map(([ms]) => ROWS / ms * 1000));
  const rate = (values: readonly number[]) => Math.round(median(values));
  return [
    compare('features.read-p50', reference, bare, 0.5, 1.5),
    compare('features.read-p99', reference, bare, 0.99, 1.5),
    compare('features.read-light-p50', lean, bare, 0.5, 0.5),
    compare('features.read-light-p99', lean, bare, 0.99, 0.5),
    {
      name: 'features.import',
      value: median(rates[0].map((value, round) => value / rates[1][round])),
      op: '>=',
      goal: 0.7,
      comparedWith: `${rate(rates[0])} rows a second, ${rate(rates[1])} bare conditional puts, ${AT_ONCE} at once; median ratio of ${ROUNDS} rounds`,
    },
  ];
}
