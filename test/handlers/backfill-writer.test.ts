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

interface Written {
  readonly kept: string[];
  readonly told: Record<string, unknown>;
  readonly metrics: readonly { readonly Dimensions: string[][]; readonly Metrics: readonly { readonly Name: string }[] }[];
}

afterEach(() => void jest.restoreAllMocks());

/** What the writer kept in the quarantine, told and counted of one object with a refused row, and too many without a value. */
async function written(dryRun: boolean): Promise<Written> {
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
  const told = lines.map((line) => JSON.parse(line));
  return { kept, told: Object.assign({}, ...told), metrics: told.flatMap(({ _aws }) => _aws.CloudWatchMetrics) };
}

const names = (metrics: Written['metrics']) => metrics.flatMap(({ Metrics }) => Metrics.map(({ Name }) => Name)).sort();

test('refused rows and null rates are counted where the group is watched', async () => {
  const { kept, told, metrics } = await written(false);
  expect(kept).toHaveLength(1);
  expect(kept[0]).toContain('OUT_OF_RANGE');
  expect(told).toMatchObject({
    Brain: 'bank',
    FeatureGroup: 'account',
    BackfillRows: 5,
    BackfillChanged: 4,
    BackfillRefused: 1,
    QuarantinedRows: 1,
    ExpectationsViolated: 1,
    violations: ["75 % of 4 rows have no 'balance', at most 50 % are expected"],
  });
  expect(names(metrics)).toEqual(['BackfillChanged', 'BackfillRefused', 'BackfillRows', 'ExpectationsViolated', 'QuarantinedRows']);
  for (const { Dimensions } of metrics) expect(Dimensions).toEqual([['Brain', 'FeatureGroup']]);
});

test('a dry run counts them, keeps nothing, and lets no alarm hear of it', async () => {
  const warn = jest.spyOn(console, 'warn').mockImplementation();
  const { kept, told, metrics } = await written(true);
  expect(kept).toEqual([]);
  expect(told).toMatchObject({ BackfillRows: 5, BackfillChanged: 0, BackfillRefused: 1 });
  expect(names(metrics)).toEqual(['BackfillChanged', 'BackfillRefused', 'BackfillRows']);
  expect(warn.mock.calls.map(([line]) => JSON.parse(line))).toEqual([
    { message: 'a backfill would violate expectations', group: 'account', violations: ["75 % of 4 rows have no 'balance', at most 50 % are expected"] },
  ]);
});
