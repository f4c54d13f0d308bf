/** The ports on AWS, by what the bindings name. Credentials are the pod's own (EKS Pod Identity). */
import { AppConfigDataClient } from '@aws-sdk/client-appconfigdata';
import { DynamoDBClient } from '@aws-sdk/client-dynamodb';
import { S3Client } from '@aws-sdk/client-s3';
import { SageMakerRuntimeClient } from '@aws-sdk/client-sagemaker-runtime';
import { fromNodeProviderChain } from '@aws-sdk/credential-providers';
import { type Bindings, requireBinding, under } from './mounted-files';
import { type BrainConfiguration, Paths } from '../../src/contract';
import { AbsentRuntime } from '../adapters/aws/absent-runtime';
import { AppConfigRollout } from '../adapters/aws/appconfig-rollout';
import { ArtifactBucket } from '../adapters/aws/artifact-bucket';
import { DynamoDbOnlineStore, endpointOf, lightReader } from '../adapters/aws/dynamodb-online-store';
import { OpenSearchVectorSearch } from '../adapters/aws/opensearch-vector-search';
import { SageMakerRuntime } from '../adapters/aws/sagemaker-runtime';
import { Sigv4Signer } from '../adapters/aws/sigv4';
import { TritonRuntime } from '../adapters/aws/triton-runtime';
import type { Logger, ManifestSource, ModelRuntime, OnlineFeatureStore, VectorSearch } from '../core/ports';
import { MONOTONIC_CLOCK } from '../core/resilience/monotonic-clock';
import type { Telemetry } from '../core/telemetry';

/** Sockets to one service, beyond which calls queue: above the concurrency of one pod. */
const SOCKETS = 256;

/** Bounds of one attempt; the SDK's own default is to wait without end. */
const http = (requestTimeout: number) => ({ connectionTimeout: 1000, requestTimeout, httpsAgent: { maxSockets: SOCKETS, keepAlive: true } });

export interface AwsPorts {
  readonly features?: OnlineFeatureStore;
  readonly vectors?: VectorSearch;
  readonly runtime: ModelRuntime;
  readonly manifests: ManifestSource;
  readonly rollout: AppConfigRollout;
  /**
   * Asks each store once, so that credentials and connections are there before the first request, whose time limits are short. Never fails,
   * and takes {@link WARM_MS} at most.
   */
  warm(): Promise<void>;
  close(): Promise<void>;
}

const WARM_MS = 3000;

/**
 * Fails with INVALID_CONFIGURATION where a binding is missing that the configuration needs.
 *
 * @param root under which the certificates towards the runtime are mounted
 */
export function awsPorts(configuration: BrainConfiguration, bindings: Bindings, root: string, logger: Logger, telemetry: Telemetry): AwsPorts {
  const region = requireBinding(bindings, 'REGION');
  const s3 = new S3Client({ region, requestHandler: http(10_000) });
  const artifacts = new ArtifactBucket(s3, requireBinding(bindings, 'ARTIFACT_BUCKET'));
  const rollout = new AppConfigRollout({
    client: new AppConfigDataClient({ region, requestHandler: http(5000) }),
    application: requireBinding(bindings, 'ROLLOUT_APPLICATION'),
    environment: requireBinding(bindings, 'ROLLOUT_ENVIRONMENT'),
    profile: requireBinding(bindings, 'ROLLOUT_PROFILE'),
    logger,
    lastGood: () => artifacts.lastGoodRollout(),
  });
  const features = configuration.featureGroups.length === 0 ? undefined : featureStore(region, requireBinding(bindings, 'FEATURE_TABLE'), telemetry);
  const vectors = configuration.vectorIndexes.length === 0 ? undefined : vectorSearch(region, requireBinding(bindings, 'VECTOR_ENDPOINT'), telemetry);
  const runtime = modelRuntime(bindings, region, under(root, Paths.RUNTIME_CERTIFICATES), configuration.limits.requestTimeoutMs, logger, telemetry);
  return {
    features,
    vectors,
    runtime,
    manifests: artifacts,
    rollout,
    warm: () => warm(configuration, features, vectors),
    close: async () => {
      await Promise.all([rollout.close(), runtime.close(), features?.close(), vectors?.close()]);
      s3.destroy();
    },
  };
}

async function warm({ featureGroups, vectorIndexes }: BrainConfiguration, features?: OnlineFeatureStore, vectors?: VectorSearch): Promise<void> {
  const context = { deadline: MONOTONIC_CLOCK.now() + WARM_MS };
  // no entity is called so, and a vector of ones is as good as any: the answers are thrown away
  await Promise.allSettled([
    ...featureGroups.slice(0, 1).map((group) => features?.read([{ group, entity: group.entityKeys.map(() => '0') }], context)),
    ...vectorIndexes.slice(0, 1).map((index) => vectors?.search([{ index, vector: new Float32Array(index.dimension).fill(1), k: 1 }], context)),
  ]);
}

function featureStore(region: string, table: string, telemetry: Telemetry): OnlineFeatureStore {
  const client = new DynamoDBClient({ region, requestHandler: http(2000) });
  const endpoint = endpointOf(client, region, process.env);
  const onRetry = () => telemetry.count('retry', 'features');
  const reader = lightReader({ endpoint, region, table, credentials: fromNodeProviderChain(), maxSockets: SOCKETS, onRetry });
  return new DynamoDbOnlineStore({ client, table, reader });
}

function vectorSearch(region: string, endpoint: string, telemetry: Telemetry): VectorSearch {
  const signer = new Sigv4Signer({ region, service: 'es', credentials: fromNodeProviderChain() });
  return new OpenSearchVectorSearch({ endpoint, signer, onRetry: () => telemetry.count('retry', 'vectors') });
}

function modelRuntime(
  { TRITON_ENDPOINT, TRITON_CANDIDATE_ENDPOINT, SAGEMAKER_ENDPOINT }: Bindings, region: string, certificates: string, timeoutMs: number,
  logger: Logger, telemetry: Telemetry,
): ModelRuntime {
  if (TRITON_ENDPOINT) {
    const candidate = TRITON_CANDIDATE_ENDPOINT || undefined;
    return TritonRuntime.connect(TRITON_ENDPOINT, { env: process.env, candidate, certificates, timeoutMs, logger, telemetry });
  }
  if (SAGEMAKER_ENDPOINT) {
    // retries are the guard's, within its budget: those of the SDK would come on top
    const client = new SageMakerRuntimeClient({ region, requestHandler: http(timeoutMs), maxAttempts: 1 });
    return new SageMakerRuntime({ client, endpoint: SAGEMAKER_ENDPOINT });
  }
  logger.warn({}, 'no model runtime is bound: no model becomes ready');
  return new AbsentRuntime();
}
