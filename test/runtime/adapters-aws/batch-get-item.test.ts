import { crc32 } from 'node:zlib';
import { Peer, type PeerAnswer, type PeerRequest, toPeer } from './peer.fixture';
import { BatchGetItem, type BatchGetItemOptions, type RowSink } from '../../../runtime/adapters/aws/batch-get-item';
import type { AwsCredentials } from '../../../runtime/adapters/aws/credentials';

let peer: Peer;
let answer: (request: PeerRequest) => PeerAnswer | Promise<PeerAnswer>;
let client: BatchGetItem;
let credentials: () => Promise<AwsCredentials>;

const open = (options: Partial<BatchGetItemOptions> = {}) => {
  const { region, endpoint } = toPeer(peer);
  client = new BatchGetItem({ endpoint, region, table: 'features', credentials: () => credentials(), ...options });
};

beforeEach(async () => {
  peer = await Peer.start((request) => answer(request));
  credentials = async () => toPeer(peer).credentials;
  open();
});
afterEach(async () => {
  client.close();
  await peer.stop();
});

const item = (pk: string, trips = 1) => ({
  pk: { S: pk }, event_time: { N: '5' }, created_time: { N: '6' }, features: { S: JSON.stringify({ trips }) },
});
const call = async (keys: string[], context?: { deadline?: number }) => {
  const sink: RowSink = { places: new Map(keys.map((key, place) => [key, place])), rows: keys.map(() => undefined) };
  const unprocessed = await client.call(keys, sink, context);
  return { rows: sink.rows, unprocessed };
};

test('asks for the attributes of a row, of the keys as they are', async () => {
  answer = () => ({ body: { Responses: { features: [item('b "#é'), item('a', 2)] }, UnprocessedKeys: {} } });
  const times = { eventTime: 5, createdTime: 6 };
  expect(await call(['a', 'b "#é', 'c'])).toEqual({
    rows: [{ ...times, values: { trips: 2 } }, { ...times, values: { trips: 1 } }, undefined], unprocessed: [],
  });
  const [{ headers, body }] = peer.requests;
  expect(headers).toMatchObject({ 'x-amz-target': 'DynamoDB_20120810.BatchGetItem', 'content-type': 'application/x-amz-json-1.0' });
  expect(JSON.parse(body.toString())).toEqual({
    RequestItems: {
      features: {
        Keys: [{ pk: { S: 'a' } }, { pk: { S: 'b "#é' } }, { pk: { S: 'c' } }], ProjectionExpression: 'pk,event_time,created_time,features',
      },
    },
  });
});

test('says which keys were left unprocessed', async () => {
  answer = () => ({ body: { Responses: { features: [item('a')] }, UnprocessedKeys: { features: { Keys: [{ pk: { S: 'c' } }, { pk: { S: 'b' } }] } } } });
  expect((await call(['a', 'b', 'c'])).unprocessed).toEqual(['c', 'b']);
});

test.each<[string, object | string]>([
  ['no JSON', '<html>'],
  ['null', 'null'],
  ['items that are no list', { Responses: { features: { 0: item('a') } } }],
  ['an item that is null', { Responses: { features: [null] } }],
  ['an item without a key', { Responses: { features: [{ event_time: { N: '1' } }] } }],
  ['a key of another type', { Responses: { features: [{ ...item('a'), pk: { N: '1' } }] } }],
  ['an item that was not asked for', { Responses: { features: [item('z')] } }],
  ['an item twice', { Responses: { features: [item('a'), item('a', 2)] } }],
  ['unprocessed keys that are no list', { UnprocessedKeys: { features: { Keys: 'a' } } }],
  ['an unprocessed key that was not asked for', { UnprocessedKeys: { features: { Keys: [{ pk: { S: 'z' } }] } } }],
  ['a key both answered and unprocessed', { Responses: { features: [item('a')] }, UnprocessedKeys: { features: { Keys: [{ pk: { S: 'a' } }] } } }],
])('an answer with %s is refused', async (_, body) => {
  answer = () => ({ body });
  await expect(call(['a', 'b'])).rejects.toMatchObject({ code: 'FEATURE_STORE_UNAVAILABLE' });
});

test.each<[string, object]>([
  ['no times', { event_time: undefined }],
  ['an empty time', { event_time: { N: '' } }],
  ['a time that is no number', { created_time: { N: 'noon' } }],
  ['a time beyond 2^53', { created_time: { N: '9007199254740993' } }],
  ['a time as a number of JSON', { event_time: { N: 5 } }],
  ['features that are no JSON', { features: { S: '{' } }],
  ['features that are null', { features: { S: 'null' } }],
  ['features in a map', { features: { M: { trips: { N: '1' } } } }],
])('an item with %s spoils its own row alone', async (_, odd) => {
  answer = () => ({ body: { Responses: { features: [{ ...item('a'), ...odd }, item('b')] } } });
  expect((await call(['a', 'b'])).rows).toEqual([expect.objectContaining({ code: 'INVALID_FEATURE_ROW' }), expect.objectContaining({ values: { trips: 1 } })]);
});

test.each([
  ['ProvisionedThroughputExceededException', 400, true], ['ThrottlingException', 400, true], ['RequestLimitExceeded', 400, true],
  ['InternalServerError', 500, true], ['ServiceUnavailable', 503, true], ['ExpiredTokenException', 400, true],
  ['ResourceNotFoundException', 400, false], ['ValidationException', 400, false], ['AccessDeniedException', 400, false],
])('%s (%d) may be tried again: %s', async (type, status, retryable) => {
  answer = () => ({ status, body: { __type: `com.amazonaws.dynamodb.v20120810#${type}`, message: 'no' } });
  await expect(call(['a'])).rejects.toMatchObject({ name: type, retryable, message: 'no' });
});

test.each([['<html>', 502, true], ['[]', 403, false], ['null', 400, false], ['{"__type":1}', 400, false]])('a refusal "%s" is named by its status', async (body, status, retryable) => {
  answer = () => ({ status, body });
  await expect(call(['a'])).rejects.toMatchObject({ name: `HTTP ${status}`, retryable });
});

test('a checksum that is not that of the body is refused where it is looked at', async () => {
  const body = JSON.stringify({ Responses: { features: [item('a')] } });
  answer = () => ({ body, headers: { 'x-amz-crc32': '1' } });
  expect((await call(['a'])).rows).toHaveLength(1);
  client.close();
  open({ verifyChecksum: true });
  await expect(call(['a'])).rejects.toMatchObject({ code: 'FEATURE_STORE_UNAVAILABLE', message: expect.stringContaining('checksum') });
  answer = () => ({ body, headers: { 'x-amz-crc32': String(crc32(Buffer.from(body))) } });
  expect((await call(['a'])).rows).toHaveLength(1);
});

test('credentials that do not come are waited for until the deadline', async () => {
  credentials = () => new Promise(() => undefined);
  await expect(call(['a'], { deadline: Date.now() + 20 })).rejects.toMatchObject({ name: 'TimeoutError' });
  expect(peer.requests).toEqual([]);
});
