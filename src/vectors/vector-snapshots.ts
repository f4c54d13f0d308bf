import { Duration, RemovalPolicy, Stack } from 'aws-cdk-lib';
import { Policy, PolicyStatement, Role, ServicePrincipal } from 'aws-cdk-lib/aws-iam';
import { IKey } from 'aws-cdk-lib/aws-kms';
import { IDomain } from 'aws-cdk-lib/aws-opensearchservice';
import { Bucket } from 'aws-cdk-lib/aws-s3';
import { Construct } from 'constructs';
import { SnapshotDeclaration } from '../contract';
import { BrainEnvironment } from '../environment';
import { keyThrough } from '../private/key-through';
import { accessLogBucket, keepAccessLog, privateBucket, UNFINISHED_UPLOADS } from '../storage/private-bucket';

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
/** A snapshot that was deleted by mistake can be brought back as long. */
const NONCURRENT = Duration.days(7);

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
    const accessLogs = accessLogBucket(this, 'AccessLogs', { environment, encryptionKey });
    this.bucket = privateBucket(this, 'Resource', {
      environment,
      encryptionKey,
      lifecycleRules: [{ noncurrentVersionExpiration: NONCURRENT, abortIncompleteMultipartUploadAfter: UNFINISHED_UPLOADS }],
    });
    keepAccessLog(this.bucket, accessLogs, 'AccessLogs');

    // the role that the developer guide calls TheSnapshotRole ("Creating index snapshots", prerequisites), for this domain alone
    this.role = new Role(this, 'Role', {
      description: 'OpenSearch Service writes and reads the snapshots of the vector store',
      assumedBy: new ServicePrincipal('es.amazonaws.com', {
        conditions: { StringEquals: { 'aws:SourceAccount': account }, ArnLike: { 'aws:SourceArn': domain.domainArn } },
      }),
    });
    const access = new Policy(this, 'Access', {
      roles: [this.role],
      statements: [
        new PolicyStatement({ actions: ['s3:ListBucket'], resources: [this.bucket.bucketArn] }),
        new PolicyStatement({ actions: ['s3:DeleteObject', 's3:GetObject', 's3:PutObject'], resources: [this.bucket.arnForObjects('*')] }),
        keyThrough(this, 's3', encryptionKey, ['kms:Decrypt', 'kms:GenerateDataKey']),
      ],
    });
    // the domain outlives the stack with its data, and goes on to take snapshots
    for (const kept of [this.role, access]) kept.applyRemovalPolicy(RemovalPolicy.RETAIN);
  }

  /** What the store is told of them. */
  declaration(): SnapshotDeclaration {
    const settings = { bucket: this.bucket.bucketName, region: Stack.of(this).region, role_arn: this.role.roleArn };
    return { repository: { type: 's3', settings }, schedule: SCHEDULE, retentionDays: RETENTION_DAYS };
  }
}
