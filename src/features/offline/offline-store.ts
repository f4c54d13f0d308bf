import { Duration, Fn, RemovalPolicy, Resource, Size, Stack } from 'aws-cdk-lib';
import { CfnWorkGroup } from 'aws-cdk-lib/aws-athena';
import { Alarm } from 'aws-cdk-lib/aws-cloudwatch';
import { CfnDatabase } from 'aws-cdk-lib/aws-glue';
import { Policy, PolicyStatement } from 'aws-cdk-lib/aws-iam';
import { Stream, StreamEncryption, StreamMode } from 'aws-cdk-lib/aws-kinesis';
import { IKey } from 'aws-cdk-lib/aws-kms';
import { Bucket } from 'aws-cdk-lib/aws-s3';
import { Construct } from 'constructs';
import { LakePermissions } from './lake-permissions';
import { OfflineDelivery } from './offline-delivery';
import { catalogStatement, queryStatements } from './offline-place';
import { IOfflineSource } from './offline-source';
import { OfflineOptions } from './offline-strategy';
import { OfflineTables } from './offline-tables';
import { TableOptimizers } from './table-optimizers';
import { Binding, OfflinePrefix, offlineTableName, trainingSetTableName } from '../../contract';
import { BrainEnvironment } from '../../environment';
import { requireDays, requireInteger, requireSeconds } from '../../private/declarations';
import { advise } from '../../private/fail';
import { keyThrough } from '../../private/key-through';
import { requireUnique } from '../../private/names';
import { IWorkload } from '../../security/workload';
import { ArtifactStore, ITrainingSetSource, StorageTiering } from '../../storage';
import { privateBucket, UNFINISHED_UPLOADS } from '../../storage/private-bucket';
import { FeatureGroup } from '../feature-group';

/** Properties of {@link OfflineStore}. */
export interface OfflineStoreProps {
  /** Decides retention and removal policies. */
  readonly environment: BrainEnvironment;
  /** Encrypts the tables, the results of queries and the stream. */
  readonly encryptionKey: IKey;
  /** Encrypts the logs of the functions and of the delivery. */
  readonly logsKey: IKey;
  /** Keeps the bucket's access log, beside its own. */
  readonly artifacts: ArtifactStore;
  /** The groups that have tables here. */
  readonly groups: FeatureGroup[];
  /** How the tables are kept and read. @default - as each option says */
  readonly options?: OfflineOptions;
}

/** A file that compaction or retention removed can be brought back for as long. */
const NONCURRENT = Duration.days(7);
const RESULTS = Duration.days(7);
const ERRORS = Duration.days(90);

/** Kinesis data streams keep records for a day at least; a week is what a fault over a holiday takes. */
const MOST_STREAM_DAYS = 7;

/** What CREATE EXTERNAL TABLE and DROP TABLE do to the catalog (Athena user guide, "Access to databases and tables in the AWS Glue Data Catalog"). */
const TRAINING_SET_TABLES = ['glue:CreateTable', 'glue:DeletePartition', 'glue:DeleteTable', 'glue:GetPartition', 'glue:GetPartitions'];

/** Athena takes no smaller limit (Athena API reference, "WorkGroupConfiguration"). */
const LEAST_SCAN = 10_000_000;

/**
 * How many groups one stream feeds without a word: each has a Firehose stream that reads every record of the shared one, and a shard gives all its
 * readers together 5 reads and 2 MB a second (Kinesis developer guide, "Quotas and limits").
 */
const GROUPS_ON_A_STREAM = 5;

/**
 * The offline half of the feature store: everything that was ever known, in one Iceberg table for each group and version.
 *
 * The online table's changes go through one Kinesis stream; for each group, Firehose turns them into rows and appends them to its table. Tables are
 * made and evolved by Athena's DDL, and optimized by Glue: small files become large ones, old snapshots and forgotten files go. The tables, and
 * the database with them, outlive the stack.
 */
export class OfflineStore extends Resource implements IOfflineSource, ITrainingSetSource {
  /** Holds the tables, what could not be delivered, and results of queries. */
  readonly bucket: Bucket;

  /** Carries the changes of the online table, and rows that lost there. */
  readonly stream: Stream;

  /** Name of the Glue database. */
  readonly databaseName: string;

