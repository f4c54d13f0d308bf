/** As much of a Kubernetes API server as a list and a watch need: TLS, bearer tokens, resource versions, bookmarks, 410 Gone. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { generate } from 'selfsigned';
import type { EndpointSlice } from '../../../runtime/adapters/aws/endpoint-slices';
import type { KubernetesApi } from '../../../runtime/adapters/aws/kubernetes-api';

export class FakeKubernetes {
  static async start(): Promise<FakeKubernetes> {
    const { cert, private: key } = await generate([{ name: 'commonName', value: 'kubernetes' }], {
      keyType: 'ec', algorithm: 'sha256', extensions: [{ name: 'subjectAltName', altNames: [{ type: 7, ip: '127.0.0.1' }] }],
    });
    const fake = new FakeKubernetes(createServer({ cert, key }), mkdtempSync(join(tmpdir(), 'kubernetes-')));
    writeFileSync(fake.api.authorityFile, cert);
    fake.rotate('token-1');
    await fake.listen();
    return fake;
  }

  /** Every request that was answered, as `<token> <path and query>`. */
  readonly requests: string[] = [];
  /** Statuses for the next requests, in place of the real answers. */
  readonly failures: number[] = [];
  version = 100;
  slices: EndpointSlice[] = [];
  private token = '';
  private port = 0;
  private watches = new Set<ServerResponse>();
  private readonly waiting: { readonly is: () => boolean; readonly resolve: () => void }[] = [];

  private constructor(private readonly server: Server, private readonly folder: string) {
    server.on('request', (request: IncomingMessage, response: ServerResponse) => this.answer(request, response));
  }

  get api(): KubernetesApi {
    return { host: '127.0.0.1', port: this.port, tokenFile: join(this.folder, 'token'), authorityFile: join(this.folder, 'ca.crt') };
  }

  get watching(): number {
    return this.watches.size;
  }

  /** From now on only this token is good, and the file holds it. */
  rotate(token: string): void {
    this.token = token;
    writeFileSync(join(this.folder, 'token'), `${token}\n`);
  }

  /** Sends an event to every watch. */
  send(type: string, object: object): void {
    for (const watch of this.watches) watch.write(`${JSON.stringify({ type, object })}\n`);
  }

  /** Ends every watch, as the API server does when their time is over. */
  endWatches(): void {
    for (const watch of this.watches) watch.end();
  }

  /** Settles as soon as `is` holds after a request. */
  until(is: () => boolean): Promise<void> {
    if (is()) return Promise.resolve();
    return new Promise((resolve) => this.waiting.push({ is, resolve }));
  }

  /** Refuses connections until `listen`. */
  async goAway(): Promise<void> {
    this.server.closeAllConnections();
    await new Promise((resolve) => this.server.close(resolve));
  }

  async listen(): Promise<void> {
    await new Promise<void>((resolve) => this.server.listen(this.port, '127.0.0.1', resolve));
    this.port = (this.server.address() as AddressInfo).port;
  }

  async stop(): Promise<void> {
    await this.goAway();
    rmSync(this.folder, { recursive: true, force: true });
  }

  private answer(request: IncomingMessage, response: ServerResponse): void {
    const token = request.headers.authorization?.replace('Bearer ', '');
    const { searchParams } = new URL(request.url!, 'https://kubernetes');
    this.requests.push(`${token} ${request.url}`);
    const failure = token === this.token ? this.failures.shift() : 401;
    if (failure !== undefined) {
      response.writeHead(failure).end('{}');
    } else if (searchParams.get('watch') === 'true') {
      response.writeHead(200, { 'content-type': 'application/json' });
      response.flushHeaders();
      this.watches.add(response);
      response.on('close', () => this.watches.delete(response));
    } else {
      response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify({ metadata: { resourceVersion: String(this.version) }, items: this.slices }));
    }
    for (const { is, resolve } of this.waiting) if (is()) resolve();
  }
}
