import { S3Client } from '@aws-sdk/client-s3';
import { Peer, toPeer } from './peer.fixture';
import { S3Statistics } from '../../../runtime/adapters/aws/s3-statistics';
import type { StatisticsWindow } from '../../../runtime/telemetry/statistics';

const WINDOW: StatisticsWindow = {
  schemaVersion: '1',
  brain: 'rides',
  environment: 'dev',
  instance: 'pod-1',
  model: 'eta',
  version: '3',
  from: '2026-01-01T12:00:00.000Z',
  to: '2026-01-01T12:05:00.000Z',
  share: 0.05,
  requests: 12,
  distributions: [],
};

test('statistics in S3 are one object for each window, by model, version and day', async () => {
  const bucket = await Peer.start(() => ({}));
  const client = new S3Client({ ...toPeer(bucket), forcePathStyle: true });
  await new S3Statistics(client, 'artifacts').write([WINDOW]);
  expect(bucket.requests.map(({ method, path }) => [method, path.split('?')[0]]))
    .toEqual([['PUT', '/artifacts/statistics/eta/3/2026-01-01/2026-01-01T120500.000Z-pod-1.json']]);
  expect(bucket.requests[0].body.toString()).toContain(JSON.stringify(WINDOW));
  client.destroy();
  await bucket.stop();
});

test('statistics that S3 refuses are the caller\'s to count', async () => {
  const bucket = await Peer.start(() => ({ status: 403 }));
  const client = new S3Client({ ...toPeer(bucket), forcePathStyle: true });
  await expect(new S3Statistics(client, 'artifacts').write([WINDOW])).rejects.toThrow();
  client.destroy();
  await bucket.stop();
});
