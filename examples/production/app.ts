/**
 * A brain for production: a stage with one stack for each plane, three zones, a GPU node group in each of them, Triton from the
 * account's own registry, captured payloads, and an edge with a certificate. Replace what stands in `DEPLOYMENT` by your own.
 */
import { join } from 'node:path';
import { App, type AppProps, Duration, type Environment, RemovalPolicy, Size, Stack } from 'aws-cdk-lib';
import { Certificate } from 'aws-cdk-lib/aws-certificatemanager';
import { Repository, RepositoryEncryption, TagMutability } from 'aws-cdk-lib/aws-ecr';
import { Role } from 'aws-cdk-lib/aws-iam';
import { Key } from 'aws-cdk-lib/aws-kms';
import {
  Accelerator, BrainEnvironment, BrainStage, ContainerImage, EdgeStrategy, EntityKey, Feature, FeatureGroup, FeatureLock, GpuBase, GpuBurst, Keda,
  KedaImages, Model, ModelRuntime, PiiClass, PoolScaling, Similarity, TritonModel, VectorField, VectorIndex,
} from 'thalos-brain';

const DEPLOYMENT = {
  env: { account: '111122223333', region: 'us-east-1' },
  /** Repositories of images that the brain runs and does not build, and the digest that each has there once it is copied (README). */
  images: {
    triton: { repository: 'thalos/tritonserver', digest: `sha256:${'0'.repeat(64)}` },
    keda: { repository: 'thalos/keda', digest: `sha256:${'0'.repeat(64)}` },
    kedaMetricsServer: { repository: 'thalos/keda-metrics-apiserver', digest: `sha256:${'0'.repeat(64)}` },
  },
  edge: {
    certificateArn: 'arn:aws:acm:us-east-1:111122223333:certificate/00000000-0000-4000-8000-000000000000',
    hostName: 'backend.brain.example.com',
  },
  administratorRoleArn: 'arn:aws:iam::111122223333:role/platform-administrators',
  tokens: { issuer: 'https://login.example.com', audience: 'offers', scopes: ['brain/infer'] },
};

/** The account's own registry, and what stands in the account already. Deployed once, before the brain, and filled with what others build. */
class Images extends Stack {
  readonly triton: ContainerImage;
  readonly keda: KedaImages;

  constructor(scope: App, id: string, env: Environment) {
    super(scope, id, { env, description: 'Container images that the brain runs and does not build', terminationProtection: true });
    const key = new Key(this, 'Key', {
      description: 'Container images of the brain', enableKeyRotation: true, pendingWindow: Duration.days(30), removalPolicy: RemovalPolicy.RETAIN,
    });
    const image = (name: string, { repository, digest }: { repository: string; digest: string }) => {
      // The name is the contract between this stack and the brain's stage, which share no reference.
      new Repository(this, name, {
        repositoryName: repository,
        encryption: RepositoryEncryption.KMS,
        encryptionKey: key,
        imageScanOnPush: true,
        imageTagMutability: TagMutability.IMMUTABLE,
        removalPolicy: RemovalPolicy.RETAIN,
      });
      const byName = Repository.fromRepositoryAttributes(this, `${name}ByName`, {
        repositoryName: repository, repositoryArn: `arn:aws:ecr:${env.region}:${env.account}:repository/${repository}`,
      });
      return ContainerImage.fromEcr(byName, digest);
    };
    this.triton = image('Triton', DEPLOYMENT.images.triton);
    this.keda = { operator: image('Keda', DEPLOYMENT.images.keda), metricsServer: image('KedaMetricsServer', DEPLOYMENT.images.kedaMetricsServer) };
  }
}

const customerActivity = FeatureGroup.define('customer_activity', {
  owner: 'growth',
  description: 'What a customer did lately',
  entityKeys: [EntityKey.string('customer_id')],
  ttl: Duration.days(90),
  features: [
    Feature.int32('orders_30d', { defaultValue: 0, description: 'Orders in the last 30 days; a customer without a row had none' }),
    Feature.float32('mean_basket_30d', { required: true, maxAge: Duration.days(2), description: 'Mean basket of the last 30 days, US dollars' }),
    Feature.string('postal_area', { defaultValue: 'unknown', pii: PiiClass.PERSONAL, description: 'First three digits of the postal code' }),
  ],
});

const offers = VectorIndex.define('offers', {
  description: 'Offers by the embedding of their text',
  dimension: 768,
  size: { vectors: 200_000 },
  similarity: Similarity.COSINE,
  fields: [VectorField.keyword('category'), VectorField.float('margin')],
});

/** The app, without having synthesized it. */
export function createApp(props: AppProps = {}): App {
  const app = new App(props);
  const { env, edge, tokens } = DEPLOYMENT;
  const images = new Images(app, 'Images', env);

  new BrainStage(app, 'Production', {
    env,
    environment: BrainEnvironment.prod(),
    models: [
      Model.declare('offer-ranker', { owner: 'growth', description: 'Probability that a customer takes an offer', gpuMemory: Size.gibibytes(1) }),
      Model.declare('offer-embedder', { owner: 'growth', description: 'Embedding of an offer text, 768 numbers', gpuMemory: Size.gibibytes(3) }),
    ],
    featureGroups: [customerActivity],
    featureStore: { lock: FeatureLock.fromFile(join(__dirname, 'features.lock.json')) },
    vectorIndexes: [offers],
    cluster: {
      accelerator: Accelerator.L4,
      gpu: { base: GpuBase.onDemand(2), burst: GpuBurst.spot({ maxNodes: 6 }) },
      administrators: [Role.fromRoleArn(images, 'Administrators', DEPLOYMENT.administratorRoleArn, { mutable: false })],
    },
    services: { scaler: Keda.fromRepository({ images: images.keda }) },
    runtime: ModelRuntime.triton({
      image: images.triton,
      resources: { memory: Size.gibibytes(16), modelStorage: Size.gibibytes(40) },
      modelConfigurations: {
        'offer-ranker': TritonModel.onnx({ maxBatchSize: 256, dynamicBatching: { maxQueueDelay: Duration.millis(2), queue: { maxSize: 4096 } } }),
        'offer-embedder': TritonModel.tensorRt({ maxBatchSize: 64, dynamicBatching: { maxQueueDelay: Duration.millis(5), preferredBatchSizes: [16, 32, 64] }, cudaGraphs: true }),
      },
      scaling: {
        stable: PoolScaling.onDemand({ min: 3, max: 7, targetQueue: 8 }),
        candidate: PoolScaling.onDemand({ min: 0, max: 2 }),
      },
    }),
    inference: {
      scaling: PoolScaling.onDemand({ min: 3, max: 12, targetQps: 200, targetLatency: Duration.millis(250) }),
      telemetry: { traces: 0.05, capture: 0.01 },
      grpcNamespaces: ['storefront'],
    },
    edge: EdgeStrategy.apiGateway({
      jwt: tokens,
      backend: { certificate: Certificate.fromCertificateArn(images, 'BackendCertificate', edge.certificateArn), hostName: edge.hostName },
      clients: [{ clientId: 'storefront', throttle: { rate: 500, burst: 1000 } }],
    }),
  });
  return app;
}

if (require.main === module) createApp().synth();
