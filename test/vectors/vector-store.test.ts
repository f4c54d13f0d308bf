import { App, Stack } from 'aws-cdk-lib';
import { Match, Template } from 'aws-cdk-lib/assertions';
import { ISubnet, IVpc, SecurityGroup, Vpc } from 'aws-cdk-lib/aws-ec2';
import { Role, ServicePrincipal } from 'aws-cdk-lib/aws-iam';
import { Key } from 'aws-cdk-lib/aws-kms';
import { Domain, EngineVersion } from 'aws-cdk-lib/aws-opensearchservice';
import { Construct } from 'constructs';
import { Binding } from '../../src/contract';
import { BrainEnvironment, VectorCapacity } from '../../src/environment';
import { BrainNetwork, IBrainNetwork } from '../../src/network';
import { Similarity, VectorIndex, VectorStore, VectorStoreProps } from '../../src/vectors';
import { TestWorkload } from '../support/workload';

const DOMAIN = 'AWS::OpenSearchService::Domain';
const index = (name: string) => VectorIndex.define(name, { dimension: 8, similarity: Similarity.COSINE });
const CONCRETE = { account: '111111111111', region: 'eu-west-1' };

interface Options {
  readonly environment?: BrainEnvironment;
  readonly zones?: string[];
  readonly env?: { account: string; region: string };
  readonly app?: App;
  readonly props?: Partial<VectorStoreProps>;
}

class TestNetwork extends Construct implements IBrainNetwork {
  readonly privateSubnets: ISubnet[];

  constructor(scope: Construct, id: string, readonly vpc: IVpc) {
    super(scope, id);
    this.privateSubnets = vpc.privateSubnets;
  }
}

/** Keys, network and roles stand in a stack before, as in `BrainStage`. */
function create({ environment = BrainEnvironment.prod(), zones = ['a', 'b', 'c'], env, app = new App(), props }: Options = {}) {
  const foundation = new Stack(app, 'Foundation', { env });
  const vpc = Vpc.fromVpcAttributes(foundation, 'Vpc', {
    vpcId: 'vpc-1', vpcCidrBlock: '10.0.0.0/16', availabilityZones: zones, privateSubnetIds: zones.map((zone) => `subnet-${zone}`),
  });
  const stack = new Stack(app, 'Vectors', { env });
  const keys = { vectors: new Key(foundation, 'VectorsKey'), logs: new Key(foundation, 'LogsKey') };
  const masterRole = new Role(foundation, 'Master', { assumedBy: new ServicePrincipal('lambda.amazonaws.com') });
  const store = new VectorStore(stack, 'Vectors', {
    environment,
    network: new TestNetwork(foundation, 'Network', vpc),
    encryptionKey: keys.vectors,
    logsKey: keys.logs,
    masterRole,
    indexes: [index('flats'), index('streets')],
    ...props,
  });
  return { app, foundation, stack, store, keys, masterRole };
}

const custom = (vectorCapacity: VectorCapacity) => ({ environment: BrainEnvironment.custom('mine', { vectorCapacity }) });

