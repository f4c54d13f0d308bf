/** The interpreter of state machines keeps the language's rules; what it says of our machines hangs on that. */
import { VirtualClock } from './clock';
import type { Definition, Json, State } from './definition';
import { definitionOf } from './definition';
import { StateError } from './errors';
import { type Handler, StateMachine } from './machine';
import { definitionErrors } from './validate';

const ARN = 'arn:aws:states:::';
const machineOf = (states: Record<string, State>, more: Partial<Definition> = {}): StateMachine => {
  const definition = JSON.parse(JSON.stringify({ QueryLanguage: 'JSONata', StartAt: Object.keys(states)[0], States: states, ...more })) as Definition;
  expect(definitionErrors(definition)).toBe('');
  return new StateMachine(definition);
};
const run = (states: Record<string, State>, input: Json = {}, handlers: Record<string, Handler> = {}) => machineOf(states).run(input, { handlers });
const task = (resource: string, more: Partial<State> = {}): State => ({ Type: 'Task', Resource: `${ARN}${resource}`, End: true, ...more });

describe('data', () => {
  test('an output and an assignment see the input, the result, the context and the variables from before the state', async () => {
    const { output } = await run({
      First: { Type: 'Pass', Assign: { n: 1, name: '{% $states.context.Execution.Name %}' }, Output: { kept: '{% $states.input.a %}' }, Next: 'Second' },
      Second: task('lambda:invoke', {
        Arguments: { n: '{% $n %}', in: '{% $states.input.kept %}', constant: 'as it is' },
        Assign: { n: '{% $n + 1 %}' },
        Output: { before: '{% $n %}', answer: '{% $states.result.Payload %}', End: '{% $states.context.State.Name %}' },
        End: undefined,
        Next: 'Third',
      }),
      Third: { Type: 'Succeed', Output: '{% $merge([$states.input, {"n": $n, "run": $name}]) %}' },
    }, { a: [1, 2] }, { 'lambda:invoke': (args) => ({ Payload: args }) });
    expect(output).toEqual({ before: 1, answer: { n: 1, in: [1, 2], constant: 'as it is' }, End: 'Second', n: 2, run: 'run-1' });
  });

  test.each([
    ['that gives nothing', '{% $states.input.absent %}'],
    ['that cannot be evaluated', '{% 1 + "a" %}'],
    ['that evaluates text', '{% $eval("1") %}'],
  ])('an expression %s fails the state', async (_what, expression) => {
    const { status, error } = await run({ Only: { Type: 'Pass', Output: expression, End: true } });
    expect({ status, error }).toEqual({ status: 'FAILED', error: 'States.QueryEvaluationError' });
  });

  test('more than 256 KiB end the execution, and nothing catches that', async () => {
    const { error } = await run({
      Only: task('lambda:invoke', { Catch: [{ ErrorEquals: ['States.ALL'], Next: 'Caught' }] }),
      Caught: { Type: 'Succeed' },
    }, {}, { 'lambda:invoke': () => 'x'.repeat(262_144) });
    expect(error).toBe('States.DataLimitExceeded');
  });

  test('functions of Step Functions are there', async () => {
    const { output } = await run({ Only: { Type: 'Pass', Output: '{% {"p": $partition([1,2,3], 2), "r": $range(0, 4, 2), "h": $hash("a", "SHA-256"), "j": $parse("[1]")} %}', End: true } });
    expect(output).toMatchObject({ p: [[1, 2], [3]], r: [0, 2, 4], h: expect.stringMatching(/^ca978112/), j: [1] });
  });
});

test('a choice takes the first condition that holds, or its default, or fails', async () => {
  const states = (fallback: Partial<State>): Record<string, State> => ({
    Which: { Type: 'Choice', Choices: [{ Condition: '{% $states.input > 9 %}', Next: 'Many' }, { Condition: '{% $states.input > 4 %}', Next: 'Some', Output: '{% "changed" %}' }], ...fallback },
    Many: { Type: 'Succeed' },
    Some: { Type: 'Succeed' },
    ...fallback.Default === undefined ? {} : { Few: { Type: 'Fail', Error: 'Few', Cause: '{% "only " & $states.input %}' } },
  });
  const machine = machineOf(states({ Default: 'Few' }));
  expect((await machine.run(10, { handlers: {} })).output).toBe(10);
  expect(machine.coverage.missing()).toEqual(['Which -> Some (condition 2)', 'Which -> Few (default)', 'Some', 'Few']);
  expect((await machine.run(5, { handlers: {} })).output).toBe('changed');
  expect(await machine.run(1, { handlers: {} })).toMatchObject({ status: 'FAILED', error: 'Few', cause: 'only 1' });
  expect(machine.coverage.missing()).toEqual([]);
  expect((await run(states({}), 1)).error).toBe('States.NoChoiceMatched');
});

