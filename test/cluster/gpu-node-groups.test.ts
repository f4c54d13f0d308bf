import { CfnResource } from 'aws-cdk-lib';
import { Match, Template } from 'aws-cdk-lib/assertions';
import { Construct } from 'constructs';
import { clusterFixture } from './fixture';
import { Accelerator } from '../../src/cluster';

const template = (gpuNodesPerZone?: number) => Template.fromStack(clusterFixture({ accelerator: Accelerator.L4, gpuNodesPerZone }).stack);
const groups = (t: Template) => Object.values(t.findResources('AWS::EKS::Nodegroup'));

describe('GpuNodeGroups', () => {
  test('one group for each AZ, each in one private subnet of its own', () => {
    const subnets = groups(template()).map((group) => group.Properties.Subnets);
    expect(subnets).toEqual([1, 2, 3].map((zone) => [{ Ref: expect.stringContaining(`VpcPrivateSubnet${zone}`) }]));
  });

  test('groups have a fixed size on demand: what survives an AZ is there already', () => {
    template(2).allResourcesProperties('AWS::EKS::Nodegroup', { ScalingConfig: { MinSize: 2, DesiredSize: 2, MaxSize: 2 }, CapacityType: 'ON_DEMAND' });
  });

  test('a first deploy without GPU quota keeps the groups empty', () => {
    template(0).allResourcesProperties('AWS::EKS::Nodegroup', { ScalingConfig: { MinSize: 0, DesiredSize: 0, MaxSize: 1 } });
  });

  test('run Bottlerocket with NVIDIA drivers, of the version of the cluster', () => {
    template().allResourcesProperties('AWS::EKS::Nodegroup', {
      AmiType: 'BOTTLEROCKET_x86_64_NVIDIA', InstanceTypes: ['g6.2xlarge', 'g6.4xlarge'], Version: '1.35', Labels: { 'thalos-brain/accelerator': 'L4' },
    });
  });

  test('take GPU pods only', () => {
    template().allResourcesProperties('AWS::EKS::Nodegroup', { Taints: [{ Key: 'nvidia.com/gpu', Value: 'present', Effect: 'NO_SCHEDULE' }] });
  });

  test('updates respect disruption budgets, one node at a time, and broken nodes are replaced', () => {
    template().allResourcesProperties('AWS::EKS::Nodegroup', { ForceUpdateEnabled: false, UpdateConfig: { MaxUnavailable: 1 }, NodeRepairConfig: { Enabled: true } });
  });

  test('nodes have encrypted gp3 volumes with room for images', () => {
    const key = { 'Fn::GetAtt': [Match.stringLikeRegexp('ClusterKey'), 'Arn'] };
    template().hasResourceProperties('AWS::EC2::LaunchTemplate', {
      LaunchTemplateData: {
        BlockDeviceMappings: [
          { DeviceName: '/dev/xvda', Ebs: { Encrypted: true, KmsKeyId: key, VolumeType: 'gp3', VolumeSize: Match.absent() } },
          { DeviceName: '/dev/xvdb', Ebs: { Encrypted: true, KmsKeyId: key, VolumeType: 'gp3', VolumeSize: 200 } },
        ],
      },
    });
  });

  test('pods do not reach instance metadata: tokens required, one hop', () => {
    template().hasResourceProperties('AWS::EC2::LaunchTemplate', {
      LaunchTemplateData: { MetadataOptions: { HttpTokens: 'required', HttpPutResponseHopLimit: 1 } },
    });
  });

  test('the launch template has no AMI, no security group, no user data and no tags, any of which breaks joining', () => {
    const [launch] = Object.values(template().findResources('AWS::EC2::LaunchTemplate'));
    expect(Object.keys(launch.Properties)).toEqual(['LaunchTemplateData']);
    expect(Object.keys(launch.Properties.LaunchTemplateData).sort()).toEqual(['BlockDeviceMappings', 'MetadataOptions']);
  });

  test('nodes have a role apart from that of Auto Mode: an access entry has one type for each principal', () => {
    const t = template();
    const [cluster] = Object.values(t.findResources('AWS::EKS::Cluster'));
    const roles = [...groups(t).map((group) => group.Properties.NodeRole), cluster.Properties.ComputeConfig.NodeRoleArn];
    expect(new Set(roles.map((role) => JSON.stringify(role))).size).toBe(2);
  });

  test('the cluster knows how many there are', () => {
    expect(clusterFixture({ accelerator: Accelerator.L4, gpuNodesPerZone: 2 }).cluster.gpuNodes).toBe(6);
    expect(clusterFixture().cluster.gpuNodes).toBe(0);
  });

  test.each([-1, 1.5])('fails with %s nodes per zone', (gpuNodesPerZone) => {
    expect(() => template(gpuNodesPerZone)).toThrow(/GpuNodesPerZone: .* got/);
  });
});

