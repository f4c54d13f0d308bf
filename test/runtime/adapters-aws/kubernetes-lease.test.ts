import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { KubernetesLease } from '../../../runtime/adapters/aws/kubernetes-lease';
import type { Logger } from '../../../runtime/core/ports';
import { issue, makeAuthority } from '../../support/certificates';

const LOGGER: Logger = { info: () => undefined, warn: () => undefined, error: () => undefined };
const PATH = '/apis/coordination.k8s.io/v1/namespaces/thalos-runtime/leases/triton-stable-restart';

interface Spec {
  holderIdentity?: string | null;
  leaseDurationSeconds?: number;
  leaseTransitions?: number;
}

/** One Lease behind an API server's door: writes need the version that was read last. */
class LeaseServer {
  static async start(): Promise<LeaseServer> {
    const authority = await makeAuthority();
    const { cert, key } = await issue(authority);
    const server = new LeaseServer(createServer({ cert, key }), mkdtempSync(join(tmpdir(), 'lease-')));
    writeFileSync(join(server.folder, 'ca.crt'), authority.cert);
    writeFileSync(join(server.folder, 'token'), 'a-token\n');
    await new Promise<void>((resolve) => server.server.listen(0, '127.0.0.1', resolve));
    return server;
  }

  version = 1;
  spec: Spec = {};
  away = false;
  readonly requests: string[] = [];

  private constructor(private readonly server: Server, private readonly folder: string) {
    server.on('request', (request, response) => {
      let text = '';
      request.on('data', (piece: Buffer) => (text += piece.toString()));
      request.on('end', () => {
        this.requests.push(`${request.method} ${request.url}`);
        const answer = (status: number, body: object) => void response.writeHead(status).end(JSON.stringify(body));
        if (this.away || request.headers.authorization !== 'Bearer a-token' || request.url !== PATH) return answer(this.away ? 503 : 403, {});
        if (request.method === 'PUT') {
          const { metadata, spec } = JSON.parse(text);
          if (metadata.resourceVersion !== String(this.version)) return answer(409, {});
          this.version++;
          this.spec = spec;
        }
        return answer(200, { metadata: { name: 'triton-stable-restart', resourceVersion: String(this.version) }, spec: this.spec });
      });
    });
  }

  get api() {
    return { host: '127.0.0.1', port: (this.server.address() as AddressInfo).port, tokenFile: join(this.folder, 'token'), authorityFile: join(this.folder, 'ca.crt') };
  }

  async stop(): Promise<void> {
    this.server.closeAllConnections();
    await new Promise((resolve) => this.server.close(resolve));
    rmSync(this.folder, { recursive: true });
  }
}

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
