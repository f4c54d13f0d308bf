import { approvedVersions, parseRollout } from '../../../runtime/core/rollout';
import { requireApproved, routingTable } from '../../../runtime/core/routing';
import { EMPTY_ROLLOUT_DOCUMENT } from '../../../src/contract';

const digest = (n: number) => `sha256:${String(n).repeat(64)}`;
const DOCUMENT = { schemaVersion: '1', models: { eta: { stable: '2', versions: { 10: { digest: digest(1) }, 2: { digest: digest(2) } } } } } as const;

describe('the rollout document', () => {
  test('the seed is valid and releases nothing', () => {
    expect(routingTable(parseRollout(JSON.stringify(EMPTY_ROLLOUT_DOCUMENT))).size).toBe(0);
  });

  test('approves what stands under versions, in ascending order', () => {
    const document = parseRollout(JSON.stringify(DOCUMENT));
    expect(approvedVersions(document, 'eta').map(({ version }) => version)).toEqual(['2', '10']);
    const routes = routingTable(document).get('eta')!;
    expect(routes.stable).toEqual({ model: 'eta', version: '2', digest: digest(2) });
    expect(requireApproved('eta', routes, '10')).toEqual({ model: 'eta', version: '10', digest: digest(1) });
  });

  test.each(['3', '02', '', '__proto__', 'constructor', '../2'])('does not approve version %p', (version) => {
    expect(() => requireApproved('eta', routingTable(parseRollout(JSON.stringify(DOCUMENT))).get('eta')!, version)).toThrow(expect.objectContaining({ code: 'UNKNOWN_VERSION' }));
  });

  test.each(['surge', '__proto__', 'constructor'])('has no routes for a model without a release, whatever its name: %s', (model) => {
    expect(routingTable(parseRollout(JSON.stringify(DOCUMENT))).get(model)).toBeUndefined();
    expect(approvedVersions(parseRollout(JSON.stringify(DOCUMENT)), model)).toEqual([]);
  });

  test.each([
    ['no JSON', '{"schemaVersion"'],
    ['another schema version', JSON.stringify({ ...DOCUMENT, schemaVersion: '2' })],
    ['a stable version that is not approved', JSON.stringify({ ...DOCUMENT, models: { eta: { ...DOCUMENT.models.eta, stable: '3' } } })],
    ['a candidate that is not approved', JSON.stringify({ ...DOCUMENT, models: { eta: { ...DOCUMENT.models.eta, candidate: { version: '3', weight: 5, mode: 'canary' } } } })],
    ['a version without a digest', JSON.stringify({ ...DOCUMENT, models: { eta: { stable: '2', versions: { 2: {} } } } })],
    ['a weight beyond 100', JSON.stringify({ ...DOCUMENT, models: { eta: { ...DOCUMENT.models.eta, candidate: { version: '10', weight: 101, mode: 'canary' } } } })],
    ['a blue/green switch that is neither off nor on', JSON.stringify({ ...DOCUMENT, models: { eta: { ...DOCUMENT.models.eta, candidate: { version: '10', weight: 50, mode: 'blueGreen' } } } })],
    ['a sticky key from nowhere', JSON.stringify({ ...DOCUMENT, models: { eta: { ...DOCUMENT.models.eta, candidate: { version: '10', weight: 5, mode: 'ab', stickyKey: 'cookie:x' } } } })],
  ])('is refused with %s', (_, text) => {
    expect(() => parseRollout(text)).toThrow(expect.objectContaining({ code: 'INVALID_ROLLOUT' }));
  });
});
