import { Duration, Stack } from 'aws-cdk-lib';
import { Policy, PolicyStatement, Role, ServicePrincipal } from 'aws-cdk-lib/aws-iam';
import { IKey } from 'aws-cdk-lib/aws-kms';
import { IDomain } from 'aws-cdk-lib/aws-opensearchservice';
import { BlockPublicAccess, Bucket, BucketEncryption, CfnBucket, ObjectOwnership } from 'aws-cdk-lib/aws-s3';
import { Construct } from 'constructs';
import { SnapshotDeclaration } from '../contract';
import { BrainEnvironment } from '../environment';
import { keyThrough } from '../private/key-through';

export interface VectorSnapshotsProps {
  readonly environment: BrainEnvironment;
  /** Encrypts snapshots and their access log; its policy admits `logging.s3.amazonaws.com`. */
  readonly encryptionKey: IKey;
  /** Whose snapshots they are. */
  readonly domain: IDomain;
}

/** Every six hours: what a loss of the domain, and of the service's own hourly snapshots with it, loses at most. */
const SCHEDULE = '30 */6 * * *';
const RETENTION_DAYS = 14;
const ACCESS_LOGS = Duration.days(365);
/** A snapshot that was deleted by mistake can be brought back as long. */
const NONCURRENT = Duration.days(7);
const UNFINISHED_UPLOADS = Duration.days(7);

/**
 * A bucket of our own for snapshots, and the role by which the service writes them: the service's own snapshots go with the domain.
 *
 * No rule of the bucket expires what a snapshot consists of: its files are shared by later ones, and the store's policy deletes them.
 */
export class VectorSnapshots extends Construct {
  readonly bucket: Bucket;
  readonly role: Role;

  constructor(scope: Construct, id: string, { environment, encryptionKey, domain }: VectorSnapshotsProps) {
    super(scope, id);
    const { account } = Stack.of(this);
    const shared = {
      blockPublicAccess: BlockPublicAccess.BLOCK_ALL,
      enforceSSL: true,
      minimumTLSVersion: 1.2,
      objectOwnership: ObjectOwnership.BUCKET_OWNER_ENFORCED,
      versioned: true,
      encryption: BucketEncryption.KMS,
      encryptionKey,
      bucketKeyEnabled: true,
      removalPolicy: environment.removalPolicy,
    };
    const accessLogs = new Bucket(this, 'AccessLogs', {
      ...shared,
      lifecycleRules: [{ expiration: ACCESS_LOGS, noncurrentVersionExpiration: NONCURRENT, abortIncompleteMultipartUploadAfter: UNFINISHED_UPLOADS }],
    });
    this.bucket = new Bucket(this, 'Resource', {
      ...shared, lifecycleRules: [{ noncurrentVersionExpiration: NONCURRENT, abortIncompleteMultipartUploadAfter: UNFINISHED_UPLOADS }],
    });
    // by hand, because how CDK admits S3's log delivery hangs on a feature flag of the app
    accessLogs.addToResourcePolicy(new PolicyStatement({
      sid: 'AccessLogs',
      principals: [new ServicePrincipal('logging.s3.amazonaws.com')],
      actions: ['s3:PutObject'],
      resources: [accessLogs.arnForObjects('*')],
      conditions: { ArnLike: { 'aws:SourceArn': this.bucket.bucketArn }, StringEquals: { 'aws:SourceAccount': account } },
    }));
    (this.bucket.node.defaultChild as CfnBucket).loggingConfiguration = { destinationBucketName: accessLogs.bucketName };

    // the role that the developer guide calls TheSnapshotRole ("Creating index snapshots", prerequisites), for this domain alone
    this.role = new Role(this, 'Role', {
      description: 'OpenSearch Service writes and reads the snapshots of the vector store',
      assumedBy: new ServicePrincipal('es.amazonaws.com', {
        conditions: { StringEquals: { 'aws:SourceAccount': account }, ArnLike: { 'aws:SourceArn': domain.domainArn } },
      }),
    });
    new Policy(this, 'Access', {
      roles: [this.role],
      statements: [
        new PolicyStatement({ actions: ['s3:ListBucket'], resources: [this.bucket.bucketArn] }),
        new PolicyStatement({ actions: ['s3:DeleteObject', 's3:GetObject', 's3:PutObject'], resources: [this.bucket.arnForObjects('*')] }),
        keyThrough(this, 's3', encryptionKey, ['kms:Decrypt', 'kms:GenerateDataKey']),
      ],
    });
  }

  /** What the store is told of them. */
  declaration(): SnapshotDeclaration {
    const settings = { bucket: this.bucket.bucketName, region: Stack.of(this).region, role_arn: this.role.roleArn };
    return { repository: { type: 's3', settings }, schedule: SCHEDULE, retentionDays: RETENTION_DAYS };
  }
}
