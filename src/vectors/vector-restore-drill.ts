import { Duration, Stack } from 'aws-cdk-lib';
import { Alarm, ComparisonOperator, Metric, TreatMissingData } from 'aws-cdk-lib/aws-cloudwatch';
import { PolicyStatement } from 'aws-cdk-lib/aws-iam';
import { IKey } from 'aws-cdk-lib/aws-kms';
import { Construct } from 'constructs';
import { drillDefinition } from './drill-definition';
import { adviseRecallTime, recallGate } from './recall-gate';
import { RecallGateOptions } from './recall-gate-options';
import { VectorStore } from './vector-store';
import {
  Binding, DimensionName, GENERATION_SEPARATOR, MetricsNamespace, VECTOR_INDEX_DIMENSION, VectorBuildEnv, VectorMetric, VectorStoreName,
} from '../contract';
import { BrainEnvironment } from '../environment';
import { BrainFunction } from '../private/brain-function';
import { BrainStateMachine } from '../private/brain-state-machine';
import { requireDays } from '../private/declarations';
import { fail } from '../private/fail';
import { machineSchedules } from '../private/machine-schedules';

/** Properties of {@link VectorRestoreDrill}. */
export interface VectorRestoreDrillProps {
  /** Decides log retention. */
  readonly environment: BrainEnvironment;
  /** The brain's name, a dimension of its metrics. */
  readonly name: string;
  /** Encrypts logs, environment variables and executions. */
  readonly logsKey: IKey;
  /** Holds the indexes, and takes snapshots of them: one of an environment that keeps its data. */
  readonly store: VectorStore;
  /** What a restored index must find of the true neighbours in the original. @default - recall@10 of at least 0.9 over 100 vectors */
  readonly gate?: RecallGateOptions;
  /** How often, 1 to 4 whole days: an alarm looks back seven days at most, and must tell a late drill from none. @default Duration.days(4) */
  readonly interval?: Duration;
}

/** The longest time of a function; a step stops by itself before, and is asked again. */
const CALL = Duration.minutes(15);
/** Of all indexes of a store. */
const EXECUTION = Duration.hours(20);
/** Longest interval whose one and a half, and some hours, are within what an alarm looks back. */
const MOST_DAYS = 4;
/** Past midnight, half an hour after a snapshot was due. */
const AT = '0 1';
/** Snapshots are due every six hours: this old, four are missing. */
const OLD_SNAPSHOT = Duration.days(1);

/**
 * Restores the newest snapshot of each index of a store beside the original, compares both, measures how long it took, and deletes the copy: a backup that
 * was never restored is a hope.
 *
 * The copy needs room on the data nodes for one generation. Start the state machine for a drill at any other time.
 */
export class VectorRestoreDrill extends Construct {
  /** Drills every index. */
  readonly stateMachineArn: string;

  /** A drill failed; none passed for one and a half intervals; snapshots are old. */
  readonly alarms: Alarm[] = [];

  private readonly brain: string;

  constructor(scope: Construct, id: string, props: VectorRestoreDrillProps) {
    super(scope, id);
    const { environment, name, logsKey, store, interval = Duration.days(MOST_DAYS) } = props;
    if (!store.snapshots) {
      fail(this, 'NoSnapshots', `the environment '${environment.name}' deletes its data, so that its vector store takes no snapshots: leave the drill out, or keep the data (removalPolicy)`);
    }
    if (Stack.of(this) !== Stack.of(store)) fail(this, 'DrillElsewhere', 'a drill must stand in the stack of its store, whose access control names its role');
    const days = requireDays(this, 'DrillInterval', 'the interval of restore drills', interval, 1);
    if (days > MOST_DAYS) fail(this, 'DrillInterval', `the interval of restore drills must be at most ${MOST_DAYS} days, got ${days}: an alarm looks back seven days at most`);
    this.brain = name;

    const fn = new BrainFunction(this, 'Function', {
      environment,
      logsKey,
      handler: 'vector-drill',
      description: 'Steps of restore drills of the vector store',
      timeout: CALL,
      memorySize: 512,
      network: store._functionNetwork(),
      environmentVariables: {
        [Binding.VECTOR_ENDPOINT]: `https://${store.domain.domainEndpoint}`,
        [VectorBuildEnv.BRAIN]: name,
        [VectorBuildEnv.REPOSITORY]: VectorStoreName.REPOSITORY,
      },
      statements: this.statements(store),
    });
    store._addKeeper(fn.role);

    const gate = recallGate(this, props.gate);
    adviseRecallTime(this, gate, store.indexes, environment.vectorCapacity);
    const machine = new BrainStateMachine(this, 'Machine', {
      environment,
      logsKey,
      timeout: EXECUTION,
      definition: drillDefinition({
        partition: Stack.of(this).partition,
        functionArn: fn.functionArn,
        callSeconds: CALL.toSeconds() + 30,
        indexes: store.indexes.map((index) => ({ schema: index._toSchema(), layout: store._layoutOf(index), gate })),
      }),
      statements: [new PolicyStatement({ actions: ['lambda:InvokeFunction'], resources: [fn.functionArn] })],
    });
    this.stateMachineArn = machine.stateMachineArn;
    this.schedule(days, logsKey);
    this.alarms.push(
      machine.unsuccessfulAlarm(this, 'Drills that failed', 'A restore drill of the vector store failed: what a loss of the domain leaves may not be enough. Its execution says which index, and why.'),
      ...store.indexes.flatMap((index) => [this.overdue(index.name, days), this.old(index.name)]),
    );
  }

