/**
 * The world around the model agent, in which everything that can happen may happen at any time: it is what the agent's state machine is
 * explored against. Each move is one thing that happens; faults, documents and restarts are budgeted, all else is free.
 */
import { type AgentCommand, type AgentEvent, type AgentOptions, type AgentState, initialState, nextDue, tritonNameOf } from '../../../../runtime/core/model-agent/state';
import type { Step, step } from '../../../../runtime/core/model-agent/step';
import type { RolloutDocument } from '../../../../src/contract';

export interface Scenario {
  readonly options: AgentOptions;
  readonly documents: readonly RolloutDocument[];
  /** Bytes of each version, by its name in Triton. */
  readonly bytes: Readonly<Record<string, number>>;
  /** How often each may happen. */
  readonly documentsRead: number;
  readonly faults: number;
  readonly crashes: number;
  readonly agentRestarts: number;
  readonly renewals: number;
}

interface Pending {
  readonly command: AgentCommand;
  /** Process of Triton that it was given to. */
  readonly instance: number;
}

export interface World {
  readonly state: AgentState;
  readonly pending: readonly Pending[];
  readonly tritonUp: boolean;
  readonly instance: number;
  /** What Triton holds: keys by name. */
  readonly held: Readonly<Record<string, string>>;
  readonly disk: Readonly<Record<string, 'partial' | 'whole'>>;
  readonly document: number;
  readonly stale: boolean;
  readonly lease: boolean;
  /** How often each may still happen. */
  readonly left: Readonly<Record<'documents' | 'faults' | 'crashes' | 'agentRestarts' | 'renewals', number>>;
}

export interface Move {
  readonly name: string;
  /** It needs nothing bad to happen and nobody to decide anything: repeated, such moves must come to rest. */
  readonly progress: boolean;
  readonly to: () => World;
}

export type Machine = typeof step;

export class Explorable {
  constructor(readonly scenario: Scenario, private readonly machine: Machine) {}

  start(): World {
    const { documentsRead, faults, crashes, agentRestarts, renewals } = this.scenario;
    return {
      state: initialState(0),
      pending: [],
      tritonUp: false,
      instance: 0,
      held: {},
      disk: {},
      document: -1,
      stale: false,
      lease: false,
      left: { documents: documentsRead, faults, crashes, agentRestarts, renewals },
    };
  }

  moves(world: World): Move[] {
    return [...this.pendingMoves(world), ...this.tritonMoves(world), ...this.timeMoves(world), ...this.outsideMoves(world)];
  }

  private pendingMoves(world: World): Move[] {
    const moves: Move[] = [];
    world.pending.forEach((pending, position) => {
      const rest = { ...world, pending: world.pending.filter((_, other) => other !== position) };
      // the lease is asked for and given back in order
      if (pending.command.kind === 'acquireLease' && world.pending.slice(0, position).some(({ command }) => command.kind === 'releaseLease')) return;
      const name = `${pending.command.kind} ${'key' in pending.command ? pending.command.key.replace(/@.*:(.).*/, '@$1') : ''}`;
      moves.push({ name: `${name} ends`, progress: true, to: () => this.ends(rest, pending) });
      if (world.left.faults === 0) return;
      const failing = { ...rest, left: { ...world.left, faults: world.left.faults - 1 } };
      const failure = this.fails(failing, pending);
      if (failure) moves.push({ name: `${name} fails`, progress: false, to: failure });
    });
    return moves;
  }

  private tritonMoves(world: World): Move[] {
    const { state, tritonUp, instance, held, left, stale } = world;
    const moves: Move[] = [];
    if (!tritonUp) {
      // a new process shows the certificate that is mounted now
      const up = { ...world, tritonUp: true, instance: instance + 1, held: {}, stale: false };
      moves.push({ name: 'Triton is up', progress: true, to: () => this.send(up, { kind: 'tritonUp', instance: instance + 1 }) });
    } else {
      moves.push({
        name: 'index',
        progress: !state.heldKnown || Object.values(held).some((key) => state.versions[key]?.loaded === 'no'),
        to: () => this.send(world, { kind: 'index', instance, operations: state.operations, names: Object.keys(held) }),
      });
      moves.push({ name: 'certificate', progress: state.certificate !== (stale ? 'stale' : 'fresh'), to: () => this.send(world, { kind: 'certificate', instance, stale }) });
      if (left.crashes > 0) moves.push({ name: 'Triton crashes', progress: false, to: () => this.ends(this.away({ ...world, left: { ...left, crashes: left.crashes - 1 } })) });
    }
    return moves;
  }

  private timeMoves(world: World): Move[] {
    const due = nextDue(world.state);
    const { probationMs } = this.scenario.options;
    return [
      ...due === undefined ? [] : [{ name: `+${due - world.state.now} ms`, progress: true, to: () => this.send(world, { kind: 'tick' }, due) }],
      ...Object.values(world.state.versions).some(({ loaded, loadedAt }) => loaded === 'ready' && loadedAt + probationMs > world.state.now)
        ? [{ name: 'probation is over', progress: false, to: () => this.send(world, { kind: 'tick' }, world.state.now + probationMs) }] : [],
    ];
  }

