import { Duration, Resource } from 'aws-cdk-lib';
import { Alarm, ComparisonOperator, Metric, MetricProps, Stats, TreatMissingData } from 'aws-cdk-lib/aws-cloudwatch';
import { Policy, PolicyStatement } from 'aws-cdk-lib/aws-iam';
import { IKey } from 'aws-cdk-lib/aws-kms';
import { Bucket } from 'aws-cdk-lib/aws-s3';
import { Construct, IConstruct } from 'constructs';
import { Binding, DimensionName, MetricName, MetricsNamespace, Paths } from '../contract';
import { BrainEnvironment } from '../environment';
import { FeatureGroup } from './feature-group';
import { fail } from '../private/fail';
import { keyThrough } from '../private/key-through';
import { requireUnique } from '../private/names';
import { IWorkload } from '../security/workload';
import { ArtifactStore } from '../storage';
import { privateBucket, UNFINISHED_UPLOADS } from '../storage/private-bucket';

/** Where bad rows go, and who hears of them. */
export interface IFeatureQuality extends IConstruct {
  /** Lets a writer of features keep the rows that it refuses, and tells it where, and under which name of the brain it counts. */
  connectWriter(workload: IWorkload): void;
}

/** How long refused rows are kept, and how many are no news. */
export interface FeatureQualityOptions {
  /** How long refused rows are kept for their repair; whole days. @default Duration.days(30) */
  readonly retention?: Duration;
  /** Refused rows of a group within five minutes beyond which its alarm goes off. @default 0 */
  readonly toleratedRows?: number;
}

/** Properties of {@link FeatureQuality}. */
export interface FeatureQualityProps extends FeatureQualityOptions {
  /** Decides the removal policy of the quarantine. */
  readonly environment: BrainEnvironment;
  /** Encrypts the quarantine. */
  readonly encryptionKey: IKey;
  /** Keeps the access log of the quarantine. */
  readonly artifacts: ArtifactStore;
  /** The brain's name: the dimension under which writers count. */
  readonly name: string;
  /** The groups whose rows are watched: at least one, each with its own name. */
  readonly groups: FeatureGroup[];
}

const PERIOD = Duration.minutes(5);
/** Longest period of a metric in an alarm, seconds (CloudWatch API reference, PutMetricAlarm: a period that is evaluated spans a day at most). */
const LONGEST_PERIOD_S = 86_400;

/**
 * The quality of features as they come in: a bucket for rows that were refused, with their reasons, and for each group alarms on
 * refused rows, on violated expectations, and on features that are no longer fresh.
 *
 * Alarms hear of what publishes metrics: handlers with the client, and backfills. `thalos-brain features put` and `import` with `--table` keep
 * what they refuse in the quarantine, tell it to whoever runs them, and publish none: a group with `freshness` that is fed by them alone is in alarm.
 *
 * Refused rows may hold personal data, since they are kept to be repaired: the bucket has a retention of its own, and writers may only put there.
 */
export class FeatureQuality extends Resource implements IFeatureQuality {
  /** Rows that were refused, as JSON lines: `quarantine/<group>/v<version>/<day>/…jsonl`. */
  readonly quarantine: Bucket;

  /** All alarms, three for a group with `freshness`, two for another. */
  readonly alarms: Alarm[];

  private readonly encryptionKey: IKey;
  private readonly brainName: string;

  constructor(scope: Construct, id: string, props: FeatureQualityProps) {
    super(scope, id);
    const { environment, encryptionKey, groups, retention = Duration.days(30), toleratedRows = 0 } = props;
    if (groups.length === 0) fail(this, 'NoFeatureGroup', 'there must be at least one feature group to watch, got 0: give it the groups of the store');
    requireUnique(this, 'feature group', groups.map(({ name }) => name));
    if (!Number.isInteger(toleratedRows) || toleratedRows < 0) {
      fail(this, 'InvalidToleratedRows', `toleratedRows must be an integer of at least 0, got ${toleratedRows}`);
    }
    this.encryptionKey = encryptionKey;
    this.brainName = props.name;
    this.quarantine = privateBucket(this, 'Quarantine', {
      environment,
      encryptionKey,
      lifecycleRules: [{
        expiration: retention, noncurrentVersionExpiration: UNFINISHED_UPLOADS, abortIncompleteMultipartUploadAfter: UNFINISHED_UPLOADS,
      }],
    });
    props.artifacts._keepAccessLogOf(this.quarantine, 'quarantine/');
    this.alarms = groups.flatMap((group) => this.watch(group, toleratedRows));
  }

  /** A metric of what writers count for a group: `IngestedRows`, `LateRows`, `QuarantinedRows`, `ExpectationsViolated` or `EventAge`. */
  metric(metricName: string, group: FeatureGroup): Metric {
    return this.metricOf(metricName, group, { statistic: Stats.SUM, period: PERIOD });
  }

  connectWriter(workload: IWorkload): void {
    new Policy(this, `WriteBy${workload.workloadName}`, {
      roles: [workload.role],
      statements: [
        new PolicyStatement({ actions: ['s3:PutObject'], resources: [this.quarantine.arnForObjects(`${Paths.QUARANTINE}/*`)] }),
        keyThrough(this, 's3', this.encryptionKey, ['kms:GenerateDataKey']),
      ],
    });
    workload.addBinding(Binding.FEATURE_QUARANTINE, this.quarantine.bucketName);
    workload.addBinding(Binding.BRAIN, this.brainName);
  }

  private watch(group: FeatureGroup, toleratedRows: number): Alarm[] {
    const { name } = group;
    const { freshness } = group._toSchema();
    const beyond = (id: string, metricName: string, threshold: number, alarmDescription: string) => this.metric(metricName, group).createAlarm(this, `${name}-${id}`, {
      alarmDescription,
      threshold,
      evaluationPeriods: 1,
      comparisonOperator: ComparisonOperator.GREATER_THAN_THRESHOLD,
      treatMissingData: TreatMissingData.NOT_BREACHING,
    });
    return [
      beyond('Quarantined', MetricName.QUARANTINED_ROWS, toleratedRows, `Rows of feature group ${name} were refused: see ${Paths.QUARANTINE}/${name}/ in the quarantine`),
      beyond('Violated', MetricName.EXPECTATIONS_VIOLATED, 0, `What came in for feature group ${name} is not as expected: the writer's log says in which way`),
      ...freshness === undefined ? [] : [this.addFreshnessAlarm(group, freshness)],
    ];
  }

  /** Silence is the usual way of features to grow old, so that no data is an alarm too. */
  private addFreshnessAlarm(group: FeatureGroup, freshness: number): Alarm {
    const period = Duration.seconds(Math.min(LONGEST_PERIOD_S, Math.max(PERIOD.toSeconds(), Math.ceil(freshness / 60) * 60)));
    return this.metricOf(MetricName.EVENT_AGE, group, { statistic: Stats.MINIMUM, period }).createAlarm(this, `${group.name}-Freshness`, {
      alarmDescription: `Feature group ${group.name} got no event that is at most ${freshness} s old`,
      threshold: freshness,
      evaluationPeriods: 1,
      comparisonOperator: ComparisonOperator.GREATER_THAN_THRESHOLD,
      treatMissingData: TreatMissingData.BREACHING,
    });
  }

  private metricOf(metricName: string, group: FeatureGroup, props: Pick<MetricProps, 'statistic' | 'period'>): Metric {
    return new Metric({
      namespace: MetricsNamespace,
      metricName,
      dimensionsMap: { [DimensionName.BRAIN]: this.brainName, [DimensionName.FEATURE_GROUP]: group.name },
      ...props,
    });
  }
}
