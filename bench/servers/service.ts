/** Our service: with an in-process model that does nothing, or with all that it depends on in another process. */
import { createSecureContext } from 'node:tls';
import { DynamoDBClient } from '@aws-sdk/client-dynamodb';
import { SimpleJwksCache } from 'aws-jwt-verify/jwk';
import { BARE, CONFIGURATION, manifests, NoModel, rolloutOf, SILENT } from './brain';
import type { DependencyPorts } from './dependencies';
import { report, settings } from './report';
import { AccessTokenVerifier } from '../../runtime/adapters/access-token';
import type { ClientCertificates } from '../../runtime/adapters/aws/client-certificates';
import { DynamoDbOnlineStore, lightReader } from '../../runtime/adapters/aws/dynamodb-online-store';
import { OpenSearchVectorSearch } from '../../runtime/adapters/aws/opensearch-vector-search';
import { Sigv4Signer } from '../../runtime/adapters/aws/sigv4';
import { TritonRuntime } from '../../runtime/adapters/aws/triton-runtime';
import { type Authenticator, NO_AUTHENTICATION } from '../../runtime/core/caller';
import { type ModelRuntime, SYSTEM_CLOCK } from '../../runtime/core/ports';
import { letHeapGrow } from '../../runtime/inference-service/heap';
import { createService } from '../../runtime/inference-service/service';
import { TokenAuthenticator } from '../../runtime/inference-service/token-authenticator';
import { createTelemetry } from '../../runtime/telemetry/create-telemetry';
import { DEFAULT_TELEMETRY, type TelemetryDeclaration } from '../../src/contract';

/** PEM texts. */
export interface Certificates {
  readonly cert: string;
  readonly key: string;
  readonly ca: string;
}

export interface ServiceSettings {
  /** Undefined: a model in this process, and neither store. */
  readonly dependencies?: DependencyPorts;
  /** Undefined: features and vectors are not declared. */
  readonly stores?: boolean;
  /** Towards the runtime. */
  readonly certificates?: Certificates;
  /** Shares, or the default ones. */
  readonly telemetry?: boolean | TelemetryDeclaration;
  /** Of telemetry. @default - the dependencies */
  readonly receivers?: DependencyPorts;
  /** What tokens are verified with. */
  readonly issuer?: { readonly issuer: string; readonly audience: string; readonly jwks: { readonly keys: object[] } };
}

const HOST = '127.0.0.1';
const REGION = 'eu-central-1';
const credentials = async () => ({ accessKeyId: 'AKIDEXAMPLE', secretAccessKey: 'secret' });

function triton({ triton: port }: DependencyPorts, certificates: Certificates | undefined): ModelRuntime {
  const current = certificates && { ...certificates, context: createSecureContext(certificates) };
  return new TritonRuntime({
    target: { host: HOST, port, secure: certificates !== undefined },
    source: { current: () => [{ address: `${HOST}:${port}`, ready: true }], onChange: () => () => undefined, close: async () => undefined },
    timeoutMs: 28_000,
    logger: SILENT,
    ...(current && { certificates: { current: () => current, onChange: () => undefined, close: () => undefined } as unknown as ClientCertificates }),
  });
}

function features({ dynamodb }: DependencyPorts): DynamoDbOnlineStore {
  const endpoint = `http://${HOST}:${dynamodb}`;
  const client = new DynamoDBClient({ region: REGION, endpoint, credentials });
  return new DynamoDbOnlineStore({ client, table: 'features', reader: lightReader({ endpoint, region: REGION, table: 'features', credentials }) });
}

function vectors({ opensearch }: DependencyPorts): OpenSearchVectorSearch {
  return new OpenSearchVectorSearch({ endpoint: `http://${HOST}:${opensearch}`, signer: new Sigv4Signer({ region: REGION, service: 'es', credentials }) });
}

function authenticator(given: ServiceSettings['issuer']): Authenticator {
  if (!given) return NO_AUTHENTICATION;
  const { jwks, ...issuer } = given;
  const jwksUri = `${issuer.issuer}/keys`;
  const cache = new SimpleJwksCache();
  cache.addJwks(jwksUri, jwks as Parameters<typeof cache.addJwks>[1]);
  const options = { ...issuer, jwksUri, scopes: ['infer'], clock: SYSTEM_CLOCK, logger: SILENT };
  return new TokenAuthenticator({ ...options, verifier: new AccessTokenVerifier(options, cache) });
}

async function main(): Promise<void> {
  letHeapGrow();
  const { dependencies, receivers = dependencies, stores = false, certificates, telemetry, issuer } = settings<ServiceSettings>();
  const configuration = stores ? CONFIGURATION : BARE;
  const model = new NoModel();
  const service = createService({
    configuration,
    manifests,
    rollout: rolloutOf(configuration),
    runtime: dependencies ? triton(dependencies, certificates) : model,
    features: stores ? features(dependencies!) : undefined,
    vectors: stores ? vectors(dependencies!) : undefined,
    logger: SILENT,
    authenticator: authenticator(issuer),
    telemetry: telemetry ? createTelemetry({
      declaration: telemetry === true ? DEFAULT_TELEMETRY : telemetry,
      configuration,
      clock: SYSTEM_CLOCK,
      logger: SILENT,
      otlpEndpoint: `http://${HOST}:${receivers!.otlp}/v1/traces`,
      emfEndpoint: `${HOST}:${receivers!.emf}`,
      statistics: { sink: { write: async () => undefined, close: async () => undefined } },
    }) : undefined,
  });
  const [http, grpc] = await Promise.all([service.rest.listen({ host: HOST, port: 0 }), service.grpc.listen({ host: HOST, port: 0 })]);
  await service.start();
  // a version of another process is taken up when that process is asked the next time
  while (!service.isReady()) await new Promise((resolve) => setTimeout(resolve, 20));
  const portOf = (url: string) => Number(url.slice(url.lastIndexOf(':') + 1));
  report({ http: portOf(http), grpc: portOf(grpc) }, { hold: () => model.hold(), release: () => model.release(), inModel: () => model.waiting });
}

void main();
