import { App, Stack } from 'aws-cdk-lib';
import { Match, Template } from 'aws-cdk-lib/assertions';
import { Vpc } from 'aws-cdk-lib/aws-ec2';
import { Role, ServicePrincipal } from 'aws-cdk-lib/aws-iam';
import { Key } from 'aws-cdk-lib/aws-kms';
import { EngineVersion } from 'aws-cdk-lib/aws-opensearchservice';
import { VectorStoreDeclaration } from '../../src/contract';
import { BrainEnvironment } from '../../src/environment';
import { BrainNetwork } from '../../src/network';
import { Similarity, VectorIndex, VectorStore, VectorStoreProps } from '../../src/vectors';
import { TestWorkload } from '../support/workload';

const RESOURCE = 'Custom::ThalosVectorIndexes';

function create(environment = BrainEnvironment.prod(), props: Partial<VectorStoreProps> = {}) {
  const stack = new Stack(new App(), 'Vectors', { env: { account: '111111111111', region: 'eu-west-1' } });
  const zones = ['a', 'b', 'c'];
  const vpc = Vpc.fromVpcAttributes(stack, 'Vpc', {
    vpcId: 'vpc-1', vpcCidrBlock: '10.0.0.0/16', availabilityZones: zones, privateSubnetIds: zones.map((zone) => `subnet-${zone}`),
  });
  const masterRole = new Role(stack, 'Master', { assumedBy: new ServicePrincipal('lambda.amazonaws.com') });
  const encryptionKey = new Key(stack, 'VectorsKey');
  const store = new VectorStore(stack, 'Vectors', {
    environment,
    network: BrainNetwork.fromVpc(stack, 'Network', vpc),
    encryptionKey,
    logsKey: new Key(stack, 'LogsKey'),
    masterRole,
    indexes: [VectorIndex.define('flats', { dimension: 8, similarity: Similarity.COSINE, size: { vectors: 1000 } })],
    ...props,
  });
  return { stack, store, masterRole, encryptionKey, template: () => Template.fromStack(stack) };
}

/** The JSON that the custom resource gets, with `Ref`s and attributes as `<name>`. */
function declared(template: Template): VectorStoreDeclaration {
  const [{ Properties: { Declaration: value } }] = Object.values(template.findResources(RESOURCE));
  const parts: unknown[] = typeof value === 'string' ? [value] : value['Fn::Join'][1];
  return JSON.parse(parts.map((part) => (typeof part === 'string' ? part : `<${Object.values(part as object).flat()[0]}>`)).join('')) as VectorStoreDeclaration;
}

const statementsOf = (template: Template) => (
  Object.values(template.findResources('AWS::IAM::Policy')).flatMap(({ Properties }) => Properties.PolicyDocument.Statement as { Action: string | string[]; Resource: unknown }[])
);

