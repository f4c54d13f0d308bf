/** All that a pod of the inference service meets in a cluster: real Triton and DynamoDB, the Kubernetes API, and stand-ins for what only AWS has. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { App, Stack } from 'aws-cdk-lib';
import { AwsStandIn, POD_TOKEN } from './aws';
import type { ContainerOptions } from './container';
import { Pod } from './pod';
import { DynamoDbOnlineStore } from '../../../runtime/adapters/aws/dynamodb-online-store';
import { digestOf } from '../../../runtime/core/digest';
import { Brain, BrainEnvironment, ContainerImage, EntityKey, Feature, FeatureGroup, Model, ModelRuntime } from '../../../src';
import { Binding, type BrainConfiguration, type ModelManifest, Namespace, Paths, Port } from '../../../src/contract';
import { FakeKubernetes } from '../../runtime/adapters-aws/kubernetes.fixture';
import { issue, makeAuthority, type Pair } from '../../support/certificates';
import { FaultProxy } from '../../support/fault-proxy';
import { createTable, DynamoDbLocal } from '../features/dynamodb-local';
import { startTriton } from '../triton/pool';
import { startScript } from '../triton/start-script';

export const MODEL = 'fares';
/** Whose features stand in the table: 3 times the distance, plus 2. */
export const DRIVER = { id: 7, perMile: 3, flagFall: 2 };
const TABLE = 'features';
/** The runtime's service, which the certificate of Triton names. */
const RUNTIME = `triton-stable.${Namespace.RUNTIME}.svc`;
const ZONE = 'eu-central-1a';

const manifest = (version: string): ModelManifest => ({
  schemaVersion: '1',
  name: MODEL,
  version,
  platform: 'python',
  files: [{ path: 'model.py', digest: digestOf(version), bytes: 1 }],
  inputs: [{ name: 'distance', datatype: 'FP32', shape: [-1, 1] }, { name: 'driver_features', datatype: 'FP32', shape: [-1, 2] }],
  outputs: [{ name: 'fare', datatype: 'FP32', shape: [-1, 1] }],
  enrichment: {
    entities: [{ input: 'driver', datatype: 'INT64' }],
    features: [{ tensor: 'driver_features', keys: ['driver'], groups: [{ group: 'drivers', features: ['per_mile', 'flag_fall'] }] }],
  },
});
const MANIFESTS = new Map(['1', '2'].map((version) => [version, JSON.stringify(manifest(version))]));

const APPROVED = Object.fromEntries([...MANIFESTS].map(([version, text]) => [version, { digest: digestOf(text) }]));

/** Reviewers' YAML of a brain with one model and one group of features. */
function synthesize(outdir: string): string {
  const app = new App({ outdir, analyticsReporting: false });
  new Brain(new Stack(app, 'Fares', { env: { region: 'eu-central-1' } }), 'Brain', {
    environment: BrainEnvironment.dev(),
    models: [Model.declare(MODEL, { owner: 'tests' })],
    featureGroups: [FeatureGroup.define('drivers', {
      owner: 'tests',
      entityKeys: [EntityKey.int64('driver')],
      features: [Feature.float32('per_mile', { defaultValue: 1 }), Feature.float32('flag_fall', { defaultValue: 5 })],
    })],
    runtime: ModelRuntime.triton({ image: ContainerImage.fromRegistry('nvcr.io/nvidia/tritonserver', `sha256:${'0'.repeat(64)}`) }),
  });
  app.synth();
  return join(outdir, Paths.ASSEMBLY, 'brain', 'manifests', 'inference-service.yaml');
}

export interface Surroundings {
  readonly aws: AwsStandIn;
  readonly pod: Pod;
  /** Stands between the pod and Triton. */
  readonly proxy: FaultProxy;
  /** Signs the certificates of the service and of those who call it. */
  readonly authority: Pair;
  /** The version that the rollout document names from now on. */
  release(version: string): void;
  /** What of a container is not in its pod: the ports of this machine that it serves on, and where its dependencies are. */
  container(args: readonly string[]): ContainerOptions;
  stop(): Promise<void>;
}

/**
 * @param asked told of what arrives on the way to Triton
 */
