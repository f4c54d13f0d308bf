/**
 * A proxy before the real server that answers for the plugins that it has not: Index State Management and Snapshot Management, and, where the server
 * runs without it, the security plugin. It keeps documents with versions, refuses what the schemas do not know, and forwards everything else.
 */
import { once } from 'node:events';
import { createServer, type IncomingMessage, request, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import Ajv, { type ValidateFunction } from 'ajv';
import { INDEX_POLICY_SCHEMA, SNAPSHOT_POLICY_SCHEMA } from './management-schema';

interface Kept {
  readonly body: object;
  readonly version: number;
}

const ajv = new Ajv({ strict: false });
const SCHEMAS: readonly (readonly [prefix: string, valid: ValidateFunction])[] = [
  ['/_plugins/_ism/policies/', ajv.compile(INDEX_POLICY_SCHEMA)],
  ['/_plugins/_sm/policies/', ajv.compile(SNAPSHOT_POLICY_SCHEMA)],
];
const SECURITY = '/_plugins/_security/api/';

export interface ManagementOptions {
  /** Whether it answers for the security plugin too. */
  readonly security: boolean;
  /** Added to what it forwards. @default - none */
  readonly headers?: Readonly<Record<string, string>>;
}

export class ManagementProxy {
  static async start(targetPort: number, options: ManagementOptions): Promise<ManagementProxy> {
    const proxy = new ManagementProxy(targetPort, options);
    proxy.server.listen(0, '127.0.0.1');
    await once(proxy.server, 'listening');
    return proxy;
  }

  /** Method and path of every request. */
  readonly requests: string[] = [];
  private readonly kept = new Map<string, Kept>();
  private readonly server: Server;

  private constructor(private readonly targetPort: number, private readonly options: ManagementOptions) {
    this.server = createServer((incoming, response) => void this.serve(incoming, response));
  }

  get port(): number {
    return (this.server.address() as AddressInfo).port;
  }

  /** What was put at a path; undefined where there is nothing. */
  at(path: string): any {
    return this.kept.get(path)?.body;
  }

  async close(): Promise<void> {
    const closed = once(this.server, 'close');
    this.server.close();
    this.server.closeAllConnections();
    await closed;
  }

  private async serve(incoming: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(incoming.url!, 'http://localhost');
    this.requests.push(`${incoming.method} ${url.pathname}`);
    const [prefix, valid] = SCHEMAS.find(([own]) => url.pathname.startsWith(own)) ?? [];
    if (prefix !== undefined || (this.options.security && url.pathname.startsWith(SECURITY))) {
      const text = (await incoming.toArray()).join('');
      const { status, body } = this.answer(incoming.method!, url, text === '' ? undefined : JSON.parse(text), valid);
      response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
      return;
    }
    const { method, url: path, headers } = incoming;
    const outgoing = request({ host: '127.0.0.1', port: this.targetPort, method, path, headers: { ...headers, ...this.options.headers } }, (reply) => {
      response.writeHead(reply.statusCode!, reply.headers);
      reply.pipe(response);
    });
    outgoing.on('error', () => response.destroy());
    incoming.pipe(outgoing);
  }

  private answer(method: string, url: URL, body: object | undefined, valid?: ValidateFunction): { status: number; body: object } {
    const path = url.pathname;
    const found = this.kept.get(path);
    const refused = (status: number, type: string, reason: string) => ({ status, body: { error: { type, reason }, status } });
    if (method === 'GET' || method === 'DELETE') {
      if (!found) return refused(404, 'status_exception', `${path} not found`);
      if (method === 'DELETE') this.kept.delete(path);
      // security answers by name, and its documents have no version
      return { status: 200, body: path.startsWith(SECURITY) ? { [path.split('/').at(-1)!]: found.body } : { _seq_no: found.version, _primary_term: 1, ...found.body } };
    }
    if (valid && !valid(body)) return refused(400, 'illegal_argument_exception', ajv.errorsText(valid.errors));
    const asked = url.searchParams.get('if_seq_no');
    if (valid && (found ? asked !== String(found.version) : asked !== null)) return refused(409, 'version_conflict_engine_exception', 'version conflict');
    this.kept.set(path, { body: body!, version: (found?.version ?? -1) + 1 });
    return { status: found ? 200 : 201, body: { _seq_no: found?.version ?? 0 } };
  }
}
