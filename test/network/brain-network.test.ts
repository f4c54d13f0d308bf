import { App, CfnResource, Stack } from 'aws-cdk-lib';
import { Annotations, Match, Template } from 'aws-cdk-lib/assertions';
import { IVpc, Vpc } from 'aws-cdk-lib/aws-ec2';
import { Key } from 'aws-cdk-lib/aws-kms';
import { BrainEnvironment } from '../../src/environment';
import { BrainNetwork, BrainNetworkProps } from '../../src/network';

const US_EAST_1 = { account: '123456789012', region: 'us-east-1' };

type Props = Partial<Omit<BrainNetworkProps, 'logsKey'>>;

interface Made {
  readonly app: App;
  readonly stack: Stack;
  readonly network: BrainNetwork;
  readonly template: Template;
}

function make(props: Props = {}, env: { account?: string; region?: string } | undefined = US_EAST_1): Made {
  const app = new App();
  const stack = new Stack(app, 'Stack', { env });
  const network = new BrainNetwork(stack, 'Network', { environment: BrainEnvironment.prod(), logsKey: new Key(stack, 'Key'), ...props });
  return { app, stack, network, get template() { return Template.fromStack(stack); } };
}

function propertiesOf(template: Template, type: string, like: object = {}): { [name: string]: any }[] {
  return Object.values(template.findResources(type, { Properties: Match.objectLike(like) })).map(({ Properties }) => Properties);
}

/** Ids of interface or gateway endpoints, without `com.amazonaws.us-east-1.`. */
function services(template: Template, kind: string): string[] {
  return propertiesOf(template, 'AWS::EC2::VPCEndpoint', { VpcEndpointType: kind }).map(({ ServiceName }) => ServiceName.replace('com.amazonaws.us-east-1.', '')).sort();
}

describe('subnets', () => {
  const { template } = make();
  const zoneIds = (of: Template) => propertiesOf(of, 'AWS::EC2::Subnet').map(({ AvailabilityZoneId }) => AvailabilityZoneId).sort();

  test('A1: stand in three zones by id, private and public alike, and in none that EKS refuses', () => {
    expect(zoneIds(template)).toEqual(['use1-az1', 'use1-az1', 'use1-az2', 'use1-az2', 'use1-az4', 'use1-az4']);
  });

  test('name no zone by the account\'s own name', () => {
    template.allResourcesProperties('AWS::EC2::Subnet', { AvailabilityZone: Match.absent() });
  });

  test('give a private subnet of /19 to each zone, and /24 to each NAT gateway', () => {
    expect(propertiesOf(template, 'AWS::EC2::Subnet').map(({ CidrBlock }) => CidrBlock).sort()).toEqual([
      '10.0.0.0/19', '10.0.224.0/24', '10.0.225.0/24', '10.0.226.0/24', '10.0.32.0/19', '10.0.64.0/19',
    ]);
  });

  test('give nobody a public address by itself', () => {
    template.allResourcesProperties('AWS::EC2::Subnet', { MapPublicIpOnLaunch: false });
  });

  test('carry the tags by which EKS finds them', () => {
    const tagged = (key: string) => propertiesOf(template, 'AWS::EC2::Subnet', { Tags: Match.arrayWith([{ Key: key, Value: '1' }]) }).map(({ CidrBlock }) => CidrBlock);

    expect(tagged('kubernetes.io/role/internal-elb').sort()).toEqual(['10.0.0.0/19', '10.0.32.0/19', '10.0.64.0/19']);
    expect(tagged('kubernetes.io/role/elb')).toHaveLength(3);
  });

  test('are the same in a stack of the same region without an account', () => {
    expect(zoneIds(make({}, { region: 'us-east-1' }).template)).toEqual(zoneIds(template));
  });

  test('need no look into the account', () => {
    const { app } = make();

    expect(app.synth().manifest.missing ?? []).toEqual([]);
  });

  test('follow GetAZs in a stack without a region, with advice against it', () => {
    const { stack, template: agnostic } = make({}, {});

    const zones = propertiesOf(agnostic, 'AWS::EC2::Subnet').map(({ AvailabilityZone }) => JSON.stringify(AvailabilityZone));
    expect(new Set(zones).size).toBe(3);
    expect(zones[0]).toContain('Fn::GetAZs');
    Annotations.fromStack(stack).hasWarning('/Stack/Network', Match.stringLikeRegexp('pass zoneIds.*ZonesFromAccount'));
  });

  test('give no advice where the zones are known', () => {
    Annotations.fromStack(make().stack).hasNoWarning('*', Match.anyValue());
    Annotations.fromStack(make({ zoneIds: ['use1-az1', 'use1-az2', 'use1-az6'] }, {}).stack).hasNoWarning('*', Match.anyValue());
  });
});

