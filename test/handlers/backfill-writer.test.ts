/** The writer of backfills counts as other writers of features do, so that the alarms of a group hear of it. */
import { gzipSync } from 'node:zlib';
import { DynamoDBClient } from '@aws-sdk/client-dynamodb';
import { S3Client } from '@aws-sdk/client-s3';
import { createWriter } from '../../runtime/handlers/backfill-writer.lambda';
import { EntityKey, Expectation, Feature, FeatureGroup } from '../../src/features';
import { Peer } from '../runtime/adapters-aws/peer.fixture';

const NOON = Date.UTC(2026, 0, 1, 12);
const GROUP = FeatureGroup.define('account', {
  owner: 'risk',
  entityKeys: [EntityKey.string('id')],
  features: [Feature.float64('balance', { expect: [Expectation.range({ max: 10 }), Expectation.nullRate(0.5)] })],
})._toSchema();

test.each([false, true])('refused rows and null rates are counted where the group is watched; dry run: %s', async (dryRun) => {
  const rows = [1, 11, null, null, null].map((balance, at) => JSON.stringify({ id: `a${at}`, balance, event_time: NOON, created_time: NOON })).join('\n');
  const object = gzipSync(rows);
  const kept: string[] = [];
  const aws = await Peer.start(({ method, path, headers, body }) => {
    if (String(headers['x-amz-target']).endsWith('BatchGetItem')) return { body: { Responses: {}, UnprocessedKeys: {} } };
    if (headers['x-amz-target']) return { body: {} };
    if (method === 'PUT') kept.push(`${path.split('?')[0]} ${body.toString()}`);
    return method === 'GET' ? { status: 206, headers: { 'content-range': `bytes 0-${object.length - 1}/${object.length}`, 'etag': '"1"' }, body: object } : {};
  });
  const common = { region: 'eu-central-1', endpoint: aws.url, credentials: { accessKeyId: 'a', secretAccessKey: 'b' } };
  const [dynamodb, s3] = [new DynamoDBClient(common), new S3Client({ ...common, forcePathStyle: true })];
  const lines: string[] = [];
  try {
    const write = createWriter(
      { brain: 'bank', table: 'features', controlTable: 'control', bucket: 'computed', quarantine: 'refused', writesPerSecond: 1000 },
      { dynamodb, s3, clock: { now: () => NOON }, print: (line) => lines.push(line) },
    );
    expect(await write({ group: GROUP, run: 'run', key: 'runs/run/0/part.gz', dryRun }, 300_000)).toMatchObject({ lines: 5, changed: 4, refused: 1, done: true });
  } finally {
    dynamodb.destroy();
    s3.destroy();
    await aws.stop();
  }
  expect(kept).toHaveLength(1);
  expect(kept[0]).toContain('OUT_OF_RANGE');
  const told = Object.assign({}, ...lines.map((line) => JSON.parse(line)));
  expect(told).toMatchObject({
    Brain: 'bank',
    FeatureGroup: 'account',
    BackfillRows: 5,
    BackfillChanged: dryRun ? 0 : 4,
    BackfillRefused: 1,
    QuarantinedRows: 1,
    ExpectationsViolated: 1,
    violations: ["75 % of 4 rows have no 'balance', at most 50 % are expected"],
  });
  const metrics = lines.flatMap((line) => JSON.parse(line)._aws.CloudWatchMetrics);
  expect(metrics.flatMap(({ Metrics }) => Metrics.map(({ Name }: { Name: string }) => Name))).toEqual(expect.arrayContaining(['QuarantinedRows', 'ExpectationsViolated']));
  for (const { Dimensions } of metrics) expect(Dimensions).toEqual([['Brain', 'FeatureGroup']]);
});
