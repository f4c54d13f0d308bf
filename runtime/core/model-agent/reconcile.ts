/** What the model agent does next, by what it knows. One load and one download at a time; what is not approved goes first. */
import { type AgentCommand, type AgentOptions, type AgentState, type ArtifactState, keyOf, tritonNameOf, type VersionState } from './state';

export function reconcile(state: AgentState, options: AgentOptions, commands: AgentCommand[]): void {
  if (state.informed) dropUnapproved(state, commands);
  follow(state, options);
  expire(state);
  settleReadiness(state, options);
  rotation(state, options, commands);
  if (!state.informed) return;
  unload(state, commands);
  load(state, commands);
  fetch(state, options, commands);
}

/** What the document does not list is unloaded at once, whatever it serves, and leaves the disk. */
function dropUnapproved(state: AgentState, commands: AgentCommand[]): void {
  for (const [key, version] of Object.entries(state.versions)) {
    if (version.approved) continue;
    delete state.retained[key];
    state.recovering = state.recovering.filter((other) => other !== key);
    if (state.serving[version.model] === key) delete state.serving[version.model];
    if (version.loaded !== 'no') continue;
    if (version.artifact === 'fetching') cancel(key, version, commands);
    // not before it is known that Triton does not hold it
    if (state.heldKnown && (version.artifact === 'partial' || version.artifact === 'present')) evict(key, version, commands);
    // a poisoned one is remembered: the document may list it again
    if ((version.artifact === 'absent' || version.artifact === 'known') && version.crashes === 0) delete state.versions[key];
  }
}

function cancel(key: string, version: VersionState, commands: AgentCommand[]): void {
  version.artifact = 'stopping';
  commands.push({ kind: 'cancel', key });
}

function evict(key: string, version: VersionState, commands: AgentCommand[]): void {
  version.artifact = 'evicting';
  commands.push({ kind: 'evict', key });
}

/** The wanted version serves as soon as it is loaded; the one before stays for a rollback, and of these only the last. */
function follow(state: AgentState, { rollbackMs }: AgentOptions): void {
  const { versions, wanted, serving, retained } = state;
  for (const [model, key] of Object.entries(wanted)) {
    const now = serving[model];
    if (versions[key].loaded !== 'ready') {
      // what ends Triton does not serve, where the one before is still there
      const before = Object.keys(retained).find((other) => versions[other].model === model && !versions[other].poison);
      if (versions[key].poison && now === key && before !== undefined) {
        serving[model] = before;
        delete retained[before];
        state.recovering = state.recovering.map((other) => (other === key ? before : other));
      }
      continue;
    }
    if (now === key) continue;
    serving[model] = key;
    delete retained[key];
    for (const other of Object.keys(retained)) if (versions[other].model === model) delete retained[other];
    if (now !== undefined) retained[now] = state.now + rollbackMs;
  }
  for (const [model, key] of Object.entries(serving)) {
    if (wanted[model] !== undefined) continue;
    delete serving[model];
    retained[key] = state.now + rollbackMs;
  }
}

function expire({ now, retained }: AgentState): void {
  for (const [key, until] of Object.entries(retained)) if (until <= now) delete retained[key];
}

function settleReadiness(state: AgentState, { pool }: AgentOptions): void {
  const { versions, wanted, serving } = state;
  const served = new Set(Object.values(serving));
  state.recovering = state.recovering.filter((key) => served.has(key) && versions[key].loaded !== 'ready' && !versions[key].poison);
  if (state.started || !state.informed || !state.heldKnown) return;
  const settled = Object.values(wanted).map((key) => versions[key])
    .every(({ loaded, failures, poison }) => loaded === 'ready' || (pool === 'candidate' && (failures > 0 || poison)));
  if (settled) state.started = true;
}

