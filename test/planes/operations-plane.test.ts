import { App, Stack } from 'aws-cdk-lib';
import { Template } from 'aws-cdk-lib/assertions';
import { BrainEnvironment } from '../../src/environment';
import { FoundationPlane, OperationsPlane } from '../../src/planes';

const stack = new Stack(new App(), 'Stack', { env: { region: 'eu-central-1' } });
const foundation = new FoundationPlane(stack, 'Foundation', { environment: BrainEnvironment.dev() });
const operations = new OperationsPlane(stack, 'Operations', { foundation });
const template = Template.fromStack(stack);

test('its alerts are those of the foundation', () => {
  expect(operations.alerts).toBe(foundation.alerts.topic);
  template.resourceCountIs('AWS::SNS::Topic', 1);
});

test('the rule may publish: nothing but plain HTTP is denied, since EventBridge names no source to a topic', () => {
  const [{ Properties }] = Object.values(template.findResources('AWS::SNS::TopicPolicy'));
  const statements: { Effect: string; Principal: object; Action: string; Condition?: object }[] = Properties.PolicyDocument.Statement;
  expect(statements.filter(({ Effect }) => Effect === 'Deny')).toHaveLength(1);
  expect(statements).toContainEqual(expect.objectContaining({ Effect: 'Allow', Action: 'sns:Publish', Principal: { Service: 'events.amazonaws.com' } }));
});

test('the guard watches every key of the brain', () => {
  const { data, artifacts, offline, quarantine, training, telemetry, vectors, cluster, logs, alerts } = foundation.keys;
  const watched = [data, artifacts, offline, quarantine, training, telemetry, vectors, cluster, logs, alerts];
  template.resourceCountIs('AWS::KMS::Key', 10);
  template.hasResourceProperties('AWS::Events::Rule', {
    EventPattern: {
      source: ['aws.kms'],
      detail: { eventName: ['DisableKey', 'ScheduleKeyDeletion'], resources: { ARN: watched.map((key) => stack.resolve(key.keyArn)) } },
    },
  });
});