describe('the function that makes the indexes of a vector store', () => {
  test('is the master of the domain\'s access control, in the VPC, with a security group of its own (DEPLOY A6)', () => {
    const { stack, masterRole, template } = create();
    const made = template();
    made.hasResourceProperties('AWS::Lambda::Function', {
      Role: stack.resolve(masterRole.roleArn),
      VpcConfig: { SubnetIds: ['subnet-a', 'subnet-b', 'subnet-c'], SecurityGroupIds: [{ 'Fn::GetAtt': [Match.stringLikeRegexp('ProviderSecurityGroup'), 'GroupId'] }] },
    });
    made.hasResourceProperties('AWS::EC2::SecurityGroupIngress', {
      GroupId: { 'Fn::GetAtt': [Match.stringLikeRegexp('^VectorsSecurityGroup'), 'GroupId'] },
      SourceSecurityGroupId: { 'Fn::GetAtt': [Match.stringLikeRegexp('ProviderSecurityGroup'), 'GroupId'] },
      FromPort: 443,
      ToPort: 443,
    });
  });

  test('is called when domain and way are there, and not for longer than its own time (DEPLOY A9)', () => {
    const made = create().template();
    const [{ DependsOn, Properties }] = Object.values(made.findResources(RESOURCE));
    expect(DependsOn).toEqual(expect.arrayContaining([...Object.keys(made.findResources('AWS::OpenSearchService::Domain')), ...Object.keys(made.findResources('AWS::EC2::SecurityGroupIngress'))]));
    expect(Properties.ServiceTimeout).toBe(String(14 * 60));
  });

  test('is told what is declared, how it lies on the nodes, and who searches and builds', () => {
    const { stack, store, template } = create();
    store.connectSearcher(new TestWorkload(stack, 'Service'));
    store.connectLoader(new TestWorkload(stack, 'Builder'));
    expect(declared(template())).toEqual({
      indexes: [{ schema: store.indexes[0]._toSchema(), layout: { shards: 1, replicas: 2, buildReplicas: 2 }, loaders: [expect.stringContaining('<Builder')] }],
      searchers: [expect.stringContaining('<Service')],
      keepers: [],
      snapshots: {
        repository: { type: 's3', settings: { bucket: expect.stringContaining('<VectorsSnapshots'), region: 'eu-west-1', role_arn: expect.stringContaining('<VectorsSnapshotsRole') } },
        schedule: '30 */6 * * *',
        retentionDays: 14,
      },
      retentionDays: 30,
      keepData: true,
    });
  });

  test('keeps no data, and no snapshots, where the environment deletes its own', () => {
    const template = create(BrainEnvironment.dev()).template();
    expect(declared(template)).toMatchObject({ keepData: false });
    expect(declared(template)).not.toHaveProperty('snapshots');
    template.resourceCountIs('AWS::S3::Bucket', 0);
  });

  test('deletes no generation by policy where OpenSearch cannot tell whether an alias stands for it', () => {
    expect(declared(create(undefined, { version: EngineVersion.OPENSEARCH_2_19 }).template())).not.toHaveProperty('retentionDays');
  });

  test('may ask the domain by the paths of what it makes, pass the snapshots\' role, and nothing wider', () => {
    const { stack, store, template } = create();
    const statements = statementsOf(template());
    const arn = stack.resolve(store.domain.domainArn);
    const paths = statements.filter(({ Action }) => [Action].flat().includes('es:ESHttpDelete')).flatMap(({ Resource }) => Resource as { 'Fn::Join': [string, [unknown, string]] }[]);
    expect(paths.every(({ 'Fn::Join': [, [of]] }) => JSON.stringify(of) === JSON.stringify(arn))).toBe(true);
    expect(paths.map(({ 'Fn::Join': [, [, path]] }) => path).sort()).toEqual([
      '/_aliases', '/_cluster/health/flats.*', '/_index_template/thalos-flats', '/_plugins/_ism/policies/thalos-flats', '/_plugins/_security/api/*',
      '/_plugins/_sm/policies/thalos-vectors', '/_snapshot/thalos-vectors', '/flats.*', '/flats/*',
    ]);
    expect(statements.filter(({ Action }) => Action === 'iam:PassRole').map(({ Resource }) => Resource)).toEqual([{ 'Fn::GetAtt': [expect.stringMatching(/SnapshotsRole/), 'Arn'] }]);
  });
});

describe('the snapshots of a vector store', () => {
  test('are in a bucket of their own, under the store\'s key, versioned, logged, and expired by nobody but the store', () => {
    const { stack, encryptionKey, template } = create();
    const made = template();
    made.resourceCountIs('AWS::S3::Bucket', 2);
    made.allResources('AWS::S3::Bucket', { DeletionPolicy: 'Retain' });
    made.allResourcesProperties('AWS::S3::Bucket', {
      BucketEncryption: { ServerSideEncryptionConfiguration: [Match.objectLike({ ServerSideEncryptionByDefault: { KMSMasterKeyID: stack.resolve(encryptionKey.keyArn), SSEAlgorithm: 'aws:kms' } })] },
      VersioningConfiguration: { Status: 'Enabled' },
      PublicAccessBlockConfiguration: { BlockPublicAcls: true, BlockPublicPolicy: true, IgnorePublicAcls: true, RestrictPublicBuckets: true },
    });
    made.resourcePropertiesCountIs('AWS::S3::Bucket', {
      LoggingConfiguration: Match.anyValue(),
      LifecycleConfiguration: { Rules: [Match.objectLike({ ExpirationInDays: Match.absent() })] },
    }, 1);
  });

  test('are written by a role that the service assumes for this domain alone', () => {
    const { stack, store, template } = create();
    template().hasResourceProperties('AWS::IAM::Role', {
      AssumeRolePolicyDocument: {
        Statement: [{
          Effect: 'Allow',
          Action: 'sts:AssumeRole',
          Principal: { Service: 'es.amazonaws.com' },
          Condition: { StringEquals: { 'aws:SourceAccount': '111111111111' }, ArnLike: { 'aws:SourceArn': stack.resolve(store.domain.domainArn) } },
        }],
      },
    });
  });
});

