import { App, Duration, Stack } from 'aws-cdk-lib';
import { Annotations, Match, Template } from 'aws-cdk-lib/assertions';
import { Bucket } from 'aws-cdk-lib/aws-s3';
import RECOMMENDED_FLAGS from 'aws-cdk-lib/recommended-feature-flags.json';
import { featureClientOf } from '../../runtime/feature-client/open-client';
import { Binding } from '../../src/contract';
import { BrainEnvironment } from '../../src/environment';
import { BackfillSchedule, EntityKey, Feature, FeatureGroup, FeatureLock, OfflineStrategy } from '../../src/features';
import { DataPlane, DataPlaneProps } from '../../src/planes/data-plane';
import { FoundationPlane } from '../../src/planes/foundation-plane';
import { Similarity, VectorIndex } from '../../src/vectors';
import { TestWorkload } from '../support/workload';

const CONCRETE = { account: '111111111111', region: 'eu-west-1' };
const GROUPS = [FeatureGroup.define('customer', { owner: 'growth', entityKeys: [EntityKey.string('id')], features: [Feature.bool('a')] })];
const INDEXES = [VectorIndex.define('flats', { dimension: 8, similarity: Similarity.L2 })];

function create(
  props: Partial<DataPlaneProps> = {}, environment = BrainEnvironment.dev(), env?: { account: string; region: string }, app = new App(),
) {
  const stacks = { foundation: new Stack(app, 'Foundation', { env }), data: new Stack(app, 'Data', { env }), vectors: new Stack(app, 'Vectors', { env }) };
  const foundation = new FoundationPlane(stacks.foundation, 'Plane', { environment });
  const data = new DataPlane(stacks.data, 'Plane', { environment, foundation, name: 'brain', ...props });
  return { app, ...stacks, foundationPlane: foundation, plane: data, template: () => Template.fromStack(stacks.data) };
}

/** A template whose lists are in one order: `minimizePolicies` sorts the actions and resources of a statement, which changes no meaning. */
function unordered(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(unordered).sort((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1));
  if (value === null || typeof value !== 'object') return value;
  return Object.fromEntries(Object.entries(value).map(([key, child]) => [key, unordered(child)]));
}