  private outsideMoves(world: World): Move[] {
    const { left, state, lease, stale, tritonUp } = world;
    const moves: Move[] = [];
    if (left.documents > 0) {
      this.scenario.documents.forEach((document, position) => {
        if (position === world.document) return;
        const read = { ...world, document: position, left: { ...left, documents: left.documents - 1 } };
        moves.push({ name: `document ${position}`, progress: false, to: () => this.send(read, { kind: 'document', document }) });
      });
    }
    if (left.renewals > 0 && tritonUp && !stale) {
      moves.push({ name: 'the certificate is renewed', progress: false, to: () => ({ ...world, stale: true, left: { ...left, renewals: left.renewals - 1 } }) });
    }
    if (left.faults > 0 && lease) {
      const lost = { ...world, lease: false, left: { ...left, faults: left.faults - 1 } };
      moves.push({ name: 'the lease is lost', progress: false, to: () => this.send(lost, { kind: 'leaseLost' }) });
    }
    if (left.agentRestarts > 0 && state.informed) moves.push({ name: 'the agent restarts', progress: false, to: () => this.agentRestarts(world) });
    return moves;
  }

  /** Everything that the process knew is gone; disk, Triton and the document are as they were. */
  private agentRestarts(world: World): World {
    const fresh: World = {
      ...world, state: initialState(world.state.now), pending: [], lease: false, left: { ...world.left, agentRestarts: world.left.agentRestarts - 1 },
    };
    const versions = Object.entries(world.disk).map(([key, found]) => {
      const { model, version, digest } = world.state.versions[key];
      return { model, version, digest, bytes: this.scenario.bytes[tritonNameOf({ model, version })], whole: found === 'whole' };
    });
    const found = this.send(fresh, { kind: 'found', versions });
    const up = world.tritonUp ? this.send(found, { kind: 'tritonUp', instance: world.instance }) : this.send(found, { kind: 'tritonDown', jitter: 0 });
    return this.send(up, { kind: 'document', document: this.scenario.documents[world.document] });
  }

  private ends(world: World, pending?: Pending): World {
    if (!pending) return this.send(world, { kind: 'tritonDown', jitter: 0 });
    const { command, instance } = pending;
    switch (command.kind) {
      case 'inspect': return this.send(world, { kind: 'inspected', key: command.key, bytes: this.bytes(world, command.key) });
      case 'fetch': return this.send({ ...world, disk: { ...world.disk, [command.key]: 'whole' } }, { kind: 'fetched', key: command.key });
      case 'evict': return this.send({ ...world, disk: without(world.disk, command.key) }, { kind: 'evicted', key: command.key });
      case 'load': {
        const loads = world.tritonUp && world.instance === instance;
        if (!loads) return this.send(world, { kind: 'loadFailed', key: command.key, instance, error: 'gone', jitter: 0 });
        const held = { ...world.held, [this.name(world, command.key)]: command.key };
        return this.send({ ...world, held }, { kind: 'loaded', key: command.key, instance });
      }
      case 'unload': return this.send({ ...world, held: this.dropped(world, command.key, instance) }, { kind: 'unloaded', key: command.key, instance });
      case 'unloadForeign': return { ...world, held: without(world.held, command.name) };
      case 'acquireLease': return this.send({ ...world, lease: true }, { kind: 'leaseAcquired' });
      case 'releaseLease': return { ...world, lease: false };
      case 'drain': return this.send(world, { kind: 'drained' });
      case 'restart': return world.tritonUp ? this.ends(this.away(world)) : world;
      case 'cancel': return world;
    }
  }

  private fails(world: World, { command, instance }: Pending): (() => World) | undefined {
    const error = 'a fault';
    const jitter = 0;
    switch (command.kind) {
      case 'inspect': return () => this.send(world, { kind: 'fetchFailed', key: command.key, error, jitter });
      case 'fetch': return () => this.send({ ...world, disk: { ...world.disk, [command.key]: 'partial' } }, { kind: 'fetchFailed', key: command.key, error, jitter });
      case 'load': return () => this.send(world, { kind: 'loadFailed', key: command.key, instance, error, jitter });
      case 'unload': return () => this.send(world, { kind: 'unloadFailed', key: command.key, instance, jitter });
      case 'restart': return () => this.send(world, { kind: 'restartFailed' });
      default: return undefined;
    }
  }

  private away(world: World): World {
    return { ...world, tritonUp: false, held: {}, pending: world.pending.filter(({ command }) => command.kind !== 'drain' && command.kind !== 'restart') };
  }

  private send(world: World, event: AgentEvent, now = world.state.now): World {
    const { state, commands }: Step = this.machine(world.state, event, now, this.scenario.options);
    let { pending, disk } = world;
    for (const command of commands) {
      if (command.kind === 'cancel') {
        // the download ends by itself, early
        const position = pending.findIndex((other) => other.command.kind === 'fetch' && other.command.key === command.key);
        if (position < 0) throw new Error(`cancel of ${command.key}, which is not being fetched`);
        continue;
      }
      if (command.kind === 'releaseLease') pending = pending.filter((other) => other.command.kind !== 'acquireLease');
      if (command.kind === 'fetch') disk = { ...disk, [command.key]: 'partial' };
      pending = [...pending, { command, instance: world.instance }];
    }
    return { ...world, state, pending, disk };
  }

  private bytes(world: World, key: string): number {
    return this.scenario.bytes[this.name(world, key)];
  }

  private name(world: World, key: string): string {
    return tritonNameOf(world.state.versions[key]);
  }

  private dropped(world: World, key: string, instance: number): World['held'] {
    return world.instance === instance ? without(world.held, key.slice(0, key.indexOf('@'))) : world.held;
  }
}

function without<T>(record: Readonly<Record<string, T>>, key: string): Readonly<Record<string, T>> {
  return Object.fromEntries(Object.entries(record).filter(([other]) => other !== key));
}
