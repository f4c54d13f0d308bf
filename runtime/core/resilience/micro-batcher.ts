/**
 * Joins requests of one model version into one call of a runtime that does not do so itself, as `manifest.batching` says.
 *
 * A request that finds the model idle goes at once. Others gather while a call runs, and go when it ends, when `maxSize` rows are there or when the
 * first of them has waited for `maxDelayMs`. So a lone caller never waits, and batches grow with the load.
 *
 * Where the model fails on a batch its requests go once more, each alone, as far as the version's budget of retries lasts: a tenth of its requests.
 */
import { type CancelListener, RequestScope } from './deadline';
import type { DeadlineTimers } from './deadline-timers';
import { RetryBudget } from './retry-budget';
import { joinable, joinRows, rowsOf, splitRows } from './tensor-batch';
import type { Batching, ModelManifest } from '../../../src/contract';
import { BrainError } from '../errors';
import type { CallContext, ModelRef, ModelRuntime } from '../ports';
import type { Telemetry } from '../telemetry';
import type { Tensor } from '../tensors';

export class MicroBatcher implements ModelRuntime {
  readonly stream: ModelRuntime['stream'];
  /** Null: the model does not batch. */
  private readonly joiners = new WeakMap<ModelRef, Joiner | null>();

  constructor(private readonly runtime: ModelRuntime, private readonly timers: DeadlineTimers, private readonly telemetry: Telemetry) {
    if (runtime.stream) this.stream = (model, inputs, context) => runtime.stream!(model, inputs, context);
  }

  ready(model: ModelRef, context?: CallContext): Promise<boolean> {
    return this.runtime.ready(model, context);
  }

  infer(model: ModelRef, inputs: readonly Tensor[], context?: CallContext): Promise<Tensor[]> {
    let joiner = this.joiners.get(model);
    if (joiner === undefined) {
      const { batching } = model.manifest;
      joiner = batching && batchable(model.manifest) ? new Joiner(this.runtime, this.timers, this.telemetry, model, batching) : null;
      this.joiners.set(model, joiner);
    }
    return joiner ? joiner.infer(inputs, context) : this.runtime.infer(model, inputs, context);
  }

  close(): Promise<void> {
    return this.runtime.close();
  }
}

/** Every tensor has the batch as its first dimension, and there is one answer per request. */
function batchable({ inputs, outputs, streaming }: ModelManifest): boolean {
  return !streaming && inputs.every(({ shape }) => shape[0] === -1) && outputs.every(({ shape }) => shape[0] === -1);
}

class Joiner {
  private readonly open: Batch[] = [];
  private running = 0;
  private readonly retries: RetryBudget;

  constructor(
    private readonly runtime: ModelRuntime, private readonly timers: DeadlineTimers, private readonly telemetry: Telemetry,
    private readonly model: ModelRef, private readonly batching: Batching,
  ) {
    // one batch can be saved up for, however many requests it has
    this.retries = new RetryBudget({ maxTokens: batching.maxSize });
  }

  infer(inputs: readonly Tensor[], context: CallContext | undefined): Promise<Tensor[]> {
    this.retries.deposit();
    const rows = rowsOf(inputs);
    if (rows === undefined || rows >= this.batching.maxSize) return this.runtime.infer(this.model, inputs, context);
    if (this.running === 0 && this.open.length === 0) return this.alone(inputs, context);
    return new Promise((resolve, reject) => this.join(new Member(inputs, rows, context, resolve, reject)));
  }

  private async alone(inputs: readonly Tensor[], context: CallContext | undefined): Promise<Tensor[]> {
    this.running++;
    try {
      return await this.runtime.infer(this.model, inputs, context);
    } finally {
      this.ended();
    }
  }

  private join(member: Member): void {
    let batch = this.open.find((candidate) => joinable(candidate.members[0].inputs, member.inputs));
    if (batch && batch.rows + member.rows > this.batching.maxSize) {
      this.flush(batch);
      batch = undefined;
    }
    if (!batch) {
      const fresh = new Batch();
      fresh.timer = setTimeout(() => this.flush(fresh), this.batching.maxDelayMs);
      this.open.push(fresh);
      batch = fresh;
    }
    batch.add(member);
    // one that has no time to wait takes the others along
    const left = (member.context?.deadline ?? Infinity) - this.timers.clock.now();
    if (batch.rows >= this.batching.maxSize || left <= this.batching.maxDelayMs) this.flush(batch);
  }

