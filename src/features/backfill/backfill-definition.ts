/** The state machine of a backfill (docs/adr/0058). */
import { AslState, athenaSteps, countStep, groupSteps, groupTables, integration, otherwise, RETRIES } from './athena-steps';
import { BackfillPath, checkpointKey, ControlItem, controlKey, FeatureGroupSchema, MetricName } from '../../contract';

export interface BackfillDefinitionProps {
  /** AWS partition, e.g. `aws`. */
  readonly partition: string;
  readonly brain: string;
  readonly groups: readonly FeatureGroupSchema[];
  readonly database: string;
  readonly workGroup: string;
  readonly bucket: string;
  readonly controlTable: string;
  readonly plannerArn: string;
  readonly writerArn: string;
  /** Writers at once. */
  readonly writers: number;
  /** How far before the watermark rows are read again, milliseconds. */
  readonly overlapMs: number;
  /** What a dead run computed is good for so long, milliseconds; the bucket keeps it for longer. */
  readonly planGoodForMs: number;
  readonly queryTimeoutSeconds: number;
  readonly writerTimeoutSeconds: number;
}

const NAMES = { '#owner': ControlItem.OWNER };
const CONFLICT = 'DynamoDB.ConditionalCheckFailedException';

/**
 * claim the group → pin the snapshot → compute the latest rows → write them → count → finish.
 *
 * The group's item in the control table names the execution that has it. An execution that finds another one there asks Step Functions whether
 * that still runs: if it does this one fails with BackfillBusy, if not it takes the group over, and goes on with what was computed already.
 */
