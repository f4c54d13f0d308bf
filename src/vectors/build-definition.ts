/** The state machine of a build of a generation (docs/adr/0075). */
import { FINAL_BUILD_ERRORS, FOREIGN_BUILD_ERRORS } from '../contract';

export interface BuildDefinitionProps {
  /** AWS partition, e.g. `aws`. */
  readonly partition: string;
  readonly functionArn: string;
  /** Of one call of the function, seconds; a little more than its own. */
  readonly callSeconds: number;
  readonly workBucket: string;
  /** Loads at once. */
  readonly loaders: number;
}

type State = Record<string, unknown>;

/** Between two looks at a step that takes longer than a call. */
const LOOK_SECONDS = 30;

/** What is final or foreign is not tried again; everything else may be a bad moment of the domain, of S3 or of Lambda. */
const RETRIES = [
  { ErrorEquals: [...FINAL_BUILD_ERRORS, ...FOREIGN_BUILD_ERRORS], MaxAttempts: 0 },
  { ErrorEquals: ['States.ALL'], IntervalSeconds: 5, MaxAttempts: 6, BackoffRate: 2, MaxDelaySeconds: 120, JitterStrategy: 'FULL' },
];

/** Steps after the load, each with the one that follows. */
const STEPS = ['seal', 'merge', 'replicate', 'check', 'warm', 'switch', 'retire'] as const;

const nameOf = (step: string) => step[0].toUpperCase() + step.slice(1);

/**
 * begin → load every part → seal → merge → replicate → check → warm → switch → retire; `{"rollback": true}` returns to the generation before instead.
 *
 * A final error abandons the build. Any other is caught by nothing and ends the execution in the state that it was in: a redrive enters that one again,
 * and of the load the parts that were not loaded. One that is caught would be redriven into `Failed`, and fail again (developer guide of Step Functions,
 * "Redriving executions").
 */
export function buildDefinition(props: BuildDefinitionProps): { StartAt: string; States: Record<string, State> } {
  const { partition, functionArn, callSeconds, workBucket, loaders } = props;
  const failure = { failure: '{% $states.errorOutput %}' };
  const caught = [{ ErrorEquals: [...FINAL_BUILD_ERRORS], Assign: failure, Next: 'Abandon' }];
  const call = (payload: object, rest: State): State => ({
    Type: 'Task',
    Resource: `arn:${partition}:states:::lambda:invoke`,
    Arguments: { FunctionName: functionArn, Payload: payload },
    TimeoutSeconds: callSeconds,
    Retry: RETRIES,
    ...rest,
  });
  const build = '{% $build %}';
  /** A step that is asked for until it is done. */
  const looked = (step: string, payload: object, next: string, rest: State = {}): Record<string, State> => {
    const name = nameOf(step);
    return {
      [name]: call(payload, { ...rest, Output: '{% $states.result.Payload %}', Catch: caught, Next: `Is${name}Done` }),
      [`Is${name}Done`]: { Type: 'Choice', Choices: [{ Condition: '{% $states.input.done %}', Next: next }], Default: `WaitFor${name}` },
      [`WaitFor${name}`]: { Type: 'Wait', Seconds: LOOK_SECONDS, Next: name },
    };
  };

  const states: Record<string, State> = {
    Start: {
      Type: 'Choice', Choices: [{ Condition: '{% $states.input.rollback = true %}', Next: 'Rollback' }], Default: 'Name',
    },
    Rollback: call({ step: 'rollback', build: '{% $states.context.Execution.Name %}', input: '{% $states.input %}' }, { Output: '{% $states.result.Payload %}', Next: 'Done' }),
    Name: { Type: 'Pass', Assign: { build: '{% $states.context.Execution.Name %}', input: '{% $states.input %}' }, Next: 'Begin' },
    // the input as it came: the function checks it
    ...looked('begin', { step: 'begin', build, input: '{% $input %}' }, 'Load', {
      Assign: {
        generation: '{% $states.result.Payload.generation %}', parts: '{% $states.result.Payload.parts %}', key: '{% $states.result.Payload.key %}',
      },
    }),
    Load: {
      Type: 'Map',
      ItemReader: {
        Resource: `arn:${partition}:states:::s3:getObject`, ReaderConfig: { InputType: 'JSON' }, Arguments: { Bucket: workBucket, Key: '{% $key %}' },
      },
      ItemSelector: { step: 'load', build, parts: '{% $parts %}', item: '{% $states.context.Map.Item.Value %}' },
      MaxConcurrency: loaders,
      ItemProcessor: {
        ProcessorConfig: { Mode: 'DISTRIBUTED', ExecutionType: 'STANDARD' },
        StartAt: 'LoadPart',
        States: {
          LoadPart: {
            Type: 'Task',
            Resource: `arn:${partition}:states:::lambda:invoke`,
            Arguments: { FunctionName: functionArn, Payload: '{% $states.input %}' },
            Output: '{% $merge([$states.input, {"done": $states.result.Payload.done}]) %}',
            TimeoutSeconds: callSeconds,
            Retry: RETRIES,
            // no error of the map, which would not say which it was
            Catch: [{ ErrorEquals: [...FINAL_BUILD_ERRORS], Next: 'PartRefused' }],
            Next: 'IsPartLoaded',
          },
          IsPartLoaded: { Type: 'Choice', Choices: [{ Condition: '{% $states.input.done %}', Next: 'PartLoaded' }], Default: 'LoadPart' },
          // a digit for each: those of all parts must fit into the data of an execution (MAX_VECTOR_PARTS)
          PartLoaded: { Type: 'Succeed', Output: '{% 0 %}' },
          PartRefused: { Type: 'Succeed', Output: '{% 1 %}' },
        },
      },
      Retry: [{ ErrorEquals: ['States.ItemReaderFailed'], IntervalSeconds: 5, MaxAttempts: 3, BackoffRate: 2, JitterStrategy: 'FULL' }],
      Output: '{% $sum($states.result) %}',
      Next: 'IsAllTaken',
    },
    IsAllTaken: {
      Type: 'Choice',
      Choices: [{ Condition: '{% $states.input = 0 %}', Next: nameOf(STEPS[0]) }],
      Default: 'Refused',
    },
    // fails with what a part was refused for
    Refused: call({ step: 'refusal', build }, { Catch: caught, Next: 'Abandon' }),
  };
  STEPS.forEach((step, at) => {
    Object.assign(states, looked(step, { step, build }, at + 1 < STEPS.length ? nameOf(STEPS[at + 1]) : 'Built'));
  });
  return {
    StartAt: 'Start',
    States: {
      ...states,
      Built: { Type: 'Succeed', Output: { generation: '{% $generation %}', build } },
      Done: { Type: 'Succeed' },
      // caught: why the build was refused is what has to be seen, and the next one takes away what is left
      Abandon: call({ step: 'abandon', build }, { Catch: [{ ErrorEquals: ['States.ALL'], Next: 'Failed' }], Next: 'Failed' }),
      Failed: { Type: 'Fail', Error: '{% $failure.Error %}', Cause: '{% $failure.Cause %}' },
    },
  };
}
