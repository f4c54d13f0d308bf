import { Duration } from 'aws-cdk-lib';
import { Match, Template } from 'aws-cdk-lib/assertions';
import { create, GROUP } from './machine.fixture';
import { BackfillEnv, Binding } from '../../../src/contract';
import { BrainEnvironment } from '../../../src/environment';
import { BackfillSchedule, EntityKey, Expectation, Feature, FeatureGroup, FeatureStore } from '../../../src/features';
import { definitionOf } from '../../support/asl/definition';

const MACHINE = 'AWS::StepFunctions::StateMachine';
const template = Template.fromStack(create().stack);
/** Without those of the quarantine. */
const alarmsOf = (of: Template) => Object.fromEntries(Object.entries(of.findResources('AWS::CloudWatch::Alarm')).filter(([id]) => id.startsWith('Backfill')));
const machineOf = (of: Template, name: RegExp) => Object.entries(of.findResources(MACHINE)).find(([id]) => name.test(id))!;

describe('Backfill', () => {
  test('is two state machines with traces, whose logs are encrypted, hold no data, and have a name that Step Functions may write to', () => {
    template.resourceCountIs(MACHINE, 2);
    template.allResourcesProperties(MACHINE, {
      TracingConfiguration: { Enabled: true },
      LoggingConfiguration: { Level: 'ALL', IncludeExecutionData: false },
    });
    const groups = Object.values(template.findResources('AWS::Logs::LogGroup', { Properties: { LogGroupName: Match.stringLikeRegexp('^/aws/vendedlogs/states/') } }));
    expect(groups).toHaveLength(2);
    for (const { Properties } of groups) expect(Properties.KmsKeyId).toBeDefined();
  });

  test('is made after its role may write the log', () => {
    const [, { DependsOn }] = machineOf(template, /Machine/);
    expect(DependsOn).toEqual(expect.arrayContaining([expect.stringMatching(/MachineAccess/)]));
  });

  test('may start, describe, stop and redrive its own executions, and no others', () => {
    const [id] = machineOf(template, /Machine/);
    template.hasResourceProperties('AWS::IAM::Policy', {
      PolicyDocument: {
        Statement: [
          Match.objectLike({ Action: ['kms:Decrypt', 'kms:GenerateDataKey'] }),
          { Action: 'states:StartExecution', Effect: 'Allow', Resource: { 'Fn::GetAtt': [id, 'Arn'] } },
          { Action: ['states:DescribeExecution', 'states:StopExecution'], Effect: 'Allow', Resource: [Match.anyValue(), Match.anyValue()] },
          { Action: 'states:RedriveExecution', Effect: 'Allow', Resource: { 'Fn::Join': ['', Match.arrayWith([{ 'Fn::GetAtt': [id, 'Name'] }, '/*:*'])] } },
        ],
      },
    });
  });

  test.each([
    [1, 1, '1'], [250, 1, '250'], [500, 2, '250'], [1000, 4, '250'], [40_000, 160, '250'], [600, 3, '200'],
  ])('shares %i writes per second among %i writers', (writesPerSecond, writers, each) => {
    const tuned = Template.fromStack(create({ tuning: { writesPerSecond } }).stack);
    const [id] = machineOf(tuned, /Machine/);
    expect(definitionOf(tuned.toJSON(), id).States.Write.MaxConcurrency).toBe(writers);
    tuned.hasResourceProperties('AWS::Lambda::Function', { Environment: { Variables: Match.objectLike({ [BackfillEnv.WRITES_PER_SECOND]: each }) } });
  });

  test('its writer knows the table that it writes, and may read and write it', () => {
    template.hasResourceProperties('AWS::Lambda::Function', { Environment: { Variables: Match.objectLike({ [Binding.FEATURE_TABLE]: Match.anyValue() }) }, Timeout: 900 });
    for (const action of [['dynamodb:BatchGetItem', 'dynamodb:GetItem'], 'dynamodb:PutItem']) {
      template.hasResourceProperties('AWS::IAM::Policy', {
        PolicyDocument: { Statement: Match.arrayWith([Match.objectLike({ Action: action })]) }, Roles: [{ Ref: Match.stringLikeRegexp('Writer') }],
      });
    }
  });

  test('lets Athena read the offline tables for both machines', () => {
    expect(create().offline.connected).toEqual(['Backfills', 'Checks']);
  });

  test('runs each group by itself once a day, and checks it, at a time that Scheduler spreads', () => {
    template.resourceCountIs('AWS::Scheduler::Schedule', 2);
    template.allResourcesProperties('AWS::Scheduler::Schedule', {
      ScheduleExpression: 'rate(24 hours)',
      FlexibleTimeWindow: { Mode: 'FLEXIBLE', MaximumWindowInMinutes: 15 },
      KmsKeyArn: Match.anyValue(),
      Target: Match.objectLike({ Input: '{"group":"customer"}' }),
    });
  });

  test('tells of failures, of groups that are overdue, and of skew', () => {
    const thresholds = Object.entries(alarmsOf(template)).map(([id, { Properties: p }]) => (
      [id.replace(/^Backfill|[0-9A-F]{8}$/g, ''), p.ComparisonOperator, p.Threshold, p.EvaluationPeriods, p.TreatMissingData]));
    expect(thresholds.sort()).toEqual([
      ['CheckFailed', 'GreaterThanOrEqualToThreshold', 1, 1, 'notBreaching'],
      ['CheckOverdueOfcustomer', 'LessThanThreshold', 1, 37, 'breaching'],
      ['Failed', 'GreaterThanOrEqualToThreshold', 1, 1, 'notBreaching'],
      ['OverdueOfcustomer', 'LessThanThreshold', 1, 37, 'breaching'],
      ['SkewOfcustomer', 'GreaterThanThreshold', 1, 1, 'notBreaching'],
    ]);
  });

  test('hears of a failure of either machine although nothing was stopped or late', () => {
    const failures = Object.values(alarmsOf(template)).flatMap(({ Properties: p }) => (p.Metrics === undefined ? [] : [p.Metrics]));
    const machines = failures.map(([sum, ...metrics]) => {
      expect(sum.Expression).toBe('FILL(failed, 0) + FILL(aborted, 0) + FILL(late, 0)');
      return metrics[0].MetricStat.Metric.Dimensions[0].Value['Fn::GetAtt'][0];
    });
    expect(machines.sort()).toEqual([machineOf(template, /Check/)[0], machineOf(template, /Machine/)[0]].sort());
  });

  test('hears of backfills and of checks that do not come to their end, each by its own count', () => {
    const counts = Object.entries(alarmsOf(template)).filter(([id]) => id.includes('Overdue')).map(([id, { Properties: p }]) => [id.includes('Check'), p.MetricName]);
    expect(counts.sort()).toEqual([[false, 'BackfillCompleted'], [true, 'ConsistencyChecked']]);
    // the machines count, and so must be allowed to
    for (const role of [/MachineRole/, /CheckRole/]) {
      template.hasResourceProperties('AWS::IAM::Policy', {
        PolicyDocument: { Statement: Match.arrayWith([Match.objectLike({ Action: 'cloudwatch:PutMetricData' })]) }, Roles: [{ Ref: Match.stringLikeRegexp(role.source) }],
      });
    }
  });

  test('is started by hand where it is not scheduled, and then nothing is overdue', () => {
    const manual = Template.fromStack(create({ schedule: BackfillSchedule.onDemand() }).stack);
    manual.resourceCountIs('AWS::Scheduler::Schedule', 0);
    expect(Object.keys(alarmsOf(manual)).filter((id) => /Overdue/.test(id))).toEqual([]);
    expect(Object.keys(alarmsOf(manual))).toHaveLength(3);
  });

  test('what Athena computed is gone after a week', () => {
    template.hasResourceProperties('AWS::S3::Bucket', {
      LifecycleConfiguration: { Rules: Match.arrayWith([Match.objectLike({ Prefix: 'runs/', ExpirationInDays: 7 })]) },
    });
  });

  test('its control table is retained and protected in prod, and leaves nothing behind in dev', () => {
    template.hasResource('AWS::DynamoDB::Table', { DeletionPolicy: 'Retain', Properties: { DeletionProtectionEnabled: true, TimeToLiveSpecification: { AttributeName: 'expires_at', Enabled: true } } });
    Template.fromStack(create({ environment: BrainEnvironment.dev() }).stack).hasResource('AWS::DynamoDB::Table', { DeletionPolicy: 'Delete' });
  });

  test('holds every group in one definition', () => {
    const shop = FeatureGroup.define('web-shop', { owner: 'growth', version: 3, entityKeys: [EntityKey.int64('id')], features: [Feature.bool('open')] });
    const two = Template.fromStack(create({ groups: [GROUP, shop] }).stack);
    const [id] = machineOf(two, /Machine/);
    expect((definitionOf(two.toJSON(), id).States.Groups.Assign as any).groups['web-shop']).toMatchObject({ table: 'web_shop_v3', key: 'group#web-shop#3', schema: { version: 3 } });
    two.resourceCountIs('AWS::Scheduler::Schedule', 4);
  });

  test('leaves descriptions out of its definitions, and fails with BackfillGroupsTooLarge where the groups do not fit a variable', () => {
    const wide = (name: string, categories: number) => FeatureGroup.define(name, {
      owner: 'growth',
      description: 'why there are visits',
      entityKeys: [EntityKey.string('id')],
      features: Array.from({ length: 100 }, (_, at) => Feature.string(`f${at}`, {
        description: 'd'.repeat(1_000), expect: [Expectation.categories(...Array.from({ length: categories }, (__, of) => `category ${1_000 + of}`))],
      })),
    });
    const fits = Template.fromStack(create({ groups: [wide('a', 50), wide('b', 50)] }).stack);
    for (const name of [/Machine/, /Check/]) {
      const definition = JSON.stringify(definitionOf(fits.toJSON(), machineOf(fits, name)[0]));
      expect(definition).toContain('category 1049');
      expect(definition).not.toMatch(/ddd|why there are/);
    }
    expect(() => create({ groups: [wide('a', 50), wide('b', 50), wide('c', 50), wide('d', 50)] }))
      .toThrow(/BackfillGroupsTooLarge: the 4 feature groups .* 245760 bytes .* and take \d{6}: give some groups a feature store of their own/);
  });

  test.each([
    ['BackfillWrites', { tuning: { writesPerSecond: 0 } }],
    ['BackfillWrites', { tuning: { writesPerSecond: 40_001 } }],
    ['BackfillSample', { tuning: { sampleSize: 1.5 } }],
    ['BackfillSkew', { tuning: { maxSkew: 101 } }],
  ])('fails with %s for %j', (code, props) => {
    expect(() => create(props)).toThrow(new RegExp(`${code}: `));
  });

  test.each([Duration.minutes(30), Duration.minutes(90), Duration.days(5)])('fails with BackfillInterval when scheduled every %s', (interval) => {
    expect(() => BackfillSchedule.every(interval)).toThrow(/BackfillInterval: .* 1 to 96 whole hours/);
  });

  test('its writer keeps what it refuses where other writers do, and may put nothing elsewhere', () => {
    const { stack, quality } = create();
    Template.fromStack(stack).hasResourceProperties('AWS::Lambda::Function', {
      Timeout: 900,
      Environment: {
        Variables: Match.objectLike({ [Binding.FEATURE_QUARANTINE]: stack.resolve(quality.quarantine.bucketName), [Binding.BRAIN]: 'demo' }),
      },
    });
    const put = Object.values(Template.fromStack(stack).findResources('AWS::IAM::Policy'))
      .filter(({ Properties: { Roles } }) => /Writer/.test(Roles[0].Ref))
      .flatMap(({ Properties: { PolicyDocument } }) => PolicyDocument.Statement).filter(({ Action }: { Action: unknown }) => Action === 's3:PutObject');
    expect(put.map(({ Resource }: { Resource: unknown }) => Resource)).toEqual([stack.resolve(quality.quarantine.arnForObjects('quarantine/*'))]);
  });

  test('fails with BackfillQuarantine for a store whose writers lose what they refuse', () => {
    const { stack, key } = create();
    const features = new FeatureStore(stack, 'Other', { environment: BrainEnvironment.prod(), encryptionKey: key, groups: [GROUP] });
    expect(() => create({ features })).toThrow(/BackfillQuarantine: .* give it a FeatureQuality/);
  });

  test('runs by itself where the environment says so', () => {
    const schedules = (environment: BrainEnvironment, schedule?: BackfillSchedule) => (
      Object.keys(Template.fromStack(create({ environment, schedule }).stack).findResources('AWS::Scheduler::Schedule')).length);
    expect(schedules(BrainEnvironment.dev())).toBe(0);
    for (const environment of [BrainEnvironment.staging(), BrainEnvironment.prod()]) expect(schedules(environment)).toBe(2);
    expect(schedules(BrainEnvironment.dev(), BackfillSchedule.every(Duration.hours(6)))).toBe(2);
  });
});
