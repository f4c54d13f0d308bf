import { App, Stack } from 'aws-cdk-lib';
import { Match, Template } from 'aws-cdk-lib/assertions';
import { Alarm, AlarmRule, AlarmState, CompositeAlarm, Metric } from 'aws-cdk-lib/aws-cloudwatch';
import { SnsAction } from 'aws-cdk-lib/aws-cloudwatch-actions';
import { Key } from 'aws-cdk-lib/aws-kms';
import { Topic } from 'aws-cdk-lib/aws-sns';
import { Construct } from 'constructs';
import { BrainAlerts } from '../../src/observability';

function create() {
  const app = new App();
  const [first, later] = ['First', 'Later'].map((id) => new Stack(app, id, { env: { account: '111111111111', region: 'eu-west-1' } }));
  const alerts = new BrainAlerts(first, 'Alerts', { encryptionKey: new Key(first, 'Key') });
  return { app, first, later, alerts, ofFirst: () => Template.fromStack(first), ofLater: () => Template.fromStack(later) };
}

const alarm = (scope: Construct, id: string) => new Alarm(scope, id, {
  metric: new Metric({ namespace: 'test', metricName: id }), threshold: 1, evaluationPeriods: 1,
});

/** How many actions each alarm of a template has, of either kind. */
function actionsOf(template: Template): [number, number][] {
  return Object.values(template.findResources('AWS::CloudWatch::Alarm'))
    .map(({ Properties: { AlarmActions = [], OKActions = [] } }) => [AlarmActions.length, OKActions.length]);
}

describe('BrainAlerts', () => {
  test('is a topic with a customer key that takes nothing over plain HTTP', () => {
    const { first, alerts, ofFirst } = create();
    ofFirst().hasResourceProperties('AWS::SNS::Topic', { KmsMasterKeyId: first.resolve(alerts.topic.masterKey!.keyArn) });
    ofFirst().hasResourceProperties('AWS::SNS::TopicPolicy', {
      PolicyDocument: { Statement: Match.arrayWith([Match.objectLike({ Effect: 'Deny', Condition: { Bool: { 'aws:SecureTransport': 'false' } } })]) },
    });
  });

  test('A7: lets alarms of this account and Region publish, and nobody else', () => {
    const [{ Properties }] = Object.values(create().ofFirst().findResources('AWS::SNS::TopicPolicy'));
    const allowed = Properties.PolicyDocument.Statement.filter(({ Effect }: { Effect: string }) => Effect === 'Allow');
    expect(allowed).toEqual([expect.objectContaining({
      Action: 'sns:Publish',
      Principal: { Service: 'cloudwatch.amazonaws.com' },
      Condition: {
        StringEquals: { 'aws:SourceAccount': '111111111111' },
        ArnLike: { 'aws:SourceArn': { 'Fn::Join': ['', ['arn:', { Ref: 'AWS::Partition' }, ':cloudwatch:eu-west-1:111111111111:alarm:*']] } },
      },
    })]);
  });

  test('hears alarms of a scope in another stack, those too that are added later, when they go off and when they are over', () => {
    const { app, first, later, alerts, ofLater } = create();
    alarm(later, 'Before');
    alerts.listenTo(later);
    alarm(new Construct(later, 'Deep'), 'After');
    expect(actionsOf(ofLater())).toEqual([[1, 1], [1, 1]]);
    app.synth();
    expect(first.dependencies).toEqual([]);
  });

  test('hears no alarm of another scope', () => {
    const { later, alerts, ofLater } = create();
    alerts.listenTo(new Construct(later, 'Brain'));
    alarm(later, 'OfSomebodyElse');
    expect(actionsOf(ofLater())).toEqual([[0, 0]]);
  });

  test('is told once, however often the app is synthesized and however many scopes above an alarm are listened to', () => {
    const { app, later, alerts } = create();
    const inner = new Construct(later, 'Inner');
    for (const scope of [later, inner, inner]) alerts.listenTo(scope);
    alarm(inner, 'Alarm');
    app.synth();
    const { template } = app.synth({ force: true }).getStackArtifact(later.artifactId);
    expect(actionsOf(Template.fromJSON(template))).toEqual([[1, 1]]);
  });

  test('comes beside the actions that an alarm has of its own', () => {
    const { later, alerts, ofLater } = create();
    alerts.listenTo(later);
    alarm(later, 'Alarm').addAlarmAction(new SnsAction(new Topic(later, 'Pager')));
    expect(actionsOf(ofLater())).toEqual([[2, 1]]);
  });

  test('hears composite alarms', () => {
    const { later, alerts, ofLater } = create();
    alerts.listenTo(later);
    new CompositeAlarm(later, 'Both', { alarmRule: AlarmRule.fromAlarm(alarm(later, 'One'), AlarmState.ALARM) });
    ofLater().hasResourceProperties('AWS::CloudWatch::CompositeAlarm', { AlarmActions: [Match.anyValue()], OKActions: [Match.anyValue()] });
  });
});
