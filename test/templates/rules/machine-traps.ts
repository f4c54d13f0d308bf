import { dependsOn, each, Traps } from './trap';
import { render } from '../../support/templates';

const MACHINE = 'AWS::StepFunctions::StateMachine';

/** A7: state machines. */
export const MACHINE_TRAPS: Traps = {
  'A7 a state machine writes to a log group whose name the account\'s policy of log delivery knows already': {
    rule: (templates) => each(templates, MACHINE, ({ properties, stack }) => {
      const groups = templates.referencesIn(properties.LoggingConfiguration?.Destinations, stack).filter(({ type }) => type === 'AWS::Logs::LogGroup');
      if (groups.length !== 1) return `writes to ${groups.length} log groups`;
      const name = render(groups[0].properties.LogGroupName);
      return !name.startsWith('/aws/vendedlogs/states/') && `writes to ${name || 'a log group without a name'}, which makes that policy longer, until it is full`;
    }),
    mistake: {
      Logs: { type: 'AWS::Logs::LogGroup', properties: { LogGroupName: '/aws/states/machine' } },
      Machine: {
        type: MACHINE,
        properties: { LoggingConfiguration: { Destinations: [{ CloudWatchLogsLogGroup: { LogGroupArn: { 'Fn::GetAtt': ['Logs', 'Arn'] } } }] } },
      },
    },
  },
  'A7 a state machine waits for the policy by which it may deliver its log': {
    rule: (templates) => each(templates, MACHINE, (machine) => {
      const roles = templates.referencesIn(machine.properties.RoleArn, machine.stack);
      const policies = templates.ofType('AWS::IAM::Policy').filter(({ properties, stack }) => JSON.stringify(properties.PolicyDocument ?? '').includes('logs:CreateLogDelivery')
        && templates.referencesIn(properties.Roles, stack).some((role) => roles.includes(role)));
      return !(policies.length > 0 && policies.every(({ id }) => dependsOn(machine).includes(id))) && 'is refused where its role may not deliver logs yet';
    }),
    mistake: {
      Role: { type: 'AWS::IAM::Role', properties: {} },
      Policy: { type: 'AWS::IAM::Policy', properties: { Roles: [{ Ref: 'Role' }], PolicyDocument: { Statement: [{ Action: 'logs:CreateLogDelivery' }] } } },
      Machine: { type: MACHINE, properties: { RoleArn: { 'Fn::GetAtt': ['Role', 'Arn'] } } },
    },
  },
};
