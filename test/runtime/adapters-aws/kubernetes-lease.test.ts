import { LEASE_PATH as PATH, LeaseServer } from './lease-server.fixture';
import { KubernetesLease } from '../../../runtime/adapters/aws/kubernetes-lease';
import type { Logger } from '../../../runtime/core/ports';

const LOGGER: Logger = { info: () => undefined, warn: () => undefined, error: () => undefined };
let server: LeaseServer;
const opened: KubernetesLease[] = [];

function lease(identity: string, clock = { now: () => Date.now() }) {
  let acquired: () => void;
  let lost: () => void;
  const whenAcquired = new Promise<void>((resolve) => (acquired = resolve));
  const whenLost = new Promise<void>((resolve) => (lost = resolve));
  const made = new KubernetesLease({
    api: server.api, namespace: 'thalos-runtime', name: 'triton-stable-restart', identity, clock, logger: LOGGER, seconds: 2, onAcquired: () => acquired(), onLost: () => lost(),
  });
  opened.push(made);
  return { lease: made, whenAcquired, whenLost };
}

jest.setTimeout(60_000);

beforeEach(async () => {
  server = await LeaseServer.start();
});
afterEach(async () => {
  for (const each of opened.splice(0)) {
    each.release();
    await each.settled();
  }
  await server.stop();
});

test('one that nobody holds is acquired with one read and one write, and given back', async () => {
  const { lease: one, whenAcquired } = lease('pod-1');
  one.acquire();
  await whenAcquired;
  expect(server.requests.slice(0, 2)).toEqual([`GET ${PATH}`, `PUT ${PATH}`]);
  expect(server.spec).toMatchObject({ holderIdentity: 'pod-1', leaseTransitions: 1 });
  one.release();
  await one.settled();
  expect(server.spec.holderIdentity).toBeNull();
});

test('of two pods one holds it at a time: the other gets it when it is given back', async () => {
  const first = lease('pod-1');
  const second = lease('pod-2');
  first.lease.acquire();
  await first.whenAcquired;
  second.lease.acquire();
  const seen = server.requests.length;
  while (server.requests.length < seen + 6) await new Promise((resolve) => setImmediate(resolve));
  expect(server.spec.holderIdentity).toBe('pod-1');
  first.lease.release();
  await second.whenAcquired;
  expect(server.spec).toMatchObject({ holderIdentity: 'pod-2', leaseTransitions: 2 });
});

test('that of a pod which is gone is taken over after it was seen unchanged for as long as it lasts', async () => {
  server.spec = { holderIdentity: 'gone', leaseDurationSeconds: 3600 };
  let now = 1_000_000;
  const { lease: one, whenAcquired } = lease('pod-1', { now: () => now });
  one.acquire();
  while (server.requests.length < 3) await new Promise((resolve) => setImmediate(resolve));
  expect(server.spec.holderIdentity).toBe('gone');
  now += 3600_000;
  await whenAcquired;
  expect(server.spec.holderIdentity).toBe('pod-1');
});

test('a process that comes back under its name has it still', async () => {
  server.spec = { holderIdentity: 'pod-1', leaseDurationSeconds: 3600, leaseTransitions: 7 };
  const { lease: one, whenAcquired } = lease('pod-1');
  one.acquire();
  await whenAcquired;
  expect(server.spec).toMatchObject({ holderIdentity: 'pod-1', leaseTransitions: 7 });
});

test('one that cannot be renewed is lost, before another pod may take it', async () => {
  const { lease: one, whenAcquired, whenLost } = lease('pod-1');
  one.acquire();
  await whenAcquired;
  server.away = true;
  await whenLost;
});

test('one that is taken away is lost', async () => {
  const { lease: one, whenAcquired, whenLost } = lease('pod-1');
  one.acquire();
  await whenAcquired;
  server.version++;
  server.spec = { holderIdentity: 'pod-9', leaseDurationSeconds: 3600 };
  await whenLost;
});
