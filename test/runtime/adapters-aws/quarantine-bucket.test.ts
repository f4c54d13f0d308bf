import { MemoryBucket } from './s3-memory.fixture';
import { QuarantineBucket } from '../../../runtime/adapters/aws/quarantine-bucket';
import type { FeatureGroupSchema, QuarantinedRow } from '../../../src/contract';

const GROUP = { name: 'account', version: 2 } as FeatureGroupSchema;
const ROW = { group: 'account', version: 2, reason: 'UNREADABLE', text: 'x', source: 's', row: 1, time: '2026-01-02T03:04:05.000Z', record: '{' } as QuarantinedRow;

test('refused rows are lines of JSON in the folder of their group, under the name that they are given', async () => {
  const s3 = new MemoryBucket();
  await new QuarantineBucket(s3.client, 'bucket').keep(GROUP, 'backfill/run/part-0', [ROW, ROW]);
  expect(s3.text('quarantine/account/v2/backfill/run/part-0.jsonl')).toBe(`${JSON.stringify(ROW)}\n`.repeat(2));
});

test('without a name they are kept by the day, and no call takes the place of another', async () => {
  const s3 = new MemoryBucket();
  const quarantine = new QuarantineBucket(s3.client, 'bucket');
  for (const rows of [[ROW], [ROW]]) await quarantine.put(GROUP, rows);
  const keys = [...s3.objects.keys()];
  expect(keys).toHaveLength(2);
  for (const key of keys) expect(key).toMatch(/^quarantine\/account\/v2\/2026-01-02\/[0-9a-f-]{36}\.jsonl$/);
});
