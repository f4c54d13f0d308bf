import { App, Stack } from 'aws-cdk-lib';
import { Match, Template } from 'aws-cdk-lib/assertions';
import { Vpc } from 'aws-cdk-lib/aws-ec2';
import recommended from 'aws-cdk-lib/recommended-feature-flags.json';
import { BrainEnvironment } from '../../src/environment';
import { BrainNetworkOptions } from '../../src/network';
import { FoundationPlane } from '../../src/planes/foundation-plane';

function make(options: { network?: BrainNetworkOptions; environment?: BrainEnvironment; context?: { [flag: string]: unknown } } = {}) {
  const app = new App({ context: options.context });
  const stack = new Stack(app, 'Stack', { env: { account: '123456789012', region: 'us-east-1' } });
  const plane = new FoundationPlane(stack, 'Foundation', { environment: options.environment ?? BrainEnvironment.dev(), network: options.network });
  return { app, stack, plane, get template() { return Template.fromStack(stack); } };
}

test('makes network, keys, identities and the account\'s service-linked roles', () => {
  const { template } = make();

  template.resourceCountIs('AWS::EC2::VPC', 1);
  template.resourceCountIs('AWS::KMS::Key', 10);
  template.resourceCountIs('Custom::ThalosServiceLinkedRoles', 1);
  template.resourcePropertiesCountIs('AWS::IAM::Role', { AssumeRolePolicyDocument: { Statement: [Match.objectLike({ Principal: { Service: 'pods.eks.amazonaws.com' } })] } }, 2);
});

test('encrypts every log group with the logs key', () => {
  const { template, plane, stack } = make();

  template.allResourcesProperties('AWS::Logs::LogGroup', { KmsKeyId: stack.resolve(plane.keys.logs.keyArn) });
});

test('keeps its share of the resources that a stack may have', () => {
  expect(Object.keys(make().template.toJSON().Resources).length).toBeLessThan(60);
  expect(Object.keys(make({ environment: BrainEnvironment.prod() }).template.toJSON().Resources).length).toBeLessThan(80);
});

test('A9: is the same whatever the app\'s feature flags are', () => {
  // this one writes `arn:aws:` for a reference that resolves to it
  const flags = Object.keys(recommended).filter((flag) => flag !== '@aws-cdk/core:enablePartitionLiterals');
  const all = (value: boolean) => {
    const context = Object.fromEntries(flags.map((flag) => [flag, value]));
    return make({ environment: BrainEnvironment.prod(), context }).template.toJSON();
  };

  expect(all(true)).toEqual(all(false));
});

test('two synths of it are the same, byte for byte', () => {
  expect(JSON.stringify(make().template.toJSON())).toBe(JSON.stringify(make().template.toJSON()));
});

test('asks the account for nothing', () => {
  expect(make().app.synth().manifest.missing ?? []).toEqual([]);
});

test('hands addresses and zones on to a network of its own', () => {
  const { template } = make({ network: { cidr: '10.8.0.0/16', zoneIds: ['use1-az6', 'use1-az5', 'use1-az4'] } });

  template.hasResourceProperties('AWS::EC2::VPC', { CidrBlock: '10.8.0.0/16' });
  template.hasResourceProperties('AWS::EC2::Subnet', { CidrBlock: '10.8.0.0/19', AvailabilityZoneId: 'use1-az6' });
});

describe('a VPC that is given', () => {
  const vpcIn = (scope: Stack) => Vpc.fromVpcAttributes(scope, 'Given', {
    vpcId: 'vpc-1', availabilityZones: ['us-east-1a', 'us-east-1b', 'us-east-1c'], privateSubnetIds: ['subnet-a', 'subnet-b', 'subnet-c'],
  });

  test('is used as it is', () => {
    const stack = new Stack(new App(), 'Stack');
    const vpc = vpcIn(stack);
    const plane = new FoundationPlane(stack, 'Foundation', { environment: BrainEnvironment.prod(), network: { vpc } });

    expect(plane.network.vpc).toBe(vpc);
    Template.fromStack(stack).resourceCountIs('AWS::EC2::VPCEndpoint', 0);
  });

  test.each<BrainNetworkOptions>([{ cidr: '10.0.0.0/16' }, { zoneIds: ['use1-az1', 'use1-az2', 'use1-az4'] }, { endpointZones: {} }])(
    'fails beside %j, which describes a new one', (options) => {
      expect(() => make({ network: { ...options, vpc: vpcIn(new Stack(new App(), 'Other')) } })).toThrow('NetworkOptions');
    });
});
