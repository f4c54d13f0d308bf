/**
 * Which `Host` headers are this brain's. A page of the internet can let its own name resolve to 127.0.0.1 and would then be, for the browser, of
 * one origin with the brain (DNS rebinding); the `Host` header still has that page's name.
 */
import { isIP, isIPv6 } from 'node:net';
import { hostname } from 'node:os';
import { urlHost } from '../../inference-service/http-server';

const LOOPBACK = ['127.0.0.1', 'localhost', '[::1]'] as const;
const EVERY_ADDRESS: readonly string[] = ['0.0.0.0', '::'];

export class AllowedHosts {
  private readonly names: ReadonlySet<string>;
  private readonly everyAddress: boolean;
  private readonly port: string;

  /**
   * @param host what the server is bound to
   * @param port what it listens on
   */
  constructor(host: string, port: number) {
    this.everyAddress = EVERY_ADDRESS.includes(host);
    this.names = new Set([...LOOPBACK, urlHost(host).toLowerCase(), ...(this.everyAddress ? [hostname().toLowerCase()] : [])]);
    this.port = String(port);
  }

  /** Whether a name with or without a port is ours; the port must be ours. */
  has(header: string | undefined): boolean {
    if (header === undefined) return false;
    const colon = header.lastIndexOf(':');
    const bracketed = header.endsWith(']');
    const name = (colon < 0 || bracketed ? header : header.slice(0, colon)).toLowerCase();
    // without a port it is that of plain HTTP
    const port = colon < 0 || bracketed ? '80' : header.slice(colon + 1);
    return port === this.port && (this.names.has(name) || (this.everyAddress && isAddress(name)));
  }
}

/** No name was resolved where the header holds an address. */
function isAddress(name: string): boolean {
  return name.startsWith('[') ? isIPv6(name.slice(1, -1)) : isIP(name) === 4;
}
