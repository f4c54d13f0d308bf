/**
 * Writes one part of a backfill online: rows that win over what is stored, in batches, with a checkpoint after what is safe.
 *
 * Being killed anywhere costs time and nothing else: a batch that is written again changes nothing, because a row replaces only an older one;
 * a checkpoint comes after its rows, and never goes back, whoever else works on the same part.
 */
import { readLine } from './line';
import type { TokenBucket } from './token-bucket';
import type { BackfillPart, BackfillProgress, QuarantinedRow } from '../../../src/contract';
import { BatchProfile, type Violation } from '../data-quality/batch-profile';
import { RowCheck } from '../data-quality/row-check';
import { BrainError } from '../errors';
import { rankOf, replaces } from '../feature-row';
import type { Clock, FeatureWrite, Logger, OnlineFeatureStore } from '../ports';

/** Rows that are read and written together: as many keys as DynamoDB reads in one call. */
const BATCH_ROWS = 100;
/** Batches between two checkpoints: a killed writer repeats a few seconds of work, at most. */
const BATCHES_PER_CHECKPOINT = 10;
/** Pauses after a failed batch, milliseconds: doubled each time. */
const FIRST_PAUSE_MS = 100;
const LONGEST_PAUSE_MS = 5_000;

export type Checkpoint = BackfillProgress;
const BEGIN: Checkpoint = { lines: 0, changed: 0, kept: 0, refused: 0, done: false };

export interface PartPorts {
  readonly store: Pick<OnlineFeatureStore, 'read' | 'write'>;
  readonly checkpoints: {
    load(part: BackfillPart): Promise<Checkpoint | undefined>;
    /** False where another writer is further: nothing was changed then. */
    save(part: BackfillPart, checkpoint: Checkpoint): Promise<boolean>;
  };
  readonly rate: TokenBucket;
  readonly clock: Clock;
  readonly sleep: (ms: number) => Promise<void>;
  readonly random: () => number;
  readonly log: Logger;
  /** Lines of the part's object from the n-th on, n from 0. */
  lines(key: string, from: number): AsyncIterable<string>;
  /** Keeps refused rows; the same name again replaces them. A dry run counts them only. */
  quarantine(name: string, rows: readonly QuarantinedRow[]): Promise<void>;
  /** Told of each checkpoint: what was done since the last one. */
  progress?(since: Omit<BackfillProgress, 'done'>): void;
  /** Told once, at the end of what this writer did of the part: the rows that it read and did not refuse are the batch that null rates are of. */
  judged?(violations: readonly Violation[]): void;
}

export interface PartLimits {
  /** When the writer must have answered, milliseconds since the epoch. */
  readonly deadline: number;
  /** How long one batch may fail again and again before the writer gives up, milliseconds. @default 60000 */
  readonly patienceMs?: number;
}

/** Goes on where the part's checkpoint is. Fails with FEATURE_STORE_UNAVAILABLE where a batch fails for longer than the writer has patience. */
export async function writePart(part: BackfillPart, ports: PartPorts, limits: PartLimits): Promise<BackfillProgress> {
  const begun = await ports.checkpoints.load(part) ?? BEGIN;
  if (begun.done) return begun;
  const writer = new PartWriter(part, ports, limits, begun);
  for await (const line of ports.lines(part.key, begun.lines)) {
    if (!await writer.add(line)) return writer.judged();
  }
  await writer.end();
  return writer.judged();
}

class PartWriter {
  /** The last checkpoint that holds. */
  reached: Checkpoint;
  private now: { -readonly [name in keyof Checkpoint]: Checkpoint[name] };
  private batch: string[] = [];
  private batches = 0;
  private refused: QuarantinedRow[] = [];
  private readonly check: RowCheck;
  private readonly profile: BatchProfile;

