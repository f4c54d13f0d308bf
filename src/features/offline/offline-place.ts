import { ArnFormat, Stack } from 'aws-cdk-lib';
import { PolicyStatement } from 'aws-cdk-lib/aws-iam';
import { IKey } from 'aws-cdk-lib/aws-kms';
import { IBucket } from 'aws-cdk-lib/aws-s3';
import { Construct } from 'constructs';
import { LakePermissions } from './lake-permissions';
import { OfflinePrefix } from '../../contract';
import { BrainEnvironment } from '../../environment';
import { keyThrough } from '../../private/key-through';
import { FeatureGroup } from '../feature-group';

/** Of each account and Region; Athena's DDL makes it where nobody has. */
const DEFAULT_DATABASE = 'default';

/** What the parts of an offline store share. */
export interface OfflinePlaceProps {
  readonly environment: BrainEnvironment;
  readonly encryptionKey: IKey;
  readonly logsKey: IKey;
  readonly groups: FeatureGroup[];
  readonly bucket: IBucket;
  readonly databaseName: string;
  readonly lake?: LakePermissions;
}

/** Glue's catalog, the database, and its tables (patterns of names): a call on a table needs all three. */
export function catalogStatement(scope: Construct, databaseName: string, actions: string[], tables: string[] = ['*']): PolicyStatement {
  const arn = (resource: string) => Stack.of(scope).formatArn({ service: 'glue', resource, arnFormat: ArnFormat.SLASH_RESOURCE_NAME });
  return new PolicyStatement({ actions, resources: [arn('catalog'), arn(`database/${databaseName}`), ...tables.map((table) => arn(`table/${databaseName}/${table}`))] });
}

/** What somebody may beside starting a statement and asking how it goes. */
export interface MoreOfQueries {
  /** On the workgroup. */
  readonly athena?: readonly string[];
  /** On the database `default`. */
  readonly onDefault?: readonly string[];
}

/**
 * Statements in a workgroup. Whatever they name, Athena looks at the database `default` for whoever starts them (Athena user guide, "Configure access
 * to databases and tables in the AWS Glue Data Catalog").
 */
export function queryStatements(scope: Construct, workGroupName: string, { athena = [], onDefault = [] }: MoreOfQueries = {}): PolicyStatement[] {
  return [
    new PolicyStatement({
      actions: ['athena:GetQueryExecution', 'athena:StartQueryExecution', ...athena],
      resources: [Stack.of(scope).formatArn({ service: 'athena', resource: 'workgroup', resourceName: workGroupName })],
    }),
    catalogStatement(scope, DEFAULT_DATABASE, [...onDefault, 'glue:GetDatabase'], []),
  ];
}

/** Objects of the tables, and of other prefixes; the bucket itself; its key. */
export function bucketStatements(scope: Construct, place: OfflinePlaceProps, actions: string[], ...prefixes: string[]): PolicyStatement[] {
  const { bucket, encryptionKey } = place;
  return [
    new PolicyStatement({ actions, resources: [OfflinePrefix.TABLES, ...prefixes].map((prefix) => bucket.arnForObjects(`${prefix}/*`)) }),
    new PolicyStatement({ actions: ['s3:GetBucketLocation', 's3:ListBucket', 's3:ListBucketMultipartUploads'], resources: [bucket.bucketArn] }),
    keyThrough(scope, 's3', encryptionKey, ['kms:Decrypt', 'kms:GenerateDataKey']),
  ];
}

/** Stands in logical ids: a version is a table of its own, with a stream of its own. `card-holders` version 2 is `CardHoldersV2`. */
export function tableId(group: FeatureGroup): string {
  const pascal = group.name.split(/[-_]/).map((word) => word.charAt(0).toUpperCase() + word.slice(1)).join('');
  return `${pascal}V${group.version}`;
}
