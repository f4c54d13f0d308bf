/** The state machines of backfills, as synthesized, run on virtual time. */
import { definitions, World } from './machine.fixture';
import { VirtualClock } from '../../support/asl/clock';
import { StateError } from '../../support/asl/errors';
import { type Handler, StateMachine } from '../../support/asl/machine';
import { definitionErrors } from '../../support/asl/validate';

jest.setTimeout(120_000);

const DAY = 24 * 60 * 60 * 1000;
const START = Date.UTC(2026, 0, 10);
const { backfill, check } = definitions();
const machine = new StateMachine(backfill);
const checker = new StateMachine(check);

let world: World;
beforeEach(() => {
  world = new World();
});

const run = (input: object, name: string, more: { handlers?: Record<string, Handler>; killAt?: number; at?: number } = {}) => (
  machine.run({ group: 'customer', ...input }, { handlers: { ...world.handlers, ...more.handlers }, name, killAt: more.killAt, clock: new VirtualClock(more.at ?? START) })
);
const failing = (error: string, times = Infinity): Handler => {
  let left = times;
  return () => {
    if (left-- > 0) throw new StateError(error, 'why');
    return {};
  };
};

test('both definitions are of the language', () => {
  expect(definitionErrors(backfill)).toBe('');
  expect(definitionErrors(check)).toBe('');
});

test('a first backfill reads all of the pinned snapshot, writes each object once, and reports', async () => {
  const { output, status } = await run({}, 'one');
  expect(status).toBe('SUCCEEDED');
  expect(output).toEqual({ group: 'customer', version: 1, snapshot: world.snapshot, run: 'one', dryRun: false, lines: 2, changed: 2, kept: 0, refused: 0 });
  expect(world.questions).toMatchObject([{ group: { name: 'customer', version: 1 }, database: 'brain', snapshot: world.snapshot, asOf: START }]);
  expect(world.questions[0]).not.toHaveProperty('createdFrom');
  expect(world.unloads).toEqual([expect.stringMatching(/^UNLOAD \(SELECT 1\) TO 's3:\/\/.*\/runs\/one\/0\/' WITH \(format = 'JSON', compression = 'gzip'\)$/)]);
  expect(world.written.map(({ key, dryRun }) => [key, dryRun])).toEqual([['runs/one/0/0.gz', false], ['runs/one/0/1.gz', false]]);
  expect(world.completed).toMatchObject([{ Namespace: 'ThalosBrain', MetricData: [{ MetricName: 'BackfillCompleted', Value: 1 }] }]);
  expect(world.group).toMatchObject({ watermark: { N: String(START) }, snapshot: { S: world.snapshot } });
  expect(world.group).not.toHaveProperty('owner');
  expect(world.group).not.toHaveProperty('plan');
});

describe('the next backfill', () => {
  beforeEach(() => run({}, 'one'));

  test('reads what was created since the last one began, and six hours before, in case it came late', async () => {
    world.snapshot = '2';
    await run({}, 'two', { at: START + DAY });
    expect(world.questions[1]).toMatchObject({ snapshot: '2', asOf: START + DAY, createdFrom: START - DAY / 4 });
    expect(world.group).toMatchObject({ watermark: { N: String(START + DAY) }, snapshot: { S: '2' } });
  });

  test('computes nothing where nothing came', async () => {
    const { status } = await run({}, 'two', { at: START + DAY });
    expect(status).toBe('SUCCEEDED');
    expect(world.unloads).toHaveLength(1);
    expect(world.completed).toHaveLength(2);
  });

  test('reads all where that is asked for', async () => {
    await run({ full: true }, 'two');
    expect(world.questions[1]).not.toHaveProperty('createdFrom');
    expect(world.unloads).toHaveLength(2);
  });
});

test('a dry run changes neither the watermark nor the plan, and does not count as complete', async () => {
  const { output } = await run({ dryRun: true }, 'dry');
  expect(output).toMatchObject({ dryRun: true, lines: 2 });
  expect(world.written.every(({ dryRun }) => dryRun)).toBe(true);
  expect(Object.keys(world.group!)).toEqual(['pk', 'sk']);
  expect(world.completed).toEqual([]);
});

