import { Duration } from 'aws-cdk-lib';
import { IKey } from 'aws-cdk-lib/aws-kms';
import { BlockPublicAccess, Bucket, BucketEncryption, LifecycleRule, ObjectOwnership } from 'aws-cdk-lib/aws-s3';
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
