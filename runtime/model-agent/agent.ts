/** Runs the state machine: events go in one after the other, commands are carried out at once and answer with events. */
import { setTimeout as pause } from 'node:timers/promises';
import type { ArtifactFiles } from './artifact-files';
import type { TritonManagement } from './triton-management';
import { TritonWatch, type TritonWatchOptions } from './triton-watch';
import { systemCode } from '../adapters/local/local-errors';
import { BrainError } from '../core/errors';
import {
  type AgentCommand, type AgentEvent, type AgentOptions, type AgentState, initialState, isReady, nextDue, statusOf, tritonNameOf,
} from '../core/model-agent/state';
import { step } from '../core/model-agent/step';
import type { Clock, Logger, RolloutSource } from '../core/ports';

/** The right to restart Triton; absent, it is never restarted. */
export interface RestartLease {
  acquire(): void;
  release(): void;
  settled(): Promise<void>;
}

export interface ModelAgentOptions extends Pick<TritonWatchOptions, 'grpcPort' | 'certificates'> {
  readonly options: AgentOptions;
  readonly files: ArtifactFiles;
  readonly triton: TritonManagement;
  readonly rollout: Pick<RolloutSource, 'current' | 'onChange'>;
  /** Tells when it is acquired and lost. */
  readonly lease?: (events: { readonly onAcquired: () => void; readonly onLost: () => void }) => RestartLease;
  /** Settles when no request is left, or none is waited for any longer. */
  readonly drain: (signal: AbortSignal) => Promise<void>;
  /** Ends Triton; the kubelet starts it again. Fails where nobody listens. */
  readonly restart: () => Promise<void>;
  readonly clock: Clock;
  readonly logger: Logger;
  /** How often Triton is looked at, milliseconds. @default 1000 */
  readonly lookMs?: number;
  /** Until a file that could not be removed is tried again, milliseconds. @default 5000 */
  readonly evictAgainMs?: number;
}

/** What ended, since the process started. */
export interface AgentCounts {
  loads: number;
  failedLoads: number;
  crashes: number;
  restarts: number;
}

/** A restart that was asked for and did not happen in this time has failed. */
const RESTART_MS = 120_000;
const EVICT_AGAIN_MS = 5_000;
const LONGEST_TIMER_MS = 2 ** 31 - 1;

export class ModelAgent {
  readonly watch: TritonWatch;
  readonly counts: AgentCounts = { loads: 0, failedLoads: 0, crashes: 0, restarts: 0 };
  private current: AgentState;
  private readonly queue: AgentEvent[] = [];
  private running = false;
  private closed = false;
  private timer: NodeJS.Timeout | undefined;
  private restartTimer: NodeJS.Timeout | undefined;
  private readonly stop = new AbortController();
  /** Of the download under way. */
  private fetching: AbortController | undefined;
  /** Of what is asked of the process of Triton that is there now. */
  private process = new AbortController();
  private draining: AbortController | undefined;
  private readonly lease: RestartLease | undefined;
  private readonly tasks = new Set<Promise<void>>();
  private unsubscribe: (() => void) | undefined;

  constructor(private readonly options: ModelAgentOptions) {
    const { clock, triton, grpcPort, certificates, logger, lookMs } = options;
    this.current = initialState(clock.now());
    this.watch = new TritonWatch({
      triton,
      grpcPort,
      certificates,
      logger,
      send: (event) => this.send(event),
      operations: () => this.current.operations,
      ...lookMs === undefined ? {} : { everyMs: lookMs },
    });
    this.lease = options.lease?.({ onAcquired: () => this.send({ kind: 'leaseAcquired' }), onLost: () => this.send({ kind: 'leaseLost' }) });
  }

  get state(): AgentState {
    return this.current;
  }

  get ready(): boolean {
    return !this.closed && isReady(this.current);
  }

  /** Takes up what is on disk and what Triton holds, then follows the document. What Triton holds comes first: it must not be taken for nothing. */
  async start(): Promise<void> {
    const { files, rollout } = this.options;
    this.send({ kind: 'found', versions: await files.open() });
    await this.watch.start();
    this.unsubscribe = rollout.onChange((document) => this.send({ kind: 'document', document }));
    const document = rollout.current();
    if (document) this.send({ kind: 'document', document });
  }

