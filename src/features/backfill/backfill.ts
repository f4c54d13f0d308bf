import { Duration, RemovalPolicy, Stack } from 'aws-cdk-lib';
import { Alarm, ComparisonOperator, Metric, TreatMissingData } from 'aws-cdk-lib/aws-cloudwatch';
import { AttributeType, BillingMode, Table, TableEncryption } from 'aws-cdk-lib/aws-dynamodb';
import { IRole, PolicyStatement } from 'aws-cdk-lib/aws-iam';
import { IKey } from 'aws-cdk-lib/aws-kms';
import { Bucket } from 'aws-cdk-lib/aws-s3';
import { Construct } from 'constructs';
import { backfillDefinition } from './backfill-definition';
import { BackfillSchedule } from './backfill-schedule';
import { consistencyDefinition } from './consistency-definition';
import { BackfillEnv, BackfillPath, ControlItem, DimensionName, FeatureGroupSchema, MetricName, MetricsNamespace } from '../../contract';
import { BrainEnvironment } from '../../environment';
import { BrainFunction } from '../../private/brain-function';
import { BrainStateMachine } from '../../private/brain-state-machine';
import { requireInteger } from '../../private/declarations';
import { fail } from '../../private/fail';
import { keyThrough } from '../../private/key-through';
import { machineSchedules } from '../../private/machine-schedules';
import { IWorkload } from '../../security/workload';
import { ArtifactStore } from '../../storage';
import { privateBucket } from '../../storage/private-bucket';
import { FeatureGroup } from '../feature-group';
import { IFeatureStore } from '../feature-store';
import { IOfflineSource } from '../offline';

/** When backfills run, and how. */
export interface BackfillOptions {
  /** When each group is backfilled and checked by itself. @default - as the environment says: once a day, in dev when somebody starts it */
  readonly schedule?: BackfillSchedule;
  /** How fast, and how sure. @default - see {@link BackfillTuning} */
  readonly tuning?: BackfillTuning;
}

/** Properties of {@link Backfill}. */
export interface BackfillProps extends BackfillOptions {
  /** Decides retention and removal policies. */
  readonly environment: BrainEnvironment;
  /** The brain's name, a dimension of its metrics. */
  readonly name: string;
  /** Encrypts the control table and the bucket. */
  readonly encryptionKey: IKey;
  /** Encrypts log groups, and the variables of functions. */
  readonly logsKey: IKey;
  /** Keeps the bucket's access log. */
  readonly artifacts: ArtifactStore;
  /** What is written. It must have a quarantine (`quality`) for rows that are refused. */
  readonly features: IFeatureStore;
  /** The groups that are backfilled. */
  readonly groups: FeatureGroup[];
  /** What is read. */
  readonly offline: IOfflineSource;
}

/** What a backfill may take, and what it makes sure of. */
export interface BackfillTuning {
  /** Online writes per second of one group's backfill, all writers together, 1 to 40000: what live traffic can spare. @default 500 */
  readonly writesPerSecond?: number;
  /** How much later than it was created a row may become readable offline, and still be seen by the next backfill. @default Duration.hours(6) */
  readonly overlap?: Duration;
  /** Entities of each group that one consistency check compares, 1 to 10000. @default 1000 */
  readonly sampleSize?: number;
  /** Percent of them that may differ before the alarm, 0 to 100. @default 1 */
  readonly maxSkew?: number;
}

/** What one writer does comfortably: 16 calls at once of a few milliseconds, in one Lambda function. */
const WRITES_PER_WRITER = 250;
const MOST_WRITES = 40_000;
const MOST_SAMPLED = 10_000;

const EXECUTION = Duration.hours(12);
const QUERY = Duration.hours(1);
const CHECK = Duration.hours(2);
/** The longest time of a function: it stops by itself before, and is asked again. */
const WRITER = Duration.minutes(15);
/** What a run that died had computed is used again within a day, and gone after a week. */
const PLAN_GOOD_FOR = Duration.days(1);
const RUNS_KEPT = Duration.days(7);
const LEFTOVERS_KEPT = Duration.days(1);
/** One variable of an execution holds 256 KiB (Step Functions developer guide, "Quotas"), and there are tables and keys beside the schemas. */
const MOST_SCHEMAS = 240 * 1024;
/** Scheduler may start within so many minutes: groups do not all begin at once. */
const FLEXIBLE_MINUTES = 15;

/**
 * Brings online what is only offline: for each group Athena computes the latest valid rows, and writers put those online that win there, by the
 * condition of every write. Rows that online has already are not written; live writes go on meanwhile, and nothing goes back in time.
 *
 * One backfill of a group runs at a time: a second one is refused with `BackfillBusy`. One that died is gone on with by the next.
 */