export async function surround(asked: (bytes: Buffer) => void): Promise<Surroundings> {
  const ends: (() => unknown)[] = [];
  const stop = async () => {
    for (const end of ends.splice(0).reverse()) await end();
  };
  try {
    const aws = await AwsStandIn.start();
    ends.push(() => aws.stop());
    for (const [version, text] of MANIFESTS) aws.objects.set(`${Paths.MODELS}/${MODEL}/${version}/${Paths.MODEL_MANIFEST_FILE}`, text);

    const [authority, runtimeAuthority] = [await makeAuthority('clients'), await makeAuthority('runtime')];
    const runtime = await issue(runtimeAuthority, { dns: RUNTIME });
    const triton = await startTriton(startScript(), [MODEL], { tls: { ...runtime, ca: runtimeAuthority.cert } });
    ends.push(() => triton.stop());
    const proxy = await FaultProxy.start(triton.ports.grpc, { record: (chunk, direction) => direction === 'up' && asked(chunk) });
    ends.push(() => proxy.close());

    const kubernetes = await FakeKubernetes.start();
    ends.push(() => kubernetes.stop());
    kubernetes.slices = [{
      metadata: { name: 'triton', resourceVersion: '1' },
      addressType: 'IPv4',
      ports: [{ name: 'grpc', port: proxy.port }],
      endpoints: [{ addresses: ['127.0.0.1'], zone: ZONE, conditions: { ready: true } }],
    }];

    const outdir = mkdtempSync(join(tmpdir(), 'image-app-'));
    ends.push(() => rmSync(outdir, { recursive: true, force: true }));
    const secret = async (of: Pair) => {
      const { cert, key } = await issue(of);
      return { 'tls.crt': cert, 'tls.key': key, 'ca.crt': of.cert };
    };
    const pod = Pod.fromManifest(synthesize(outdir), {
      bindings: {
        [Binding.REGION]: 'eu-central-1',
        [Binding.FEATURE_TABLE]: TABLE,
        [Binding.ARTIFACT_BUCKET]: aws.bucket,
        [Binding.ROLLOUT_APPLICATION]: aws.profile.application,
        [Binding.ROLLOUT_ENVIRONMENT]: aws.profile.environment,
        [Binding.ROLLOUT_PROFILE]: aws.profile.profile,
        [Binding.TRITON_ENDPOINT]: `grpcs://${RUNTIME}:${Port.TRITON_GRPC}`,
      },
      secrets: { 'inference-service-tls': await secret(authority), 'inference-service-runtime-tls': await secret(runtimeAuthority) },
      api: { token: readFileSync(kubernetes.api.tokenFile, 'utf8'), authority: readFileSync(kubernetes.api.authorityFile, 'utf8') },
      fields: { 'metadata.name': 'inference-service-0', 'metadata.namespace': Namespace.INFERENCE, "metadata.labels['topology.kubernetes.io/zone']": ZONE },
    });
    ends.push(() => pod.remove());

    const dynamodb = await DynamoDbLocal.start();
    ends.push(() => dynamodb.stop());
    await fill(dynamodb, JSON.parse(pod.brain));

    const surroundings: Surroundings = {
      aws,
      pod,
      proxy,
      authority,
      stop,
      release: (version) => aws.release({
        schemaVersion: '1',
        models: { [MODEL]: { stable: version, versions: APPROVED } },
      }),
      container: (args) => ({
        args,
        mounts: pod.mounts,
        hosts: [RUNTIME],
        variables: {
          ...pod.variables,
          // what EKS Pod Identity adds to a pod at admission, with the agent at another address
          AWS_CONTAINER_CREDENTIALS_FULL_URI: `${aws.url}/v1/credentials`,
          AWS_CONTAINER_AUTHORIZATION_TOKEN: POD_TOKEN,
          // services at addresses of this machine
          AWS_ENDPOINT_URL: aws.url,
          AWS_ENDPOINT_URL_DYNAMODB: `http://127.0.0.1:${dynamodb.port}`,
          KUBERNETES_SERVICE_HOST: kubernetes.api.host,
          KUBERNETES_SERVICE_PORT: `${kubernetes.api.port}`,
        },
      }),
    };
    surroundings.release('1');
    return surroundings;
  } catch (error) {
    await stop();
    throw error;
  }
}

/** One driver, whose features are known. DynamoDB Local keeps the tables of all credentials and Regions together. */
async function fill(server: DynamoDbLocal, { featureGroups: [group] }: BrainConfiguration): Promise<void> {
  const client = server.client();
  await createTable(client, TABLE);
  const store = new DynamoDbOnlineStore({ client, table: TABLE });
  const now = Date.now();
  const values = { per_mile: DRIVER.perMile, flag_fall: DRIVER.flagFall };
  await store.write([{ group, entity: [`${DRIVER.id}`], eventTime: now, createdTime: now, values }]);
  await store.close();
}
