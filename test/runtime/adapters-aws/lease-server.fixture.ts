/** As much of a Kubernetes API server as one Lease needs: TLS, a bearer token, optimistic concurrency by resource version. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { issue, makeAuthority } from '../../support/certificates';

export const LEASE_PATH = '/apis/coordination.k8s.io/v1/namespaces/thalos-runtime/leases/triton-stable-restart';

export interface LeaseSpec {
  holderIdentity?: string | null;
  leaseDurationSeconds?: number;
  leaseTransitions?: number;
}

/** One Lease behind an API server's door: writes need the version that was read last. */
export class LeaseServer {
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
  spec: LeaseSpec = {};
  away = false;
  readonly requests: string[] = [];
  /** Who held it, one after the other. */
  readonly holders: string[] = [];

  private constructor(private readonly server: Server, private readonly folder: string) {
    server.on('request', (request, response) => {
      let text = '';
      request.on('data', (piece: Buffer) => (text += piece.toString()));
      request.on('end', () => {
        this.requests.push(`${request.method} ${request.url}`);
        const answer = (status: number, body: object) => void response.writeHead(status).end(JSON.stringify(body));
        if (this.away || request.headers.authorization !== 'Bearer a-token' || request.url !== LEASE_PATH) return answer(this.away ? 503 : 403, {});
        if (request.method === 'PUT') {
          const { metadata, spec } = JSON.parse(text);
          if (metadata.resourceVersion !== String(this.version)) return answer(409, {});
          this.version++;
          this.spec = spec;
          if (spec.holderIdentity && spec.holderIdentity !== this.holders.at(-1)) this.holders.push(spec.holderIdentity);
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