export class Backfill extends Construct {
  /** Start it with `{"group": "<name>"}`; `"full": true` reads all of the history, `"dryRun": true` writes nothing and counts what would change. */
  readonly stateMachineArn: string;

  /** Compares a sample of a group's entities: start it with `{"group": "<name>"}`. */
  readonly checkArn: string;

  /** Rows that were computed, under `runs/`. */
  readonly bucket: Bucket;

  /** Who backfills which group, until when it is complete, and how far writers are. */
  readonly control: Table;

  /** A backfill or a check failed; one is overdue; online and offline differ. */
  readonly alarms: Alarm[] = [];

  constructor(scope: Construct, id: string, props: BackfillProps) {
    super(scope, id);
    const { environment, encryptionKey, logsKey, groups, offline, name } = props;
    if (props.features.quality === undefined) {
      fail(this, 'BackfillQuarantine', 'the feature store must have a quarantine for the rows that a backfill refuses, and has none: give it a FeatureQuality');
    }
    const { writesPerSecond, overlap, sampleSize, maxSkew } = this.tuned(props.tuning);
    const { partition } = Stack.of(this);
    const schemas = this.schemasOf(groups);
    const writers = Math.ceil(writesPerSecond / WRITES_PER_WRITER);

    this.bucket = privateBucket(this, 'Bucket', {
      environment,
      encryptionKey,
      lifecycleRules: [
        { prefix: `${BackfillPath.RUNS}/`, expiration: RUNS_KEPT, noncurrentVersionExpiration: LEFTOVERS_KEPT },
        { abortIncompleteMultipartUploadAfter: LEFTOVERS_KEPT },
      ],
    });
    props.artifacts._keepAccessLogOf(this.bucket, 'backfill/');

    this.control = new Table(this, 'Control', {
      partitionKey: { name: ControlItem.PK, type: AttributeType.STRING },
      sortKey: { name: ControlItem.SK, type: AttributeType.STRING },
      timeToLiveAttribute: ControlItem.EXPIRES_AT,
      billingMode: BillingMode.PAY_PER_REQUEST,
      encryption: TableEncryption.CUSTOMER_MANAGED,
      encryptionKey,
      pointInTimeRecoverySpecification: { pointInTimeRecoveryEnabled: true },
      deletionProtection: environment.deletionProtection,
      // it holds nothing that a full backfill does not make again
      removalPolicy: environment.deletionProtection ? RemovalPolicy.RETAIN : RemovalPolicy.DESTROY,
    });
    const functions = this.functions(props, writesPerSecond / writers);
    const machine = new BrainStateMachine(this, 'Machine', {
      environment,
      logsKey,
      timeout: EXECUTION,
      distributed: true,
      definition: backfillDefinition({
        partition,
        brain: name,
        groups: schemas,
        database: offline.databaseName,
        workGroup: offline.workGroupName,
        bucket: this.bucket.bucketName,
        controlTable: this.control.tableName,
        plannerArn: functions.planner.functionArn,
        writerArn: functions.writer.functionArn,
        writers,
        overlapMs: overlap.toMilliseconds(),
        planGoodForMs: PLAN_GOOD_FOR.toMilliseconds(),
        queryTimeoutSeconds: QUERY.toSeconds(),
        writerTimeoutSeconds: WRITER.toSeconds() + 60,
      }),
      statements: [
        ...this.unloads(encryptionKey),
        new PolicyStatement({ actions: ['lambda:InvokeFunction'], resources: [functions.planner.functionArn, functions.writer.functionArn] }),
        new PolicyStatement({ actions: ['dynamodb:GetItem', 'dynamodb:Query', 'dynamodb:UpdateItem'], resources: [this.control.tableArn] }),
        keyThrough(this, 'dynamodb', encryptionKey, ['kms:Decrypt']),
        this.counts(),
      ],
    });
    this.stateMachineArn = machine.stateMachineArn;
    offline.connectReader(new MachineWorkload(this, 'Backfills', machine.role));

    const check = new BrainStateMachine(this, 'Check', {
      environment,
      logsKey,
      timeout: CHECK,
      definition: consistencyDefinition({
        partition,
        brain: name,
        groups: schemas,
        database: offline.databaseName,
        workGroup: offline.workGroupName,
        bucket: this.bucket.bucketName,
        plannerArn: functions.planner.functionArn,
        checkArn: functions.check.functionArn,
        sampleSize,
        queryTimeoutSeconds: QUERY.toSeconds(),
      }),
      statements: [
        ...this.unloads(encryptionKey),
        new PolicyStatement({ actions: ['lambda:InvokeFunction'], resources: [functions.planner.functionArn, functions.check.functionArn] }),
        this.counts(),
      ],
    });
    this.checkArn = check.stateMachineArn;
    offline.connectReader(new MachineWorkload(this, 'Checks', check.role));

    const byDefault = environment.scheduledBackfills ? BackfillSchedule.every(Duration.days(1)) : BackfillSchedule.onDemand();
    const hours = (props.schedule ?? byDefault)._hours();
    if (hours !== undefined) this.schedule(groups, hours, encryptionKey);
    this.alarm(machine, check, name, groups, hours, maxSkew);
  }

