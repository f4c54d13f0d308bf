import { App, Stack } from 'aws-cdk-lib';
import { Annotations, Match, Template } from 'aws-cdk-lib/assertions';
import { Vpc } from 'aws-cdk-lib/aws-ec2';
import { ControlPlaneScalingTier, KubernetesVersion } from 'aws-cdk-lib/aws-eks-v2';
import { Role } from 'aws-cdk-lib/aws-iam';
import { Key } from 'aws-cdk-lib/aws-kms';
import RECOMMENDED_FLAGS from 'aws-cdk-lib/recommended-feature-flags.json';
import { Construct } from 'constructs';
import { clusterFixture, clusterIn } from './fixture';
import { Accelerator } from '../../src/cluster';
import { BrainEnvironment } from '../../src/environment';
import { BrainNetwork, IBrainNetwork } from '../../src/network';

const template = (...args: Parameters<typeof clusterFixture>) => Template.fromStack(clusterFixture(...args).stack);

describe('BrainCluster', () => {
  describe('control plane', () => {
    test('has a private endpoint only', () => {
      template().hasResourceProperties('AWS::EKS::Cluster', {
        ResourcesVpcConfig: { EndpointPrivateAccess: true, EndpointPublicAccess: false },
      });
    });

    test('stands in the three private subnets, and so do the nodes of the default node class', () => {
      template().hasResourceProperties('AWS::EKS::Cluster', {
        ResourcesVpcConfig: { SubnetIds: [1, 2, 3].map((zone) => ({ Ref: Match.stringLikeRegexp(`VpcPrivateSubnet${zone}`) })) },
      });
    });

    test('encrypts secrets with the customer key, which its role may use and grant to AWS services only', () => {
      const { stack } = clusterFixture();
      const key = { 'Fn::GetAtt': [Match.stringLikeRegexp('ClusterKey'), 'Arn'] };
      Template.fromStack(stack).hasResourceProperties('AWS::EKS::Cluster', { EncryptionConfig: [{ Provider: { KeyArn: key }, Resources: ['secrets'] }] });
      Template.fromStack(stack).hasResourceProperties('AWS::IAM::Policy', {
        PolicyDocument: {
          Statement: [
            { Effect: 'Allow', Action: ['kms:Encrypt', 'kms:Decrypt', 'kms:DescribeKey', 'kms:ListGrants'], Resource: key },
            { Effect: 'Allow', Action: 'kms:CreateGrant', Resource: key, Condition: { Bool: { 'kms:GrantIsForAWSResource': 'true' } } },
          ],
        },
        Roles: [{ Ref: Match.stringLikeRegexp('ClusterRole') }],
      });
    });

    test('sends all five kinds of logs to a group that exists before it, encrypted and with a retention', () => {
      const t = template();
      t.hasResourceProperties('AWS::EKS::Cluster', {
        Logging: { ClusterLogging: { EnabledTypes: ['api', 'audit', 'authenticator', 'controllerManager', 'scheduler'].map((Type) => ({ Type })) } },
      });
      t.hasResourceProperties('AWS::Logs::LogGroup', {
        LogGroupName: { 'Fn::Join': ['', Match.arrayWith(['/aws/eks/brain-', '/cluster'])] },
        KmsKeyId: { 'Fn::GetAtt': [Match.stringLikeRegexp('LogsKey'), 'Arn'] },
        RetentionInDays: 14,
      });
      t.hasResource('AWS::EKS::Cluster', { DependsOn: Match.arrayWith([Match.stringLikeRegexp('^ClusterLogs')]) });
    });

    test('has a name that names no resource, and is new with each new stack', () => {
      const { Name } = Object.values(template().findResources('AWS::EKS::Cluster'))[0].Properties;
      expect(JSON.stringify(Name)).toContain('AWS::StackId');
      expect(JSON.stringify(Name).match(/"Ref":"[^"]+"/g)).toEqual(['"Ref":"AWS::StackId"']);
    });

    test('admits by access entries, and whoever deploys is no administrator', () => {
      template().hasResourceProperties('AWS::EKS::Cluster', {
        AccessConfig: { AuthenticationMode: 'API', BootstrapClusterCreatorAdminPermissions: false },
      });
    });

    test('never falls into extended support, and takes part in zonal shifts', () => {
      template().hasResourceProperties('AWS::EKS::Cluster', {
        Version: '1.35',
        UpgradePolicy: { SupportType: 'STANDARD' },
        ZonalShiftConfig: { Enabled: true },
      });
    });

    test.each([[BrainEnvironment.dev(), false], [BrainEnvironment.prod(), true]])('takes deletion protection from the environment', (environment, expected) => {
      template({}, environment).hasResourceProperties('AWS::EKS::Cluster', { DeletionProtection: expected });
    });

    test.each([
      ['that of EKS', BrainEnvironment.prod(), 'standard'],
      ['what the environment says', BrainEnvironment.custom('rush', { controlPlaneTier: ControlPlaneScalingTier.TIER_2XL }), 'tier-2xl'],
    ])('has the capacity of %s', (_, environment, Tier) => {
      template({}, environment).hasResourceProperties('AWS::EKS::Cluster', { ControlPlaneScalingConfig: { Tier } });
    });

    test('keeps its logs in prod', () => {
      template({}, BrainEnvironment.prod()).allResources('AWS::Logs::LogGroup', { DeletionPolicy: 'Retain' });
    });
  });

  describe('Auto Mode', () => {
    test('is on for compute, storage and load balancing, with both built-in node pools', () => {
      template().hasResourceProperties('AWS::EKS::Cluster', {
        ComputeConfig: { Enabled: true, NodePools: ['system', 'general-purpose'] },
        StorageConfig: { BlockStorage: { Enabled: true } },
        KubernetesNetworkConfig: { ElasticLoadBalancing: { Enabled: true } },
      });
    });

    test('its cluster role trusts sessions with tags and has the four policies (CDK adds them to a real role only)', () => {
      const [role] = Object.values(template().findResources('AWS::IAM::Role', { Properties: { Description: 'Control plane of the brain' } }));
      expect(role.Properties.AssumeRolePolicyDocument.Statement.map((statement: any) => statement.Action)).toEqual(['sts:AssumeRole', 'sts:TagSession']);
      for (const policy of ['EKSCompute', 'EKSBlockStorage', 'EKSLoadBalancing', 'EKSNetworking', 'EKSCluster']) {
        expect(JSON.stringify(role.Properties.ManagedPolicyArns)).toContain(`Amazon${policy}Policy`);
      }
    });

    test('its nodes may pull images and nothing more than a node needs', () => {
      const [role] = Object.values(template().findResources('AWS::IAM::Role', { Properties: { Description: 'Auto Mode nodes of the brain' } }));
      expect(JSON.stringify(role.Properties.ManagedPolicyArns).match(/Amazon\w+/g)).toEqual(['AmazonEKSWorkerNodeMinimalPolicy', 'AmazonEC2ContainerRegistryPullOnly']);
    });

    test('network policies are switched on: without the switch Auto Mode ignores them', () => {
      template().hasResourceProperties('Custom::AWSCDK-EKS-KubernetesResource', {
        Manifest: Match.stringLikeRegexp('"name":"amazon-vpc-cni","namespace":"kube-system".*"enable-network-policy-controller":"true"'),
      });
    });

    test('with Accelerator.CPU there are no managed nodes and none of the add-ons that those need', () => {
      const t = template({ accelerator: Accelerator.CPU });
      t.resourceCountIs('AWS::EKS::Nodegroup', 0);
      t.resourceCountIs('AWS::EKS::Addon', 0);
      t.resourceCountIs('AWS::EC2::LaunchTemplate', 0);
    });
  });

  describe('kubectl handlers', () => {
    const handlers = (t: Template) => Object.values(t.findResources('AWS::Lambda::Function')).map((handler) => handler.Properties);

    test.each([
      ['all feature flags off', undefined],
      ['all recommended feature flags on', RECOMMENDED_FLAGS],
    ])('log to one encrypted group, and to no other, with %s', (_, context) => {
      const t = template({}, BrainEnvironment.dev(), { context });
      expect(handlers(t)).toHaveLength(2);
      for (const handler of handlers(t)) expect(handler.LoggingConfig.LogGroup).toEqual({ Ref: expect.stringMatching(/^ClusterKubectlLogs/) });
      t.resourceCountIs('AWS::Logs::LogGroup', 2);
      t.allResourcesProperties('AWS::Logs::LogGroup', { KmsKeyId: { 'Fn::GetAtt': [Match.stringLikeRegexp('LogsKey'), 'Arn'] }, RetentionInDays: 14 });
    });

    test('run on current runtimes, and no map of runtimes per region names nodejs20.x', () => {
      const t = template();
      expect(handlers(t).map((handler) => handler.Runtime).sort()).toEqual(['nodejs24.x', 'python3.13']);
      expect(JSON.stringify(t.toJSON())).not.toContain('nodejs20.x');
    });

    test('stand in private subnets, in a security group of their own that lets out HTTPS only', () => {
      const t = template();
      for (const handler of handlers(t)) {
        expect(handler.VpcConfig.SecurityGroupIds).toEqual([{ 'Fn::GetAtt': [expect.stringMatching(/^ClusterKubectlSecurityGroup/), 'GroupId'] }]);
        expect(JSON.stringify(handler.VpcConfig.SubnetIds)).not.toContain('Public');
      }
      t.hasResourceProperties('AWS::EC2::SecurityGroup', {
        GroupDescription: Match.stringLikeRegexp('kubectl'),
        SecurityGroupEgress: [Match.objectLike({ FromPort: 443, ToPort: 443, IpProtocol: 'tcp' })],
      });
      t.hasResourceProperties('AWS::EC2::SecurityGroupIngress', {
        GroupId: { 'Fn::GetAtt': [Match.stringLikeRegexp('ClusterControlPlane'), 'GroupId'] },
        SourceSecurityGroupId: { 'Fn::GetAtt': [Match.stringLikeRegexp('ClusterKubectlSecurityGroup'), 'GroupId'] },
        FromPort: 443,
        ToPort: 443,
      });
    });

    test('may describe this cluster, and read no image repository', () => {
      const t = template();
      const [role] = Object.values(t.findResources('AWS::IAM::Role', { Properties: { Description: Match.stringLikeRegexp('Applies the manifests') } }));
      expect(role.Properties.ManagedPolicyArns).toHaveLength(1);
      t.hasResourceProperties('AWS::IAM::Policy', {
        PolicyDocument: { Statement: [{ Effect: 'Allow', Action: 'eks:DescribeCluster', Resource: { 'Fn::GetAtt': [Match.stringLikeRegexp('^Cluster'), 'Arn'] } }] },
      });
      expect(JSON.stringify(t.toJSON())).not.toContain('ContainerRegistryReadOnly');
    });

    test('manifests wait for the permission and the network path of the handler that applies them', () => {
      template().allResources('Custom::AWSCDK-EKS-KubernetesResource', {
        DependsOn: Match.arrayWith([
          Match.stringLikeRegexp('KubectlDescribeCluster'), Match.stringLikeRegexp('KubectlToControlPlane'), Match.stringLikeRegexp('KubectlReadyBarrier'),
        ]),
      });
    });
  });

  describe('IAM', () => {
    test('no statement has a wildcard action', () => {
      const policies = Object.values(template({ accelerator: Accelerator.L4 }).findResources('AWS::IAM::Policy'));
      const actions = policies.flatMap((policy) => policy.Properties.PolicyDocument.Statement.flatMap((statement: any) => statement.Action));
      expect(actions.filter((action: string) => action.includes('*'))).toEqual([]);
    });

    test('no statement has a wildcard resource', () => {
      const policies = Object.values(template({ accelerator: Accelerator.L4 }).findResources('AWS::IAM::Policy'));
      const resources = policies.flatMap((policy) => policy.Properties.PolicyDocument.Statement.flatMap((statement: any) => statement.Resource));
      expect(resources).not.toContain('*');
    });

    test('administrators get an access entry each, and without any there is only that of the kubectl handler', () => {
      template().resourceCountIs('AWS::EKS::AccessEntry', 1);
      const stack = new Stack(new App(), 'Stack');
      clusterIn(stack, { options: { administrators: [Role.fromRoleArn(stack, 'Platform', 'arn:aws:iam::111122223333:role/platform')] } });
      Template.fromStack(stack).hasResourceProperties('AWS::EKS::AccessEntry', {
        PrincipalArn: 'arn:aws:iam::111122223333:role/platform',
        AccessPolicies: [{ AccessScope: { Type: 'cluster' } }],
      });
    });
  });

  describe('service addresses', () => {
    test.each([[undefined, '172.20.0.10'], ['10.100.0.0/16', '10.100.0.10']])('the DNS address of %s is %s', (serviceCidr, expected) => {
      const { cluster, stack } = clusterFixture({ serviceCidr });
      expect(cluster.dnsAddress).toBe(expected);
      Template.fromStack(stack).hasResourceProperties('AWS::EKS::Cluster', { KubernetesNetworkConfig: { ServiceIpv4Cidr: serviceCidr ?? '172.20.0.0/16' } });
    });

    test.each(['10.0.0.0/12', '172.16.0.0/12', '192.168.255.0/24'])('may be %s', (serviceCidr) => {
      expect(() => clusterFixture({ serviceCidr })).not.toThrow();
    });

    test.each([
      ['172.20.0.0', /must be an IPv4 block of \/12 to \/24, got '172.20.0.0'/],
      ['300.20.0.0/16', /must be an IPv4 block/],
      ['10.0.0.0/11', /must be an IPv4 block of \/12 to \/24/],
      ['10.100.0.0/25', /must be an IPv4 block of \/12 to \/24/],
      ['8.8.0.0/16', /must be a private block, got '8.8.0.0\/16': take one inside of 10.0.0.0\/8/],
      ['172.32.0.0/16', /must be a private block/],
      ['192.168.0.0/15', /must be a private block/],
      ['172.20.0.1/16', /must begin at the start of its block, got '172.20.0.1\/16': use '172.20.0.0\/16'/],
      ['172.31.128.0/16', /use '172.31.0.0\/16'/],
      ['10.100.1.0/22', /use '10.100.0.0\/22'/],
    ])('fails with %s', (serviceCidr, message) => {
      expect(() => clusterFixture({ serviceCidr })).toThrow(/ServiceCidr: serviceCidr/);
      expect(() => clusterFixture({ serviceCidr })).toThrow(message);
    });

    const inVpc = (vpcCidrBlock: string | undefined, serviceCidr: string) => {
      const stack = new Stack(new App(), 'Stack');
      const zones = ['a', 'b', 'c'];
      const vpc = Vpc.fromVpcAttributes(stack, 'Given', {
        vpcId: 'vpc-1', vpcCidrBlock, availabilityZones: zones, privateSubnetIds: zones.map((zone) => `subnet-${zone}`),
      });
      return clusterIn(stack, { network: BrainNetwork.fromVpc(stack, 'GivenNetwork', vpc), options: { serviceCidr } });
    };

    test.each([
      ['the VPC\'s', '10.20.0.0/16', ['10.20.0.0/16']],
      ['every private block, where nobody told the VPC\'s', undefined, ['10.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16', '100.64.0.0/10']],
    ])('nodes have the addresses of %s', (_, vpcCidrBlock, expected) => {
      expect(inVpc(vpcCidrBlock, '172.20.0.0/16').nodeCidrs).toEqual(expected);
    });

    test.each([
      ['10.0.0.0/16', '10.0.128.0/20'],
      ['10.0.0.0/16', '10.0.0.0/12'],
      ['172.20.0.0/16', '172.20.0.0/16'],
    ])('fails when the VPC has %s and services %s', (vpcCidr, serviceCidr) => {
      expect(() => inVpc(vpcCidr, serviceCidr)).toThrow(`must not overlap the addresses of the VPC ('${vpcCidr}'), got '${serviceCidr}'`);
    });

    test.each([
      ['10.0.0.0/16', '10.1.0.0/16'],
      ['10.1.0.0/16', '10.0.0.0/16'],
      [undefined, '10.0.0.0/16'],
    ])('may be beside the VPC, or in one whose addresses nobody told: %s and %s', (vpcCidr, serviceCidr) => {
      expect(() => inVpc(vpcCidr, serviceCidr)).not.toThrow();
    });
  });

  test('fails with a network of two AZs', () => {
    class TwoZones extends Construct implements IBrainNetwork {
      readonly vpc = new Vpc(this, 'Vpc', { availabilityZones: ['dummy1a', 'dummy1b'] });
      readonly privateSubnets = this.vpc.privateSubnets;
    }
    const stack = new Stack(new App(), 'Stack');
    expect(() => clusterIn(stack, { network: new TwoZones(stack, 'TwoZones') })).toThrow(/private subnets in 3 zones, got 2/);
  });

  test('waits for the network, which on deletion outlives what kubectl still has to remove', () => {
    const app = new App();
    const stack = new Stack(app, 'Stack', { env: { region: 'eu-central-1' } });
    const environment = BrainEnvironment.dev();
    clusterIn(stack, { network: new BrainNetwork(stack, 'BrainNetwork', { environment, logsKey: new Key(stack, 'FlowLogsKey') }) });
    const t = Template.fromStack(stack);
    const way = [...Object.keys(t.findResources('AWS::EC2::Route')), ...Object.keys(t.findResources('AWS::EC2::NatGateway'))].filter((name) => name.startsWith('BrainNetwork'));
    expect(way.length).toBeGreaterThanOrEqual(4);
    const [cluster] = Object.values(t.findResources('AWS::EKS::Cluster'));
    expect(cluster.DependsOn).toEqual(expect.arrayContaining(way));
  });

  test('warns of add-on versions that nobody pinned, and takes those that are given', () => {
    const { stack } = clusterFixture({ accelerator: Accelerator.L4, version: KubernetesVersion.V1_36, addOnVersions: { coredns: 'v9.9.9-eksbuild.9' } });
    Annotations.fromStack(stack).hasWarning('*', Match.stringLikeRegexp('Kubernetes 1.36 are not pinned'));
    Template.fromStack(stack).hasResourceProperties('AWS::EKS::Addon', { AddonName: 'coredns', AddonVersion: 'v9.9.9-eksbuild.9' });
  });

  test('gives no warning with its defaults', () => {
    const { stack } = clusterFixture({ accelerator: Accelerator.L4 });
    expect(Annotations.fromStack(stack).findWarning('*', Match.anyValue())).toEqual([]);
  });
});
