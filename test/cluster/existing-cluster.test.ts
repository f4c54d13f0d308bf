import { App, Stack } from 'aws-cdk-lib';
import { Annotations, Match, Template } from 'aws-cdk-lib/assertions';
import { IVpc, Vpc } from 'aws-cdk-lib/aws-ec2';
import { Cluster, ClusterAttributes, ICluster, IpFamily, KubectlProvider, KubernetesVersion } from 'aws-cdk-lib/aws-eks-v2';
import { DIGEST, manifestObjects, oneOfKind } from './fixture';
import { Brain } from '../../src/brain';
import { Accelerator, BrainCluster, ContainerImage, ExistingClusterProps, GpuBase } from '../../src/cluster';
import { EdgeStrategy } from '../../src/edge';
import { BrainEnvironment } from '../../src/environment';
import { ModelRuntime } from '../../src/model-runtime';
import { BrainNetwork } from '../../src/network';
import { TelemetrySink } from '../../src/observability';

const HANDLER = 'arn:aws:lambda:eu-central-1:111122223333:function:kubectl';

function vpcIn(stack: Stack, id = 'Given', vpcId = 'vpc-1'): IVpc {
  const zones = ['eu-central-1a', 'eu-central-1b', 'eu-central-1c'];
  return Vpc.fromVpcAttributes(stack, id, {
    vpcId, vpcCidrBlock: '10.20.0.0/16', availabilityZones: zones, privateSubnetIds: zones.map((zone) => `subnet-${zone}`),
  });
}

function clusterIn(stack: Stack, attributes: Partial<ClusterAttributes> = {}): ICluster {
  return Cluster.fromClusterAttributes(stack, 'Platform', {
    clusterName: 'platform',
    clusterSecurityGroupId: 'sg-0123456789abcdef0',
    kubectlProvider: KubectlProvider.fromKubectlProviderAttributes(stack, 'Kubectl', { serviceToken: HANDLER }),
    ...attributes,
  });
}

function given(props: Partial<ExistingClusterProps> = {}, attributes: Partial<ClusterAttributes> = {}) {
  const stack = new Stack(new App(), 'Stack', { env: { region: 'eu-central-1' } });
  const cluster = BrainCluster.fromExisting(stack, 'Cluster', {
    name: 'brain', existing: { cluster: clusterIn(stack, attributes) }, serviceCidr: '10.100.0.0/16', ...props,
  });
  return { stack, cluster };
}

describe('BrainCluster.fromExisting', () => {
  test('knows its DNS by its service addresses, and its nodes by its VPC', () => {
    const stack = new Stack(new App(), 'Stack');
    const cluster = BrainCluster.fromExisting(stack, 'Cluster', {
      name: 'brain', existing: { cluster: clusterIn(stack, { vpc: vpcIn(stack) }) }, serviceCidr: '10.100.0.0/16',
    });
    expect(cluster).toMatchObject({ clusterName: 'platform', dnsAddress: '10.100.0.10', nodeCidrs: ['10.20.0.0/16'], gpuNodes: 0 });
  });

  test('without a VPC its nodes may have every private address, unless it is said which', () => {
    expect(given().cluster.nodeCidrs).toEqual(['10.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16', '100.64.0.0/10']);
  });

  test.each([[undefined, undefined], [KubernetesVersion.V1_35, 'v6.5.0-eksbuild.1']])('pins an add-on with version %s only', (version, expected) => {
    expect(given({ version }).cluster._addOnBasis('amazon-cloudwatch-observability')).toEqual({ version: expected, after: [] });
  });

  test.each([
    ['no kubectl provider', {}, { kubectlProvider: undefined }, /ExistingClusterKubectl: cluster 'Platform' has no kubectl provider/],
    ['no security group', {}, { clusterSecurityGroupId: undefined }, /ExistingClusterSecurityGroup/],
    ['IPv6 services', {}, { ipFamily: IpFamily.IP_V6 }, /ExistingClusterIpFamily/],
    ['service addresses that are none', { serviceCidr: '8.8.0.0/16' }, {}, /ServiceCidr: serviceCidr must be a private block/],
    ['GPUs and no word on how many nodes', { accelerator: Accelerator.L4 }, {}, /ExistingClusterGpuNodes: gpuNodes must say how many nodes with L4/],
  ])('fails with %s', (_, props, attributes, message) => {
    expect(() => given(props, attributes)).toThrow(message);
  });

  test.each([[-1, Accelerator.L4], [1.5, Accelerator.L4], [3, Accelerator.CPU]])('fails with %s GPU nodes of %p', (gpuNodes, accelerator) => {
    const stack = new Stack(new App(), 'Stack');
    expect(() => BrainCluster.fromExisting(stack, 'Cluster', {
      name: 'brain', existing: { cluster: clusterIn(stack), gpuNodes }, serviceCidr: '10.100.0.0/16', accelerator,
    })).toThrow(/ExistingClusterGpuNodes: gpuNodes must be an integer of at least 0, and 0 with Accelerator.CPU/);
  });

  test('fails with a brain in another VPC', () => {
    const stack = new Stack(new App(), 'Stack');
    const network = BrainNetwork.fromVpc(stack, 'Network', vpcIn(stack, 'Other', 'vpc-2'));
    expect(() => BrainCluster.fromExisting(stack, 'Cluster', {
      name: 'brain', existing: { cluster: clusterIn(stack, { vpc: vpcIn(stack) }) }, serviceCidr: '10.100.0.0/16', network,
    })).toThrow(/ExistingClusterVpc: the cluster stands in VPC 'vpc-1' and the brain in 'vpc-2'/);
  });
});

