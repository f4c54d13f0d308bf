/** The DynamoDB adapter on DynamoDB Local, in a table with the keys that the construct declares. */
import { CreateTableCommand, type CreateTableCommandInput } from '@aws-sdk/client-dynamodb';
import { App, Stack } from 'aws-cdk-lib';
import { Template } from 'aws-cdk-lib/assertions';
import { Key } from 'aws-cdk-lib/aws-kms';
import { assert, asyncProperty, integer, record, shuffledSubarray, array as arrayOf, constantFrom } from 'fast-check';
import { DynamoDbLocal } from './dynamodb-local';
import { DynamoDbOnlineStore, lightReader } from '../../../runtime/adapters/aws/dynamodb-online-store';
import type { FeatureWrite } from '../../../runtime/core/ports';
import type { FeatureGroupSchema } from '../../../src/contract';
import { BrainEnvironment } from '../../../src/environment';
import { EntityKey, Feature, FeatureGroup, FeatureStore } from '../../../src/features';
import { expiryContract } from '../../runtime/contract/expiry.contract';
import { onlineStoreContract } from '../../runtime/contract/online-store.contract';

jest.setTimeout(300_000);

const WRITERS = 64;
const NOON = Date.UTC(2026, 0, 1, 12);
const GROUP: FeatureGroupSchema = {
  name: 'account',
  version: 1,
  owner: 'risk',
  entityKeys: [{ name: 'account', dtype: 'string' }],
  features: [{ name: 'balance', dtype: 'int64', required: false, piiClass: 'none' }],
};

let server: DynamoDbLocal;
let tables = 0;

beforeAll(async () => {
  server = await DynamoDbLocal.start();
});
afterAll(() => server?.stop());

/** An empty table with the key schema of the synthesized one. */
async function open(light = true): Promise<DynamoDbOnlineStore> {
  const stack = new Stack(new App(), 'Stack', { env: { region: 'us-east-1' } });
  const group = FeatureGroup.define('account', { owner: 'risk', entityKeys: [EntityKey.string('account')], features: [Feature.int64('balance')] });
  new FeatureStore(stack, 'Features', { environment: BrainEnvironment.dev(), encryptionKey: new Key(stack, 'Key'), groups: [group] });
  const [{ Properties }] = Object.values(Template.fromStack(stack).findResources('AWS::DynamoDB::GlobalTable'));
  const client = server.client();
  const table = `features-${++tables}`;
  await client.send(new CreateTableCommand({
    TableName: table, KeySchema: Properties.KeySchema, AttributeDefinitions: Properties.AttributeDefinitions, BillingMode: 'PAY_PER_REQUEST',
  } as CreateTableCommandInput));
  return new DynamoDbOnlineStore({ client, table, reader: light ? lightReader({ ...server.endpoint(), table }) : undefined });
}

describe('the online store in DynamoDB Local', () => {
  describe('read by the light client', () => onlineStoreContract(() => open()));
  describe('read by the SDK', () => onlineStoreContract(() => open(false)));
  describe('expires as the offline store does', () => expiryContract(() => open()));

  test('64 writers with shuffled and repeated events leave what the ordered stream leaves', async () => {
    const event = record({ entity: constantFrom('a', 'b', 'c'), at: integer({ min: 0, max: 20 }), lag: integer({ min: 0, max: 2 }), balance: integer({ min: -5, max: 5 }) });
    const history = arrayOf(event, { minLength: WRITERS, maxLength: 2 * WRITERS }).chain((events) => (
      shuffledSubarray([...events, ...events], { minLength: events.length * 2 }).map((shuffled) => ({ events, shuffled }))
    ));
    await assert(asyncProperty(history, async ({ events, shuffled }) => {
      const row = ({ entity, at, lag, balance }: typeof events[number]): FeatureWrite => ({
        group: GROUP, entity: [entity], eventTime: NOON + at, createdTime: NOON + at + lag, values: { balance },
      });
      const [ordered, raced] = [await open(), await open()];
      for (const each of [...events].sort((a, b) => a.at - b.at || a.lag - b.lag)) await ordered.write([row(each)]);
      const queue = [...shuffled];
      await Promise.all(Array.from({ length: WRITERS }, async () => {
        for (let next = queue.pop(); next; next = queue.pop()) await raced.write([row(next)]);
      }));
      const requests = ['a', 'b', 'c'].map((entity) => ({ group: GROUP, entity: [entity] }));
      expect(await raced.read(requests)).toEqual(await ordered.read(requests));
      await ordered.close();
      await raced.close();
    }), { numRuns: 10, seed: 20_260_101 });
  });
});