  /** Ends what is under way. Triton keeps what it holds; a download goes on when the agent starts again. */
  async close(): Promise<void> {
    this.closed = true;
    clearTimeout(this.timer);
    clearTimeout(this.restartTimer);
    this.unsubscribe?.();
    this.stop.abort(new Error('the agent stops'));
    this.process.abort(new Error('the agent stops'));
    await this.watch.close();
    await Promise.all(this.tasks);
    if (this.current.rotation.phase !== 'none') {
      this.lease?.release();
      await this.lease?.settled();
    }
    this.options.triton.close();
  }

  private send(event: AgentEvent): void {
    this.queue.push(event);
    if (this.running) return;
    this.running = true;
    for (let next = this.queue.shift(); next; next = this.queue.shift()) this.take(next);
    this.running = false;
  }

  private take(event: AgentEvent): void {
    if (this.closed) return;
    const { options, clock, logger } = this.options;
    const before = this.current;
    const { state, commands } = step(before, event, clock.now(), options);
    this.current = state;
    this.record(event, before);
    this.report(before, state);
    for (const command of commands) {
      if ('key' in command || 'name' in command) logger.info({ command: command.kind, of: 'key' in command ? this.labels(command.key) : command.name }, 'model agent');
      else logger.info({ command: command.kind }, 'model agent');
      this.carryOut(command);
    }
    this.schedule();
  }

  private record(event: AgentEvent, before: AgentState): void {
    if (event.kind === 'loaded') this.counts.loads++;
    if (event.kind === 'loadFailed') this.counts.failedLoads++;
    if (event.kind !== 'tritonDown' || !before.tritonUp) return;
    this.process.abort(new Error('Triton is gone'));
    this.process = new AbortController();
    clearTimeout(this.restartTimer);
    if (before.rotation.phase === 'restarting') this.counts.restarts++;
    else this.counts.crashes++;
  }

  /** What changed for a version, and for the pod. */
  private report(before: AgentState, after: AgentState): void {
    const { logger } = this.options;
    for (const [key, version] of Object.entries(after.versions)) {
      const was = Object.hasOwn(before.versions, key) ? statusOf(before, key) : undefined;
      const status = statusOf(after, key);
      if (status === was && version.error === before.versions[key].error) continue;
      const fields = { ...this.labels(key), status, ...version.error === '' ? {} : { error: version.error, failures: version.failures, crashes: version.crashes } };
      if (status === 'failed' || status === 'poison') logger.error(fields, 'model version is not ready');
      else logger.info(fields, 'model version');
    }
    if (isReady(before) !== isReady(after)) logger.info({ ready: isReady(after), rotation: after.rotation.phase, tritonUp: after.tritonUp }, 'readiness');
    if (before.tritonUp && !after.tritonUp && before.rotation.phase !== 'restarting') logger.error({}, 'Triton has ended');
  }

  private labels(key: string): { model: string; version: string } {
    const { model, version } = this.current.versions[key];
    return { model, version };
  }

  private schedule(): void {
    clearTimeout(this.timer);
    const due = nextDue(this.current);
    if (due === undefined || this.closed) return;
    this.timer = setTimeout(() => this.send({ kind: 'tick' }), Math.min(LONGEST_TIMER_MS, Math.max(1, due - this.options.clock.now())));
  }

  private carryOut(command: AgentCommand): void {
    switch (command.kind) {
      case 'inspect': return this.run(() => this.inspect(command.key));
      case 'fetch': return this.run(() => this.fetch(command.key));
      case 'cancel': return this.fetching?.abort(new Error('no longer wanted'));
      case 'evict': return this.run(() => this.evict(command.key));
      case 'load': return this.run(() => this.load(command.key));
      case 'unload': return this.run(() => this.unload(command.key));
      case 'unloadForeign': return this.run(() => this.unloadForeign(command.name));
      case 'acquireLease': return this.lease?.acquire();
      case 'releaseLease': return this.releaseLease();
      case 'drain': return this.run(() => this.drain());
      case 'restart': return this.run(() => this.restart());
    }
  }

