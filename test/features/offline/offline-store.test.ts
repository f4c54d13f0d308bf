import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { App, Duration, Size, Stack } from 'aws-cdk-lib';
import { Annotations, Match, Template } from 'aws-cdk-lib/assertions';
import { Key } from 'aws-cdk-lib/aws-kms';
import { Binding, FEATURE_GROUPS_FILE, offlineTableName, OfflineTableResource, trainingSetTableName } from '../../../src/contract';
import { BrainEnvironment } from '../../../src/environment';
import { EntityKey, Feature, FeatureGroup, FeatureStore, type OfflineOptions, OfflineStore, OfflineStrategy } from '../../../src/features';
import { ArtifactStore, StorageTiering } from '../../../src/storage';
import { TestWorkload } from '../../support/workload';

const DELIVERY = 'AWS::KinesisFirehose::DeliveryStream';
const OPTIMIZER = 'AWS::Glue::TableOptimizer';
const TABLE = 'Custom::ThalosOfflineTable';
const group = (name: string, version?: number) => FeatureGroup.define(name, {
  owner: 'growth', entityKeys: [EntityKey.string('id')], features: [Feature.bool('a', { description: 'not of the table' })], version,
});
const GROUPS = [group('card-holders', 2), group('shops')];

interface Given {
  readonly options?: OfflineOptions;
  readonly environment?: BrainEnvironment;
  readonly groups?: FeatureGroup[];
}

function create({ options, environment = BrainEnvironment.prod(), groups = GROUPS }: Given = {}) {
  const app = new App();
  const stack = new Stack(app, 'Data');
  const key = new Key(stack, 'Key');
  const artifacts = new ArtifactStore(stack, 'Artifacts', { environment, encryptionKey: key });
  const store = new OfflineStore(stack, 'Offline', { environment, encryptionKey: key, logsKey: key, artifacts, groups, options });
  return { app, stack, key, store, artifacts, template: () => Template.fromStack(stack) };
}
const dependencies = (template: Template, type: string) => (
  Object.values(template.findResources(type)).map(({ DependsOn }) => [DependsOn ?? []].flat() as string[])
);