describe('addresses', () => {
  test('a /17 leaves private subnets of /20, the least that Auto Mode should have', () => {
    const { template } = make({ cidr: '172.16.128.0/17' });

    expect(propertiesOf(template, 'AWS::EC2::Subnet', { CidrBlock: Match.stringLikeRegexp('/20$') }).map(({ CidrBlock }) => CidrBlock).sort())
      .toEqual(['172.16.128.0/20', '172.16.144.0/20', '172.16.160.0/20']);
  });

  test.each(['10.0.0.0/15', '10.0.0.0/18', '10.0.0.0', '10.0.300.0/16', 'fd00::/64', '10.0.1.0/16'])('fails when the block is %s', (cidr) => {
    expect(() => make({ cidr })).toThrow(/VpcCidr.*got/);
  });
});

describe('the way out', () => {
  test('goes through a NAT gateway in each zone in prod, so that no zone depends on another', () => {
    const { template } = make();

    template.resourceCountIs('AWS::EC2::NatGateway', 3);
    const used = propertiesOf(template, 'AWS::EC2::Route', { NatGatewayId: Match.anyValue() }).map(({ NatGatewayId }) => NatGatewayId.Ref);
    expect(new Set(used).size).toBe(3);
  });

  test('A1: goes through one in dev, and takes one address of the five that an account has', () => {
    const { template } = make({ environment: BrainEnvironment.dev() });

    template.resourceCountIs('AWS::EC2::NatGateway', 1);
    template.resourceCountIs('AWS::EC2::EIP', 1);
    expect(propertiesOf(template, 'AWS::EC2::Route', { NatGatewayId: Match.anyValue() })).toHaveLength(3);
  });

  test('no private subnet has a route to the internet gateway', () => {
    const { template } = make();
    const [, publicTable] = Object.entries(template.findResources('AWS::EC2::Route')).map(([, { Properties }]) => Properties)
      .filter(({ GatewayId }) => GatewayId).map(({ RouteTableId }) => ['', RouteTableId.Ref])[0];

    const associated = propertiesOf(template, 'AWS::EC2::SubnetRouteTableAssociation', { RouteTableId: { Ref: publicTable } });
    const publicSubnets = Object.entries(template.findResources('AWS::EC2::Subnet'))
      .filter(([, { Properties }]) => Properties.CidrBlock.endsWith('/24')).map(([id]) => id);
    expect(associated.map(({ SubnetId }) => SubnetId.Ref).sort()).toEqual(publicSubnets.sort());
  });

  test('is there before what waits for a private subnet\'s way out', () => {
    const { stack, network } = make();
    const node = new CfnResource(stack, 'Node', { type: 'Test::Node' });
    node.node.addDependency(network.vpc.selectSubnets({ subnets: [network.privateSubnets[0]] }).internetConnectivityEstablished);

    expect(Template.fromStack(stack).toJSON().Resources.Node.DependsOn).toEqual(expect.arrayContaining([expect.stringMatching(/Private1DefaultRoute/)]));
  });

  test('outlives what depends on the VPC: a cluster\'s objects are deleted through it', () => {
    const { stack, network } = make();
    const cluster = new CfnResource(stack, 'Cluster', { type: 'Test::Cluster' });
    cluster.node.addDependency(network.vpc);

    const waitsFor = Template.fromStack(stack).toJSON().Resources.Cluster.DependsOn;
    expect(waitsFor).toEqual(expect.arrayContaining([expect.stringMatching(/Private3DefaultRoute/), expect.stringMatching(/EndpointsS3/)]));
  });
});

