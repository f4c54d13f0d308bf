import type { Arm } from '../../../runtime/core/telemetry';
import { Traffic } from '../../../runtime/local/console/traffic';
import { MANIFEST, NOON, rolloutOf, withCandidate } from '../core/brain.fixture';

const MINUTE = 60_000;
const DOCUMENT = rolloutOf(MANIFEST, { ...MANIFEST, version: '2' });

function given() {
  const clock = { now: NOON };
  const traffic = new Traffic(['eta', 'surge'], () => clock.now);
  const serve = (version: string | undefined, durationMs = 10, arm: Arm = 'stable', model = 'eta') => (
    traffic.record({ model, version, arm: version === undefined ? undefined : arm, code: undefined, durationMs })
  );
  const split = () => traffic.report(1).splits[0].versions.map(({ version, count }) => [version, count]);
  return { clock, traffic, serve, split };
}

test('quantiles are those of the time that is asked for', () => {
  const { clock, traffic, serve } = given();
  for (let request = 0; request < 100; request++) serve('1', 100);
  clock.now += 3 * MINUTE;
  for (let request = 0; request < 100; request++) serve('1', request < 98 ? 1 : 1000);
  const [recent] = traffic.report(2).series;
  expect(recent.count).toBe(100);
  expect(recent.p50 / 1).toBeCloseTo(1, 0);
  expect(recent.p99).toBeGreaterThan(900);
  const [all] = traffic.report(5).series;
  expect(all.count).toBe(200);
  expect(all.p95).toBeGreaterThan(90);
  expect(all.p95).toBeLessThan(110);
  expect(all.points.map(({ count }) => count)).toEqual([100, 100]);
});

test('forgets what is older than its longest time', () => {
  const { clock, traffic, serve } = given();
  serve('1');
  clock.now += 16 * MINUTE;
  expect(traffic.report(15).series).toEqual([]);
  serve('1');
  clock.now += 1;
  expect(traffic.report(15).series[0].count).toBe(1);
});

test('the split is that of the last minute', () => {
  const { clock, serve, split } = given();
  serve('1');
  clock.now += 30_000;
  serve('2', 10, 'candidate');
  expect(split()).toEqual([['1', 1], ['2', 1]]);
  clock.now += 40_000;
  expect(split()).toEqual([['2', 1]]);
});

test('the split begins anew when the rollout of that model changes, and of no other', () => {
  const { clock, traffic, serve, split } = given();
  traffic.follow(DOCUMENT);
  serve('1');
  clock.now += 5000;
  traffic.follow({ ...DOCUMENT, models: { ...DOCUMENT.models, surge: DOCUMENT.models.eta } });
  expect(split()).toEqual([['1', 1]]);
  traffic.follow(withCandidate(DOCUMENT, 'eta', { version: '2', weight: 50, mode: 'canary' }));
  expect(split()).toEqual([]);
  expect(traffic.report(1).splits[0].since).toBe(NOON + 5000);
});

test('names that callers invent take no memory', () => {
  const { traffic, serve } = given();
  for (let name = 0; name < 1000; name++) serve('1', 10, 'stable', `model-${name}`);
  for (let version = 0; version < 1000; version++) serve(String(version));
  expect(traffic.report(1).series).toHaveLength(64);
});

test('versions are in the order of their numbers, and those without one last', () => {
  const { traffic, serve } = given();
  for (const version of ['10', undefined, '9']) serve(version);
  expect(traffic.report(1).series.map(({ version }) => version)).toEqual(['9', '10', 'none']);
});

test('what took longer than every bound has a bar of its own', () => {
  const { traffic, serve } = given();
  serve('1', 1e9);
  expect(traffic.report(1).series[0].histogram).toEqual([{ le: null, count: 1 }]);
});
