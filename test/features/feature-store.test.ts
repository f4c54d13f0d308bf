import { App, Stack } from 'aws-cdk-lib';
import { Annotations, Match, Template } from 'aws-cdk-lib/assertions';
import { Table } from 'aws-cdk-lib/aws-dynamodb';
import { Key } from 'aws-cdk-lib/aws-kms';
import { Binding, OnlineItem } from '../../src/contract';
import { BrainEnvironment } from '../../src/environment';
import { EntityKey, Feature, FeatureGroup, FeatureReplica, FeatureStore, WarmThroughput } from '../../src/features';
import { TestWorkload } from '../support/workload';

const GLOBAL_TABLE = 'AWS::DynamoDB::GlobalTable';
const group = (name: string) => FeatureGroup.define(name, { owner: 'growth', entityKeys: [EntityKey.string('id')], features: [Feature.bool('a')] });

function create(environment = BrainEnvironment.prod(), stack = new Stack(new App(), 'Data')) {
  const key = new Key(stack, 'Key');
  const store = new FeatureStore(stack, 'Features', { environment, encryptionKey: key, groups: [group('customer'), group('shop')] });
  return { stack, key, store };
}

describe('FeatureStore', () => {
  test.each([
    ['a stack without region', undefined],
    ['a stack with one', { account: '111111111111', region: 'eu-west-1' }],
  ])('is one table on demand in %s, keyed by pk alone', (_, env) => {
    const { stack, store } = create(BrainEnvironment.prod(), new Stack(new App(), 'Data', { env }));
    const template = Template.fromStack(stack);
    template.resourceCountIs(GLOBAL_TABLE, 1);
    template.hasResourceProperties(GLOBAL_TABLE, {
      BillingMode: 'PAY_PER_REQUEST',
      AttributeDefinitions: [{ AttributeName: OnlineItem.PK, AttributeType: 'S' }],
      KeySchema: [{ AttributeName: OnlineItem.PK, KeyType: 'HASH' }],
      TimeToLiveSpecification: { AttributeName: OnlineItem.EXPIRES_AT, Enabled: true },
      TableName: Match.absent(),
    });
    expect(store.groups.map(({ name }) => name)).toEqual(['customer', 'shop']);
  });

  test.each([
    ['a stack without region', undefined],
    ['a stack with one', { account: '111111111111', region: 'eu-west-1' }],
  ])('is encrypted with the given key and recoverable to a point in time in %s', (_, env) => {
    const { stack, key } = create(BrainEnvironment.prod(), new Stack(new App(), 'Data', { env }));
    Template.fromStack(stack).hasResourceProperties(GLOBAL_TABLE, {
      SSESpecification: { SSEEnabled: true, SSEType: 'KMS' },
      Replicas: [Match.objectLike({
        SSESpecification: { KMSMasterKeyId: stack.resolve(key.keyArn) },
        PointInTimeRecoverySpecification: { PointInTimeRecoveryEnabled: true },
      })],
    });
  });

  test('is retained and protected in prod, and leaves nothing behind in dev', () => {
    const prod = Template.fromStack(create(BrainEnvironment.prod()).stack);
    prod.hasResource(GLOBAL_TABLE, { DeletionPolicy: 'Retain', UpdateReplacePolicy: 'Retain' });
    prod.hasResourceProperties(GLOBAL_TABLE, { Replicas: [Match.objectLike({ DeletionProtectionEnabled: true })] });
    const dev = Template.fromStack(create(BrainEnvironment.dev()).stack);
    dev.hasResource(GLOBAL_TABLE, { DeletionPolicy: 'Delete' });
    dev.hasResourceProperties(GLOBAL_TABLE, { Replicas: [Match.objectLike({ DeletionProtectionEnabled: false })] });
  });

  test('lets a reader get items by key, and do nothing else', () => {
    const { stack, key, store } = create();
    const workload = new TestWorkload(stack, 'Service');
    store.connectReader(workload);
    Template.fromStack(stack).hasResourceProperties('AWS::IAM::Policy', {
      PolicyDocument: {
        Statement: [
          { Effect: 'Allow', Action: ['dynamodb:BatchGetItem', 'dynamodb:GetItem'], Resource: stack.resolve(store.table.tableArn) },
          {
            Effect: 'Allow',
            Action: 'kms:Decrypt',
            Resource: stack.resolve(key.keyArn),
            Condition: { StringEquals: { 'kms:ViaService': { 'Fn::Join': ['', ['dynamodb.', { Ref: 'AWS::Region' }, '.amazonaws.com']] } } },
          },
        ],
      },
      Roles: [stack.resolve(workload.role.roleName)],
    });
    expect(stack.resolve(workload.bindings)).toEqual({ [Binding.FEATURE_TABLE]: stack.resolve(store.table.tableName) });
  });

  test('lets a writer put single items, which alone can be conditional, and not delete', () => {
    const { stack, store } = create();
    store.connectWriter(new TestWorkload(stack, 'Importer'));
    Template.fromStack(stack).hasResourceProperties('AWS::IAM::Policy', {
      PolicyDocument: {
        Statement: [
          Match.objectLike({ Action: 'dynamodb:PutItem', Resource: stack.resolve(store.table.tableArn) }),
          Match.objectLike({ Action: ['kms:Decrypt', 'kms:Encrypt', 'kms:GenerateDataKey'] }),
        ],
      },
    });
  });

  test('keeps references between stacks going one way: the policy is in its own stack, the role in an earlier one', () => {
    const app = new App();
    const foundation = new Stack(app, 'Foundation');
    const workload = new TestWorkload(foundation, 'Service');
    const { stack, store } = create(BrainEnvironment.dev(), new Stack(app, 'Data'));
    store.connectReader(workload);
    store.connectWriter(workload);
    app.synth();
    expect(stack.dependencies).toEqual([foundation]);
    expect(foundation.dependencies).toEqual([]);
    Template.fromStack(foundation).resourceCountIs('AWS::IAM::Policy', 0);
    Template.fromStack(stack).resourceCountIs('AWS::IAM::Policy', 2);
  });

  test.each([true, false])('connects workloads to a table of your own (with a key: %s)', (keyed) => {
    const stack = new Stack(new App(), 'Data');
    const table = Table.fromTableArn(stack, 'Mine', 'arn:aws:dynamodb:eu-west-1:111111111111:table/mine');
    const encryptionKey = keyed ? new Key(stack, 'Key') : undefined;
    const workload = new TestWorkload(stack, 'Service');
    FeatureStore.fromTable(stack, 'Features', { table, encryptionKey }).connectReader(workload);
    Template.fromStack(stack).hasResourceProperties('AWS::IAM::Policy', {
      PolicyDocument: {
        Statement: [
          Match.objectLike({ Resource: 'arn:aws:dynamodb:eu-west-1:111111111111:table/mine' }),
          ...keyed ? [Match.objectLike({ Action: 'kms:Decrypt', Resource: stack.resolve(encryptionKey!.keyArn) })] : [],
        ],
      },
    });
    expect(workload.bindings[Binding.FEATURE_TABLE]).toBe('mine');
  });

  test('fails when it holds no group, or two of one name', () => {
    const stack = new Stack();
    const props = { environment: BrainEnvironment.dev(), encryptionKey: new Key(stack, 'Key') };
    expect(() => new FeatureStore(stack, 'None', { ...props, groups: [] })).toThrow(/NoFeatureGroup: .*at least one feature group, got 0/);
    expect(() => new FeatureStore(stack, 'Twice', { ...props, groups: [group('a'), group('a')] })).toThrow(/DuplicateName: feature group 'a'/);
  });
});