describe('DataPlane', () => {
  test('is an artifact store and a rollout configuration in a brain that declares nothing else', () => {
    const { plane, template } = create();
    expect(plane.features).toBeUndefined();
    expect(plane.vectors).toBeUndefined();
    template().resourceCountIs('AWS::AppConfig::ConfigurationProfile', 1);
    template().resourceCountIs('AWS::DynamoDB::GlobalTable', 0);
    template().resourceCountIs('AWS::OpenSearchService::Domain', 0);
    expect(plane.artifacts.bucket).toBeDefined();
  });

  test.each([['without region', undefined], ['with a region', CONCRETE]])('has all four stores in a stack %s, and needs no look-up', (_, env) => {
    const { app, template } = create({ featureGroups: GROUPS, vectorIndexes: INDEXES }, BrainEnvironment.prod(), env);
    expect(app.synth().manifest.missing ?? []).toEqual([]);
    template().resourceCountIs('AWS::DynamoDB::GlobalTable', 1);
    template().resourceCountIs('AWS::OpenSearchService::Domain', 1);
  });

  test('warns where data is protected and no lock remembers what the features were like', () => {
    const told = ['*', Match.stringLikeRegexp("featureStore.lock is not set.*'thalos-brain features lock'.*noFeatureLock")] as const;
    Annotations.fromStack(create({ featureGroups: GROUPS }, BrainEnvironment.prod()).data).hasWarning(...told);
    Annotations.fromStack(create({ featureGroups: GROUPS }, BrainEnvironment.dev()).data).hasNoWarning(...told);
    Annotations.fromStack(create({ featureGroups: GROUPS, featureStore: { lock: FeatureLock.fromFile('absent.json') } }, BrainEnvironment.prod()).data).hasNoWarning(...told);
    Annotations.fromStack(create({}, BrainEnvironment.prod()).data).hasNoWarning(...told);
  });

  test('puts the vector store, and all that belongs to it, into a scope of its own', () => {
    const app = new App();
    const environment = BrainEnvironment.prod();
    const [before, data, vectors] = ['Foundation', 'Data', 'Vectors'].map((id) => new Stack(app, id));
    const foundation = new FoundationPlane(before, 'Plane', { environment });
    const plane = new DataPlane(data, 'Plane', { environment, foundation, name: 'brain', vectorIndexes: INDEXES, vectorScope: vectors });
    plane.vectors!.connectSearcher(new TestWorkload(before, 'Service'));
    app.synth();
    Template.fromStack(data).resourceCountIs('AWS::OpenSearchService::Domain', 0);
    Template.fromStack(vectors).resourceCountIs('AWS::OpenSearchService::Domain', 1);
    expect(Object.values(Template.fromStack(vectors).findResources('AWS::IAM::Policy')).flatMap(({ Properties }) => Properties.PolicyName.replace(/^Vectors|[0-9A-F]{8}$/g, '')).sort()).toEqual([
      'BuildOfflatsFunctionAccess', 'BuildOfflatsMachineAccess', 'BuildOfflatsMachineOwn', 'DrillFunctionAccess', 'DrillMachineAccess',
      'DrillMachineOwn', 'DrillSchedulerAccess', 'ProviderHandlerFunctionAccess', 'SearchByService', 'SnapshotsAccess',
    ]);
    // of the data plane it reads the bucket that generations are built from
    expect([...vectors.dependencies].sort((a, b) => (a.node.id < b.node.id ? -1 : 1))).toEqual([data, before]);
    expect(data.dependencies).toEqual([before]);
    expect(before.dependencies).toEqual([]);
  });

  test('has a machine for each vector index that builds generations, mapped by the store, from a bucket of its own', () => {
    const two = [...INDEXES, VectorIndex.define('streets', { dimension: 4, similarity: Similarity.L2 })];
    const { plane, template, data } = create({ vectorIndexes: two, vectorStore: { loaders: 7, gate: { k: 5 } } }, BrainEnvironment.prod());
    const made = template();
    expect(Object.keys(plane.vectorBuilds)).toEqual(['flats', 'streets']);
    // and one that drills
    made.resourceCountIs('AWS::StepFunctions::StateMachine', 3);
    const [{ Properties: { Declaration } }] = Object.values(made.findResources('Custom::ThalosVectorIndexes'));
    for (const build of Object.values(plane.vectorBuilds)) {
      expect(JSON.stringify(Declaration)).toContain(JSON.stringify(data.resolve(build.role.roleArn)));
      expect(JSON.stringify(data.resolve(build.stateMachineArn))).toMatch(/BuildOf/);
    }
    made.hasResourceProperties('AWS::Lambda::Function', {
      Environment: { Variables: Match.objectLike({ SOURCE_BUCKET: data.resolve(plane.vectorSource!.bucketName), RECALL_GATE: Match.stringLikeRegexp('"k":5') }) },
    });
    expect(JSON.stringify(made.findResources('AWS::StepFunctions::StateMachine')).match(/MaxConcurrency\W+7\b/g)).toHaveLength(2);
    made.hasResource('AWS::S3::Bucket', {
      DeletionPolicy: 'Retain',
      Properties: { LifecycleConfiguration: { Rules: Match.arrayWith([Match.objectLike({ Prefix: 'builds/', ExpirationInDays: 16 })]) }, LoggingConfiguration: Match.anyValue() },
    });
  });

  test('restores snapshots to see whether they can be, where the environment keeps its data', () => {
    const drills = (environment: BrainEnvironment) => Object.keys(create({ vectorIndexes: INDEXES }, environment).template().findResources('AWS::Scheduler::Schedule'));
    expect(drills(BrainEnvironment.staging())).toEqual([expect.stringMatching(/VectorsDrillSchedule/)]);
    expect(drills(BrainEnvironment.dev())).toEqual([]);
  });

  test('builds generations from a bucket of the user, if there is one', () => {
    const { plane, template, data } = create({ vectorIndexes: INDEXES, vectorStore: { source: Bucket.fromBucketName(new Stack(), 'Source', 'embeddings') } });
    expect(data.resolve(plane.vectorSource!.bucketName)).toBe('embeddings');
    template().hasResourceProperties('AWS::Lambda::Function', { Environment: { Variables: Match.objectLike({ SOURCE_BUCKET: 'embeddings' }) } });
    expect(JSON.stringify(template().findResources('AWS::S3::Bucket'))).not.toContain('vector-source/');
  });

  test('connects workloads of the foundation to everything without a reference back', () => {
    const { app, plane, foundation, data } = create({ featureGroups: GROUPS, vectorIndexes: INDEXES });
    const workload = new TestWorkload(foundation, 'Service');
    plane.artifacts.connectReader(workload);
    plane.features!.connectReader(workload);
    plane.vectors!.connectSearcher(workload);
    plane.rollout.connectReader(workload);
    app.synth();
    expect(foundation.dependencies).toEqual([]);
    expect(data.dependencies).toEqual([foundation]);
    expect(Object.keys(workload.bindings).sort()).toEqual([
      'ARTIFACT_BUCKET', 'FEATURE_TABLE', 'ROLLOUT_APPLICATION', 'ROLLOUT_ENVIRONMENT', 'ROLLOUT_PROFILE', 'VECTOR_ENDPOINT',
    ]);
  });

  test('connects a writer of features, in one call, to the table, to the stream of rows that came too late, and to the quarantine', () => {
    const { app, plane, foundation, data } = create({ featureGroups: GROUPS });
    const workload = new TestWorkload(foundation, 'Feed');
    plane.features!.connectWriter(workload);
    app.synth();
    expect(foundation.dependencies).toEqual([]);
    expect(data.dependencies).toEqual([foundation]);
    const { BRAIN, FEATURE_QUARANTINE, FEATURE_STREAM, FEATURE_TABLE } = Binding;
    expect(Object.keys(workload.bindings).sort()).toEqual([BRAIN, FEATURE_QUARANTINE, FEATURE_STREAM, FEATURE_TABLE]);
    expect(workload.bindings[Binding.BRAIN]).toBe('brain');
    expect(featureClientOf(GROUPS.map((group) => group._toSchema()), { ...workload.bindings, AWS_REGION: 'eu-west-1' })).toBeDefined();
  });

  test('backfills what is offline, daily beyond dev, and keeps what writers refuse', () => {
    const { plane, template } = create({ featureGroups: GROUPS }, BrainEnvironment.prod());
    expect(plane.backfill).toBeDefined();
    expect(plane.quality).toBe(plane.features!.quality);
    template().allResourcesProperties('AWS::Scheduler::Schedule', { ScheduleExpression: 'rate(24 hours)' });
    create({ featureGroups: GROUPS }).template().resourceCountIs('AWS::Scheduler::Schedule', 0);
  });

  test('tells the names that commands ask for, of what it has', () => {
    const { plane, data, template } = create({ featureGroups: GROUPS });
    const told = Object.fromEntries(Object.entries(template().findOutputs('*')).map(([id, { Value }]) => [id.replace(/^Plane|[0-9A-F]{8}$/g, ''), Value]));
    expect(told).toEqual(data.resolve({
      FeatureTable: plane.features!.table.tableName,
      FeatureStream: plane.features!.offline!.stream.streamName,
      FeatureQuarantine: plane.quality!.quarantine.bucketName,
      OfflineDatabase: plane.features!.offline!.databaseName,
      OfflineWorkGroup: plane.features!.offline!.workGroupName,
      OfflineBucket: plane.features!.offline!.bucket.bucketName,
      TrainingSetBucket: plane.trainingSets!.bucket.bucketName,
      Backfills: plane.backfill!.stateMachineArn,
      ConsistencyChecks: plane.backfill!.checkArn,
    }));
    const ids = (props: object) => Object.keys(create(props).template().findOutputs('*')).map((id) => id.replace(/^Plane|[0-9A-F]{8}$/g, '')).sort();
    expect(ids({ featureGroups: GROUPS, featureStore: { offline: OfflineStrategy.none() } })).toEqual(['FeatureQuarantine', 'FeatureTable']);
    expect(ids({})).toEqual([]);
  });

  test('gives its options to backfill and quality', () => {
    const backfill = { schedule: BackfillSchedule.every(Duration.hours(6)), tuning: { maxSkew: 5 } };
    const made = create({ featureGroups: GROUPS, featureStore: { backfill, quality: { retention: Duration.days(7), toleratedRows: 3 } } }).template();
    made.allResourcesProperties('AWS::Scheduler::Schedule', { ScheduleExpression: 'rate(6 hours)' });
    made.hasResourceProperties('AWS::CloudWatch::Alarm', { MetricName: 'FeatureSkew', Threshold: 5 });
    made.hasResourceProperties('AWS::CloudWatch::Alarm', { MetricName: 'QuarantinedRows', Threshold: 3 });
    made.hasResourceProperties('AWS::S3::Bucket', { LifecycleConfiguration: { Rules: [Match.objectLike({ ExpirationInDays: 7 })] } });
  });

  test('without offline tables has a quarantine all the same, and no backfill', () => {
    const offline = OfflineStrategy.none();
    const { plane } = create({ featureGroups: GROUPS, featureStore: { offline } });
    expect(plane.quality).toBeDefined();
    expect(plane.backfill).toBeUndefined();
    expect(() => create({ featureGroups: GROUPS, featureStore: { offline, backfill: {} } })).toThrow(/BackfillWithoutOffline: .* keep features offline/);
  });

  test('encrypts each store with the key that the foundation has for it', () => {
    const { template, foundationPlane, data } = create({ featureGroups: GROUPS, vectorIndexes: INDEXES });
    const { keys } = foundationPlane;
    const made = template();
    made.hasResourceProperties('AWS::AppConfig::ConfigurationProfile', { KmsKeyIdentifier: data.resolve(keys.data.keyArn) });
    made.hasResourceProperties('AWS::OpenSearchService::Domain', { EncryptionAtRestOptions: { Enabled: true, KmsKeyId: data.resolve(keys.vectors.keyId) } });
    const [table] = Object.values(made.findResources('AWS::DynamoDB::GlobalTable'));
    expect(table.Properties.Replicas[0].SSESpecification.KMSMasterKeyId).toEqual(data.resolve(keys.data.keyArn));
    made.allResourcesProperties('AWS::Logs::LogGroup', { KmsKeyId: data.resolve(keys.logs.keyArn) });
  });

  test('is the same template whatever the feature flags of the app are (DEPLOY A9)', () => {
    // how stacks refer to each other is the app's own choice
    const { '@aws-cdk/core:defaultCrossStackReferences': _, ...flags } = RECOMMENDED_FLAGS;
    const [on, off] = [flags, {}].map((context) => (
      create({ featureGroups: GROUPS, vectorIndexes: INDEXES }, BrainEnvironment.prod(), undefined, new App({ context })).template().toJSON()
    ));
    expect(unordered(on.Resources)).toEqual(unordered(off.Resources));
  });
});
