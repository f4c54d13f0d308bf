import { App, Stack } from 'aws-cdk-lib';
import { Match, Template } from 'aws-cdk-lib/assertions';
import { Accelerator, ContainerImage } from '../../src/cluster';
import { EdgeStrategy, IBrainEdge } from '../../src/edge';
import { BrainEnvironment } from '../../src/environment';
import { EntityKey, Feature, FeatureGroup } from '../../src/features';
import { ModelRuntime } from '../../src/model-runtime';
import { TelemetrySink } from '../../src/observability';
import { DataPlane, DataPlaneProps, FoundationPlane, ServingPlane, ServingPlaneProps } from '../../src/planes';
import { Model } from '../../src/registry';
import { CertificateAuthority } from '../../src/security';
import { Similarity, VectorIndex } from '../../src/vectors';
import { DIGEST, manifestObjects, oneOfKind } from '../cluster/fixture';

const env = { account: '111122223333', region: 'eu-central-1' };
const featureGroups = [FeatureGroup.define('house', { owner: 'pricing', entityKeys: [EntityKey.string('house_id')], features: [Feature.float32('area')] })];
const vectorIndexes = [VectorIndex.define('listings', { dimension: 3, similarity: Similarity.COSINE })];
const models = [Model.declare('price', { owner: 'pricing' })];
const runtime = ModelRuntime.triton({ image: ContainerImage.fromRegistry('registry.example/triton', DIGEST) });

/** A serving plane in a stack of its own, after those of the foundation and the data, as in `BrainStage`. */
function servingPlane(props: Partial<ServingPlaneProps> = {}, environment = BrainEnvironment.dev(), dataProps: Partial<DataPlaneProps> = {}) {
  const app = new App();
  const [foundationStack, dataStack, stack] = ['Foundation', 'Data', 'Serving'].map((id) => new Stack(app, id, { env }));
  const declarations = { featureGroups: props.featureGroups ?? [], vectorIndexes: props.vectorIndexes ?? [] };
  const foundation = new FoundationPlane(foundationStack, 'Plane', { environment });
  const data = new DataPlane(dataStack, 'Plane', { environment, foundation, name: 'brain', ...declarations, ...dataProps });
  const plane = new ServingPlane(stack, 'Plane', { environment, foundation, data, name: 'brain', models: [], ...declarations, ...props });
  return { app, foundationStack, dataStack, stack, plane, foundation };
}

