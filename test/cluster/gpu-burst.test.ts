import { Duration } from 'aws-cdk-lib';
import { Match, Template } from 'aws-cdk-lib/assertions';
import { clusterFixture, manifestObjects, oneOfKind } from './fixture';
import { Accelerator, GpuBurst } from '../../src/cluster';

const fixture = (burst?: GpuBurst, accelerator = Accelerator.L4) => clusterFixture({ accelerator, gpu: { burst } });
const nodePool = (...args: Parameters<typeof fixture>) => oneOfKind(manifestObjects(fixture(...args).stack, 'gpu-node-pool'), 'NodePool');
const manifests = (t: Template) => Object.entries(t.findResources('Custom::AWSCDK-EKS-KubernetesResource'))
  .map(([id, { Properties, DependsOn }]) => ({ id, name: Properties.PruneLabel.split('=')[1], DependsOn }));

describe('GPU nodes for a burst', () => {
  test('come by default, up to one more for each AZ, and not without GPUs', () => {
    expect(clusterFixture({ accelerator: Accelerator.L4 }).cluster.gpuBurstNodes).toBe(3);
    const { cluster, stack } = clusterFixture();
    expect(cluster.gpuBurstNodes).toBe(0);
    expect(() => manifestObjects(stack, 'gpu-node-pool')).toThrow(/found 0/);
  });

  test('none() makes nothing', () => {
    const { cluster, stack } = fixture(GpuBurst.none());
    expect(cluster.gpuBurst).toBeUndefined();
    expect(() => manifestObjects(stack, 'gpu-node-class')).toThrow(/found 0/);
    Template.fromStack(stack).resourcePropertiesCountIs('AWS::EKS::AccessEntry', { Type: 'EC2' }, 0);
  });

  test('are the accelerator\'s instance types, in the brain\'s AZs, with the label and taint of the base', () => {
    expect(nodePool().spec.template).toEqual({
      metadata: { labels: { 'thalos-brain/accelerator': 'L4', 'thalos-brain/capacity': 'burst' } },
      spec: {
        nodeClassRef: { group: 'eks.amazonaws.com', kind: 'NodeClass', name: 'thalos-gpu' },
        taints: [{ key: 'nvidia.com/gpu', value: 'present', effect: 'NoSchedule' }],
        requirements: [
          { key: 'node.kubernetes.io/instance-type', operator: 'In', values: ['g6.2xlarge', 'g6.4xlarge'] },
          { key: 'karpenter.sh/capacity-type', operator: 'In', values: ['on-demand'] },
          { key: 'topology.kubernetes.io/zone', operator: 'In', values: ['dummy1a', 'dummy1b', 'dummy1c'] },
          { key: 'kubernetes.io/arch', operator: 'In', values: ['amd64'] },
        ],
        expireAfter: '336h',
        terminationGracePeriod: '10m',
      },
    });
  });

  test.each([[Accelerator.L4, '4'], [Accelerator.H100, '32']])('are limited by their GPUs: four nodes of $name', (accelerator, gpus) => {
    expect(nodePool(GpuBurst.onDemand({ maxNodes: 4 }), accelerator).spec.limits).toEqual({ 'nvidia.com/gpu': gpus });
  });

  test('are given back one at a time when their pods have room elsewhere', () => {
    expect(nodePool(GpuBurst.onDemand({ maxNodes: 4, idle: Duration.minutes(30) })).spec.disruption).toEqual({
      consolidationPolicy: 'WhenEmptyOrUnderutilized', consolidateAfter: '1800s', budgets: [{ nodes: '1' }],
    });
  });

  test('are bought as spot capacity, and on demand where there is none', () => {
    const { requirements } = nodePool(GpuBurst.spot({ maxNodes: 4 })).spec.template.spec;
    expect(requirements).toContainEqual({ key: 'karpenter.sh/capacity-type', operator: 'In', values: ['spot', 'on-demand'] });
  });

  test('stand in private subnets, in the cluster\'s security group, on an encrypted disk, without tags', () => {
    const { stack } = fixture();
    const { metadata, spec } = oneOfKind(manifestObjects(stack, 'gpu-node-class'), 'NodeClass');
    expect(metadata.name).not.toBe('default');
    expect(spec).toEqual({
      role: '<<>>',
      subnetSelectorTerms: [{ id: '<<>>' }, { id: '<<>>' }, { id: '<<>>' }],
      securityGroupSelectorTerms: [{ id: '<<>>' }],
      networkPolicy: 'DefaultAllow',
      ephemeralStorage: { size: '200Gi', iops: 3000, throughput: 500, kmsKeyID: '<<>>' },
    });
    const text = JSON.stringify(Template.fromStack(stack).findResources('Custom::AWSCDK-EKS-KubernetesResource', {
      Properties: { PruneLabel: 'thalos-brain/manifest=gpu-node-class' },
    }));
    for (const zone of [1, 2, 3]) expect(text).toContain(`VpcPrivateSubnet${zone}`);
    expect(text).toContain('ClusterSecurityGroupId');
    expect(text).not.toContain('Public');
  });

  test('have a role of their own with an access entry for Auto Mode\'s nodes: the one of the built-in pools is in use', () => {
    const t = Template.fromStack(fixture().stack);
    const role = { 'Fn::GetAtt': [Match.stringLikeRegexp('GpuBurstNodeRole'), 'Arn'] };
    t.hasResourceProperties('AWS::EKS::AccessEntry', {
      Type: 'EC2',
      PrincipalArn: role,
      AccessPolicies: [{ PolicyArn: { 'Fn::Join': ['', Match.arrayWith([':eks::aws:cluster-access-policy/AmazonEKSAutoNodePolicy'])] }, AccessScope: { Type: 'cluster' } }],
    });
    t.hasResourceProperties('AWS::EKS::Cluster', { ComputeConfig: { NodeRoleArn: { 'Fn::GetAtt': [Match.stringLikeRegexp('^ClusterNodeRole'), 'Arn'] } } });
  });

  test('Auto Mode may encrypt their disks, by the cluster\'s role', () => {
    Template.fromStack(fixture().stack).hasResourceProperties('AWS::IAM::Policy', {
      PolicyDocument: {
        Statement: [
          Match.objectLike({ Action: Match.arrayWith(['kms:Decrypt', 'kms:GenerateDataKeyWithoutPlaintext', 'kms:ReEncryptTo']) }),
          Match.objectLike({ Action: ['kms:CreateGrant', 'kms:ListGrants', 'kms:RevokeGrant'], Condition: { Bool: { 'kms:GrantIsForAWSResource': 'true' } } }),
        ],
      },
      Roles: [{ Ref: Match.stringLikeRegexp('ClusterRole') }],
    });
  });

  test('workloads come after the pool, the pool after its class, and the class after the access entry; they go the other way round', () => {
    const { stack, cluster } = fixture();
    cluster.addManifests('workload', cluster.gpuBurst!._nodePool());
    const t = Template.fromStack(stack);
    const [pool, nodeClass, workload] = ['gpu-node-pool', 'gpu-node-class', 'workload'].map((name) => manifests(t).find((manifest) => manifest.name === name)!);
    const [entry] = Object.keys(t.findResources('AWS::EKS::AccessEntry', { Properties: { Type: 'EC2' } }));
    expect(workload.DependsOn).toContain(pool.id);
    expect(pool.DependsOn).toContain(nodeClass.id);
    expect(nodeClass.DependsOn).toContain(entry);
  });

  test.each([
    ['no nodes', () => GpuBurst.onDemand({ maxNodes: 0 }), /GpuBurstNodes: maxNodes must be an integer of at least 1, got 0/],
    ['half a node', () => GpuBurst.spot({ maxNodes: 1.5 }), /GpuBurstNodes: .* got 1.5/],
    ['a node given back at once', () => GpuBurst.onDemand({ maxNodes: 1, idle: Duration.seconds(30) }), /GpuBurstIdle: idle must be at least a minute, got 30 s/],
  ])('fail with %s', (_, burst, message) => {
    expect(burst).toThrow(message);
  });
});

describe('priority classes', () => {
  test('order what serves, what is tried out, and what keeps a place, and no pod gets one by default', () => {
    const classes = manifestObjects(clusterFixture().stack, 'priority-classes');
    expect(classes.map(({ metadata, value, preemptionPolicy, globalDefault }) => [metadata.name, value, preemptionPolicy, globalDefault])).toEqual([
      ['thalos-brain-stable', 100_000, 'PreemptLowerPriority', false],
      ['thalos-brain-candidate', 10_000, 'PreemptLowerPriority', false],
      ['thalos-brain-placeholder', -10, 'Never', false],
    ]);
  });

  test('are there before any workload: a pod that names a class that is not is refused', () => {
    const { stack, cluster } = fixture();
    cluster.addManifests('workload', cluster.gpuBurst!._nodePool());
    const all = manifests(Template.fromStack(stack));
    expect(all.find(({ name }) => name === 'workload')!.DependsOn).toContain(all.find(({ name }) => name === 'priority-classes')!.id);
  });
});
