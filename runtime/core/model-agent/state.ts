/** What the model agent knows, what happens to it, and what it asks for: plain data, so that every state can be compared, shown and explored. */
import { type RolloutDocument, type RuntimePool, tritonModelName } from '../../../src/contract';
import type { ApprovedVersion } from '../rollout';

export interface AgentOptions {
  readonly pool: RuntimePool;
  /** Bytes that artifacts may take, half downloads included. */
  readonly diskBudget: number;
  /** How long a version that was replaced stays loaded, milliseconds. */
  readonly rollbackMs: number;
  /** A version that has been loaded so long without an end of Triton is not what ends it, milliseconds. */
  readonly probationMs: number;
  /** Ends of Triton while a version loads, or is on probation, after which it is not loaded again. */
  readonly maxCrashes: number;
  /** First wait after a failure; it doubles up to the longest. Milliseconds. */
  readonly backoffMs: number;
  readonly maxBackoffMs: number;
  /** Least time between two restarts for a renewed certificate, milliseconds. */
  readonly rotationPauseMs: number;
}

/**
 * `absent`: nothing on disk and the size is not known; `known`: the manifest was read; `stopping`: its download was called off; `partial`: a
 * download that did not end; `present`: whole, checked, and in Triton's repository.
 */
export type ArtifactState = 'absent' | 'inspecting' | 'known' | 'fetching' | 'stopping' | 'partial' | 'present' | 'evicting';
export type LoadState = 'no' | 'loading' | 'ready' | 'unloading';

export interface VersionState extends ApprovedVersion {
  /** Listed in the document in force. */
  approved: boolean;
  artifact: ArtifactState;
  /** Of all files; 0 until the manifest was read. */
  bytes: number;
  loaded: LoadState;
  /** Since when it is loaded. */
  loadedAt: number;
  /** When it was last loaded or wanted: what was not for longest is evicted first. */
  usedAt: number;
  /** In a row, of fetching or loading it. */
  failures: number;
  /** Not tried again before. */
  retryAt: number;
  crashes: number;
  /** It has outlived its probation once. */
  proven: boolean;
  /** It ended Triton too often, and is never loaded again by this process. */
  poison: boolean;
  /** Why it is not ready, as far as that is known. */
  error: string;
}

/** Restarting Triton for a renewed certificate: `returning` begins when the old process is gone, whatever ended it. */
export type RotationPhase = 'none' | 'lease' | 'draining' | 'drained' | 'restarting' | 'returning';

export interface AgentState {
  /** Milliseconds since the epoch, of the last event. */
  now: number;
  /** A document was read. */
  informed: boolean;
  /** The versions that the pool held when it started were loaded: never false again. */
  started: boolean;
  versions: Record<string, VersionState>;
  /** By model: the version that this pool is to hold. */
  wanted: Record<string, string>;
  /** By model: the version that was wanted and is loaded. It stays until another takes its place. */
  serving: Record<string, string>;
  /** Replaced, and kept loaded until then. */
  retained: Record<string, number>;
  tritonUp: boolean;
  /** Counts processes of Triton: an answer of an earlier one says nothing about this one. */
  instance: number;
  /** It is known what Triton holds: the process was asked once, or there is none. */
  heldKnown: boolean;
  /** Counts loads and unloads that ended: an index that was asked for before the last of them is out of date. */
  operations: number;
  /** Served when Triton went away, and not tried again yet. */
  recovering: string[];
  certificate: 'unknown' | 'fresh' | 'stale';
  rotation: { phase: RotationPhase; retryAt: number };
}