function rotation(state: AgentState, { rotationPauseMs }: AgentOptions, commands: AgentCommand[]): void {
  const { rotation: rotating, certificate, tritonUp, recovering, now } = state;
  const loading = Object.values(state.versions).some(({ loaded }) => loaded === 'loading');
  if (rotating.phase === 'none' && certificate === 'stale' && tritonUp && recovering.length === 0 && rotating.retryAt <= now) {
    rotating.phase = 'lease';
    commands.push({ kind: 'acquireLease' });
  } else if (rotating.phase === 'lease' && certificate !== 'stale') {
    rotating.phase = 'none';
    commands.push({ kind: 'releaseLease' });
  } else if (rotating.phase === 'drained' && !loading) {
    rotating.phase = 'restarting';
    commands.push({ kind: 'restart' });
  } else if (rotating.phase === 'returning' && tritonUp && state.heldKnown && recovering.length === 0) {
    Object.assign(rotating, { phase: 'none', retryAt: now + rotationPauseMs });
    commands.push({ kind: 'releaseLease' });
  }
}

/** Wanted, serving or retained: what stays loaded and on disk. Those that serve come first, then those that are to, then those that did. */
function kept({ wanted, serving, retained }: AgentState): string[] {
  return [...new Set([...Object.values(serving).sort(), ...Object.values(wanted).sort(), ...Object.keys(retained).sort()])];
}

function unload(state: AgentState, commands: AgentCommand[]): void {
  const stays = new Set(kept(state));
  for (const [key, version] of Object.entries(state.versions)) {
    if (version.loaded !== 'ready' || stays.has(key) || version.retryAt > state.now || !state.tritonUp) continue;
    version.loaded = 'unloading';
    commands.push({ kind: 'unload', key });
  }
}

function load(state: AgentState, commands: AgentCommand[]): void {
  const { versions, tritonUp, heldKnown, rotation: { phase } } = state;
  if (!tritonUp || !heldKnown || phase === 'draining' || phase === 'drained' || phase === 'restarting') return;
  if (Object.values(versions).some(({ loaded }) => loaded === 'loading' || loaded === 'unloading')) return;
  const next = kept(state).find((key) => {
    const { artifact, loaded, poison, retryAt } = versions[key];
    return artifact === 'present' && loaded === 'no' && !poison && retryAt <= state.now;
  });
  if (next === undefined) return;
  Object.assign(versions[next], { loaded: 'loading', usedAt: state.now });
  commands.push({ kind: 'load', key: next });
}

const UNDER_WAY: readonly ArtifactState[] = ['inspecting', 'fetching', 'stopping', 'evicting'];

/** The manifest first, which tells the size; then room is made; then the files. */
function fetch(state: AgentState, { diskBudget }: AgentOptions, commands: AgentCommand[]): void {
  const { versions } = state;
  const keys = kept(state);
  const underWay = Object.entries(versions).find(([, { artifact }]) => UNDER_WAY.includes(artifact));
  if (underWay) {
    const [key, version] = underWay;
    if (version.artifact === 'fetching' && !keys.includes(key)) cancel(key, version, commands);
    return;
  }
  const onDisk = ({ artifact }: VersionState) => artifact === 'partial' || artifact === 'present';
  for (const key of keys) {
    const version = versions[key];
    const name = tritonNameOf(version);
    // the same number with another digest has to leave the repository first
    const blocked = Object.values(versions).some((other) => other !== version && tritonNameOf(other) === name && (onDisk(other) || other.loaded !== 'no'));
    if (blocked || version.poison || version.retryAt > state.now || version.artifact === 'present') continue;
    if (version.artifact === 'absent') {
      version.artifact = 'inspecting';
      commands.push({ kind: 'inspect', key });
      return;
    }
    const taken = Object.values(versions).reduce((sum, other) => sum + (other !== version && onDisk(other) ? other.bytes : 0), 0);
    if (taken + version.bytes <= diskBudget) {
      Object.assign(version, { artifact: 'fetching', usedAt: state.now, error: '' });
      commands.push({ kind: 'fetch', key });
      return;
    }
    const [oldest] = Object.values(versions).filter((other) => onDisk(other) && other.loaded === 'no' && !keys.includes(keyOf(other)))
      .sort((a, b) => a.usedAt - b.usedAt);
    if (oldest && state.heldKnown && version.bytes <= diskBudget) return evict(keyOf(oldest), oldest, commands);
    version.error = `it does not fit: ${version.bytes} bytes beside ${taken} in use, of ${diskBudget}`;
  }
}