describe('the capacity and the copies of a feature store', () => {
  const KEY = 'arn:aws:kms:eu-west-1:111111111111:key/00000000-0000-4000-8000-000000000000';
  const made = FeatureReplica.in({ region: 'eu-west-1', encryptionKeyArn: KEY });
  const replica = FeatureReplica.in({ region: 'eu-west-1', encryptionKeyArn: KEY, denyWrites: true });
  const build = (more: object, env?: object) => {
    const stack = new Stack(new App(), 'Data', { env });
    new FeatureStore(stack, 'Features', { environment: BrainEnvironment.prod(), encryptionKey: new Key(stack, 'Key'), groups: [group('customer')], ...more });
    return Template.fromStack(stack);
  };
  const HOME = { account: '111111111111', region: 'eu-central-1' };

  test('are ready before the first peak', () => {
    build({ warmThroughput: WarmThroughput.of({ readsPerSecond: 50_000 }) }).hasResourceProperties(GLOBAL_TABLE, {
      WarmThroughput: { ReadUnitsPerSecond: 50_000, WriteUnitsPerSecond: 4_000 },
    });
    build({}).hasResourceProperties(GLOBAL_TABLE, { WarmThroughput: Match.absent() });
  });

  test('A5: fail below what DynamoDB takes', () => {
    expect(() => WarmThroughput.of({ readsPerSecond: 11_999 })).toThrow(/WarmReads: readsPerSecond must be an integer from 12000 .* got 11999: .*refuses less/);
    expect(() => WarmThroughput.of({ writesPerSecond: 3_999 })).toThrow(/WarmWrites: writesPerSecond must be an integer from 4000/);
  });

  test('A5: are made without a policy, which CloudFormation cannot add in the same update: synth says that it is still to come', () => {
    const stack = new Stack(new App(), 'Data', { env: HOME });
    const props = { environment: BrainEnvironment.prod(), encryptionKey: new Key(stack, 'Key'), groups: [group('customer')] };
    new FeatureStore(stack, 'Made', { ...props, replicas: [made] });
    new FeatureStore(stack, 'Closed', { ...props, replicas: [replica] });
    const policies = Object.values(Template.fromStack(stack).findResources(GLOBAL_TABLE))
      .map(({ Properties }) => Properties.Replicas.map((each: { Region: string; ResourcePolicy?: object }) => [each.Region, 'ResourcePolicy' in each]));
    expect(policies).toEqual([
      expect.arrayContaining([['eu-west-1', false], ['eu-central-1', false]]), expect.arrayContaining([['eu-west-1', true], ['eu-central-1', false]]),
    ]);
    const advice = Annotations.fromStack(stack);
    advice.hasWarning('/Data/Made', Match.stringLikeRegexp('replica in eu-west-1 has no policy that denies writes.* set denyWrites: true and deploy again'));
    advice.hasNoWarning('/Data/Closed', Match.anyValue());
  });

  test('A5: have a key of their Region each, and a policy by which only replication writes', () => {
    build({ replicas: [replica] }, HOME).hasResourceProperties(GLOBAL_TABLE, {
      Replicas: Match.arrayWith([Match.objectLike({
        Region: 'eu-west-1',
        SSESpecification: { KMSMasterKeyId: KEY },
        DeletionProtectionEnabled: true,
        ResourcePolicy: {
          PolicyDocument: {
            Statement: [Match.objectLike({
              Effect: 'Deny',
              Principal: { AWS: '*' },
              Action: [
                'dynamodb:BatchWriteItem', 'dynamodb:DeleteItem', 'dynamodb:PartiQLDelete', 'dynamodb:PartiQLInsert', 'dynamodb:PartiQLUpdate', 'dynamodb:PutItem',
                'dynamodb:UpdateItem',
              ],
              Condition: { ArnNotLike: { 'aws:PrincipalArn': Match.stringLikeRegexp('AWSServiceRoleForDynamoDBReplication$') } },
            })],
          },
        },
      })]),
    });
  });

  test('B: are added one in an update: synth says so of several', () => {
    const stack = new Stack(new App(), 'Data', { env: HOME });
    const other = FeatureReplica.in({ region: 'eu-west-2', encryptionKeyArn: KEY.replace('eu-west-1', 'eu-west-2'), denyWrites: true });
    const props = { environment: BrainEnvironment.prod(), encryptionKey: new Key(stack, 'Key'), groups: [group('customer')] };
    new FeatureStore(stack, 'One', { ...props, replicas: [replica] });
    new FeatureStore(stack, 'Two', { ...props, replicas: [replica, other] });
    const advice = Annotations.fromStack(stack);
    advice.hasNoWarning('/Data/One', Match.anyValue());
    advice.hasWarning('/Data/Two', Match.stringLikeRegexp('one replica in an update.* eu-west-1, eu-west-2 in updates of their own'));
  });

  test('are read by the readers of the home Region, for failover, and written by nobody', () => {
    const stack = new Stack(new App(), 'Data', { env: HOME });
    const props = { environment: BrainEnvironment.prod(), encryptionKey: new Key(stack, 'Key'), groups: [group('customer')], replicas: [replica] };
    const store = new FeatureStore(stack, 'Features', props);
    const workload = new TestWorkload(stack, 'Service');
    store.connectReader(workload);
    store.connectWriter(workload);
    const policies = JSON.stringify(Template.fromStack(stack).findResources('AWS::IAM::Policy'));
    expect(policies.match(/:dynamodb:eu-west-1:/g)).toHaveLength(1);
    expect(policies).toContain(`{"Action":"kms:Decrypt","Condition":{"StringEquals":{"kms:ViaService":"dynamodb.eu-west-1.amazonaws.com"}},"Effect":"Allow","Resource":"${KEY}"}`);
  });

  test('fail where the stack does not know its Region, or two are in one', () => {
    expect(() => build({ replicas: [replica] })).toThrow(/ReplicasWithoutRegion: .*give the stack an env with a region/);
    expect(() => build({ replicas: [replica, replica] }, HOME)).toThrow(/DuplicateName: replica's Region 'eu-west-1'/);
    expect(() => build({ replicas: [FeatureReplica.in({ region: 'eu-central-1', encryptionKeyArn: KEY.replace('eu-west-1', 'eu-central-1') })] }, HOME)).toThrow(/DuplicateName/);
    expect(() => FeatureReplica.in({ region: 'eu-west-2', encryptionKeyArn: KEY })).toThrow(/ReplicaKey: .*in its Region eu-west-2/);
    expect(() => FeatureReplica.in({ region: 'Ireland', encryptionKeyArn: KEY })).toThrow(/ReplicaRegion/);
  });
});
