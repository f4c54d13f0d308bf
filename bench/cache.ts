/**
 * What do online features cost? CPU of the process that reads them from a stub of DynamoDB in another process, over loopback, 20 entities
 * of 10 features for each request, 16 requests at once, as a loaded service has them.
 *
 * - The hot-feature cache on and off, where nine lookups of ten find their entity: each request asks for 18 entities of a hot set and
 *   for two that nobody has asked for.
 * - One BatchGetItem call of 20 keys by the AWS SDK and by the light client, one at a time, so that no calls are shared.
 *
 * Sides alternate, after a round of each that is not counted.
 */
import { DynamoDBClient } from '@aws-sdk/client-dynamodb';
import { median, type Measure } from './measure';
import { LOAD_CORE, pinSelf, ServerProcess } from './server-process';
import { DynamoDbOnlineStore, lightReader } from '../runtime/adapters/aws/dynamodb-online-store';
import { CachedFeatureStore } from '../runtime/core/feature-cache';
import type { FeatureRequest, OnlineFeatureStore } from '../runtime/core/ports';
import type { FeatureGroupSchema } from '../src/contract';

const ROUNDS = 5;
const REQUESTS = 1000;
const AT_ONCE = 16;
const ENTITIES = 20;
const COLD = 2;
const HOT = 500;

const GROUP: FeatureGroupSchema = {
  name: 'drivers',
  version: 1,
  owner: 'fleet',
  entityKeys: [{ name: 'driver', dtype: 'string' }],
  features: Array.from({ length: 10 }, (_, n) => ({ name: `f${n}`, dtype: 'float64' as const, required: false, piiClass: 'none' as const })),
};

interface Side {
  readonly store: OnlineFeatureStore;
  readonly atOnce: number;
  readonly requests: number;
  /** CPU microseconds per request, by round. */
  readonly cost: number[];
}

let cold = 0;

function request(): FeatureRequest[] {
  const entities = Array.from({ length: ENTITIES }, (_, n) => (n < COLD ? `cold-${cold++}` : `hot-${Math.floor(Math.random() * HOT)}`));
  return entities.map((entity) => ({ group: GROUP, entity: [entity] }));
}

async function round({ store, atOnce, requests }: Side): Promise<number> {
  const all = Array.from({ length: requests }, request);
  const start = process.cpuUsage();
  await Promise.all(Array.from({ length: atOnce }, async () => {
    for (let next = all.pop(); next; next = all.pop()) await store.read(next);
  }));
  const { user, system } = process.cpuUsage(start);
  return (user + system) / requests;
}

export async function cache(): Promise<Measure[]> {
  pinSelf(LOAD_CORE);
  const stub = await ServerProcess.start('dynamodb');
  const credentials = { accessKeyId: 'AKIDEXAMPLE', secretAccessKey: 'secret' };
  const [endpoint, region, table] = [`http://127.0.0.1:${stub.port}`, 'eu-central-1', 'features'];
  const client = () => new DynamoDBClient({ endpoint, region, credentials });
  const reader = () => lightReader({ endpoint, region, table, credentials: async () => credentials });
  const light = () => new DynamoDbOnlineStore({ client: client(), table, reader: reader() });
  const side = (store: OnlineFeatureStore, atOnce = AT_ONCE, requests = REQUESTS): Side => ({ store, atOnce, requests, cost: [] });
  const [off, on] = [side(light()), side(new CachedFeatureStore({ store: light(), ttlMs: 3_600_000 }))];
  const [sdk, lean] = [side(new DynamoDbOnlineStore({ client: client(), table }), 1, 500), side(light(), 1, 500)];
  try {
    for (let n = 0; n <= ROUNDS; n++) {
      for (const each of [off, on, sdk, lean]) {
        const cost = await round(each);
        if (n > 0) each.cost.push(cost);
      }
    }
  } finally {
    for (const { store } of [off, on, sdk, lean]) await store.close();
    await stub.stop();
  }
  const [offCpu, onCpu, sdkCpu, leanCpu] = [off, on, sdk, lean].map(({ cost }) => median(cost) / 1000);
  const ms = (value: number) => `${value.toFixed(3)} ms`;
  return [
    { name: 'cache.cpu', value: onCpu / offCpu, op: '<=', goal: 0.5, comparedWith: `CPU per request ${ms(onCpu)} with the cache at 90 % hits, ${ms(offCpu)} without` },
    { name: 'cache.light-client', value: leanCpu / sdkCpu, op: '<=', goal: 0.5, comparedWith: `CPU per BatchGetItem call ${ms(leanCpu)} by the light client, ${ms(sdkCpu)} by the SDK` },
  ];
}
