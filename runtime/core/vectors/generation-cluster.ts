/** What the building of generations needs of a vector store. Every call may be repeated, and says what it found rather than what it expected. */
import type { VectorIndexSchema } from '../../../src/contract';

/** What one build left to say about its generation. */
export interface GenerationFacts {
  readonly documents: number;
  /** At the gate; undefined where that asks for none, or the whole generation has fewer than two vectors. */
  readonly recall?: number;
  /** ISO 8601. */
  readonly builtAt: string;
  /** Of the build. */
  readonly build: string;
  /** Parts of its source. */
  readonly parts: number;
}

/** How far recall is measured. */
export interface RecallProgress {
  /** Questions that are done. */
  readonly asked: number;
  readonly found: number;
  /** Neighbours that there are to be found. */
  readonly wanted: number;
  /** Of the questions that are asked at present, side by side. */
  readonly part?: {
    /** Documents below this sequence number were looked at for each of them. */
    readonly from: number;
    /** Questions that had their turn since. */
    readonly at: number;
    /** The nearest so far. */
    readonly nearest: readonly (readonly Scored[])[];
  };
}

/** A build that is under way. */
export interface BuildLease {
  readonly id: string;
  readonly generation: string;
  /** Milliseconds since the epoch. From then on another build may take over. */
  readonly until: number;
  /** Milliseconds since the epoch. */
  readonly began: number;
  /** Parts that the source was divided into. */
  readonly parts: number;
  /** Answers of the gate so far. */
  readonly gate?: RecallProgress;
  /** What the alias stood for right before the switch; '' for nothing. */
  readonly replaces?: string;
}

/** What is remembered of an index, beside its generations. */
export interface IndexRecord {
  /** The highest number that a generation ever had: none is used twice. */
  readonly last: number;
  /** The generation that the last build brought, and the one that it took the place of. */
  readonly kept: readonly string[];
  readonly facts: Readonly<Record<string, GenerationFacts>>;
  readonly build?: BuildLease;
}

export const EMPTY_RECORD: IndexRecord = { last: 0, kept: [], facts: {} };

/** Says which write of a record was read; only the store looks into it. */
export type RecordVersion = string;

export interface StoredRecord {
  readonly record: IndexRecord;
  readonly version: RecordVersion;
}

/** How far a part of the source is loaded. */
export interface LoadedPart {
  /** Lines that were read and taken, and the vectors in them. */
  readonly lines: number;
  readonly vectors: number;
  readonly done: boolean;
}

/** Segments of a generation's shards: replicas that are there while it is loaded merge by themselves, each at its own time. */
export interface MergeState {
  /** Primaries and replicas that hold documents. */
  readonly copies: number;
  readonly segments: number;
  /** Whether any of them merges. */
  readonly running: boolean;
}

export interface SampledVector {
  readonly id: string;
  readonly vector: readonly number[];
}

export interface Scored {
  readonly id: string;
  readonly score: number;
}

/** Sequence numbers of documents, from the first to the one before the last; each shard counts its own. */
export interface SequenceRange {
  readonly from: number;
  readonly to: number;
}

/** How an exact search is divided. */
export interface SearchExtent {
  /** No document has a sequence number as high as this. */
  readonly end: number;
  /** Sequence numbers whose documents one call can look at. */
  readonly step: number;
}

/** What became of one document of a bulk. */
export interface BulkItem {
  /** HTTP status. */
  readonly status: number;
  /** With its cause; '' of one that was taken. */
  readonly reason: string;
  /** Refused only because graphs do not fit in memory (the k-NN plugin's circuit breaker): it may be taken later. */
  readonly exhausted?: boolean;
}

export interface BulkAnswer {
  /** HTTP status of the whole. */
  readonly status: number;
  /** In the order of the documents; empty unless the status is 200. */
  readonly items: readonly BulkItem[];
}

/** What came of a deletion: nothing where the alias moved, or where a snapshot is made, which ends by itself. */
export type Removal = 'removed' | 'moved' | 'snapshot';

export interface GenerationCluster {
  record(index: string): Promise<StoredRecord | undefined>;
  /** False where the record is no longer the one of `version` (undefined: where there is one already). */
  saveRecord(index: string, record: IndexRecord, version: RecordVersion | undefined): Promise<boolean>;

  parts(index: string, generation: string, parts: readonly number[]): Promise<(LoadedPart | undefined)[]>;
  savePart(index: string, generation: string, part: number, loaded: LoadedPart): Promise<void>;
  dropParts(index: string, generation: string, parts: number): Promise<void>;

  /** Names of all generations that are there, in any order. */
  generations(index: string): Promise<string[]>;
  /** The generation that the alias stands for; undefined where there is no alias. Fails with ALIAS_MOVED where it stands for several. */
  live(index: string): Promise<string | undefined>;
  /** Without replicas and without refreshes. One that is there already is left as it is. */
  create(index: VectorIndexSchema, generation: string): Promise<void>;
  bulk(index: string, generation: string, body: string): Promise<BulkAnswer>;
  /** No document can be written from now on, and all that were can be found. */
  seal(index: string, generation: string): Promise<void>;
  count(index: string, generation: string): Promise<number>;
  mergeState(index: string, generation: string): Promise<MergeState>;
  startMerge(index: string, generation: string): Promise<void>;
  /** Gives it the replicas and the refreshes that it answers with. True once every copy is there. */
  replicate(index: string, generation: string): Promise<boolean>;
  /** The same vectors each time, as long as the generation does not change. */
  sample(index: string, generation: string, size: number): Promise<SampledVector[]>;
  extent(index: VectorIndexSchema, generation: string): Promise<SearchExtent>;
  /** The nearest, by looking at every vector, or at those in a range. */
  exact(index: VectorIndexSchema, generation: string, vector: readonly number[], k: number, range?: SequenceRange): Promise<Scored[]>;
  /** The nearest, as the graph finds them for searchers. */
  approximate(index: VectorIndexSchema, generation: string, vector: readonly number[], k: number): Promise<Scored[]>;
  /** Loads the graphs of every copy into memory. False where that takes longer than a call. */
  warmUp(index: string, generation: string): Promise<boolean>;
  /** Whether the graphs do not fit: the k-NN plugin's circuit breaker. */
  memoryExhausted(): Promise<boolean>;
  /** One step for searchers. False where the alias does not stand for `from` (undefined: for nothing), or `to` is not there: then nothing changed. */
  moveAlias(index: string, from: string | undefined, to: string): Promise<boolean>;
  /** Deletes generations in one step, while the alias stands for `live` alone. */
  remove(index: string, generations: readonly string[], live: string | undefined): Promise<Removal>;
}
