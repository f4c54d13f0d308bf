/** The pods of a headless service by their DNS records: without zones, and as fresh as the records are. */
import { lookup } from 'node:dns/promises';
import type { Endpoint, EndpointSource } from '../../core/balancer';
import { Listeners } from '../../core/listeners';
import type { Logger } from '../../core/ports';

/** How often names are resolved: CoreDNS answers for a headless service with a lifetime of 5 s (CoreDNS, plugin `kubernetes`). */
const EVERY_MS = 5_000;

export interface DnsEndpointsOptions {
  readonly host: string;
  readonly port: number;
  readonly logger: Logger;
  readonly everyMs?: number;
  /** Every address of a name; fails where there is none. */
  readonly resolve?: (host: string) => Promise<readonly string[]>;
}

export class DnsEndpoints implements EndpointSource {
  private endpoints: readonly Endpoint[] = [];
  private timer: NodeJS.Timeout | undefined;
  private closed = false;
  private reported = false;
  private readonly listeners = new Listeners<readonly Endpoint[]>();

  constructor(private readonly options: DnsEndpointsOptions) {}

  /** Resolves once, then by itself. Does not fail. */
  async start(): Promise<void> {
    await this.refresh();
    if (this.closed) return;
    this.timer = setInterval(() => void this.refresh(), this.options.everyMs ?? EVERY_MS).unref();
  }

  current(): readonly Endpoint[] {
    return this.endpoints;
  }

  onChange(callback: (endpoints: readonly Endpoint[]) => void): () => void {
    return this.listeners.add(callback);
  }

  async close(): Promise<void> {
    this.closed = true;
    clearInterval(this.timer);
    this.listeners.clear();
  }

  /** One look at the records, now. An answer without addresses is a failure: what is known stays. */
  async refresh(): Promise<void> {
    const { host, port, logger, resolve = addressesOf } = this.options;
    let addresses: readonly string[];
    try {
      addresses = await resolve(host);
    } catch (error) {
      if (!this.reported) logger.warn({ host, error: (error as Error).message, known: this.endpoints.length }, 'the runtime\'s name does not resolve');
      this.reported = true;
      return;
    }
    this.reported = false;
    const sorted = [...new Set(addresses)].sort();
    const endpoints = sorted.map((address) => ({ address: join(address, port), ready: true }));
    const same = endpoints.length === this.endpoints.length && endpoints.every(({ address }, index) => this.endpoints[index].address === address);
    if (this.closed || same || endpoints.length === 0) return;
    this.endpoints = endpoints;
    this.listeners.tell(this.endpoints);
  }
}

const join = (address: string, port: number) => (address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`);

async function addressesOf(host: string): Promise<string[]> {
  return (await lookup(host, { all: true })).map(({ address }) => address);
}
