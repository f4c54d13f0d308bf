/** The state machine of restore drills (docs/adr/0080). */
import { DrilledIndex, FINAL_DRILL_ERRORS } from '../contract';

export interface DrillDefinitionProps {
  /** AWS partition, e.g. `aws`. */
  readonly partition: string;
  readonly functionArn: string;
  /** Of one call of the function, seconds; a little more than its own. */
  readonly callSeconds: number;
  readonly indexes: readonly DrilledIndex[];
}

type State = Record<string, unknown>;

const RETRIES = [
  { ErrorEquals: [...FINAL_DRILL_ERRORS], MaxAttempts: 0 },
  { ErrorEquals: ['States.ALL'], IntervalSeconds: 10, MaxAttempts: 4, BackoffRate: 2, MaxDelaySeconds: 120, JitterStrategy: 'FULL' },
];

/** Between two tries to delete a copy. */
const LOOK_SECONDS = 30;
/** Characters of the sentence that says why an index failed. */
const MOST_CAUSE = 300;

/**
 * Index by index: advance until the copy is compared, finish, and clean until the copy is gone, which waits for a snapshot that is made of it. One that
 * fails is cleaned up after as well, and does not keep the others from theirs.
 */
export function drillDefinition(props: DrillDefinitionProps): { StartAt: string; States: Record<string, State> } {
  const { partition, functionArn, callSeconds, indexes } = props;
  const call = (step: string, rest: State): State => ({
    Type: 'Task',
    Resource: `arn:${partition}:states:::lambda:invoke`,
    Arguments: { FunctionName: functionArn, Payload: `{% $merge([$states.input, {"step": "${step}"}]) %}` },
    TimeoutSeconds: callSeconds,
    Retry: RETRIES,
    ...rest,
  });
  const failed = '$exists($states.input.error)';
  const failureOf = `$merge([$states.input, {"error": $states.errorOutput.Error, "cause": $substring($states.errorOutput.Cause, 0, ${MOST_CAUSE})}])`;
  const failure = `{% ${failureOf} %}`;
  return {
    StartAt: 'Drills',
    States: {
      Drills: {
        Type: 'Map',
        Items: indexes,
        ItemSelector: { drilled: '{% $states.context.Map.Item.Value %}' },
        // the copies of all indexes at once may not fit
        MaxConcurrency: 1,
        ItemProcessor: {
          ProcessorConfig: { Mode: 'INLINE' },
          StartAt: 'Advance',
          States: {
            Advance: call('advance', {
              Output: '{% $merge([$states.input, {"progress": $states.result.Payload}]) %}', Catch: [{ ErrorEquals: ['States.ALL'], Output: failure, Next: 'Clean' }], Next: 'IsCompared',
            }),
            IsCompared: { Type: 'Choice', Choices: [{ Condition: '{% $states.input.progress.done %}', Next: 'Finish' }], Default: 'Advance' },
            Finish: call('finish', {
              Output: '{% $merge([$states.input, {"verdict": $states.result.Payload}]) %}', Catch: [{ ErrorEquals: ['States.ALL'], Output: failure, Next: 'Clean' }], Next: 'Clean',
            }),
            // what the drill failed for is what has to be seen, and else that its copy stays
            Clean: call('clean', {
              Output: '{% $merge([$states.input, {"cleaned": $states.result.Payload.done}]) %}',
              Catch: [{ ErrorEquals: ['States.ALL'], Output: `{% ${failed} ? $states.input : ${failureOf} %}`, Next: 'HasPassed' }],
              Next: 'IsClean',
            }),
            IsClean: { Type: 'Choice', Choices: [{ Condition: '{% $states.input.cleaned %}', Next: 'HasPassed' }], Default: 'WaitToClean' },
            WaitToClean: { Type: 'Wait', Seconds: LOOK_SECONDS, Next: 'Clean' },
            HasPassed: { Type: 'Choice', Choices: [{ Condition: `{% ${failed} %}`, Next: 'NotDrilled' }], Default: 'Drilled' },
            Drilled: { Type: 'Succeed', Output: '{% $states.input.verdict %}' },
            NotDrilled: {
              Type: 'Succeed', Output: { index: '{% $states.input.drilled.schema.name %}', error: '{% $states.input.error %}', cause: '{% $states.input.cause %}' },
            },
          },
        },
        Next: 'HaveAllPassed',
      },
      HaveAllPassed: { Type: 'Choice', Choices: [{ Condition: '{% $count($states.input[$exists(error)]) = 0 %}', Next: 'Passed' }], Default: 'Failed' },
      Passed: { Type: 'Succeed' },
      Failed: { Type: 'Fail', Error: '{% $states.input[$exists(error)][0].error %}', Cause: '{% $join($states.input[$exists(error)].(index & ": " & cause), "; ") %}' },
    },
  };
}
