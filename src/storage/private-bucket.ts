import { Duration, Stack } from 'aws-cdk-lib';
import { PolicyStatement, ServicePrincipal } from 'aws-cdk-lib/aws-iam';
import { IKey } from 'aws-cdk-lib/aws-kms';
import { BlockPublicAccess, Bucket, BucketEncryption, CfnBucket, IBucket, LifecycleRule, ObjectOwnership } from 'aws-cdk-lib/aws-s3';
import { Construct } from 'constructs';
import { BrainEnvironment } from '../environment';

export interface PrivateBucketProps {
  readonly environment: BrainEnvironment;
  readonly encryptionKey: IKey;
  readonly lifecycleRules: LifecycleRule[];
  /** Objects can be locked: only from the first day on. @default false */
  readonly objectLock?: boolean;
}

/** Parts of an upload that nobody finished. */
export const UNFINISHED_UPLOADS = Duration.days(7);
const ACCESS_LOGS = Duration.days(365);

/** A bucket as all of ours are: versioned, encrypted with a key of ours, over TLS 1.2 only, without ACLs, and nobody's from outside. */
export function privateBucket(scope: Construct, id: string, props: PrivateBucketProps): Bucket {
  return new Bucket(scope, id, {
    blockPublicAccess: BlockPublicAccess.BLOCK_ALL,
    enforceSSL: true,
    minimumTLSVersion: 1.2,
    objectOwnership: ObjectOwnership.BUCKET_OWNER_ENFORCED,
    versioned: true,
    encryption: BucketEncryption.KMS,
    encryptionKey: props.encryptionKey,
    bucketKeyEnabled: true,
    removalPolicy: props.environment.removalPolicy,
    lifecycleRules: props.lifecycleRules,
    ...props.objectLock ? { objectLockEnabled: true } : {},
  });
}

/** A bucket for access logs, which it keeps for a year. */
export function accessLogBucket(scope: Construct, id: string, props: Omit<PrivateBucketProps, 'lifecycleRules'>): Bucket {
  return privateBucket(scope, id, {
    ...props,
    lifecycleRules: [{
      expiration: ACCESS_LOGS, noncurrentVersionExpiration: UNFINISHED_UPLOADS, abortIncompleteMultipartUploadAfter: UNFINISHED_UPLOADS,
    }],
  });
}

/**
 * Has S3 write down in `logs`, below `prefix`, who asks `bucket` for what. By hand, because how CDK admits S3's log delivery hangs on a feature flag
 * of the app; by policy, because the bucket has no ACLs.
 */
export function keepAccessLog(bucket: IBucket, logs: Bucket, sid: string, prefix = ''): void {
  logs.addToResourcePolicy(new PolicyStatement({
    sid,
    principals: [new ServicePrincipal('logging.s3.amazonaws.com')],
    actions: ['s3:PutObject'],
    resources: [logs.arnForObjects(`${prefix}*`)],
    conditions: { ArnLike: { 'aws:SourceArn': bucket.bucketArn }, StringEquals: { 'aws:SourceAccount': Stack.of(logs).account } },
  }));
  const resource = bucket.node.defaultChild as CfnBucket;
  resource.loggingConfiguration = { destinationBucketName: logs.bucketName, ...prefix === '' ? {} : { logFilePrefix: prefix } };
}
