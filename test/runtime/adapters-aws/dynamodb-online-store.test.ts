import { DynamoDBClient } from '@aws-sdk/client-dynamodb';
import { DynamoDbTable } from './dynamodb.fixture';
import { never, Peer, type PeerAnswer, type PeerRequest, toPeer } from './peer.fixture';
import { DynamoDbOnlineStore, endpointOf, lightReader } from '../../../runtime/adapters/aws/dynamodb-online-store';
import { MONOTONIC_CLOCK } from '../../../runtime/core/resilience/monotonic-clock';
import { onlineKey } from '../../../src/contract';
import { onlineStoreContract } from '../contract/online-store.contract';
import { CONFIGURATION, NOON } from '../core/brain.fixture';

const [DRIVERS] = CONFIGURATION.featureGroups;
/** Pauses of the SDK's reader, together. */
const BUDGET_MS = 500;
/** No call is late by it: the light client's retries end as their budget is spent. */
const PATIENT_MS = 60_000;

let table: DynamoDbTable;
let peer: Peer;
let intercept: (request: PeerRequest) => PeerAnswer | Promise<PeerAnswer> | undefined;

beforeEach(async () => {
  table = new DynamoDbTable('features');
  intercept = () => undefined;
  peer = await Peer.start((request) => intercept(request) ?? table.answer(request));
});
afterEach(() => peer.stop());

describe.each(['the SDK', 'the light client'])('the online store in DynamoDB, read by %s', (name) => {
  const open = (retryBudgetMs?: number) => {
    const { credentials, region, endpoint } = toPeer(peer);
    const reader = lightReader({ endpoint, region, credentials: async () => credentials, table: 'features', timeoutMs: PATIENT_MS });
    return new DynamoDbOnlineStore({
      client: new DynamoDBClient(toPeer(peer)), table: 'features', retryBudgetMs, reader: name === 'the SDK' ? undefined : reader,
    });
  };
  const write = (store: DynamoDbOnlineStore, count: number) => store.write(
    requests(count).map((entity, trips) => ({ ...entity, eventTime: NOON, createdTime: NOON, values: { trips } })),
  );
  const requests = (count: number) => Array.from({ length: count }, (_, driver) => ({ group: DRIVERS, entity: [String(driver)] }));

  onlineStoreContract(async () => open());

  test('reads at most 100 keys in one call, calls side by side', async () => {
    const store = open();
    await write(store, 250);
    await store.read(requests(250));
    expect(table.batches.sort((a, b) => a - b)).toEqual([50, 100, 100]);
    await store.close();
  });

  test('asks again for keys that were left unprocessed', async () => {
    const store = open();
    await write(store, 5);
    table.processed.push(2, 0, 1);
    expect((await store.read(requests(5))).map((row) => row?.values.trips)).toEqual([0, 1, 2, 3, 4]);
    expect(table.batches).toEqual([5, 3, 3, 2]);
    await store.close();
  });

  test('gives up when the budget is spent, and does not take the missing rows for unknown entities', async () => {
    const store = open(BUDGET_MS);
    table.processed.push(...new Array(1000).fill(0));
    await expect(store.read(requests(3))).rejects.toMatchObject({ code: 'FEATURE_STORE_UNAVAILABLE', message: expect.stringContaining('3 of 3 keys unprocessed') });
    await store.close();
  });

  test.each([
    ['throttling', 400, 'ProvisionedThroughputExceededException'], ['no such table', 400, 'ResourceNotFoundException'], ['no permission', 400, 'AccessDeniedException'], ['an outage', 500, 'InternalServerError'],
  ])('%s is "unavailable", in reading and in writing', async (_, status, type) => {
    intercept = () => ({ status, body: { __type: `com.amazonaws.dynamodb.v20120810#${type}`, message: 'no' } });
    const store = open(BUDGET_MS);
    await expect(store.read(requests(1))).rejects.toMatchObject({ code: 'FEATURE_STORE_UNAVAILABLE', message: expect.stringContaining(type) });
    await expect(write(store, 1)).rejects.toMatchObject({ code: 'FEATURE_STORE_UNAVAILABLE' });
    await store.close();
  });

  test('an item that is not in the layout is an error, not an absent row', async () => {
    for (const item of [{ event_time: { S: 'noon' } }, { event_time: { N: '1' }, created_time: { N: '1' }, features: { S: '[]' } }]) {
      table.items.set('drivers#1#7', { pk: { S: 'drivers#1#7' }, ...item } as never);
      const store = open();
      await expect(store.read([{ group: DRIVERS, entity: ['7'] }])).rejects.toMatchObject({ code: 'INVALID_FEATURE_ROW' });
      await store.close();
    }
  });

  test('stops when the caller gives up', async () => {
    const store = open();
    const caller = new AbortController();
    intercept = () => {
      caller.abort(new Error('gave up'));
      return never();
    };
    await expect(store.read(requests(1), { signal: caller.signal })).rejects.toThrow('gave up');
    await expect(store.read(requests(1), { signal: caller.signal })).rejects.toThrow('gave up');
    await store.close();
  });

  test('writes the layout of the contract', async () => {
    const store = open();
    await store.write([{ group: DRIVERS, entity: ['7'], eventTime: NOON + 1, createdTime: NOON + 2, values: { trips: 3, badge: null, odometer: '12' } }]);
    expect(table.items.get(onlineKey(DRIVERS, ['7']))).toEqual({
      pk: { S: 'drivers#1#7' },
      event_time: { N: String(NOON + 1) },
      created_time: { N: String(NOON + 2) },
      expires_at: { N: String(NOON / 1000 + 1 + 86_400) },
      features: { S: '{"odometer":12,"trips":3}' },
      digest: { S: expect.stringMatching(/^[0-9a-f]{64}$/) },
    });
    await store.close();
  });
});