  /** Name of the Athena workgroup in which the tables are made and read. */
  readonly workGroupName: string;

  /** The groups that have tables here. */
  readonly groups: FeatureGroup[];

  /** A table lost rows, lags, or does not follow at all. */
  readonly alarms: Alarm[];

  private readonly encryptionKey: IKey;
  private readonly lake?: LakePermissions;

  constructor(scope: Construct, id: string, props: OfflineStoreProps) {
    super(scope, id);
    const { environment, encryptionKey, logsKey, groups, options = {} } = props;
    const retention = options.snapshotRetention ?? environment.snapshotRetention;
    const days = requireDays(this, 'SnapshotRetention', 'snapshotRetention', retention, 1);
    const tiering = options.tiering ?? StorageTiering.byAge();
    this.groups = [...groups];
    this.encryptionKey = encryptionKey;
    const tables = groups.map((group) => offlineTableName(group._toSchema()));
    requireUnique(this, "offline table ('-' becomes '_')", tables);
    if (groups.length > GROUPS_ON_A_STREAM) {
      advise(this, 'offline-readers', `${groups.length} feature groups read one stream, whose shards give 5 reads and 2 MB a second to all of them together: `
        + `delivery lags where much is written. Up to ${GROUPS_ON_A_STREAM} groups are no question; beyond that, give groups that are written much a feature store of their own`);
    }

    this.bucket = privateBucket(this, 'Bucket', {
      environment,
      encryptionKey,
      lifecycleRules: [
        { ...tiering._rule(), prefix: `${OfflinePrefix.TABLES}/`, noncurrentVersionExpiration: NONCURRENT },
        { prefix: `${OfflinePrefix.RESULTS}/`, expiration: RESULTS, noncurrentVersionExpiration: Duration.days(1) },
        { prefix: `${OfflinePrefix.ERRORS}/`, expiration: ERRORS, noncurrentVersionExpiration: Duration.days(1) },
        { abortIncompleteMultipartUploadAfter: UNFINISHED_UPLOADS },
      ],
    });
    props.artifacts._keepAccessLogOf(this.bucket, 'offline/');

    this.stream = new Stream(this, 'Stream', {
      streamMode: StreamMode.ON_DEMAND,
      encryption: StreamEncryption.KMS,
      encryptionKey,
      retentionPeriod: Duration.days(Math.min(days, MOST_STREAM_DAYS)),
      removalPolicy: environment.removalPolicy,
    });
    const database = this.createDatabase();
    this.databaseName = database.ref;
    const workGroup = this.createWorkGroup(options.scanLimit ?? Size.tebibytes(1));
    this.workGroupName = workGroup.ref;

    this.lake = options.lakeFormation ? new LakePermissions(this, 'Lake', { databaseName: this.databaseName }) : undefined;
    const place = { environment, encryptionKey, logsKey, groups, bucket: this.bucket, databaseName: this.databaseName, lake: this.lake };
    const made = new OfflineTables(this, 'Tables', { ...place, workGroupName: this.workGroupName, snapshotDays: days });
    const delivery = new OfflineDelivery(this, 'Delivery', {
      ...place, tables: made, stream: this.stream, seconds: requireInteger(this, 'DeliveryInterval', 'deliveryInterval in seconds', requireSeconds('deliveryInterval', options.deliveryInterval ?? Duration.minutes(5)), 1, 900),
    });
    this.alarms = delivery.alarms;
    new TableOptimizers(this, 'Optimizers', { ...place, tables: made, snapshotDays: days });
  }

  /** Lets a workload read the tables and keep results of its queries, and tells it database and workgroup. */
  connectReader(workload: IWorkload): void {
    this.connectQueries(workload, 'ReadBy', '', this.readStatements());
  }

  /**
   * Lets a workload query the tables and, for as long as it makes or verifies a training set, make tables of its own over the set's files; it tells
   * the workload database and workgroup. `TrainingSetStore.connectWriter` calls it.
   */
  connectTrainingSetMaker(workload: IWorkload): void {
    this.connectQueries(workload, 'MakeTrainingSetsBy', 'Maker', [...this.readStatements(), catalogStatement(this, this.databaseName, TRAINING_SET_TABLES, [
      trainingSetTableName('*', 'labels'), trainingSetTableName('*', 'data'),
    ])]);
    this.lake?.grantDefine(`${workload.workloadName}TrainingSets`, workload.role);
  }

