/** A small HTTP/1.1 reverse proxy that answers some requests itself, as a throttling or failing server would, and forwards the rest. */
import { once } from 'node:events';
import { Agent, createServer, IncomingMessage, OutgoingHttpHeaders, request, Server, ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface HttpAnswer {
  readonly status: number;
  readonly body?: string | Uint8Array;
  readonly headers?: OutgoingHttpHeaders;
}

export interface HttpFaultsOptions {
  /** Where the target listens. @default 127.0.0.1 */
  readonly host?: string;
  /** Decides which requests a share hits. @default a fixed sequence, the same in every run */
  readonly random?: () => number;
}

/** Lehmer's generator, with the constants of Park and Miller. */
function fixedSequence(): () => number {
  let state = 1;
  return () => {
    state = state * 48271 % 2147483647;
    return state / 2147483647;
  };
}

export class HttpFaults {
  static async start(targetPort: number, options: HttpFaultsOptions = {}): Promise<HttpFaults> {
    const faults = new HttpFaults(targetPort, options);
    faults.server.listen(0, '127.0.0.1');
    await once(faults.server, 'listening');
    return faults;
  }

  /** Requests that arrived. */
  requests = 0;
  /** Of these, how many the target got. */
  forwarded = 0;
  /** Of these, how many were answered here. */
  answered = 0;
  private readonly server: Server;
  private readonly agent = new Agent({ keepAlive: true });
  private readonly random: () => number;
  private next: { left: number; readonly answer: HttpAnswer } | undefined;
  private share: { readonly share: number; readonly answer: HttpAnswer } | undefined;

  private constructor(private readonly targetPort: number, private readonly options: HttpFaultsOptions) {
    this.random = options.random ?? fixedSequence();
    this.server = createServer((incoming, response) => this.serve(incoming, response));
  }

  get port(): number {
    return (this.server.address() as AddressInfo).port;
  }

  /** The next `count` requests get this answer; they come before a share. */
  answerNext(count: number, answer: HttpAnswer): void {
    this.next = { left: count, answer };
  }

  /** From now on each request gets this answer with the probability `share`. */
  answerShare(share: number, answer: HttpAnswer): void {
    this.share = { share, answer };
  }

  /** Every request is forwarded. */
  pass(): void {
    this.next = undefined;
    this.share = undefined;
  }

  async close(): Promise<void> {
    const closed = once(this.server, 'close');
    this.server.close();
    this.server.closeAllConnections();
    this.agent.destroy();
    await closed;
  }

  private serve(incoming: IncomingMessage, response: ServerResponse): void {
    this.requests++;
    const answer = this.choose();
    if (answer) {
      this.answered++;
      // the body is read to its end, so that the connection can be used again
      incoming.resume().on('end', () => response.writeHead(answer.status, answer.headers).end(answer.body));
      return;
    }
    this.forwarded++;
    const outgoing = request({
      agent: this.agent,
      host: this.options.host ?? '127.0.0.1',
      port: this.targetPort,
      method: incoming.method,
      path: incoming.url,
      headers: incoming.rawHeaders as unknown as OutgoingHttpHeaders,
    }, (reply) => {
      response.writeHead(reply.statusCode!, reply.rawHeaders as unknown as OutgoingHttpHeaders);
      reply.pipe(response);
    });
    // what the target breaks, this proxy breaks too
    outgoing.on('error', () => response.destroy());
    response.on('close', () => outgoing.destroy());
    incoming.pipe(outgoing);
  }

  private choose(): HttpAnswer | undefined {
    if (this.next && this.next.left > 0) {
      this.next.left--;
      return this.next.answer;
    }
    return this.share && this.random() < this.share.share ? this.share.answer : undefined;
  }
}
