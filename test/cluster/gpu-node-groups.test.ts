import { CfnResource, Stack, App } from 'aws-cdk-lib';
import { Annotations, Match, Template } from 'aws-cdk-lib/assertions';
import { Construct } from 'constructs';
import { clusterFixture, DIGEST, manifestObjects, oneOfKind } from './fixture';
import { Accelerator, BrainCluster, BrainClusterOptions, ContainerImage, GpuBase, GpuCapacity, GpuNodeImage } from '../../src/cluster';
import { BrainEnvironment } from '../../src/environment';
import { FoundationPlane } from '../../src/planes';

const fixture = (gpu?: GpuCapacity, options: BrainClusterOptions = {}) => clusterFixture({ accelerator: Accelerator.L4, gpu, ...options });
const template = (...args: Parameters<typeof fixture>) => Template.fromStack(fixture(...args).stack);
const groups = (t: Template) => Object.values(t.findResources('AWS::EKS::Nodegroup'));
const launchTemplates = (t: Template) => Object.values(t.findResources('AWS::EC2::LaunchTemplate')).map(({ Properties }) => Properties.LaunchTemplateData);

const AL2023 = GpuNodeImage.al2023({ devicePlugin: ContainerImage.fromRegistry('registry.example/k8s-device-plugin', DIGEST) });
const BLOCK = 'cr-0123456789abcdef0';
const OTHER_BLOCK = 'cr-0fedcba9876543210';

describe('GpuNodeGroups', () => {
  test('one group for each AZ, each in one private subnet of its own', () => {
    const subnets = groups(template()).map((group) => group.Properties.Subnets);
    expect(subnets).toEqual([1, 2, 3].map((zone) => [{ Ref: expect.stringContaining(`VpcPrivateSubnet${zone}`) }]));
  });

  test.each([[1, 1], [2, 1], [3, 2], [4, 2], [5, 3]])('a target of %i nodes puts %i into each AZ: the target is left without one of the three', (target, perZone) => {
    const { stack, cluster } = fixture({ base: GpuBase.onDemand(target) });
    Template.fromStack(stack).allResourcesProperties('AWS::EKS::Nodegroup', {
      ScalingConfig: { MinSize: perZone, DesiredSize: perZone, MaxSize: perZone }, CapacityType: 'ON_DEMAND',
    });
    expect(2 * perZone).toBeGreaterThanOrEqual(target);
    expect(cluster.gpuNodes).toBe(3 * perZone);
  });

  test('a first deploy without GPU quota keeps the groups empty', () => {
    template({ base: GpuBase.onDemand(0) }).allResourcesProperties('AWS::EKS::Nodegroup', { ScalingConfig: { MinSize: 0, DesiredSize: 0, MaxSize: 1 } });
  });

  test('run Bottlerocket with NVIDIA drivers, of the version of the cluster', () => {
    template().allResourcesProperties('AWS::EKS::Nodegroup', {
      AmiType: 'BOTTLEROCKET_x86_64_NVIDIA',
      InstanceTypes: ['g6.2xlarge', 'g6.4xlarge'],
      Version: '1.35',
      Labels: { 'thalos-brain/accelerator': 'L4', 'thalos-brain/capacity': 'base' },
    });
  });

  test('take GPU pods only', () => {
    template().allResourcesProperties('AWS::EKS::Nodegroup', { Taints: [{ Key: 'nvidia.com/gpu', Value: 'present', Effect: 'NO_SCHEDULE' }] });
  });

  test('updates respect disruption budgets, one node at a time, and broken nodes are replaced one at a time', () => {
    template().allResourcesProperties('AWS::EKS::Nodegroup', {
      ForceUpdateEnabled: false, UpdateConfig: { MaxUnavailable: 1, UpdateStrategy: 'DEFAULT' }, NodeRepairConfig: { Enabled: true, MaxParallelNodesRepairedCount: 1 },
    });
  });

  test('nodes have encrypted gp3 volumes with room for images, and as fast as a pull', () => {
    const key = { 'Fn::GetAtt': [Match.stringLikeRegexp('ClusterKey'), 'Arn'] };
    template().hasResourceProperties('AWS::EC2::LaunchTemplate', {
      LaunchTemplateData: {
        BlockDeviceMappings: [
          { DeviceName: '/dev/xvda', Ebs: { Encrypted: true, KmsKeyId: key, VolumeType: 'gp3', VolumeSize: Match.absent() } },
          { DeviceName: '/dev/xvdb', Ebs: { Encrypted: true, KmsKeyId: key, VolumeType: 'gp3', VolumeSize: 200, Throughput: 500 } },
        ],
      },
    });
  });

  test.each([['Bottlerocket', undefined], ['AL2023', AL2023]])('pods on %s do not reach instance metadata: tokens required, one hop', (_, nodeImage) => {
    template({ nodeImage }).allResourcesProperties('AWS::EC2::LaunchTemplate', {
      LaunchTemplateData: { MetadataOptions: { HttpTokens: 'required', HttpPutResponseHopLimit: 1 } },
    });
  });

  test('the launch template has no AMI, no security group, no user data and no tags, any of which breaks joining', () => {
    const [launch] = Object.values(template().findResources('AWS::EC2::LaunchTemplate'));
    expect(Object.keys(launch.Properties)).toEqual(['LaunchTemplateData']);
    expect(Object.keys(launch.Properties.LaunchTemplateData).sort()).toEqual(['BlockDeviceMappings', 'MetadataOptions']);
  });

  test('nodes have a role apart from those of Auto Mode: an access entry has one type for each principal', () => {
    const t = template();
    const [cluster] = Object.values(t.findResources('AWS::EKS::Cluster'));
    const roles = [...groups(t).map((group) => group.Properties.NodeRole), cluster.Properties.ComputeConfig.NodeRoleArn];
    expect(new Set(roles.map((role) => JSON.stringify(role))).size).toBe(2);
  });

  test('the cluster knows how many there are', () => {
    expect(fixture().cluster.gpuNodes).toBe(3);
    expect(clusterFixture().cluster.gpuNodes).toBe(0);
  });

  test.each([-1, 1.5])('fails with a target of %s', (target) => {
    expect(() => GpuBase.onDemand(target)).toThrow(/GpuTarget: .* got/);
    expect(() => GpuBase.spot(target)).toThrow(/GpuTarget: .* got/);
  });

  test('fails with GPU nodes for an accelerator without GPUs', () => {
    expect(() => clusterFixture({ gpu: { base: GpuBase.onDemand(2) } })).toThrow(/GpuWithoutAccelerator/);
  });
});

