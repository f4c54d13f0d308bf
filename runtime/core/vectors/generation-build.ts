/**
 * How a new generation of a vector index comes to answer (docs/adr/0075): built beside the live one, held against exact search, warmed, and put
 * behind the alias in one step.
 *
 * Every step may be repeated and may end at any point: a second run of it finds what the first one left. Two builds of one index are kept apart by
 * a lease; what must never go wrong does not hang on it, because the alias moves, and generations are deleted, only while the alias
 * still stands for what the build saw.
 */
import { stop } from './build-errors';
import { type BuildLease, EMPTY_RECORD, type GenerationCluster, type GenerationFacts, type IndexRecord } from './generation-cluster';
import { measureRecall, recallOf } from './recall';
import type { RecallGate, VectorIndexSchema } from '../../../src/contract';
import type { Clock } from '../ports';

/** How long a build may be silent before another may take its index over: twice the longest run of a Lambda function. */
const LEASE_MS = 30 * 60_000;
/** A lease is written anew once this much of it is gone. */
const RENEWED_AFTER_MS = LEASE_MS / 6;

export interface BuildOptions {
  readonly index: VectorIndexSchema;
  /** Names the build; a run that goes on where another ended has its id. */
  readonly build: string;
  readonly gate: RecallGate;
  readonly clock: Clock;
}

/** Whether a step is over, or is to be repeated after a while. */
export interface StepOutcome {
  readonly done: boolean;
}

const DONE: StepOutcome = { done: true };
const AGAIN: StepOutcome = { done: false };

export class GenerationBuild {
  private readonly name: string;

  constructor(private readonly cluster: GenerationCluster, private readonly options: BuildOptions) {
    this.name = options.index.name;
  }

  /**
   * Takes the lease, clears what dead builds left, and makes the generation, which waits for a snapshot that keeps what is to go. Fails with BUILD_RUNNING.
   *
   * @param parts of the source
   */
  async begin(parts: number): Promise<StepOutcome & { readonly generation: string }> {
    if (parts === 0) stop('SOURCE_EMPTY', `the source of vector index '${this.name}' holds no object: put .jsonl or .jsonl.gz files there`);
    const { build: id, index, clock } = this.options;
    for (;;) {
      const found = await this.cluster.record(this.name);
      const record = found?.record ?? EMPTY_RECORD;
      const now = clock.now();
      const held = record.build;
      if (held && held.id !== id && held.until > now) {
        stop('BUILD_RUNNING', `build '${held.id}' of vector index '${this.name}' is under way until ${new Date(held.until).toISOString()} or later: wait for its end, or stop it`);
      }
      let lease: BuildLease;
      if (held?.id === id) {
        lease = { ...held, until: now + LEASE_MS };
      } else {
        const numbers = (await this.cluster.generations(this.name)).map(Number).filter(Number.isSafeInteger);
        lease = { id, generation: String(Math.max(record.last, ...numbers) + 1), until: now + LEASE_MS, began: now, parts };
      }
      const last = Math.max(record.last, Number(lease.generation));
      if (!await this.cluster.saveRecord(this.name, { ...record, last, build: lease }, found?.version)) continue;
      const { generation } = lease;
      if (!await this.sweep({ ...record, last, build: lease })) return { ...AGAIN, generation };
      await this.cluster.create(index, generation);
      return { ...DONE, generation };
    }
  }

  /** The generation that is being built. Fails with BUILD_LOST; renews the lease. */
  async generation(): Promise<string> {
    return (await this.held()).lease.generation;
  }