export function backfillDefinition(props: BackfillDefinitionProps): { StartAt: string; States: Record<string, AslState> } {
  const failed = [otherwise('Release')];
  const me = { ':me': { S: '{% $me %}' } };
  const groupItem = { [ControlItem.PK]: { S: '{% $group.key %}' }, [ControlItem.SK]: { S: ControlItem.GROUP } };
  const update = (UpdateExpression: string, ConditionExpression: string, values: object, names: object = NAMES): object => ({
    TableName: props.controlTable,
    Key: groupItem,
    UpdateExpression,
    ConditionExpression,
    ExpressionAttributeNames: names,
    ExpressionAttributeValues: { ...me, ...values },
    ReturnValues: 'ALL_NEW',
  });
  const task = (resource: string, rest: AslState): AslState => (
    { Type: 'Task', Resource: integration(props.partition, resource), Retry: RETRIES, ...rest });
  const mine = { item: '{% $states.result.Attributes %}' };
  const busy = { ErrorEquals: [CONFLICT], Next: 'Busy' };
  const tables = Object.entries(groupTables(props.groups));
  const groups = Object.fromEntries(tables.map(([name, group]) => [name, { ...group, key: controlKey(group.schema) }]));

  const states: Record<string, AslState> = {
    ...groupSteps(groups, 'Request'),
    Request: {
      Type: 'Pass',
      Assign: {
        group: '{% $lookup($groups, $states.input.group) %}',
        full: '{% $states.input.full = true %}',
        dryRun: '{% $states.input.dryRun = true %}',
        me: '{% $states.context.Execution.Id %}',
        run: '{% $states.context.Execution.Name %}',
        until: '{% $toMillis($states.context.Execution.StartTime) %}',
        totals: { lines: 0, changed: 0, kept: 0, refused: 0 },
      },
      Next: 'Claim',
    },
    Claim: task('dynamodb:updateItem', {
      Arguments: update('SET #owner = :me', 'attribute_not_exists(#owner) OR #owner = :me', {}),
      Assign: mine,
      Catch: [{ ErrorEquals: [CONFLICT], Next: 'WhoHasIt' }],
      Next: 'Claimed',
    }),
    WhoHasIt: task('dynamodb:getItem', {
      Arguments: { TableName: props.controlTable, Key: groupItem, ConsistentRead: true },
      Assign: { holder: `{% $exists($states.result.Item.${ControlItem.OWNER}.S) ? $states.result.Item.${ControlItem.OWNER}.S : "" %}` },
      Next: 'LetGo',
    }),
    LetGo: { Type: 'Choice', Choices: [{ Condition: '{% $holder = "" %}', Next: 'Claim' }], Default: 'DoesItRun' },
    DoesItRun: task('aws-sdk:sfn:describeExecution', {
      Arguments: { ExecutionArn: '{% $holder %}' },
      Output: '{% $states.result.Status %}',
      Retry: [{ ErrorEquals: ['Sfn.ExecutionDoesNotExistException'], MaxAttempts: 0 }, ...RETRIES],
      // Step Functions forgets executions after 90 days
      Catch: [{ ErrorEquals: ['Sfn.ExecutionDoesNotExistException'], Next: 'TakeOver' }],
      Next: 'Runs',
    }),
    Runs: { Type: 'Choice', Choices: [{ Condition: '{% $states.input in ["RUNNING", "PENDING_REDRIVE"] %}', Next: 'Busy' }], Default: 'TakeOver' },
    TakeOver: task('dynamodb:updateItem', {
      Arguments: update('SET #owner = :me', '#owner = :holder', { ':holder': { S: '{% $holder %}' } }),
      Assign: mine,
      Catch: [busy],
      Next: 'Claimed',
    }),
    Busy: {
      Type: 'Fail',
      Error: 'BackfillBusy',
      Cause: '{% "group " & $group.schema.name & " is being backfilled by " & $holder & ": wait for its end, or stop it" %}',
    },

    Claimed: {
      Type: 'Choice',
      Choices: [{
        Condition: `{% $exists($item.${ControlItem.PLAN}.M) and $dryRun = false and ($item.plan.M.full.BOOL = $full)`
          + ` and $until - $number($item.plan.M.until.N) < ${props.planGoodForMs} %}`,
        Next: 'GoOn',
      }],
      Default: 'Pin',
    },
    GoOn: {
      Type: 'Pass',
      Assign: {
        run: '{% $item.plan.M.run.S %}',
        location: '{% $item.plan.M.location.S %}',
        snapshot: '{% $item.plan.M.snapshot.S %}',
        until: '{% $number($item.plan.M.until.N) %}',
      },
      Next: 'Look',
    },
    ...athenaSteps({
      partition: props.partition,
      database: props.database,
      workGroup: props.workGroup,
      plannerArn: props.plannerArn,
      bucket: props.bucket,
      folder: BackfillPath.RUNS,
      timeoutSeconds: props.queryTimeoutSeconds,
      question: `$merge([{"asOf": $until}, $full or $not($exists($item.${ControlItem.WATERMARK}.N)) ? {}`
        + ` : {"createdFrom": $max([0, $number($item.${ControlItem.WATERMARK}.N) - ${props.overlapMs}])}])`,
      next: { pinned: 'IsNew', computed: 'Computed', empty: 'HowToEnd', failed: 'Release' },
    }),
    // an incremental run of a snapshot that was written completely has nothing to do
    IsNew: {
      Type: 'Choice',
      Choices: [{ Condition: `{% $full = false and $exists($item.${ControlItem.SNAPSHOT}.S) and $item.${ControlItem.SNAPSHOT}.S = $snapshot %}`, Next: 'HowToEnd' }],
      Default: 'Plan',
    },
    HowToEnd: { Type: 'Choice', Choices: [{ Condition: '{% $dryRun %}', Next: 'EndDryRun' }], Default: 'Finish' },
    Computed: { Type: 'Choice', Choices: [{ Condition: '{% $dryRun %}', Next: 'Look' }], Default: 'KeepPlan' },
    KeepPlan: task('dynamodb:updateItem', {
      Arguments: update('SET #plan = :plan', '#owner = :me', {
        ':plan': {
          M: {
            run: { S: '{% $run %}' },
            location: { S: '{% $location %}' },
            snapshot: { S: '{% $snapshot %}' },
            until: { N: '{% $string($until) %}' },
            full: { BOOL: '{% $full %}' },
          },
        },
      }, { ...NAMES, '#plan': ControlItem.PLAN }),
      Catch: failed,
      Next: 'Look',
    }),
    // a distributed map is not asked to read a folder without objects
    Look: task('aws-sdk:s3:listObjectsV2', {
      Arguments: { Bucket: props.bucket, Prefix: '{% $location %}', MaxKeys: 1 },
      Output: '{% $states.result.KeyCount %}',
      Catch: failed,
      Next: 'IsThereAnything',
    }),
    IsThereAnything: { Type: 'Choice', Choices: [{ Condition: '{% $states.input = 0 %}', Next: 'HowToEnd' }], Default: 'Write' },
    Write: {
      Type: 'Map',
      ItemReader: { Resource: integration(props.partition, 's3:listObjectsV2'), Arguments: { Bucket: props.bucket, Prefix: '{% $location %}' } },
      ItemSelector: { group: '{% $group.schema %}', run: '{% $run %}', key: '{% $states.context.Map.Item.Value.Key %}', dryRun: '{% $dryRun %}' },
      MaxConcurrency: props.writers,
      ItemProcessor: {
        ProcessorConfig: { Mode: 'DISTRIBUTED', ExecutionType: 'STANDARD' },
        StartAt: 'WritePart',
        States: {
          WritePart: task('lambda:invoke', {
            Arguments: { FunctionName: props.writerArn, Payload: '{% $states.input %}' },
            Output: '{% $merge([$states.input, {"done": $states.result.Payload.done}]) %}',
            TimeoutSeconds: props.writerTimeoutSeconds,
            Next: 'IsPartDone',
          }),
          IsPartDone: { Type: 'Choice', Choices: [{ Condition: '{% $states.input.done %}', Next: 'PartWritten' }], Default: 'WritePart' },
          PartWritten: { Type: 'Succeed', Output: {} },
        },
      },
      Retry: [{ ErrorEquals: ['States.ItemReaderFailed'], IntervalSeconds: 5, MaxAttempts: 3, BackoffRate: 2, JitterStrategy: 'FULL' }],
      Catch: failed,
      Output: {},
      Next: 'Count',
    },
    Count: task('aws-sdk:dynamodb:query', {
      Arguments: `{% $merge([{"TableName": "${props.controlTable}", "KeyConditionExpression": "${ControlItem.PK} = :run"`
        + `, "ExpressionAttributeValues": {":run": {"S": "${checkpointKey('')}" & $run}}}`
        + ', $exists($states.input.LastEvaluatedKey) ? {"ExclusiveStartKey": $states.input.LastEvaluatedKey} : {}]) %}',
      Assign: {
        totals: `{% {${[ControlItem.LINES, ControlItem.CHANGED, ControlItem.KEPT, ControlItem.REFUSED]
          .map((name) => `"${name}": $totals.${name} + $sum($states.result.Items.${name}.N.$number())`).join(', ')}} %}`,
      },
      Output: '{% $exists($states.result.LastEvaluatedKey) ? {"LastEvaluatedKey": $states.result.LastEvaluatedKey} : {} %}',
      Catch: failed,
      Next: 'IsAllCounted',
    }),
    IsAllCounted: { Type: 'Choice', Choices: [{ Condition: '{% $exists($states.input.LastEvaluatedKey) %}', Next: 'Count' }], Default: 'HowToEnd' },

    Finish: task('dynamodb:updateItem', {
      Arguments: update('SET #watermark = :until, #snapshot = :snapshot REMOVE #owner, #plan', '#owner = :me', {
        ':until': { N: '{% $string($until) %}' }, ':snapshot': { S: '{% $snapshot %}' },
      }, { ...NAMES, '#watermark': ControlItem.WATERMARK, '#snapshot': ControlItem.SNAPSHOT, '#plan': ControlItem.PLAN }),
      Catch: failed,
      Next: 'Report',
    }),
    Report: countStep(props.partition, props.brain, MetricName.BACKFILL_COMPLETED, 'Done'),
    EndDryRun: task('dynamodb:updateItem', { Arguments: update('REMOVE #owner', '#owner = :me', {}), Catch: failed, Next: 'Done' }),
    Done: {
      Type: 'Succeed',
      Output: '{% $merge([$totals, {"group": $group.schema.name, "version": $group.schema.version, "snapshot": $snapshot, "run": $run, "dryRun": $dryRun}]) %}',
    },
    Release: task('dynamodb:updateItem', {
      Arguments: update('REMOVE #owner', '#owner = :me', {}),
      Catch: [{ ErrorEquals: ['States.ALL'], Next: 'Failed' }],
      Next: 'Failed',
    }),
    Failed: { Type: 'Fail', Error: '{% $failure.Error %}', Cause: '{% $failure.Cause %}' },
  };
  return { StartAt: 'Start', States: states };
}