  constructor(private readonly part: BackfillPart, private readonly ports: PartPorts, private readonly limits: PartLimits, begun: Checkpoint) {
    this.reached = begun;
    this.now = { ...begun };
    this.check = new RowCheck(part.group);
    this.profile = new BatchProfile(part.group);
  }

  /** False: stop, there is no more time or another writer is further. */
  async add(line: string): Promise<boolean> {
    this.batch.push(line);
    if (this.batch.length < BATCH_ROWS) return true;
    await this.write();
    const late = this.ports.clock.now() >= this.limits.deadline;
    if (!late && this.batches < BATCHES_PER_CHECKPOINT) return true;
    return await this.save(false) && !late;
  }

  async end(): Promise<void> {
    if (this.batch.length > 0) await this.write();
    await this.save(true);
  }

  judged(): Checkpoint {
    if (this.profile.rows > 0) this.ports.judged?.(this.profile.violations());
    return this.reached;
  }

  private async write(): Promise<void> {
    const { part, ports, now } = this;
    const rows: FeatureWrite[] = [];
    for (const [at, line] of this.batch.entries()) {
      const read = readLine(this.check, line, { source: part.key, row: now.lines + at + 1, now: ports.clock.now() });
      if (!('reason' in read)) rows.push(read);
      else if (!part.dryRun) this.refused.push(read);
    }
    const winners = rows.length === 0 ? [] : await this.patiently(() => this.winners(rows));
    if (!part.dryRun && winners.length > 0) {
      await ports.rate.take(winners.length);
      await this.patiently(() => ports.store.write(winners));
    }
    for (const row of rows) this.profile.add(row);
    now.changed += winners.length;
    now.kept += rows.length - winners.length;
    now.refused += this.batch.length - rows.length;
    now.lines += this.batch.length;
    this.batch = [];
    this.batches++;
  }

  /** A read costs a tenth of a write that comes to nothing, and most rows of a backfill are online already. The write decides all the same. */
  private async winners(rows: readonly FeatureWrite[]): Promise<FeatureWrite[]> {
    const stored = await this.ports.store.read(rows.map(({ group, entity }) => ({ group, entity })));
    const { group } = this.part;
    return rows.filter((row, at) => replaces(rankOf(group, row), stored[at] && rankOf(group, stored[at])));
  }

  private async save(done: boolean): Promise<boolean> {
    const { part, ports, now, reached } = this;
    if (this.refused.length > 0) {
      await ports.quarantine(`backfill/${part.run}/${part.key.split('/').at(-1)}-${reached.lines}`, this.refused);
      this.refused = [];
    }
    const checkpoint = { ...now, done };
    if (!await ports.checkpoints.save(part, checkpoint)) {
      const other = await ports.checkpoints.load(part);
      ports.log.warn({ key: part.key, lines: checkpoint.lines, other: other?.lines }, 'another writer is further in this part');
      this.reached = other ?? reached;
      return false;
    }
    ports.progress?.({
      lines: now.lines - reached.lines, changed: now.changed - reached.changed, kept: now.kept - reached.kept, refused: now.refused - reached.refused,
    });
    this.reached = checkpoint;
    this.batches = 0;
    return true;
  }

  /** A store that throttles or is away for a moment is asked again: all of a batch, which is safe. */
  private async patiently<T>(work: () => Promise<T>): Promise<T> {
    const { clock, sleep, random, log } = this.ports;
    const until = Math.min(clock.now() + (this.limits.patienceMs ?? 60_000), this.limits.deadline);
    for (let pause = FIRST_PAUSE_MS; ; pause = Math.min(2 * pause, LONGEST_PAUSE_MS)) {
      try {
        return await work();
      } catch (error) {
        const wait = pause * (0.5 + random() / 2);
        if (!(error instanceof BrainError && error.code === 'FEATURE_STORE_UNAVAILABLE') || clock.now() + wait > until) throw error;
        log.warn({ key: this.part.key, error: error.message }, 'a batch failed, and is tried again');
        await sleep(wait);
      }
    }
  }
}
