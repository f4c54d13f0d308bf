import { Duration, RemovalPolicy, Resource } from 'aws-cdk-lib';
import { AnyPrincipal, Effect, Policy, PolicyStatement } from 'aws-cdk-lib/aws-iam';
import { IKey } from 'aws-cdk-lib/aws-kms';
import { Bucket } from 'aws-cdk-lib/aws-s3';
import { Construct, IConstruct } from 'constructs';
import { ArtifactStore } from './artifact-store';
import { privateBucket, UNFINISHED_UPLOADS } from './private-bucket';
import { StorageTiering } from './storage-tiering';
import { Binding, Paths } from '../contract';
import { BrainEnvironment } from '../environment';
import { requireDays } from '../private/declarations';
import { keyThrough } from '../private/key-through';
import { IWorkload } from '../security/workload';

/** How long objects stay, and where. */
export interface RetentionOptions {
  /** When objects move to cheaper storage. @default StorageTiering.byAge() */
  readonly tiering?: StorageTiering;
  /** When objects expire: whole days. @default - as the store says */
  readonly expiration?: Duration;
}

/** What training sets are computed from. */
export interface ITrainingSetSource extends IConstruct {
  /** Lets a workload query it, and keep tables of its own over a set's files for as long as it makes or verifies the set. */
  connectTrainingSetMaker(workload: IWorkload): void;
}

/** Properties of {@link TrainingSetStore}. */
export interface TrainingSetStoreProps {
  /** Decides the removal policy: where data outlives the stack, nobody may delete a training set. */
  readonly environment: BrainEnvironment;
  /** Encrypts the training sets. */
  readonly encryptionKey: IKey;
  /** Keeps the bucket's access log, beside its own. */
  readonly artifacts: ArtifactStore;
  /** What the sets are computed from: who may write them may do that too. @default - writers compute them elsewhere */
  readonly source?: ITrainingSetSource;
  /** @default - training sets never expire: a model is explained by what it was trained on */
  readonly retention?: RetentionOptions;
}

/**
 * Training sets: each is written once, and stays as it was, because the snapshots that it was made from expire.
 *
 * A training set is there when its manifest is, and S3 takes a manifest only where there is none (`If-None-Match`), whoever asks. The
 * files before it come from Athena, which writes into an empty folder alone; a file that somebody overwrote is still there as the version that
 * the manifest digests. Nobody deletes, but the lifecycle.
 */
export class TrainingSetStore extends Resource {
  /** Holds them, under `training-sets/`. */
  readonly bucket: Bucket;

  private readonly encryptionKey: IKey;
  private readonly source?: ITrainingSetSource;

  constructor(scope: Construct, id: string, props: TrainingSetStoreProps) {
    super(scope, id);
    const { environment, encryptionKey, artifacts, retention = {} } = props;
    this.encryptionKey = encryptionKey;
    this.source = props.source;
    if (retention.expiration) requireDays(this, 'TrainingSetExpiration', 'expiration of training sets', retention.expiration, 1);
    const tiering = retention.tiering ?? StorageTiering.byAge();

    this.bucket = privateBucket(this, 'Resource', {
      environment,
      encryptionKey,
      lifecycleRules: [{ ...tiering._rule(retention.expiration), abortIncompleteMultipartUploadAfter: UNFINISHED_UPLOADS }],
    });
    artifacts._keepAccessLogOf(this.bucket, 'training/');

    this.bucket.addToResourcePolicy(new PolicyStatement({
      sid: 'ManifestsAreWrittenOnce',
      effect: Effect.DENY,
      principals: [new AnyPrincipal()],
      actions: ['s3:PutObject'],
      resources: [this.bucket.arnForObjects(`${Paths.TRAINING_SETS}/*/${Paths.TRAINING_SET_MANIFEST_FILE}`)],
      conditions: { Null: { 's3:if-none-match': 'true' } },
    }));
    if (environment.removalPolicy === RemovalPolicy.DESTROY) return;
    this.bucket.addToResourcePolicy(new PolicyStatement({
      sid: 'NobodyDeletes',
      effect: Effect.DENY,
      principals: [new AnyPrincipal()],
      actions: ['s3:DeleteObject', 's3:DeleteObjectVersion'],
      resources: [this.bucket.arnForObjects(`${Paths.TRAINING_SETS}/*`)],
    }));
  }

  /** Lets a workload read training sets, and tells it the bucket. */
  connectReader(workload: IWorkload): void {
    this.connect('Read', workload, ['s3:GetObject'], ['kms:Decrypt']);
  }

  /**
   * Lets a workload make training sets, verify and read them, and tells it the bucket, and database and workgroup of what they are computed from.
   * It deletes nothing: what an attempt leaves that failed stays, without a manifest.
   */
  connectWriter(workload: IWorkload): void {
    this.connect('Write', workload, ['s3:AbortMultipartUpload', 's3:GetObject', 's3:ListMultipartUploadParts', 's3:PutObject'], ['kms:Decrypt', 'kms:GenerateDataKey']);
    this.source?.connectTrainingSetMaker(workload);
  }

  private connect(verb: string, workload: IWorkload, actions: string[], keyActions: string[]): void {
    new Policy(this, `${verb}By${workload.workloadName}`, {
      roles: [workload.role],
      statements: [
        new PolicyStatement({ actions, resources: [this.bucket.arnForObjects(`${Paths.TRAINING_SETS}/*`)] }),
        new PolicyStatement({ actions: ['s3:GetBucketLocation', 's3:ListBucket'], resources: [this.bucket.bucketArn] }),
        keyThrough(this, 's3', this.encryptionKey, keyActions),
      ],
    });
    workload.addBinding(Binding.TRAINING_SET_BUCKET, this.bucket.bucketName);
  }
}
