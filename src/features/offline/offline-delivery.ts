import { Duration, Stack } from 'aws-cdk-lib';
import { Alarm } from 'aws-cdk-lib/aws-cloudwatch';
import { Policy, PolicyStatement, Role, ServicePrincipal } from 'aws-cdk-lib/aws-iam';
import { IStream } from 'aws-cdk-lib/aws-kinesis';
import { CfnDeliveryStream } from 'aws-cdk-lib/aws-kinesisfirehose';
import { CfnAlias, CfnVersion } from 'aws-cdk-lib/aws-lambda';
import { LogGroup, LogStream } from 'aws-cdk-lib/aws-logs';
import { Construct, IDependable } from 'constructs';
import { deliveryAlarms, transformAlarm } from './delivery-alarms';
import { bucketStatements, catalogStatement, OfflinePlaceProps, tableId } from './offline-place';
import { OfflineTables } from './offline-tables';
import { FEATURE_GROUPS_FILE, offlineGroup, OfflinePrefix, offlineTableName } from '../../contract';
import { BrainFunction } from '../../private/brain-function';
import { keyThrough } from '../../private/key-through';
import { FeatureGroup } from '../feature-group';

export interface OfflineDeliveryProps extends OfflinePlaceProps {
  readonly stream: IStream;
  readonly tables: OfflineTables;
  /** How long rows wait for others. */
  readonly seconds: number;
}

/** Firehose gives a transformation a minute (Firehose developer guide, "Data transformation"). */
const TRANSFORM_TIMEOUT = Duration.minutes(1);

/** Of a transformation's input: small enough that its output, with all of the columns' names, fits into one answer. */
const TRANSFORM_BUFFER = { sizeInMBs: '1', intervalInSeconds: '60' };

/** How long Firehose tries to write to a table before rows go to the error prefix. */
const RETRY = Duration.minutes(15);

/** From the stream of changes into the tables: one Firehose stream for each group and version. */
export class OfflineDelivery extends Construct {
  /** A delivery lost rows, lags or stands still; the function that makes rows fails. */
  readonly alarms: Alarm[];

  private readonly role: Role;
  private readonly transform: BrainFunction;
  private readonly version: CfnVersion;
  private readonly errors: LogGroup;
  private readonly access: IDependable[];

  constructor(scope: Construct, id: string, private readonly props: OfflineDeliveryProps) {
    super(scope, id);
    const { environment, logsKey, groups, lake } = props;

    this.transform = new BrainFunction(this, 'Transform', {
      environment,
      logsKey,
      handler: 'feature-delivery',
      description: 'Turns changes of online features into rows of the offline tables',
      timeout: TRANSFORM_TIMEOUT,
      memorySize: 512,
      files: { [FEATURE_GROUPS_FILE]: JSON.stringify(groups.map((group) => offlineGroup(group._toSchema()))) },
    });
    this.version = this.transform.publishVersion();
    this.errors = new LogGroup(this, 'Errors', { encryptionKey: logsKey, retention: environment.logRetention, removalPolicy: environment.removalPolicy });

    const { account } = Stack.of(this);
    this.role = new Role(this, 'Role', {
      description: 'Firehose delivers features to the offline tables of a brain',
      assumedBy: new ServicePrincipal('firehose.amazonaws.com', { conditions: { StringEquals: { 'aws:SourceAccount': account } } }),
    });
    const policy = new Policy(this, 'Access', { roles: [this.role], statements: this.statements() });
    const granted = lake?.grantChange('Delivery', this.role);
    this.access = [policy, ...granted ? [granted] : []];

    this.alarms = [transformAlarm(this, this.transform.functionName), ...groups.flatMap((group) => this.deliver(group))];
  }

