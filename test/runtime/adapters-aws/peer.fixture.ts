/** An HTTP server on loopback that speaks one service's protocol; the real clients talk to it over real sockets. */
import { createServer, type IncomingMessage, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface PeerRequest {
  readonly method: string;
  readonly path: string;
  readonly headers: IncomingMessage['headers'];
  readonly body: Buffer;
}

export interface PeerAnswer {
  readonly status?: number;
  readonly headers?: Record<string, string>;
  readonly body?: string | Buffer | object;
}

export class Peer {
  static async start(answer: (request: PeerRequest) => PeerAnswer | Promise<PeerAnswer>): Promise<Peer> {
    const peer = new Peer(answer);
    await new Promise<void>((resolve) => peer.server.listen(0, '127.0.0.1', resolve));
    return peer;
  }

  readonly requests: PeerRequest[] = [];
  private readonly server: Server;

  private constructor(answer: (request: PeerRequest) => PeerAnswer | Promise<PeerAnswer>) {
    this.server = createServer((request, response) => {
      const chunks: Buffer[] = [];
      request.on('data', (chunk: Buffer) => chunks.push(chunk));
      request.on('end', async () => {
        const received = { method: request.method!, path: request.url!, headers: request.headers, body: Buffer.concat(chunks) };
        this.requests.push(received);
        const { status = 200, headers = {}, body = '' } = await answer(received);
        if (status === 0) {
          request.socket.destroy();
          return;
        }
        const json = typeof body === 'object' && !Buffer.isBuffer(body);
        response.writeHead(status, { ...(json ? { 'content-type': 'application/json' } : {}), ...headers });
        response.end(json ? JSON.stringify(body) : body);
      });
    });
  }

  get url(): string {
    return `http://127.0.0.1:${(this.server.address() as AddressInfo).port}`;
  }

  /** Ends kept connections, as a peer does that restarts. */
  dropConnections(): void {
    this.server.closeAllConnections();
  }

  async stop(): Promise<void> {
    this.server.closeAllConnections();
    await new Promise((resolve) => this.server.close(resolve));
  }
}

/** Settings of an SDK client that talks to a peer. */
export const toPeer = (peer: Peer) => ({
  region: 'eu-central-1', endpoint: peer.url, credentials: { accessKeyId: 'AKIDEXAMPLE', secretAccessKey: 'secret' }, maxAttempts: 1,
});

/** Environment in which the SDK's clients talk to a peer, once. */
export const peerEnvironment = ({ url }: Peer) => ({
  AWS_ENDPOINT_URL: url, AWS_ENDPOINT_URL_DYNAMODB: url, AWS_ENDPOINT_URL_S3: url, AWS_ACCESS_KEY_ID: 'a', AWS_SECRET_ACCESS_KEY: 'b', AWS_MAX_ATTEMPTS: '1',
});

export const never = () => new Promise<never>(() => undefined);
