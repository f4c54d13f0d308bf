/** One test per trap of the deploy guide that a template can show, named after it, over both examples. */
import { App, CfnResource, Stack } from 'aws-cdk-lib';
import { Certificate } from 'aws-cdk-lib/aws-certificatemanager';
import {
  Accelerator, Brain, BrainClusterOptions, BrainEnvironment, BrainProps, ContainerImage, EdgeStrategy, GpuBase, GpuBurst, GpuNodeImage, ModelRuntime,
} from '../../src';
import { EXAMPLES, removeFolders, templatesOf } from '../support/examples';
import { Templates } from '../support/templates';
import { TRAPS } from './rules/all-traps';
import { CLUSTER_TRAPS } from './rules/cluster-traps';
import { NODE_TRAPS } from './rules/node-traps';
import { POD_TRAPS } from './rules/pod-traps';

afterAll(removeFolders);

describe('the traps themselves', () => {
  test.each(Object.entries(TRAPS))('"%s" goes red on a template that falls into it', (_name, { rule, mistake }) => {
    const stack = new Stack(new App(), 'Seeded');
    for (const [id, { type, properties, ...options }] of Object.entries(mistake)) {
      const resource = new CfnResource(stack, id, { type, properties });
      resource.overrideLogicalId(id);
      for (const [key, value] of Object.entries(options)) resource.addOverride(key, value);
    }

    expect(rule(Templates.fromStacks(stack)).map(({ message }) => message)).not.toEqual([]);
  });
});

describe.each(EXAMPLES)('examples/%s', (example) => {
  let templates: Templates;

  beforeAll(async () => {
    templates = await templatesOf(example);
  }, 120_000);

  test.each(Object.entries(TRAPS))('%s', (_name, { rule }) => {
    expect(rule(templates)).toEqual([]);
  });
});

describe('choices that no example makes', () => {
  const digest = `sha256:${'0'.repeat(64)}`;
  const brain = (cluster: BrainClusterOptions, more: Partial<BrainProps> = {}) => {
    const stack = new Stack(new App(), 'Stack', { env: { region: 'us-east-1' } });
    const runtime = ModelRuntime.triton({ image: ContainerImage.fromRegistry('registry.example/triton', digest) });
    new Brain(stack, 'Brain', { environment: BrainEnvironment.dev(), runtime, cluster, ...more });
    return Templates.fromStacks(stack);
  };
  const devicePlugin = ContainerImage.fromRegistry('registry.example/k8s-device-plugin', digest);
  const block = { reservationId: 'cr-0123456789abcdef0', nodes: 2 };
  const other = 'cr-0fedcba9876543210';

  test.each([
    ['AL2023 and spot', {
      accelerator: Accelerator.T4,
      gpu: { base: GpuBase.spot(4), burst: GpuBurst.spot({ maxNodes: 4 }), nodeImage: GpuNodeImage.al2023({ devicePlugin }) },
    }],
    ['capacity blocks without a burst', {
      accelerator: Accelerator.H100,
      gpu: { base: GpuBase.capacityBlocks({ ...block, zone: 'use1-az1' }, { ...block, reservationId: other, zone: 'use1-az2' }), burst: GpuBurst.none() },
    }],
    ['a first deploy without GPU quota', { accelerator: Accelerator.L4, gpu: { base: GpuBase.onDemand(0) } }],
  ])('%s fall into no trap of clusters, nodes and pods', (_, cluster) => {
    const templates = brain(cluster);
    expect(templates.ofType('AWS::EKS::Nodegroup').length).toBeGreaterThan(1);
    const traps = Object.entries({ ...CLUSTER_TRAPS, ...NODE_TRAPS, ...POD_TRAPS });
    expect(traps.flatMap(([name, { rule }]) => rule(templates).map((found) => ({ name, ...found })))).toEqual([]);
  }, 60_000);
});

test('A4 a changed target is deployed: the logical id of the API\'s deployment follows what its methods integrate with', () => {
  const deploymentWith = (hostName: string) => {
    const stack = new Stack(new App(), 'Stack', { env: { region: 'eu-central-1' } });
    const certificate = Certificate.fromCertificateArn(stack, 'Certificate', 'arn:aws:acm:eu-central-1:123456789012:certificate/0');
    const jwt = { issuer: 'https://login.example.com', audience: 'brain', scopes: ['brain/infer'] };
    new Brain(stack, 'Brain', { environment: BrainEnvironment.dev(), edge: EdgeStrategy.apiGateway({ jwt, backend: { certificate, hostName } }) });
    return Templates.fromStacks(stack).ofType('AWS::ApiGateway::Deployment').map(({ id }) => id);
  };

  expect(deploymentWith('a.example.com')).toHaveLength(1);
  expect(deploymentWith('a.example.com')).toEqual(deploymentWith('a.example.com'));
  expect(deploymentWith('a.example.com')).not.toEqual(deploymentWith('b.example.com'));
}, 60_000);
