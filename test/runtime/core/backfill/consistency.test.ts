/** What the consistency check says of a sample. */
import { array, assert, constantFrom, integer, option, property, record } from 'fast-check';
import { report } from '../../../../runtime/core/backfill/consistency';
import { replaces, rowDigest } from '../../../../runtime/core/feature-row';
import type { FeatureRow, FeatureWrite } from '../../../../runtime/core/ports';
import type { FeatureGroupSchema } from '../../../../src/contract';

const GROUP: FeatureGroupSchema = {
  name: 'account',
  version: 1,
  owner: 'risk',
  ttl: 60,
  entityKeys: [{ name: 'id', dtype: 'string' }],
  features: [{ name: 'x', dtype: 'float32', required: false, piiClass: 'none' }],
};
const NOW = Date.UTC(2026, 0, 1);
const row = (eventTime: number, createdTime: number, x: number | null): FeatureWrite => (
  { group: GROUP, entity: ['a'], eventTime, createdTime, values: { x } });

test.each<[string, FeatureRow | undefined, string]>([
  ['the same', row(NOW, NOW, 0.1), 'same'],
  ['the same in single precision', row(NOW, NOW, Math.fround(0.1)), 'same'],
  ['a later event', row(NOW + 1, NOW, 7), 'ahead'],
  ['a correction of the same event', row(NOW, NOW + 1, 7), 'ahead'],
  ['an earlier event', row(NOW - 1, NOW, 0.1), 'behind'],
  ['nothing', undefined, 'missing'],
])('online says %s', (_, online, verdict) => {
  const found = report(GROUP, [row(NOW, NOW, 0.1)], [online], NOW);
  expect(found).toMatchObject({ sampled: 1, [verdict]: 1, skew: verdict === 'behind' || verdict === 'missing' ? 1 : 0 });
});

test.each([['behind', NOW - 1], ['ahead', NOW + 1]])('online is %s, and has a feature that the group does not have any more', (verdict, eventTime) => {
  const online = { ...row(eventTime, NOW, 1), values: { x: 1, gone: true } };
  expect(report(GROUP, [row(NOW, NOW, 0.1)], [online], NOW)).toMatchObject({ sampled: 1, [verdict]: 1 });
});

test('what has expired meanwhile does not count', () => {
  expect(report(GROUP, [row(NOW - 60_001, NOW, 1), row(NOW - 60_000, NOW, 1)], [], NOW)).toMatchObject({ sampled: 1, missing: 1 });
});

test('each entity counts once, and skew is zero exactly where online wins or agrees everywhere', () => {
  const any = record({ event: integer({ min: 0, max: 2 }), created: integer({ min: 0, max: 2 }), x: constantFrom(null, 0, 1) });
  const rank = ({ eventTime, createdTime, values }: FeatureRow) => ({ eventTime, createdTime, digest: rowDigest(GROUP, values) });
  assert(property(array(record({ offline: any, online: option(any, { nil: undefined }) })), (pairs) => {
    const offline = pairs.map(({ offline: { event, created, x } }) => row(NOW + event, NOW + created, x));
    const online = pairs.map((pair) => pair.online && row(NOW + pair.online.event, NOW + pair.online.created, pair.online.x));
    const { sampled, same, ahead, missing, behind, skew } = report(GROUP, offline, online, NOW);
    expect(same + ahead + missing + behind).toBe(sampled);
    expect(sampled).toBe(pairs.length);
    const wrong = offline.filter((each, at) => replaces(rank(each), online[at] && rank(online[at]))).length;
    expect(missing + behind).toBe(wrong);
    expect(skew).toBe(sampled === 0 ? 0 : wrong / sampled);
  }), { seed: 20_260_101 });
});
