/** The inference service: the Open Inference Protocol v2 over REST, on whatever adapters it is given. */
import { fastify, type FastifyInstance, type HTTPMethods } from 'fastify';
import { answerBrokenRequest, errorResponder } from './http-errors';
import { acceptRequestBodies, type RequestBody } from './request-body';
import { version as packageVersion } from '../../package.json';
import type { BrainConfiguration } from '../../src/contract';
import { ModelCatalog } from '../core/catalog';
import type { EnrichmentSources } from '../core/enrichment';
import { BrainError } from '../core/errors';
import { InferencePipeline } from '../core/infer';
import { HEADER_LENGTH, modelMetadata, readInferRequest, writeInferAnswer } from '../core/oip';
import { type Clock, type Logger, type ManifestSource, type ModelRuntime, type RolloutSource, SYSTEM_CLOCK } from '../core/ports';

/** Seconds of quiet after which a kept connection is closed: above the 60 s of a load balancer, which must be the one to close first. */
const KEEP_ALIVE_MS = 75_000;
/** Longest time for a whole request to arrive. */
const RECEIVE_TIMEOUT_MS = 30_000;

export interface ServiceOptions extends EnrichmentSources {
  readonly configuration: BrainConfiguration;
  readonly runtime: ModelRuntime;
  readonly manifests: ManifestSource;
  readonly rollout: RolloutSource;
  readonly logger: Logger;
  /** @default - the system's clock */
  readonly clock?: Clock;
  /** PEM texts. @default - plain HTTP */
  readonly tls?: { readonly cert: string; readonly key: string };
  /** Milliseconds between two attempts to take up a stable version. @default 1000 */
  readonly retryMs?: number;
}

/** The service and what surrounds it. Whoever made the ports closes them, after the service. */
export interface Service {
  /** All routes; not listening yet. */
  readonly app: FastifyInstance;
  /** Live and ready only, plain HTTP, for the kubelet; not listening yet. */
  readonly probes: FastifyInstance;
  /** Follows the rollout document; resolves after the first attempt at every stable version. */
  start(): Promise<void>;
  /** DESIGN §4.3: the versions that were stable at start are loaded, and the service does not drain. */
  isReady(): boolean;
  /** Says "not ready" from now on; requests are still answered. */
  drain(): void;
  /** Takes no new connection, answers what is under way, and closes. */
  close(): Promise<void>;
}

const METHODS: HTTPMethods[] = ['DELETE', 'GET', 'HEAD', 'PATCH', 'POST', 'PUT', 'OPTIONS'];

export function createService(options: ServiceOptions): Service {
  const { configuration, logger } = options;
  const clock = options.clock ?? SYSTEM_CLOCK;
  const catalog = new ModelCatalog(options);
  const pipeline = new InferencePipeline({ ...options, catalog, clock });
  let draining = false;

  const app = newApp(options, options.tls);
  const probes = newApp(options);
  const isReady = () => !draining && catalog.isReady();
  const requireReady = () => {
    if (draining) throw new BrainError('SHUTTING_DOWN', 'the process drains', { ready: false });
    if (!catalog.isReady()) throw new BrainError('MODEL_NOT_READY', 'the stable versions are not loaded yet', { ready: false });
    return { ready: true };
  };

  // a connection that is kept after its last answer would hold the drain up
  app.addHook('onSend', async (_, reply) => {
    if (draining) void reply.header('connection', 'close');
  });

  for (const health of [app, probes]) {
    route(health, 'GET', '/v2/health/live', async () => ({ live: true }));
    route(health, 'GET', '/v2/health/ready', async () => requireReady());
  }
  route(app, 'GET', '/v2', async () => ({ name: 'thalos-brain', version: packageVersion, extensions: ['binary_tensor_data'] }));
  for (const path of ['/v2/models/:model', '/v2/models/:model/versions/:version']) {
    route(app, 'GET', path, async ({ model, version }) => {
      const { plan, versions } = await catalog.describe(model, version);
      return modelMetadata(plan.ref.manifest, version === undefined ? versions : [version], plan.publicInputs);
    });
    route(app, 'GET', `${path}/ready`, async ({ model, version }, signal) => {
      await catalog.requireReady(model, version, signal);
      return { name: model, ready: true };
    });
    route(app, 'POST', `${path}/infer`, async ({ model, version }, signal, body, reply) => {
      const { json, binary } = body ?? { json: undefined, binary: undefined };
      const request = readInferRequest(json, binary);
      const answer = await pipeline.infer({ model, version, inputs: request.inputs, outputs: request.outputs, explain: request.explain }, signal);
      const written = writeInferAnswer(answer, request);
      if ('text' in written) {
        reply('application/json; charset=utf-8');
        return written.text;
      }
      reply('application/octet-stream', { [HEADER_LENGTH]: String(written.headerLength) });
      return written.bytes;
    });
  }

  return {
    app,
    probes,
    start: () => catalog.start(),
    isReady,
    drain: () => {
      draining = true;
    },
    close: async () => {
      draining = true;
      catalog.close();
      await app.close();
      await probes.close();
      logger.info({ brain: configuration.name }, 'the service is closed');
    },
  };
}

function newApp({ configuration, logger }: ServiceOptions, tls?: ServiceOptions['tls']): FastifyInstance {
  const { maxBodyBytes } = configuration.limits;
  const respond = errorResponder(maxBodyBytes, logger);
  const app = fastify({
    https: tls ?? null,
    bodyLimit: maxBodyBytes,
    keepAliveTimeout: KEEP_ALIVE_MS,
    requestTimeout: RECEIVE_TIMEOUT_MS,
    // while it closes, requests on kept connections are answered, with `connection: close`
    return503OnClosing: false,
    exposeHeadRoutes: false,
    routerOptions: { maxParamLength: 1024 },
    frameworkErrors: respond,
    clientErrorHandler: answerBrokenRequest,
  } as object) as unknown as FastifyInstance;
  acceptRequestBodies(app);
  app.setErrorHandler(respond);
  app.setNotFoundHandler((request) => {
    throw new BrainError('ROUTE_NOT_FOUND', `there is no ${request.method} ${request.url.split('?', 1)[0].slice(0, 256)}`);
  });
  return app;
}

interface RouteParameters {
  readonly model: string;
  readonly version?: string;
}

type Reply = (contentType: string, headers?: Record<string, string>) => void;
type Handler = (parameters: RouteParameters, signal: AbortSignal, body: RequestBody | undefined, reply: Reply) => Promise<unknown>;

/** One route with the one method that it takes; any other is METHOD_NOT_ALLOWED before its body is read. */
function route(app: FastifyInstance, method: 'GET' | 'POST', url: string, handler: Handler): void {
  app.route({
    method,
    url,
    handler: async (request, reply) => {
      const gone = new AbortController();
      reply.raw.once('close', () => {
        if (!reply.raw.writableFinished) gone.abort(new BrainError('CANCELLED', 'the caller closed the connection'));
      });
      return handler(request.params as RouteParameters, gone.signal, request.body as RequestBody | undefined, (contentType, headers = {}) => {
        void reply.type(contentType).headers(headers);
      });
    },
  });
  app.route({
    method: METHODS.filter((other) => other !== method),
    url,
    onRequest: async (_, reply) => {
      void reply.header('allow', method);
      throw new BrainError('METHOD_NOT_ALLOWED', `${url} takes ${method} only`);
    },
    handler: async () => undefined,
  });
}