describe('spot', () => {
  test('buys the same nodes as spot capacity, from every instance type of the accelerator', () => {
    template({ base: GpuBase.spot(4) }).allResourcesProperties('AWS::EKS::Nodegroup', {
      CapacityType: 'SPOT', InstanceTypes: ['g6.2xlarge', 'g6.4xlarge'], ScalingConfig: { MinSize: 2, DesiredSize: 2, MaxSize: 2 },
    });
  });
});

describe('capacity blocks', () => {
  const accelerator = Accelerator.H100;
  const blocks = GpuBase.capacityBlocks({ reservationId: BLOCK, zone: 'dummy1b', nodes: 4 }, { reservationId: OTHER_BLOCK, zone: 'dummy1c', nodes: 2 });

  test('are a group each, in the AZ of the reservation, of its size', () => {
    const { stack, cluster } = fixture({ base: blocks }, { accelerator });
    const found = groups(Template.fromStack(stack)).map(({ Properties }) =>
      `${JSON.stringify(Properties.Subnets)} ${Properties.ScalingConfig.DesiredSize}`);
    expect(found).toEqual([expect.stringMatching(/VpcPrivateSubnet2.* 4$/), expect.stringMatching(/VpcPrivateSubnet3.* 2$/)]);
    expect(cluster.gpuNodes).toBe(6);
  });

  test('the instance type stands in the launch template, and in no other place, beside the reservation', () => {
    const t = template({ base: blocks }, { accelerator });
    for (const { Properties } of groups(t)) {
      expect(Properties).toMatchObject({ CapacityType: 'CAPACITY_BLOCK' });
      expect(Properties.InstanceTypes).toBeUndefined();
    }
    expect(launchTemplates(t)).toEqual([BLOCK, OTHER_BLOCK].map((CapacityReservationId) => expect.objectContaining({
      InstanceType: 'p5.48xlarge',
      InstanceMarketOptions: { MarketType: 'capacity-block' },
      CapacityReservationSpecification: { CapacityReservationTarget: { CapacityReservationId } },
    })));
  });

  test('an update takes the old node first: beside a reservation there is nothing to buy', () => {
    template({ base: blocks }, { accelerator }).allResourcesProperties('AWS::EKS::Nodegroup', { UpdateConfig: { MaxUnavailable: 1, UpdateStrategy: 'MINIMAL' } });
  });

  test('all in one AZ are advised against', () => {
    const { stack } = fixture({ base: GpuBase.capacityBlocks({ reservationId: BLOCK, zone: 'dummy1a', nodes: 1 }) }, { accelerator });
    Annotations.fromStack(stack).hasWarning('*', Match.stringLikeRegexp('all capacity blocks are in dummy1a'));
    Annotations.fromStack(fixture({ base: blocks }, { accelerator }).stack).hasNoWarning('*', Match.stringLikeRegexp('capacity blocks'));
  });

  test('find their AZ by its id, where the network has ids', () => {
    const stack = new Stack(new App(), 'Stack', { env: { region: 'eu-central-1' } });
    const environment = BrainEnvironment.dev();
    const { network, keys } = new FoundationPlane(stack, 'Foundation', { environment });
    const cluster = new BrainCluster(stack, 'Cluster', {
      environment,
      network,
      encryptionKey: keys.cluster,
      logsKey: keys.logs,
      name: 'brain',
      options: { accelerator, gpu: { base: GpuBase.capacityBlocks({ reservationId: BLOCK, zone: network.zoneIds![2], nodes: 1 }) } },
    });
    expect(stack.resolve(cluster.gpuNodeGroups!.nodeGroups[0].subnets)).toEqual([stack.resolve(network.privateSubnets[2].subnetId)]);
  });

  test.each([
    ['no reservation', () => GpuBase.capacityBlocks(), /at least one reservation, got none/],
    ['what is no reservation', () => GpuBase.capacityBlocks({ reservationId: 'block', zone: 'z', nodes: 1 }), /'block' is no id of a capacity reservation/],
    ['no nodes', () => GpuBase.capacityBlocks({ reservationId: BLOCK, zone: 'z', nodes: 0 }), /must be an integer of at least 1, got 0/],
  ])('fail with %s', (_, base, message) => {
    expect(base).toThrow(message);
  });

  test('fail in an AZ that the brain does not stand in, and with more than one instance type', () => {
    const base = GpuBase.capacityBlocks({ reservationId: BLOCK, zone: 'dummy1z', nodes: 1 });
    expect(() => fixture({ base }, { accelerator })).toThrow(/CapacityBlockZone: the brain stands in no AZ 'dummy1z': it has dummy1a, dummy1b, dummy1c/);
    expect(() => fixture({ base: blocks }, { accelerator: Accelerator.H200 })).toThrow(/CapacityBlockInstanceType: .* p5en.48xlarge, p5e.48xlarge: .*Accelerator.of\('p5en.48xlarge'\)/);
  });
});

