/** Changes of the rollout document that come while the brain runs: read, changed, checked and replaced in one step, never over somebody else's change. */
import { type ModelRollout, ROLLOUT_MODES, type RolloutDocument, STICKY_KEY_PATTERN } from '../../src/contract';
import type { DataDirectory } from '../adapters/local/data-directory';
import { readIfThere, replaceFile } from '../adapters/local/durable-files';
import { LocalError } from '../adapters/local/local-errors';
import { digestOf } from '../core/digest';
import { BrainError, refuse } from '../core/errors';
import { parseRollout } from '../core/rollout';

export interface RolloutState {
  readonly document: RolloutDocument;
  /** Of the file's text: what a change is made for. */
  readonly digest: string;
}

/** What may be changed of a model: everything but which versions are approved, which only `models put` does, because it has checked them. */
export type RolloutChange = Omit<ModelRollout, 'versions'>;

export class RolloutEditor {
  constructor(private readonly data: DataDirectory) {}

  /** Fails with INVALID_ROLLOUT where the file holds no valid document. */
  read(): RolloutState {
    const text = readIfThere(this.data.rollout) ?? refuse('INVALID_ROLLOUT', `${this.data.rollout} is gone`);
    return { document: parseRollout(text), digest: digestOf(text) };
  }

  /**
   * Fails with ROLLOUT_CHANGED where the file no longer has the digest, with ROLLOUT_BUSY where another process is changing it, with
   * INVALID_PARAMETER where the change makes no valid document, with MODEL_NOT_READY where the model has no approved version.
   */
  change(model: string, change: unknown, expected: string): RolloutState {
    const lock = this.lock();
    try {
      const { document, digest } = this.read();
      if (digest !== expected) refuse('ROLLOUT_CHANGED', 'somebody else has changed the rollout document: look at it again', { digest });
      const before = Object.hasOwn(document.models, model) ? document.models[model] : refuse('MODEL_NOT_READY', `no version of model '${model}' is released`, { model });
      const text = `${JSON.stringify(checked(document, model, before, change), undefined, 2)}\n`;
      replaceFile(this.data.rollout, text);
      return { document: parseRollout(text), digest: digestOf(text) };
    } finally {
      lock.release();
    }
  }

  /** The one that `models put` takes. */
  private lock(): { release(): void } {
    try {
      return this.data.lock('models');
    } catch (error) {
      if (error instanceof LocalError && error.code === 'DATA_DIR_BUSY') throw new BrainError('ROLLOUT_BUSY', error.text, { retry_after_s: 1 }, { cause: error });
      throw error;
    }
  }
}

function checked(document: RolloutDocument, model: string, { versions }: ModelRollout, change: unknown): RolloutDocument {
  if (typeof change !== 'object' || change === null || Array.isArray(change)) return refuse('INVALID_PARAMETER', 'the change must be a JSON object');
  const { stable, candidate, flags, ...others } = change as Partial<RolloutChange>;
  const unknown = Object.keys(others);
  if (unknown.length > 0) refuse('INVALID_PARAMETER', `a change has stable, candidate and flags, not '${unknown[0]}'`);
  if (candidate !== undefined && candidate?.version === stable) refuse('INVALID_PARAMETER', `version ${stable} cannot be stable and candidate at once`);
  const parts = { stable, ...(candidate === undefined ? {} : { candidate }), versions, ...(flags && Object.keys(flags).length > 0 ? { flags } : {}) };
  try {
    return parseRollout(JSON.stringify({ ...document, models: { ...document.models, [model]: parts } }));
  } catch (error) {
    if (!(error instanceof BrainError)) throw error;
    // what was sent is at fault, not what is stored
    return refuse('INVALID_PARAMETER', error.text, { model, modes: ROLLOUT_MODES, sticky_key: STICKY_KEY_PATTERN });
  }
}
