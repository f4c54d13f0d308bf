/** One brain in each of the three environments, with everything that a brain can have: what gates and simulations look at beyond the examples. */
import { App, CfnWaitConditionHandle, Duration, type Environment, Size, Stack } from 'aws-cdk-lib';
import { Certificate } from 'aws-cdk-lib/aws-certificatemanager';
import { Repository } from 'aws-cdk-lib/aws-ecr';
import { type Context, temporaryFolder } from './examples';
import { Templates } from './templates';
import {
  Accelerator, BrainEnvironment, BrainStage, ContainerImage, EdgeStrategy, EntityKey, Feature, FeatureGroup, Model, ModelRuntime, Similarity,
  VectorField, VectorIndex,
} from '../../src';

export const PROFILES = ['dev', 'staging', 'prod'] as const;
export type Profile = typeof PROFILES[number];

export const ACCOUNT = '111122223333';
export const REGION = 'us-east-1';
const ENV: Environment = { account: ACCOUNT, region: REGION };

/** What the brain of each profile declares. */
export const PROFILE_MODEL = 'ranker';
export const PROFILE_GROUP = FeatureGroup.define('customers', {
  owner: 'tests',
  entityKeys: [EntityKey.string('customer')],
  ttl: Duration.days(90),
  features: [Feature.float32('basket', { defaultValue: 0 })],
});

/** The app, which writes to `outdir`; `app.synth()` is up to the caller. */
export function createProfile(profile: Profile, outdir: string, context: Context = {}): App {
  const app = new App({ outdir, context, analyticsReporting: false });
  const given = new Stack(app, 'Given', { env: ENV, description: 'What stands in the account already' });
  // no stack without a resource can be deployed
  new CfnWaitConditionHandle(given, 'Nothing');
  const repository = Repository.fromRepositoryAttributes(given, 'Triton', {
    repositoryName: 'tritonserver', repositoryArn: `arn:aws:ecr:${REGION}:${ACCOUNT}:repository/tritonserver`,
  });
  const certificate = Certificate.fromCertificateArn(given, 'Certificate', `arn:aws:acm:${REGION}:${ACCOUNT}:certificate/00000000-0000-4000-8000-000000000000`);
  new BrainStage(app, 'Brain', {
    env: ENV,
    environment: BrainEnvironment[profile](),
    models: [Model.declare(PROFILE_MODEL, { owner: 'tests' })],
    featureGroups: [PROFILE_GROUP],
    vectorIndexes: [VectorIndex.define('offers', { dimension: 2, similarity: Similarity.L2, fields: [VectorField.float('margin')] })],
    cluster: { accelerator: Accelerator.L4 },
    runtime: ModelRuntime.triton({
      image: ContainerImage.fromEcr(repository, `sha256:${'0'.repeat(64)}`), resources: { memory: Size.gibibytes(16), modelStorage: Size.gibibytes(40) },
    }),
    inference: { telemetry: { traces: 0.05, capture: 1, statistics: 1 }, grpcNamespaces: ['storefront'] },
    edge: EdgeStrategy.apiGateway({
      jwt: { issuer: 'https://login.example.com', audience: 'offers', scopes: ['brain/infer'] },
      backend: { certificate, hostName: 'backend.brain.example.com' },
      clients: [{ clientId: 'storefront', throttle: { rate: 50, burst: 100 } }],
    }),
  });
  return app;
}

/** Synthesizes a profile in this process and returns its assembly and its templates. @param prepare adds what only one test looks at */
export function synthesizeProfile(
  profile: Profile, prepare: (app: App) => void = () => undefined,
): { readonly directory: string; readonly templates: Templates } {
  const app = createProfile(profile, temporaryFolder());
  prepare(app);
  const { directory } = app.synth();
  return { directory, templates: Templates.fromAssembly(directory) };
}
