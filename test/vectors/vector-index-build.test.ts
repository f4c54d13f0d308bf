import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { App, Stack } from 'aws-cdk-lib';
import { Annotations, Match, Template } from 'aws-cdk-lib/assertions';
import { ISubnet, IVpc, Vpc } from 'aws-cdk-lib/aws-ec2';
import { Role, ServicePrincipal } from 'aws-cdk-lib/aws-iam';
import { Key } from 'aws-cdk-lib/aws-kms';
import { Bucket } from 'aws-cdk-lib/aws-s3';
import { Construct } from 'constructs';
import { VECTOR_INDEX_FILE } from '../../src/contract';
import { BrainEnvironment } from '../../src/environment';
import { IBrainNetwork } from '../../src/network';
import {
  DiskCompression, RecallGateOptions, Similarity, VectorField, VectorIndex, VectorIndexBuild, VectorIndexBuildProps, VectorQuantization, VectorStore,
} from '../../src/vectors';
import { definitionErrors } from '../support/asl/validate';

class TestNetwork extends Construct implements IBrainNetwork {
  readonly privateSubnets: ISubnet[];

  constructor(scope: Construct, id: string, readonly vpc: IVpc) {
    super(scope, id);
    this.privateSubnets = vpc.privateSubnets;
  }
}

const index = (name: string) => VectorIndex.define(name, { dimension: 8, similarity: Similarity.COSINE });

function create(props: Partial<VectorIndexBuildProps> = {}, indexes = [index('flats')]) {
  const stack = new Stack(new App(), 'Vectors', { env: { account: '111111111111', region: 'eu-west-1' } });
  const zones = ['a', 'b', 'c'];
  const vpc = Vpc.fromVpcAttributes(stack, 'Vpc', {
    vpcId: 'vpc-1', vpcCidrBlock: '10.0.0.0/16', availabilityZones: zones, privateSubnetIds: zones.map((zone) => `subnet-${zone}`),
  });
  const logsKey = new Key(stack, 'LogsKey');
  const network = new TestNetwork(stack, 'Network', vpc);
  const environment = BrainEnvironment.prod();
  const store = new VectorStore(stack, 'Store', {
    environment,
    network,
    encryptionKey: new Key(stack, 'VectorsKey'),
    logsKey,
    masterRole: new Role(stack, 'Master', { assumedBy: new ServicePrincipal('lambda.amazonaws.com') }),
    indexes,
  });
  const source = new Bucket(stack, 'Source', { encryptionKey: new Key(stack, 'SourceKey') });
  const [build] = indexes.map((each, at) => new VectorIndexBuild(stack, at === 0 ? 'Build' : `Build${at}`, {
    environment, name: 'fleet', logsKey, store, index: each, source, ...props,
  }));
  return { stack, build, template: Template.fromStack(stack) };
}

/** What the function of the build may do with each kind of resource. */
function statementsOf(template: Template, part: string) {
  const policies = Object.entries(template.findResources('AWS::IAM::Policy')).filter(([id]) => id.startsWith(part));
  return policies.flatMap(([, policy]) => policy.Properties.PolicyDocument.Statement);
}

