/** The inference service: the Open Inference Protocol v2, on whatever adapters it is given. */
import { HttpServer, type ListenOptions, secureOptions, type TlsMaterial, urlHost } from './http-server';
import { IncomingBytes } from './incoming-bytes';
import { InferenceOperations } from './inference-operations';
import { probeHandler, type RequestHook, restHandler, withHook } from './rest';
import type { BrainConfiguration } from '../../src/contract';
import { type Authenticator, NO_AUTHENTICATION } from '../core/caller';
import { ModelCatalog } from '../core/catalog';
import type { EnrichmentSources } from '../core/enrichment';
import { CachedFeatureStore } from '../core/feature-cache';
import { InferencePipeline } from '../core/infer';
import { type Clock, type Logger, type ManifestSource, type ModelRuntime, type RolloutSource, SYSTEM_CLOCK } from '../core/ports';
import { ConcurrencyLimit } from '../core/resilience/concurrency-limit';
import { DeadlineTimers } from '../core/resilience/deadline-timers';
import { GuardedFeatureStore, GuardedManifestSource, GuardedModelRuntime, GuardedVectorSearch, RUNTIME_TELLING_MS } from '../core/resilience/guards';
import { MicroBatcher } from '../core/resilience/micro-batcher';
import { ShadowTraffic } from '../core/shadow-traffic';
import { NO_TELEMETRY, type Telemetry } from '../core/telemetry';
import { GrpcServer } from '../grpc/server';

export interface ServiceOptions extends EnrichmentSources {
  readonly configuration: BrainConfiguration;
  readonly runtime: ModelRuntime;
  readonly manifests: ManifestSource;
  readonly rollout: RolloutSource;
  readonly logger: Logger;
  /** @default - nobody is verified, and so nobody may override or jump the queue */
  readonly authenticator?: Authenticator;
  /** @default - none */
  readonly telemetry?: Telemetry;
  /** @default - the system's clock */
  readonly clock?: Clock;
  /** With `ca`, callers of gRPC must show a certificate. @default - plain HTTP and gRPC */
  readonly tls?: TlsMaterial;
  /** Whether hot features are kept in memory: worth it where the store is across a network. @default false */
  readonly cacheFeatures?: boolean;
  /**
   * Sees each request of the REST port before it is routed, and answers it by itself where it gives true.
   * @default - none, and nothing is asked
   */
  readonly extra?: RequestHook;
  /** Milliseconds between two attempts to take up a stable version. @default 1000 */
  readonly retryMs?: number;
}

/** One port of the service; not listening yet. */
export interface Endpoint {
  /** Resolves with the base URL. */
  listen(options: ListenOptions): Promise<string>;
}

/** The service and what surrounds it. Whoever made the ports closes them, after the service. */
export interface Service {
  /** All routes. */
  readonly rest: Endpoint;
  /** `inference.GRPCInferenceService`, health and reflection. */
  readonly grpc: Endpoint;
  /** Live and ready only, plain HTTP, for the kubelet. */
  readonly probes: Endpoint;
  /** Follows the rollout document; resolves after the first attempt at every stable version. */
  start(): Promise<void>;
  /** DESIGN §4.3: the versions that were stable at start are loaded, and the service does not drain. */
  isReady(): boolean;
  /** New connections get the new certificate. */
  renew(tls: TlsMaterial): void;
  /** Says "not ready" from now on; requests are still answered. */
  drain(): void;
  /** Takes no new connection, answers what is under way, and closes. */
  close(): Promise<void>;
}

export function createService(options: ServiceOptions): Service {
  const { configuration, logger, authenticator = NO_AUTHENTICATION, telemetry = NO_TELEMETRY, clock = SYSTEM_CLOCK } = options;
  const { requestTimeoutMs, maxBodyBytes } = configuration.limits;
  // deadlines are measured, and so do not follow the clock that features are dated by
  const timers = new DeadlineTimers();
  const guarded = { timers, telemetry };
  const tellingMs = Math.min(RUNTIME_TELLING_MS, requestTimeoutMs / 2);
  const runtime = new MicroBatcher(new GuardedModelRuntime(options.runtime, { ...guarded, tellingMs }), timers, telemetry);
  const store = options.features && new GuardedFeatureStore(options.features, guarded);
  const features = store && options.cacheFeatures ? new CachedFeatureStore({ store, clock, telemetry }) : store;
  const vectors = options.vectors && new GuardedVectorSearch(options.vectors, guarded);
  const limit = new ConcurrencyLimit({ clock: timers.clock, onShed: (lane) => telemetry.count('shed', lane) });
  telemetry.gauge('in_flight', () => limit.inFlight);
  telemetry.gauge('concurrency_limit', () => limit.limit);
  telemetry.gauge('queued', () => limit.queued);

  const catalog = new ModelCatalog({ ...options, runtime, manifests: new GuardedManifestSource(options.manifests, guarded) });
  telemetry.gauge('candidates', () => catalog.candidates());
  const shadows = new ShadowTraffic({ timers, logger, telemetry, timeoutMs: requestTimeoutMs });
  const pipeline = new InferencePipeline({ configuration, features, vectors, runtime, catalog, clock, telemetry, shadows });
  let draining = false;
  const isDraining = () => draining;

  const operations = new InferenceOperations({ catalog, pipeline, authenticator, telemetry, timers, limit, logger, requestTimeoutMs, isDraining });
  const { tls } = options;
  const incoming = IncomingBytes.for(maxBodyBytes);
  // a load balancer has no certificate to show: callers of REST are known by their tokens alone
  const answer = restHandler({ operations, logger, maxBodyBytes, incoming, isDraining });
  const rest = new HttpServer(options.extra ? withHook(options.extra, answer) : answer, { tls: tls && { cert: tls.cert, key: tls.key } });
  const grpc = new GrpcServer({ operations, maxBodyBytes, incoming, logger, now: () => telemetry.now(), tls: tls && secureOptions(tls) });
  const probes = new HttpServer(probeHandler({ operations, logger, isDraining }));

  return {
    rest,
    grpc: {
      listen: async ({ host, port }) => `${tls ? 'grpcs' : 'grpc'}://${urlHost(host)}:${(await grpc.listen(port, host)).port}`,
    },
    probes,
    start: async () => {
      catalog.onReady(() => grpc.notifyReadiness());
      await catalog.start();
    },
    isReady: () => operations.isReady(),
    renew: (renewed) => {
      rest.renew({ cert: renewed.cert, key: renewed.key });
      if (tls) grpc.setSecureContext(secureOptions(renewed));
    },
    drain: () => {
      draining = true;
      grpc.notifyReadiness();
    },
    close: async () => {
      draining = true;
      grpc.notifyReadiness();
      catalog.close();
      await Promise.all([rest.close(requestTimeoutMs), grpc.close(requestTimeoutMs)]);
      shadows.close();
      await probes.close(0);
      logger.info({ brain: configuration.name }, 'the service is closed');
    },
  };
}