/** `jitter` is anything from 0 to 1: pods that failed together do not come back together. */
export type AgentEvent =
  | { readonly kind: 'tick' }
  | { readonly kind: 'document'; readonly document: RolloutDocument }
  /** What is on disk when the process starts: checked again. */
  | { readonly kind: 'found'; readonly versions: readonly (ApprovedVersion & { readonly bytes: number; readonly whole: boolean })[] }
  | { readonly kind: 'inspected'; readonly key: string; readonly bytes: number }
  | { readonly kind: 'fetched'; readonly key: string }
  /** To inspect or to fetch it. */
  | { readonly kind: 'fetchFailed'; readonly key: string; readonly error: string; readonly jitter: number }
  | { readonly kind: 'evicted'; readonly key: string }
  | { readonly kind: 'loaded'; readonly key: string; readonly instance: number }
  | { readonly kind: 'loadFailed'; readonly key: string; readonly instance: number; readonly error: string; readonly jitter: number }
  | { readonly kind: 'unloaded'; readonly key: string; readonly instance: number }
  | { readonly kind: 'unloadFailed'; readonly key: string; readonly instance: number; readonly jitter: number }
  | { readonly kind: 'tritonUp'; readonly instance: number }
  | { readonly kind: 'tritonDown'; readonly jitter: number }
  /** What Triton says it holds, by its names, asked for when `operations` was so. */
  | { readonly kind: 'index'; readonly instance: number; readonly operations: number; readonly names: readonly string[] }
  | { readonly kind: 'certificate'; readonly instance: number; readonly stale: boolean }
  | { readonly kind: 'leaseAcquired' }
  | { readonly kind: 'leaseLost' }
  | { readonly kind: 'drained' }
  | { readonly kind: 'restartFailed' };

export type AgentCommand =
  | { readonly kind: 'inspect' | 'fetch' | 'cancel' | 'evict' | 'load' | 'unload'; readonly key: string }
  | { readonly kind: 'unloadForeign'; readonly name: string }
  | { readonly kind: 'acquireLease' | 'releaseLease' | 'drain' | 'restart' };

/** What Triton calls it. */
export const tritonNameOf = ({ model, version }: Pick<ApprovedVersion, 'model' | 'version'>): string => tritonModelName({ name: model, version });

export const keyOf = ({ model, version, digest }: ApprovedVersion): string => `${model}.${version}@${digest}`;

export function initialState(now: number): AgentState {
  return {
    now,
    informed: false,
    started: false,
    versions: {},
    wanted: {},
    serving: {},
    retained: {},
    tritonUp: false,
    instance: 0,
    heldKnown: false,
    operations: 0,
    recovering: [],
    certificate: 'unknown',
    rotation: { phase: 'none', retryAt: 0 },
  };
}

/** Whether the pod may take requests. What fails to load later does not change it. */
export function isReady({ started, tritonUp, recovering, rotation }: AgentState): boolean {
  return started && tritonUp && recovering.length === 0 && (rotation.phase === 'none' || rotation.phase === 'lease');
}

/** When something is due without any event; undefined where nothing is. */
export function nextDue({ now, versions, retained, rotation, certificate }: AgentState): number | undefined {
  const times = [...Object.values(versions).map(({ retryAt }) => retryAt), ...Object.values(retained), ...certificate === 'stale' ? [rotation.retryAt] : []];
  return times.filter((time) => time > now).reduce<number | undefined>((least, time) => Math.min(least ?? time, time), undefined);
}

/** One word for what a version is doing, for people and metrics. */
export type VersionStatus = 'ready' | 'loading' | 'unloading' | 'poison' | 'failed' | 'downloading' | 'waiting' | 'idle';
export const VERSION_STATUSES: readonly VersionStatus[] = ['ready', 'loading', 'unloading', 'poison', 'failed', 'downloading', 'waiting', 'idle'];

export function statusOf(state: AgentState, key: string): VersionStatus {
  const { loaded, artifact, poison, failures, model, error } = state.versions[key];
  if (loaded !== 'no') return loaded;
  if (poison) return 'poison';
  if (failures > 0 || error !== '') return 'failed';
  if (artifact === 'inspecting' || artifact === 'fetching') return 'downloading';
  return state.wanted[model] === key ? 'waiting' : 'idle';
}
