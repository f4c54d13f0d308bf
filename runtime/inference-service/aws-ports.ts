/** The ports on AWS, by what the bindings name. Credentials are the pod's own (EKS Pod Identity). */
import { AppConfigDataClient } from '@aws-sdk/client-appconfigdata';
import { DynamoDBClient } from '@aws-sdk/client-dynamodb';
import { S3Client } from '@aws-sdk/client-s3';
import { SageMakerRuntimeClient } from '@aws-sdk/client-sagemaker-runtime';
import { fromNodeProviderChain } from '@aws-sdk/credential-providers';
import { Client } from '@opensearch-project/opensearch';
import { AwsSigv4Signer } from '@opensearch-project/opensearch/aws-v3';
import { type Bindings, requireBinding } from './mounted-files';
import type { BrainConfiguration } from '../../src/contract';
import { AbsentRuntime } from '../adapters/aws/absent-runtime';
import { AppConfigRollout } from '../adapters/aws/appconfig-rollout';
import { ArtifactBucket } from '../adapters/aws/artifact-bucket';
import { DynamoDbOnlineStore } from '../adapters/aws/dynamodb-online-store';
import { OpenSearchVectorSearch } from '../adapters/aws/opensearch-vector-search';
import { SageMakerRuntime } from '../adapters/aws/sagemaker-runtime';
import { TritonRuntime } from '../adapters/aws/triton-runtime';
import type { Logger, ManifestSource, ModelRuntime, OnlineFeatureStore, VectorSearch } from '../core/ports';

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
  close(): Promise<void>;
}

/** Fails with INVALID_CONFIGURATION where a binding is missing that the configuration needs. */
export function awsPorts(configuration: BrainConfiguration, bindings: Bindings, logger: Logger): AwsPorts {
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
  const features = configuration.featureGroups.length === 0 ? undefined
    : new DynamoDbOnlineStore({ client: new DynamoDBClient({ region, requestHandler: http(2000) }), table: requireBinding(bindings, 'FEATURE_TABLE') });
  const vectors = configuration.vectorIndexes.length === 0 ? undefined : vectorSearch(region, requireBinding(bindings, 'VECTOR_ENDPOINT'));
  const runtime = modelRuntime(region, bindings, configuration.limits.requestTimeoutMs, logger);
  return {
    features,
    vectors,
    runtime,
    manifests: artifacts,
    rollout,
    close: async () => {
      await Promise.all([rollout.close(), runtime.close(), features?.close(), vectors?.close()]);
      s3.destroy();
    },
  };
}

function vectorSearch(region: string, node: string): VectorSearch {
  const signer = AwsSigv4Signer({ region, service: 'es', getCredentials: fromNodeProviderChain() });
  return new OpenSearchVectorSearch(new Client({ ...signer, node }));
}

function modelRuntime(region: string, { TRITON_ENDPOINT, SAGEMAKER_ENDPOINT }: Bindings, timeoutMs: number, logger: Logger): ModelRuntime {
  if (TRITON_ENDPOINT) return new TritonRuntime(TRITON_ENDPOINT);
  if (SAGEMAKER_ENDPOINT) {
    return new SageMakerRuntime({ client: new SageMakerRuntimeClient({ region, requestHandler: http(timeoutMs) }), endpoint: SAGEMAKER_ENDPOINT });
  }
  logger.warn({}, 'no model runtime is bound: no model becomes ready');
  return new AbsentRuntime();
}
