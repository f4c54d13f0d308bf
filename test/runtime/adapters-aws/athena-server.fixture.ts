/** Athena and S3 as far as training sets ask for them, spoken to by the real SDK: statements are answered by a script, objects are kept in memory. */
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface Scripted {
  readonly columns?: readonly string[];
  readonly rows?: readonly (readonly (string | null)[])[];
  readonly failed?: string;
  /** Never ends by itself. */
  readonly hangs?: boolean;
}

async function bodyOf(request: IncomingMessage): Promise<Buffer> {
  const pieces: Buffer[] = [];
  for await (const piece of request) pieces.push(piece as Buffer);
  return Buffer.concat(pieces);
}

async function listening(server: Server): Promise<string> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** One page holds two rows, so that every longer answer has pages. */
const PAGE = 2;

export class AthenaServer {
  static async start(script: (sql: string) => Scripted): Promise<AthenaServer> {
    const athena = new AthenaServer(script);
    athena.endpoint = await listening(athena.server);
    return athena;
  }

  endpoint = '';
  readonly statements: string[] = [];
  readonly stopped: string[] = [];
  readonly workGroups = new Set<string>();
  private readonly looks = new Map<string, number>();
  private readonly server: Server;

  private constructor(private readonly script: (sql: string) => Scripted) {
    this.server = createServer((request, response) => void (async () => {
      const json = (status: number, answer: object) => response.writeHead(status, { 'content-type': 'application/x-amz-json-1.1' }).end(JSON.stringify(answer));
      try {
        const body = JSON.parse((await bodyOf(request)).toString()) as Record<string, never>;
        json(200, this.answer(String(request.headers['x-amz-target']).split('.')[1], body));
      } catch (error) {
        json(400, { __type: 'InvalidRequestException', message: (error as Error).message });
      }
    })());
  }

  async close(): Promise<void> {
    this.server.closeAllConnections();
    this.server.close();
    await once(this.server, 'close');
  }

  private answer(operation: string, body: Record<string, string>): object {
    const { QueryExecutionId: id } = body;
    switch (operation) {
      case 'StartQueryExecution':
        this.workGroups.add(body.WorkGroup);
        return { QueryExecutionId: String(this.statements.push(body.QueryString) - 1) };
      case 'GetQueryExecution': {
        const { failed, hangs } = this.script(this.statements[Number(id)]);
        const look = (this.looks.get(id) ?? 0) + 1;
        this.looks.set(id, look);
        const state = look === 1 ? 'QUEUED' : look === 2 || hangs ? 'RUNNING' : failed === undefined ? 'SUCCEEDED' : 'FAILED';
        return { QueryExecution: { QueryExecutionId: id, Status: { State: state, ...state === 'FAILED' ? { StateChangeReason: failed } : {} } } };
      }
      case 'StopQueryExecution':
        this.stopped.push(id);
        return {};
      case 'GetQueryResults': {
        const { columns = [], rows = [] } = this.script(this.statements[Number(id)]);
        const all = columns.length > 0 ? [columns, ...rows] : [];
        const from = Number(body.NextToken ?? 0);
        return {
          ResultSet: {
            ResultSetMetadata: { ColumnInfo: columns.map((Name) => ({ Name, Type: 'varchar' })) },
            Rows: all.slice(from, from + PAGE).map((row) => ({ Data: row.map((value) => (value === null ? {} : { VarCharValue: value })) })),
          },
          ...from + PAGE < all.length ? { NextToken: String(from + PAGE) } : {},
        };
      }
      default: throw new Error(`nobody asked for ${operation} yet`);
    }
  }
}

export class S3Server {
  static async start(): Promise<S3Server> {
    const s3 = new S3Server();
    s3.endpoint = await listening(s3.server);
    return s3;
  }

  endpoint = '';
  /** By key. */
  readonly objects = new Map<string, Buffer>();
  /** Whether anybody may delete. */
  deletes = true;
  private readonly server: Server;

  private constructor() {
    this.server = createServer((request, response) => void (async () => {
      const url = new URL(request.url!, 'http://s3');
      const [, , ...path] = url.pathname.split('/');
      const key = decodeURIComponent(path.join('/'));
      const body = await bodyOf(request);
      const xml = (status: number, text: string) => response.writeHead(status, { 'content-type': 'application/xml' }).end(`<?xml version="1.0" encoding="UTF-8"?>${text}`);
      if (request.method === 'PUT') {
        if (request.headers['if-none-match'] === '*' && this.objects.has(key)) return xml(412, '<Error><Code>PreconditionFailed</Code></Error>');
        this.objects.set(key, body);
        return response.writeHead(200).end();
      }
      if (request.method === 'DELETE') {
        if (!this.deletes) return xml(403, '<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>');
        this.objects.delete(key);
        return response.writeHead(204).end();
      }
      if (key === '') {
        const found = [...this.objects].filter(([name]) => name.startsWith(url.searchParams.get('prefix') ?? '')).sort(([a], [b]) => (a < b ? -1 : 1));
        const after = url.searchParams.get('continuation-token') ?? '';
        const [next, ...rest] = found.filter(([name]) => name > after);
        const contents = next ? `<Contents><Key>${next[0]}</Key><Size>${next[1].length}</Size><ETag>"${createHash('md5').update(next[1]).digest('hex')}"</ETag></Contents>` : '';
        const more = rest.length > 0 ? `<IsTruncated>true</IsTruncated><NextContinuationToken>${next[0]}</NextContinuationToken>` : '<IsTruncated>false</IsTruncated>';
        return xml(200, `<ListBucketResult>${contents}${more}</ListBucketResult>`);
      }
      const object = this.objects.get(key);
      return object ? response.writeHead(200, { 'content-length': object.length }).end(object) : xml(404, '<Error><Code>NoSuchKey</Code></Error>');
    })());
  }

  async close(): Promise<void> {
    this.server.closeAllConnections();
    this.server.close();
    await once(this.server, 'close');
  }
}
