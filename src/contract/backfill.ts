/** What a backfill's state machine, its functions and its control table agree on (docs/adr/0058). */
import { FeatureGroupSchema } from './feature-schema';

/** Environment variables of the backfill's functions; the online table is {@link Binding.FEATURE_TABLE}. */
export const BackfillEnv = {
  BRAIN: 'BRAIN',
  /** Name of the control table. */
  CONTROL_TABLE: 'CONTROL_TABLE',
  /** Bucket of the rows that Athena computed. */
  BUCKET: 'BACKFILL_BUCKET',
  /** Writes per second of one writer. */
  WRITES_PER_SECOND: 'WRITES_PER_SECOND',
} as const;

/** In the backfill's bucket. */
export const BackfillPath = {
  /** Rows that Athena computed: `runs/<run>/<attempt>/…`, gzipped JSON lines. */
  RUNS: 'runs',
} as const;

/**
 * The control table: key `pk` and `sk`, both text. `pk` {@link controlKey} with `sk` {@link ControlItem.GROUP} is a group's own item; `pk` of a run
 * with an object's key as `sk` is how far a writer came in it.
 */
export const ControlItem = {
  PK: 'pk',
  SK: 'sk',
  GROUP: 'group',
  /** Seconds since the epoch after which DynamoDB may delete a checkpoint. */
  EXPIRES_AT: 'expires_at',
  /** Of a group: ARN of the execution that backfills it now. Whether that is alive, Step Functions says. */
  OWNER: 'owner',
  /** Of a group: milliseconds since the epoch; every row that was offline by then is online, but for what arrived later than the overlap. */
  WATERMARK: 'watermark',
  /** Of a group: the snapshot that the last complete run read. */
  SNAPSHOT: 'snapshot',
  /** Of a group: what a run computed and has not written completely; the next run goes on with it. */
  PLAN: 'plan',
  /** Of an object: lines that are done. */
  LINES: 'lines',
  /** Of an object: of these lines, the rows that were or would be written, that online had already or newer, and that were refused. */
  CHANGED: 'changed',
  KEPT: 'kept',
  REFUSED: 'refused',
  /** Of an object: whether these lines are all. */
  DONE: 'done',
} as const;

/** `pk` of a group's item: a new version is a new group. */
export function controlKey({ name, version }: Pick<FeatureGroupSchema, 'name' | 'version'>): string {
  return `group#${name}#${version}`;
}

/** `pk` of the checkpoints of a run. */
export function checkpointKey(run: string): string {
  return `run#${run}`;
}

/** What the planner is asked. */
export interface BackfillQuestion {
  readonly group: FeatureGroupSchema;
  readonly database: string;
  /** Iceberg's snapshot id, decimal. */
  readonly snapshot: string;
  /** Milliseconds since the epoch: rows that are expired by then, or not yet true, do not count. */
  readonly asOf: number;
  /** Rows created at or after this time only, milliseconds since the epoch. @default - all */
  readonly createdFrom?: number;
  /** Some entities only, drawn by the seed: for the consistency check. @default - all */
  readonly sample?: { readonly size: number; readonly seed: string };
}

/** What it answers. */
export interface BackfillQuery {
  /** A SELECT whose columns {@link BackfillLine} names. */
  readonly query: string;
}

/** One line of what Athena computed: JSON, by column. int64 and entity keys are text, times are milliseconds since the epoch; a null may be absent. */
export type BackfillLine = Readonly<Record<string, unknown>>;

/** What a writer is asked: one object of a run. */
export interface BackfillPart {
  readonly group: FeatureGroupSchema;
  readonly run: string;
  /** Key of the object in the backfill's bucket. */
  readonly key: string;
  /** Counts what would change, and writes nothing. */
  readonly dryRun: boolean;
}

/** How far it came. */
export interface BackfillProgress {
  readonly lines: number;
  /** Rows that were written, or would be. */
  readonly changed: number;
  /** Rows that online had already, or newer. */
  readonly kept: number;
  /** Rows that are in the quarantine. */
  readonly refused: number;
  /** False: time was over; ask again. */
  readonly done: boolean;
}

/** What the consistency check is asked: what a sample of entities says online, against what was computed offline. */
export interface ConsistencyQuestion {
  readonly group: FeatureGroupSchema;
  /** Where the sample's objects are, in the backfill's bucket. */
  readonly prefix: string;
}

/** What it found, entities. */
export interface ConsistencyReport {
  readonly sampled: number;
  readonly same: number;
  /** Online is newer: offline follows it, minutes later. */
  readonly ahead: number;
  readonly missing: number;
  /** Online is older, or says something else of the same instant that should have lost. */
  readonly behind: number;
  /** missing + behind, of those sampled; 0 to 1. */
  readonly skew: number;
}
