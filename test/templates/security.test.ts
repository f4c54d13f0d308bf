import { App, CfnResource, Stack } from 'aws-cdk-lib';
import * as apigateway from 'aws-cdk-lib/aws-apigateway';
import * as cloudwatch from 'aws-cdk-lib/aws-cloudwatch';
import * as dynamodb from 'aws-cdk-lib/aws-dynamodb';
import * as ec2 from 'aws-cdk-lib/aws-ec2';
import * as eks from 'aws-cdk-lib/aws-eks';
import * as elbv2 from 'aws-cdk-lib/aws-elasticloadbalancingv2';
import * as iam from 'aws-cdk-lib/aws-iam';
import * as kms from 'aws-cdk-lib/aws-kms';
import * as lambda from 'aws-cdk-lib/aws-lambda';
import * as logs from 'aws-cdk-lib/aws-logs';
import * as opensearch from 'aws-cdk-lib/aws-opensearchservice';
import * as s3 from 'aws-cdk-lib/aws-s3';
import * as sns from 'aws-cdk-lib/aws-sns';
import { removeFolders, templatesOf, EXAMPLES } from '../support/examples';
import { Templates, type Finding, type Resource } from '../support/templates';
import { silentAlarms } from './rules/alarms';
import { encryptionPropertiesOf, ENCRYPTED, keyFindings, NOTHING_TO_ENCRYPT, plaintextListeners, unencrypted } from './rules/encryption';
import { oldRuntimes, openMethods, plaintextBuckets, publicEndpoints, secretLiterals } from './rules/exposure';
import { openPolicies, wildcardActions, wildcardResources } from './rules/iam';
import { fewerThanThreeZones } from './rules/zones';

type Rule = (templates: Templates) => Finding[];