describe('ServingPlane', () => {
  test('a brain without models, features, vectors and runtime has a service that reads artifacts and the rollout document', () => {
    const { stack, plane } = servingPlane();
    expect(plane.runtime).toBeUndefined();
    expect(plane.edge).toBeUndefined();
    const objects = manifestObjects(stack, 'inference-service');
    expect(Object.keys(oneOfKind(objects, 'ConfigMap', 'bindings').data)).toEqual(
      ['ARTIFACT_BUCKET', 'EMF_ENDPOINT', 'EMF_LOG_GROUP', 'OTLP_ENDPOINT', 'REGION', 'ROLLOUT_APPLICATION', 'ROLLOUT_ENVIRONMENT', 'ROLLOUT_PROFILE'],
    );
    expect(JSON.parse(oneOfKind(objects, 'ConfigMap', 'brain').data['brain.json'])).toMatchObject({ models: [], featureGroups: [], vectorIndexes: [] });
  });

  test('features, vectors and a runtime are bound where the brain has them', () => {
    const { stack } = servingPlane({ models, featureGroups, vectorIndexes, runtime });
    const objects = manifestObjects(stack, 'inference-service');
    expect(Object.keys(oneOfKind(objects, 'ConfigMap', 'bindings').data)).toEqual(expect.arrayContaining(['FEATURE_TABLE', 'VECTOR_ENDPOINT', 'TRITON_ENDPOINT']));
    expect(JSON.parse(oneOfKind(objects, 'ConfigMap', 'brain').data['brain.json'])).toMatchObject({
      models: [{ name: 'price' }], featureGroups: [{ name: 'house' }], vectorIndexes: [{ name: 'listings' }],
    });
  });

  test('service and runtime get certificates from an authority in the cluster, unless another is chosen', () => {
    const certificates = (props: Partial<ServingPlaneProps>) => manifestObjects(servingPlane(props).stack, 'inference-service-certificates')
      .map(({ metadata, spec }) => [metadata.namespace, spec.secretName, spec.usages, spec.issuerRef.name]);
    expect(certificates({ runtime })).toEqual([
      ['thalos-inference', 'inference-service-tls', ['server auth'], 'thalos-brain'],
      ['thalos-inference', 'inference-service-runtime-tls', ['client auth'], 'thalos-brain'],
    ]);
    expect(certificates({ services: { certificates: CertificateAuthority.issuer({ name: 'platform' }) } })).toEqual([
      ['thalos-inference', 'inference-service-tls', ['server auth'], 'platform'],
    ]);
  });

  test('without an authority nothing of cert-manager is installed or made', () => {
    const { stack, plane } = servingPlane({ services: { certificates: CertificateAuthority.none() } });
    expect(plane.certificates).toBeUndefined();
    expect(JSON.stringify(Template.fromStack(stack).toJSON())).not.toContain('cert-manager');
  });

  test('without a sink for telemetry there is no agent, and nothing leaves for one', () => {
    const { stack } = servingPlane({ inference: { telemetry: { sink: TelemetrySink.none() } } });
    Template.fromStack(stack).resourcePropertiesCountIs('AWS::EKS::Addon', { AddonName: 'amazon-cloudwatch-observability' }, 0);
    const objects = manifestObjects(stack, 'inference-service');
    expect(Object.keys(oneOfKind(objects, 'ConfigMap', 'bindings').data)).not.toEqual(expect.arrayContaining([expect.stringMatching(/^(EMF|OTLP)_/)]));
  });

  test('the tokens of the edge, or those of the service itself, travel to the service', () => {
    const tokens = { issuer: 'https://login.example.com', audience: 'brain', scopes: ['brain/infer', 'brain/read'] };
    const expected = {
      JWT_ISSUER: 'https://login.example.com', JWT_AUDIENCE: 'brain', JWT_SCOPES: 'brain/infer brain/read', JWKS_URI: 'https://login.example.com/.well-known/jwks.json',
    };
    const edge = EdgeStrategy.apiGateway({ jwt: tokens });
    for (const props of [{ edge }, { inference: { tokens } }, { edge, inference: { tokens } }]) {
      const { data } = oneOfKind(manifestObjects(servingPlane(props).stack, 'inference-service'), 'ConfigMap', 'bindings');
      expect(data).toMatchObject(expected);
    }
  });

  test('fails when edge and service accept different tokens', () => {
    const tokens = { issuer: 'https://login.example.com', audience: 'brain', scopes: ['brain/infer'] };
    expect(() => servingPlane({ edge: EdgeStrategy.apiGateway({ jwt: tokens }), inference: { tokens: { ...tokens, audience: 'another' } } }))
      .toThrow(/DuplicateBinding: binding JWT_AUDIENCE is 'another' already and cannot be 'brain' too/);
  });

  test.each([[undefined, 1], [0, 0]])('with a share of statistics of %p the service may put them beside the artifacts, by %d policies', (statistics, count) => {
    const { app, dataStack } = servingPlane({ inference: { telemetry: { statistics } } });
    app.synth();
    const policies = Object.entries(Template.fromStack(dataStack).findResources('AWS::IAM::Policy')).filter(([id]) => /WriteStatisticsByInferenceService/.test(id));
    expect(policies).toHaveLength(count);
    for (const [, policy] of policies) {
      expect(policy.Properties.PolicyDocument.Statement[0]).toMatchObject({ Action: 's3:PutObject', Resource: { 'Fn::Join': ['', [expect.anything(), '/statistics/*']] } });
      expect(JSON.stringify(policy)).not.toContain('s3:GetObject');
    }
  });

  test('captured payloads are written by the service, by a policy of the data plane', () => {
    const { stack, dataStack } = servingPlane({ inference: { telemetry: { capture: 0.1 } } }, undefined, { capture: true });
    expect(Object.keys(oneOfKind(manifestObjects(stack, 'inference-service'), 'ConfigMap', 'bindings').data)).toContain('CAPTURE_STREAM');
    expect(JSON.parse(oneOfKind(manifestObjects(stack, 'inference-service'), 'ConfigMap', 'brain').data['brain.json']).telemetry.capture).toBe(0.1);
    Template.fromStack(dataStack).resourceCountIs('AWS::KinesisFirehose::DeliveryStream', 1);
  });

  test('the service\'s pods get the role that the foundation made for them', () => {
    const { stack, foundation } = servingPlane();
    Template.fromStack(stack).hasResourceProperties('AWS::EKS::PodIdentityAssociation', { RoleArn: stack.resolve(foundation.roles.inference.roleArn) });
  });

  test('secrets and logs are encrypted with the foundation\'s keys', () => {
    const { stack, foundation } = servingPlane();
    const t = Template.fromStack(stack);
    t.hasResourceProperties('AWS::EKS::Cluster', { EncryptionConfig: [{ Provider: { KeyArn: stack.resolve(foundation.keys.cluster.keyArn) } }] });
    t.allResourcesProperties('AWS::Logs::LogGroup', { KmsKeyId: stack.resolve(foundation.keys.logs.keyArn) });
  });

  test('references go one way: neither foundation nor data know the serving stack', () => {
    const full = { models, featureGroups, vectorIndexes, runtime, cluster: { accelerator: Accelerator.L4 } };
    const { app, foundationStack, dataStack, stack } = servingPlane(full);
    app.synth();
    expect(foundationStack.dependencies).toEqual([]);
    expect(dataStack.dependencies.map((dependency) => dependency.node.id)).not.toContain('Serving');
    expect(stack.dependencies.map((dependency) => dependency.node.id)).toEqual(expect.arrayContaining(['Foundation']));
  });

  test('GPU node groups stand in the three zones of the foundation\'s network', () => {
    const { stack } = servingPlane({ cluster: { accelerator: Accelerator.L4 } });
    const subnets = Object.values(Template.fromStack(stack).findResources('AWS::EKS::Nodegroup')).map((group) => JSON.stringify(group.Properties.Subnets));
    expect(new Set(subnets).size).toBe(3);
  });

  test('an edge is bound to the service, after everything that it fronts', () => {
    const bound: unknown[] = [];
    class Probe extends EdgeStrategy {
      /** @internal */
      override _bind(...[, context]: Parameters<EdgeStrategy['_bind']>): IBrainEdge {
        bound.push(context.service, context.cluster);
        return context.service as unknown as IBrainEdge;
      }
    }
    const { plane } = servingPlane({ edge: new Probe() });
    expect(bound).toEqual([plane.inference, plane.cluster]);
  });

  test('it stays lean: a dev brain without GPUs serves with 42 resources at most', () => {
    const { stack } = servingPlane({ models, featureGroups, vectorIndexes, runtime });
    expect(Object.keys(Template.fromStack(stack).toJSON().Resources).length).toBeLessThanOrEqual(42);
  });

  test('fails in prod with a runtime image of another registry', () => {
    expect(() => servingPlane({ runtime }, BrainEnvironment.prod())).toThrow(/ForeignImage/);
  });

  test('two runs give the same templates', () => {
    const templates = () => JSON.stringify(Template.fromStack(servingPlane({ models, featureGroups, vectorIndexes, runtime }).stack).toJSON());
    expect(templates()).toBe(templates());
  });

  test('the policies of the service name what they allow', () => {
    const { dataStack, stack } = servingPlane({ featureGroups, vectorIndexes });
    for (const each of [dataStack, stack]) {
      Template.fromStack(each).resourcePropertiesCountIs('AWS::IAM::Policy', {
        PolicyDocument: { Statement: Match.arrayWith([Match.objectLike({ Action: Match.stringLikeRegexp('^[a-z0-9-]+:\\*$|^\\*$') })]) },
      }, 0);
    }
  });
});
