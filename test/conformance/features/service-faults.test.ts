/** The whole service before a real table that breaks. */
import { createTable, DynamoDbLocal } from './dynamodb-local';
import { DynamoDbOnlineStore, lightReader } from '../../../runtime/adapters/aws/dynamodb-online-store';
import type { ModelManifest } from '../../../src/contract';
import { CONFIGURATION } from '../../runtime/core/brain.fixture';
import { FaultyHttp } from '../faulty-http';
import { expectContained, NETWORK_FAULTS, partOf, PLAIN, PLAIN_INPUT, ServiceUnderFaults, ZEROS } from '../service-under-faults';

jest.setTimeout(300_000);

const [DRIVERS] = CONFIGURATION.featureGroups;
const TRIPS = { name: 'trips', datatype: 'FP32' as const, shape: [-1, 1] };
const READ = { tensor: TRIPS.name, keys: ['driver'], groups: [{ group: DRIVERS.name, features: ['trips'] }] };
const ENTITIES = [{ input: 'driver', datatype: 'INT64' as const }];
const MANIFESTS: readonly ModelManifest[] = [
  partOf('firm', TRIPS, { entities: ENTITIES, features: [READ] }),
  partOf('soft', TRIPS, { entities: ENTITIES, features: [{ ...READ, onUnavailable: 'defaults' }] }),
  partOf('free', PLAIN),
];
const THROTTLED = { status: 400, body: JSON.stringify({ __type: 'com.amazonaws.dynamodb.v20120810#ThrottlingException', message: 'slow down' }) };

let server: DynamoDbLocal;
let faulty: FaultyHttp;
let store: DynamoDbOnlineStore;
let traffic: ServiceUnderFaults;

beforeAll(async () => {
  server = await DynamoDbLocal.start();
  const client = server.client();
  await createTable(client, 'served');
  const writer = new DynamoDbOnlineStore({ client, table: 'served' });
  const now = Date.now();
  const row = (driver: number) => ({ group: DRIVERS, entity: [String(driver)], eventTime: now, createdTime: now, values: { trips: driver } });
  await writer.write(Array.from({ length: 10 }, (_, driver) => row(driver)));
  await writer.close();
});
afterAll(() => server?.stop());
beforeEach(async () => {
  faulty = await FaultyHttp.start(server.port, 'DynamoDB_20120810.BatchGetItem');
  store = new DynamoDbOnlineStore({ client: server.client(), table: 'served', reader: lightReader({ ...server.endpoint(faulty.port), table: 'served' }) });
  let driver = 0;
  traffic = await ServiceUnderFaults.start({
    dependency: 'features',
    configuration: { featureGroups: [DRIVERS], vectorIndexes: [] },
    manifests: MANIFESTS,
    runtime: ZEROS,
    features: store,
    inputs: (part) => part === 'free' ? [PLAIN_INPUT] : [{ name: 'driver', datatype: 'INT64', shape: [1], data: [driver++ % 10] }],
  });
});
afterEach(async () => {
  await traffic.close();
  await store.close();
  await faulty.close();
});

const contained = (breaks: () => void) => expectContained(traffic, {
  breaks,
  heals: () => faulty.heal(),
  calls: () => faulty.requests,
  codes: ['FEATURE_STORE_UNAVAILABLE', 'DEADLINE_EXCEEDED'],
});

describe('the service, while DynamoDB breaks:', () => {
  test.each(NETWORK_FAULTS)('%s', (_, fault) => contained(() => faulty.network.set(fault)));

  test('it throttles', () => contained(() => faulty.answers.answerShare(1, THROTTLED)));
});