test('the role of the snapshots and what it may do outlive the stack, as the domain does that takes them', () => {
  const made = create().template();
  const retained = (type: string) => Object.entries(made.findResources(type, { DeletionPolicy: 'Retain' })).map(([id]) => id);
  expect(retained('AWS::OpenSearchService::Domain')).toHaveLength(1);
  expect(retained('AWS::IAM::Role')).toEqual([expect.stringMatching(/^VectorsSnapshotsRole/)]);
  expect(retained('AWS::IAM::Policy')).toEqual([expect.stringMatching(/^VectorsSnapshotsAccess/)]);
});

describe('who builds generations', () => {
  test('may fill them, switch aliases and warm graphs, and is told the endpoint', () => {
    const { stack, store, template } = create();
    const workload = new TestWorkload(stack, 'Builder');
    store.connectLoader(workload);
    const statements = statementsOf(template()).map(({ Resource }) => JSON.stringify(Resource));
    for (const path of ['/flats.*', '/thalos.builds/*', '/_aliases', '/_plugins/_knn/warmup/flats.*', '/_cluster/health/flats.*']) {
      expect(statements.some((text) => text.includes(`"${path}"`))).toBe(true);
    }
    expect(Object.keys(workload.bindings)).toEqual(['VECTOR_ENDPOINT']);
  });
});

describe('the alarms of a vector store', () => {
  test('tell of status, storage, heap, graphs, snapshots and key, with thresholds of the nodes', () => {
    const { template, store } = create();
    const made = template();
    const alarms = Object.values(made.findResources('AWS::CloudWatch::Alarm')).map(({ Properties: { MetricName, Threshold, Statistic, Period, EvaluationPeriods } }) => (
      [MetricName, Statistic, Threshold, Period * EvaluationPeriods]
    ));
    expect(alarms.sort()).toEqual([
      ['AutomatedSnapshotFailure', 'Maximum', 1, 60],
      ['ClusterIndexWritesBlocked', 'Maximum', 1, 300],
      ['ClusterStatus.red', 'Maximum', 1, 60],
      ['ClusterStatus.yellow', 'Maximum', 1, 300],
      ['FreeStorageSpace', 'Minimum', 25 * 1024, 60],
      ['JVMMemoryPressure', 'Maximum', 95, 180],
      ['KMSKeyError', 'Maximum', 1, 60],
      ['KMSKeyInaccessible', 'Maximum', 1, 60],
      ['KNNCircuitBreakerTriggered', 'Maximum', 1, 60],
      // 16 GiB, half of it heap, half of the rest for graphs, 80 % of that, in KiB
      ['KNNGraphMemoryUsage', 'Maximum', 3355443, 900],
      ['MasterJVMMemoryPressure', 'Maximum', 95, 180],
      ['OldGenJVMMemoryPressure', 'Maximum', 80, 180],
    ]);
    expect(store.alarms).toHaveLength(12);
    made.allResourcesProperties('AWS::CloudWatch::Alarm', { Namespace: 'AWS/ES', TreatMissingData: 'notBreaching', Dimensions: Match.arrayWith([{ Name: 'ClientId', Value: '111111111111' }]) });
  });
});
