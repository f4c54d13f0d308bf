import { existsSync, readFileSync } from 'node:fs';
import { IConstruct } from 'constructs';
import { FeatureGroup } from './feature-group';
import { breakagesOf, FEATURE_LOCK_VERSION, FeatureLockDocument, isLocked } from '../contract';
import { advise, fail } from '../private/fail';

/**
 * What the feature groups were like when they were last locked. Against it a synth sees what it could not know by itself: that a feature is
 * dropped or retyped, or that entity keys are others or in another order: that needs a new version of its group, because rows, models and training
 * sets of this one depend on it.
 */
export class FeatureLock {
  /** A file that is committed beside the app, and written by `thalos-brain features lock`. It may not exist yet. */
  static fromFile(path: string): FeatureLock {
    if (!existsSync(path)) return new FeatureLock(path, { schemaVersion: FEATURE_LOCK_VERSION, groups: [] });
    let document: Partial<FeatureLockDocument> | null;
    try {
      document = JSON.parse(readFileSync(path, 'utf8'));
    } catch {
      document = null;
    }
    if (document?.schemaVersion !== FEATURE_LOCK_VERSION || !Array.isArray(document.groups)) {
      fail(undefined, 'InvalidFeatureLock', `${path} is no lock of feature groups of version ${FEATURE_LOCK_VERSION}: restore it from the repository, or write it anew with thalos-brain features lock`);
    }
    return new FeatureLock(path, document as FeatureLockDocument);
  }

  private constructor(private readonly path: string, private readonly document: FeatureLockDocument) {}

  /** @internal */
  _check(scope: IConstruct, groups: FeatureGroup[]): void {
    const declared = groups.map((group) => group._toSchema());
    const [broken] = breakagesOf(this.document, declared);
    if (broken) {
      fail(scope, 'FeatureEvolution', `version ${broken.version} of feature group '${broken.group}' ${broken.how}, and rows, models and training sets depend on it: `
        + `restore it, or declare a version beyond those in ${this.path}, which has a table of its own`);
    }
    if (!isLocked(this.document, declared)) {
      advise(scope, 'feature-lock', `${this.path} does not know every feature that is declared: run 'thalos-brain features lock' after the synth, and commit it`);
    }
  }
}