  /** How long the newest snapshot of an index took to answer, seconds: the part of a recovery that OpenSearch takes. */
  metricRestoreTime(index: string): Metric {
    return this.metric(index, VectorMetric.RESTORE_TIME, 'Maximum');
  }

  /** What searches of the restored index found of the true neighbours in the original, 0 to 1. */
  metricRecall(index: string): Metric {
    return this.metric(index, VectorMetric.RESTORE_RECALL, 'Minimum');
  }

  private metric(index: string, metricName: string, statistic: string): Metric {
    return new Metric({
      namespace: MetricsNamespace,
      metricName,
      statistic,
      dimensionsMap: { [DimensionName.BRAIN]: this.brain, [VECTOR_INDEX_DIMENSION]: index },
      period: Duration.hours(1),
    });
  }

  /** The paths that a drill asks. */
  private statements({ domain: { domainArn }, indexes }: VectorStore): PolicyStatement[] {
    const paths = (...of: ((generations: string, scratch: string) => string)[]) => indexes.flatMap(({ name }) => (
      of.map((path) => `${domainArn}/${path(`${name}${GENERATION_SEPARATOR}*`, `${VectorStoreName.SCRATCH}${GENERATION_SEPARATOR}${name}`)}`)
    ));
    const repository = `${domainArn}/_snapshot/${VectorStoreName.REPOSITORY}`;
    return [
      new PolicyStatement({
        actions: ['es:ESHttpGet'],
        resources: [
          ...paths((live) => `${live}/_alias`, (live) => `${live}/_count`, (_, scratch) => `${scratch}/_count`, (_, scratch) => `_cluster/health/${scratch}`),
          `${repository}/_all`,
        ],
      }),
      new PolicyStatement({
        actions: ['es:ESHttpPost'], resources: [...paths((live) => `${live}/_search`, (_, scratch) => `${scratch}/_search`), `${repository}/*/_restore`],
      }),
      new PolicyStatement({ actions: ['es:ESHttpDelete'], resources: paths((_, scratch) => scratch) }),
    ];
  }

  /** By days of the month, not from the deployment on: at a quiet hour, and when there is a snapshot. Months end short, never late. */
  private schedule(days: number, key: IKey): void {
    machineSchedules(this, key, [this.stateMachineArn])('Schedule', {
      description: 'Restore drills of the vector store',
      scheduleExpression: `cron(${AT} 1/${days} * ? *)`,
      scheduleExpressionTimezone: 'UTC',
      flexibleTimeWindow: { mode: 'OFF' },
      stateMachineArn: this.stateMachineArn,
      input: {},
    });
  }

  private overdue(index: string, days: number): Alarm {
    const hours = 36 * days;
    return new Alarm(this, `OverdueOf${index}`, {
      alarmDescription: `No restore drill of vector index ${index} passed for ${hours} hours, and one is due every ${24 * days}. Before the first snapshot none can.`,
      metric: this.metric(index, VectorMetric.DRILLS_PASSED, 'Sum'),
      threshold: 1,
      evaluationPeriods: hours,
      comparisonOperator: ComparisonOperator.LESS_THAN_THRESHOLD,
      treatMissingData: TreatMissingData.BREACHING,
    });
  }

  private old(index: string): Alarm {
    return new Alarm(this, `OldSnapshotOf${index}`, {
      alarmDescription: `The newest snapshot of vector index ${index} was more than ${OLD_SNAPSHOT.toHours()} hours old at the drill, and one is due every six: look at the domain's snapshot policy.`,
      metric: this.metric(index, VectorMetric.SNAPSHOT_AGE, 'Maximum'),
      threshold: OLD_SNAPSHOT.toSeconds(),
      evaluationPeriods: 1,
      comparisonOperator: ComparisonOperator.GREATER_THAN_THRESHOLD,
      treatMissingData: TreatMissingData.NOT_BREACHING,
    });
  }
}
