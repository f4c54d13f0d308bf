/** What an app decides about the edge's firewall. */
export interface EdgeFirewall {
  /**
   * Requests that one IP address may make in five minutes, 10 to 2,000,000,000 (AWS WAF's own bounds).
   * Callers behind one NAT gateway share an address.
   *
   * @default 30000
   */
  readonly requestsPerSource?: number;
}
