/** How each type of state runs (Amazon States Language, states-language.net, with the JSONata fields of the developer guide). */
import { setMaxListeners } from 'node:events';
import { caught, choice, retried } from './coverage';
import type { Catcher, Json, JsonObject, Retrier, State, States } from './definition';
import { Cancelled, DATA_LIMIT_EXCEEDED, matches, StateError, stateErrorOf, Unsupported } from './errors';
import { evaluate } from './jsonata';
import type { Call, Run } from './machine';
import { runMap } from './maps';
import { Progress } from './progress';

/** Most data between two states, bytes of UTF-8 (developer guide, "Service quotas for Step Functions"). */
const MOST_DATA = 262_144;

/** One line of states within an execution: its variables, and what ends it from outside. */
export class Branch {
  static root(run: Run, controller: AbortController, progress: Progress): Branch {
    return new Branch(run, controller, {}, {}, progress);
  }

  private constructor(
    readonly run: Run,
    private readonly controller: AbortController,
    private readonly outer: Readonly<Record<string, Json>>,
    readonly context: JsonObject,
    readonly progress: Progress,
  ) {}

  get signal(): AbortSignal {
    return this.controller.signal;
  }

  get variables(): Readonly<Record<string, Json>> {
    return { ...this.outer, ...this.progress.variables };
  }

  assign(values: JsonObject): void {
    for (const name of Object.keys(values)) {
      if (name in this.outer) throw new Unsupported(`a branch assigns '${name}', which is a variable of the machine around it`);
    }
    Object.assign(this.progress.variables, values);
  }

  /** A branch that ends with this one. Children of a distributed map are executions of their own, and see no variable. */
  child(context: JsonObject = {}, progress = new Progress(), seesVariables = true): Branch {
    const controller = new AbortController();
    setMaxListeners(0, controller.signal);
    const end = () => controller.abort(this.signal.reason);
    if (this.signal.aborted) end();
    this.signal.addEventListener('abort', end, { once: true });
    return new Branch(this.run, controller, seesVariables ? this.variables : {}, { ...this.context, ...context }, progress);
  }

  cancel(): void {
    this.controller.abort(new Cancelled());
  }

  /** Fails with `late` where the work takes longer. */
  async within<T>(ms: number, late: StateError, work: () => Promise<T>): Promise<T> {
    const timer = new AbortController();
    const timeout = this.run.clock.sleep(ms, timer.signal).then(() => {
      throw late;
    });
    timeout.catch(() => undefined);
    try {
      return await Promise.race([work(), timeout]);
    } finally {
      timer.abort();
    }
  }

  /** Values of a state's fields. */
  async evaluate(value: Json, states: Readonly<Record<string, unknown>>): Promise<Json> {
    const context = { ...this.run.context, ...this.context };
    return evaluate(value, { states: { context, ...states }, variables: this.variables });
  }

  async number(value: number | string, what: string, states: Readonly<Record<string, unknown>>): Promise<number> {
    const number = await this.evaluate(value, states);
    if (typeof number !== 'number' || !Number.isInteger(number) || number < 0) {
      throw new StateError('States.QueryEvaluationError', `${what} must be a non-negative integer, got ${JSON.stringify(number)}`);
    }
    return number;
  }
}

interface Next {
  readonly output: Json;
  /** Undefined: the states end here. */
  readonly next?: string;
}

/** Runs states from the first to an end; from the one that was not exited, where they ran before. */
export async function runStates({ StartAt, States: states }: States, input: Json, branch: Branch): Promise<Json> {
  const { progress } = branch;
  if (progress.at === undefined && !progress.ended) progress.enter(StartAt, input);
  while (progress.at !== undefined) {
    const { at, data } = progress;
    const state: State | undefined = states[at];
    if (!state) throw new Unsupported(`there is no state '${at}'`);
    if ((state.QueryLanguage ?? 'JSONata') !== 'JSONata') throw new Unsupported(`state '${at}' is in ${state.QueryLanguage}`);
    branch.run.point(`before ${at}`, branch.signal);
    branch.run.entered.push(at);
    branch.run.machine.coverage.take(at);
    const { output, next }: Next = await enter(at, state, data, branch);
    progress.exit(limited(at, output), next);
    branch.run.point(`after ${at}`, branch.signal);
  }
  return progress.data;
}

