/** A vector store in memory that keeps what OpenSearch promises of single requests, and says what a searcher would have seen after each. */
import type {
  BulkAnswer, GenerationCluster, IndexRecord, LoadedPart, MergeState, Removal, SampledVector, Scored, SequenceRange, StoredRecord,
} from '../../../../runtime/core/vectors/generation-cluster';
import type { VectorIndexSchema } from '../../../../src/contract';

interface MemoryGeneration {
  readonly documents: Map<string, readonly number[]>;
  sealed: boolean;
  merged: boolean;
  replicated: boolean;
  warm: boolean;
}

/** The process that asked is dead. */
export class Killed extends Error {}

export class MemoryCluster implements GenerationCluster {
  readonly made = new Map<string, MemoryGeneration>();
  /** Names of what the alias stands for. */
  alias: string | undefined;
  stored: StoredRecord | undefined;
  readonly loaded = new Map<string, LoadedPart>();
  /** Names of generations whose graph finds nothing but the first document. */
  readonly bad = new Set<string>();
  exhausted = false;
  /** Documents that one exact search looks at. */
  step = 1000;
  readonly looks: string[] = [];
  private writes = 0;
  /** Whether a snapshot is made of everything. */
  snapshotRuns = () => false;
  /** Called before and after every call takes effect; may throw, or let others run in between. */
  around: (call: string, when: 'before' | 'after') => void | Promise<void> = () => undefined;

  record = () => this.call('record', () => this.stored);
  saveRecord = (_: string, record: IndexRecord, version: string | undefined) => this.call('saveRecord', () => {
    if (version !== this.stored?.version) return false;
    this.stored = { record: structuredClone(record), version: String(++this.writes) };
    return true;
  });

  parts = (_: string, generation: string, parts: readonly number[]) => this.call('parts', () => parts.map((part) => this.loaded.get(`${generation}.${part}`)));
  savePart = (_: string, generation: string, part: number, loaded: LoadedPart) => this.call('savePart', () => {
    this.loaded.set(`${generation}.${part}`, loaded);
  });

  dropParts = (_: string, generation: string) => this.call('dropParts', () => {
    for (const key of [...this.loaded.keys()]) if (key.startsWith(`${generation}.`)) this.loaded.delete(key);
  });

  generations = () => this.call('generations', () => [...this.made.keys()]);
  live = () => this.call('live', () => this.alias);
  create = (_: VectorIndexSchema, generation: string) => this.call('create', () => {
    if (!this.made.has(generation)) this.made.set(generation, { documents: new Map(), sealed: false, merged: false, replicated: false, warm: false });
  });

  bulk = (_: string, generation: string, body: string) => this.call('bulk', (): BulkAnswer => {
    const lines = body.split('\n').filter((line) => line !== '').map((line) => JSON.parse(line));
    const target = this.need(generation);
    const items = lines.filter((_line, at) => at % 2 === 0).map((_line, at) => {
      if (target.sealed) return { status: 403, reason: 'index write blocked' };
      target.documents.set(lines[2 * at].index._id, lines[2 * at + 1].vector);
      return { status: 201, reason: '' };
    });
    return { status: 200, items };
  });

  seal = (_: string, generation: string) => this.call('seal', () => {
    this.need(generation).sealed = true;
  });

  count = (_: string, generation: string) => this.call('count', () => this.need(generation).documents.size);
  mergeState = (_: string, generation: string) => this.call('mergeState', (): MergeState => (
    { copies: 1, segments: this.need(generation).merged ? 1 : 3, running: false }
  ));

  startMerge = (_: string, generation: string) => this.call('startMerge', () => {
    this.need(generation).merged = true;
  });

  replicate = (_: string, generation: string) => this.call('replicate', () => {
    const before = this.need(generation).replicated;
    this.need(generation).replicated = true;
    return before;
  });

  sample = (_: string, generation: string, size: number) => this.call('sample', (): SampledVector[] => (
    [...this.need(generation).documents].slice(0, size).map(([id, vector]) => ({ id, vector }))
  ));

  extent = (_: VectorIndexSchema, generation: string) => this.call('extent', () => ({ end: this.need(generation).documents.size, step: this.step }));
  exact = (_: VectorIndexSchema, generation: string, vector: readonly number[], k: number, range?: SequenceRange) => this.call('exact', () => (
    this.nearest(generation, vector, k, range)
  ));

  approximate = (_: VectorIndexSchema, generation: string, vector: readonly number[], k: number) => this.call('approximate', () => (
    this.nearest(generation, vector, this.bad.has(generation) ? 1 : k)
  ));

  warmUp = (_: string, generation: string) => this.call('warmUp', () => {
    this.need(generation).warm = true;
    return true;
  });

  memoryExhausted = () => this.call('memoryExhausted', () => this.exhausted);
  moveAlias = (_: string, from: string | undefined, to: string) => this.call('moveAlias', () => {
    if (this.alias !== from || !this.made.has(to)) return false;
    this.alias = to;
    return true;
  });

  remove = (_: string, generations: readonly string[], live: string | undefined) => this.call('remove', (): Removal => {
    if (this.alias !== live) return 'moved';
    if (this.snapshotRuns()) return 'snapshot';
    for (const generation of generations) this.made.delete(generation);
    return 'removed';
  });

  /** What is wrong for a searcher right now; undefined where nothing is. */
  fault(): string | undefined {
    if (this.alias === undefined) return undefined;
    const live = this.made.get(this.alias);
    if (!live) return `the alias stands for generation ${this.alias}, which is gone`;
    if (!live.sealed || !live.merged || !live.replicated || !live.warm) return `generation ${this.alias} answers before it is ready`;
    return this.bad.has(this.alias) ? `generation ${this.alias} answers though its graph is bad` : undefined;
  }

  private nearest(generation: string, vector: readonly number[], k: number, { from, to }: SequenceRange = { from: 0, to: Infinity }): Scored[] {
    const distance = (other: readonly number[]) => other.reduce((sum, value, at) => sum + (value - vector[at]) ** 2, 0);
    const all = [...this.need(generation).documents].slice(from, to).map(([id, other]) => ({ id, score: 1 / (1 + distance(other)) }));
    return all.sort((a, b) => b.score - a.score).slice(0, k);
  }

  private need(generation: string): MemoryGeneration {
    const found = this.made.get(generation);
    if (!found) throw new Error(`no generation ${generation}`);
    return found;
  }

  private async call<T>(name: string, work: () => T): Promise<T> {
    await this.around(name, 'before');
    const result = work();
    const fault = this.fault();
    if (fault !== undefined) this.looks.push(`${name}: ${fault}`);
    await this.around(name, 'after');
    return structuredClone(result);
  }
}