  /** Closes the generation to writes and compares it with what was loaded. Fails with SOURCE_EMPTY, DUPLICATE_VECTOR or LOAD_STALLED. */
  async seal(): Promise<StepOutcome> {
    const { lease: { generation, parts } } = await this.held();
    const loaded = await this.cluster.parts(this.name, generation, Array.from({ length: parts }, (_, part) => part));
    const missing = loaded.filter((part) => !part?.done).length;
    if (missing > 0) stop('LOAD_STALLED', `${missing} of ${parts} parts of generation ${generation} of '${this.name}' are not loaded: run the step again`);
    await this.cluster.seal(this.name, generation);
    const documents = await this.cluster.count(this.name, generation);
    const lines = loaded.reduce((sum, part) => sum + part!.vectors, 0);
    if (lines === 0) stop('SOURCE_EMPTY', `the source of vector index '${this.name}' holds no vector`);
    if (documents !== lines) stop('DUPLICATE_VECTOR', `the source holds ${lines} vectors with ${documents} distinct ids: each id must be there once`);
    return DONE;
  }

  /** One segment per copy of a shard. Replicas that are made later copy what is merged; those of a domain with standby are there already, and merge as well. */
  async merge(): Promise<StepOutcome> {
    const { lease: { generation } } = await this.held();
    const { copies, segments, running } = await this.cluster.mergeState(this.name, generation);
    if (segments <= copies) return DONE;
    if (!running) await this.cluster.startMerge(this.name, generation);
    return AGAIN;
  }

  async replicate(): Promise<StepOutcome> {
    const { lease: { generation } } = await this.held();
    if (!await this.cluster.replicate(this.name, generation)) return AGAIN;
    // one that was copied while its primary merged has what was there before
    return this.merge();
  }

  /**
   * The recall gate, where any recall is asked for. Fails with RECALL_TOO_LOW.
   *
   * @param until when to stop, milliseconds since the epoch; the rest is for another call
   */
  async check(until: number): Promise<StepOutcome> {
    const { index, gate, clock } = this.options;
    const { lease } = await this.held();
    const { generation } = lease;
    if (gate.least === 0) return DONE;
    const { done, ...measured } = await measureRecall({
      cluster: this.cluster,
      index,
      generation,
      ...gate,
      approximate: (vector, k) => this.cluster.approximate(index, generation, vector, k),
    }, lease.gate, () => clock.now() >= until);
    await this.held((now) => ({ ...now, gate: measured }));
    if (!done) return AGAIN;
    const recall = recallOf(measured);
    if (recall !== undefined && recall < gate.least) {
      stop('RECALL_TOO_LOW', `generation ${generation} of '${this.name}' has recall@${gate.k} ${recall.toFixed(3)} over ${measured.asked} vectors, and must have ${gate.least}: `
        + 'raise m, efConstruction or efSearch, or quantize less');
    }
    return DONE;
  }

  /** Fails with GRAPH_MEMORY_EXHAUSTED. */
  async warm(): Promise<StepOutcome> {
    const { lease: { generation } } = await this.held();
    if (!await this.cluster.warmUp(this.name, generation)) return AGAIN;
    if (await this.cluster.memoryExhausted()) {
      stop('GRAPH_MEMORY_EXHAUSTED', `with generation ${generation} of '${this.name}' the graphs do not fit in memory: add data nodes, quantize, or keep no other generation`);
    }
    return DONE;
  }

  /** Fails with ALIAS_MOVED where somebody else moves the alias at the same time; then the step may be repeated. */
  async switch(): Promise<StepOutcome> {
    const { lease: { generation } } = await this.held();
    const live = await this.cluster.live(this.name);
    if (live === generation) return DONE;
    await this.held((lease) => ({ ...lease, replaces: live ?? '' }));
    if (!await this.cluster.moveAlias(this.name, live, generation)) {
      stop('ALIAS_MOVED', `the alias '${this.name}' no longer stands for ${live ?? 'nothing'}, or generation ${generation} is gone`);
    }
    return DONE;
  }