/** Every rule, with a stack that breaks it once: a rule that finds nothing there proves nothing anywhere. */
const RULES: { [promise: string]: { rule: Rule; mistakes: { [mistake: string]: (stack: Stack) => void } } } = {
  'every resource that can be encrypted is, with a customer key': {
    rule: unencrypted,
    mistakes: {
      'a table with the service\'s own key': (stack) => new dynamodb.TableV2(stack, 'Table', { partitionKey: { name: 'pk', type: dynamodb.AttributeType.STRING } }),
      'a bucket encrypted by S3': (stack) => new s3.Bucket(stack, 'Bucket', { encryption: s3.BucketEncryption.S3_MANAGED }),
      'a log group without a key': (stack) => new logs.CfnLogGroup(stack, 'Logs'),
      'a key that belongs to AWS': (stack) => new logs.CfnLogGroup(stack, 'Logs', { kmsKeyId: 'alias/aws/logs' }),
      'a type that nobody has looked at': (stack) => new CfnResource(stack, 'Unknown', { type: 'AWS::Kinesis::Stream' }),
      'a function whose environment the service\'s own key encrypts': (stack) => new lambda.CfnFunction(stack, 'Function', {
        code: { zipFile: '0' }, role: 'arn:aws:iam::123456789012:role/none', environment: { variables: { A: 'b' } },
      }),
      'nodes without a launch template': (stack) => new eks.CfnNodegroup(stack, 'Nodes', { clusterName: 'c', nodeRole: 'r', subnets: ['s'] }),
    },
  },
  'every key rotates, is retained, and survives its deletion for 30 days': {
    rule: keyFindings,
    mistakes: { 'a key that goes with its stack': (stack) => new kms.CfnKey(stack, 'Key', { enableKeyRotation: true, pendingWindowInDays: 30 }) },
  },
  'everything that has a place stands in three zones': {
    rule: fewerThanThreeZones,
    mistakes: {
      'a VPC over two zones': (stack) => new ec2.Vpc(stack, 'Vpc', { maxAzs: 2 }),
      'a domain without zone awareness': (stack) => new opensearch.CfnDomain(stack, 'Domain', { clusterConfig: { instanceCount: 3 } }),
      'pods that may all stand in one zone': (stack) => manifest(stack, { kind: 'Deployment', metadata: { name: 'pods' }, spec: { template: { spec: {} } } }),
    },
  },
  'nothing is reachable from the internet but the edge': {
    rule: publicEndpoints,
    mistakes: {
      'an internet-facing load balancer': (stack) => new elbv2.CfnLoadBalancer(stack, 'Balancer', { scheme: 'internet-facing' }),
      'a subnet with public addresses': (stack) => new ec2.CfnSubnet(stack, 'Subnet', { vpcId: 'vpc', mapPublicIpOnLaunch: true }),
      'a cluster that does not say': (stack) => new eks.CfnCluster(stack, 'Cluster', { resourcesVpcConfig: { subnetIds: [] }, roleArn: 'r' }),
      'a security group that admits the world': (stack) => new ec2.CfnSecurityGroupIngress(stack, 'Rule', { ipProtocol: 'tcp', cidrIp: '0.0.0.0/0' }),
      'a bucket that may become public': (stack) => new s3.CfnBucket(stack, 'Bucket'),
      'a domain outside of a VPC': (stack) => new opensearch.CfnDomain(stack, 'Domain'),
      'a function URL': (stack) => new lambda.CfnUrl(stack, 'Url', { authType: 'NONE', targetFunctionArn: 'f' }),
      'an API beside the edge': (stack) => new apigateway.CfnRestApi(stack, 'Api', { name: 'api', endpointConfiguration: { types: ['REGIONAL'] } }),
      'a Kubernetes service of type LoadBalancer': (stack) => manifest(stack, { kind: 'Service', metadata: { name: 'door' }, spec: { type: 'LoadBalancer' } }),
    },
  },
  'no method answers without its authorizer': {
    rule: openMethods,
    mistakes: {
      'a method of type NONE': (stack) => new apigateway.CfnMethod(stack, 'Method', { httpMethod: 'GET', resourceId: 'r', restApiId: 'a', authorizationType: 'NONE' }),
      'a method that says CUSTOM and names no authorizer': (stack) =>
        new apigateway.CfnMethod(stack, 'Method', { httpMethod: 'GET', resourceId: 'r', restApiId: 'a', authorizationType: 'CUSTOM', authorizerId: 'none' }),
    },
  },
  'no bucket accepts a request without TLS': {
    rule: plaintextBuckets,
    mistakes: { 'a bucket without a policy': (stack) => new s3.Bucket(stack, 'Bucket', { enforceSSL: false }) },
  },
  'no statement allows an action by a wildcard beyond the list': {
    rule: wildcardActions,
    mistakes: {
      'every action': (stack) => policy(stack, { actions: ['*'], resources: ['arn:aws:s3:::b'] }),
      'every action of a service': (stack) => policy(stack, { actions: ['s3:*'], resources: ['arn:aws:s3:::b'] }),
      'a prefix on no list': (stack) => policy(stack, { actions: ['s3:Get*'], resources: ['arn:aws:s3:::b'] }),
      'everything but': (stack) => policy(stack, { notActions: ['s3:GetObject'], resources: ['arn:aws:s3:::b'] }),
      'a key policy that opens the key to a role': (stack) => key(stack, new iam.ArnPrincipal('arn:aws:iam::123456789012:role/r')),
      'a domain\'s policy': (stack) => new opensearch.CfnDomain(stack, 'Domain', { accessPolicies: { Statement: [{ Effect: 'Allow', Action: 'es:*', Resource: 'd', Principal: { AWS: 'r' } }] } }),
      'a policy as JSON text': (stack) => new logs.CfnResourcePolicy(stack, 'Policy', {
        policyName: 'p', policyDocument: stack.toJsonString({ Statement: [{ Effect: 'Allow', Action: 'logs:*', Resource: stack.formatArn({ service: 'logs', resource: '*' }), Principal: { Service: 'es.amazonaws.com' } }] }),
      }),
    },
  },
  'no statement allows an action on every resource beyond the list': {
    rule: wildcardResources,
    mistakes: {
      'an action that could name its resource': (stack) => policy(stack, { actions: ['dynamodb:GetItem'], resources: ['*'] }),
      'everything but': (stack) => policy(stack, { actions: ['dynamodb:GetItem'], notResources: ['arn:aws:s3:::b'] }),
    },
  },
  'no policy admits anybody, and no role carries a managed policy beyond the list': {
    rule: openPolicies,
    mistakes: {
      'anybody': (stack) => new s3.CfnBucketPolicy(stack, 'Policy', {
        bucket: 'b', policyDocument: { Statement: [{ Effect: 'Allow', Action: 's3:GetObject', Resource: 'b', Principal: '*' }] },
      }),
      'an administrator': (stack) => new iam.Role(stack, 'Role', {
        assumedBy: new iam.ServicePrincipal('lambda.amazonaws.com'), managedPolicies: [iam.ManagedPolicy.fromAwsManagedPolicyName('AdministratorAccess')],
      }),
    },
  },
  'no literal looks like a secret': {
    rule: secretLiterals,
    mistakes: {
      'a password': (stack) => new opensearch.CfnDomain(stack, 'Domain', { advancedSecurityOptions: { masterUserOptions: { masterUserPassword: 'hunter2hunter2' } } }),
      'an access key': (stack) => new CfnResource(stack, 'Any', { type: 'AWS::SSM::Parameter', properties: { Value: `AKIA${'A'.repeat(16)}` } }),
      'a key of a usage plan': (stack) => new apigateway.CfnApiKey(stack, 'Key', { value: 'v'.repeat(30) }),
    },
  },
  'every alarm reaches a topic': {
    rule: silentAlarms,
    mistakes: {
      'an alarm without an action': (stack) => alarm(stack),
      'an alarm that is switched off, and that nobody asks': (stack) => alarm(stack, { actionsEnabled: false, alarmActions: [new sns.CfnTopic(stack, 'Topic').ref] }),
      'a topic without a policy for alarms': (stack) => alarm(stack, { alarmActions: [topic(stack, false).topicArn] }),
      'a topic whose key does not admit alarms': (stack) => alarm(stack, { alarmActions: [topic(stack, true).topicArn] }),
    },
  },
  'no function runs a runtime at its end of life': {
    rule: oldRuntimes,
    mistakes: { 'Node 20': (stack) => new lambda.CfnFunction(stack, 'Function', { code: { zipFile: '0' }, role: 'r', runtime: 'nodejs20.x', handler: 'i.h' }) },
  },
};

