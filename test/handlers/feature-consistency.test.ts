/** The consistency check looks at what a backfill would write, and at nothing else. */
import { gzipSync } from 'node:zlib';
import { DynamoDBClient } from '@aws-sdk/client-dynamodb';
import { S3Client } from '@aws-sdk/client-s3';
import { createCheck } from '../../runtime/handlers/feature-consistency.lambda';
import { FUTURE_TOLERANCE_MS } from '../../src/contract';
import { EntityKey, Expectation, Feature, FeatureGroup } from '../../src/features';
import { Peer } from '../runtime/adapters-aws/peer.fixture';

const NOON = Date.UTC(2026, 0, 1, 12);
const GROUP = FeatureGroup.define('account', {
  owner: 'risk', entityKeys: [EntityKey.string('id')], features: [Feature.float64('balance', { expect: [Expectation.range({ max: 10 })] })],
})._toSchema();
const PREFIX = 'checks/run/0/';
const KEY = `${PREFIX}part.gz`;

/** The report, and the skew that was published, over an empty table. */
async function check(lines: readonly string[]): Promise<{ readonly report: object; readonly skew: number }> {
  const object = gzipSync(lines.join('\n'));
  const aws = await Peer.start(({ path, headers }) => {
    if (headers['x-amz-target']) return { body: { Responses: {}, UnprocessedKeys: {} } };
    if (path.includes('list-type=2')) return { body: `<ListBucketResult><Contents><Key>${KEY}</Key></Contents></ListBucketResult>` };
    return { status: 206, headers: { 'content-range': `bytes 0-${object.length - 1}/${object.length}`, 'etag': '"1"' }, body: object };
  });
  const common = { region: 'eu-central-1', endpoint: aws.url, credentials: { accessKeyId: 'a', secretAccessKey: 'b' } };
  const [dynamodb, s3] = [new DynamoDBClient(common), new S3Client({ ...common, forcePathStyle: true })];
  const printed: string[] = [];
  try {
    const ports = { dynamodb, s3, clock: { now: () => NOON }, print: (line: string) => void printed.push(line) };
    const report = await createCheck({ brain: 'bank', table: 'features', bucket: 'computed' }, ports)({ group: GROUP, prefix: PREFIX });
    return { report, skew: JSON.parse(printed[0]).FeatureSkew };
  } finally {
    dynamodb.destroy();
    s3.destroy();
    await aws.stop();
  }
}

const line = (balance: unknown, created = NOON) => JSON.stringify({ id: 'a', balance, event_time: NOON, created_time: created });

test.each([
  ['is not JSON', '{'],
  ['has a value of another type', line('many')],
  ['has a value that is not expected', line(11)],
  ['is further ahead than a backfill tolerates', line(1, NOON + FUTURE_TOLERANCE_MS + 1)],
])('a row that %s is no skew: no backfill would write it', async (_, refused) => {
  expect(await check([refused])).toEqual({ report: { sampled: 0, same: 0, ahead: 0, missing: 0, behind: 0, skew: 0 }, skew: 0 });
});

test('a row that a backfill would write, and that is not online, is skew', async () => {
  const lines = [line(10), line(1, NOON + FUTURE_TOLERANCE_MS), line(11)];
  expect(await check(lines)).toMatchObject({ report: { sampled: 2, missing: 2, skew: 1 }, skew: 100 });
});
