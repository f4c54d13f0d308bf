/** The part of Athena that the tables' handler calls, over HTTP on the loopback, with the tables that its DDL makes: the real SDK client talks to it. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface FakeTable {
  readonly columns: Map<string, string>;
  readonly parameters: Record<string, string>;
}

interface Execution {
  readonly id: string;
  readonly statement: string;
  looksLeft: number;
  status: { State: string; StateChangeReason?: string; AthenaError?: object };
}

/** How the next statement that matches ends, instead of being done; `after`: it is done all the same. */
interface Fault {
  readonly statement: RegExp;
  readonly reason: string;
  readonly error?: object;
  readonly state: string;
  readonly after: boolean;
}

export class AthenaServer {
  static async start(): Promise<AthenaServer> {
    const self = new AthenaServer();
    await new Promise<void>((resolve) => self.server.listen(0, '127.0.0.1', resolve));
    return self;
  }

  readonly tables = new Map<string, FakeTable>();
  /** Statements that ran, in their order; a repeated token runs nothing. */
  readonly statements: string[] = [];
  readonly workGroups = new Set<string>();
  /** Looks that a statement takes. */
  looks = 1;

  private readonly server: Server = createServer((request, response) => void this.answer(request, response));
  private readonly executions = new Map<string, Execution>();
  private readonly faults: Fault[] = [];
  private readonly refusals: { readonly operation: string; readonly status: number; readonly error: string }[] = [];

  get url(): string {
    return `http://127.0.0.1:${(this.server.address() as AddressInfo).port}`;
  }

  failNext(statement: RegExp, reason: string, options: { error?: object; state?: string; after?: boolean } = {}): void {
    this.faults.push({ statement, reason, error: options.error, state: options.state ?? 'FAILED', after: options.after ?? false });
  }

  refuseNext(operation: string, status: number, error: string): void {
    this.refusals.push({ operation, status, error });
  }

  stop(): Promise<void> {
    this.server.closeAllConnections();
    return new Promise((resolve) => this.server.close(() => resolve()));
  }

  private async answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const operation = String(request.headers['x-amz-target']).split('.').at(-1)!;
    const refused = this.refusals.findIndex((refusal) => refusal.operation === operation);
    const [status, body] = refused >= 0
      ? [this.refusals[refused].status, { __type: this.refusals.splice(refused, 1)[0].error, message: 'refused' }] : this.perform(operation, JSON.parse(Buffer.concat(chunks).toString()));
    response.writeHead(status, { 'content-type': 'application/x-amz-json-1.1' }).end(JSON.stringify(body));
  }

  private perform(operation: string, input: any): [number, object] {
    switch (operation) {
      case 'StartQueryExecution': {
        this.workGroups.add(input.WorkGroup);
        const token: string = input.ClientRequestToken;
        if (token.length < 32 || token.length > 128) return [400, { __type: 'InvalidRequestException', message: 'token' }];
        if (!this.executions.has(token)) this.executions.set(token, this.execute(token, input.QueryString));
        return [200, { QueryExecutionId: token }];
      }
      case 'GetQueryExecution': {
        const execution = this.executions.get(input.QueryExecutionId)!;
        if (execution.looksLeft > 1) {
          execution.looksLeft--;
          return [200, { QueryExecution: { Status: { State: 'RUNNING' } } }];
        }
        return [200, { QueryExecution: { Status: execution.status } }];
      }
      case 'GetTableMetadata': {
        const table = this.tables.get(`${input.DatabaseName}.${input.TableName}`);
        if (!table) return [400, { __type: 'MetadataException', message: 'EntityNotFoundException' }];
        const Columns = [...table.columns].map(([Name, Type]) => ({ Name, Type }));
        return [200, { TableMetadata: { Name: input.TableName, Columns, Parameters: table.parameters } }];
      }
      default:
        return [400, { __type: 'InvalidRequestException', message: operation }];
    }
  }

  private execute(id: string, statement: string): Execution {
    const fault = this.faults.findIndex((each) => each.statement.test(statement));
    const broken = fault >= 0 ? this.faults.splice(fault, 1)[0] : undefined;
    this.statements.push(statement);
    const problem = broken && !broken.after ? undefined : this.apply(statement);
    const reason = broken?.reason ?? problem;
    return {
      id, statement, looksLeft: this.looks, status: reason === undefined ? { State: 'SUCCEEDED' } : { State: broken?.state ?? 'FAILED', StateChangeReason: reason, AthenaError: broken?.error },
    };
  }

  /** Does what the statement says, or tells why not. */
  private apply(statement: string): string | undefined {
    const [, database, name] = /`([^`]+)`\.`([^`]+)`/.exec(statement)!;
    const key = `${database}.${name}`;
    const definitions = (text: string) => [...text.matchAll(/`([^`]+)` (\w+)/g)].map(([, column, type]): [string, string] => [column, type]);
    const table = this.tables.get(key);
    if (/^CREATE TABLE IF NOT EXISTS/.test(statement)) {
      if (!table) this.tables.set(key, { columns: new Map(definitions(statement.slice(statement.indexOf('(')))), parameters: { table_type: 'ICEBERG' } });
      return undefined;
    }
    if (!table) return 'Entity Not Found';
    const [, added] = /ADD COLUMNS \((.*)\)$/.exec(statement) ?? [];
    for (const [column, type] of definitions(added ?? '')) {
      if (table.columns.has(column)) return `Column already exists: ${column}`;
      table.columns.set(column, type);
    }
    for (const [, property, value] of statement.matchAll(/'(vacuum_\w+)' = '(\d+)'/g)) table.parameters[property] = value;
    return undefined;
  }
}
