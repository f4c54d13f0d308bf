/** Steps that every question to the offline store begins with: which snapshot, and the query in that snapshot, kept as JSON lines. */
import { DimensionName, FeatureGroupSchema, MetricsNamespace, offlineTableName } from '../../contract';

/** One state, as the Amazon States Language writes it. */
export type AslState = Record<string, unknown>;

/** ARN of a service integration. */
export function integration(partition: string, name: string): string {
  return `arn:${partition}:states:::${name}`;
}

/** An error that goes on here, whatever it is. */
export function otherwise(next: string): object {
  return { ErrorEquals: ['States.ALL'], Assign: { failure: '{% $states.errorOutput %}' }, Next: next };
}

/** A service that throttles or has a bad moment is asked again; a condition that does not hold is an answer. */
export const RETRIES = [
  { ErrorEquals: ['DynamoDB.ConditionalCheckFailedException'], MaxAttempts: 0 },
  { ErrorEquals: ['States.ALL'], IntervalSeconds: 2, MaxAttempts: 5, BackoffRate: 2, MaxDelaySeconds: 60, JitterStrategy: 'FULL' },
];

/** What Athena computes is worth few attempts: each scans the table. */
const QUERY_RETRIES = [{ ErrorEquals: ['States.ALL'], IntervalSeconds: 10, MaxAttempts: 2, BackoffRate: 3, JitterStrategy: 'FULL' }];

export interface AthenaSteps {
  readonly partition: string;
  readonly database: string;
  readonly workGroup: string;
  readonly plannerArn: string;
  readonly bucket: string;
  /** Below which the rows are put: `<folder>/<name of the run>/<attempt>/`. */
  readonly folder: string;
  /** Of one query. */
  readonly timeoutSeconds: number;
  /** Payload of the planner beside group, database and snapshot: an expression that gives an object. */
  readonly question: string;
  /** Where it goes on after {@link pinned} found a snapshot, after the query, where the table has none, and after an error. */
  readonly next: { readonly pinned: string; readonly computed: string; readonly empty: string; readonly failed: string };
}

/** A state that counts a run of `$group` which came to its end, and hands on what it was given. Its absence is the alarm of an overdue group. */
export function countStep(partition: string, brain: string, metricName: string, next: string): AslState {
  return {
    Type: 'Task',
    Resource: integration(partition, 'aws-sdk:cloudwatch:putMetricData'),
    Arguments: {
      Namespace: MetricsNamespace,
      MetricData: [{
        MetricName: metricName,
        Dimensions: [{ Name: DimensionName.BRAIN, Value: brain }, { Name: DimensionName.FEATURE_GROUP, Value: '{% $group.schema.name %}' }],
        Value: 1,
        Unit: 'Count',
      }],
    },
    Output: '{% $states.input %}',
    Retry: RETRIES,
    Next: next,
  };
}

/** Schemas by name, and the table of each. */
export function groupTables(groups: readonly FeatureGroupSchema[]): Record<string, { readonly schema: FeatureGroupSchema; readonly table: string }> {
  return Object.fromEntries(groups.map((schema) => [schema.name, { schema, table: offlineTableName(schema) }]));
}

/** States `Start`, `UnknownGroup`, `Groups`: the input names one of the groups, which are `$groups` from `next` on. */
export function groupSteps(groups: Record<string, object>, next: string): Record<string, AslState> {
  const names = Object.keys(groups);
  return {
    Start: {
      Type: 'Choice',
      Choices: [{ Condition: `{% $states.input.group in ${JSON.stringify(names)} %}`, Next: 'Groups' }],
      Default: 'UnknownGroup',
    },
    UnknownGroup: { Type: 'Fail', Error: 'UnknownGroup', Cause: `{% "the input must name one of these groups as 'group': ${names.join(', ')}" %}` },
    Groups: { Type: 'Pass', Assign: { groups }, Next: next },
  };
}

/**
 * States `Pin`, `ReadPin`, `HasSnapshot`, `Plan`, `Compute`. They read `$group` (of {@link groupTables}) and `$run`, and assign `$snapshot` and `$location`.
 *
 * The snapshot is asked of Athena, which answers with text: an id exceeds what a number of JavaScript or JSONata holds.
 */
export function athenaSteps(steps: AthenaSteps): Record<string, AslState> {
  const { next } = steps;
  const failed = [otherwise(next.failed)];
  return {
    Pin: {
      Type: 'Task',
      Resource: integration(steps.partition, 'athena:startQueryExecution.sync'),
      Arguments: {
        WorkGroup: steps.workGroup,
        QueryString: `{% "SELECT snapshot_id FROM \\"${steps.database}\\".\\"" & $group.table & "$refs\\" WHERE name = 'main'" %}`,
      },
      TimeoutSeconds: steps.timeoutSeconds,
      Retry: QUERY_RETRIES,
      Catch: failed,
      Next: 'ReadPin',
    },
    ReadPin: {
      Type: 'Task',
      Resource: integration(steps.partition, 'athena:getQueryResults'),
      Arguments: { QueryExecutionId: '{% $states.input.QueryExecution.QueryExecutionId %}', MaxResults: 2 },
      // the first row names the columns
      Assign: { snapshot: '{% $count($states.result.ResultSet.Rows) < 2 ? "" : $states.result.ResultSet.Rows[1].Data[0].VarCharValue %}' },
      Retry: RETRIES,
      Catch: failed,
      Next: 'HasSnapshot',
    },
    HasSnapshot: {
      Type: 'Choice',
      Choices: [{ Condition: '{% $snapshot = "" %}', Next: next.empty }],
      Default: next.pinned,
    },
    Plan: {
      Type: 'Task',
      Resource: integration(steps.partition, 'lambda:invoke'),
      Arguments: {
        FunctionName: steps.plannerArn,
        Payload: `{% $merge([{"group": $group.schema, "database": "${steps.database}", "snapshot": $snapshot}, ${steps.question}]) %}`,
      },
      Output: '{% $states.result.Payload %}',
      Retry: RETRIES,
      Catch: failed,
      Next: 'Compute',
    },
    // Athena refuses to write where something is already: each attempt has a folder of its own
    Compute: {
      Type: 'Task',
      Resource: integration(steps.partition, 'athena:startQueryExecution.sync'),
      Arguments: {
        WorkGroup: steps.workGroup,
        QueryString: `{% "UNLOAD (" & $states.input.query & ") TO 's3://${steps.bucket}/${steps.folder}/" & $run & "/" & $string($states.context.State.RetryCount)`
          + ' & "/\' WITH (format = \'JSON\', compression = \'gzip\')" %}',
      },
      Assign: { location: `{% "${steps.folder}/" & $run & "/" & $string($states.context.State.RetryCount) & "/" %}` },
      TimeoutSeconds: steps.timeoutSeconds,
      Retry: QUERY_RETRIES,
      Catch: failed,
      Next: next.computed,
    },
  };
}