  /** What the machines keep of each group: in one variable, which is to hold them all, and to hand each to functions. */
  private schemasOf(groups: readonly FeatureGroup[]): FeatureGroupSchema[] {
    const schemas = groups.map((group) => withoutDescriptions(group._toSchema()));
    const bytes = Buffer.byteLength(JSON.stringify(schemas));
    if (bytes > MOST_SCHEMAS) {
      fail(this, 'BackfillGroupsTooLarge', `the ${groups.length} feature groups of a backfill must fit a variable of a state machine, `
        + `${MOST_SCHEMAS} bytes as JSON without descriptions, and take ${bytes}: give some groups a feature store of their own, or shorten their expectations`);
    }
    return schemas;
  }

  private tuned(tuning: BackfillTuning = {}): Required<BackfillTuning> {
    const { writesPerSecond = 500, overlap = Duration.hours(6), sampleSize = 1000, maxSkew = 1 } = tuning;
    requireInteger(this, 'BackfillWrites', 'writesPerSecond', writesPerSecond, 1, MOST_WRITES);
    requireInteger(this, 'BackfillSample', 'sampleSize', sampleSize, 1, MOST_SAMPLED);
    if (!(maxSkew >= 0 && maxSkew <= 100)) fail(this, 'BackfillSkew', `maxSkew must be 0 to 100 percent, got ${maxSkew}`);
    return { writesPerSecond, overlap, sampleSize, maxSkew };
  }

  private functions(props: BackfillProps, writesPerSecond: number): Record<'planner' | 'writer' | 'check', BrainFunction> {
    const { environment, logsKey, encryptionKey, features, name } = props;
    const variables = { [BackfillEnv.BRAIN]: name, [BackfillEnv.BUCKET]: this.bucket.bucketName };
    const planner = new BrainFunction(this, 'Planner', {
      environment, logsKey, handler: 'backfill-planner', description: 'Renders the queries of backfills and consistency checks',
    });
    const writer = new BrainFunction(this, 'Writer', {
      environment,
      logsKey,
      handler: 'backfill-writer',
      description: 'Writes computed rows online',
      timeout: WRITER,
      memorySize: 1024,
      environmentVariables: {
        ...variables, [BackfillEnv.CONTROL_TABLE]: this.control.tableName, [BackfillEnv.WRITES_PER_SECOND]: String(writesPerSecond),
      },
      statements: [
        this.readsRuns(),
        keyThrough(this, 's3', encryptionKey, ['kms:Decrypt']),
        new PolicyStatement({ actions: ['dynamodb:GetItem', 'dynamodb:PutItem'], resources: [this.control.tableArn] }),
        keyThrough(this, 'dynamodb', encryptionKey, ['kms:Decrypt']),
      ],
    });
    const check = new BrainFunction(this, 'Compare', {
      environment,
      logsKey,
      handler: 'feature-consistency',
      description: 'Compares a sample of entities online and offline',
      timeout: Duration.minutes(5),
      memorySize: 512,
      environmentVariables: variables,
      statements: [this.readsRuns(), this.listsRuns(), keyThrough(this, 's3', encryptionKey, ['kms:Decrypt'])],
    });
    features.connectReader(new HandlerWorkload(this, 'BackfillReader', writer));
    features.connectWriter(new HandlerWorkload(this, 'BackfillWriter', writer));
    features.connectReader(new HandlerWorkload(this, 'ConsistencyCheck', check));
    return { planner, writer, check };
  }

  private readsRuns(): PolicyStatement {
    return new PolicyStatement({ actions: ['s3:GetObject'], resources: [this.bucket.arnForObjects(`${BackfillPath.RUNS}/*`)] });
  }

  private listsRuns(): PolicyStatement {
    return new PolicyStatement({
      actions: ['s3:ListBucket'], resources: [this.bucket.bucketArn], conditions: { StringLike: { 's3:prefix': `${BackfillPath.RUNS}/*` } },
    });
  }

  /** Athena writes what it computes with the identity of who asks (Athena user guide, "UNLOAD"). */
  private unloads(key: IKey): PolicyStatement[] {
    return [
      new PolicyStatement({
        actions: ['s3:AbortMultipartUpload', 's3:GetObject', 's3:ListMultipartUploadParts', 's3:PutObject'],
        resources: [this.bucket.arnForObjects(`${BackfillPath.RUNS}/*`)],
      }),
      new PolicyStatement({ actions: ['s3:GetBucketLocation', 's3:ListBucketMultipartUploads'], resources: [this.bucket.bucketArn] }),
      this.listsRuns(),
      keyThrough(this, 's3', key, ['kms:Decrypt', 'kms:GenerateDataKey']),
    ];
  }