test.each([['no snapshot', undefined, {}], ['no snapshot, in a dry run', undefined, { dryRun: true }]])('a table with %s is nothing to do', async (_, snapshot, input) => {
  world.snapshot = snapshot;
  expect((await run(input, 'one')).status).toBe('SUCCEEDED');
  expect(world.unloads).toEqual([]);
});

test('a query without rows is nothing to write', async () => {
  world.rows = [];
  expect(await run({}, 'one')).toMatchObject({ status: 'SUCCEEDED', output: { lines: 0 } });
});

test('a group that is not declared is refused by name', async () => {
  expect(await run({ group: 'shop' }, 'one')).toMatchObject({ error: 'UnknownGroup', cause: expect.stringMatching(/: customer$/) });
});

test('a writer that ran out of time is asked again', async () => {
  let asked = 0;
  const { status } = await run({}, 'one', {
    handlers: {
      'lambda:invoke': async (args, call) => (/Writer/.test(args.FunctionName) && ++asked <= 3 ? { Payload: { done: false } } : world.handlers['lambda:invoke'](args, call)),
    },
  });
  expect(status).toBe('SUCCEEDED');
  expect(asked).toBe(5);
});

test('totals are of all pages of checkpoints', async () => {
  const pages = [{ Items: [{ lines: { N: '3' }, changed: { N: '1' }, kept: { N: '2' }, refused: { N: '0' } }], LastEvaluatedKey: { pk: { S: 'x' } } }, {
    Items: [{ lines: { N: '4' }, changed: { N: '0' }, kept: { N: '3' }, refused: { N: '1' } }, { lines: { N: '1' }, changed: { N: '1' }, kept: { N: '0' }, refused: { N: '0' } }],
  }];
  const asked: unknown[] = [];
  const { output } = await run({}, 'one', {
    handlers: {
      'dynamodb:query': ({ ExclusiveStartKey }) => {
        asked.push(ExclusiveStartKey);
        return pages.shift();
      },
    },
  });
  expect(output).toMatchObject({ lines: 8, changed: 2, kept: 5, refused: 1 });
  expect(asked).toEqual([undefined, { pk: { S: 'x' } }]);
});

describe('two backfills of one group', () => {
  const arn = (name: string) => `arn:aws:states:eu-central-1:111122223333:execution:machine:${name}`;
  const holder = (name: string) => world.control.set('group#customer#1|group', { pk: { S: 'group#customer#1' }, sk: { S: 'group' }, owner: { S: arn(name) } });

  test.each(['RUNNING', 'PENDING_REDRIVE'])('the second is refused while the first is %s', async (status) => {
    holder('first');
    world.executions.set('first', status);
    const execution = await run({}, 'second');
    expect(execution).toMatchObject({ status: 'FAILED', error: 'BackfillBusy', cause: `group customer is being backfilled by ${arn('first')}: wait for its end, or stop it` });
    expect(world.group!.owner.S).toBe(arn('first'));
    expect(world.unloads).toEqual([]);
  });

  test.each(['ABORTED', undefined])('the second takes over where the first is %s', async (status) => {
    holder('first');
    if (status !== undefined) world.executions.set('first', status);
    expect((await run({}, 'second')).status).toBe('SUCCEEDED');
    expect(world.group).not.toHaveProperty('owner');
  });

  test('of two that take over at once, one is refused', async () => {
    holder('dead');
    const execution = await run({}, 'second', {
      handlers: {
        'sfn:describeExecution': () => {
          holder('third');
          return { Status: 'FAILED' };
        },
      },
    });
    expect(execution).toMatchObject({ error: 'BackfillBusy' });
  });

  test('one that ends while the second looks gives way', async () => {
    holder('first');
    const execution = await run({}, 'second', {
      handlers: {
        'dynamodb:getItem': () => {
          world.control.delete('group#customer#1|group');
          return {};
        },
      },
    });
    expect(execution.status).toBe('SUCCEEDED');
  });

  test('one that was taken over while it slept cannot finish', async () => {
    const execution = await run({}, 'first', {
      handlers: {
        'dynamodb:query': () => {
          holder('second');
          return { Items: [] };
        },
      },
    });
    expect(execution).toMatchObject({ status: 'FAILED' });
    expect(world.group).toMatchObject({ owner: { S: arn('second') } });
    expect(world.group).not.toHaveProperty('watermark');
  });
});