describe('rows that are written together', () => {
  const entities = ['a', 'b', 'c', 'd'];
  const rowOf = (driver: string, at: number, trips = at) => (
    { group: DRIVERS, entity: [driver], eventTime: NOON + at, createdTime: NOON, values: { trips } });
  let puts: string[];
  let store: DynamoDbOnlineStore;
  const shown = ({ body }: PeerRequest) => {
    const { pk, features } = JSON.parse(body.toString()).Item;
    return `${pk.S.split('#')[2]} ${JSON.parse(features.S).trips}`;
  };
  beforeEach(() => {
    puts = [];
    store = new DynamoDbOnlineStore({ client: new DynamoDBClient({ ...toPeer(peer), maxAttempts: 1 }), table: 'features' });
    intercept = (request) => void puts.push(shown(request));
  });
  afterEach(() => store.close());

  test.each(['writeEach', 'write'] as const)('by %s are all of an entity\'s history, in whichever order they come', async (method) => {
    const rows = [5, 3, 4, 1, 2].flatMap((at) => entities.slice(0, 2).map((driver) => rowOf(driver, at)));
    const outcomes = await store[method](rows);
    // each was the newest when it was written: the table's stream has it
    for (const driver of ['a', 'b']) expect(puts.filter((put) => put.startsWith(driver))).toEqual([1, 2, 3, 4, 5].map((at) => `${driver} ${at}`));
    if (outcomes) expect(outcomes).toEqual(rows.map(() => 'written'));
  });

  test('of one time are written in the order of their digests, and one that stands twice is no late one', async () => {
    const rows = Array.from({ length: 8 }, (_, trips) => rowOf('a', 0, trips));
    expect(await store.writeEach([...rows, ...rows])).toEqual(Array.from({ length: 16 }, () => 'written'));
  });

  test('are written side by side where they are of different entities', async () => {
    let arrived: () => void;
    const all = new Promise<void>((resolve) => {
      arrived = resolve;
    });
    intercept = (request) => {
      puts.push(shown(request));
      if (puts.length === entities.length) arrived();
      return all.then(() => table.answer(request));
    };
    expect(await store.writeEach([1, 2].flatMap((at) => entities.map((driver) => rowOf(driver, at))))).toEqual(Array.from({ length: 8 }, () => 'written'));
    expect(puts.slice(0, 4).sort()).toEqual(['a 1', 'b 1', 'c 1', 'd 1']);
  });

  test('fail behind one of their entity that failed, for which they would be too new', async () => {
    intercept = (request) => {
      puts.push(shown(request));
      const body = { __type: 'com.amazonaws.dynamodb.v20120810#ValidationException', message: 'no' };
      return shown(request) === 'a 2' ? { status: 400, body } : undefined;
    };
    const outcomes = await store.writeEach([rowOf('a', 3), rowOf('a', 1), rowOf('b', 1), rowOf('a', 2)]);
    const failed = expect.objectContaining({ code: 'FEATURE_STORE_UNAVAILABLE' });
    expect(outcomes).toEqual([failed, 'written', 'written', failed]);
    expect(puts.sort()).toEqual(['a 1', 'a 2', 'b 1']);
  });
});

test.each([['eu-central-1', 'https://dynamodb.eu-central-1.amazonaws.com'], ['cn-north-1', 'https://dynamodb.cn-north-1.amazonaws.com.cn']])(
  'calls in %s go to %s', (region, endpoint) => {
    const client = new DynamoDBClient({ region });
    expect(endpointOf(client, region, {})).toBe(endpoint);
    expect(endpointOf(client, region, { AWS_ENDPOINT_URL: 'http://all' })).toBe('http://all');
    expect(endpointOf(client, region, { AWS_ENDPOINT_URL: 'http://all', AWS_ENDPOINT_URL_DYNAMODB: 'http://one' })).toBe('http://one');
    client.destroy();
  },
);

test('the light client keeps deadlines where the system\'s clock is set while it runs', async () => {
  const { credentials, region, endpoint } = toPeer(peer);
  const reader = lightReader({ endpoint, region, credentials: async () => credentials, table: 'features' });
  const clock = jest.spyOn(Date, 'now').mockReturnValue(Date.now() + 3_600_000);
  try {
    expect(await reader.read(['a'], { deadline: MONOTONIC_CLOCK.now() + 60_000 })).toEqual([undefined]);
  } finally {
    clock.mockRestore();
    reader.close();
  }
});
