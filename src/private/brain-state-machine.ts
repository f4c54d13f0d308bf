import { Duration, Names, Stack } from 'aws-cdk-lib';
import { Alarm, ComparisonOperator, Metric, TreatMissingData } from 'aws-cdk-lib/aws-cloudwatch';
import { Policy, PolicyStatement, Role, ServicePrincipal } from 'aws-cdk-lib/aws-iam';
import { IKey } from 'aws-cdk-lib/aws-kms';
import { LogGroup } from 'aws-cdk-lib/aws-logs';
import { CfnStateMachine } from 'aws-cdk-lib/aws-stepfunctions';
import { Construct } from 'constructs';
import { BrainEnvironment } from '../environment';
import { filledSum } from './filled-sum';

export interface BrainStateMachineProps {
  readonly environment: BrainEnvironment;
  /** Encrypts log group, definition and executions; its policy admits log delivery, as that of `BrainKeys.logs` does. */
  readonly logsKey: IKey;
  /** Amazon States Language in JSONata; `QueryLanguage` and `TimeoutSeconds` are added. */
  readonly definition: { readonly StartAt: string; readonly States: object };
  /** Longest time of one execution. */
  readonly timeout: Duration;
  /** What it may do beside writing its own log and its traces. */
  readonly statements: PolicyStatement[];
  /** Whether it has a distributed map, whose children are executions of the same machine. @default false */
  readonly distributed?: boolean;
}

/** Longest name of a log group. */
const NAME_MAX = 512;
/**
 * Step Functions adds a group of another name to the account's one log delivery policy, which is full after a few dozen; groups of this name are in it
 * already (Step Functions developer guide, "Logging to CloudWatch Logs: resource policy size").
 */
const LOG_PREFIX = '/aws/vendedlogs/states/';

/** How long Step Functions uses one data key: its default. */
const DATA_KEY = Duration.minutes(5);

/** A state machine of ours: encrypted, with its own log group without data, traces, and a role that holds nothing but what is asked for. */
export class BrainStateMachine extends Construct {
  readonly stateMachineArn: string;
  readonly role: Role;
  readonly logGroup: LogGroup;

  constructor(scope: Construct, id: string, props: BrainStateMachineProps) {
    super(scope, id);
    const stack = Stack.of(this);

    this.logGroup = new LogGroup(this, 'Logs', {
      logGroupName: LOG_PREFIX + Names.uniqueResourceName(this, { maxLength: NAME_MAX - LOG_PREFIX.length, separator: '-' }),
      retention: props.environment.logRetention,
      removalPolicy: props.environment.removalPolicy,
      encryptionKey: props.logsKey,
    });
    this.role = new Role(this, 'Role', {
      assumedBy: new ServicePrincipal('states.amazonaws.com', { conditions: { StringEquals: { 'aws:SourceAccount': stack.account } } }),
    });
    const access = new Policy(this, 'Access', {
      roles: [this.role],
      statements: [
        // none of these calls takes a resource (service authorization reference, CloudWatch Logs and X-Ray)
        new PolicyStatement({
          actions: [
            'logs:CreateLogDelivery', 'logs:DeleteLogDelivery', 'logs:DescribeLogGroups', 'logs:DescribeResourcePolicies', 'logs:GetLogDelivery',
            'logs:ListLogDeliveries', 'logs:PutResourcePolicy', 'logs:UpdateLogDelivery', 'xray:PutTelemetryRecords', 'xray:PutTraceSegments',
          ],
          resources: ['*'],
        }),
        // for lines of the log on their way (Step Functions developer guide, "Data at rest encryption", CloudWatch Logs)
        new PolicyStatement({
          actions: ['kms:GenerateDataKey'],
          resources: [props.logsKey.keyArn],
          conditions: { StringEquals: { 'kms:EncryptionContext:SourceArn': `arn:${stack.partition}:logs:${stack.region}:${stack.account}:*` } },
        }),
        ...props.statements,
      ],
    });

    const machine = new CfnStateMachine(this, 'Resource', {
      roleArn: this.role.roleArn,
      definitionString: stack.toJsonString({ QueryLanguage: 'JSONata', TimeoutSeconds: props.timeout.toSeconds(), ...props.definition }),
      // no data: what passes through may be about people, and the log is kept for long
      loggingConfiguration: {
        level: 'ALL', includeExecutionData: false, destinations: [{ cloudWatchLogsLogGroup: { logGroupArn: this.logGroup.logGroupArn } }],
      },
      tracingConfiguration: { enabled: true },
      encryptionConfiguration: { type: 'CUSTOMER_MANAGED_KMS_KEY', kmsKeyId: props.logsKey.keyArn, kmsDataKeyReusePeriodSeconds: DATA_KEY.toSeconds() },
    });
    // Step Functions checks the log's destination and what its role may do when the machine is made
    machine.node.addDependency(access);
    this.stateMachineArn = machine.attrArn;

    // apart from the others: these name the machine, which waits for them
    new Policy(this, 'Own', {
      roles: [this.role],
      statements: [
        // of an execution, and of those of a distributed map; a condition by service would stop them (the same guide, "Scoping with kms:ViaService")
        new PolicyStatement({
          actions: ['kms:Decrypt', 'kms:GenerateDataKey'],
          resources: [props.logsKey.keyArn],
          conditions: { StringLike: { 'kms:EncryptionContext:aws:states:stateMachineArn': [this.stateMachineArn, `${this.stateMachineArn}/*`] } },
        }),
        ...props.distributed ? [
          new PolicyStatement({ actions: ['states:StartExecution'], resources: [this.stateMachineArn] }),
          new PolicyStatement({ actions: ['states:DescribeExecution', 'states:StopExecution'], resources: [`${this.executions()}:*`, `${this.executions()}/*:*`] }),
          // of the map's children, where the execution is redriven (the same guide, "Redriving Map Runs")
          new PolicyStatement({ actions: ['states:RedriveExecution'], resources: [`${this.executions()}/*:*`] }),
        ] : [],
      ],
    });
  }

  /** Executions of which `AWS/States` says so, e.g. `ExecutionsFailed`: how many in five minutes. */
  metric(metricName: string): Metric {
    return new Metric({
      namespace: 'AWS/States', metricName, dimensionsMap: { StateMachineArn: this.stateMachineArn }, statistic: 'Sum', period: Duration.minutes(5),
    });
  }

  /** An alarm `Failed` of `scope`, on executions that failed, were stopped, or ran out of time. */
  unsuccessfulAlarm(scope: Construct, label: string, alarmDescription: string): Alarm {
    return new Alarm(scope, 'Failed', {
      alarmDescription,
      metric: filledSum(
        label,
        { failed: this.metric('ExecutionsFailed'), aborted: this.metric('ExecutionsAborted'), late: this.metric('ExecutionsTimedOut') },
        Duration.minutes(5),
      ),
      threshold: 1,
      evaluationPeriods: 1,
      comparisonOperator: ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD,
      treatMissingData: TreatMissingData.NOT_BREACHING,
    });
  }

  /** ARN of an execution without its name. */
  private executions(): string {
    const { partition, region, account } = Stack.of(this);
    const name = (this.node.findChild('Resource') as CfnStateMachine).attrName;
    return `arn:${partition}:states:${region}:${account}:execution:${name}`;
  }
}
