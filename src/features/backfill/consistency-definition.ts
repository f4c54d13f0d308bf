/** The state machine of the consistency check: a sample of entities, as offline says and as online does. */
import { AslState, athenaSteps, countStep, groupSteps, groupTables, integration, otherwise, RETRIES } from './athena-steps';
import { BackfillPath, FeatureGroupSchema, MetricName } from '../../contract';

export interface ConsistencyDefinitionProps {
  /** AWS partition, e.g. `aws`. */
  readonly partition: string;
  readonly brain: string;
  readonly groups: readonly FeatureGroupSchema[];
  readonly database: string;
  readonly workGroup: string;
  readonly bucket: string;
  readonly plannerArn: string;
  readonly checkArn: string;
  /** Entities of one check. */
  readonly sampleSize: number;
  readonly queryTimeoutSeconds: number;
}

/** pin the snapshot → draw and compute a sample → compare → report. Each run draws other entities. */
export function consistencyDefinition(props: ConsistencyDefinitionProps): { StartAt: string; States: Record<string, AslState> } {
  const groups = groupTables(props.groups);
  const states: Record<string, AslState> = {
    ...groupSteps(groups, 'Request'),
    Request: {
      Type: 'Pass',
      Assign: {
        group: '{% $lookup($groups, $states.input.group) %}',
        run: '{% "check-" & $states.context.Execution.Name %}',
        asOf: '{% $toMillis($states.context.Execution.StartTime) %}',
      },
      Next: 'Pin',
    },
    ...athenaSteps({
      ...props,
      folder: BackfillPath.RUNS,
      timeoutSeconds: props.queryTimeoutSeconds,
      question: `{"asOf": $asOf, "sample": {"size": ${props.sampleSize}, "seed": $run}}`,
      next: { pinned: 'Plan', computed: 'Compare', empty: 'NothingOffline', failed: 'Failed' },
    }),
    Compare: {
      Type: 'Task',
      Resource: integration(props.partition, 'lambda:invoke'),
      Arguments: { FunctionName: props.checkArn, Payload: { group: '{% $group.schema %}', prefix: '{% $location %}' } },
      Output: '{% $states.result.Payload %}',
      Retry: RETRIES,
      Catch: [otherwise('Failed')],
      Next: 'Report',
    },
    NothingOffline: { Type: 'Pass', Output: { sampled: 0 }, Next: 'Report' },
    Report: countStep(props.partition, props.brain, MetricName.CONSISTENCY_CHECKED, 'Done'),
    Done: { Type: 'Succeed' },
    Failed: { Type: 'Fail', Error: '{% $failure.Error %}', Cause: '{% $failure.Cause %}' },
  };
  return { StartAt: 'Start', States: states };
}