describe('OfflineStore', () => {
  const { app, stack, store, template } = create();
  const made = template();

  test('has a table, a delivery and three optimizers for each group and version', () => {
    made.resourceCountIs(TABLE, 2);
    made.resourceCountIs(DELIVERY, 2);
    made.resourceCountIs(OPTIMIZER, 6);
    made.hasResourceProperties(TABLE, {
      [OfflineTableResource.GROUP]: JSON.stringify({ name: 'card-holders', version: 2, entityKeys: [{ name: 'id', dtype: 'string' }], features: [{ name: 'a', dtype: 'bool' }] }),
      [OfflineTableResource.SNAPSHOT_DAYS]: '90',
      ServiceTimeout: '720',
    });
  });

  test('delivers each group to its own table, by a function that knows it by its alias', () => {
    for (const table of ['card_holders_v2', 'shops_v1']) {
      const [alias] = Object.keys(made.findResources('AWS::Lambda::Alias', { Properties: { Name: table } }));
      made.hasResourceProperties(DELIVERY, {
        DeliveryStreamType: 'KinesisStreamAsSource',
        DeliveryStreamEncryptionConfigurationInput: Match.absent(),
        IcebergDestinationConfiguration: {
          AppendOnly: true,
          DestinationTableConfigurationList: [
            { DestinationDatabaseName: stack.resolve(store.databaseName), DestinationTableName: table, UniqueKeys: Match.absent() },
          ],
          ProcessingConfiguration: { Processors: [{ Parameters: Match.arrayWith([{ ParameterName: 'LambdaArn', ParameterValue: { Ref: alias } }]) }] },
          s3BackupMode: 'FailedDataOnly',
        },
      });
    }
  });

  test('has the schemas beside the code that delivers', () => {
    const assembly = app.synth().directory;
    const folders = Object.values(made.findResources('AWS::Lambda::Function'))
      .map(({ Properties }) => join(assembly, `asset.${String(Properties.Code.S3Key).replace('.zip', '')}`));
    const files = folders.map((folder) => join(folder, FEATURE_GROUPS_FILE)).filter((file) => existsSync(file));
    expect(files).toHaveLength(1);
    expect(JSON.parse(readFileSync(files[0], 'utf8')).map(({ name }: { name: string }) => name)).toEqual(['card-holders', 'shops']);
    expect(existsSync(join(files[0], '..', 'index.js'))).toBe(true);
  });

  test.each([['card_holders_v2', 'card-holders', 'CardHoldersV2'], ['shops_v1', 'shops', 'ShopsV1']])('alarms when %s does not follow', (table, name, id) => {
    const [[stream]] = Object.entries(made.findResources(DELIVERY)).filter(([logical]) => logical.includes(id));
    const [fn] = Object.values(made.findResources('AWS::Lambda::Alias', { Properties: { Name: table } })).map(({ Properties }) => Properties.FunctionName);
    const firehose = { Name: 'DeliveryStreamName', Value: { Ref: stream } };
    const metric = (Namespace: string, MetricName: string, Stat: string, ...Dimensions: object[]) => Match.objectLike({
      MetricStat: Match.objectLike({ Metric: { Namespace, MetricName, Dimensions }, Stat, Period: 300 }),
    });
    const alarm = (says: string, Threshold: number, EvaluationPeriods: number, Expression: string, ...metrics: object[]) => made.hasResourceProperties('AWS::CloudWatch::Alarm', {
      AlarmDescription: Match.stringLikeRegexp(says),
      Threshold,
      EvaluationPeriods,
      ComparisonOperator: 'GreaterThanOrEqualToThreshold',
      TreatMissingData: 'notBreaching',
      Metrics: [Match.objectLike({ Expression, ReturnData: true }), ...metrics],
    });
    alarm(
      `delivery-errors/${table}/`, 1, 1, 'FILL(one, 0) + FILL(other, 0)',
      metric('AWS/Firehose', 'DeliveryToIceberg.FailedRowCount', 'Sum', firehose),
      metric('ThalosBrain', 'UndeliverableRecords', 'Sum', { Name: 'FeatureGroup', Value: name }, { Name: 'Function', Value: fn }),
    );
    // 5 minutes for others, 15 of trying again, 15 beyond
    alarm(
      `${table} is more than 2100 s behind`, 2100, 3, 'FILL(waiting, 0) + FILL(behind, 0) / 1000',
      metric('AWS/Firehose', 'DeliveryToIceberg.DataFreshness', 'Maximum', firehose), metric('AWS/Firehose', 'KinesisMillisBehindLatest', 'Maximum', firehose),
    );
    alarm(
      `delivery to ${table} reads nothing`, 1, 3, 'IF(FILL(written, 0) > 0 AND FILL(read, 0) == 0, 1, 0)',
      metric('AWS/Kinesis', 'IncomingRecords', 'Sum', { Name: 'StreamName', Value: stack.resolve(store.stream.streamName) }),
      metric('AWS/Firehose', 'DataReadFromKinesisStream.Records', 'Sum', firehose),
    );
    alarm(
      'function that makes offline rows failed', 1, 1, 'FILL(one, 0) + FILL(other, 0)',
      metric('AWS/Lambda', 'Errors', 'Sum', { Name: 'FunctionName', Value: fn }), metric('AWS/Lambda', 'Throttles', 'Sum', { Name: 'FunctionName', Value: fn }),
    );
    expect(store.alarms).toHaveLength(7);
  });

  test('makes the table and gives its roles their policies before what looks at them', () => {
    const tables = Object.keys(made.findResources(TABLE));
    const policies = Object.keys(made.findResources('AWS::IAM::Policy'));
    for (const type of [DELIVERY, OPTIMIZER]) {
      for (const needed of dependencies(made, type)) {
        expect(needed.filter((id) => tables.includes(id))).toHaveLength(1);
        expect(needed.some((id) => policies.includes(id))).toBe(true);
      }
    }
    // a table is of its own stream: both name the version, so that a new version is a new pair beside the old one
    expect(Object.keys(made.findResources(DELIVERY)).some((id) => id.includes('CardHoldersV2'))).toBe(true);
  });

  test('gives a delivery new code once its table has the columns, and leaves a version that goes the code that knows it', () => {
    const tables = made.findResources(TABLE);
    const aliases = Object.values(made.findResources('AWS::Lambda::Alias'));
    for (const { DependsOn, Properties } of aliases) {
      const waitsFor = [DependsOn].flat().filter((id) => id in tables).map((id) => JSON.parse(tables[id].Properties[OfflineTableResource.GROUP]));
      expect(waitsFor.map(({ name, version }) => `${name.replace('-', '_')}_v${version}`)).toEqual([Properties.Name]);
    }
    // each change of the groups is another version of the function: what an alias named before stays as it was
    const version = (groups: FeatureGroup[]) => {
      const changed = create({ groups }).template();
      const [[id, { Properties }]] = Object.entries(changed.findResources('AWS::Lambda::Version'));
      changed.allResourcesProperties('AWS::Lambda::Alias', { FunctionName: Properties.FunctionName, FunctionVersion: { 'Fn::GetAtt': [id, 'Version'] } });
      return id;
    };
    const before = version([group('card-holders', 1)]);
    expect(version([group('card-holders', 1)])).toBe(before);
    expect(version([group('card-holders', 2)])).not.toBe(before);
  });

  test('keeps the database and the data, under names that the same stack, made again, would not find taken', () => {
    made.hasResource('AWS::Glue::Database', { DeletionPolicy: 'Retain' });
    made.hasResourceProperties('AWS::Glue::Database', { DatabaseInput: { Name: { 'Fn::Join': ['_', Match.arrayWith([Match.stringLikeRegexp('^features_')])] } } });
    made.hasResourceProperties('AWS::Athena::WorkGroup', {
      Name: { 'Fn::Join': ['-', Match.arrayWith([Match.stringLikeRegexp('^features-')])] },
      WorkGroupConfiguration: {
        EnforceWorkGroupConfiguration: true,
        EngineVersion: { SelectedEngineVersion: 'Athena engine version 3' },
        BytesScannedCutoffPerQuery: 1024 ** 4,
        ResultConfiguration: { EncryptionConfiguration: { EncryptionOption: 'SSE_KMS' } },
      },
    });
  });

  test('moves data to classes that answer at once, and expires results and errors', () => {
    made.hasResourceProperties('AWS::S3::Bucket', {
      LifecycleConfiguration: {
        Rules: Match.arrayWith([
          Match.objectLike({ Prefix: 'tables/', Transitions: [{ StorageClass: 'STANDARD_IA', TransitionInDays: 90 }, { StorageClass: 'GLACIER_IR', TransitionInDays: 365 }], ExpirationInDays: Match.absent() }),
          Match.objectLike({ Prefix: 'query-results/', ExpirationInDays: 7 }),
          Match.objectLike({ Prefix: 'delivery-errors/', ExpirationInDays: 90 }),
        ]),
      },
    });
  });

  test('streams on demand, encrypted, for as long as a fault may last', () => {
    made.hasResourceProperties('AWS::Kinesis::Stream', { StreamModeDetails: { StreamMode: 'ON_DEMAND' }, RetentionPeriodHours: 168, StreamEncryption: { EncryptionType: 'KMS' } });
    create({ environment: BrainEnvironment.custom('tiny', { snapshotRetention: Duration.days(1) }) }).template().hasResourceProperties('AWS::Kinesis::Stream', { RetentionPeriodHours: 24 });
  });

  test('keeps the past for a short time in dev, and for as long as it is told', () => {
    const retention = (days: number) => ({
      Type: 'retention', TableOptimizerConfiguration: { RetentionConfiguration: { IcebergConfiguration: { SnapshotRetentionPeriodInDays: days } } },
    });
    create({ environment: BrainEnvironment.dev() }).template().hasResourceProperties(OPTIMIZER, retention(7));
    const options = {
      snapshotRetention: Duration.days(400), tiering: StorageTiering.hotOnly(), scanLimit: Size.gibibytes(1), deliveryInterval: Duration.minutes(1),
    };
    const long = create({ options }).template();
    long.hasResourceProperties(OPTIMIZER, retention(400));
    long.hasResourceProperties('AWS::Athena::WorkGroup', { WorkGroupConfiguration: { BytesScannedCutoffPerQuery: 1024 ** 3 } });
    long.hasResourceProperties(DELIVERY, { IcebergDestinationConfiguration: { BufferingHints: { IntervalInSeconds: 60 } } });
    const bucket = Object.entries(long.findResources('AWS::S3::Bucket')).find(([id]) => id.startsWith('OfflineBucket'))![1];
    expect(JSON.stringify(bucket)).not.toContain('Transitions');
  });

  test('grants nothing in Lake Formation unless that governs the catalog, and never its settings', () => {
    made.resourceCountIs('AWS::LakeFormation::PrincipalPermissions', 0);
    const { template: governed, store: lake, stack: scope } = create({ options: { lakeFormation: true } });
    lake.connectReader(new TestWorkload(scope, 'Trainer'));
    const maker = new TestWorkload(scope, 'Maker');
    lake.connectTrainingSetMaker(maker);
    const granted = governed();
    granted.resourceCountIs('AWS::LakeFormation::PrincipalPermissions', 6);
    granted.hasResourceProperties('AWS::LakeFormation::PrincipalPermissions', {
      Principal: { DataLakePrincipalIdentifier: scope.resolve(maker.role.roleArn) }, Permissions: ['CREATE_TABLE', 'DESCRIBE'],
    });
    granted.resourceCountIs('AWS::LakeFormation::DataLakeSettings', 0);
    const grants = Object.keys(granted.findResources('AWS::LakeFormation::PrincipalPermissions'));
    for (const type of [TABLE, DELIVERY, OPTIMIZER]) {
      for (const needed of dependencies(granted, type)) expect(needed.some((id) => grants.includes(id))).toBe(true);
    }
  });

  test('fails where two groups would share a table, or a limit is out of bounds', () => {
    expect(() => create({ groups: [group('card-holders'), group('card_holders')] })).toThrow(/DuplicateName: offline table .*'card_holders_v1' is declared twice/);
    expect(() => create({ options: { snapshotRetention: Duration.hours(12) } })).toThrow(/SnapshotRetention: snapshotRetention must be whole days, at least 1, got 0.5/);
    expect(() => create({ options: { scanLimit: Size.mebibytes(1) } })).toThrow(/ScanLimit: .*from 10000000/);
    expect(() => create({ options: { deliveryInterval: Duration.minutes(16) } })).toThrow(/DeliveryInterval: .* from 1 to 900, got 960/);
  });

  test('advises where many groups read one stream', () => {
    const many = create({ groups: ['a', 'b', 'c', 'd', 'e', 'f'].map((name) => group(name)) });
    Annotations.fromStack(many.stack).hasWarning('*', Match.stringLikeRegexp('6 feature groups read one stream.*offline-readers'));
    Annotations.fromStack(stack).hasNoWarning('*', Match.stringLikeRegexp('offline-readers'));
  });
});

