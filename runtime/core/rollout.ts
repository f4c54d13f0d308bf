/** Reading the rollout document, and which version of a model it approves. */
import { refuse } from './errors';
import { documentReader, requireNone } from './validation';
import { ROLLOUT_DOCUMENT_SCHEMA, type RolloutDocument } from '../../src/contract';

const read = documentReader<RolloutDocument>('the rollout document', 'INVALID_ROLLOUT', ROLLOUT_DOCUMENT_SCHEMA);

/** A version that the rollout document approves. */
export interface ApprovedVersion {
  readonly model: string;
  readonly version: string;
  /** Digest of its manifest. */
  readonly digest: string;
}

/** The document, if every version that it uses is approved. Fails with INVALID_ROLLOUT. */
export function parseRollout(text: string | Uint8Array): RolloutDocument {
  const document = read(text);
  const problems: string[] = [];
  for (const [model, { stable, candidate, versions }] of Object.entries(document.models)) {
    if (!Object.hasOwn(versions, stable)) problems.push(`stable version ${stable} of '${model}' is not under its versions`);
    if (candidate && !Object.hasOwn(versions, candidate.version)) problems.push(`candidate version ${candidate.version} of '${model}' is not under its versions`);
  }
  requireNone('the rollout document', 'INVALID_ROLLOUT', problems);
  return document;
}

/** The stable version; undefined where the model has none. */
export function stableVersion(document: RolloutDocument | undefined, model: string): ApprovedVersion | undefined {
  const rollout = document && Object.hasOwn(document.models, model) ? document.models[model] : undefined;
  return rollout && { model, version: rollout.stable, digest: rollout.versions[rollout.stable].digest };
}

/** One version by name. Fails with UNKNOWN_VERSION unless it is approved, with MODEL_NOT_READY where nothing is. */
export function approvedVersion(document: RolloutDocument | undefined, model: string, version: string): ApprovedVersion {
  const versions = approvedVersions(document, model);
  if (versions.length === 0) refuse('MODEL_NOT_READY', `no version of model '${model}' is released`, { model });
  return versions.find((approved) => approved.version === version)
    ?? refuse('UNKNOWN_VERSION', `version '${version}' of model '${model}' is not approved`, { model, version });
}

/** Every approved version, in ascending order. */
export function approvedVersions(document: RolloutDocument | undefined, model: string): ApprovedVersion[] {
  if (!document || !Object.hasOwn(document.models, model)) return [];
  return Object.entries(document.models[model].versions)
    .map(([version, { digest }]) => ({ model, version, digest }))
    .sort((a, b) => Number(a.version) - Number(b.version));
}