describe('AddOns', () => {
  const addOns = (t: Template) => Object.fromEntries(
    Object.entries(t.findResources('AWS::EKS::Addon')).map(([id, addOn]) => [addOn.Properties.AddonName, { id, ...addOn }]),
  );

  test('managed nodes get the four add-ons that Auto Mode keeps to itself, and the one that sees GPU faults', () => {
    expect(Object.keys(addOns(template())).sort()).toEqual(['coredns', 'eks-node-monitoring-agent', 'eks-pod-identity-agent', 'kube-proxy', 'vpc-cni']);
  });

  test('versions are pinned for Kubernetes 1.35, and conflicts are overwritten', () => {
    const t = template();
    t.allResourcesProperties('AWS::EKS::Addon', { ResolveConflicts: 'OVERWRITE' });
    for (const name of ['vpc-cni', 'kube-proxy', 'coredns', 'eks-pod-identity-agent']) {
      expect(addOns(t)[name].Properties.AddonVersion).toMatch(/^v\d+\.\d+\.\d+-eksbuild\.\d+$/);
    }
  });

  test('nodes come after CNI, proxy and pod identity, and not after coredns, which runs on Auto Mode nodes', () => {
    const t = template();
    const { 'vpc-cni': cni, 'kube-proxy': proxy, 'eks-pod-identity-agent': identity, coredns } = addOns(t);
    for (const group of groups(t)) {
      expect(group.DependsOn).toEqual(expect.arrayContaining([cni.id, proxy.id, identity.id]));
      expect(group.DependsOn).not.toContain(coredns.id);
    }
    expect((coredns as any).DependsOn).toEqual(expect.arrayContaining([cni.id, proxy.id, identity.id]));
    expect(JSON.stringify((coredns as any).DependsOn)).not.toContain('GpuNodeGroups');
  });

  test('node monitoring comes last, and its GPU part tolerates the taint', () => {
    const monitoring: any = addOns(template())['eks-node-monitoring-agent'];
    expect(monitoring.DependsOn).toEqual(expect.arrayContaining([expect.stringContaining('Zone1'), expect.stringContaining('Zone3'), expect.stringContaining('CoreDns')]));
    expect(JSON.parse(monitoring.Properties.ConfigurationValues).dcgmAgent.tolerations).toEqual([{ key: 'nvidia.com/gpu', operator: 'Exists', effect: 'NoSchedule' }]);
  });

  test('the CNI of managed nodes enforces network policies', () => {
    expect(JSON.parse(addOns(template())['vpc-cni'].Properties.ConfigurationValues)).toEqual({ enableNetworkPolicy: 'true' });
  });

  test('manifests come after add-ons and nodes, and so go before them', () => {
    template().allResources('Custom::AWSCDK-EKS-KubernetesResource', {
      DependsOn: Match.arrayWith([Match.stringLikeRegexp('AddOnsCoreDns'), Match.stringLikeRegexp('Zone1'), Match.stringLikeRegexp('Zone3')]),
    });
  });
});

test('node groups wait for what creates the service-linked role of Auto Scaling', () => {
  const { stack } = clusterFixture({ accelerator: Accelerator.L4 }, undefined, undefined, (scope) => {
    const roles = new Construct(scope, 'ServiceLinkedRoles');
    new CfnResource(roles, 'Resource', { type: 'Test::ServiceLinkedRoles' });
    return roles;
  });
  Template.fromStack(stack).allResources('AWS::EKS::Nodegroup', { DependsOn: Match.arrayWith([Match.stringLikeRegexp('^ServiceLinkedRoles')]) });
});
