/**
 * A state machine that runs in the test's process, on virtual time: the definition is the one of the template, and each service
 * integration is a function of the test. An execution can be killed at any point, and redriven.
 *
 * States: Task, Pass, Choice, Wait, Map (inline and distributed), Parallel, Succeed, Fail, all in JSONata. Limits of the service that a
 * machine can run into are kept: 256 KiB of data between states, and what no wildcard catches.
 */
import { setMaxListeners } from 'node:events';
import { VirtualClock } from './clock';
import { Coverage } from './coverage';
import type { Definition, Json, JsonObject } from './definition';
import { Cancelled, Killed, StateError, stateErrorOf, Unsupported } from './errors';
import { Progress } from './progress';
import { Branch, runStates } from './states';

/** What a handler may know and do. */
export interface Call {
  /** `<service>:<action>`, with `.sync` and the like. */
  readonly resource: string;
  /** Name of the state that calls. */
  readonly state: string;
  /** Aborted once nobody waits for the answer. */
  readonly signal: AbortSignal;
  /** Lets virtual time pass. */
  wait(ms: number): Promise<void>;
  /** A point inside of the handler at which the execution can be killed. */
  point(name: string): void;
}

/** Answers a service integration. Throws {@link StateError} for an error of the service; any other error keeps its name. */
export type Handler = (args: any, call: Call) => unknown;

export interface RunOptions {
  /** By `<service>:<action>` of the resource, e.g. `athena:startQueryExecution.sync` or `s3:listObjectsV2`. */
  readonly handlers: Readonly<Record<string, Handler>>;
  /** @default - a new clock */
  readonly clock?: VirtualClock;
  /** Name of the execution. @default - `run-1`, `run-2`, … */
  readonly name?: string;
  /** Stops the execution at its n-th point, from 0: before and after each state and each call, and where handlers say. @default - it runs to its end */
  readonly killAt?: number;
  /** For jitter, from 0 to 1. @default - 1, the longest */
  readonly random?: () => number;
}

export interface Execution {
  readonly status: 'SUCCEEDED' | 'FAILED' | 'TIMED_OUT' | 'KILLED';
  readonly output?: Json;
  readonly error?: string;
  readonly cause?: string;
  /** Where it was killed. */
  readonly killedAt?: string;
  /** Names of the states in the order in which they were entered. */
  readonly entered: readonly string[];
  /** Every point that it passed, in order. */
  readonly points: readonly string[];
  /** `$states.context` outside of states. */
  readonly context: JsonObject;
  /** What a redrive goes on from. */
  readonly progress: Progress;
}

/** What all branches of one execution share. */
export interface Run extends Required<Pick<RunOptions, 'handlers' | 'clock' | 'name' | 'random'>> {
  readonly machine: StateMachine;
  readonly context: JsonObject;
  readonly entered: string[];
  /** Fails where the execution was stopped, or is to be stopped here. */
  readonly point: (name: string, signal: AbortSignal) => void;
  /** Calls that are under way, whoever waits for them. */
  readonly calls: Set<Promise<unknown>>;
}

export class StateMachine {
  readonly coverage: Coverage;
  private runs = 0;

  constructor(readonly definition: Definition) {
    if (definition.QueryLanguage !== 'JSONata') throw new Unsupported(`the definition is in ${definition.QueryLanguage ?? 'JSONPath'}: only JSONata is known here`);
    this.coverage = new Coverage(definition);
  }

  /** Resolves once the execution ended, and every call that it made. */
  async run(input: Json, options: RunOptions): Promise<Execution> {
    const { clock = new VirtualClock(), name = `run-${++this.runs}` } = options;
    const context = {
      Execution: { Id: `arn:aws:states:eu-central-1:111122223333:execution:machine:${name}`, Input: input, Name: name, RedriveCount: 0, StartTime: clock.iso() },
      StateMachine: { Id: 'arn:aws:states:eu-central-1:111122223333:stateMachine:machine', Name: 'machine' },
    };
    return this.go(name, context, new Progress(), { ...options, clock });
  }

  /** Goes on with the state that was not exited, with the variables and the input that it had; attempts and timeouts count anew. */
  async redrive({ status, context, progress }: Execution, options: Omit<RunOptions, 'name'>): Promise<Execution> {
    if (status === 'SUCCEEDED') throw new Unsupported('an execution that succeeded cannot be redriven');
    const { clock = new VirtualClock() } = options;
    const execution = context.Execution as JsonObject;
    const redriven = { ...execution, RedriveCount: Number(execution.RedriveCount) + 1, RedriveTime: clock.iso() };
    return this.go(String(execution.Name), { ...context, Execution: redriven }, progress, { ...options, clock });
  }

  private async go(name: string, context: JsonObject, progress: Progress, options: RunOptions & Required<Pick<RunOptions, 'clock'>>): Promise<Execution> {
    const { handlers, clock, killAt, random = () => 1 } = options;
    const stop = new AbortController();
    setMaxListeners(0, stop.signal);
    const entered: string[] = [];
    const points: string[] = [];
    const run: Run = {
      machine: this,
      handlers,
      clock,
      name,
      random,
      entered,
      calls: new Set(),
      context,
      point: (point, signal) => {
        if (stop.signal.aborted) throw stop.signal.reason;
        if (signal.aborted) throw new Cancelled();
        points.push(point);
        if (points.length - 1 === killAt) {
          stop.abort(new Killed(point));
          throw stop.signal.reason;
        }
      },
    };
    const end = (ended: Pick<Execution, 'status' | 'output' | 'error' | 'cause' | 'killedAt'>): Execution => ({ ...ended, entered, points, context, progress });
    try {
      const branch = Branch.root(run, stop, progress);
      const { Input } = context.Execution as JsonObject;
      const output = await inTime(this.definition.TimeoutSeconds, branch, () => runStates(this.definition, Input, branch));
      return end({ status: 'SUCCEEDED', output });
    } catch (error) {
      const killed: unknown = stop.signal.reason;
      if (killed instanceof Killed) return end({ status: 'KILLED', killedAt: killed.point });
      const { error: named, reason } = stateErrorOf(error);
      return end({ status: error instanceof ExecutionTimedOut ? 'TIMED_OUT' : 'FAILED', error: named, cause: reason });
    } finally {
      stop.abort(new Cancelled());
      await Promise.allSettled(run.calls);
    }
  }
}

class ExecutionTimedOut extends StateError {
  constructor(seconds: number) {
    super('States.Timeout', `the execution took longer than ${seconds} s`);
  }
}

async function inTime<T>(seconds: number | undefined, branch: Branch, work: () => Promise<T>): Promise<T> {
  if (seconds === undefined) return work();
  return branch.within(seconds * 1000, new ExecutionTimedOut(seconds), work);
}
