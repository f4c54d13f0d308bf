/** The part of AppConfig that the seed calls, over HTTP on the loopback, with its state: the real SDK client talks to it. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface Version {
  readonly number: number;
  readonly label?: string;
  readonly contentType: string;
  readonly content: string;
}

export interface Deployment {
  readonly number: number;
  readonly profile: string;
  readonly version: string;
  readonly strategy: string;
  state: 'DEPLOYING' | 'COMPLETE' | 'ROLLED_BACK' | 'REVERTED';
  /** Looks at it until it ends. */
  looksLeft: number;
  readonly key?: string;
}

interface Answer {
  readonly status: number;
  readonly body: string;
  readonly headers?: Record<string, string>;
}

interface Fault {
  readonly operation: string;
  readonly status: number;
  readonly error: string;
  /** Does what was asked, and answers with the error all the same. */
  readonly after: boolean;
}

export class AppConfigServer {
  static async start(): Promise<AppConfigServer> {
    const self = new AppConfigServer();
    await new Promise<void>((resolve) => self.server.listen(0, '127.0.0.1', resolve));
    return self;
  }

  readonly versions: Version[] = [];
  readonly deployments: Deployment[] = [];
  /** `OPERATION` of every call, in order. */
  readonly calls: string[] = [];
  /** Looks that a new deployment takes, and how it ends. */
  looks = 1;
  ends: Deployment['state'] = 'COMPLETE';
  /** Whether two versions may not share a label. */
  uniqueLabels = false;
  pageSize = 50;

  private readonly server: Server = createServer((request, response) => void this.answer(request, response));
  private readonly faults: Fault[] = [];
  private readonly meanwhile = new Map<string, () => Promise<void>>();
  private readonly gates = new Map<string, { waiting: (() => void)[]; size: number }>();

  get url(): string {
    return `http://127.0.0.1:${(this.server.address() as AddressInfo).port}`;
  }

  /** The next call of an operation fails, before or after it took effect. */
  failNext(operation: string, status: number, error: string, options: { times?: number; after?: boolean } = {}): void {
    for (let time = 0; time < (options.times ?? 1); time++) this.faults.push({ operation, status, error, after: options.after ?? false });
  }

  /** Holds the calls of an operation until `size` of them are here: then all go on, one after the other. */
  meet(operation: string, size: number): void {
    this.gates.set(operation, { waiting: [], size });
  }

  /** Does something else while the next call of an operation waits. */
  onNext(operation: string, meanwhile: () => Promise<void>): void {
    this.meanwhile.set(operation, meanwhile);
  }

  addVersion(version: Omit<Version, 'number'>): number {
    this.versions.push({ ...version, number: this.versions.length + 1 });
    return this.versions.length;
  }

  addDeployment(profile: string, version: number, state: Deployment['state'], looksLeft = 0): void {
    this.deployments.push({ number: this.deployments.length + 1, profile, version: String(version), strategy: 'test', state, looksLeft });
  }

  writes(): string[] {
    return this.calls.filter((call) => !call.startsWith('List'));
  }

  async stop(): Promise<void> {
    this.server.closeAllConnections();
    await new Promise((resolve) => this.server.close(resolve));
  }

  private async answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const url = new URL(request.url!, this.url);
    const operation = operationOf(request.method!, url.pathname);
    this.calls.push(operation);
    await this.pass(operation);

    const at = this.faults.findIndex((fault) => fault.operation === operation);
    const fault = at < 0 ? undefined : this.faults.splice(at, 1)[0];
    if (!fault || fault.after) {
      const done = this.perform(operation, url, request, Buffer.concat(chunks).toString('utf8'));
      if (!fault) {
        response.writeHead(done.status, { 'content-type': 'application/json', ...done.headers }).end(done.body);
        return;
      }
    }
    response.writeHead(fault.status, { 'content-type': 'application/json', 'x-amzn-errortype': fault.error })
      .end(JSON.stringify({ Message: `${fault.error} on purpose` }));
  }

  private async pass(operation: string): Promise<void> {
    const meanwhile = this.meanwhile.get(operation);
    this.meanwhile.delete(operation);
    await meanwhile?.();
    const gate = this.gates.get(operation);
    if (!gate) return;
    await new Promise<void>((resolve) => {
      gate.waiting.push(resolve);
      if (gate.waiting.length < gate.size) return;
      this.gates.delete(operation);
      for (const go of gate.waiting) go();
    });
  }

  private perform(operation: string, url: URL, request: IncomingMessage, body: string): Answer {
    switch (operation) {
      case 'ListHostedConfigurationVersions': {
        const label = url.searchParams.get('version_label');
        return this.page(url, this.versions.filter((version) => label === null || version.label === label).reverse()
          .map(({ number, label: VersionLabel, contentType }) => ({ VersionNumber: number, VersionLabel, ContentType: contentType })));
      }
      case 'CreateHostedConfigurationVersion': {
        const label = request.headers.versionlabel as string | undefined;
        if (this.uniqueLabels && this.versions.some((version) => version.label === label)) return conflict('a version has this label');
        const number = this.addVersion({ label, contentType: request.headers['content-type']!, content: body });
        return { status: 201, body, headers: { 'version-number': String(number), 'content-type': 'application/json' } };
      }
      case 'ListDeployments':
        return this.page(url, this.deployments.map((deployment) => {
          if (deployment.state === 'DEPLOYING' && deployment.looksLeft-- <= 0) deployment.state = this.ends;
          return {
            DeploymentNumber: deployment.number,
            ConfigurationProfileId: deployment.profile,
            ConfigurationVersion: deployment.version,
            State: deployment.state,
          };
        }).reverse());
      case 'StartDeployment': {
        if (this.deployments.some((deployment) => deployment.state === 'DEPLOYING')) return conflict('a deployment is under way');
        const input = JSON.parse(body);
        if (!this.versions.some((version) => String(version.number) === input.ConfigurationVersion)) return conflict('no such version');
        this.deployments.push({
          number: this.deployments.length + 1,
          profile: input.ConfigurationProfileId,
          version: input.ConfigurationVersion,
          strategy: input.DeploymentStrategyId,
          key: input.KmsKeyIdentifier,
          state: 'DEPLOYING',
          looksLeft: this.looks,
        });
        return { status: 201, body: JSON.stringify({ DeploymentNumber: this.deployments.length, State: 'DEPLOYING' }) };
      }
      default:
        return { status: 404, body: JSON.stringify({ Message: `no operation ${operation}` }) };
    }
  }

  private page(url: URL, items: object[]): { status: number; body: string } {
    const from = Number(url.searchParams.get('next_token') ?? 0);
    const to = from + this.pageSize;
    return { status: 200, body: JSON.stringify({ Items: items.slice(from, to), ...to < items.length ? { NextToken: String(to) } : {} }) };
  }
}

function conflict(message: string): { status: number; body: string; headers: Record<string, string> } {
  return { status: 409, body: JSON.stringify({ Message: message }), headers: { 'x-amzn-errortype': 'ConflictException' } };
}

function operationOf(method: string, path: string): string {
  const [, applications, , kind, , what] = path.split('/');
  if (applications === 'applications' && kind === 'environments' && what === 'deployments') return method === 'GET' ? 'ListDeployments' : 'StartDeployment';
  if (applications === 'applications' && kind === 'configurationprofiles' && what === 'hostedconfigurationversions') {
    return method === 'GET' ? 'ListHostedConfigurationVersions' : 'CreateHostedConfigurationVersion';
  }
  return `${method} ${path}`;
}