describe('time and errors', () => {
  test('retries wait longer and longer, up to a bound, and each retrier counts for itself', async () => {
    const clock = new VirtualClock(0);
    const at: number[] = [];
    const errors = ['A', 'A', 'B', 'A', 'A', 'A'];
    const machine = machineOf({
      Only: task('lambda:invoke', {
        Retry: [{ ErrorEquals: ['B'], IntervalSeconds: 7 }, { ErrorEquals: ['States.TaskFailed'], IntervalSeconds: 1, BackoffRate: 3, MaxAttempts: 4, MaxDelaySeconds: 5 }],
        Catch: [{ ErrorEquals: ['A'], Next: 'Caught', Output: '{% $states.errorOutput %}', Assign: { seen: true } }],
      }),
      Caught: { Type: 'Succeed', Output: '{% [$states.input, $seen] %}' },
    });
    const { output } = await machine.run({}, {
      clock,
      handlers: {
        'lambda:invoke': () => {
          at.push(clock.now() / 1000);
          throw new StateError(errors.shift()!, 'why');
        },
      },
    });
    expect(at).toEqual([0, 1, 4, 11, 16, 21]);
    expect(output).toEqual([{ Error: 'A', Cause: 'why' }, true]);
    expect(machine.coverage.missing()).toEqual([]);
  });

  test('a task that takes too long fails with States.Timeout, which States.TaskFailed does not name', async () => {
    const clock = new VirtualClock(0);
    const states: Record<string, State> = {
      Only: task('lambda:invoke', {
        TimeoutSeconds: 30,
        Catch: [{ ErrorEquals: ['States.TaskFailed'], Next: 'Failed' }, { ErrorEquals: ['States.Timeout'], Next: 'Late' }],
      }),
      Failed: { Type: 'Succeed' },
      Late: { Type: 'Succeed', Output: '{% "late" %}' },
    };
    const execution = await machineOf(states).run({}, { clock, handlers: { 'lambda:invoke': (_, { wait }) => wait(31_000) } });
    expect(execution.output).toBe('late');
    expect(clock.now()).toBe(30_000);
  });

  test('an execution that takes too long is timed out', async () => {
    const states: Record<string, State> = { Wait: { Type: 'Wait', Seconds: '{% $states.input %}', End: true } };
    const { status } = await machineOf(states, { TimeoutSeconds: 60 }).run(61, { handlers: {} });
    expect(status).toBe('TIMED_OUT');
  });

  test('branches wait at once, and the first that fails ends the others', async () => {
    const clock = new VirtualClock(0);
    const waits = (seconds: number, end: State): { StartAt: string; States: Record<string, State> } => ({
      StartAt: `Wait${seconds}`, States: { [`Wait${seconds}`]: { Type: 'Wait', Seconds: seconds, Next: `End${seconds}` }, [`End${seconds}`]: end },
    });
    const both = machineOf({ Both: { Type: 'Parallel', Branches: [waits(10, { Type: 'Succeed', Output: '{% "a" %}' }), waits(20, { Type: 'Succeed', Output: '{% "b" %}' })], End: true } });
    expect((await both.run({}, { handlers: {}, clock })).output).toEqual(['a', 'b']);
    expect(clock.now()).toBe(20_000);

    const one = machineOf({ Both: { Type: 'Parallel', Branches: [waits(10, { Type: 'Fail', Error: 'Bad' }), waits(3600, { Type: 'Succeed' })], End: true } });
    const execution = await one.run({}, { handlers: {}, clock });
    expect(execution.error).toBe('Bad');
    expect(execution.entered).not.toContain('End3600');
    expect(clock.now()).toBe(30_000);
  });

  test('time stands still while a call does real work', async () => {
    const clock = new VirtualClock(0);
    const machine = machineOf({
      Both: {
        Type: 'Parallel',
        End: true,
        Branches: [
          { StartAt: 'Call', States: { Call: task('lambda:invoke') } },
          { StartAt: 'Wait', States: { Wait: { Type: 'Wait', Seconds: 5, End: true } } },
        ],
      },
    });
    const times: number[] = [];
    await machine.run({}, {
      clock,
      handlers: {
        'lambda:invoke': async () => {
          for (let turn = 0; turn < 5; turn++) await new Promise((resolve) => setImmediate(resolve));
          times.push(clock.now());
        },
      },
    });
    expect(times).toEqual([0]);
  });
});