  private flush(batch: Batch): void {
    clearTimeout(batch.timer);
    const at = this.open.indexOf(batch);
    if (at < 0) return;
    this.open.splice(at, 1);
    const members = batch.members.filter(({ settled }) => !settled);
    if (members.length > 0) void this.run(members);
  }

  /** Never fails: each member gets its own end. */
  private async run(members: readonly Member[]): Promise<void> {
    this.running++;
    // as long as the most patient member waits
    let deadline = -Infinity;
    for (const { context } of members) deadline = Math.max(deadline, context?.deadline ?? Infinity);
    const { traceparent } = members[0].context ?? {};
    const scope = RequestScope.within(this.timers, { deadline, traceparent }, Infinity, 'DEADLINE_EXCEEDED', 'the answer');
    const group = new Group(members, scope);
    try {
      const inputs = members.length === 1 ? members[0].inputs : joinRows(members.map((member) => member.inputs));
      const outputs = await scope.race(this.runtime.infer(this.model, inputs, scope));
      if (members.length === 1) members[0].succeed(outputs);
      else splitRows(outputs, members.map(({ rows }) => rows)).forEach((own, at) => members[at].succeed(own));
    } catch (error) {
      if (members.length > 1 && error instanceof BrainError && error.code === 'MODEL_FAILED') await this.oneByOne(members, error);
      else for (const member of members) member.fail(error);
    } finally {
      group.end();
      scope.end();
      this.ended();
    }
  }

  /** The request that the model fails on must not fail its neighbours: each goes once more, alone, while the budget lasts. */
  private async oneByOne(members: readonly Member[], failure: BrainError): Promise<void> {
    const again: Promise<void>[] = [];
    for (const member of members) {
      if (member.settled) continue;
      if (this.retries.tryWithdraw()) again.push(this.again(member));
      else member.fail(failure);
    }
    if (again.length > 0) this.telemetry.count('retry', 'runtime', again.length);
    await Promise.all(again);
  }

  private async again(member: Member): Promise<void> {
    try {
      member.succeed(await this.runtime.infer(this.model, member.inputs, member.context));
    } catch (error) {
      member.fail(error);
    }
  }

  private ended(): void {
    this.running--;
    if (this.running === 0 && this.open.length > 0) this.flush(this.open[0]);
  }
}

/** Requests that gather. */
class Batch {
  readonly members: Member[] = [];
  rows = 0;
  timer: NodeJS.Timeout | undefined = undefined;

  add(member: Member): void {
    this.members.push(member);
    this.rows += member.rows;
  }
}

/** One request of a batch: settles as soon as its own time is up, whatever the batch does. */
class Member implements CancelListener {
  /** @internal */
  after: CancelListener['after'] = undefined;
  /** @internal */
  before: CancelListener['before'] = undefined;
  settled = false;
  /** Told when the request ends early. */
  onGone: (() => void) | undefined = undefined;
  private readonly signal: AbortSignal | undefined;
  private readonly onAbort: () => void;

  constructor(
    readonly inputs: readonly Tensor[], readonly rows: number, readonly context: CallContext | undefined,
    private readonly resolve: (outputs: Tensor[]) => void, private readonly reject: (reason: unknown) => void,
  ) {
    this.onAbort = () => this.cancelled(this.signal!.reason);
    if (context instanceof RequestScope) {
      context.onCancel(this);
    } else if (context?.signal) {
      this.signal = context.signal;
      if (this.signal.aborted) this.cancelled(this.signal.reason);
      else this.signal.addEventListener('abort', this.onAbort, { once: true });
    }
  }

  cancelled(reason: unknown): void {
    this.fail(reason);
    this.onGone?.();
  }

  succeed(outputs: Tensor[]): void {
    if (this.settle()) this.resolve(outputs);
  }

  fail(reason: unknown): void {
    if (this.settle()) this.reject(reason);
  }

  private settle(): boolean {
    if (this.settled) return false;
    this.settled = true;
    if (this.context instanceof RequestScope) this.context.offCancel(this);
    this.signal?.removeEventListener('abort', this.onAbort);
    return true;
  }
}

/** Ends the joint call when nobody waits for it any more. */
class Group {
  private left: number;

  constructor(private readonly members: readonly Member[], scope: RequestScope) {
    this.left = members.length;
    for (const member of members) {
      member.onGone = () => {
        if (--this.left === 0) scope.cancel(new BrainError('CANCELLED', 'every caller of the joint request is gone'));
      };
    }
  }

  end(): void {
    for (const member of this.members) member.onGone = undefined;
  }
}