describe('endpoints', () => {
  test('A1: S3 and DynamoDB are reached by gateway endpoints from every private subnet, in every environment', () => {
    for (const environment of [BrainEnvironment.dev(), BrainEnvironment.prod()]) {
      const { template } = make({ environment });

      expect(services(template, 'Gateway')).toEqual(['dynamodb', 's3']);
      for (const { RouteTableIds } of propertiesOf(template, 'AWS::EC2::VPCEndpoint', { VpcEndpointType: 'Gateway' })) expect(RouteTableIds).toHaveLength(3);
    }
  });

  test('A1: prod has all that private nodes, pods and kubectl functions call', () => {
    expect(services(make().template, 'Interface')).toEqual(expect.arrayContaining([
      'appconfigdata', 'autoscaling', 'ec2', 'ecr.api', 'ecr.dkr', 'eks', 'eks-auth', 'elasticloadbalancing', 'kms', 'lambda', 'logs', 'sts',
    ]));
  });

  test('dev has no interface endpoint: each costs as much as a small node', () => {
    expect(services(make({ environment: BrainEnvironment.dev() }).template, 'Interface')).toEqual([]);
  });

  test('stand in the private subnets of all three zones, under their service\'s usual name', () => {
    const { template } = make();
    for (const endpoint of propertiesOf(template, 'AWS::EC2::VPCEndpoint', { VpcEndpointType: 'Interface' })) {
      expect(endpoint.SubnetIds.map(({ Ref }: { Ref: string }) => Ref)).toEqual([
        expect.stringMatching(/Private1Subnet/), expect.stringMatching(/Private2Subnet/), expect.stringMatching(/Private3Subnet/),
      ]);
      expect(endpoint.PrivateDnsEnabled).toBe(true);
    }
  });

  test('A1: admit the VPC on 443 and nobody else', () => {
    make().template.hasResourceProperties('AWS::EC2::SecurityGroup', {
      SecurityGroupIngress: [Match.objectLike({ CidrIp: '10.0.0.0/16', FromPort: 443, ToPort: 443, IpProtocol: 'tcp' })],
    });
  });

  test('A1: leave out a zone that lacks the service, for that endpoint alone', () => {
    const { template } = make({ endpointZones: { 'eks-auth': ['use1-az1', 'use1-az4'] } });

    const subnets = (service: string) => propertiesOf(template, 'AWS::EC2::VPCEndpoint', { ServiceName: `com.amazonaws.us-east-1.${service}` })[0].SubnetIds;
    expect(subnets('eks-auth').map(({ Ref }: { Ref: string }) => Ref)).toEqual([expect.stringMatching(/Private1Subnet/), expect.stringMatching(/Private3Subnet/)]);
    expect(subnets('eks')).toHaveLength(3);
  });

  test.each<[string, Props, { region?: string }]>([
    ['a service has no endpoint', { endpointZones: { comprehend: ['use1-az1'] } }, US_EAST_1],
    ['a zone is not the network\'s', { endpointZones: { eks: ['use1-az6'] } }, US_EAST_1],
    ['an endpoint is left without a zone', { endpointZones: { eks: [] } }, US_EAST_1],
    ['the network\'s zones are not known', { endpointZones: { eks: ['use1-az1'] } }, {}],
  ])('fails when %s', (_case, props, env) => {
    expect(() => make(props, env)).toThrow('EndpointZones');
  });
});

describe('the policy of the S3 endpoint', () => {
  const statements = (made: Made) => propertiesOf(made.template, 'AWS::EC2::VPCEndpoint', { ServiceName: Match.anyValue(), VpcEndpointType: 'Gateway' })
    .find(({ PolicyDocument }) => PolicyDocument)?.PolicyDocument.Statement as { [key: string]: any }[] | undefined;

  test('A1: lets the account\'s own buckets pass, and of others only what AWS itself needs', () => {
    const [own, ...others] = statements(make())!;

    expect(own).toMatchObject({ Condition: { StringEquals: { 'aws:ResourceAccount': '123456789012' } } });
    expect(own.Action.filter((action: string) => action.includes('*'))).toEqual([]);
    expect(others.map(({ Action, Resource }) => [Action, JSON.stringify(Resource)])).toEqual([
      ['s3:GetObject', expect.stringContaining(':s3:::prod-us-east-1-starport-layer-bucket/*')],
      ['s3:PutObject', expect.stringContaining(':s3:::cloudformation-custom-resource-response-useast1/*')],
    ]);
  });

  test('lets CDK\'s assets pass as buckets of the account, and no bucket that only has their name', () => {
    const [own, ...others] = statements(make())!;

    expect(own.Action).toContain('s3:GetObject');
    expect(JSON.stringify(own.Resource)).toContain(':s3:::*"');
    expect(JSON.stringify(others)).not.toContain('cdk-');
  });

  test('takes the dashes out of a region that only the deployment knows', () => {
    const answers = statements(make({ zoneIds: ['use1-az1', 'use1-az2', 'use1-az4'] }, {}))!.find(({ Sid }) => Sid === 'CustomResourceAnswers')!;

    expect(JSON.stringify(answers.Resource)).toContain(JSON.stringify({ 'Fn::Join': ['', { 'Fn::Split': ['-', { Ref: 'AWS::Region' }] }] }));
  });

  test('is absent where foreign images are admitted: other registries keep layers in buckets of their own', () => {
    expect(statements(make({ environment: BrainEnvironment.dev() }))).toBeUndefined();
  });
});

