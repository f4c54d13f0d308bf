/** How generations of a vector index are built beside the live one, as builder, state machine and reader share it (docs/adr/0075). */
import { GENERATION_SEPARATOR, RESERVED_INDEX, type VectorIndexLayout, type VectorIndexSchema } from './vector-schema';

/**
 * Index of the builders' own records: one document for each vector index (who builds, until when, what is kept), and one for each part of a
 * build. No index may have the name before the point: no pattern of one's generations takes it in.
 */
export const VECTOR_BUILDS_INDEX = `${RESERVED_INDEX}${GENERATION_SEPARATOR}builds`;

/** The generation that stands behind the alias before the first build: empty. Builds count on from it. */
export const FIRST_GENERATION = '1';

/** How long a generation stays that no alias stands for, days: the time to return to it. */
export const GENERATION_RETENTION_DAYS = 30;

/** Steps of a build, in their order; each may be repeated at any time, and says whether it is done. */
export const VECTOR_BUILD_STEPS = ['begin', 'load', 'seal', 'merge', 'replicate', 'check', 'warm', 'switch', 'retire'] as const;
export type VectorBuildStep = typeof VECTOR_BUILD_STEPS[number] | 'refusal' | 'abandon';

/** What a generation must reach before it answers: recall@k against exact search, over a sample of its own vectors. */
export interface RecallGate {
  readonly k: number;
  /** Vectors that are asked for. */
  readonly sample: number;
  /** Least share of the true neighbours that the graph finds, 0 to 1; 0 asks for none, and nothing is measured. */
  readonly least: number;
}

/** Ten neighbours as in the usual benchmarks of nearest-neighbour search (Aumüller et al., "ANN-Benchmarks", 2018); 0.9 is their middle of the field. */
export const DEFAULT_RECALL_GATE: RecallGate = { k: 10, sample: 100, least: 0.9 };

/** Exact neighbours that are asked for beyond k: documents as near as the k-th count as found. */
export const EXACT_TIES = 10;

/** Neighbours that are kept from call to call: that many ids, of 512 bytes at most, are within what a state machine hands on (256 KiB). */
const MOST_KEPT = 250;

/** Questions that are asked side by side, so that vectors are read from disk once for all of them. */
export function questionsAtOnce(k: number): number {
  return Math.max(1, Math.floor(MOST_KEPT / (k + 1 + EXACT_TIES)));
}

/** Bytes of one vector that exact search reads: whole ones, however the graph is quantized. */
export function scannedBytes(dimension: number): number {
  return 4 * dimension;
}

/** Objects that one build takes: what the loads of all give together, two characters each, must fit into the 256 KiB that an execution carries. */
export const MAX_VECTOR_PARTS = 100_000;

/** One object of the source: what the step `begin` pins, and the step `load` reads. */
export interface VectorPart {
  readonly part: number;
  readonly key: string;
  /** Entity tag: an object that changed is refused. */
  readonly etag: string;
  readonly bytes: number;
}

/** One index of a restore drill, as the state machine hands it to its function. */
export interface DrilledIndex {
  readonly schema: VectorIndexSchema;
  readonly layout: VectorIndexLayout;
  readonly gate: RecallGate;
}

/** `advance` until it is done, then `finish`, which judges; whatever comes of it, `clean` until it is done. */
export type VectorDrillStep = 'advance' | 'finish' | 'clean';

/** Errors of a drill that another try does not change. */
export const FINAL_DRILL_ERRORS = ['NO_SNAPSHOT', 'RESTORE_DIFFERS', 'BUILD_REFUSED'] as const;

/** Environment variables of the functions that build and that drill. */
export const VectorBuildEnv = {
  /** JSON of a `VectorIndexLayout`. */
  LAYOUT: 'VECTOR_LAYOUT',
  /** JSON of a {@link RecallGate}. */
  GATE: 'RECALL_GATE',
  SOURCE_BUCKET: 'SOURCE_BUCKET',
  /** Where the list of a build's parts is written: `<prefix>/<build>/parts.json`. */
  WORK_BUCKET: 'WORK_BUCKET',
  BRAIN: 'BRAIN',
  /** Of the snapshots that a drill restores. */
  REPOSITORY: 'SNAPSHOT_REPOSITORY',
} as const;

/** Beside the function that builds: JSON of the declared index. */
export const VECTOR_INDEX_FILE = 'vector-index.json';

/** Metrics of builds and drills, in the namespace of the brain, by brain and index. */
export const VectorMetric = {
  /** Vectors that were loaded. */
  LOADED: 'VectorsLoaded',
  /** Share of the parts of a build that are loaded, percent. */
  PROGRESS: 'VectorBuildProgress',
  /** Recall of a generation at its gate, 0 to 1; where that asks for none there is none. */
  RECALL: 'VectorBuildRecall',
  /** From the first step of a build to its last, seconds. */
  BUILD_TIME: 'VectorBuildTime',
  /** Restoring the newest snapshot until it answers, seconds: the part of the recovery time that OpenSearch takes. */
  RESTORE_TIME: 'VectorRestoreTime',
  /** Age of the newest snapshot, seconds: what would be lost. */
  SNAPSHOT_AGE: 'VectorSnapshotAge',
  /** Recall of the restored generation against exact search in the live one, 0 to 1. */
  RESTORE_RECALL: 'VectorRestoreRecall',
  /** Share of the live generation's documents that the snapshot holds, 0 to 1. */
  RESTORE_COMPLETENESS: 'VectorRestoreCompleteness',
  /** Drills that restored all of an index, which then found what it must. */
  DRILLS_PASSED: 'VectorDrillsPassed',
} as const;

/** Dimension of {@link VectorMetric} beside that of the brain. */
export const VECTOR_INDEX_DIMENSION = 'VectorIndex';

/** Errors of a build that another try does not change: it is given up, and what it made is deleted. All others leave it as it is, to be gone on with. */
export const FINAL_BUILD_ERRORS = [
  'INVALID_INPUT', 'SOURCE_EMPTY', 'TOO_MANY_OBJECTS', 'SOURCE_CHANGED', 'INVALID_VECTOR', 'DUPLICATE_VECTOR', 'RECALL_TOO_LOW', 'GRAPH_MEMORY_EXHAUSTED', 'BUILD_REFUSED',
] as const;

/** Errors that say that the build is not this one's any more, or not yet: nothing is deleted. */
export const FOREIGN_BUILD_ERRORS = ['BUILD_RUNNING', 'BUILD_LOST', 'NO_PREVIOUS_GENERATION'] as const;

/** In the work bucket: `builds/<index>/<build>/parts.json`, the list of parts that a build pinned. */
export const VECTOR_BUILDS_PREFIX = 'builds';
