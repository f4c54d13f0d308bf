/** What happens to the model agent: one event, the state after it, and what to do next. Pure; reconcile.ts decides, this file records. */
import { reconcile } from './reconcile';
import { type AgentCommand, type AgentEvent, type AgentOptions, type AgentState, keyOf, tritonNameOf, type VersionState } from './state';
import type { RolloutDocument } from '../../../src/contract';
import { type ApprovedVersion, approvedVersions } from '../rollout';

export interface Step {
  readonly state: AgentState;
  readonly commands: readonly AgentCommand[];
}

/** @param now of the event; time that goes backwards stands still */
export function step(before: AgentState, event: AgentEvent, now: number, options: AgentOptions): Step {
  const state = copyOf(before);
  state.now = Math.max(before.now, now);
  const commands: AgentCommand[] = [];
  record(state, event, options, commands);
  reconcile(state, options, commands);
  return { state, commands };
}

function record(state: AgentState, event: AgentEvent, options: AgentOptions, commands: AgentCommand[]): void {
  switch (event.kind) {
    case 'tick': return;
    case 'document': return adopt(state, event.document, options);
    case 'found':
      for (const { bytes, whole, ...version } of event.versions) Object.assign(known(state, version), { bytes, artifact: whole ? 'present' : 'partial' });
      return;
    case 'inspected': return inspected(state.versions[event.key], event.bytes);
    case 'fetched': return settled(state.versions[event.key], { artifact: 'present', failures: 0, error: '' });
    case 'fetchFailed': return fetchFailed(state, event, options);
    case 'evicted': return settled(state.versions[event.key], { artifact: state.versions[event.key].bytes > 0 ? 'known' : 'absent' });
    case 'loaded': return loaded(state, event.key, event.instance);
    case 'loadFailed': return loadFailed(state, event, options);
    case 'unloaded': return unloaded(state, event.key, event.instance);
    case 'unloadFailed': return unloadFailed(state, event, options);
    case 'tritonUp': return tritonUp(state, event.instance);
    case 'tritonDown': return tritonDown(state, event.jitter, options);
    case 'index': return index(state, event, commands);
    case 'certificate':
      if (!isOutdated(state, event.instance)) state.certificate = event.stale ? 'stale' : 'fresh';
      return;
    default: return rotate(state, event.kind, options, commands);
  }
}

function adopt(state: AgentState, document: RolloutDocument, { pool }: AgentOptions): void {
  state.informed = true;
  state.wanted = {};
  for (const version of Object.values(state.versions)) version.approved = false;
  for (const [model, rollout] of Object.entries(document.models)) {
    const approved = approvedVersions(document, model);
    for (const version of approved) known(state, version).approved = true;
    const number = pool === 'stable' ? rollout.stable : rollout.candidate?.version;
    const wanted = approved.find(({ version }) => version === number);
    if (wanted) state.wanted[model] = keyOf(wanted);
  }
}

function known(state: AgentState, { model, version, digest }: ApprovedVersion): VersionState {
  return state.versions[keyOf({ model, version, digest })] ??= {
    model,
    version,
    digest,
    approved: false,
    artifact: 'absent',
    bytes: 0,
    loaded: 'no',
    loadedAt: 0,
    usedAt: 0,
    failures: 0,
    retryAt: 0,
    crashes: 0,
    proven: false,
    poison: false,
    error: '',
  };
}

const settled = (version: VersionState, after: Partial<VersionState>): void => void Object.assign(version, after);

function inspected(version: VersionState, bytes: number): void {
  settled(version, { artifact: 'known', bytes, failures: 0, error: '' });
}

function fetchFailed(state: AgentState, { key, error, jitter }: { key: string; error: string; jitter: number }, options: AgentOptions): void {
  const version = state.versions[key];
  const { artifact } = version;
  version.artifact = artifact === 'inspecting' ? 'absent' : 'partial';
  // a download that was called off has not failed
  if (artifact !== 'stopping') failed(state, version, error, jitter, options);
}

/** Waits double, and half of each is by chance. */
function failed(state: AgentState, version: VersionState, error: string, jitter: number, { backoffMs, maxBackoffMs }: AgentOptions): void {
  const most = Math.min(maxBackoffMs, backoffMs * 2 ** Math.min(version.failures, 30));
  version.failures++;
  version.error = error;
  version.retryAt = state.now + Math.round(most * (0.5 + jitter / 2));
}

/** The process of Triton that this is about is gone, and with it all that it held. */
const isOutdated = (state: AgentState, instance: number): boolean => !state.tritonUp || instance !== state.instance;

function loaded(state: AgentState, key: string, instance: number): void {
  if (isOutdated(state, instance)) return;
  state.operations++;
  settled(state.versions[key], { loaded: 'ready', loadedAt: state.now, failures: 0, retryAt: 0, error: '' });
}

