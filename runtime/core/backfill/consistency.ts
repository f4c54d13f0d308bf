/** What entities say online against what they say offline. */
import type { ConsistencyReport, FeatureGroupSchema } from '../../../src/contract';
import { countsUntil, rankOf, replaces } from '../feature-row';
import type { FeatureRow, FeatureWrite } from '../ports';

export type Verdict = 'same' | 'ahead' | 'missing' | 'behind';

/** Offline follows online, so that a row which is newer online is no fault; all else is one. */
export function judge(group: FeatureGroupSchema, offline: FeatureRow, online: FeatureRow | undefined): Verdict {
  if (!online) return 'missing';
  const [there, here] = [rankOf(group, offline), rankOf(group, online)];
  if (replaces(here, there)) return 'ahead';
  return replaces(there, here) ? 'behind' : 'same';
}

/** Counts of a sample. @param online in the order of the rows @param now milliseconds since the epoch: what has expired by then may be gone online */
export function report(
  group: FeatureGroupSchema, offline: readonly FeatureWrite[], online: readonly (FeatureRow | undefined)[], now: number,
): ConsistencyReport {
  const counts = { same: 0, ahead: 0, missing: 0, behind: 0 };
  let sampled = 0;
  for (const [at, row] of offline.entries()) {
    if (now > countsUntil(group, row.eventTime)) continue;
    sampled++;
    counts[judge(group, row, online[at])]++;
  }
  const wrong = counts.missing + counts.behind;
  return { sampled, ...counts, skew: sampled === 0 ? 0 : wrong / sampled };
}
