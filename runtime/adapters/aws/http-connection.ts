/** HTTP/1.1 to one base URL over kept connections: one request in, one whole answer out. */
import { Agent, type IncomingHttpHeaders, type OutgoingHttpHeaders, request as httpRequest } from 'node:http';
import { Agent as SecureAgent, request as httpsRequest } from 'node:https';

export interface HttpAnswer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
}

export class HttpConnection {
  private readonly url: URL;
  private readonly agent: Agent;

  /** @param baseUrl `http://host:port`, without a path */
  constructor(baseUrl: string) {
    this.url = new URL(baseUrl);
    const options = { keepAlive: true, maxFreeSockets: 256, noDelay: true };
    this.agent = this.url.protocol === 'https:' ? new SecureAgent(options) : new Agent(options);
  }

  /** Fails as node:http does. A kept connection that the peer has just closed is tried once more on a new one. */
  async send(method: string, path: string, headers: OutgoingHttpHeaders = {}, body?: Uint8Array, signal?: AbortSignal): Promise<HttpAnswer> {
    try {
      return await this.attempt(method, path, headers, body, signal);
    } catch (error) {
      if (!(error instanceof StaleConnectionError)) throw error;
      return this.attempt(method, path, headers, body, signal);
    }
  }

  close(): void {
    this.agent.destroy();
  }

  private attempt(
    method: string, path: string, headers: OutgoingHttpHeaders, body: Uint8Array | undefined, signal: AbortSignal | undefined,
  ): Promise<HttpAnswer> {
    return new Promise((resolve, reject) => {
      const send = this.url.protocol === 'https:' ? httpsRequest : httpRequest;
      const request = send({
        agent: this.agent,
        protocol: this.url.protocol,
        hostname: this.url.hostname,
        port: this.url.port,
        path,
        method,
        headers: body === undefined ? headers : { ...headers, 'content-length': body.length },
        signal,
      }, (response) => {
        const chunks: Buffer[] = [];
        response.on('data', (chunk: Buffer) => chunks.push(chunk));
        response.on('error', reject);
        response.on('end', () => resolve({ status: response.statusCode!, headers: response.headers, body: Buffer.concat(chunks) }));
      });
      request.on('error', (error: NodeJS.ErrnoException) => {
        reject(request.reusedSocket && error.code === 'ECONNRESET' ? new StaleConnectionError('the peer closed a kept connection', { cause: error }) : error);
      });
      request.end(body);
    });
  }
}

class StaleConnectionError extends Error {}
