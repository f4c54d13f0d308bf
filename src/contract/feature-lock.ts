/** What feature groups were like when they were last deployed: a file beside the app, because a synth has no memory of its own. */
import { breakage, groupChanges, knownGroup } from './feature-evolution';
import { offlineGroup, OfflineGroup } from './offline-tables-resource';

export const FEATURE_LOCK_VERSION = '1';

/** Usual name of the file: it is committed, and `thalos-brain features lock` writes it. */
export const FEATURE_LOCK_FILE = 'features.lock.json';

export interface FeatureLockDocument {
  readonly schemaVersion: typeof FEATURE_LOCK_VERSION;
  /** Every version of every group that was ever locked: versions that are no longer declared have rows too. */
  readonly groups: readonly OfflineGroup[];
}

/** What a declaration breaks of what is locked: which group, and how. */
export interface FeatureBreakage {
  readonly group: string;
  readonly version: number;
  readonly how: string;
}

const same = (a: OfflineGroup) => (b: OfflineGroup) => a.name === b.name && a.version === b.version;

export function breakagesOf({ groups: locked }: FeatureLockDocument, groups: readonly OfflineGroup[]): FeatureBreakage[] {
  return groups.flatMap((group) => {
    const before = locked.find(same(group));
    const how = before && breakage(groupChanges(knownGroup(before), group));
    if (how !== undefined) return [{ group: group.name, version: group.version, how }];
    const newest = Math.max(...locked.filter(({ name }) => name === group.name).map(({ version }) => version));
    return group.version < newest && !before ? [{ group: group.name, version: group.version, how: `goes back behind version ${newest}` }] : [];
  });
}

/** The lock with what is declared now; versions that are not declared any more stay. Only for declarations that break nothing. */
export function lockedWith({ groups: locked }: FeatureLockDocument, groups: readonly OfflineGroup[]): FeatureLockDocument {
  const all = [...locked.filter((before) => !groups.some(same(before))), ...groups.map(offlineGroup)];
  all.sort((a, b) => (a.name === b.name ? a.version - b.version : a.name < b.name ? -1 : 1));
  return { schemaVersion: FEATURE_LOCK_VERSION, groups: all };
}

/** Whether the lock knows everything that is declared. */
export function isLocked({ groups: locked }: FeatureLockDocument, groups: readonly OfflineGroup[]): boolean {
  return groups.every((group) => {
    const before = locked.find(same(group));
    return before !== undefined && groupChanges(knownGroup(before), group).added.length === 0;
  });
}