  private run(work: () => Promise<void>): void {
    const task = work().catch((error: unknown) => this.options.logger.error({ error: messageOf(error) }, 'the model agent failed in a task'))
      .finally(() => this.tasks.delete(task));
    this.tasks.add(task);
  }

  private async inspect(key: string): Promise<void> {
    try {
      const bytes = await this.options.files.inspect(this.current.versions[key]);
      this.send({ kind: 'inspected', key, bytes });
    } catch (error) {
      this.send({ kind: 'fetchFailed', key, error: messageOf(error), jitter: Math.random() });
    }
  }

  private async fetch(key: string): Promise<void> {
    this.fetching = new AbortController();
    try {
      await this.options.files.fetch(this.current.versions[key], AbortSignal.any([this.fetching.signal, this.stop.signal]));
      this.send({ kind: 'fetched', key });
    } catch (error) {
      this.send({ kind: 'fetchFailed', key, error: messageOf(error), jitter: Math.random() });
    }
  }

  private async evict(key: string): Promise<void> {
    const { files, logger, evictAgainMs = EVICT_AGAIN_MS } = this.options;
    const version = this.current.versions[key];
    const said = new Set<string>();
    while (!this.closed) {
      try {
        await files.evict(version);
        return this.send({ kind: 'evicted', key });
      } catch (error) {
        const code = systemCode(error) ?? 'INTERNAL';
        if (!said.has(code)) logger.error({ ...this.labels(key), code, error: messageOf(error) }, 'an artifact cannot be removed: it is tried again');
        said.add(code);
        await pause(evictAgainMs, undefined, { signal: this.stop.signal, ref: false }).catch(() => undefined);
      }
    }
  }

  private async load(key: string): Promise<void> {
    const { files, triton } = this.options;
    const { instance, versions: { [key]: version } } = this.current;
    const { signal } = this.process;
    try {
      await files.configure(version);
      await triton.load(tritonNameOf(version), version.version, this.watch.key(instance), signal);
      this.send({ kind: 'loaded', key, instance });
    } catch (error) {
      // whether it was Triton's end comes first: it says whose fault that is
      await this.watch.look();
      this.send({ kind: 'loadFailed', key, instance, error: messageOf(error), jitter: Math.random() });
    }
  }

  private async unload(key: string): Promise<void> {
    const { instance, versions: { [key]: version } } = this.current;
    try {
      await this.options.triton.unload(tritonNameOf(version), this.watch.key(instance), this.process.signal);
      this.send({ kind: 'unloaded', key, instance });
    } catch (error) {
      this.options.logger.warn({ model: version.model, version: version.version, error: messageOf(error) }, 'a version is not unloaded');
      this.send({ kind: 'unloadFailed', key, instance, jitter: Math.random() });
    }
  }

  private async unloadForeign(name: string): Promise<void> {
    this.options.logger.warn({ name }, 'Triton holds what no document lists');
    await this.options.triton.unload(name, this.watch.key(this.current.instance), this.process.signal);
  }

  private releaseLease(): void {
    this.draining?.abort();
    this.lease?.release();
  }

  private async drain(): Promise<void> {
    const draining = new AbortController();
    this.draining = draining;
    await this.options.drain(AbortSignal.any([draining.signal, this.stop.signal, this.process.signal]));
    if (!draining.signal.aborted) this.send({ kind: 'drained' });
  }

  private async restart(): Promise<void> {
    const { restart, logger } = this.options;
    // it has failed, too, where Triton is still there after a while
    this.restartTimer = setTimeout(() => this.send({ kind: 'restartFailed' }), RESTART_MS);
    try {
      await restart();
    } catch (error) {
      clearTimeout(this.restartTimer);
      logger.error({ error: messageOf(error) }, 'Triton cannot be restarted for its renewed certificate');
      this.send({ kind: 'restartFailed' });
    }
  }
}

function messageOf(error: unknown): string {
  if (error instanceof BrainError) return error.message;
  return error instanceof Error ? `${error.name}: ${error.message}` : String(error);
}
