/** Whether the newest snapshot of an index can be restored, how fast, and whether it then finds what the original finds (docs/adr/0077, 0080). */
import { stop } from './build-errors';
import type { GenerationCluster, RecallProgress } from './generation-cluster';
import { measureRecall, recallOf } from './recall';
import { type RecallGate, type VectorIndexSchema, VectorStoreName } from '../../../src/contract';
import type { Clock } from '../ports';

export interface Snapshot {
  readonly snapshot: string;
  /** When it was complete, milliseconds since the epoch. */
  readonly ended: number;
}

export interface SnapshotRepository {
  /** The newest complete snapshot that holds the generation; undefined where there is none. Fails with NO_SNAPSHOT where there is no repository. */
  newest(index: string, generation: string): Promise<Snapshot | undefined>;
  /** Begins to restore the generation as the scratch index. */
  restore(snapshot: string, index: string, generation: string): Promise<void>;
  /** Whether every primary shard of the scratch index is there. */
  restored(index: string): Promise<boolean>;
  /** Deletes the scratch index, if there is one. False where a snapshot is made of it, which ends by itself. */
  dropScratch(index: string): Promise<boolean>;
}

export interface DrillOptions {
  readonly index: VectorIndexSchema;
  readonly gate: RecallGate;
  readonly clock: Clock;
  readonly pause: () => Promise<void>;
}

interface Restoring extends Snapshot {
  readonly generation: string;
  /** When the restore began, milliseconds since the epoch. */
  readonly began: number;
}

/** How far a drill is: handed from one call to the next. */
export interface DrillProgress {
  /** Absent of a drill that waits to begin; and of one that is done, where there was no snapshot to restore. */
  readonly restoring?: Restoring;
  /** From the call until it answers, seconds. */
  readonly restoreSeconds?: number;
  readonly compared?: RecallProgress;
  /** Of a drill that is done, where there was something to restore. */
  readonly report?: DrillReport;
  readonly done: boolean;
}

export interface DrillReport {
  readonly snapshot: string;
  readonly generation: string;
  /** From the call until it answers, seconds: what a recovery takes of OpenSearch. */
  readonly restoreSeconds: number;
  /** What would be lost, seconds. */
  readonly snapshotAgeSeconds: number;
  /** Documents that were restored, over those of the original. */
  readonly completeness: number;
  /** What searches of the restored generation find of the true neighbours in the original; 1 where there are too few to ask. Absent where the gate asks for none. */
  readonly recall?: number;
}

export class RestoreDrill {
  private readonly name: string;

  constructor(private readonly cluster: GenerationCluster, private readonly repository: SnapshotRepository, private readonly options: DrillOptions) {
    this.name = options.index.name;
  }

  /**
   * Begins a drill, or goes on with one. What a dead drill left is deleted first.
   *
   * @param until when to stop, milliseconds since the epoch; the rest is for another call
   */
  async advance(progress: DrillProgress | undefined, until: number): Promise<DrillProgress> {
    let now = progress?.restoring ? progress : await this.begin(until);
    const { restoring } = now;
    if (!restoring || now.done) return now;
    if (now.restoreSeconds === undefined) now = await this.awaitRestore(now, restoring.began, until);
    if (now.restoreSeconds !== undefined) now = await this.compare(now, restoring.generation, until);
    return now.done ? { ...now, report: await this.report(restoring, now) } : now;
  }

  /** Deletes the copy. False where a snapshot keeps it for now. */
  clean(): Promise<boolean> {
    return this.repository.dropScratch(this.name);
  }

  private async begin(until: number): Promise<DrillProgress> {
    while (!await this.clean()) {
      if (this.options.clock.now() >= until) return { done: false };
      await this.options.pause();
    }
    const found = await this.newest();
    if (!found) return { done: true };
    const began = this.options.clock.now();
    await this.repository.restore(found.snapshot, this.name, found.generation);
    return { restoring: { ...found, began }, done: false };
  }

  private async report({ snapshot, generation, began, ended }: Restoring, { restoreSeconds, compared }: DrillProgress): Promise<DrillReport> {
    const completeness = await this.cluster.count(VectorStoreName.SCRATCH, this.name) / Math.max(1, await this.cluster.count(this.name, generation));
    const about = { snapshot, generation, restoreSeconds: restoreSeconds!, snapshotAgeSeconds: (began - ended) / 1000, completeness };
    return compared ? { ...about, recall: recallOf(compared) ?? 1 } : about;
  }

  private async awaitRestore(progress: DrillProgress, began: number, until: number): Promise<DrillProgress> {
    const { clock, pause } = this.options;
    while (!await this.repository.restored(this.name)) {
      if (clock.now() >= until) return progress;
      await pause();
    }
    return { ...progress, restoreSeconds: (clock.now() - began) / 1000 };
  }

  private async compare(progress: DrillProgress, generation: string, until: number): Promise<DrillProgress> {
    const { index, gate, clock } = this.options;
    if (gate.least === 0) return { ...progress, done: true };
    const copy = { ...index, name: VectorStoreName.SCRATCH };
    const { done, ...compared } = await measureRecall({
      cluster: this.cluster,
      index,
      generation,
      ...gate,
      approximate: (vector, k) => this.cluster.approximate(copy, this.name, vector, k),
    }, progress.compared, () => clock.now() >= until);
    return { ...progress, compared, done };
  }

  /** Of the live generation, or of one that is kept, where the live one is newer than the newest snapshot. */
  private async newest(): Promise<Snapshot & { readonly generation: string } | undefined> {
    const live = await this.cluster.live(this.name);
    const others = (await this.cluster.generations(this.name)).filter((generation) => generation !== live).sort((a, b) => Number(b) - Number(a));
    for (const generation of [...live === undefined ? [] : [live], ...others]) {
      const snapshot = await this.repository.newest(this.name, generation);
      if (snapshot) return { ...snapshot, generation };
    }
    return undefined;
  }
}

/** Fails with RESTORE_DIFFERS: generations do not change once they are built, so that nothing may be missing. */
export function requireRestored({ snapshot, completeness, recall }: DrillReport, { name }: VectorIndexSchema, { least, k }: RecallGate): void {
  if (completeness === 1 && (recall === undefined || recall >= least)) return;
  const found = recall === undefined ? '' : ` with recall@${k} ${recall.toFixed(3)}`;
  stop('RESTORE_DIFFERS', `snapshot '${snapshot}' of vector index '${name}' gave back ${(completeness * 100).toFixed(2)} % of the documents${found}, `
    + `and must give 100 % with ${least}: take a new snapshot, and keep this one until you know why`);
}