describe('maps', () => {
  const processor = (states: Record<string, State>, Mode: 'INLINE' | 'DISTRIBUTED' = 'INLINE') => ({
    ProcessorConfig: { Mode, ...Mode === 'DISTRIBUTED' ? { ExecutionType: 'STANDARD' as const } : {} }, StartAt: Object.keys(states)[0], States: states,
  });

  test('an inline map keeps the order of its items, sees the variables around it, and runs so many at once', async () => {
    let now = 0;
    let most = 0;
    const { output } = await run({
      Before: { Type: 'Pass', Assign: { by: 10 }, Next: 'Each' },
      Each: {
        Type: 'Map',
        Items: '{% $states.input.items %}',
        ItemSelector: { value: '{% $states.context.Map.Item.Value %}', index: '{% $states.context.Map.Item.Index %}' },
        MaxConcurrency: 2,
        ItemProcessor: processor({ Call: task('lambda:invoke', { Output: '{% $states.input.value * $by + $states.input.index %}' }) }),
        End: true,
      },
    }, { items: [5, 6, 7] }, {
      'lambda:invoke': async (_, { wait }) => {
        most = Math.max(most, ++now);
        await wait(10);
        now--;
      },
    });
    expect(output).toEqual([50, 61, 72]);
    expect(most).toBe(2);
  });

  const distributed = (more: Partial<State> = {}): Record<string, State> => ({
    Each: {
      Type: 'Map',
      ItemReader: { Resource: `${ARN}s3:listObjectsV2`, Arguments: { Bucket: 'b', Prefix: '{% $states.input.prefix %}' } },
      ItemSelector: { key: '{% $states.context.Map.Item.Value.Key %}' },
      ItemBatcher: { MaxItemsPerBatch: 2, BatchInput: { run: '{% $states.context.Execution.Name %}' } },
      ItemProcessor: processor({ Call: task('lambda:invoke') }, 'DISTRIBUTED'),
      ResultWriter: { Resource: `${ARN}s3:putObject`, Arguments: { Bucket: 'b', Prefix: 'results' } },
      End: true,
      ...more,
    },
  });
  const listing = (args: { Prefix: string }) => ['1', '2', '3'].map((key) => ({ Key: `${args.Prefix}/${key}`, Size: 1 }));

  test('a distributed map reads its items, batches them, and writes its results', async () => {
    const written: unknown[] = [];
    const inputs: unknown[] = [];
    const { output } = await run(distributed(), { prefix: 'p' }, {
      's3:listObjectsV2': listing,
      's3:putObject': (args) => void written.push(args),
      'lambda:invoke': (args) => void inputs.push(args),
    });
    expect(inputs).toEqual([
      { BatchInput: { run: 'run-1' }, Items: [{ key: 'p/1' }, { key: 'p/2' }] },
      { BatchInput: { run: 'run-1' }, Items: [{ key: 'p/3' }] },
    ]);
    expect(written).toMatchObject([{ Bucket: 'b', Key: 'results/run-1/manifest.json' }]);
    expect(output).toMatchObject({ ResultWriterDetails: { Bucket: 'b', Key: 'results/run-1/manifest.json' } });
  });

  test.each([[undefined, 'FAILED'], [1, 'SUCCEEDED']] as const)('with %s failures tolerated, one failed child leaves it %s', async (ToleratedFailureCount, status) => {
    const execution = await run(distributed({ ItemBatcher: undefined, ...ToleratedFailureCount === undefined ? {} : { ToleratedFailureCount } }), { prefix: 'p' }, {
      's3:listObjectsV2': listing,
      's3:putObject': () => undefined,
      'lambda:invoke': ({ key }) => {
        if (key === 'p/2') throw new StateError('Bad');
      },
    });
    expect(execution).toMatchObject({ status, ...status === 'FAILED' ? { error: 'States.ExceedToleratedFailureThreshold' } : {} });
  });

  test('lines of JSON are items, and what cannot be read is States.ItemReaderFailed', async () => {
    const states = distributed({
      ItemReader: { Resource: `${ARN}s3:getObject`, ReaderConfig: { InputType: 'JSONL', MaxItems: 2 }, Arguments: { Bucket: 'b', Key: 'k' } },
      ItemSelector: undefined,
      ItemBatcher: undefined,
      ResultWriter: undefined,
    });
    expect((await run(states, {}, { 's3:getObject': () => '{"a":1}\n{"a":2}\n{"a":3}\n', 'lambda:invoke': (args) => args })).output).toEqual([{ a: 1 }, { a: 2 }]);
    const absent = () => {
      throw new StateError('S3.NoSuchKey');
    };
    expect((await run(states, {}, { 's3:getObject': absent })).error).toBe('States.ItemReaderFailed');
  });
});