describe('a feature store with offline tables', () => {
  function both() {
    const { stack, store, key, template } = create();
    const features = new FeatureStore(stack, 'Features', { environment: BrainEnvironment.prod(), encryptionKey: key, groups: GROUPS, offline: store });
    return { stack, offline: store, template, features };
  }

  test('streams its changes', () => {
    const { offline, stack, template } = both();
    template().hasResourceProperties('AWS::DynamoDB::GlobalTable', { Replicas: [Match.objectLike({ KinesisStreamSpecification: { StreamArn: stack.resolve(offline.stream.streamArn) } })] });
  });

  test('alarms when changes do not reach the stream', () => {
    const { features, stack, template } = both();
    const query = (metricName: string) => stack.resolve(
      `SELECT MAX(${metricName}) FROM SCHEMA("AWS/DynamoDB", DelegatedOperation, TableName) WHERE TableName = '${features.table.tableName}'`,
    );
    for (const [metricName, Threshold, EvaluationPeriods] of [['FailedToReplicateRecordCount', 1, 1], ['AgeOfOldestUnreplicatedRecord', 900_000, 3]] as const) {
      template().hasResourceProperties('AWS::CloudWatch::Alarm', {
        Threshold, EvaluationPeriods, TreatMissingData: 'notBreaching', Metrics: [Match.objectLike({ Expression: query(metricName), Period: 300 })],
      });
    }
    expect(features.alarms).toHaveLength(2);
    const online = new FeatureStore(stack, 'Online', { environment: BrainEnvironment.prod(), encryptionKey: new Key(stack, 'Other'), groups: GROUPS });
    expect(online.alarms).toEqual([]);
  });

  test('lets a writer put late rows onto the stream, and read nothing of it', () => {
    const { features, offline, stack, template } = both();
    const workload = new TestWorkload(stack, 'Importer');
    features.connectWriter(workload);
    template().hasResourceProperties('AWS::IAM::Policy', {
      PolicyDocument: { Statement: [{ Effect: 'Allow', Action: 'kinesis:PutRecords', Resource: stack.resolve(offline.stream.streamArn) }, Match.objectLike({ Action: 'kms:GenerateDataKey' })] },
    });
    expect(workload.bindings[Binding.FEATURE_STREAM]).toBe(offline.stream.streamName);
  });

  test('lets a reader query in its workgroup, keep results, and write no table', () => {
    const { features, stack, template } = both();
    const workload = new TestWorkload(stack, 'Trainer');
    features.connectOfflineReader(workload);
    const policies = Object.values(template().findResources('AWS::IAM::Policy', { Properties: { Roles: [stack.resolve(workload.role.roleName)] } }));
    const statements = policies.flatMap(({ Properties }) => Properties.PolicyDocument.Statement);
    expect(statements.flatMap(({ Action }) => Action).sort()).toEqual([
      'athena:GetQueryExecution', 'athena:GetQueryResults', 'athena:StartQueryExecution', 'athena:StopQueryExecution', 'glue:GetDatabase', 'glue:GetDatabase', 'glue:GetTable',
      'kms:Decrypt', 'kms:GenerateDataKey', 's3:AbortMultipartUpload', 's3:GetBucketLocation', 's3:GetObject', 's3:ListBucket', 's3:PutObject',
    ]);
    const puts = statements.find(({ Action }) => [Action].flat().includes('s3:PutObject'));
    expect(JSON.stringify(puts.Resource)).toContain('/query-results/*');
    expect(JSON.stringify(puts.Resource)).not.toContain('tables');
    expect(Object.keys(workload.bindings).sort()).toEqual([Binding.OFFLINE_DATABASE, Binding.OFFLINE_WORKGROUP]);
  });

  test('lets a maker of training sets make and drop the tables of sets, and no others', () => {
    const { offline, stack, template } = both();
    const workload = new TestWorkload(stack, 'Maker');
    offline.connectReader(workload);
    offline.connectTrainingSetMaker(workload);
    const policies = Object.entries(template().findResources('AWS::IAM::Policy', { Properties: { Roles: [stack.resolve(workload.role.roleName)] } }));
    const [, maker] = policies.find(([id]) => id.includes('MakeTrainingSetsByMaker'))!;
    const statement = maker.Properties.PolicyDocument.Statement.find(({ Action }: { Action: string[] }) => Action.includes('glue:CreateTable'));
    expect(statement.Action).toEqual(['glue:CreateTable', 'glue:DeletePartition', 'glue:DeleteTable', 'glue:GetPartition', 'glue:GetPartitions']);
    const patterns: string[] = statement.Resource.map((arn: object) => /table\/.*"\/(.*?)"/.exec(JSON.stringify(arn))?.[1]).filter(Boolean);
    expect(patterns).toEqual(['training_set_*_labels', 'training_set_*_data']);
    const matches = (table: string) => patterns.some((pattern) => new RegExp(`^${pattern.replace('*', '.*')}$`).test(table));
    expect(matches(trainingSetTableName('0123456789abcdef', 'labels'))).toBe(true);
    expect(matches(offlineTableName({ name: 'training-set-labels', version: 1 }))).toBe(false);
    expect(Object.keys(workload.bindings).sort()).toEqual([Binding.OFFLINE_DATABASE, Binding.OFFLINE_WORKGROUP]);
  });

  test('fails where a group is only on one side, or nobody keeps anything offline', () => {
    const { stack, store, key } = create();
    const props = { environment: BrainEnvironment.dev(), encryptionKey: key };
    expect(() => new FeatureStore(stack, 'Less', { ...props, groups: [GROUPS[0]], offline: store })).toThrow(/GroupsDiffer: .*'shops' is only in one/);
    const online = new FeatureStore(stack, 'Online', { ...props, groups: GROUPS });
    expect(() => online.connectOfflineReader(new TestWorkload(stack, 'Trainer'))).toThrow(/NoOfflineTables/);
    expect(OfflineStrategy.none()._bind(stack, 'None', undefined as never)).toBeUndefined();
  });
});

describe('StorageTiering', () => {
  test('fails where S3 would refuse the move', () => {
    expect(() => StorageTiering.byAge({ warm: Duration.days(29) })).toThrow(/WarmTooEarly: warm must be whole days, at least 30, got 29/);
    expect(() => StorageTiering.byAge({ warm: Duration.days(60), cold: Duration.days(89) })).toThrow(/ColdTooEarly: cold must be whole days, at least 90, got 89/);
  });

  test('makes only the moves that come before an object expires', () => {
    expect(StorageTiering.byAge()._rule(Duration.days(100)).transitions).toHaveLength(1);
    expect(StorageTiering.byAge()._rule(Duration.days(90)).transitions).toBeUndefined();
    expect(StorageTiering.byAge({ warm: Duration.days(400) })._rule().transitions?.[1].transitionAfter?.toDays()).toBe(430);
  });
});