  private schedule(groups: readonly FeatureGroup[], hours: number, key: IKey): void {
    const add = machineSchedules(this, key, [this.stateMachineArn, this.checkArn]);
    for (const group of groups) {
      for (const [kind, stateMachineArn] of [['Backfill', this.stateMachineArn], ['Check', this.checkArn]] as const) {
        add(`${kind}Of${group.name}`, {
          description: `${kind} of feature group ${group.name}`,
          scheduleExpression: hours === 1 ? 'rate(1 hour)' : `rate(${hours} hours)`,
          flexibleTimeWindow: { mode: 'FLEXIBLE', maximumWindowInMinutes: FLEXIBLE_MINUTES },
          stateMachineArn,
          input: { group: group.name },
        });
      }
    }
  }

  private counts(): PolicyStatement {
    return new PolicyStatement({
      actions: ['cloudwatch:PutMetricData'], resources: ['*'], conditions: { StringEquals: { 'cloudwatch:namespace': MetricsNamespace } },
    });
  }

  private alarm(
    machine: BrainStateMachine, check: BrainStateMachine, brain: string, groups: readonly FeatureGroup[], hours: number | undefined, maxSkew: number,
  ): void {
    this.alarms.push(
      machine.unsuccessfulAlarm(
        this, 'Backfills that failed', 'A backfill failed, was stopped, or took too long. Its execution says why; the next one goes on with what it had computed.',
      ),
      check.unsuccessfulAlarm(check, 'Checks that failed', 'A consistency check failed, was stopped, or took too long: skew would not be seen. Its execution says why.'),
    );
    for (const group of groups) {
      const of = (metricName: string, statistic: string) => new Metric({
        namespace: MetricsNamespace,
        metricName,
        dimensionsMap: { [DimensionName.BRAIN]: brain, [DimensionName.FEATURE_GROUP]: group.name },
        statistic,
        period: Duration.hours(1),
      });
      if (hours !== undefined) {
        this.alarms.push(
          overdue(this, `OverdueOf${group.name}`, `backfill of feature group ${group.name}`, of(MetricName.BACKFILL_COMPLETED, 'Sum'), hours),
          overdue(check, `OverdueOf${group.name}`, `consistency check of feature group ${group.name}`, of(MetricName.CONSISTENCY_CHECKED, 'Sum'), hours),
        );
      }
      this.alarms.push(new Alarm(this, `SkewOf${group.name}`, {
        alarmDescription: `More than ${maxSkew} % of a sample of feature group ${group.name} are absent or older online than offline: start a full backfill.`,
        metric: of(MetricName.FEATURE_SKEW, 'Maximum'),
        threshold: maxSkew,
        evaluationPeriods: 1,
        comparisonOperator: ComparisonOperator.GREATER_THAN_THRESHOLD,
        treatMissingData: TreatMissingData.NOT_BREACHING,
      }));
    }
  }
}

function withoutDescriptions({ description: _, features, ...schema }: FeatureGroupSchema): FeatureGroupSchema {
  return { ...schema, features: features.map(({ description: __, ...feature }) => feature) };
}

/** An alarm on runs that do not come to their end in time. @param completed counts those that did, each hour @param hours between two runs */
function overdue(scope: Construct, id: string, what: string, completed: Metric, hours: number): Alarm {
  const range = Math.ceil(1.5 * hours) + 1;
  return new Alarm(scope, id, {
    alarmDescription: `No ${what} was complete for ${range} hours, and one is due every ${hours}.`,
    metric: completed,
    threshold: 1,
    evaluationPeriods: range,
    comparisonOperator: ComparisonOperator.LESS_THAN_THRESHOLD,
    treatMissingData: TreatMissingData.BREACHING,
  });
}

/** A handler of ours that resources are connected to: their names become its variables. */
class HandlerWorkload extends Construct implements IWorkload {
  readonly role: IRole;

  constructor(scope: Construct, readonly workloadName: string, private readonly fn: BrainFunction) {
    super(scope, workloadName);
    this.role = fn.role;
  }

  addBinding(name: string, value: string): void {
    this.fn.addVariable(name, value);
  }
}

/** A state machine that resources are connected to: their names stand in its definition already. */
class MachineWorkload extends Construct implements IWorkload {
  constructor(scope: Construct, readonly workloadName: string, readonly role: IRole) {
    super(scope, workloadName);
  }

  addBinding(): void {
    return undefined;
  }
}
