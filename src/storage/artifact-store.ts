import { Duration, Resource } from 'aws-cdk-lib';
import { Policy, PolicyStatement } from 'aws-cdk-lib/aws-iam';
import { IKey } from 'aws-cdk-lib/aws-kms';
import { Bucket, IBucket } from 'aws-cdk-lib/aws-s3';
import { Construct, IConstruct } from 'constructs';
import { accessLogBucket, keepAccessLog, privateBucket, UNFINISHED_UPLOADS } from './private-bucket';
import { StorageTiering } from './storage-tiering';
import { Binding, Paths } from '../contract';
import { BrainEnvironment } from '../environment';
import { keyThrough } from '../private/key-through';
import { IWorkload } from '../security/workload';

/** Where the artifacts of released models are, and the last good rollout document beside them. */
export interface IArtifactStore extends IConstruct {
  /** The bucket that holds the artifacts. */
  readonly bucket: IBucket;

  /** Lets a workload read artifacts, and tells it the bucket. */
  connectReader(workload: IWorkload): void;

  /** Lets a workload read artifacts and put new ones; it can delete nothing. */
  connectWriter(workload: IWorkload): void;

  /** Lets a workload put statistics of the traffic beside the artifacts, and nothing else; it can read none of them. */
  connectStatisticsWriter(workload: IWorkload): void;
}

/** Properties of {@link ArtifactStore}. */
export interface ArtifactStoreProps {
  /** Decides the removal policy. */
  readonly environment: BrainEnvironment;

  /** Encrypts the artifacts and their access log; its policy admits `logging.s3.amazonaws.com`, as that of `BrainKeys.artifacts` does. */
  readonly encryptionKey: IKey;

  /** When artifacts move to cheaper storage; none expires. A pod that loads a model pays for reading a colder class. @default StorageTiering.byAge() */
  readonly tiering?: StorageTiering;
}

/** `models/<name>/<version>/…` and `rollout/…`: what workloads read. */
const KEYS = [`${Paths.MODELS}/*`, Paths.LAST_GOOD_ROLLOUT];
const LISTED = KEYS.map((key) => `${key.split('/')[0]}/*`);

/** A version that was overwritten stays as long as a rollback may want it. */
const NONCURRENT = Duration.days(90);
const LOG_PREFIX = 'artifacts/';

abstract class ArtifactStoreBase extends Resource implements IArtifactStore {
  abstract readonly bucket: IBucket;

  connectReader(workload: IWorkload): void {
    this.connect('Read', workload, [], ['kms:Decrypt']);
  }

  connectWriter(workload: IWorkload): void {
    this.connect('Write', workload, ['s3:PutObject', 's3:AbortMultipartUpload'], ['kms:Decrypt', 'kms:GenerateDataKey']);
  }

  connectStatisticsWriter(workload: IWorkload): void {
    new Policy(this, `WriteStatisticsBy${workload.workloadName}`, {
      roles: [workload.role],
      statements: [
        new PolicyStatement({ actions: ['s3:PutObject'], resources: [this.bucket.arnForObjects(`${Paths.STATISTICS}/*`)] }),
        ...this.keyStatements(['kms:GenerateDataKey']),
      ],
    });
    workload.addBinding(Binding.ARTIFACT_BUCKET, this.bucket.bucketName);
  }

  private connect(kind: string, workload: IWorkload, more: string[], keyActions: string[]): void {
    const { bucket } = this;
    const objects = KEYS.map((key) => bucket.arnForObjects(key));
    new Policy(this, `${kind}By${workload.workloadName}`, {
      roles: [workload.role],
      statements: [
        new PolicyStatement({ actions: ['s3:GetObject', ...more], resources: objects }),
        // with it S3 says of an absent object that it is absent, not that it is forbidden: that question carries no prefix, hence `IfExists`
        new PolicyStatement({
          actions: ['s3:ListBucket'], resources: [bucket.bucketArn], conditions: { StringLikeIfExists: { 's3:prefix': LISTED } },
        }),
        ...this.keyStatements(keyActions),
      ],
    });
    workload.addBinding(Binding.ARTIFACT_BUCKET, bucket.bucketName);
  }

  private keyStatements(actions: string[]): PolicyStatement[] {
    const { encryptionKey } = this.bucket;
    return encryptionKey ? [keyThrough(this, 's3', encryptionKey, actions)] : [];
  }
}

/** A versioned, encrypted bucket for the artifacts of released models, with its access log. */
export class ArtifactStore extends ArtifactStoreBase {
  /** An artifact store in your own bucket. It must be versioned; its key, if it has one, must admit the account's IAM. */
  static fromBucket(scope: Construct, id: string, bucket: IBucket): IArtifactStore {
    class Imported extends ArtifactStoreBase {
      readonly bucket = bucket;
    }
    return new Imported(scope, id);
  }

  readonly bucket: IBucket;

  /** Who asked for what, for a year. S3 delivers into a bucket with a customer key when the key's policy admits it (aws-cdk pull request 25350 shows it). */
  readonly accessLogs: Bucket;

  constructor(scope: Construct, id: string, props: ArtifactStoreProps) {
    super(scope, id);
    const { environment, encryptionKey, tiering = StorageTiering.byAge() } = props;
    this.accessLogs = accessLogBucket(this, 'AccessLogs', { environment, encryptionKey });
    this.bucket = privateBucket(this, 'Resource', {
      environment,
      encryptionKey,
      lifecycleRules: [{ ...tiering._rule(), noncurrentVersionExpiration: NONCURRENT, abortIncompleteMultipartUploadAfter: UNFINISHED_UPLOADS }],
    });
    this._keepAccessLogOf(this.bucket, LOG_PREFIX);
  }

  /** @internal */
  _keepAccessLogOf(bucket: IBucket, prefix: string): void {
    keepAccessLog(bucket, this.accessLogs, bucket === this.bucket ? 'AccessLogs' : `AccessLogs${prefix.replace(/\W/g, '')}`, prefix);
  }
}
