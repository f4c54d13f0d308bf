import { FirehoseClient } from '@aws-sdk/client-firehose';
import { Peer, toPeer } from './peer.fixture';
import { FirehoseCapture, type FirehoseCaptureOptions } from '../../../runtime/adapters/aws/firehose-capture';
import type { CapturedRequest } from '../../../runtime/telemetry/capture';
import { SILENT } from '../core/brain.fixture';

const record = (request_id: string, inputs = '[]') => ({ schema_version: '1', request_id, inputs }) as CapturedRequest;

interface Batch {
  readonly DeliveryStreamName: string;
  readonly Records: { readonly Data: string }[];
}

describe('capture through Firehose', () => {
  let firehose: Peer;
  let client: FirehoseClient;
  let lost: number;
  /** For each call in turn: the positions of the records that the stream refuses, or the status that it answers. */
  let answers: (readonly number[] | number)[];
  beforeEach(async () => {
    lost = 0;
    answers = [];
    firehose = await Peer.start(({ body }) => {
      const { Records } = JSON.parse(body.toString()) as Batch;
      const refused = answers.shift() ?? [];
      if (typeof refused === 'number') return { status: refused, body: { __type: 'ServiceUnavailableException' } };
      const RequestResponses = Records.map((_, index) => (refused.includes(index) ? { ErrorCode: 'ServiceUnavailableException' } : { RecordId: 'r' }));
      return { headers: { 'content-type': 'application/x-amz-json-1.1' }, body: { FailedPutCount: refused.length, RequestResponses } };
    });
    client = new FirehoseClient(toPeer(firehose));
  });
  afterEach(async () => {
    client.destroy();
    await firehose.stop();
  });

  const capture = (options: Partial<FirehoseCaptureOptions> = {}) => new FirehoseCapture({
    client,
    stream: 'captured',
    logger: SILENT,
    firstPauseMs: 1,
    dropped: (requests) => {
      lost += requests;
    },
    ...options,
  });
  const batches = () => firehose.requests.map(({ body }) => JSON.parse(body.toString()) as Batch);
  const ids = ({ Records }: Batch) => Records.map(({ Data }) => (JSON.parse(Buffer.from(Data, 'base64').toString()) as CapturedRequest).request_id);

  test('sends a JSON line for each request', async () => {
    const sink = capture();
    sink.write([record('a'), record('b')]);
    await sink.close();
    expect(batches().map(({ DeliveryStreamName }) => DeliveryStreamName)).toEqual(['captured']);
    expect(ids(batches()[0])).toEqual(['a', 'b']);
    expect(Buffer.from(batches()[0].Records[0].Data, 'base64').toString()).toBe(`${JSON.stringify(record('a'))}\n`);
  });

  test('sends at most 500 records in a call', async () => {
    const sink = capture();
    sink.write(Array.from({ length: 1201 }, (_, index) => record(String(index))));
    await sink.close();
    expect(batches().map(({ Records }) => Records.length)).toEqual([500, 500, 201]);
    expect(batches().flatMap(ids)).toEqual(Array.from({ length: 1201 }, (_, index) => String(index)));
  });

  test('sends at most 4 MiB in a call', async () => {
    const sink = capture();
    sink.write(Array.from({ length: 9 }, (_, index) => record(String(index), 'x'.repeat(900 * 1024))));
    await sink.close();
    expect(batches().map(({ Records }) => Records.length)).toEqual([4, 4, 1]);
  });

  test('sends what a call left over again, and only that', async () => {
    answers = [[1, 2]];
    const sink = capture();
    sink.write([record('a'), record('b'), record('c'), record('d')]);
    await sink.close();
    expect(batches().map(ids)).toEqual([['a', 'b', 'c', 'd'], ['b', 'c']]);
    expect(lost).toBe(0);
  });

  test('gives up on a record after its attempts, and counts it', async () => {
    answers = [503, [1], 503];
    const sink = capture({ maxAttempts: 3 });
    sink.write([record('a'), record('b')]);
    await sink.close();
    expect(batches().map(ids)).toEqual([['a', 'b'], ['a', 'b'], ['b']]);
    expect(lost).toBe(1);
  });

  test('holds no more than its queue, and counts the rest', async () => {
    const line = Buffer.byteLength(`${JSON.stringify(record('a'))}\n`);
    const sink = capture({ maxQueueBytes: 2 * line });
    sink.write([record('a'), record('b'), record('c')]);
    expect(lost).toBe(1);
    await sink.close();
    expect(batches().map(ids)).toEqual([['a', 'b']]);
    sink.write([record('d')]);
    expect(lost).toBe(2);
  });

  test('leaves out a record that Firehose never takes', async () => {
    const sink = capture();
    sink.write([record('a', 'x'.repeat(1000 * 1024)), record('b')]);
    await sink.close();
    expect(batches().map(ids)).toEqual([['b']]);
    expect(lost).toBe(1);
  });
});