  private deliver(group: FeatureGroup): Alarm[] {
    const { bucket, databaseName, encryptionKey, stream, tables, seconds } = this.props;
    const { account, partition, region } = Stack.of(this);
    const id = tableId(group);
    const table = offlineTableName(group);
    const errorStream = new LogStream(this, `${id}Errors`, { logGroup: this.errors, removalPolicy: this.props.environment.removalPolicy });
    const alias = new CfnAlias(this, `${id}Alias`, {
      functionName: this.transform.functionName, functionVersion: this.version.attrVersion, name: table, description: `Rows of ${table}`,
    });
    // A row with a column that its table does not have yet is lost to the error prefix. A version that another one replaces keeps its alias, with the
    // code that knows it, until its delivery is gone.
    alias.node.addDependency(tables.of(group));
    const logging = { enabled: true, logGroupName: this.errors.logGroupName, logStreamName: errorStream.logStreamName };

    const delivery = new CfnDeliveryStream(this, id, {
      deliveryStreamType: 'KinesisStreamAsSource',
      // encrypted as its source is: a key of its own is for direct puts only
      kinesisStreamSourceConfiguration: { kinesisStreamArn: stream.streamArn, roleArn: this.role.roleArn },
      icebergDestinationConfiguration: {
        appendOnly: true,
        catalogConfiguration: { catalogArn: `arn:${partition}:glue:${region}:${account}:catalog` },
        destinationTableConfigurationList: [{ destinationDatabaseName: databaseName, destinationTableName: table }],
        roleArn: this.role.roleArn,
        bufferingHints: { intervalInSeconds: seconds, sizeInMBs: 64 },
        retryOptions: { durationInSeconds: RETRY.toSeconds() },
        processingConfiguration: {
          enabled: true,
          processors: [{
            type: 'Lambda',
            parameters: [
              { parameterName: 'LambdaArn', parameterValue: alias.ref },
              { parameterName: 'RoleArn', parameterValue: this.role.roleArn },
              { parameterName: 'NumberOfRetries', parameterValue: '10' },
              { parameterName: 'BufferSizeInMBs', parameterValue: TRANSFORM_BUFFER.sizeInMBs },
              { parameterName: 'BufferIntervalInSeconds', parameterValue: TRANSFORM_BUFFER.intervalInSeconds },
            ],
          }],
        },
        s3BackupMode: 'FailedDataOnly',
        s3Configuration: {
          bucketArn: bucket.bucketArn,
          roleArn: this.role.roleArn,
          errorOutputPrefix: `${OfflinePrefix.ERRORS}/${table}/!{firehose:error-output-type}/!{timestamp:yyyy/MM/dd}/`,
          compressionFormat: 'GZIP',
          encryptionConfiguration: { kmsEncryptionConfig: { awskmsKeyArn: encryptionKey.keyArn } },
          cloudWatchLoggingOptions: logging,
        },
        cloudWatchLoggingOptions: logging,
      },
    });
    // Firehose looks at its table, and at what its role may do, when the stream is made.
    delivery.node.addDependency(tables.of(group), ...this.access);
    return deliveryAlarms(this, {
      id,
      table,
      group: group.name,
      deliveryStreamName: delivery.ref,
      streamName: stream.streamName,
      functionName: this.transform.functionName,
      seconds,
      retry: RETRY,
    });
  }

  private statements(): PolicyStatement[] {
    const { databaseName, encryptionKey, stream, groups } = this.props;
    const aliases = groups.map((group) => `${this.transform.functionArn}:${offlineTableName(group)}`);
    return [
      new PolicyStatement({ actions: ['kinesis:DescribeStream', 'kinesis:GetRecords', 'kinesis:GetShardIterator', 'kinesis:ListShards'], resources: [stream.streamArn] }),
      keyThrough(this, 'kinesis', encryptionKey, ['kms:Decrypt']),
      new PolicyStatement({ actions: ['lambda:GetFunctionConfiguration', 'lambda:InvokeFunction'], resources: aliases }),
      catalogStatement(this, databaseName, ['glue:GetDatabase', 'glue:GetTable', 'glue:UpdateTable']),
      ...bucketStatements(this, this.props, ['s3:AbortMultipartUpload', 's3:GetObject', 's3:PutObject'], OfflinePrefix.ERRORS),
      new PolicyStatement({ actions: ['logs:PutLogEvents'], resources: [this.errors.logGroupArn] }),
    ];
  }
}