describe('VectorStore', () => {
  test.each([['a stack without region', undefined], ['a stack with one', CONCRETE]])('is in private subnets of three zones in %s', (_, env) => {
    const { app, stack } = create({ env });
    Template.fromStack(stack).hasResourceProperties(DOMAIN, {
      VPCOptions: { SubnetIds: ['subnet-a', 'subnet-b', 'subnet-c'], SecurityGroupIds: [Match.anyValue()] },
      ClusterConfig: Match.objectLike({ ZoneAwarenessEnabled: true, ZoneAwarenessConfig: { AvailabilityZoneCount: 3 } }),
      DomainName: Match.absent(),
    });
    expect(app.synth().manifest.missing ?? []).toEqual([]);
  });

  test('has standby, three masters and encrypted gp3 volumes in prod', () => {
    Template.fromStack(create().stack).hasResourceProperties(DOMAIN, {
      EngineVersion: 'OpenSearch_3.5',
      ClusterConfig: {
        InstanceType: 'r7g.large.search',
        InstanceCount: 3,
        MultiAZWithStandbyEnabled: true,
        DedicatedMasterEnabled: true,
        DedicatedMasterCount: 3,
        DedicatedMasterType: 'm7g.large.search',
      },
      EBSOptions: { EBSEnabled: true, VolumeType: 'gp3', VolumeSize: 100 },
      // a body that names another index than the path would go around the permissions
      AdvancedOptions: { 'rest.action.multi.allow_explicit_index': 'false' },
    });
  });

  test('has no standby in dev, where burstable instances cannot have it, and says so whatever the app\'s flags are', () => {
    for (const flag of [true, false]) {
      const app = new App({ context: { '@aws-cdk/aws-opensearchservice:enableOpensearchMultiAzWithStandby': flag } });
      const template = Template.fromStack(create({ app, environment: BrainEnvironment.dev() }).stack);
      template.hasResourceProperties(DOMAIN, {
        ClusterConfig: Match.objectLike({
          InstanceType: 't3.medium.search', InstanceCount: 3, MultiAZWithStandbyEnabled: false, DedicatedMasterEnabled: false, ZoneAwarenessEnabled: true,
        }),
        EBSOptions: Match.objectLike({ VolumeSize: 20 }),
      });
    }
  });

  test('encrypts data at rest with the given key, between nodes, and towards callers', () => {
    const { stack, keys } = create();
    Template.fromStack(stack).hasResourceProperties(DOMAIN, {
      EncryptionAtRestOptions: { Enabled: true, KmsKeyId: stack.resolve(keys.vectors.keyId) },
      NodeToNodeEncryptionOptions: { Enabled: true },
      DomainEndpointOptions: { EnforceHTTPS: true, TLSSecurityPolicy: 'Policy-Min-TLS-1-2-PFS-2023-10' },
    });
  });

  test('has one master, a role, and no user of its own', () => {
    const { stack, masterRole } = create();
    Template.fromStack(stack).hasResourceProperties(DOMAIN, {
      AdvancedSecurityOptions: {
        Enabled: true,
        InternalUserDatabaseEnabled: false,
        MasterUserOptions: { MasterUserARN: stack.resolve(masterRole.roleArn) },
      },
    });
  });

  test('patches in an off-peak window and may be upgraded in place', () => {
    const template = Template.fromStack(create().stack);
    template.hasResourceProperties(DOMAIN, { OffPeakWindowOptions: Match.objectLike({ Enabled: true }) });
    template.hasResource(DOMAIN, { UpdatePolicy: { EnableVersionUpgrade: true }, DeletionPolicy: 'Retain', UpdateReplacePolicy: 'Retain' });
  });

  test('writes audit, error and slow logs to encrypted groups', () => {
    const { stack, keys } = create({ environment: BrainEnvironment.staging() });
    const template = Template.fromStack(stack);
    // four of the domain, one of the function that makes its indexes
    template.resourceCountIs('AWS::Logs::LogGroup', 5);
    template.allResourcesProperties('AWS::Logs::LogGroup', { KmsKeyId: stack.resolve(keys.logs.keyArn), RetentionInDays: 90, LogGroupName: Match.absent() });
    const log = { Enabled: true, CloudWatchLogsLogGroupArn: Match.anyValue() };
    template.hasResourceProperties(DOMAIN, {
      LogPublishingOptions: { AUDIT_LOGS: log, ES_APPLICATION_LOGS: log, INDEX_SLOW_LOGS: log, SEARCH_SLOW_LOGS: log },
    });
  });

  test('lets OpenSearch write those logs by one native policy, made before the domain: no custom resource (DEPLOY A6)', () => {
    const { stack } = create();
    const template = Template.fromStack(stack);
    template.resourceCountIs('AWS::Logs::ResourcePolicy', 1);
    template.resourcePropertiesCountIs('Custom::CloudwatchLogResourcePolicy', {}, 0);
    template.resourceCountIs('AWS::Lambda::Function', 1);
    const [policyId, policy] = Object.entries(template.findResources('AWS::Logs::ResourcePolicy'))[0];
    template.hasResource(DOMAIN, { DependsOn: Match.arrayWith([policyId]) });
    const text = JSON.stringify(policy.Properties.PolicyDocument);
    expect(text).toContain('es.amazonaws.com');
    expect(text).toContain('aws:SourceAccount');
    expect(text).not.toMatch(/Resource\\*":\s*\\*"\*/);
  });

  test('sets its access policy natively: the master, and searchers on their paths (DEPLOY A6)', () => {
    const { app, stack, foundation, store, masterRole } = create();
    const workload = new TestWorkload(foundation, 'Service');
    store.connectSearcher(workload);
    app.synth();
    const template = Template.fromStack(stack);
    template.resourcePropertiesCountIs('Custom::OpenSearchAccessPolicy', {}, 0);
    const path = (suffix: string) => ({
      'Fn::Join': ['', ['arn:', { Ref: 'AWS::Partition' }, ':es:', { Ref: 'AWS::Region' }, ':', { Ref: 'AWS::AccountId' }, `:domain/*/${suffix}`]],
    });
    template.hasResourceProperties(DOMAIN, {
      AccessPolicies: {
        Version: '2012-10-17',
        Statement: [
          {
            Effect: 'Allow',
            Principal: { AWS: stack.resolve(masterRole.roleArn) },
            Action: ['es:ESHttpDelete', 'es:ESHttpGet', 'es:ESHttpHead', 'es:ESHttpPatch', 'es:ESHttpPost', 'es:ESHttpPut'],
            Resource: path('*'),
          },
          {
            Effect: 'Allow',
            Principal: { AWS: stack.resolve(workload.role.roleArn) },
            Action: 'es:ESHttpPost',
            Resource: [path('flats/_msearch'), path('streets/_msearch')],
          },
          {
            Effect: 'Allow',
            Principal: { AWS: stack.resolve(workload.role.roleArn) },
            Action: 'es:ESHttpGet',
            Resource: [path('flats/_alias'), path('streets/_alias')],
          },
        ],
      },
    });
  });

  test('waits for the service-linked role, without which no domain joins a VPC (DEPLOY A6)', () => {
    const app = new App();
    const stack = new Stack(app, 'Before');
    const linked = new Key(stack, 'Linked');
    const made = create({ app, props: { serviceLinkedRoles: linked } });
    app.synth();
    expect(made.stack.dependencies).toContain(stack);
  });

  test('lets a searcher search the declared indexes, and neither write nor see others', () => {
    const { stack, foundation, store } = create();
    const workload = new TestWorkload(foundation, 'Service');
    store.connectSearcher(workload);
    const arn = stack.resolve(store.domain.domainArn);
    const path = (suffix: string) => ({ 'Fn::Join': ['', [arn, suffix]] });
    Template.fromStack(stack).hasResourceProperties('AWS::IAM::Policy', {
      PolicyDocument: {
        Statement: [
          { Effect: 'Allow', Action: 'es:ESHttpPost', Resource: [path('/flats/_msearch'), path('/streets/_msearch')] },
          { Effect: 'Allow', Action: 'es:ESHttpGet', Resource: [path('/flats/_alias'), path('/streets/_alias')] },
        ],
      },
    });
    expect(stack.resolve(workload.bindings[Binding.VECTOR_ENDPOINT])).toEqual({
      'Fn::Join': ['', ['https://', stack.resolve(store.domain.domainEndpoint)]],
    });
  });

  test('admits nobody before somebody is connected, and sends nothing by itself', () => {
    const template = Template.fromStack(create().stack);
    // but the function that makes the indexes
    template.resourceCountIs('AWS::EC2::SecurityGroupIngress', 1);
    template.hasResourceProperties('AWS::EC2::SecurityGroupIngress', { Description: 'Function that makes vector indexes' });
    template.hasResourceProperties('AWS::EC2::SecurityGroup', {
      SecurityGroupIngress: Match.absent(),
      SecurityGroupEgress: [Match.objectLike({ CidrIp: '255.255.255.255/32' })],
    });
  });

  test('admits a searcher by its security group, in the searcher\'s stack, so that references go one way', () => {
    const { app, stack, store, foundation } = create();
    const serving = new Stack(app, 'Serving');
    const workload = new TestWorkload(serving, 'Service');
    Object.assign(workload, { role: new TestWorkload(foundation, 'Identity').role });
    store.connectSearcher(workload, SecurityGroup.fromSecurityGroupId(serving, 'Pods', 'sg-pods'));
    app.synth();
    Template.fromStack(serving).hasResourceProperties('AWS::EC2::SecurityGroupIngress', {
      SourceSecurityGroupId: 'sg-pods', IpProtocol: 'tcp', FromPort: 443, ToPort: 443,
    });
    Template.fromStack(stack).resourcePropertiesCountIs('AWS::EC2::SecurityGroupIngress', { SourceSecurityGroupId: 'sg-pods' }, 0);
    expect(serving.dependencies).toContain(stack);
    expect(stack.dependencies).toEqual([foundation]);
  });

  test('admits the VPC\'s addresses, once and on one port, for searchers without a security group', () => {
    const { stack, foundation, store } = create();
    store.connectSearcher(new TestWorkload(foundation, 'Service'));
    store.connectSearcher(new TestWorkload(foundation, 'Other'));
    const template = Template.fromStack(stack);
    template.resourcePropertiesCountIs('AWS::EC2::SecurityGroupIngress', { CidrIp: '10.0.0.0/16' }, 1);
    template.hasResourceProperties('AWS::EC2::SecurityGroupIngress', { CidrIp: '10.0.0.0/16', IpProtocol: 'tcp', FromPort: 443, ToPort: 443 });
  });

  test('takes three private subnets from a network that has more', () => {
    const { stack } = create({ zones: ['a', 'b', 'c', 'd'] });
    Template.fromStack(stack).hasResourceProperties(DOMAIN, { VPCOptions: Match.objectLike({ SubnetIds: ['subnet-a', 'subnet-b', 'subnet-c'] }) });
  });

  test('is in one zone with a single node, and warns', () => {
    const { stack } = create(custom({ dataNodeType: 't3.small.search', dataNodes: 1 }));
    const template = Template.fromStack(stack);
    template.hasResourceProperties(DOMAIN, {
      ClusterConfig: Match.objectLike({ InstanceCount: 1, ZoneAwarenessEnabled: false }),
      VPCOptions: Match.objectLike({ SubnetIds: ['subnet-a'] }),
    });
  });

  test.each([['without region', undefined], ['with a region', CONCRETE]])('is in the network that a brain makes for itself, in a stack %s', (_, env) => {
    const app = new App();
    const stack = new Stack(app, 'Brain', { env });
    const logsKey = new Key(stack, 'Key');
    const environment = BrainEnvironment.dev();
    new VectorStore(stack, 'Vectors', {
      environment,
      network: new BrainNetwork(stack, 'Network', { environment, logsKey }),
      encryptionKey: logsKey,
      logsKey,
      masterRole: new Role(stack, 'Master', { assumedBy: new ServicePrincipal('lambda.amazonaws.com') }),
      indexes: [index('flats')],
    });
    expect(app.synth().manifest.missing ?? []).toEqual([]);
    const [domain] = Object.values(Template.fromStack(stack).findResources(DOMAIN));
    expect(new Set(domain.Properties.VPCOptions.SubnetIds.map((subnet: object) => JSON.stringify(subnet))).size).toBe(3);
  });

  test('connects searchers to a domain of your own', () => {
    const stack = new Stack(new App(), 'Data', { env: CONCRETE });
    const workload = new TestWorkload(stack, 'Service');
    const store = VectorStore.fromDomain(stack, 'Vectors', {
      domain: Domain.fromDomainAttributes(stack, 'Mine', { domainArn: 'arn:aws:es:eu-west-1:111111111111:domain/mine', domainEndpoint: 'mine.example' }),
      securityGroup: SecurityGroup.fromSecurityGroupId(stack, 'DomainGroup', 'sg-domain'),
      indexes: [index('flats')],
    });
    expect(() => store.connectSearcher(new TestWorkload(stack, 'Nowhere'))).toThrow(/NoSource: .*got none: pass it as second argument/);
    store.connectSearcher(workload, SecurityGroup.fromSecurityGroupId(stack, 'Pods', 'sg-pods'));
    const template = Template.fromStack(stack);
    template.hasResourceProperties('AWS::EC2::SecurityGroupIngress', { GroupId: 'sg-domain', SourceSecurityGroupId: 'sg-pods', FromPort: 443 });
    template.hasResourceProperties('AWS::IAM::Policy', {
      PolicyDocument: { Statement: Match.arrayWith([Match.objectLike({ Resource: 'arn:aws:es:eu-west-1:111111111111:domain/mine/flats/_msearch' })]) },
    });
    expect(workload.bindings).toEqual({ [Binding.VECTOR_ENDPOINT]: 'https://mine.example' });
  });

  test.each<[string, Options, RegExp]>([
    ['it holds no index', { props: { indexes: [] } }, /NoVectorIndex: .*at least one vector index, got 0/],
    ['two indexes share a name', { props: { indexes: [index('a'), index('a')] } }, /DuplicateName: vector index 'a'/],
    ['OpenSearch is too old for these similarities', { props: { version: EngineVersion.OPENSEARCH_2_17 } }, /UnsupportedVersion: .*2\.19 or newer, got 'OpenSearch_2\.17'/],
    ['the engine is Elasticsearch', { props: { version: EngineVersion.ELASTICSEARCH_7_10 } }, /UnsupportedVersion: .*got 'Elasticsearch_7\.10'/],
    ['the network has two zones', { zones: ['a', 'b'] }, /TooFewSubnets: .*private subnets in 3 AZs, got 2/],
    ['data nodes do not spread evenly', custom({ dataNodeType: 'r7g.large.search', dataNodes: 4 }), /DataNodes: .*1 or a multiple of 3, got 4/],
    ['standby lacks masters', custom({ dataNodeType: 'r7g.large.search', dataNodes: 3, standby: true }), /StandbyCapacity: .*got masterNodeType undefined/],
    ['standby is to run on burstable nodes', custom({ dataNodeType: 't3.medium.search', dataNodes: 3, masterNodeType: 'm7g.large.search', standby: true }), /StandbyInstanceType: .*got 't3\.medium\.search'/],
    ['its volume is too small', custom({ dataNodeType: 'r7g.large.search', dataNodes: 3, volumeSizeGiB: 5 }), /VolumeSize: .*at least 10, got 5/],
  ])('fails when %s', (_, options, message) => {
    expect(() => create(options)).toThrow(message);
  });

  test('takes 2.19, the oldest version that it may be', () => {
    Template.fromStack(create({ props: { version: EngineVersion.OPENSEARCH_2_19 } }).stack).hasResourceProperties(DOMAIN, { EngineVersion: 'OpenSearch_2.19' });
  });
});