describe('AL2023', () => {
  test('has one encrypted volume, which holds images too', () => {
    const [{ BlockDeviceMappings }] = launchTemplates(template({ nodeImage: AL2023 }));
    expect(BlockDeviceMappings).toEqual([{ DeviceName: '/dev/xvda', Ebs: expect.objectContaining({ Encrypted: true, VolumeSize: 200, VolumeType: 'gp3' }) }]);
    template({ nodeImage: AL2023 }).allResourcesProperties('AWS::EKS::Nodegroup', { AmiType: 'AL2023_x86_64_NVIDIA' });
  });

  test('its user data is a MIME document with a part for nodeadm that names no cluster: EKS adds that', () => {
    const [{ UserData }] = launchTemplates(template({ nodeImage: AL2023 }));
    const text: string = UserData['Fn::Base64'];
    const [head, part, end] = text.split(/^--\/\/(?:--)?$/m);
    expect(head).toBe('MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary="//"\n\n');
    expect(part).toMatch(/^\nContent-Type: application\/node\.eks\.aws\n\n---\napiVersion: node\.eks\.aws\/v1alpha1\nkind: NodeConfig\nspec:\n/);
    expect(part).not.toContain('cluster:');
    expect(end).toBe('\n');
  });

  test('pods have longer than their grace when a node is shut down', () => {
    const [{ UserData }] = launchTemplates(template({ nodeImage: AL2023 }));
    const [whole, critical] = ['shutdownGracePeriod', 'shutdownGracePeriodCriticalPods'].map((key) => Number(new RegExp(`${key}: (\\d+)s`).exec(UserData['Fn::Base64'])![1]));
    expect(whole - critical).toBeGreaterThanOrEqual(75);
  });

  test('the device plugin runs in a privileged namespace of its own, on the nodes of the base alone', () => {
    const objects = manifestObjects(fixture({ nodeImage: AL2023 }).stack, 'device-plugin');
    expect(objects.map(({ kind }) => kind)).toEqual(['Namespace', 'NetworkPolicy', 'DaemonSet']);
    expect(oneOfKind(objects, 'Namespace').metadata).toMatchObject({ name: 'thalos-gpu', labels: { 'pod-security.kubernetes.io/enforce': 'privileged' } });
    const { metadata, spec: { template: { spec: pod } } } = oneOfKind(objects, 'DaemonSet');
    expect(metadata.namespace).toBe('thalos-gpu');
    expect(pod).toMatchObject({
      nodeSelector: { 'thalos-brain/accelerator': 'L4', 'thalos-brain/capacity': 'base' },
      tolerations: [{ key: 'nvidia.com/gpu', operator: 'Exists', effect: 'NoSchedule' }],
      priorityClassName: 'system-node-critical',
      automountServiceAccountToken: false,
      volumes: [{ name: 'device-plugins', hostPath: { path: '/var/lib/kubelet/device-plugins', type: 'Directory' } }],
    });
    expect(pod.containers[0]).toMatchObject({
      image: `registry.example/k8s-device-plugin@${DIGEST}`, securityContext: { allowPrivilegeEscalation: false, capabilities: { drop: ['ALL'] } },
    });
  });

  test('without it there is no privileged namespace', () => {
    expect(() => manifestObjects(fixture().stack, 'device-plugin')).toThrow(/found 0 manifests/);
  });

  test('its image lies in the account\'s own registry beyond dev', () => {
    expect(() => clusterFixture({ accelerator: Accelerator.L4, gpu: { nodeImage: AL2023 } }, BrainEnvironment.prod())).toThrow(/ForeignImage/);
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
