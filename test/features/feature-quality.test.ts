import { App, Duration, Stack } from 'aws-cdk-lib';
import { Match, Template } from 'aws-cdk-lib/assertions';
import { Key } from 'aws-cdk-lib/aws-kms';
import { ingestMetrics } from '../../runtime/feature-client/ingest-metrics';
import { Binding } from '../../src/contract';
import { BrainEnvironment } from '../../src/environment';
import { EntityKey, Expectation, Feature, FeatureGroup, FeatureQuality, FeatureQualityProps } from '../../src/features';
import { ArtifactStore } from '../../src/storage';
import { TestWorkload } from '../support/workload';

const group = (name: string, freshness?: Duration) => FeatureGroup.define(name, {
  owner: 'fleet', entityKeys: [EntityKey.string('driver')], features: [Feature.float64('rating', { expect: [Expectation.nullRate(0.1)] })], freshness,
});

function create(more: Partial<FeatureQualityProps> = {}, environment = BrainEnvironment.prod()) {
  const stack = new Stack(new App(), 'Stack');
  const key = new Key(stack, 'Key');
  const artifacts = new ArtifactStore(stack, 'Artifacts', { environment, encryptionKey: key });
  const quality = new FeatureQuality(stack, 'Quality', { environment, encryptionKey: key, artifacts, name: 'fleet', groups: [group('drivers', Duration.minutes(90)), group('shops')], ...more });
  return { stack, key, quality };
}

describe('FeatureQuality', () => {
  test('has an alarm for refused rows and one for violated expectations of each group', () => {
    const { stack } = create({ toleratedRows: 5 });
    for (const [name, metric, threshold] of [['drivers', 'QuarantinedRows', 5], ['shops', 'QuarantinedRows', 5], ['drivers', 'ExpectationsViolated', 0], ['shops', 'ExpectationsViolated', 0]] as const) {
      Template.fromStack(stack).hasResourceProperties('AWS::CloudWatch::Alarm', {
        Namespace: 'ThalosBrain',
        MetricName: metric,
        Dimensions: [{ Name: 'Brain', Value: 'fleet' }, { Name: 'FeatureGroup', Value: name }],
        Statistic: 'Sum',
        Period: 300,
        Threshold: threshold,
        ComparisonOperator: 'GreaterThanThreshold',
        TreatMissingData: 'notBreaching',
      });
    }
  });

  test('alarms where nothing fresh came in for as long as is declared, and where nothing came in at all', () => {
    const template = Template.fromStack(create().stack);
    const fresh = { MetricName: 'EventAge', Statistic: 'Minimum', Period: 5400, Threshold: 5400, TreatMissingData: 'breaching' };
    template.hasResourceProperties('AWS::CloudWatch::Alarm', { ...fresh, Dimensions: Match.arrayWith([{ Name: 'FeatureGroup', Value: 'drivers' }]) });
    template.resourceCountIs('AWS::CloudWatch::Alarm', 5);
    const days = Template.fromStack(create({ groups: [group('weekly', Duration.days(7))] }).stack);
    days.hasResourceProperties('AWS::CloudWatch::Alarm', { MetricName: 'EventAge', Period: 86_400, Threshold: 604_800 });
  });

  test('watches what writers count, by its name and dimensions', () => {
    const line = JSON.parse(ingestMetrics('fleet', group('drivers')._toSchema(), { rows: 1, late: 0, quarantined: 0, violations: [], eventAgeS: 1 }, 0));
    type Told = { Namespace: string; Dimensions: string[][]; Metrics: { Name: string }[] };
    const [{ Namespace, Dimensions, Metrics }] = line._aws.CloudWatchMetrics as [Told];
    const alarms = Object.values(Template.fromStack(create().stack).findResources('AWS::CloudWatch::Alarm'));
    for (const { Properties } of alarms) {
      expect(Properties.Namespace).toBe(Namespace);
      expect(Properties.Dimensions.map(({ Name }: { Name: string }) => Name)).toEqual(Dimensions[0]);
      expect(Metrics.map(({ Name }) => Name)).toContain(Properties.MetricName);
    }
  });

  test('keeps refused rows encrypted, for a month, and no longer than the brain in dev', () => {
    const { stack, key } = create({}, BrainEnvironment.dev());
    Template.fromStack(stack).hasResource('AWS::S3::Bucket', {
      DeletionPolicy: 'Delete',
      Properties: {
        BucketEncryption: { ServerSideEncryptionConfiguration: [{ ServerSideEncryptionByDefault: { KMSMasterKeyID: stack.resolve(key.keyArn) } }] },
        LifecycleConfiguration: { Rules: [Match.objectLike({ ExpirationInDays: 30 })] },
      },
    });
  });

  test('lets a writer put rows there, and neither read nor delete', () => {
    const { stack, key, quality } = create();
    const workload = new TestWorkload(stack, 'Writer');
    quality.connectWriter(workload);
    Template.fromStack(stack).hasResourceProperties('AWS::IAM::Policy', {
      PolicyDocument: {
        Statement: [
          { Effect: 'Allow', Action: 's3:PutObject', Resource: stack.resolve(quality.quarantine.arnForObjects('quarantine/*')) },
          Match.objectLike({ Effect: 'Allow', Action: 'kms:GenerateDataKey', Resource: stack.resolve(key.keyArn) }),
        ],
      },
    });
    expect(stack.resolve(workload.bindings)).toEqual({ [Binding.FEATURE_QUARANTINE]: stack.resolve(quality.quarantine.bucketName), [Binding.BRAIN]: 'fleet' });
  });

  test('fails without a group, with one twice, or with a count that is none', () => {
    expect(() => create({ groups: [] })).toThrow(/NoFeatureGroup/);
    expect(() => create({ groups: [group('a'), group('a')] })).toThrow(/DuplicateName/);
    expect(() => create({ toleratedRows: -1 })).toThrow(/InvalidToleratedRows: .* got -1/);
  });
});
