/** The pods of one service, with their zones, from the EndpointSlices of the Kubernetes API (`discovery.k8s.io/v1`). */
import type { KubernetesApi } from './kubernetes-api';
import { type KubernetesObject, KubernetesWatch } from './kubernetes-watch';
import type { Endpoint, EndpointSource } from '../../core/balancer';
import { Listeners } from '../../core/listeners';
import type { Logger } from '../../core/ports';

/** What of an EndpointSlice is read here (Kubernetes API reference, "EndpointSlice v1 discovery.k8s.io"). */
export interface EndpointSlice extends KubernetesObject {
  readonly addressType: 'IPv4' | 'IPv6' | 'FQDN';
  readonly ports?: readonly { readonly name?: string; readonly port?: number }[] | null;
  readonly endpoints?: readonly {
    /** They are fungible: the first is enough. */
    readonly addresses: readonly string[];
    readonly zone?: string;
    /** Absent or null: unknown, which counts as ready and not terminating. */
    readonly conditions?: { readonly ready?: boolean | null; readonly serving?: boolean | null; readonly terminating?: boolean | null };
  }[] | null;
}

export interface EndpointSlicesOptions {
  readonly api: KubernetesApi;
  readonly namespace: string;
  readonly service: string;
  /** Name of the port, as the service names it. */
  readonly portName: string;
  /** Port where the slices name none. */
  readonly port: number;
  readonly logger: Logger;
  readonly random?: () => number;
  readonly backoffMs?: number;
  readonly watchSeconds?: number;
}

export class EndpointSlices implements EndpointSource {
  private endpoints: readonly Endpoint[] = [];
  private listed = false;
  private text = '[]';
  private readonly listeners = new Listeners<readonly Endpoint[]>();
  private readonly watch: KubernetesWatch<EndpointSlice>;

  constructor(options: EndpointSlicesOptions) {
    const { namespace, service, portName, port } = options;
    this.watch = new KubernetesWatch({
      ...options,
      path: `/apis/discovery.k8s.io/v1/namespaces/${namespace}/endpointslices?labelSelector=${encodeURIComponent(`kubernetes.io/service-name=${service}`)}`,
      changed: (slices) => this.take(endpointsOf(slices.values(), portName, port)),
    });
  }

  /** Lists once, then follows by itself. Does not fail: until the API answers there is no endpoint. */
  start(): Promise<void> {
    return this.watch.start();
  }

  /** Whether the API has answered since the process started: then `current()` is what it said. */
  get known(): boolean {
    return this.listed;
  }

  current(): readonly Endpoint[] {
    return this.endpoints;
  }

  onChange(callback: (endpoints: readonly Endpoint[]) => void): () => void {
    return this.listeners.add(callback);
  }

  async close(): Promise<void> {
    this.listeners.clear();
    await this.watch.close();
  }

  private take(endpoints: readonly Endpoint[]): void {
    const text = JSON.stringify(endpoints);
    if (this.listed && text === this.text) return;
    this.listed = true;
    this.text = text;
    this.endpoints = endpoints;
    this.listeners.tell(endpoints);
  }
}

/**
 * The endpoints of all slices together, each once and in the order of their addresses: one may stand in two slices while it moves.
 * What terminates gets no new request, unless only such endpoints are left and still serve (as kube-proxy does, KEP-1669).
 */
export function endpointsOf(slices: Iterable<EndpointSlice>, portName: string, port: number): Endpoint[] {
  const found = new Map<string, Endpoint & { readonly leaving: boolean }>();
  for (const { addressType, ports, endpoints } of slices) {
    const named = ports?.find(({ name }) => name === portName)?.port ?? port;
    for (const { addresses, zone, conditions } of endpoints ?? []) {
      const address = `${addressType === 'IPv6' ? `[${addresses[0]}]` : addresses[0]}:${named}`;
      const terminating = conditions?.terminating ?? false;
      const serving = conditions?.serving ?? conditions?.ready ?? true;
      const known = found.get(address);
      if (known?.ready) continue;
      const conditionsNow = { ready: serving && !terminating, leaving: serving && terminating };
      found.set(address, { address, ...(zone === undefined ? {} : { zone }), ...conditionsNow });
    }
  }
  const all = [...found.values()].sort((one, other) => (one.address < other.address ? -1 : 1));
  const onlyLeaving = !all.some(({ ready }) => ready);
  return all.map(({ leaving, ready, ...endpoint }) => ({ ...endpoint, ready: ready || (onlyLeaving && leaving) }));
}
