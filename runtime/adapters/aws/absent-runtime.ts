/** The runtime of a brain that was deployed without one: it serves no model, and says so. */
import { refuse } from '../../core/errors';
import type { ModelRef, ModelRuntime } from '../../core/ports';
import type { Tensor } from '../../core/tensors';

export class AbsentRuntime implements ModelRuntime {
  async ready(): Promise<boolean> {
    return false;
  }

  async infer({ name, version }: ModelRef): Promise<Tensor[]> {
    return refuse('MODEL_NOT_READY', `the brain has no model runtime for version ${version} of model '${name}'`, { model: name, version });
  }

  async close(): Promise<void> {
    // nothing is open
  }
}
