/** What must hold in every state of the model agent, whatever happened. Each is a sentence that is broken, or undefined. */
import type { Explorable, World } from './world.fixture';
import { isReady, tritonNameOf } from '../../../../runtime/core/model-agent/state';
import { approvedVersions } from '../../../../runtime/core/rollout';

const pendingOf = ({ pending }: World, kind: string) => pending.flatMap(({ command, instance }) => (command.kind === kind && 'key' in command ? [{ key: command.key, instance }] : []));

/** @param before undefined in the first state */
export function broken(before: World | undefined, after: World, { scenario }: Explorable): string | undefined {
  const { state, held, disk, tritonUp, instance } = after;
  const document = after.document < 0 ? undefined : scenario.documents[after.document];
  const approved = new Set(document ? Object.keys(document.models).flatMap((model) => approvedVersions(document, model).map(({ version, digest }) => `${model}.${version}@${digest}`)) : []);
  // what was asked of a process that is gone has failed already
  const current = (kind: string) => pendingOf(after, kind).filter((command) => tritonUp && command.instance === instance);
  const loading = current('load');
  /** Asked for by this move. */
  const begun = (kind: string) => {
    const earlier = before ? pendingOf(before, kind).map(({ key }) => key) : [];
    return pendingOf(after, kind).map(({ key }) => key).filter((key) => !earlier.includes(key));
  };
  const unloading = new Set(current('unload').map(({ key }) => key));

  for (const { key } of loading) {
    if (disk[key] !== 'whole') return `${key} is loaded from a disk that does not hold it whole`;
    // one that was under way when the document changed is unloaded as soon as it is loaded
    if (!approved.has(key) && begun('load').includes(key)) return `${key} is loaded and not approved`;
  }
  for (const key of Object.values(held)) {
    if (!document || approved.has(key) || unloading.has(key) || after.pending.some(({ command }) => command.kind === 'unloadForeign')) continue;
    const retry = state.versions[key] && state.versions[key].retryAt > state.now;
    if (state.informed && state.heldKnown && !retry && state.versions[key]?.loaded !== 'no') return `${key} stays loaded and is not approved`;
  }
  if (loading.length > 1) return `${loading.length} versions are loaded at once`;
  if (pendingOf(after, 'fetch').length > 1) return 'two downloads at once';

  for (const key of Object.values(state.serving)) {
    if (!approved.has(key)) continue;
    if (unloading.has(key)) return `${key} serves and is unloaded`;
    if (begun('evict').includes(key)) return `${key} serves and is evicted`;
  }
  for (const key of begun('evict')) {
    if (Object.values(held).includes(key) && tritonUp && state.heldKnown) return `${key} is loaded and evicted`;
    if (approved.has(key) && Object.values(state.wanted).includes(key)) return `${key} is wanted and evicted`;
    if (key in state.retained) return `${key} is retained and evicted`;
  }
  const bytes = Object.keys(disk).reduce((sum, key) => sum + scenario.bytes[key.slice(0, key.indexOf('@'))], 0);
  if (bytes > scenario.options.diskBudget) return `${bytes} bytes on disk, the budget is ${scenario.options.diskBudget}`;
  const names = Object.keys(disk).map((key) => key.slice(0, key.indexOf('@')));
  if (new Set(names).size < names.length) return `two artifacts want the same place: ${names.join(', ')}`;

  const rotating = after.pending.some(({ command }) => command.kind === 'restart');
  if (rotating && isReady(state)) return 'Triton is restarted while the pod is ready';
  if (rotating && loading.length > 0) return 'Triton is restarted while it loads';
  if (!before) return undefined;
  const was = before.state;
  if (rotating && !before.pending.some(({ command }) => command.kind === 'restart') && !before.lease) return 'Triton is restarted without the lease';

  const sameAgent = before.left.agentRestarts === after.left.agentRestarts;
  if (!sameAgent) return undefined;
  for (const [model, key] of Object.entries(was.serving)) {
    if (!approved.has(key) || was.versions[key].loaded !== 'ready') continue;
    const now = state.serving[model];
    const lost = tritonUp && was.instance === state.instance && state.versions[key].loaded !== 'ready';
    const replaced = now !== undefined && now !== key && state.versions[now].loaded === 'ready';
    if (lost && !replaced) return `${key} served, and was given up without another in its place`;
    if (now === undefined && state.wanted[model] !== undefined) return `'${model}' has nothing that serves any more`;
  }
  if (isReady(was) && !isReady(state) && tritonUp && state.rotation.phase !== 'draining') return 'the pod is no longer ready, and neither Triton nor a restart is why';
  if (was.started && !state.started) return 'what started is no longer started';
  return undefined;
}

/** What a state that has come to rest must have reached. */
export function unreached({ state, held, lease, stale, tritonUp }: World): string | undefined {
  if (!tritonUp || !state.heldKnown) return 'Triton is not up';
  if (!state.informed) return undefined;
  for (const key of Object.values(state.wanted)) {
    const version = state.versions[key];
    if (version.loaded === 'ready' || version.poison || version.error.startsWith('it does not fit')) continue;
    return `${key} is wanted and rests as ${version.artifact}, ${version.loaded}`;
  }
  const stays = new Set([...Object.values(state.wanted), ...Object.values(state.serving), ...Object.keys(state.retained)]);
  for (const key of Object.values(held)) if (!stays.has(key)) return `${key} stays loaded for nobody`;
  for (const [key, version] of Object.entries(state.versions)) {
    const isHeld = held[tritonNameOf(version)] === key;
    if (isHeld !== (version.loaded === 'ready')) return `${key} is believed ${version.loaded}, which is not so`;
  }
  if (stale || lease || state.rotation.phase !== 'none') return `the restart rests in phase ${state.rotation.phase}`;
  return isReady(state) || Object.values(state.wanted).some((key) => state.versions[key].loaded !== 'ready') ? undefined : 'all is loaded, and the pod is not ready';
}