  /** Keeps the generation that was live before, deletes older ones, once no snapshot keeps them, and ends the build. */
  async retire(): Promise<StepOutcome> {
    const ended = await this.ended();
    if (ended !== undefined) {
      await this.cluster.dropParts(this.name, ended, (await this.cluster.record(this.name))!.record.facts[ended].parts);
      return DONE;
    }
    const { lease, record } = await this.held();
    const { generation, replaces, id, began } = lease;
    const live = await this.cluster.live(this.name);
    // somebody went back already: then both stay
    const kept = [...new Set([generation, replaces ?? '', live ?? ''])].filter((name) => name !== '').slice(0, live === generation ? 2 : 3);
    const facts: GenerationFacts = record.facts[generation] ?? {
      documents: await this.cluster.count(this.name, generation),
      recall: lease.gate && recallOf(lease.gate),
      builtAt: new Date(Math.max(began, this.options.clock.now())).toISOString(),
      build: id,
      parts: lease.parts,
    };
    const all = { ...record.facts, [generation]: facts };
    const remembered = Object.fromEntries(Object.entries(all).filter(([name]) => kept.includes(name)));
    await this.held(undefined, () => ({ kept, facts: remembered }));
    if (!await this.sweep({ ...record, kept, build: lease })) return AGAIN;
    // last: a run that comes again before the end needs to know what is loaded
    await this.end();
    await this.cluster.dropParts(this.name, generation, lease.parts);
    return DONE;
  }

  /** Deletes what the build made, unless it answers already; what a snapshot keeps is left to the next build. Does nothing where the build is over. */
  async abandon(): Promise<StepOutcome> {
    const lease = (await this.cluster.record(this.name))?.record.build;
    if (lease?.id !== this.options.build) return DONE;
    const live = await this.cluster.live(this.name);
    if (live === lease.generation) return this.retire();
    await this.removeWhileLive([lease.generation], live);
    await this.cluster.dropParts(this.name, lease.generation, lease.parts);
    await this.end();
    return DONE;
  }

  /** The generation that this build brought, once it is over. */
  private async ended(): Promise<string | undefined> {
    const record = (await this.cluster.record(this.name))?.record;
    if (!record || record.build?.id === this.options.build) return undefined;
    return Object.keys(record.facts).find((generation) => record.facts[generation].build === this.options.build);
  }

  /** The record without the build. */
  private async end(): Promise<void> {
    for (;;) {
      const found = await this.cluster.record(this.name);
      if (found?.record.build?.id !== this.options.build) return;
      if (await this.cluster.saveRecord(this.name, { ...found.record, build: undefined }, found.version)) return;
    }
  }

  /** What is neither live nor kept nor being built goes. False where a snapshot keeps it. */
  private async sweep({ kept, build }: IndexRecord): Promise<boolean> {
    const live = await this.cluster.live(this.name);
    const needed = new Set([...kept, live, build?.generation, build?.replaces]);
    const old = (await this.cluster.generations(this.name)).filter((name) => !needed.has(name));
    return old.length === 0 || this.removeWhileLive(old, live);
  }

  private async removeWhileLive(generations: readonly string[], live: string | undefined): Promise<boolean> {
    const removal = await this.cluster.remove(this.name, generations, live);
    if (removal === 'moved') stop('ALIAS_MOVED', `the alias '${this.name}' no longer stands for ${live ?? 'nothing'}: nothing was deleted`);
    return removal === 'removed';
  }

  /** The lease, renewed and changed where that is asked for. Fails with BUILD_LOST. */
  private async held(
    changeLease?: (lease: BuildLease) => BuildLease, changeRecord: (record: IndexRecord) => Partial<IndexRecord> = () => ({}),
  ): Promise<{ lease: BuildLease; record: IndexRecord }> {
    for (;;) {
      const found = await this.cluster.record(this.name);
      const lease = found?.record.build;
      if (!found || lease?.id !== this.options.build) {
        return stop('BUILD_LOST', `build '${this.options.build}' of vector index '${this.name}' is over${lease ? `: '${lease.id}' took over` : ''}`);
      }
      const now = this.options.clock.now();
      const changed = { ...changeLease?.(lease) ?? lease, until: now + LEASE_MS };
      const record = { ...found.record, ...changeRecord(found.record), build: changed };
      const fresh = lease.until - now > LEASE_MS - RENEWED_AFTER_MS;
      if (changeLease === undefined && Object.keys(changeRecord(found.record)).length === 0 && fresh) return { lease, record: found.record };
      if (await this.cluster.saveRecord(this.name, record, found.version)) return { lease: changed, record };
    }
  }
}
