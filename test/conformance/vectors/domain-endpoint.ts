import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { reset } from '../../support/reset';

/**
 * The endpoint of a domain: each connection goes to the next of its nodes. One for a node that has just died is reset, as it is until the service takes
 * the node out.
 */
export class DomainEndpoint {
  static async start(nodes: readonly { readonly port: number }[]): Promise<DomainEndpoint> {
    const endpoint = new DomainEndpoint(nodes);
    endpoint.server.listen(0, '127.0.0.1');
    await once(endpoint.server, 'listening');
    return endpoint;
  }

  /** Connections that were reset because their node died, or was not there. */
  lost = 0;
  private readonly server: Server;
  private readonly clients = new Set<Socket>();
  private turn = 0;

  private constructor(private readonly nodes: readonly { readonly port: number }[]) {
    this.server = createServer((client) => this.forward(client));
  }

  get url(): string {
    return `http://127.0.0.1:${(this.server.address() as AddressInfo).port}`;
  }

  async close(): Promise<void> {
    for (const client of this.clients) client.destroy();
    this.server.close();
    await once(this.server, 'close');
  }

  private forward(client: Socket): void {
    const node = connect(this.nodes[this.turn++ % this.nodes.length].port, '127.0.0.1');
    this.clients.add(client);
    client.on('error', () => undefined);
    client.on('close', () => {
      this.clients.delete(client);
      node.destroy();
    });
    node.on('error', () => undefined);
    node.on('close', () => {
      if (client.destroyed) return;
      this.lost++;
      reset(client);
    });
    client.pipe(node);
    node.pipe(client, { end: false });
  }
}
