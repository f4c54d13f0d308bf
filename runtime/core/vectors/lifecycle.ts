/** Policies by which a store looks after generations and snapshots (OpenSearch documentation, "Index State Management", "Snapshot Management API"). */
import { generationPattern } from './index-body';
import { type SnapshotDeclaration, VectorStoreName, type VectorIndexSchema } from '../../../src/contract';

interface Transition {
  readonly state_name: string;
  readonly conditions?: Readonly<Record<string, string | boolean>>;
}

interface State {
  readonly name: string;
  readonly actions: readonly Readonly<Record<string, object>>[];
  readonly transitions: readonly Transition[];
}

export interface IndexPolicy {
  readonly description: string;
  readonly default_state: string;
  readonly states: readonly State[];
  readonly ism_template: readonly { readonly index_patterns: readonly string[]; readonly priority: number }[];
}

/** Retries of an action: three, each after twice the time of the last. */
const retried = (action: Readonly<Record<string, object>>) => ({ ...action, retry: { count: 3, backoff: 'exponential', delay: '10m' } });

/**
 * A generation is sealed when the alias stands for it: then its segments become one. One that no alias stands for is deleted after `retentionDays`, also one whose
 * build died; one that the alias returns to stays.
 */
export function generationPolicy(schema: VectorIndexSchema, retentionDays: number): IndexPolicy {
  const retention = `${retentionDays}d`;
  const live: Transition = { state_name: 'live', conditions: { no_alias: false } };
  return {
    description: `Generations of vector index ${schema.name}: merged when live, deleted ${retention} after no alias stands for them`,
    default_state: 'built',
    states: [
      { name: 'built', actions: [], transitions: [live, { state_name: 'deleted', conditions: { min_state_age: retention } }] },
      { name: 'live', actions: [retried({ force_merge: { max_num_segments: 1 } })], transitions: [{ state_name: 'retired', conditions: { no_alias: true } }] },
      { name: 'retired', actions: [], transitions: [live, { state_name: 'deleted', conditions: { min_state_age: retention } }] },
      { name: 'deleted', actions: [retried({ delete: {} })], transitions: [] },
    ],
    ism_template: [{ index_patterns: [generationPattern(schema)], priority: 100 }],
  };
}

export interface SnapshotPolicy {
  readonly description: string;
  readonly enabled: boolean;
  readonly creation: { readonly schedule: Schedule; readonly time_limit: string };
  readonly deletion: {
    readonly schedule: Schedule;
    readonly condition: { readonly max_age: string; readonly min_count: number };
    readonly time_limit: string;
  };
  readonly snapshot_config: Readonly<Record<string, string | boolean>>;
}

interface Schedule {
  readonly cron: { readonly expression: string; readonly timezone: 'UTC' };
}

/** Snapshots that stay however old they are: a restore needs one. */
const LEAST_SNAPSHOTS = 3;

/** Snapshots of all generations, without the state of the cluster, whose security index is not ours to restore. */
export function snapshotPolicy(schemas: readonly VectorIndexSchema[], { schedule, retentionDays }: SnapshotDeclaration): SnapshotPolicy {
  const cron: Schedule = { cron: { expression: schedule, timezone: 'UTC' } };
  return {
    description: 'Snapshots of the vector indexes',
    enabled: true,
    creation: { schedule: cron, time_limit: '1h' },
    deletion: { schedule: cron, condition: { max_age: `${retentionDays}d`, min_count: LEAST_SNAPSHOTS }, time_limit: '1h' },
    snapshot_config: {
      date_format: 'yyyy-MM-dd-HH-mm',
      indices: schemas.map(generationPattern).join(','),
      repository: VectorStoreName.REPOSITORY,
      ignore_unavailable: true,
      include_global_state: false,
      partial: false,
    },
  };
}
