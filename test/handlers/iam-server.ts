/** The part of IAM that the handler calls, over HTTP on the loopback, in IAM's query protocol: the real SDK client talks to it. */
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';

interface Fault {
  readonly action: string;
  readonly status: number;
  readonly code: string;
  readonly message: string;
}

const NAMES: { readonly [service: string]: string } = {
  'autoscaling.amazonaws.com': 'AWSServiceRoleForAutoScaling',
  'opensearchservice.amazonaws.com': 'AWSServiceRoleForAmazonOpenSearchService',
};

export class IamServer {
  static async start(): Promise<IamServer> {
    const self = new IamServer();
    await new Promise<void>((resolve) => self.server.listen(0, '127.0.0.1', resolve));
    return self;
  }

  /** `Action argument` of every call, in order. */
  readonly calls: string[] = [];
  /** Looks at a new role until IAM shows it: changes reach its readers late. */
  looksUntilVisible = 0;

  private readonly roles = new Map<string, { looksLeft: number }>();
  private readonly faults: Fault[] = [];
  private readonly server: Server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const { status, body } = this.answer(new URLSearchParams(Buffer.concat(chunks).toString('utf8')));
      response.writeHead(status, { 'content-type': 'text/xml' }).end(body);
    });
  });

  get url(): string {
    return `http://127.0.0.1:${(this.server.address() as AddressInfo).port}`;
  }

  /** A role that somebody made before. */
  addRole(name: string): void {
    this.roles.set(name, { looksLeft: 0 });
  }

  roleNames(): string[] {
    return [...this.roles.keys()];
  }

  failNext(action: string, status: number, code: string, message: string, times = 1): void {
    for (let time = 0; time < times; time++) this.faults.push({ action, status, code, message });
  }

  writes(): string[] {
    return this.calls.filter((call) => !call.startsWith('GetRole'));
  }

  async stop(): Promise<void> {
    this.server.closeAllConnections();
    await new Promise((resolve) => this.server.close(resolve));
  }

  private answer(query: URLSearchParams): { status: number; body: string } {
    const action = query.get('Action')!;
    const name = action === 'CreateServiceLinkedRole' ? NAMES[query.get('AWSServiceName')!] : query.get('RoleName')!;
    this.calls.push(`${action} ${query.get('AWSServiceName') ?? name}`);

    const at = this.faults.findIndex((fault) => fault.action === action);
    if (at >= 0) {
      const [fault] = this.faults.splice(at, 1);
      return error(fault.status, fault.code, fault.message);
    }
    if (action === 'CreateServiceLinkedRole') {
      if (this.roles.has(name)) return error(400, 'InvalidInput', `Service role name ${name} has been taken in this account, please try a different suffix.`);
      this.roles.set(name, { looksLeft: this.looksUntilVisible });
      return success(action, name);
    }
    const role = this.roles.get(name);
    if (!role || role.looksLeft-- > 0) return error(404, 'NoSuchEntity', `The role with name ${name} cannot be found.`);
    return success(action, name);
  }
}

function success(action: string, name: string): { status: number; body: string } {
  return {
    status: 200,
    body: `<${action}Response xmlns="https://iam.amazonaws.com/doc/2010-05-08/"><${action}Result><Role><Path>/aws-service-role/</Path><RoleName>${name}</RoleName>`
      + `<RoleId>AROA</RoleId><Arn>arn:aws:iam::123456789012:role/${name}</Arn><CreateDate>2026-01-01T00:00:00Z</CreateDate></Role></${action}Result>`
      + `<ResponseMetadata><RequestId>1</RequestId></ResponseMetadata></${action}Response>`,
  };
}

function error(status: number, code: string, message: string): { status: number; body: string } {
  return {
    status,
    body: `<ErrorResponse xmlns="https://iam.amazonaws.com/doc/2010-05-08/"><Error><Type>Sender</Type><Code>${code}</Code><Message>${message}</Message></Error>`
      + '<RequestId>1</RequestId></ErrorResponse>',
  };
}
