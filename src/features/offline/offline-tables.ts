import { CustomResource, Duration, Stack } from 'aws-cdk-lib';
import { PolicyStatement } from 'aws-cdk-lib/aws-iam';
import { Construct, IDependable } from 'constructs';
import { bucketStatements, catalogStatement, OfflinePlaceProps, queryStatements, tableId } from './offline-place';
import { offlineGroup, OfflinePrefix, OfflineTableResource } from '../../contract';
import { BrainFunction } from '../../private/brain-function';
import { FeatureGroup } from '../feature-group';

export interface OfflineTablesProps extends OfflinePlaceProps {
  readonly workGroupName: string;
  readonly snapshotDays: number;
}

/** A handful of statements, each of seconds, some of them more than once. */
const TIMEOUT = Duration.minutes(10);
const GRACE = Duration.minutes(2);

/** The tables: one function makes and evolves them all, by Athena's DDL, and never takes anything away. */
export class OfflineTables extends Construct {
  private readonly resources = new Map<FeatureGroup, CustomResource>();

  constructor(scope: Construct, id: string, props: OfflineTablesProps) {
    super(scope, id);
    const stack = Stack.of(this);
    const handler = new BrainFunction(this, 'Handler', {
      environment: props.environment,
      logsKey: props.logsKey,
      handler: 'offline-tables',
      description: 'Makes and evolves the offline tables of a brain',
      timeout: TIMEOUT,
      statements: [
        // a brain's first statement is one of its own: in an account that knows no Athena yet it makes what all others find
        ...queryStatements(this, props.workGroupName, { onDefault: ['glue:CreateDatabase'] }),
        new PolicyStatement({
          actions: ['athena:GetTableMetadata'], resources: [stack.formatArn({ service: 'athena', resource: 'datacatalog', resourceName: 'AwsDataCatalog' })],
        }),
        catalogStatement(this, props.databaseName, ['glue:CreateTable', 'glue:GetDatabase', 'glue:GetTable', 'glue:UpdateTable']),
        ...bucketStatements(this, props, ['s3:AbortMultipartUpload', 's3:GetObject', 's3:ListMultipartUploadParts', 's3:PutObject'], OfflinePrefix.RESULTS),
      ],
    });
    const granted = props.lake?.grantDefine('Tables', handler.role);

    for (const group of props.groups) {
      const resource = new CustomResource(this, tableId(group), {
        serviceToken: handler.functionArn,
        resourceType: 'Custom::ThalosOfflineTable',
        serviceTimeout: TIMEOUT.plus(GRACE),
        properties: {
          [OfflineTableResource.DATABASE]: props.databaseName,
          [OfflineTableResource.WORKGROUP]: props.workGroupName,
          [OfflineTableResource.LOCATION]: `s3://${props.bucket.bucketName}/${OfflinePrefix.TABLES}`,
          [OfflineTableResource.GROUP]: JSON.stringify(offlineGroup(group._toSchema())),
          [OfflineTableResource.SNAPSHOT_DAYS]: String(props.snapshotDays),
        },
      });
      if (granted) resource.node.addDependency(granted);
      this.resources.set(group, resource);
    }
  }

  /** What depends on it comes after the group's table. */
  of(group: FeatureGroup): IDependable {
    return this.resources.get(group)!;
  }
}