describe('kills', () => {
  const states: Record<string, State> = {
    Call: task('lambda:invoke', { Retry: [{ ErrorEquals: ['States.ALL'] }], Catch: [{ ErrorEquals: ['States.ALL'], Next: 'Done' }], End: undefined, Next: 'Done' }),
    Done: { Type: 'Succeed' },
  };

  test('an execution can be stopped at each of its points, which nothing retries or catches', async () => {
    const machine = machineOf(states);
    const killed: string[] = [];
    for (let killAt = 0; ; killAt++) {
      const calls: string[] = [];
      const handlers: Record<string, Handler> = {
        'lambda:invoke': (_, { point }) => {
          calls.push('begun');
          point('half way');
          calls.push('done');
        },
      };
      const execution = await machine.run({}, { handlers, killAt });
      if (execution.status !== 'KILLED') break;
      killed.push(`${execution.killedAt}: ${calls.join(', ')}`);
    }
    expect(killed).toEqual([
      'before Call: ',
      'before Call: lambda:invoke: ',
      'in Call: half way: begun',
      'after Call: lambda:invoke: begun, done',
      'after Call: begun, done',
      'before Done: begun, done',
      'after Done: begun, done',
    ]);
  });

  test('a call without a handler fails the test, and not the state', async () => {
    await expect(run(states)).rejects.toThrow(/no handler for .*lambda:invoke/);
  });
});

