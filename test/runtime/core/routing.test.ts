import fc from 'fast-check';
import { assign, bucketOf, type Route, routingTable, type StickyValues } from '../../../runtime/core/routing';
import type { Candidate, RolloutDocument } from '../../../src/contract';

const digest = `sha256:${'0'.repeat(64)}`;

const documentWith = (candidate?: Candidate): RolloutDocument => ({
  schemaVersion: '1',
  models: { eta: { stable: '1', candidate, versions: { 1: { digest }, 2: { digest }, 10: { digest } } } },
});

const values = (overrides: Partial<StickyValues> = {}): StickyValues => ({
  subject: undefined, tenant: undefined, requestId: 'r-1', input: () => undefined, parameter: () => undefined, header: () => undefined, ...overrides,
});

const routeOf = (candidate: Candidate | undefined, given: StickyValues): Route => assign('eta', routingTable(documentWith(candidate)).get('eta')!, given);
const shareOf = (candidate: Candidate, keys: number, valuesOf: (key: string) => StickyValues) => {
  let hits = 0;
  for (let key = 0; key < keys; key++) if (routeOf(candidate, valuesOf(`caller-${key}`)).arm === 'candidate') hits++;
  return hits / keys;
};

describe('the routing table', () => {
  test('lists every approved version in ascending order, and nothing else', () => {
    const routes = routingTable(documentWith()).get('eta')!;
    expect(routes.versions.map(({ version }) => version)).toEqual(['1', '2', '10']);
    expect(routes.stable.version).toBe('1');
  });
});

describe.each(['canary', 'ab'] as const)('a candidate in mode %s', (mode) => {
  test('gets the share of keys that its weight says, within three standard deviations', () => {
    fc.assert(fc.property(fc.integer({ min: 0, max: 100 }), fc.integer({ min: 1, max: 999_999_999 }), (weight, release) => {
      const keys = 2000;
      const deviation = Math.sqrt(weight / 100 * (1 - weight / 100) / keys);
      // of 50 runs about one in seven would leave three deviations by chance; four leave one run in 300
      const share = [...Array(keys).keys()].filter((key) => bucketOf('eta', String(release), `caller-${key}`) < weight).length / keys;
      expect(Math.abs(share - weight / 100)).toBeLessThanOrEqual(4 * deviation);
    }), { numRuns: 50, seed: 4 });
  });

  test('keeps everybody who was on it while its weight only rises', () => {
    fc.assert(fc.property(fc.string(), fc.tuple(fc.integer({ min: 0, max: 100 }), fc.integer({ min: 0, max: 100 })), (subject, weights) => {
      const [less, more] = weights.sort((a, b) => a - b);
      const arm = (weight: number) => routeOf({ version: '2', weight, mode }, values({ subject })).arm;
      return arm(less) !== 'candidate' || arm(more) === 'candidate';
    }));
  });

  test('is given to nobody at 0 and to everybody at 100', () => {
    fc.assert(fc.property(fc.string(), (subject) => {
      expect(routeOf({ version: '2', weight: 0, mode }, values({ subject })).arm).toBe('stable');
      expect(routeOf({ version: '2', weight: 100, mode }, values({ subject })).version.version).toBe('2');
    }));
  });

  test('sees the same caller on every request', () => {
    fc.assert(fc.property(fc.string(), fc.string(), fc.string(), (subject, first, second) => {
      const arm = (requestId: string) => routeOf({ version: '2', weight: 50, mode }, values({ subject, requestId })).arm;
      expect(arm(first)).toBe(arm(second));
    }));
  });

  test.each<[string, (key: string) => Partial<StickyValues>]>([
    ['subject', (key) => ({ subject: key })],
    ['tenant', (key) => ({ tenant: key, subject: 'everybody' })],
    ['input:user', (key) => ({ input: (name) => (name === 'user' ? key : undefined) })],
    ['parameter:session', (key) => ({ parameter: (name) => (name === 'session' ? key : undefined) })],
    ['header:X-Device', (key) => ({ header: (name) => (name === 'x-device' ? key : undefined) })],
  ])('hashes %s', (stickyKey, given) => {
    const share = shareOf({ version: '2', weight: 30, mode, stickyKey }, 2000, (key) => values({ requestId: 'the same', ...given(key) }));
    expect(share).toBeGreaterThan(0.25);
    expect(share).toBeLessThan(0.35);
  });

  test('falls back to the subject, then to the request, where the key is not there', () => {
    const bySubject = shareOf({ version: '2', weight: 30, mode, stickyKey: 'input:user' }, 1000, (key) => values({ subject: key }));
    const byRequest = shareOf({ version: '2', weight: 30, mode, stickyKey: 'input:user' }, 1000, (key) => values({ requestId: key }));
    for (const share of [bySubject, byRequest]) expect(Math.abs(share - 0.3)).toBeLessThan(0.06);
  });
});

test('the same callers are not the first of every candidate', () => {
  const first = (version: string) => new Set([...Array(1000).keys()].filter((key) => bucketOf('eta', version, `caller-${key}`) < 10));
  const both = [...first('2')].filter((key) => first('10').has(key)).length;
  expect(both).toBeLessThan(40);
});

describe('a shadow', () => {
  test('never answers, and is mirrored its share of the requests', () => {
    const candidate: Candidate = { version: '2', weight: 25, mode: 'shadow' };
    const routes = [...Array(2000).keys()].map((key) => routeOf(candidate, values({ subject: 'one', requestId: `r-${key}` })));
    expect(new Set(routes.map(({ version, arm }) => `${version.version} ${arm}`))).toEqual(new Set(['1 stable']));
    const share = routes.filter(({ shadow }) => shadow?.version === '2').length / routes.length;
    expect(Math.abs(share - 0.25)).toBeLessThan(0.05);
  });
});

describe('blue/green', () => {
  test('is nobody or everybody', () => {
    fc.assert(fc.property(fc.string(), (subject) => {
      expect(routeOf({ version: '2', weight: 0, mode: 'blueGreen' }, values({ subject })).version.version).toBe('1');
      expect(routeOf({ version: '2', weight: 100, mode: 'blueGreen' }, values({ subject })).version.version).toBe('2');
    }));
  });
});
