import { Duration, Resource, Stack } from 'aws-cdk-lib';
import { Policy, PolicyStatement, Role, ServicePrincipal } from 'aws-cdk-lib/aws-iam';
import { CfnDeliveryStream } from 'aws-cdk-lib/aws-kinesisfirehose';
import { IKey } from 'aws-cdk-lib/aws-kms';
import { LogGroup, LogStream } from 'aws-cdk-lib/aws-logs';
import { Bucket } from 'aws-cdk-lib/aws-s3';
import { Construct, IConstruct } from 'constructs';
import { Binding, Paths } from '../contract';
import { BrainEnvironment } from '../environment';
import { requireDays } from '../private/declarations';
import { keyThrough } from '../private/key-through';
import { IWorkload } from '../security/workload';
import { ArtifactStore, RetentionOptions, StorageTiering } from '../storage';
import { privateBucket, UNFINISHED_UPLOADS } from '../storage/private-bucket';

/** Where captured payloads go. */
export interface IPayloadCapture extends IConstruct {
  /** Lets a workload put records into the stream, and tells it the stream's name. It can read nothing back. */
  connectWriter(workload: IWorkload): void;
}

/** Properties of {@link PayloadCapture}. */
export interface PayloadCaptureProps {
  /** Decides retention of logs and removal policies. */
  readonly environment: BrainEnvironment;
  /** Encrypts what is captured, in the stream and in the bucket. */
  readonly encryptionKey: IKey;
  /** Encrypts the log group of the delivery's errors. */
  readonly logsKey: IKey;
  /** Keeps the bucket's access log, beside its own. */
  readonly artifacts: ArtifactStore;
  /** How long the captured stays, and where. @default - 90 days */
  readonly retention?: RetentionOptions;
}

/** Long enough for a training set over a quarter; the captured is redacted, and still data about somebody. */
const RETENTION = Duration.days(90);

/** An object holds what came in five minutes, or 64 MB before that: few enough objects, and fresh enough for drift of a day. */
const BUFFER = { intervalInSeconds: 300, sizeInMBs: 64 };

/**
 * Captured payloads: Firehose → gzipped JSON lines in a bucket of their own, whose objects expire, after 90 days by default.
 *
 * JSON lines and not parquet, because each model has inputs and outputs of its own: one table for all of them would hold texts, and a record that
 * does not fit it would go to the errors (docs/adr/0010).
 */
export class PayloadCapture extends Resource implements IPayloadCapture {
  /** Where the payloads are, under `capture/`; what could not be delivered is under `capture-errors/`. */
  readonly bucket: Bucket;

  /** The stream that takes them. */
  readonly stream: CfnDeliveryStream;

  /** Why something could not be delivered. */
  readonly errors: LogGroup;

  constructor(scope: Construct, id: string, props: PayloadCaptureProps) {
    super(scope, id);
    const { environment, encryptionKey, logsKey, artifacts } = props;

    const { expiration = RETENTION, tiering = StorageTiering.byAge() } = props.retention ?? {};
    requireDays(this, 'CaptureExpiration', 'expiration of captured payloads', expiration, 1);
    this.bucket = privateBucket(this, 'Bucket', {
      environment,
      encryptionKey,
      lifecycleRules: [{
        ...tiering._rule(expiration), noncurrentVersionExpiration: UNFINISHED_UPLOADS, abortIncompleteMultipartUploadAfter: UNFINISHED_UPLOADS,
      }],
    });
    artifacts._keepAccessLogOf(this.bucket, `${Paths.CAPTURE}/`);

    this.errors = new LogGroup(this, 'Errors', { encryptionKey: logsKey, retention: environment.logRetention, removalPolicy: environment.removalPolicy });
    const errorStream = new LogStream(this, 'ErrorStream', { logGroup: this.errors, removalPolicy: environment.removalPolicy });

    const { account } = Stack.of(this);
    const role = new Role(this, 'Role', {
      description: 'Firehose delivers captured payloads of the brain',
      assumedBy: new ServicePrincipal('firehose.amazonaws.com', { conditions: { StringEquals: { 'aws:SourceAccount': account } } }),
    });
    const access = new Policy(this, 'Access', { roles: [role], statements: this.deliveryStatements(encryptionKey) });

    this.stream = new CfnDeliveryStream(this, 'Resource', {
      deliveryStreamType: 'DirectPut',
      deliveryStreamEncryptionConfigurationInput: { keyType: 'CUSTOMER_MANAGED_CMK', keyArn: encryptionKey.keyArn },
      extendedS3DestinationConfiguration: {
        bucketArn: this.bucket.bucketArn,
        roleArn: role.roleArn,
        prefix: `${Paths.CAPTURE}/!{timestamp:yyyy/MM/dd/HH}/`,
        errorOutputPrefix: `${Paths.CAPTURE}-errors/!{firehose:error-output-type}/!{timestamp:yyyy/MM/dd}/`,
        fileExtension: '.jsonl.gz',
        compressionFormat: 'GZIP',
        bufferingHints: BUFFER,
        encryptionConfiguration: { kmsEncryptionConfig: { awskmsKeyArn: encryptionKey.keyArn } },
        cloudWatchLoggingOptions: { enabled: true, logGroupName: this.errors.logGroupName, logStreamName: errorStream.logStreamName },
      },
    });
    // Firehose checks what its role may do when the stream is made.
    this.stream.node.addDependency(access);
  }

  connectWriter(workload: IWorkload): void {
    new Policy(this, `WriteBy${workload.workloadName}`, {
      roles: [workload.role],
      statements: [new PolicyStatement({ actions: ['firehose:PutRecordBatch'], resources: [this.stream.attrArn] })],
    });
    workload.addBinding(Binding.CAPTURE_STREAM, this.stream.ref);
  }

  private deliveryStatements(key: IKey): PolicyStatement[] {
    const objects = [`${Paths.CAPTURE}/*`, `${Paths.CAPTURE}-errors/*`].map((pattern) => this.bucket.arnForObjects(pattern));
    return [
      new PolicyStatement({ actions: ['s3:AbortMultipartUpload', 's3:GetObject', 's3:PutObject'], resources: objects }),
      new PolicyStatement({ actions: ['s3:GetBucketLocation', 's3:ListBucket', 's3:ListBucketMultipartUploads'], resources: [this.bucket.bucketArn] }),
      keyThrough(this, 's3', key, ['kms:Decrypt', 'kms:GenerateDataKey']),
      new PolicyStatement({ actions: ['logs:PutLogEvents'], resources: [this.errors.logGroupArn] }),
    ];
  }
}