describe('redrives', () => {
  /** Fails in the states that are broken. */
  const world = () => {
    const broken = new Set<string>();
    const calls: string[] = [];
    const handlers: Record<string, Handler> = {
      'lambda:invoke': (args) => {
        const name = String(args.name);
        calls.push(name);
        if (broken.has(name)) throw new StateError('Bad', name);
        return { Payload: name };
      },
      's3:getObject': () => JSON.stringify(items),
    };
    const items = ['a', 'b', 'c'];
    return { broken, calls, handlers, items };
  };
  const named = (name: string, more: Partial<State> = {}) => task('lambda:invoke', { Arguments: { name }, ...more });
  const next = (name: string) => ({ End: undefined, Next: name });

  test('go on in the state that failed, with its input and the variables, and count attempts anew', async () => {
    const { broken, calls, handlers } = world();
    const machine = machineOf({
      First: named('first', { Assign: { n: 7 }, Output: { in: 1 }, ...next('Second') }),
      Second: named('second', {
        Output: '{% $merge([$states.input, {"n": $n, "times": $states.context.Execution.RedriveCount, "run": $states.context.Execution.Name}]) %}',
        Retry: [{ ErrorEquals: ['States.ALL'], MaxAttempts: 1 }],
      }),
    });
    broken.add('second');
    const failed = await machine.run({}, { handlers, name: 'one' });
    const again = await machine.redrive(failed, { handlers });
    broken.clear();
    expect(await machine.redrive(again, { handlers })).toMatchObject({ status: 'SUCCEEDED', output: { in: 1, n: 7, times: 2, run: 'one' } });
    expect(calls).toEqual(['first', 'second', 'second', 'second', 'second', 'second']);
  });

  test('of an error that was caught fail again where it led to a Fail', async () => {
    const { broken, calls, handlers } = world();
    const machine = machineOf({
      Only: named('only', { Catch: [{ ErrorEquals: ['States.ALL'], Assign: { error: '{% $states.errorOutput.Error %}' }, Next: 'Failed' }] }),
      Failed: { Type: 'Fail', Error: '{% $error %}' },
    });
    broken.add('only');
    const failed = await machine.run({}, { handlers });
    broken.clear();
    expect(await machine.redrive(failed, { handlers })).toMatchObject({ status: 'FAILED', error: 'Bad', entered: ['Failed'] });
    expect(calls).toEqual(['only']);
  });

  test.each<[string, State]>([
    ['branches', { Type: 'Parallel', Branches: ['a', 'b', 'c'].map((name) => ({ StartAt: name, States: { [name]: named(name) } })), End: true }],
    ['iterations', {
      Type: 'Map',
      Items: ['a', 'b', 'c'],
      ItemSelector: { name: '{% $states.context.Map.Item.Value %}' },
      MaxConcurrency: 1,
      End: true,
      ItemProcessor: { StartAt: 'Each', States: { Each: task('lambda:invoke', { Arguments: '{% $states.input %}' }) } },
    }],
    ['children', {
      Type: 'Map',
      ItemReader: { Resource: `${ARN}s3:getObject`, ReaderConfig: { InputType: 'JSON' }, Arguments: { Bucket: 'b', Key: 'k' } },
      End: true,
      ItemSelector: { name: '{% $states.context.Map.Item.Value %}' },
      MaxConcurrency: 1,
      ItemProcessor: {
        ProcessorConfig: { Mode: 'DISTRIBUTED', ExecutionType: 'STANDARD' }, StartAt: 'Each', States: { Each: task('lambda:invoke', { Arguments: '{% $states.input %}' }) },
      },
    }],
  ])('run those %s that did not succeed, over what the first attempt read', async (_what, state) => {
    const { broken, calls, handlers, items } = world();
    const machine = machineOf({ Only: state });
    broken.add('c');
    const failed = await machine.run({}, { handlers });
    expect([failed.status, calls]).toEqual(['FAILED', ['a', 'b', 'c']]);
    broken.clear();
    items.push('d');
    const redriven = await machine.redrive(failed, { handlers });
    expect(redriven.output).toEqual(['a', 'b', 'c'].map((Payload) => ({ Payload })));
    expect(calls).toEqual(['a', 'b', 'c', 'c']);
  });

  test('run a whole map again whose results were too large, as does a retry', async () => {
    const { calls, handlers } = world();
    let size = 100_000;
    const sized: Record<string, Handler> = { 'lambda:invoke': (args) => ({ ...handlers['lambda:invoke'](args, undefined!) as object, text: 'x'.repeat(size) }) };
    const machine = machineOf({
      Only: {
        Type: 'Map',
        Items: ['a', 'b', 'c'],
        ItemSelector: { name: '{% $states.context.Map.Item.Value %}' },
        MaxConcurrency: 1,
        Output: {},
        End: true,
        ItemProcessor: { StartAt: 'Each', States: { Each: task('lambda:invoke', { Arguments: '{% $states.input %}' }) } },
      },
    });
    const failed = await machine.run({}, { handlers: sized });
    expect(failed.error).toBe('States.DataLimitExceeded');
    size = 1;
    expect((await machine.redrive(failed, { handlers: sized })).status).toBe('SUCCEEDED');
    expect(calls).toEqual(['a', 'b', 'c', 'a', 'b', 'c']);

    const retried = machineOf({
      Only: {
        Type: 'Parallel', Branches: ['a', 'b'].map((name) => ({ StartAt: name, States: { [name]: named(name) } })), Retry: [{ ErrorEquals: ['States.ALL'] }], End: true,
      },
    });
    const { broken, calls: again, handlers: some } = world();
    broken.add('b');
    await retried.run({}, {
      handlers: {
        'lambda:invoke': (args, call) => {
          if (again.length > 2) broken.clear();
          return some['lambda:invoke'](args, call);
        },
      },
    });
    expect(again).toEqual(['a', 'b', 'a', 'b']);
  });

  test('of one that succeeded there are none', async () => {
    const machine = machineOf({ Only: { Type: 'Succeed' } });
    const { handlers } = world();
    await expect(machine.redrive(await machine.run({}, { handlers }), { handlers })).rejects.toThrow(/succeeded cannot be redriven/);
  });
});

test('a definition is taken out of a template, and one in JSONPath is refused', () => {
  const definition: Definition = { QueryLanguage: 'JSONata', StartAt: 'A', States: { A: { Type: 'Task', Resource: 'X', End: true } } };
  const [head, tail] = JSON.stringify(definition).split('"X"');
  const template = {
    Resources: {
      Machine: {
        Type: 'AWS::StepFunctions::StateMachine',
        Properties: { DefinitionString: { 'Fn::Join': ['', [`${head}"arn:`, { Ref: 'AWS::Partition' }, ':states:::lambda:invoke/', { 'Fn::GetAtt': ['Writer', 'Arn'] }, `"${tail}`]] } },
      },
    },
  };
  expect(definitionOf(template, 'Machine').States.A.Resource).toBe('arn:aws:states:::lambda:invoke/Writer.Arn');
  expect(() => new StateMachine({ ...definition, QueryLanguage: undefined })).toThrow(/only JSONata/);
});
