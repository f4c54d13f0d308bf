/** The generations of an index, and the way back to the one before. The embedded store shows its own in the same shape. */
import { stop } from './build-errors';
import { EMPTY_RECORD, type GenerationCluster, type IndexRecord } from './generation-cluster';
import { GENERATION_RETENTION_DAYS } from '../../../src/contract';

export interface Generation {
  readonly generation: string;
  /** `live` answers, `previous` is kept to go back to, `building` is neither yet, `unfinished` is what a dead build left. */
  readonly state: 'live' | 'previous' | 'building' | 'unfinished';
  readonly documents: number;
  /** ISO 8601; undefined before its build is over. */
  readonly builtAt?: string;
  /** At the gate. */
  readonly recall?: number;
}

/** Newest first. */
export async function listGenerations(cluster: GenerationCluster, index: string): Promise<Generation[]> {
  const record = (await cluster.record(index))?.record ?? EMPTY_RECORD;
  const live = await cluster.live(index);
  const previous = previousOf(record, live);
  const names = (await cluster.generations(index)).sort((a, b) => Number(b) - Number(a));
  const shown: Generation[] = [];
  for (const generation of names) {
    const facts = record.facts[generation];
    const documents = facts?.documents ?? await cluster.count(index, generation);
    const other = generation === record.build?.generation ? 'building' : 'unfinished';
    const state = generation === live ? 'live' : generation === previous ? 'previous' : other;
    const about = facts && { builtAt: facts.builtAt, ...facts.recall === undefined ? {} : { recall: facts.recall } };
    shown.push({ generation, state, documents, ...about });
  }
  return shown;
}

/** What a return goes to: of the two that are kept, the one that does not answer. */
export function previousOf({ kept, build }: IndexRecord, live: string | undefined): string | undefined {
  if (live === undefined) return undefined;
  // the build switched, and has not yet written what it keeps
  if (build !== undefined && build.generation === live && build.replaces !== undefined) return build.replaces || undefined;
  return kept.includes(live) ? kept.find((name) => name !== live) : undefined;
}

/**
 * Puts the previous generation behind the alias again, in one step for searchers; a second call goes forth again.
 * Fails with NO_PREVIOUS_GENERATION or ALIAS_MOVED.
 */
export async function returnToPrevious(cluster: GenerationCluster, index: string): Promise<{ readonly from: string; readonly to: string }> {
  const live = await cluster.live(index);
  const record = (await cluster.record(index))?.record ?? EMPTY_RECORD;
  const to = previousOf(record, live) ?? stop('NO_PREVIOUS_GENERATION', `vector index '${index}' keeps no generation beside ${live ?? 'none'}`);
  if (!(await cluster.generations(index)).includes(to)) {
    stop('NO_PREVIOUS_GENERATION', `generation ${to} of vector index '${index}', which answered before ${live}, is gone: one is deleted ${GENERATION_RETENTION_DAYS} days after the alias left it. `
      + 'Build it again from its source');
  }
  if (!await cluster.moveAlias(index, live, to)) stop('ALIAS_MOVED', `the alias '${index}' no longer stands for ${live}, or generation ${to} is gone: look again`);
  return { from: live!, to };
}
