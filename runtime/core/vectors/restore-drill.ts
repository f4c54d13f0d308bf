/** Whether the newest snapshot of an index can be restored, how fast, and whether it then finds what the original finds (docs/adr/0077). */
import { stop } from './build-errors';
import type { GenerationCluster } from './generation-cluster';
import { foundOf, without } from './recall';
import { type RecallGate, type VectorIndexSchema, VectorStoreName } from '../../../src/contract';
import type { Clock } from '../ports';

export interface Snapshot {
  readonly snapshot: string;
  /** When it was complete, milliseconds since the epoch. */
  readonly ended: number;
}

export interface SnapshotRepository {
  /** The newest complete snapshot that holds the generation; undefined where there is none. */
  newest(index: string, generation: string): Promise<Snapshot | undefined>;
  /** Begins to restore the generation as the scratch index. */
  restore(snapshot: string, index: string, generation: string): Promise<void>;
  /** Whether every primary shard of the scratch index is there. */
  restored(index: string): Promise<boolean>;
  /** Deletes the scratch index, if there is one. */
  dropScratch(index: string): Promise<void>;
}

export interface DrillOptions {
  readonly index: VectorIndexSchema;
  readonly gate: RecallGate;
  readonly clock: Clock;
  readonly pause: () => Promise<void>;
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
  /** What searches of the restored generation find of the true neighbours in the original; 1 where there are too few to ask. */
  readonly recall: number;
}

/** Fails with NO_SNAPSHOT. Cleans up whatever comes; a dead drill's remains go with the next one. */
export async function restoreDrill(cluster: GenerationCluster, repository: SnapshotRepository, options: DrillOptions): Promise<DrillReport> {
  const { index: { name }, clock, pause } = options;
  const { generation, snapshot, ended } = await newest(cluster, repository, name);
  await repository.dropScratch(name);
  try {
    const began = clock.now();
    await repository.restore(snapshot, name, generation);
    while (!await repository.restored(name)) await pause();
    const restoreSeconds = (clock.now() - began) / 1000;
    const completeness = await cluster.count(VectorStoreName.SCRATCH, name) / Math.max(1, await cluster.count(name, generation));
    const recall = await recallOfScratch(cluster, generation, options);
    return { snapshot, generation, restoreSeconds, snapshotAgeSeconds: (began - ended) / 1000, completeness, recall };
  } finally {
    await repository.dropScratch(name);
  }
}

/** Fails with RESTORE_DIFFERS: generations do not change once they are built, so that nothing may be missing. */
export function requireRestored({ snapshot, completeness, recall }: DrillReport, { name }: VectorIndexSchema, { least, k }: RecallGate): void {
  if (completeness !== 1 || recall < least) {
    stop('RESTORE_DIFFERS', `snapshot '${snapshot}' of vector index '${name}' gave back ${(completeness * 100).toFixed(2)} % of the documents with recall@${k} ${recall.toFixed(3)}, `
      + `and must give 100 % with ${least}: take a new snapshot, and keep this one until you know why`);
  }
}

/** The live generation, or one that is kept, where the live one is newer than the newest snapshot. */
async function newest(cluster: GenerationCluster, repository: SnapshotRepository, name: string): Promise<Snapshot & { readonly generation: string }> {
  const live = await cluster.live(name);
  const others = (await cluster.generations(name)).filter((generation) => generation !== live).sort((a, b) => Number(b) - Number(a));
  for (const generation of [...live === undefined ? [] : [live], ...others]) {
    const snapshot = await repository.newest(name, generation);
    if (snapshot) return { ...snapshot, generation };
  }
  return stop('NO_SNAPSHOT', `no complete snapshot holds a generation of vector index '${name}': is the repository registered, and does the policy run?`);
}

async function recallOfScratch(cluster: GenerationCluster, generation: string, { index, gate }: DrillOptions): Promise<number> {
  let found = 0;
  let wanted = 0;
  for (const { id, vector } of await cluster.sample(index.name, generation, gate.sample)) {
    const exact = without(await cluster.exact(index, generation, vector, 2 * gate.k + 1), id);
    const approximate = without(await cluster.approximate({ ...index, name: VectorStoreName.SCRATCH }, index.name, vector, gate.k + 1), id);
    wanted += Math.min(gate.k, exact.length);
    found += foundOf(exact, approximate, gate.k);
  }
  return wanted === 0 ? 1 : found / wanted;
}
