/** Reading the rollout document, and which version of a model it approves. */
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
    if (candidate?.mode === 'blueGreen' && candidate.weight !== 0 && candidate.weight !== 100) {
      problems.push(`candidate of '${model}' is blueGreen, so its weight must be 0 or 100, got ${candidate.weight}`);
    }
  }
  requireNone('the rollout document', 'INVALID_ROLLOUT', problems);
  return document;
}

/** Every approved version, in ascending order. */
export function approvedVersions(document: RolloutDocument, model: string): ApprovedVersion[] {
  if (!Object.hasOwn(document.models, model)) return [];
  return Object.entries(document.models[model].versions)
    .map(([version, { digest }]) => ({ model, version, digest }))
    .sort((a, b) => Number(a.version) - Number(b.version));
}
