import { approvedVersion, approvedVersions, parseRollout, stableVersion } from '../../../runtime/core/rollout';
import { EMPTY_ROLLOUT_DOCUMENT } from '../../../src/contract';

const digest = (n: number) => `sha256:${String(n).repeat(64)}`;
const DOCUMENT = { schemaVersion: '1', models: { eta: { stable: '2', versions: { 10: { digest: digest(1) }, 2: { digest: digest(2) } } } } } as const;

describe('the rollout document', () => {
  test('the seed is valid and releases nothing', () => {
    expect(stableVersion(parseRollout(JSON.stringify(EMPTY_ROLLOUT_DOCUMENT)), 'eta')).toBeUndefined();
  });

  test('approves what stands under versions, in ascending order', () => {
    const document = parseRollout(JSON.stringify(DOCUMENT));
    expect(approvedVersions(document, 'eta').map(({ version }) => version)).toEqual(['2', '10']);
    expect(stableVersion(document, 'eta')).toEqual({ model: 'eta', version: '2', digest: digest(2) });
    expect(approvedVersion(document, 'eta', '10')).toEqual({ model: 'eta', version: '10', digest: digest(1) });
  });

  test.each(['3', '02', '', '__proto__', 'constructor', '../2'])('does not approve version %p', (version) => {
    expect(() => approvedVersion(parseRollout(JSON.stringify(DOCUMENT)), 'eta', version)).toThrow(expect.objectContaining({ code: 'UNKNOWN_VERSION' }));
  });

  test('a model without a release is not ready, whatever its name', () => {
    for (const model of ['surge', '__proto__', 'constructor']) {
      expect(() => approvedVersion(parseRollout(JSON.stringify(DOCUMENT)), model, '1')).toThrow(expect.objectContaining({ code: 'MODEL_NOT_READY' }));
      expect(stableVersion(parseRollout(JSON.stringify(DOCUMENT)), model)).toBeUndefined();
    }
    expect(() => approvedVersion(undefined, 'eta', '2')).toThrow(expect.objectContaining({ code: 'MODEL_NOT_READY' }));
  });

  test.each([
    ['no JSON', '{"schemaVersion"'],
    ['another schema version', JSON.stringify({ ...DOCUMENT, schemaVersion: '2' })],
    ['a stable version that is not approved', JSON.stringify({ ...DOCUMENT, models: { eta: { ...DOCUMENT.models.eta, stable: '3' } } })],
    ['a candidate that is not approved', JSON.stringify({ ...DOCUMENT, models: { eta: { ...DOCUMENT.models.eta, candidate: { version: '3', weight: 5, mode: 'canary' } } } })],
    ['a version without a digest', JSON.stringify({ ...DOCUMENT, models: { eta: { stable: '2', versions: { 2: {} } } } })],
    ['a weight beyond 100', JSON.stringify({ ...DOCUMENT, models: { eta: { ...DOCUMENT.models.eta, candidate: { version: '10', weight: 101, mode: 'canary' } } } })],
  ])('is refused with %s', (_, text) => {
    expect(() => parseRollout(text)).toThrow(expect.objectContaining({ code: 'INVALID_ROLLOUT' }));
  });
});