function policy(stack: Stack, statement: iam.PolicyStatementProps): void {
  const role = new iam.Role(stack, 'Role', { assumedBy: new iam.ServicePrincipal('lambda.amazonaws.com') });
  new iam.Policy(stack, 'Policy', { roles: [role], statements: [new iam.PolicyStatement(statement)] });
}

function key(stack: Stack, principal: iam.IPrincipal): void {
  new kms.Key(stack, 'Key', {
    policy: new iam.PolicyDocument({ statements: [new iam.PolicyStatement({ actions: ['kms:*'], principals: [principal], resources: ['*'] })] }),
  });
}

function alarm(stack: Stack, props: Partial<cloudwatch.CfnAlarmProps> = {}): void {
  new cloudwatch.CfnAlarm(stack, 'Alarm', { comparisonOperator: 'GreaterThanThreshold', evaluationPeriods: 1, threshold: 0, ...props });
}

function topic(stack: Stack, admitsAlarms: boolean): sns.Topic {
  const made = new sns.Topic(stack, 'Topic', { masterKey: new kms.Key(stack, 'Key') });
  made.addToResourcePolicy(new iam.PolicyStatement({
    principals: [new iam.ServicePrincipal(`${admitsAlarms ? 'cloudwatch' : 'events'}.amazonaws.com`)],
    actions: ['sns:Publish'],
    resources: [made.topicArn],
    conditions: { StringEquals: { 'aws:SourceAccount': stack.account } },
  }));
  return made;
}

function manifest(stack: Stack, object: object): void {
  new CfnResource(stack, 'Manifest', { type: 'Custom::AWSCDK-EKS-KubernetesResource', properties: { Manifest: stack.toJsonString([object]) } });
}

/** One brain in one stack: the quickstart's budget, so that a stack never comes near CloudFormation's limit of 500. */
const QUICKSTART_RESOURCES = 400;

afterAll(removeFolders);

