/** The online store behind proxies that break connections and throttle, on DynamoDB Local. */
import { createTable, DynamoDbLocal } from './dynamodb-local';
import { DynamoDbOnlineStore, lightReader } from '../../../runtime/adapters/aws/dynamodb-online-store';
import { DeadlineTimers } from '../../../runtime/core/resilience/deadline-timers';
import { GuardedFeatureStore } from '../../../runtime/core/resilience/guards';
import { NO_TELEMETRY } from '../../../runtime/core/telemetry';
import { CONFIGURATION, NOON } from '../../runtime/core/brain.fixture';
import { FaultProxy } from '../../support/fault-proxy';
import { HttpFaults } from '../../support/http-faults';

jest.setTimeout(300_000);

const [DRIVERS] = CONFIGURATION.featureGroups;
const ASK = [{ group: DRIVERS, entity: ['7'] }];
const CALLS = 600;

let server: DynamoDbLocal;
let tcp: FaultProxy;
let http: HttpFaults;
let store: DynamoDbOnlineStore;
const behind = (port: number) => new DynamoDbOnlineStore({
  client: server.client(), table: 'faults', reader: lightReader({ ...server.endpoint(port), table: 'faults' }),
});

beforeAll(async () => {
  server = await DynamoDbLocal.start();
  const client = server.client();
  await createTable(client, 'faults');
  client.destroy();
  http = await HttpFaults.start(server.port);
  tcp = await FaultProxy.start(http.port);
  store = behind(tcp.port);
  await store.write([{ ...ASK[0], eventTime: NOON, createdTime: NOON, values: { trips: 7 } }]);
});
afterAll(async () => {
  await store?.close();
  await tcp?.close();
  await http?.close();
  await server?.stop();
});
afterEach(async () => {
  tcp.set({ kind: 'pass' });
  http.pass();
  // healthy again at once
  expect((await store.read(ASK, { deadline: Date.now() + 5000 }))[0]?.values.trips).toBe(7);
});

test.each(['black-hole', 'half-open'] as const)('%s: the deadline is kept', async (kind) => {
  tcp.set({ kind });
  await expect(store.read(ASK, { deadline: Date.now() + 100 })).rejects.toMatchObject({ code: 'DEADLINE_EXCEEDED' });
});

test('latency: answers come late, and none beyond the deadline', async () => {
  tcp.set({ kind: 'latency', ms: 20 });
  expect((await store.read(ASK, { deadline: Date.now() + 5000 }))[0]?.values.trips).toBe(7);
  tcp.set({ kind: 'latency', ms: 1000 });
  await expect(store.read(ASK, { deadline: Date.now() + 50 })).rejects.toMatchObject({ code: 'DEADLINE_EXCEEDED' });
});

test('reset: the store is unavailable', async () => {
  tcp.set({ kind: 'reset' });
  await expect(store.read(ASK)).rejects.toMatchObject({ code: 'FEATURE_STORE_UNAVAILABLE' });
});

test.each([[0.05, true], [0.5, true], [1, true], [0.5, false], [1, false]])('a share of %d throttled: at most 1.1 calls for each (guarded as in the service: %s)', async (share, guard) => {
  const guarded = guard ? new GuardedFeatureStore(store, { timers: new DeadlineTimers(), telemetry: NO_TELEMETRY, timeoutMs: 5000 }) : store;
  const before = http.requests;
  http.answerShare(share, { status: 400, body: JSON.stringify({ __type: 'com.amazonaws.dynamodb.v20120810#ThrottlingException', message: 'slow down' }) });
  let answered = 0;
  for (let call = 0; call < CALLS; call++) await guarded.read(ASK).then(() => answered++, (error) => expect(error.code).toBe('FEATURE_STORE_UNAVAILABLE'));
  expect((http.requests - before) / CALLS).toBeLessThanOrEqual(1.1);
  if (share < 0.1) expect(answered / CALLS).toBeGreaterThan(0.99);
});

test('healthy traffic is unaffected by callers that leave', async () => {
  const gone = new AbortController();
  const leaving = store.read(ASK, { signal: gone.signal });
  const staying = store.read(ASK);
  gone.abort(new Error('gave up'));
  await expect(leaving).rejects.toThrow('gave up');
  expect((await staying)[0]?.values.trips).toBe(7);
});