describe('VectorIndexBuild', () => {
  test('is a function in the private subnets that reaches the store, and is let in by it alone', () => {
    const { template } = create();
    template.hasResourceProperties('AWS::Lambda::Function', {
      Runtime: 'nodejs24.x', Timeout: 900, VpcConfig: { SubnetIds: ['subnet-a', 'subnet-b', 'subnet-c'] },
    });
    template.hasResourceProperties('AWS::EC2::SecurityGroupIngress', {
      GroupId: Match.objectLike({ 'Fn::GetAtt': [Match.stringLikeRegexp('^StoreSecurityGroup'), 'GroupId'] }),
      SourceSecurityGroupId: Match.objectLike({ 'Fn::GetAtt': [Match.stringLikeRegexp('^StoreFunctions'), 'GroupId'] }),
      FromPort: 443,
      ToPort: 443,
    });
  });

  test('is a loader of its own index alone', () => {
    const { template } = create({}, [index('flats'), index('trips')]);
    const [{ Properties: { Declaration: { 'Fn::Join': [, parts] } } }] = Object.values(template.findResources('Custom::ThalosVectorIndexes'));
    const declared = JSON.parse(parts.map((part: unknown) => (typeof part === 'string' ? part : `<${Object.values(part as object).flat()[0]}>`)).join(''));
    expect(declared.indexes.map(({ schema, loaders }: { schema: { name: string }; loaders: string[] }) => [schema.name, loaders])).toEqual([
      ['flats', [expect.stringMatching(/^<BuildFunction/)]], ['trips', [expect.stringMatching(/^<Build1Function/)]],
    ]);
  });

  test('has its index beside the code: that of an index with all fields that it may have does not fit into variables', () => {
    const fields = Array.from({ length: 100 }, (_, at) => VectorField.keyword(`a_field_with_a_name_that_says_something_${at}`));
    const wide = VectorIndex.define('wide', { dimension: 8, similarity: Similarity.COSINE, fields });
    const { stack, template } = create({}, [wide]);
    const functions = Object.values(template.findResources('AWS::Lambda::Function'));
    for (const { Properties } of functions) expect(JSON.stringify(Properties.Environment?.Variables ?? {}).length).toBeLessThan(4096);
    const { directory } = (stack.node.root as App).synth();
    const files = functions.map(({ Properties }) => join(directory, `asset.${String(Properties.Code.S3Key).replace('.zip', '')}`, VECTOR_INDEX_FILE)).filter((file) => existsSync(file));
    expect(files.map((file) => JSON.parse(readFileSync(file, 'utf8')))).toEqual([wide._toSchema()]);
  });

  test('shares that way with the builds of other indexes', () => {
    const { template } = create({}, [index('flats'), index('streets')]);
    // of the domain, of the function that makes the indexes, of those that build
    template.resourceCountIs('AWS::EC2::SecurityGroup', 3);
    template.resourceCountIs('AWS::EC2::SecurityGroupIngress', 2);
  });

  test('may do with the domain what a build does, by path: no other index, nothing of its security', () => {
    const { template } = create();
    const text = JSON.stringify(statementsOf(template, 'BuildFunctionAccess').filter(({ Action }) => JSON.stringify(Action).includes('es:')));
    for (const path of ['/flats.*', '/thalos.builds/*', '/_aliases', '/_plugins/_knn/warmup/flats.*', '/_cluster/health/flats.*']) expect(text).toContain(`"${path}"`);
    expect(text).not.toMatch(/"\/\*"|_security|_snapshot|es:\*|ESHttpDelete/);
  });

  test('writes to the source only its lists of parts', () => {
    const { template } = create();
    const writes = statementsOf(template, 'BuildFunctionAccess').filter(({ Action }) => Action === 's3:PutObject');
    expect(JSON.stringify(writes)).toContain('/builds/flats/*');
    expect(writes).toHaveLength(1);
  });

  test('is driven by a valid state machine with its own encrypted log, without data in it', () => {
    const { stack, template } = create();
    const [machine] = Object.values(template.findResources('AWS::StepFunctions::StateMachine'));
    const definition = JSON.stringify(stack.resolve(machine.Properties.DefinitionString)['Fn::Join'][1].map((part: unknown) => (typeof part === 'string' ? part : 'token')).join(''));
    expect(definitionErrors(JSON.parse(JSON.parse(definition)))).toBe('');
    expect(machine.Properties.LoggingConfiguration).toMatchObject({ IncludeExecutionData: false, Level: 'ALL' });
    template.hasResourceProperties('AWS::Logs::LogGroup', { LogGroupName: Match.stringLikeRegexp('^/aws/vendedlogs/states/'), KmsKeyId: Match.anyValue() });
  });

  test('is encrypted with the key of the logs, by a role that may use it for this machine alone', () => {
    const { template } = create();
    const [[id, machine]] = Object.entries(template.findResources('AWS::StepFunctions::StateMachine'));
    const KmsKeyId = { 'Fn::GetAtt': [expect.stringMatching(/^LogsKey/), 'Arn'] };
    expect(machine.Properties.EncryptionConfiguration).toEqual({ Type: 'CUSTOMER_MANAGED_KMS_KEY', KmsKeyId, KmsDataKeyReusePeriodSeconds: 300 });
    const [use, delivery] = ['BuildMachineOwn', 'BuildMachineAccess'].map((part) => statementsOf(template, part).find(({ Action }) => JSON.stringify(Action).includes('kms:GenerateDataKey')));
    expect(use).toMatchObject({
      Action: ['kms:Decrypt', 'kms:GenerateDataKey'],
      Resource: KmsKeyId,
      Condition: { StringLike: { 'kms:EncryptionContext:aws:states:stateMachineArn': [{ 'Fn::GetAtt': [id, 'Arn'] }, { 'Fn::Join': ['', [{ 'Fn::GetAtt': [id, 'Arn'] }, '/*']] }] } },
    });
    expect(delivery.Condition.StringEquals['kms:EncryptionContext:SourceArn']).toBeDefined();
  });

  test('may redrive the loads of its own executions', () => {
    const { template } = create();
    const redrives = statementsOf(template, 'BuildMachineOwn').filter(({ Action }) => Action === 'states:RedriveExecution');
    expect(redrives).toHaveLength(1);
    expect(JSON.stringify(redrives[0].Resource)).toMatch(/:execution:.*BuildMachine.*"Name"\]},"\/\*:\*"/);
  });

  test('alarms where a build fails, is stopped or takes too long', () => {
    const { template } = create();
    const [alarm] = Object.values(template.findResources('AWS::CloudWatch::Alarm', { Properties: { AlarmDescription: Match.stringLikeRegexp('build of vector index flats failed') } }));
    expect(JSON.stringify(alarm)).toMatch(/ExecutionsFailed.*ExecutionsAborted.*ExecutionsTimedOut/);
  });

  test('shows progress and recall by brain and index', () => {
    const { build } = create();
    expect(build.metricProgress()).toMatchObject({ metricName: 'VectorBuildProgress', statistic: 'Sum', dimensions: { Brain: 'fleet', VectorIndex: 'flats' } });
    expect(build.metricRecall()).toMatchObject({ metricName: 'VectorBuildRecall', statistic: 'Minimum' });
  });

  test('keeps all copies while it builds where the domain has standby, and none elsewhere', () => {
    const layout = (template: Template) => {
      const variables = Object.values(template.findResources('AWS::Lambda::Function')).map(({ Properties }) => Properties.Environment?.Variables?.VECTOR_LAYOUT);
      return JSON.parse(variables.find((text) => text !== undefined));
    };
    expect(layout(create().template)).toEqual({ shards: 1, replicas: 2, buildReplicas: 2 });
    expect(layout(create({ environment: BrainEnvironment.dev() }).template)).toEqual({ shards: 1, replicas: 1, buildReplicas: 0 });
  });

  test('warns where its gate would take half a day', () => {
    const large = () => VectorIndex.define('flats', {
      dimension: 768,
      similarity: Similarity.L2,
      quantization: VectorQuantization.onDisk(DiskCompression.X1),
      size: { vectors: 300_000_000, shards: 1 },
    });
    const text = Match.stringLikeRegexp('recall of flats by a sample of 100 may take 68 hours');
    const warned = (gate: RecallGateOptions) => Annotations.fromStack(create({ gate }, [large()]).stack).findWarning('*', text);
    expect(warned({})).toHaveLength(1);
    expect(warned({ least: 0 })).toEqual([]);
  });

  test.each<[string, Partial<VectorIndexBuildProps>, RegExp]>([
    ['an index of another store', { index: VectorIndex.define('streets', { dimension: 8, similarity: Similarity.L2 }) }, /ForeignIndex: vector index 'streets' must be one of the store's, which holds flats/],
    ['too many loaders', { loaders: 41 }, /OutOfRange: loaders must be an integer from 1 to 40/],
    ['no recall', { gate: { least: 1.5 } }, /RecallGate: the least recall must be 0 to 1, got 1.5/],
    ['too many neighbours', { gate: { k: 101 } }, /OutOfRange: k of the recall gate/],
    ['too large a sample', { gate: { sample: 501 } }, /OutOfRange: sample of the recall gate/],
  ])('fails with %s', (_, props, message) => expect(() => create(props)).toThrow(message));
});
