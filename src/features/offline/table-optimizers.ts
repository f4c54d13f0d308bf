import { Stack } from 'aws-cdk-lib';
import { CfnTableOptimizer } from 'aws-cdk-lib/aws-glue';
import { Policy, PolicyStatement, Role, ServicePrincipal } from 'aws-cdk-lib/aws-iam';
import { Construct } from 'constructs';
import { bucketStatements, catalogStatement, OfflinePlaceProps, tableId } from './offline-place';
import { OfflineTables } from './offline-tables';
import { LEAST_SNAPSHOTS, OfflinePrefix, offlineTableName } from '../../contract';

export interface TableOptimizersProps extends OfflinePlaceProps {
  readonly tables: OfflineTables;
  readonly snapshotDays: number;
}

/** A file that no snapshot refers to may belong to a commit that is under way: Glue's own default. */
const ORPHAN_DAYS = 3;

/** Small files that make compaction of a day worth its while: Firehose leaves 288 of them at five minutes each. */
const LEAST_FILES = 20;

/** Log groups that the optimizers make (Glue user guide, "Table optimization prerequisites"). */
const LOGS = ['iceberg-compaction', 'iceberg-retention', 'iceberg-orphan-file-deletion'];

/** What Glue does to each table by itself: files are merged, snapshots beyond their time and files that nothing refers to are removed. */
export class TableOptimizers extends Construct {
  constructor(scope: Construct, id: string, props: TableOptimizersProps) {
    super(scope, id);
    const { account } = Stack.of(this);
    const role = new Role(this, 'Role', {
      description: 'Glue optimizes the offline tables of a brain',
      assumedBy: new ServicePrincipal('glue.amazonaws.com', { conditions: { StringEquals: { 'aws:SourceAccount': account } } }),
    });
    const logs = LOGS.flatMap((name) => ['', ':*'].map((streams) => `${Stack.of(this).formatArn({ service: 'logs', resource: 'log-group' })}:/aws-glue/${name}/logs${streams}`));
    const access = new Policy(this, 'Access', {
      roles: [role],
      statements: [
        catalogStatement(this, props.databaseName, ['glue:GetTable', 'glue:UpdateTable']),
        ...bucketStatements(this, props, ['s3:AbortMultipartUpload', 's3:DeleteObject', 's3:GetObject', 's3:PutObject']),
        new PolicyStatement({ actions: ['logs:CreateLogGroup', 'logs:CreateLogStream', 'logs:PutLogEvents'], resources: logs }),
      ],
    });
    const granted = props.lake?.grantChange('Optimizers', role);

    for (const group of props.groups) {
      const table = offlineTableName(group);
      const location = `s3://${props.bucket.bucketName}/${OfflinePrefix.TABLES}/${table}/`;
      const optimize = (type: string, name: string, configuration: Partial<CfnTableOptimizer.TableOptimizerConfigurationProperty>) => {
        const optimizer = new CfnTableOptimizer(this, `${tableId(group)}${name}`, {
          catalogId: account,
          databaseName: props.databaseName,
          tableName: table,
          type,
          tableOptimizerConfiguration: { enabled: true, roleArn: role.roleArn, ...configuration },
        });
        optimizer.node.addDependency(props.tables.of(group), access, ...granted ? [granted] : []);
      };
      optimize('compaction', 'Compaction', {
        compactionConfiguration: { icebergConfiguration: { strategy: 'binpack', minInputFiles: LEAST_FILES } },
      });
      optimize('retention', 'Retention', {
        retentionConfiguration: {
          icebergConfiguration: {
            snapshotRetentionPeriodInDays: props.snapshotDays, numberOfSnapshotsToRetain: LEAST_SNAPSHOTS, cleanExpiredFiles: true,
          },
        },
      });
      optimize('orphan_file_deletion', 'Orphans', {
        orphanFileDeletionConfiguration: { icebergConfiguration: { location, orphanFileRetentionPeriodInDays: ORPHAN_DAYS } },
      });
    }
  }
}