describe('errors', () => {
  const AFTER: readonly [integration: string, state: string][] = [
    ['athena:startQueryExecution.sync', 'Pin'], ['athena:getQueryResults', 'ReadPin'], ['lambda:invoke', 'Plan'], ['athena:startQueryExecution.sync', 'Compute'],
    ['dynamodb:updateItem', 'KeepPlan'], ['s3:listObjectsV2', 'Look'], ['s3:listObjectsV2', 'Write'], ['lambda:invoke', 'WritePart'], ['dynamodb:query', 'Count'],
    ['dynamodb:updateItem', 'Finish'], ['dynamodb:updateItem', 'EndDryRun'], ['dynamodb:updateItem', 'Release'], ['cloudwatch:putMetricData', 'Report'],
    ['dynamodb:updateItem', 'Claim'], ['dynamodb:getItem', 'WhoHasIt'], ['sfn:describeExecution', 'DoesItRun'], ['dynamodb:updateItem', 'TakeOver'],
  ];

  test.each(AFTER)('%s is asked again in %s, and what goes on failing lets the group go', async (integration, state) => {
    const dryRun = state === 'EndDryRun';
    const before = ['WhoHasIt', 'DoesItRun', 'TakeOver'].includes(state);
    const broken = (times: number): Record<string, Handler> => {
      const fail = failing('Some.Throttle', times);
      return {
        [integration]: async (args, call) => {
          if (call.state === state) await fail(args, call);
          return world.handlers[integration](args, call);
        },
      };
    };
    const prepare = (): Record<string, Handler> => {
      world = new World();
      if (before) world.control.set('group#customer#1|group', { owner: { S: 'x:dead' } });
      if (before) world.executions.set('dead', 'FAILED');
      // a run that fails, so that it releases
      return state === 'Release' ? { 'dynamodb:query': failing('Some.Error') } : {};
    };
    const once = await run({ dryRun }, 'one', { handlers: { ...prepare(), ...broken(1) } });
    expect(once.status).toBe(state === 'Release' ? 'FAILED' : 'SUCCEEDED');
    expect(world.group).not.toHaveProperty('owner');

    const always = await run({ dryRun }, 'two', { handlers: { ...prepare(), ...broken(Infinity) } });
    expect(always.status).toBe('FAILED');
    if (!before && !['Release', 'EndDryRun', 'Claim'].includes(state)) expect(world.group).not.toHaveProperty('owner');
  });

  test('each attempt of a query writes to a folder of its own', async () => {
    await run({}, 'one', {
      handlers: {
        'athena:startQueryExecution.sync': async (args, call) => {
          const answer = await world.handlers['athena:startQueryExecution.sync'](args, call);
          if (call.state === 'Compute' && world.unloads.length === 1) throw new StateError('States.TaskFailed', 'half way');
          return answer;
        },
      },
    });
    expect(world.unloads.map((sql) => /runs\/\S+\/(\d)\//.exec(sql)![1])).toEqual(['0', '1']);
    expect(world.written.map(({ key }) => key)).toEqual(['runs/one/1/0.gz', 'runs/one/1/1.gz']);
  });
});

test('a run that was killed anywhere is finished by the next one, which does not compute again what is computed', async () => {
  const computedAgain: string[] = [];
  for (let killAt = 0; ; killAt++) {
    world = new World();
    const first = await run({}, 'first', { killAt });
    if (first.status !== 'KILLED') {
      expect(killAt).toBeGreaterThan(40);
      break;
    }
    world.executions.set('first', 'ABORTED');
    const second = await run({}, 'second', { at: START + 60_000 });
    expect(`${first.killedAt}: ${second.status} ${second.error ?? ''}`).toBe(`${first.killedAt}: SUCCEEDED `);
    expect(world.group).not.toHaveProperty('owner');
    expect(world.group).not.toHaveProperty('plan');
    expect(world.group!.snapshot.S).toBe(world.snapshot);
    expect(new Set(world.written.map(({ key }) => key.split('/').at(-1)))).toEqual(new Set(['0.gz', '1.gz']));
    if (world.unloads.length === 2) computedAgain.push(first.killedAt!);
    else expect(world.unloads).toHaveLength(1);
  }
  // between the end of the query and the note of it
  expect(computedAgain).toEqual(['after Compute: athena:startQueryExecution.sync', 'after Compute', 'before Computed', 'after Computed', 'before KeepPlan', 'before KeepPlan: dynamodb:updateItem']);
});

test.each([
  ['is older than a day', { at: START + 2 * DAY }],
  ['is of another kind', { input: { full: true } }],
])('what a dead run computed is not used where it %s', async (_, { at, input }: { at?: number; input?: object }) => {
  await run({}, 'first', { handlers: { 'dynamodb:query': failing('Some.Error') } });
  expect(world.group).toMatchObject({ plan: { M: { run: { S: 'first' } } } });
  await run(input ?? {}, 'second', { at });
  expect(world.unloads).toHaveLength(2);
});

describe('the consistency check', () => {
  const sampled = { sampled: 3, skew: 0 };
  const handlers = () => ({
    ...world.handlers,
    'lambda:invoke': async (args: any, call: Parameters<Handler>[1]) => (
      /Compare/.test(args.FunctionName) ? { Payload: { ...sampled, asked: args.Payload } } : world.handlers['lambda:invoke'](args, call)),
  });
  const ask = (group = 'customer', more: Record<string, Handler> = {}) => (
    checker.run({ group }, { handlers: { ...handlers(), ...more }, name: 'one', clock: new VirtualClock(START) }));

  test('draws a sample of a snapshot, compares it, and counts that it did', async () => {
    const { output } = await ask();
    expect(world.completed).toMatchObject([{ Namespace: 'ThalosBrain', MetricData: [{ MetricName: 'ConsistencyChecked', Value: 1, Dimensions: [{ Value: 'demo' }, { Value: 'customer' }] }] }]);
    expect(world.questions).toMatchObject([{ asOf: START, sample: { size: 1000, seed: 'check-one' } }]);
    expect(output).toMatchObject({ ...sampled, asked: { group: { name: 'customer' }, prefix: 'runs/check-one/0/' } });
  });

  test('has nothing to compare where nothing is offline, which is no check that is overdue', async () => {
    world.snapshot = undefined;
    expect((await ask()).output).toEqual({ sampled: 0 });
    expect(world.completed).toMatchObject([{ MetricData: [{ MetricName: 'ConsistencyChecked', Value: 1 }] }]);
  });

  test.each(['Pin', 'ReadPin', 'Plan', 'Compute', 'Compare', 'Report'])('fails with the error of %s, after it was tried again', async (state) => {
    const fail: Record<string, Handler> = {};
    for (const [name, handler] of Object.entries(handlers() as Record<string, Handler>)) {
      fail[name] = (args, call) => (call.state === state ? failing('Some.Error')(args, call) : handler(args, call));
    }
    expect(await ask('customer', fail)).toMatchObject({ status: 'FAILED', error: 'Some.Error', cause: 'why' });
    expect(world.completed).toEqual([]);
  });

  test('refuses a group that is not declared', async () => {
    expect(await ask('shop')).toMatchObject({ error: 'UnknownGroup' });
  });
});

test('every way through both machines was taken', () => {
  expect(machine.coverage.missing()).toEqual([]);
  expect(checker.coverage.missing()).toEqual([]);
});
