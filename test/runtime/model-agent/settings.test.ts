import { readSettings } from '../../../runtime/model-agent/settings';

const ENV = { AGENT_POOL: 'stable', AGENT_DISK_BUDGET_BYTES: '1000' };

test('a version that was replaced stays for an hour unless something else is said; without a lease nothing is restarted', () => {
  expect(readSettings(ENV)).toEqual({ machine: expect.objectContaining({ pool: 'stable', diskBudget: 1000, rollbackMs: 3600_000 }) });
  expect(readSettings({ ...ENV, AGENT_ROLLBACK_WINDOW_SECONDS: '0' }).machine.rollbackMs).toBe(0);
});

test('a lease is held in the name of the pod', () => {
  expect(readSettings({ ...ENV, AGENT_LEASE: 'triton-stable-restart', POD_NAME: 'triton-stable-abc', POD_NAMESPACE: 'thalos-runtime' }).lease)
    .toEqual({ name: 'triton-stable-restart', namespace: 'thalos-runtime', identity: 'triton-stable-abc' });
});

test.each<[string, Record<string, string>, RegExp]>([
  ['no pool', { AGENT_POOL: '' }, /AGENT_POOL must be one of stable, candidate, got ''/],
  ['a pool that there is not', { AGENT_POOL: 'green' }, /got 'green'/],
  ['no disk budget', { AGENT_DISK_BUDGET_BYTES: '' }, /AGENT_DISK_BUDGET_BYTES must be an integer of at least 1, got ''/],
  ['half a byte', { AGENT_DISK_BUDGET_BYTES: '1.5' }, /got '1\.5'/],
  ['a window before now', { AGENT_ROLLBACK_WINDOW_SECONDS: '-1' }, /at least 0, got '-1'/],
  ['a lease for nobody', { AGENT_LEASE: 'triton-stable-restart' }, /POD_NAMESPACE must be set/],
])('fails on %s', (_what, changes, message) => {
  expect(() => readSettings({ ...ENV, ...changes })).toThrow(message);
});
