import { App, Duration, Stack } from 'aws-cdk-lib';
import { Annotations, Match, Template } from 'aws-cdk-lib/assertions';
import { Vpc } from 'aws-cdk-lib/aws-ec2';
import { Role, ServicePrincipal } from 'aws-cdk-lib/aws-iam';
import { Key } from 'aws-cdk-lib/aws-kms';
import { BrainEnvironment } from '../../src/environment';
import { BrainNetwork } from '../../src/network';
import { DiskCompression, Similarity, VectorIndex, VectorIndexSize, VectorQuantization, VectorRestoreDrill, VectorRestoreDrillProps, VectorStore } from '../../src/vectors';

function create(props: Partial<VectorRestoreDrillProps> = {}, environment = BrainEnvironment.prod(), elsewhere = false, size: VectorIndexSize = {}) {
  const app = new App();
  const env = { account: '111111111111', region: 'eu-west-1' };
  const stack = new Stack(app, 'Vectors', { env });
  const zones = ['a', 'b', 'c'];
  const vpc = Vpc.fromVpcAttributes(stack, 'Vpc', {
    vpcId: 'vpc-1', vpcCidrBlock: '10.0.0.0/16', availabilityZones: zones, privateSubnetIds: zones.map((zone) => `subnet-${zone}`),
  });
  const logsKey = new Key(stack, 'LogsKey');
  const store = new VectorStore(stack, 'Store', {
    environment,
    network: BrainNetwork.fromVpc(stack, 'Network', vpc),
    encryptionKey: new Key(stack, 'VectorsKey'),
    logsKey,
    masterRole: new Role(stack, 'Master', { assumedBy: new ServicePrincipal('lambda.amazonaws.com') }),
    indexes: ['flats', 'streets'].map((name) => VectorIndex.define(name, { dimension: 8, similarity: Similarity.COSINE, quantization: VectorQuantization.onDisk(DiskCompression.X1), size })),
  });
  const drill = new VectorRestoreDrill(elsewhere ? new Stack(app, 'Later', { env }) : stack, 'Drill', { environment, name: 'fleet', logsKey, store, ...props });
  return { stack, store, drill, template: () => Template.fromStack(stack) };
}

describe('VectorRestoreDrill', () => {
  test('may ask the domain for what a drill asks, by path: it deletes its copies and nothing else, and writes nothing', () => {
    const policies = Object.entries(create().template().findResources('AWS::IAM::Policy')).filter(([id]) => id.startsWith('DrillFunctionAccess'));
    const statements: { Action: string; Resource: object }[] = policies.flatMap(([, { Properties }]) => Properties.PolicyDocument.Statement);
    const pathsOf = (action: string) => statements.filter(({ Action }) => Action === action).flatMap(({ Resource }) => (
      [...JSON.stringify(Resource).matchAll(/"(\/[^"]+)"/g)].map(([, path]) => path)
    ));
    expect(pathsOf('es:ESHttpDelete')).toEqual(['/thalos.drill.flats', '/thalos.drill.streets']);
    expect(pathsOf('es:ESHttpPost')).toEqual([
      '/flats.*/_search', '/thalos.drill.flats/_search', '/streets.*/_search', '/thalos.drill.streets/_search', '/_snapshot/thalos-vectors/*/_restore',
    ]);
    expect(pathsOf('es:ESHttpPut')).toEqual([]);
  });

  test('warns where its comparisons, one index after the other, would take half a day', () => {
    const warned = (vectors: number) => {
      const { stack } = create({}, undefined, undefined, { vectors, shards: 1 });
      return Annotations.fromStack(stack).findWarning('*', Match.stringLikeRegexp('recall of flats, streets by a sample of 100 may take 14 hours'));
    };
    expect(warned(3_000_000_000)).toHaveLength(1);
    expect(warned(1_500_000_000)).toEqual([]);
  });

  test('is mapped by the store to the role of keepers', () => {
    const { template } = create();
    const [{ Properties: { Declaration } }] = Object.values(template().findResources('Custom::ThalosVectorIndexes'));
    expect(JSON.stringify(Declaration)).toMatch(/keepers\W+.*DrillFunctionRole/);
  });

  test('runs by itself every fourth day at a quiet hour, by a role that may start it and nothing else', () => {
    const made = create().template();
    made.hasResourceProperties('AWS::Scheduler::Schedule', {
      ScheduleExpression: 'cron(0 1 1/4 * ? *)', ScheduleExpressionTimezone: 'UTC', KmsKeyArn: Match.anyValue(), Target: Match.objectLike({ Arn: Match.anyValue() }),
    });
    create({ interval: Duration.days(1) }).template().hasResourceProperties('AWS::Scheduler::Schedule', { ScheduleExpression: 'cron(0 1 1/1 * ? *)' });
  });

  test('tells of a drill that failed, of an index whose drill is overdue, and of old snapshots, within what an alarm may look back', () => {
    const { drill, template } = create();
    expect(drill.alarms).toHaveLength(5);
    const made = template();
    made.hasResourceProperties('AWS::CloudWatch::Alarm', {
      MetricName: 'VectorDrillsPassed', Period: 3600, EvaluationPeriods: 144, TreatMissingData: 'breaching', Dimensions: Match.arrayWith([{ Name: 'VectorIndex', Value: 'streets' }]),
    });
    made.hasResourceProperties('AWS::CloudWatch::Alarm', { MetricName: 'VectorSnapshotAge', Threshold: 86400 });
    for (const { Properties: { Period, EvaluationPeriods } } of Object.values(made.findResources('AWS::CloudWatch::Alarm'))) {
      expect((Period ?? 300) * EvaluationPeriods).toBeLessThanOrEqual(7 * 86400);
    }
    expect(drill.metricRestoreTime('flats')).toMatchObject({ metricName: 'VectorRestoreTime', dimensions: { Brain: 'fleet', VectorIndex: 'flats' } });
  });

  test.each<[string, () => unknown, RegExp]>([
    ['a store without snapshots', () => create({}, BrainEnvironment.dev()), /NoSnapshots: the environment 'dev' deletes its data/],
    ['another stack than the store\'s', () => create({}, BrainEnvironment.prod(), true), /DrillElsewhere/],
    ['an interval of which no alarm could tell', () => create({ interval: Duration.days(5) }), /DrillInterval: .* at most 4 days, got 5/],
    ['half a day', () => create({ interval: Duration.hours(12) }), /DrillInterval: .* whole days/],
  ])('fails with %s', (_, make, message) => expect(make).toThrow(message));
});
