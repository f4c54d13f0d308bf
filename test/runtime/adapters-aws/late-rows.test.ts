import { DynamoDBClient } from '@aws-sdk/client-dynamodb';
import { DynamoDbTable } from './dynamodb.fixture';
import { Peer, toPeer } from './peer.fixture';
import { DynamoDbOnlineStore } from '../../../runtime/adapters/aws/dynamodb-online-store';
import { kinesisClient, LateRows } from '../../../runtime/adapters/aws/late-rows';
import { itemOf } from '../../../runtime/adapters/aws/online-item';
import { offlineRow } from '../../../runtime/core/offline/delivery';
import type { FeatureWrite } from '../../../runtime/core/ports';
import { GROUP } from '../core/offline/rows.fixture';

const NOON = Date.UTC(2026, 0, 1, 12);
const row = (eventTime: number, visits: number, holder = 'Ada'): FeatureWrite => ({
  group: GROUP, entity: [holder, '7'], eventTime, createdTime: NOON + 99, values: { visits },
});

interface Call {
  readonly StreamName: string;
  readonly Records: readonly { readonly Data: string; readonly PartitionKey: string }[];
}

describe('rows that lose online', () => {
  let aws: Peer;
  let store: DynamoDbOnlineStore;
  let late: LateRows;
  /** For each PutRecords in turn: positions of records that a shard refuses, or the failure of the call. */
  let answers: (readonly number[] | string)[];
  let taken: { readonly data: object; readonly partition: string }[];
  let calls: number;
  const seen = () => taken.map(({ data }) => Number(offlineRow(GROUP, data)!.get('visits'))).sort((a, b) => a - b);

  beforeEach(async () => {
    const table = new DynamoDbTable('features');
    [answers, taken, calls] = [[], [], 0];
    aws = await Peer.start((request) => {
      if (!String(request.headers['x-amz-target']).startsWith('Kinesis_20131202.')) return table.answer(request);
      calls++;
      const { Records, StreamName } = JSON.parse(request.body.toString()) as Call;
      const refused = StreamName === 'changes' ? answers.shift() ?? [] : 'ResourceNotFoundException';
      const headers = { 'content-type': 'application/x-amz-json-1.1' };
      if (typeof refused === 'string') return { status: 400, headers, body: { __type: refused } };
      const results = Records.map(({ Data, PartitionKey }, at) => {
        if (refused.includes(at)) return { ErrorCode: 'ProvisionedThroughputExceededException' };
        taken.push({ data: JSON.parse(Buffer.from(Data, 'base64').toString()), partition: PartitionKey });
        return { SequenceNumber: '1' };
      });
      return { headers, body: { FailedRecordCount: refused.length, Records: results } };
    });
    late = new LateRows({ client: kinesisClient({ ...toPeer(aws), maxAttempts: 1 }), stream: 'changes', table: 'features', firstPauseMs: 1, attempts: 3 });
    store = new DynamoDbOnlineStore({ client: new DynamoDBClient(toPeer(aws)), table: 'features', late });
  });
  afterEach(async () => {
    await store.close();
    await aws.stop();
  });

  test('go onto the stream, and those that win do not: DynamoDB puts them there', async () => {
    await store.write([row(NOON, 1)]);
    expect(taken).toEqual([]);
    await store.write([row(NOON - 1, 2), row(NOON - 2, 3), row(NOON, 4, 'Grace')]);
    expect(seen()).toEqual([2, 3]);
    expect(new Set(taken.map(({ partition }) => partition)).size).toBe(1);
    expect((await store.read([{ group: GROUP, entity: ['Ada', '7'] }]))[0]?.values.visits).toBe(1);
  });

  test('are none where a row is written again: it is on the stream already', async () => {
    await store.write([row(NOON, 1)]);
    await store.write([row(NOON, 1)]);
    expect(taken).toEqual([]);
    // the same instants, other values: one of the two loses
    await store.write([row(NOON, 2)]);
    await store.write([row(NOON, 1)]);
    expect(seen()).toHaveLength(1);
  });

  test('are sent again where a shard refuses them, alone', async () => {
    await store.write([row(NOON, 0)]);
    answers.push([1], [0]);
    await store.write([row(NOON - 1, 1), row(NOON - 2, 2), row(NOON - 3, 3)]);
    expect(seen()).toEqual([1, 2, 3]);
    expect(calls).toBe(3);
  });

  test('fail the write while the stream does not take them: the caller writes again', async () => {
    await store.write([row(NOON, 0)]);
    answers.push([0], [0], [0]);
    await expect(store.write([row(NOON - 1, 1)])).rejects.toMatchObject({ code: 'FEATURE_STORE_UNAVAILABLE', message: expect.stringContaining('1 late rows in 3 attempts') });
    answers.push('AccessDeniedException');
    await expect(store.write([row(NOON - 1, 1)])).rejects.toMatchObject({ code: 'FEATURE_STORE_UNAVAILABLE', message: expect.stringContaining('AccessDeniedException') });
    await store.write([row(NOON - 1, 1)]);
    expect(seen()).toEqual([1]);
  });

  test('go in calls of 500', async () => {
    await late.put(Array.from({ length: 501 }, (_, at) => itemOf(row(NOON - at, at))));
    expect(seen()).toHaveLength(501);
    expect(calls).toBe(2);
  });
});