describe('flow logs', () => {
  const { template } = make();

  test('record all traffic of the VPC', () => {
    template.hasResourceProperties('AWS::EC2::FlowLog', { ResourceType: 'VPC', TrafficType: 'ALL', LogDestinationType: 'cloud-watch-logs' });
  });

  test('are encrypted with the given key, and kept as the environment says', () => {
    template.hasResource('AWS::Logs::LogGroup', {
      Properties: { KmsKeyId: { 'Fn::GetAtt': [Match.stringLikeRegexp('^Key'), 'Arn'] }, RetentionInDays: 365 }, DeletionPolicy: 'Retain',
    });
  });

  test('are written by a role that can write to this group and nothing else', () => {
    template.hasResourceProperties('AWS::IAM::Role', {
      AssumeRolePolicyDocument: {
        Statement: [Match.objectLike({
          Principal: { Service: 'vpc-flow-logs.amazonaws.com' }, Condition: { StringEquals: { 'aws:SourceAccount': '123456789012' } },
        })],
      },
      Policies: [Match.objectLike({
        PolicyDocument: {
          Statement: [Match.objectLike({
            Action: ['logs:CreateLogStream', 'logs:DescribeLogStreams', 'logs:PutLogEvents'],
            Resource: { 'Fn::GetAtt': [Match.stringLikeRegexp('FlowLogs'), 'Arn'] },
          })],
        },
      })],
    });
  });
});

describe('a VPC that is given', () => {
  const given = (zones: number): IVpc => Vpc.fromVpcAttributes(new Stack(new App(), 'Given'), 'Vpc', {
    vpcId: 'vpc-1',
    availabilityZones: Array.from({ length: zones }, (_, zone) => `us-east-1${'abcd'[zone]}`),
    privateSubnetIds: Array.from({ length: zones * 2 }, (_, subnet) => `subnet-${subnet}`),
  });

  test('is taken as it is, with one private subnet for each of three zones', () => {
    const stack = new Stack(new App(), 'Stack');
    const vpc = given(4);
    const network = BrainNetwork.fromVpc(stack, 'Network', vpc);

    expect(network.vpc).toBe(vpc);
    expect(network.privateSubnets.map(({ subnetId }) => subnetId)).toEqual(['subnet-0', 'subnet-1', 'subnet-2']);
    expect(Template.fromStack(stack).toJSON().Resources).toBeUndefined();
  });

  test('fails when it has private subnets in two zones only', () => {
    expect(() => BrainNetwork.fromVpc(new Stack(new App(), 'Stack'), 'Network', given(2))).toThrow(/TooFewZones.*got 2/);
  });
});

test('its VPC works for CDK constructs in another stack', () => {
  const app = new App();
  const foundation = new Stack(app, 'Foundation', { env: US_EAST_1 });
  const { vpc } = new BrainNetwork(foundation, 'Network', { environment: BrainEnvironment.dev(), logsKey: new Key(foundation, 'Key') });
  const other = new Stack(app, 'Other', { env: US_EAST_1 });
  new CfnResource(other, 'User', { type: 'Test::User', properties: { Subnets: vpc.selectSubnets({ onePerAz: true }).subnetIds } });

  const { Subnets } = Template.fromStack(other).toJSON().Resources.User.Properties;
  expect(new Set(Subnets.map((subnet: object) => JSON.stringify(subnet))).size).toBe(3);
});
