import { Stack } from 'aws-cdk-lib';
import { Policy, PolicyStatement, Role, ServicePrincipal } from 'aws-cdk-lib/aws-iam';
import { IKey } from 'aws-cdk-lib/aws-kms';
import { CfnSchedule } from 'aws-cdk-lib/aws-scheduler';
import { Construct } from 'constructs';
import { keyThrough } from './key-through';

/** A schedule that starts a state machine. */
export interface MachineSchedule {
  readonly description: string;
  readonly scheduleExpression: string;
  readonly scheduleExpressionTimezone?: string;
  readonly flexibleTimeWindow: CfnSchedule.FlexibleTimeWindowProperty;
  /** What is started. */
  readonly stateMachineArn: string;
  /** What it is started with. */
  readonly input: object;
}

/**
 * Gives `scope` one role by which EventBridge Scheduler starts the state machines of its schedules, and nothing else.
 *
 * @param key encrypts what they are started with
 * @returns what adds a schedule to the scope
 */
export function machineSchedules(scope: Construct, key: IKey, stateMachineArns: string[]): (id: string, schedule: MachineSchedule) => void {
  const role = new Role(scope, 'SchedulerRole', {
    assumedBy: new ServicePrincipal('scheduler.amazonaws.com', { conditions: { StringEquals: { 'aws:SourceAccount': Stack.of(scope).account } } }),
  });
  const access = new Policy(scope, 'SchedulerAccess', {
    roles: [role],
    statements: [
      new PolicyStatement({ actions: ['states:StartExecution'], resources: stateMachineArns }),
      // Scheduler decrypts what it starts with (EventBridge Scheduler user guide, "Data encryption at rest")
      keyThrough(scope, 'scheduler', key, ['kms:Decrypt']),
    ],
  });
  return (id, { stateMachineArn, input, ...when }) => {
    const schedule = new CfnSchedule(scope, id, {
      ...when,
      kmsKeyArn: key.keyArn,
      target: {
        arn: stateMachineArn,
        roleArn: role.roleArn,
        input: JSON.stringify(input),
        retryPolicy: { maximumRetryAttempts: 3, maximumEventAgeInSeconds: 3600 },
      },
    });
    schedule.node.addDependency(access);
  };
}