describe('the rules themselves', () => {
  const mistakes = Object.entries(RULES).flatMap(([promise, { rule, mistakes: made }]) =>
    Object.entries(made).map(([mistake, make]) => ({ promise, mistake, rule, make })));

  test.each(mistakes)('"$promise" goes red on $mistake', ({ rule, make }) => {
    const stack = new Stack(new App(), 'Seeded');

    make(stack);

    expect(rule(Templates.fromStacks(stack)).map(({ message }) => message)).not.toEqual([]);
  });

  test('a customer key in another stack counts, whichever way the reference goes', () => {
    const app = new App();
    const foundation = new Stack(app, 'Foundation');
    const data = new Stack(app, 'Data');
    const customerKey = new kms.Key(foundation, 'Key');

    new logs.LogGroup(data, 'Logs', { encryptionKey: customerKey });

    expect(unencrypted(Templates.fromStacks(foundation, data))).toEqual([]);
  });

  test('a key policy may give its account everything', () => {
    const stack = new Stack(new App(), 'Stack');

    key(stack, new iam.AccountRootPrincipal());

    expect(wildcardActions(Templates.fromStacks(stack))).toEqual([]);
  });

  test('a load balancer\'s log bucket is encrypted by S3, and may not have a customer key', () => {
    const withBucket = (encryption: s3.BucketEncryption) => {
      const stack = new Stack(new App(), 'Stack');
      const bucket = new s3.Bucket(stack, 'Bucket', { encryption });
      new elbv2.CfnLoadBalancer(stack, 'Balancer', { loadBalancerAttributes: [{ key: 'access_logs.s3.bucket', value: bucket.bucketName }] });
      return unencrypted(Templates.fromStacks(stack));
    };

    expect(withBucket(s3.BucketEncryption.S3_MANAGED)).toEqual([]);
    expect(withBucket(s3.BucketEncryption.KMS)).toHaveLength(1);
  });

  test.each([...NOTHING_TO_ENCRYPT])('%s has no property that a key could stand in', (type) => {
    expect(encryptionPropertiesOf(type)).toEqual([]);
  });

  test('the table of what can be encrypted knows the property of each type that holds data', () => {
    const viaAnother = ['AWS::EKS::Nodegroup', 'AWS::ElasticLoadBalancingV2::TargetGroup'];
    const without = Object.keys(ENCRYPTED).filter((type) => !viaAnother.includes(type) && encryptionPropertiesOf(type).length === 0);

    expect(without).toEqual([]);
  });
});

describe.each(EXAMPLES)('examples/%s', (example) => {
  let templates: Templates;

  beforeAll(async () => {
    templates = await templatesOf(example);
  }, 120_000);

  test.each(Object.entries(RULES))('%s', (_promise, { rule }) => {
    expect(rule(templates)).toEqual([]);
  });

  test('has resources for the rules to look at', () => {
    const types = new Set(templates.resources.map((resource: Resource) => resource.type));

    expect([...types]).toEqual(expect.arrayContaining([
      'AWS::KMS::Key', 'AWS::S3::Bucket', 'AWS::DynamoDB::GlobalTable', 'AWS::OpenSearchService::Domain', 'AWS::EKS::Cluster', 'AWS::IAM::Policy',
      'AWS::EC2::Subnet', 'AWS::Lambda::Function', 'Custom::AWSCDK-EKS-KubernetesResource',
    ]));
  });

  test(`stays under ${QUICKSTART_RESOURCES} resources in every stack`, () => {
    const sizes = [...templates.byStack].map(([stack, template]) => [stack, Object.keys(template.Resources).length] as const);

    expect(sizes.filter(([, size]) => size >= QUICKSTART_RESOURCES)).toEqual([]);
  });
});

test('the load balancer listens over TLS beyond dev; dev has no certificate to show, and is told so at synth', async () => {
  expect(plaintextListeners(await templatesOf('production'))).toEqual([]);
  expect(plaintextListeners(await templatesOf('quickstart'))).toHaveLength(1);
}, 120_000);

test('examples/quickstart is one brain with an edge: its API is the one door', async () => {
  const templates = await templatesOf('quickstart');

  expect(templates.ofType('AWS::ApiGateway::RestApi')).toHaveLength(1);
  expect(templates.resources.length).toBeLessThan(QUICKSTART_RESOURCES);
}, 120_000);