function loadFailed(state: AgentState, event: { key: string; instance: number; error: string; jitter: number }, options: AgentOptions): void {
  if (isOutdated(state, event.instance)) return;
  const version = state.versions[event.key];
  state.operations++;
  version.loaded = 'no';
  state.recovering = state.recovering.filter((key) => key !== event.key);
  failed(state, version, event.error, event.jitter, options);
}

function unloaded(state: AgentState, key: string, instance: number): void {
  if (isOutdated(state, instance)) return;
  state.operations++;
  state.versions[key].loaded = 'no';
}

/** It counts as loaded, and is unloaded again later. */
function unloadFailed(state: AgentState, { key, instance, jitter }: { key: string; instance: number; jitter: number }, options: AgentOptions): void {
  if (isOutdated(state, instance)) return;
  state.operations++;
  state.versions[key].loaded = 'ready';
  failed(state, state.versions[key], 'Triton does not unload it', jitter, options);
}

function tritonUp(state: AgentState, instance: number): void {
  state.tritonUp = true;
  state.instance = instance;
  state.heldKnown = false;
  state.certificate = 'unknown';
}

function tritonDown(state: AgentState, jitter: number, options: AgentOptions): void {
  state.heldKnown = true;
  if (!state.tritonUp) return;
  const { rotation, versions, serving } = state;
  const held = Object.values(versions).filter((version) => version.loaded !== 'no');
  if (rotation.phase !== 'restarting') blame(state, held, jitter, options);
  if (state.started) state.recovering = [...new Set([...state.recovering, ...Object.values(serving)])].sort();
  for (const version of held) version.loaded = 'no';
  Object.assign(state, { tritonUp: false, certificate: 'unknown' });
  if (rotation.phase === 'draining' || rotation.phase === 'drained' || rotation.phase === 'restarting') rotation.phase = 'returning';
}

/** Who ended Triton: the version that was loading; else the last one that was loaded, where that was not long ago and it has not proven itself. */
function blame(state: AgentState, held: readonly VersionState[], jitter: number, options: AgentOptions): void {
  for (const version of held) if (version.loaded === 'ready' && state.now - version.loadedAt >= options.probationMs) version.proven = true;
  const onProbation = held.filter(({ loaded: is, proven }) => is === 'ready' && !proven).sort((a, b) => b.loadedAt - a.loadedAt);
  const culprit = held.find(({ loaded: is }) => is === 'loading') ?? onProbation[0];
  if (!culprit) return;
  culprit.crashes++;
  failed(state, culprit, 'Triton ended while it was loading, or soon after', jitter, options);
  if (!culprit.proven && culprit.crashes >= options.maxCrashes) culprit.poison = true;
}

function index(
  state: AgentState, { instance, operations, names }: { instance: number; operations: number; names: readonly string[] }, commands: AgentCommand[],
): void {
  if (isOutdated(state, instance) || operations !== state.operations) return;
  state.heldKnown = true;
  const unclaimed = new Set(names);
  for (const version of Object.values(state.versions)) {
    const name = tritonNameOf(version);
    if (version.artifact === 'present' || version.loaded !== 'no') {
      const holds = unclaimed.delete(name);
      if (version.loaded === 'ready' && !holds) Object.assign(version, { loaded: 'no', error: 'Triton no longer has it' });
      // loaded before this process started, or in more time than it was given
      if (version.loaded === 'no' && holds) Object.assign(version, { loaded: 'ready', loadedAt: state.now });
    }
  }
  for (const name of unclaimed) commands.push({ kind: 'unloadForeign', name });
}

function rotate(
  state: AgentState, event: 'leaseAcquired' | 'leaseLost' | 'drained' | 'restartFailed', options: AgentOptions, commands: AgentCommand[],
): void {
  const { rotation } = state;
  const giveUp = () => Object.assign(rotation, { phase: 'none', retryAt: state.now + options.rotationPauseMs });
  if (event === 'leaseAcquired') {
    if (rotation.phase === 'lease') {
      rotation.phase = 'draining';
      commands.push({ kind: 'drain' });
    } else if (rotation.phase === 'none') {commands.push({ kind: 'releaseLease' });}
  } else if (event === 'leaseLost') {
    if (rotation.phase === 'draining' || rotation.phase === 'drained' || rotation.phase === 'lease') giveUp();
  } else if (event === 'drained') {
    if (rotation.phase === 'draining') rotation.phase = 'drained';
  } else if (rotation.phase === 'restarting') {
    giveUp();
    commands.push({ kind: 'releaseLease' });
  }
}

function copyOf(state: AgentState): AgentState {
  return {
    ...state,
    versions: Object.fromEntries(Object.entries(state.versions).map(([key, version]) => [key, { ...version }])),
    wanted: { ...state.wanted },
    serving: { ...state.serving },
    retained: { ...state.retained },
    recovering: [...state.recovering],
    rotation: { ...state.rotation },
  };
}