describe('a brain on an existing cluster', () => {
  const brain = (cluster: (stack: Stack) => object) => {
    const stack = new Stack(new App(), 'Stack', { env: { region: 'eu-central-1' } });
    new Brain(stack, 'Brain', {
      environment: BrainEnvironment.dev(),
      network: { vpc: vpcIn(stack) },
      cluster: cluster(stack),
      runtime: ModelRuntime.triton({ image: ContainerImage.fromRegistry('registry.example/triton', DIGEST) }),
      inference: { telemetry: { sink: TelemetrySink.none() } },
      edge: EdgeStrategy.apiGateway({ jwt: { issuer: 'https://login.example.com', audience: 'brain', scopes: ['brain/infer'] } }),
    });
    return stack;
  };

  test('puts its pods, their roles, and the way from its edge into it, and makes no cluster, no nodes, and no add-on but that which signs certificates', () => {
    const stack = brain((scope) => ({
      existing: { cluster: clusterIn(scope, { vpc: vpcIn(scope, 'ClusterVpc') }), gpuNodes: 6 }, accelerator: Accelerator.L4, serviceCidr: '10.100.0.0/16',
    }));
    const template = Template.fromStack(stack);
    for (const type of ['AWS::EKS::Cluster', 'AWS::EKS::Nodegroup', 'AWS::EKS::AccessEntry']) template.resourceCountIs(type, 0);
    template.allResourcesProperties('AWS::EKS::Addon', { AddonName: 'cert-manager', ClusterName: 'platform' });
    template.allResourcesProperties('Custom::AWSCDK-EKS-KubernetesResource', { ServiceToken: HANDLER, ClusterName: 'platform' });
    template.allResourcesProperties('AWS::EKS::PodIdentityAssociation', { ClusterName: 'platform' });
    template.hasResourceProperties('AWS::EC2::SecurityGroupIngress', { GroupId: 'sg-0123456789abcdef0', FromPort: 8443 });
    template.hasResourceProperties('AWS::ElasticLoadBalancingV2::TargetGroup', { Tags: Match.arrayWith([{ Key: 'eks:eks-cluster-name', Value: 'platform' }]) });
    expect(JSON.stringify(oneOfKind(manifestObjects(stack, 'inference-service'), 'NetworkPolicy', 'inference-service'))).toContain('10.100.0.10/32');
    Annotations.fromStack(stack).hasNoError('*', Match.anyValue());
  });

  test.each([
    ['what describes a new one', { gpu: { base: GpuBase.onDemand(2) } }, /ClusterOptions: gpu describe a new cluster and do not go with existing/],
    ['no service addresses', { serviceCidr: undefined }, /ExistingClusterServiceCidr: an existing cluster needs its serviceCidr/],
  ])('fails with %s', (_, options, message) => {
    expect(() => brain((scope) => ({ existing: { cluster: clusterIn(scope) }, serviceCidr: '10.100.0.0/16', ...options }))).toThrow(message);
  });
});
