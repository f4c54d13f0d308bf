/** An alarm that tells nobody is none. */
import { statements } from './iam';
import { finding, Finding, Json, Resource, Templates } from '../../support/templates';

const ALARMS = ['AWS::CloudWatch::Alarm', 'AWS::CloudWatch::CompositeAlarm'];

const TOPIC = 'AWS::SNS::Topic';

function admitsAlarms(templates: Templates, resource: Resource, action: RegExp): boolean {
  return statements(templates).some(({ resource: holder, effect, principals, actions, body }) => holder === resource && effect === 'Allow'
    && principals.includes('cloudwatch.amazonaws.com') && actions.some((allowed) => action.test(allowed))
    && body.Condition?.StringEquals?.['aws:SourceAccount'] !== undefined);
}

/** What keeps an alarm from reaching a topic. */
function unheard(templates: Templates, topic: Resource): string | undefined {
  const policies = templates.ofType('AWS::SNS::TopicPolicy')
    .filter(({ stack, properties }) => templates.referencesIn(properties.Topics, stack).includes(topic));
  if (!policies.some((policy) => admitsAlarms(templates, policy, /^sns:Publish$/))) return `${topic.where}, whose policy does not let alarms of the account publish`;
  const [key] = templates.referencesIn(topic.properties.KmsMasterKeyId, topic.stack);
  if (!key || !admitsAlarms(templates, key, /^kms:GenerateDataKey/)) return `${topic.where}, whose key does not let alarms of the account use it`;
  return undefined;
}

/** Every alarm has an action that reaches a topic; one that is silent is asked by a composite alarm, which has. */
export function silentAlarms(templates: Templates): Finding[] {
  const alarms = templates.ofType(...ALARMS);
  const asked = new Set(templates.ofType('AWS::CloudWatch::CompositeAlarm')
    .flatMap(({ stack, properties }) => templates.referencesIn(properties.AlarmRule, stack)));
  return alarms.flatMap((alarm) => {
    const { ActionsEnabled: enabled, AlarmActions: actions = [] } = alarm.properties;
    if (enabled === false) return asked.has(alarm) ? [] : [finding(alarm, 'is silent, and no composite alarm asks it')];
    const topics = (actions as Json[]).flatMap((action) => templates.referencesIn(action, alarm.stack)).filter(({ type }) => type === TOPIC);
    if (topics.length === 0) return [finding(alarm, 'tells no topic')];
    return topics.flatMap((topic) => unheard(templates, topic) ?? []).map((problem) => finding(alarm, `tells ${problem}`));
  });
}