/** A state with its retries and catchers. */
async function enter(name: string, state: State, input: Json, branch: Branch): Promise<Next> {
  const { run } = branch;
  const attempts = new Map<Retrier, number>();
  const entered = run.clock.iso();
  for (let retries = 0; ; retries++) {
    const context = { ...run.context, ...branch.context, State: { Name: name, EnteredTime: entered, RetryCount: retries } };
    try {
      return await runState(name, state, { input, context }, branch);
    } catch (thrown) {
      const error = stateErrorOf(thrown);
      if (branch.signal.aborted) throw thrown;
      const retrier = state.Retry?.find(({ ErrorEquals }) => matches(ErrorEquals, error.error));
      const attempt = retrier ? attempts.get(retrier) ?? 0 : 0;
      if (retrier || error.error === DATA_LIMIT_EXCEEDED) branch.progress.restart();
      if (retrier && attempt < (retrier.MaxAttempts ?? 3)) {
        attempts.set(retrier, attempt + 1);
        run.machine.coverage.take(retried(name, retrier));
        await run.clock.sleep(pause(retrier, attempt, run.random), branch.signal);
        continue;
      }
      const catcher = state.Catch?.find(({ ErrorEquals }) => matches(ErrorEquals, error.error));
      if (!catcher) throw error;
      run.machine.coverage.take(caught(name, catcher));
      const errorOutput = { Error: error.error, Cause: error.reason };
      return follow(catcher, errorOutput, { input, context, errorOutput }, branch);
    }
  }
}

/** Milliseconds before the next attempt. */
function pause(retrier: Retrier, attempt: number, random: () => number): number {
  const { IntervalSeconds = 1, BackoffRate = 2, MaxDelaySeconds = Infinity, JitterStrategy } = retrier;
  const seconds = Math.min(IntervalSeconds * BackoffRate ** attempt, MaxDelaySeconds);
  return Math.ceil(1000 * seconds * (JitterStrategy === 'FULL' ? random() : 1));
}

type Values = Readonly<Record<string, unknown>> & { readonly input: Json };

/** Output and assignments are computed from the same variables: neither sees the other. */
async function follow(
  { Output, Assign, Next: next }: Pick<Catcher, 'Output' | 'Assign'> & { Next?: string }, output: Json, states: Values, branch: Branch,
): Promise<Next> {
  const after = Output === undefined ? output : await branch.evaluate(Output, states);
  if (Assign) branch.assign(await branch.evaluate(Assign, states) as JsonObject);
  return { output: after, next };
}

