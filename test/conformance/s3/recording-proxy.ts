/** An HTTP proxy before a server, which notes what is asked, and can hold requests back or refuse them. Headers pass as they are, signatures included. */
import { createServer, request as httpRequest, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface Asked {
  readonly method: string;
  readonly path: string;
  readonly range?: string;
}

/** `hold`: no answer until the next rule. `refuse`: the connection is closed. A number is the status to answer with. */
export type Rule = 'pass' | 'hold' | 'refuse' | number;

export class RecordingProxy {
  static async start(targetPort: number): Promise<RecordingProxy> {
    const proxy = new RecordingProxy(targetPort);
    await new Promise<void>((resolve) => proxy.server.listen(0, '127.0.0.1', resolve));
    return proxy;
  }

  readonly asked: Asked[] = [];
  private rule: (asked: Asked) => Rule;
  private held: (() => void)[] = [];
  private readonly server: Server;

  private constructor(private readonly targetPort: number) {
    this.rule = () => 'pass';
    this.server = createServer((request, response) => this.take(request, response));
  }

  get url(): string {
    return `http://127.0.0.1:${(this.server.address() as AddressInfo).port}`;
  }

  /** From now on. What was held is looked at again. */
  set(rule: (asked: Asked) => Rule): void {
    this.rule = rule;
    for (const again of this.held.splice(0)) again();
  }

  /** Ranges of a file that were asked for, in order. */
  ranges(file: string): string[] {
    return this.asked.flatMap(({ path, range }) => (path.split('?')[0].endsWith(file) && range !== undefined ? [range] : []));
  }

  async stop(): Promise<void> {
    this.server.closeAllConnections();
    await new Promise((resolve) => this.server.close(resolve));
  }

  private take(request: IncomingMessage, response: ServerResponse): void {
    const { method, url, headers: { range } } = request;
    const asked: Asked = { method: method!, path: url!, ...range === undefined ? {} : { range } };
    this.asked.push(asked);
    const decide = () => {
      const rule = this.rule(asked);
      if (rule === 'hold') this.held.push(decide);
      else if (rule === 'refuse') request.socket.destroy();
      else if (rule === 'pass') this.forward(request, response);
      else response.writeHead(rule).end();
    };
    decide();
  }

  private forward(request: IncomingMessage, response: ServerResponse): void {
    const upstream = httpRequest({ host: '127.0.0.1', port: this.targetPort, method: request.method, path: request.url, headers: request.headers }, (answer) => {
      response.writeHead(answer.statusCode!, answer.headers);
      answer.pipe(response);
    });
    upstream.on('error', () => response.destroy());
    response.on('close', () => upstream.destroy());
    request.pipe(upstream);
  }
}
