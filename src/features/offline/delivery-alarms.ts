import { Duration } from 'aws-cdk-lib';
import { Alarm, ComparisonOperator, IMetric, MathExpression, Metric, TreatMissingData } from 'aws-cdk-lib/aws-cloudwatch';
import { Construct } from 'constructs';
import { DimensionName, MetricName, MetricsNamespace, OfflinePrefix } from '../../contract';
import { filledSum } from '../../private/filled-sum';

export interface DeliveryAlarmsProps {
  /** Begins the ids of the alarms. */
  readonly id: string;
  readonly table: string;
  readonly group: string;
  readonly deliveryStreamName: string;
  /** The stream that is delivered. */
  readonly streamName: string;
  readonly functionName: string;
  /** How long rows wait for others. */
  readonly seconds: number;
  /** How long a write to the table is tried. */
  readonly retry: Duration;
}

const PERIOD = Duration.minutes(5);
/** Periods in a row, where one alone is no fault. */
const LASTING = 3;
/** What a row may take beside waiting for others and being tried again. */
const SLACK = Duration.minutes(15);
/** DynamoDB replicates to Kinesis within seconds: a lag beyond this is one of the stream's capacity, or of a permission. */
const UNREPLICATED = Duration.minutes(15);

/** What tells that a table does not follow: rows in the error prefix, rows that come too late, a delivery that reads nothing (docs/adr/0050). */
export function deliveryAlarms(scope: Construct, props: DeliveryAlarmsProps): Alarm[] {
  const { id, table, group, retry } = props;
  const firehose = metrics('AWS/Firehose', { DeliveryStreamName: props.deliveryStreamName });
  const undeliverable = metrics(MetricsNamespace, { [DimensionName.FUNCTION]: props.functionName, [DimensionName.FEATURE_GROUP]: group });
  const late = props.seconds + retry.toSeconds() + SLACK.toSeconds();
  return [
    alarm(scope, `${id}Lost`, `Rows of feature group ${group} did not get into ${table}: they are under ${OfflinePrefix.ERRORS}/${table}/ for a while. Bring them back as docs/errors.md says.`, {
      metric: filledSum('Rows that were not delivered', {
        one: firehose('DeliveryToIceberg.FailedRowCount', 'Sum'), other: undeliverable(MetricName.UNDELIVERABLE_RECORDS, 'Sum'),
      }, PERIOD),
    }),
    alarm(scope, `${id}Late`, `${table} is more than ${late} s behind feature group ${group}: look at the delivery's log, and at how much is written.`, {
      metric: new MathExpression({
        expression: 'FILL(waiting, 0) + FILL(behind, 0) / 1000',
        usingMetrics: { waiting: firehose('DeliveryToIceberg.DataFreshness', 'Maximum'), behind: firehose('KinesisMillisBehindLatest', 'Maximum') },
        label: 'Seconds that the table is behind',
        period: PERIOD,
      }),
      threshold: late,
      periods: LASTING,
    }),
    alarm(scope, `${id}Stopped`, `The delivery to ${table} reads nothing of what is written: look at its role, its key and its log before the stream forgets.`, {
      metric: new MathExpression({
        expression: 'IF(FILL(written, 0) > 0 AND FILL(read, 0) == 0, 1, 0)',
        usingMetrics: {
          written: metrics('AWS/Kinesis', { StreamName: props.streamName })('IncomingRecords', 'Sum'),
          read: firehose('DataReadFromKinesisStream.Records', 'Sum'),
        },
        label: 'Nothing is read',
        period: PERIOD,
      }),
      periods: LASTING,
    }),
  ];
}

/** An alarm on calls of the function that makes rows: a batch whose calls keep failing goes to the error prefix. */
export function transformAlarm(scope: Construct, functionName: string): Alarm {
  const lambda = metrics('AWS/Lambda', { FunctionName: functionName });
  return alarm(scope, 'TransformFailed', 'The function that makes offline rows failed or was throttled: see its log. What it could not make is under the error prefix.', {
    metric: filledSum('Calls that failed', { one: lambda('Errors', 'Sum'), other: lambda('Throttles', 'Sum') }, PERIOD),
  });
}

/** What tells that changes of the online table do not reach the stream. */
export function replicationAlarms(scope: Construct, tableName: string): Alarm[] {
  // by a query, as the value of the dimension DelegatedOperation stands in no documentation
  const worst = (metricName: string) => new MathExpression({
    expression: `SELECT MAX(${metricName}) FROM SCHEMA("AWS/DynamoDB", DelegatedOperation, TableName) WHERE TableName = '${tableName}'`,
    label: metricName,
    period: PERIOD,
  });
  return [
    alarm(scope, 'ChangesLost', 'A change of the online table is too large for the stream, and is not offline: items that become larger than 1 MB as JSON are left out.', {
      metric: worst('FailedToReplicateRecordCount'),
    }),
    alarm(scope, 'ChangesLate', `Changes of the online table reach the stream more than ${UNREPLICATED.toMinutes()} minutes late: look at the stream's capacity and key.`, {
      metric: worst('AgeOfOldestUnreplicatedRecord'),
      threshold: UNREPLICATED.toMilliseconds(),
      periods: LASTING,
    }),
  ];
}

function metrics(namespace: string, dimensionsMap: Record<string, string>): (metricName: string, statistic: string) => Metric {
  return (metricName, statistic) => new Metric({ namespace, metricName, dimensionsMap, statistic, period: PERIOD });
}

/** At or above a threshold, by default 1. */
function alarm(scope: Construct, id: string, alarmDescription: string, what: { metric: IMetric; threshold?: number; periods?: number }): Alarm {
  return new Alarm(scope, id, {
    alarmDescription,
    metric: what.metric,
    threshold: what.threshold ?? 1,
    evaluationPeriods: what.periods ?? 1,
    comparisonOperator: ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD,
    treatMissingData: TreatMissingData.NOT_BREACHING,
  });
}
