import { Duration, RemovalPolicy, Stack } from 'aws-cdk-lib';
import { AccountRootPrincipal, AnyPrincipal, PolicyDocument, PolicyStatement, ServicePrincipal } from 'aws-cdk-lib/aws-iam';
import { Key } from 'aws-cdk-lib/aws-kms';
import { Construct } from 'constructs';
import { BrainEnvironment } from '../environment';

/** Properties of {@link BrainKeys}. */
export interface BrainKeysProps {
  /** Stands in the descriptions of the keys. What is encrypted is gone with its key, so that the keys themselves are retained in every environment. */
  readonly environment: BrainEnvironment;
}

/** What a service needs to encrypt and decrypt on somebody's behalf (KMS developer guide, "Key policy examples"). */
const USE = ['kms:Decrypt', 'kms:DescribeKey', 'kms:Encrypt', 'kms:GenerateDataKey*', 'kms:ReEncrypt*'];

/**
 * The keys of a brain, so that a mistake with one of them does not reach what the others protect. All of them rotate yearly, outlive their
 * stack, and wait the longest time that KMS offers, 30 days, when somebody schedules their deletion.
 *
 * Each key's policy lets IAM policies of the account decide, and admits the services that call with an identity of their own.
 */
export class BrainKeys extends Construct {
  /** Online features, and the document that releases models. */
  readonly data: Key;

  /** Artifacts of models, and the access logs of every bucket. */
  readonly artifacts: Key;

  /** The offline tables, the stream that feeds them, and what backfills compute of them. */
  readonly offline: Key;

  /** Rows of features that were refused: who repairs them needs no key to anything else. */
  readonly quarantine: Key;

  /** Training sets. */
  readonly training: Key;

  /** Captured payloads. */
  readonly telemetry: Key;

  /** The vector store, its snapshots, and their access log. */
  readonly vectors: Key;

  /** Kubernetes secrets, and the volumes of the GPU nodes. Auto Mode's own nodes use the account's key for EBS. */
  readonly cluster: Key;

  /** Log groups, the variables of functions, and what state machines do. */
  readonly logs: Key;

  /** Notifications of alarms and events, and nothing else. */
  readonly alerts: Key;

  constructor(scope: Construct, id: string, props: BrainKeysProps) {
    super(scope, id);
    const of = (what: string) => `${what} of the ${props.environment.name} brain ${this.node.path}`;
    this.data = this.addKey('Data', of('online features and releases'));
    this.artifacts = this.addKey('Artifacts', of('artifacts and access logs'), this.accessLogDelivery());
    this.offline = this.addKey('Offline', of('offline features'));
    this.quarantine = this.addKey('Quarantine', of('refused features'));
    this.training = this.addKey('Training', of('training sets'));
    this.telemetry = this.addKey('Telemetry', of('captured payloads'));
    this.vectors = this.addKey('Vectors', of('vector store'), this.accessLogDelivery());
    this.cluster = this.addKey('Cluster', of('Kubernetes secrets and node volumes'), ...this.nodeVolumes());
    this.logs = this.addKey('Logs', of('logs'), this.logGroups(), this.logDelivery());
    this.alerts = this.addKey('Alerts', of('notifications'), this.alarms(), this.events());
  }

  /**
   * Every one of them, for whoever watches keys.
   *
   * @internal
   */
  _all(): Key[] {
    return [
      this.data, this.artifacts, this.offline, this.quarantine, this.training, this.telemetry, this.vectors, this.cluster, this.logs, this.alerts,
    ];
  }

  private addKey(id: string, description: string, ...statements: PolicyStatement[]): Key {
    return new Key(this, id, {
      description,
      enableKeyRotation: true,
      rotationPeriod: Duration.days(365),
      pendingWindow: Duration.days(30),
      removalPolicy: RemovalPolicy.RETAIN,
      policy: new PolicyDocument({
        minimize: false,
        statements: [
          new PolicyStatement({ sid: 'AccountDecides', principals: [new AccountRootPrincipal()], actions: ['kms:*'], resources: ['*'] }),
          ...statements,
        ],
      }),
    });
  }

