import { App, RemovalPolicy, Stage, Stack } from 'aws-cdk-lib';
import { Template } from 'aws-cdk-lib/assertions';
import { Repository } from 'aws-cdk-lib/aws-ecr';
import { Accelerator, BrainStage, ContainerImage, EntityKey, Feature, FeatureGroup, Model, ModelRuntime, Similarity, VectorIndex } from '../../src';
import { BrainEnvironment } from '../../src/environment';

/** How many resources of each type each stack of a brain holds. */
function shapeOf(environment: BrainEnvironment): object {
  const app = new App();
  const image = ContainerImage.fromEcr(Repository.fromRepositoryName(new Stack(app, 'Images'), 'Triton', 'triton'), `sha256:${'0'.repeat(64)}`);
  const stage = new BrainStage(app, 'Brain', {
    environment,
    env: { region: 'eu-central-1' },
    models: [Model.declare('m', { owner: 'o' })],
    featureGroups: [FeatureGroup.define('g', { owner: 'o', entityKeys: [EntityKey.string('e')], features: [Feature.float32('f')] })],
    vectorIndexes: [VectorIndex.define('v', { dimension: 8, similarity: Similarity.L2 })],
    cluster: { accelerator: Accelerator.L4 },
    runtime: ModelRuntime.triton({ image }),
  });
  const stacks = Stage.of(stage.foundation)!.node.children.filter(Stack.isStack);
  return Object.fromEntries(stacks.map((stack) => {
    const types = Object.values(Template.fromStack(stack).toJSON().Resources as { [id: string]: { Type: string } }).map(({ Type }) => Type).sort();
    return [stack.node.id, Object.fromEntries([...new Set(types)].map((type) => [type, types.filter((each) => each === type).length]))];
  }));
}

test('staging has the shape of prod', () => {
  expect(shapeOf(BrainEnvironment.staging())).toEqual(shapeOf(BrainEnvironment.prod()));
});

test('dev is small and leaves nothing behind, staging and prod keep their data', () => {
  expect(BrainEnvironment.dev()).toMatchObject({
    removalPolicy: RemovalPolicy.DESTROY, deletionProtection: false, natGateways: 1, requestsPerSecond: 100,
  });
  for (const environment of [BrainEnvironment.staging(), BrainEnvironment.prod()]) {
    expect(environment).toMatchObject({
      removalPolicy: RemovalPolicy.RETAIN, deletionProtection: true, natGateways: 3, foreignImages: false, requestsPerSecond: 1000,
    });
  }
});

test('an environment of your own is prod but for what it says', () => {
  expect(BrainEnvironment.custom('canary', { natGateways: 1 })).toMatchObject({ ...BrainEnvironment.prod(), name: 'canary', natGateways: 1 });
});

test.each([
  ['a name that is no name', 'Prod!', {}, /InvalidName.*'Prod!'/],
  ['four NAT gateways', 'x', { natGateways: 4 }, /NatGateways.*got 4/],
  ['half a replica', 'x', { replicas: 0.5 }, /Replicas.*got 0.5/],
  ['a quota of nothing', 'x', { requestsPerSecond: 0 }, /RequestsPerSecond.*got 0/],
])('fails with %s', (_, name, props, message) => {
  expect(() => BrainEnvironment.custom(name, props)).toThrow(message);
});
