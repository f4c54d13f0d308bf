/** What the binding of a Triton pool names, and where the pods behind it are found. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { DnsEndpoints } from './dns-endpoints';
import { EndpointSlices } from './endpoint-slices';
import { FallbackEndpoints } from './fallback-endpoints';
import { Binding, type BindingName, Paths, Port } from '../../../src/contract';
import type { EndpointSource } from '../../core/balancer';
import { refuse } from '../../core/errors';
import type { Logger } from '../../core/ports';

export interface TritonTarget {
  /** DNS name of the service, which its certificate must hold; or an address. */
  readonly host: string;
  /** Of gRPC. */
  readonly port: number;
  /** Mutual TLS is asked for. */
  readonly secure: boolean;
}

/** Name of the port in the service of a Triton pool. */
const PORT_NAME = 'grpc';
const SECURE = 'grpcs:';
const SCHEMES = ['grpc:', SECURE, 'http:'];
/** `<service>.<namespace>.svc`, with the cluster's domain or without. */
const SERVICE_NAME = /^([a-z0-9-]+)\.([a-z0-9-]+)\.svc(\.|$)/;

/**
 * `grpc://host:8001`, `grpcs://host:8001`; the REST address `http://host:8000` stands for plain gRPC on its usual port.
 * Fails with INVALID_CONFIGURATION, which names the binding.
 */
export function tritonTarget(endpoint: string, binding: BindingName = Binding.TRITON_ENDPOINT): TritonTarget {
  const url = URL.canParse(endpoint) ? new URL(endpoint) : undefined;
  if (!url || !SCHEMES.includes(url.protocol) || url.hostname === '') {
    return refuse('INVALID_CONFIGURATION', `${binding} must be grpc://host:${Port.TRITON_GRPC} or grpcs://host:${Port.TRITON_GRPC}, got '${endpoint}'`);
  }
  const port = url.port === '' ? Port.TRITON_GRPC : Number(url.port);
  return { host: url.hostname.replace(/^\[|\]$/g, ''), port: port === Port.TRITON_HTTP ? Port.TRITON_GRPC : port, secure: url.protocol === SECURE };
}

export interface SourceOptions {
  readonly logger: Logger;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** @default where the contract mounts it */
  readonly serviceAccount?: string;
}

/**
 * EndpointSlices where the name is one of a Kubernetes service and the pod has a service account's token; DNS until they are known, and where
 * there is no token. The source is started.
 */
export function endpointSource({ host, port }: TritonTarget, { logger, env, serviceAccount = Paths.KUBERNETES_API }: SourceOptions): EndpointSource {
  const dns = new DnsEndpoints({ host, port, logger });
  void dns.start();
  const [, service, namespace] = SERVICE_NAME.exec(host) ?? [];
  const tokenFile = join(serviceAccount, 'token');
  const { KUBERNETES_SERVICE_HOST: api, KUBERNETES_SERVICE_PORT: apiPort } = env;
  if (!service || !namespace || !api || !existsSync(tokenFile)) return dns;
  const slices = new EndpointSlices({
    api: { host: api, port: Number(apiPort ?? 443), tokenFile, authorityFile: join(serviceAccount, 'ca.crt') },
    namespace,
    service,
    portName: PORT_NAME,
    port,
    logger,
  });
  void slices.start();
  return new FallbackEndpoints(slices, dns);
}