  /** S3 writes the access logs of one bucket into another with an identity of its own. */
  private accessLogDelivery(): PolicyStatement {
    return new PolicyStatement({
      sid: 'AccessLogDelivery',
      principals: [new ServicePrincipal('logging.s3.amazonaws.com')],
      actions: ['kms:Decrypt', 'kms:Encrypt', 'kms:GenerateDataKey*'],
      resources: ['*'],
      conditions: { StringEquals: { 'aws:SourceAccount': Stack.of(this).account } },
    });
  }

  /**
   * EC2 Auto Scaling starts the nodes of managed groups with a role whose own policy nobody can extend, so that the key's must admit it.
   *
   * That role does not exist in a fresh account, and KMS refuses a policy that names a principal which does not exist: hence anybody, narrowed to
   * the account and to the role's ARN. (The account as principal would not do: it only lets IAM policies decide.)
   */
  private nodeVolumes(): PolicyStatement[] {
    const { account, partition } = Stack.of(this);
    const onlyAutoScaling = {
      'kms:CallerAccount': account,
      'aws:PrincipalArn': `arn:${partition}:iam::${account}:role/aws-service-role/autoscaling.amazonaws.com/AWSServiceRoleForAutoScaling`,
    };
    return [
      new PolicyStatement({
        sid: 'AutoScalingUsesVolumes',
        principals: [new AnyPrincipal()],
        actions: USE,
        resources: ['*'],
        conditions: { StringEquals: onlyAutoScaling },
      }),
      new PolicyStatement({
        sid: 'AutoScalingAttachesVolumes',
        principals: [new AnyPrincipal()],
        actions: ['kms:CreateGrant'],
        resources: ['*'],
        conditions: { StringEquals: onlyAutoScaling, Bool: { 'kms:GrantIsForAWSResource': 'true' } },
      }),
    ];
  }

  /** Log groups by the form of their ARN: a group's own token in the policy of its key would be a circle. */
  private logGroups(): PolicyStatement {
    const { account, partition, region } = Stack.of(this);
    return new PolicyStatement({
      sid: 'LogGroups',
      principals: [new ServicePrincipal(`logs.${region}.amazonaws.com`)],
      actions: USE,
      resources: ['*'],
      conditions: { ArnLike: { 'kms:EncryptionContext:aws:logs:arn': `arn:${partition}:logs:${region}:${account}:log-group:*` } },
    });
  }

  /** State machines encrypt the lines of their logs, and the delivery decrypts them (Step Functions developer guide, "Data at rest encryption"). */
  private logDelivery(): PolicyStatement {
    const { account, partition, region } = Stack.of(this);
    return new PolicyStatement({
      sid: 'LogDelivery',
      principals: [new ServicePrincipal('delivery.logs.amazonaws.com')],
      actions: ['kms:Decrypt'],
      resources: ['*'],
      conditions: { StringEquals: { 'kms:EncryptionContext:SourceArn': `arn:${partition}:logs:${region}:${account}:*` } },
    });
  }

  /**
   * Rules publish to encrypted topics without a source that a condition could name (SNS developer guide, "Enable compatibility between event
   * sources from AWS services and encrypted topics").
   */
  private events(): PolicyStatement {
    return new PolicyStatement({
      sid: 'Events', principals: [new ServicePrincipal('events.amazonaws.com')], actions: ['kms:Decrypt', 'kms:GenerateDataKey*'], resources: ['*'],
    });
  }

  /** Alarms publish to encrypted topics with the identity of CloudWatch. */
  private alarms(): PolicyStatement {
    return new PolicyStatement({
      sid: 'Alarms',
      principals: [new ServicePrincipal('cloudwatch.amazonaws.com')],
      actions: ['kms:Decrypt', 'kms:GenerateDataKey*'],
      resources: ['*'],
      conditions: { StringEquals: { 'aws:SourceAccount': Stack.of(this).account } },
    });
  }
}