async function runState(name: string, state: State, states: Values, branch: Branch): Promise<Next> {
  const { input } = states;
  switch (state.Type) {
    case 'Pass':
      return follow(state, input, states, branch);
    case 'Succeed':
      return follow({ Output: state.Output }, input, states, branch);
    case 'Fail': {
      const text = async (value: string | undefined) => (value === undefined ? '' : String(await branch.evaluate(value, states)));
      throw new StateError(await text(state.Error), await text(state.Cause));
    }
    case 'Wait': {
      const until = state.Timestamp === undefined ? undefined : Date.parse(String(await branch.evaluate(state.Timestamp, states)));
      const ms = until === undefined ? 1000 * await branch.number(state.Seconds!, `Seconds of '${name}'`, states)
        : Math.max(0, until - branch.run.clock.now());
      await branch.run.clock.sleep(ms, branch.signal);
      return follow(state, input, states, branch);
    }
    case 'Choice':
      return choose(name, state, states, branch);
    case 'Task': {
      const args = state.Arguments === undefined ? input : await branch.evaluate(state.Arguments, states);
      const { TimeoutSeconds: most } = state;
      const seconds = most === undefined ? undefined : await branch.number(most, `TimeoutSeconds of '${name}'`, states);
      const [result] = await allOrCancel([branch.child()], (child) => {
        const work = () => call(name, state.Resource!, args, child);
        if (seconds === undefined) return work();
        return child.within(1000 * seconds, new StateError('States.Timeout', `'${name}' took longer than ${seconds} s`), work);
      });
      return follow(state, limited(name, result), { ...states, result }, branch);
    }
    case 'Parallel': {
      const args = state.Arguments === undefined ? input : await branch.evaluate(state.Arguments, states);
      const branches = state.Branches!.map((_, at) => branch.child({}, branch.progress.part(at)));
      const result = await allOrCancel(branches, (child, at) => runStates(state.Branches![at], args, child));
      return follow(state, result, { ...states, result }, branch);
    }
    case 'Map': {
      const result = await runMap(name, state, states, branch);
      return follow(state, limited(name, result), { ...states, result }, branch);
    }
    default:
      throw new Unsupported(`state '${name}' is a ${String(state.Type)}`);
  }
}

async function choose(name: string, state: State, states: Values, branch: Branch): Promise<Next> {
  const { coverage } = branch.run.machine;
  for (const [at, rule] of state.Choices!.entries()) {
    const holds = await branch.evaluate(rule.Condition, states);
    if (typeof holds !== 'boolean') {
      throw new StateError('States.QueryEvaluationError', `a condition of '${name}' gives ${JSON.stringify(holds)}, not true or false`);
    }
    if (!holds) continue;
    coverage.take(choice(name, at, rule.Next));
    return follow({ Output: rule.Output ?? state.Output, Assign: rule.Assign, Next: rule.Next }, states.input, states, branch);
  }
  if (state.Default === undefined) throw new StateError('States.NoChoiceMatched', `no choice of '${name}' matches`);
  coverage.take(choice(name, undefined, state.Default));
  return follow({ Output: state.Output, Assign: state.Assign, Next: state.Default }, states.input, states, branch);
}

/** The first failure ends the other branches. */
async function allOrCancel(children: readonly Branch[], work: (child: Branch, at: number) => Promise<Json>): Promise<Json[]> {
  try {
    return await Promise.all(children.map(work));
  } finally {
    for (const child of children) child.cancel();
  }
}

/** Asks the handler of a service integration. */
export async function call(state: string, resourceArn: string, args: Json, branch: Branch): Promise<Json> {
  const { run } = branch;
  const resource = /^arn:[^:]+:states:::(?:aws-sdk:)?(.+)$/.exec(resourceArn)?.[1];
  const handler = resource === undefined ? undefined : run.handlers[resource];
  if (!handler) throw new Unsupported(`no handler for ${resourceArn}`);
  const { signal } = branch;
  const context: Call = {
    resource: resource!,
    state,
    signal,
    wait: (ms) => run.clock.passing(ms, signal),
    point: (name) => run.point(`in ${state}: ${name}`, signal),
  };
  run.point(`before ${state}: ${resource}`, signal);
  const answer = run.clock.standing(() => handler(structuredClone(args), context));
  run.calls.add(answer);
  const forget = () => run.calls.delete(answer);
  answer.then(forget, forget);
  const result = await answer;
  run.point(`after ${state}: ${resource}`, signal);
  return result === undefined ? {} : JSON.parse(JSON.stringify(result)) as Json;
}

function limited(name: string, data: Json): Json {
  if (Buffer.byteLength(JSON.stringify(data)) <= MOST_DATA) return data;
  throw new StateError(DATA_LIMIT_EXCEEDED, `'${name}' gives more than ${MOST_DATA} bytes`);
}