  /**
   * Lets a workload put rows that lost online onto the stream, and tells it the stream.
   *
   * @internal
   */
  _connectWriter(workload: IWorkload): void {
    new Policy(this, `WriteBy${workload.workloadName}`, {
      roles: [workload.role],
      statements: [
        new PolicyStatement({ actions: ['kinesis:PutRecords'], resources: [this.stream.streamArn] }),
        keyThrough(this, 'kinesis', this.encryptionKey, ['kms:GenerateDataKey']),
      ],
    });
    workload.addBinding(Binding.FEATURE_STREAM, this.stream.streamName);
  }

  private connectQueries(workload: IWorkload, verb: string, grantee: string, statements: PolicyStatement[]): void {
    const { workloadName: name, role } = workload;
    new Policy(this, `${verb}${name}`, { roles: [role], statements });
    this.lake?.grantRead(`${name}${grantee}`, role);
    workload.addBinding(Binding.OFFLINE_DATABASE, this.databaseName);
    workload.addBinding(Binding.OFFLINE_WORKGROUP, this.workGroupName);
  }

  private readStatements(): PolicyStatement[] {
    const { bucket } = this;
    return [
      ...queryStatements(this, this.workGroupName, { athena: ['athena:GetQueryResults', 'athena:StopQueryExecution'] }),
      catalogStatement(this, this.databaseName, ['glue:GetDatabase', 'glue:GetTable']),
      new PolicyStatement({
        actions: ['s3:GetObject'], resources: [OfflinePrefix.TABLES, OfflinePrefix.RESULTS].map((prefix) => bucket.arnForObjects(`${prefix}/*`)),
      }),
      new PolicyStatement({ actions: ['s3:AbortMultipartUpload', 's3:PutObject'], resources: [bucket.arnForObjects(`${OfflinePrefix.RESULTS}/*`)] }),
      new PolicyStatement({ actions: ['s3:GetBucketLocation', 's3:ListBucket'], resources: [bucket.bucketArn] }),
      keyThrough(this, 's3', this.encryptionKey, ['kms:Decrypt', 'kms:GenerateDataKey']),
    ];
  }

  /**
   * Its tables are made by DDL, so that CloudFormation does not know them: it stays. Named with a part of the stack's id, or the same stack, made
   * again, would find the name taken.
   */
  private createDatabase(): CfnDatabase {
    const database = new CfnDatabase(this, 'Database', {
      catalogId: Stack.of(this).account, databaseInput: { name: this.uniqueName('_'), description: 'Offline tables of the feature groups of a brain' },
    });
    database.applyRemovalPolicy(RemovalPolicy.RETAIN);
    return database;
  }

  private createWorkGroup(scanLimit: Size): CfnWorkGroup {
    const bytes = requireInteger(this, 'ScanLimit', 'scanLimit in bytes', scanLimit.toBytes(), LEAST_SCAN, Number.MAX_SAFE_INTEGER);
    return new CfnWorkGroup(this, 'WorkGroup', {
      name: this.uniqueName('-'),
      description: 'Makes and reads the offline tables of a brain',
      recursiveDeleteOption: true,
      workGroupConfiguration: {
        enforceWorkGroupConfiguration: true,
        engineVersion: { selectedEngineVersion: 'Athena engine version 3' },
        publishCloudWatchMetricsEnabled: true,
        bytesScannedCutoffPerQuery: bytes,
        resultConfiguration: {
          outputLocation: `s3://${this.bucket.bucketName}/${OfflinePrefix.RESULTS}/`,
          encryptionConfiguration: { encryptionOption: 'SSE_KMS', kmsKey: this.encryptionKey.keyArn },
          expectedBucketOwner: Stack.of(this).account,
        },
      },
    });
  }

  /** `arn:…:stack/<name>/<guid>`: the guid's first part is of this very stack. */
  private uniqueName(separator: string): string {
    const guid = Fn.select(2, Fn.split('/', Stack.of(this).stackId));
    return Fn.join(separator, ['features', this.node.addr.slice(-8), Fn.select(0, Fn.split('-', guid))]);
  }
}
