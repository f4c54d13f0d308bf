import { Size } from 'aws-cdk-lib';
import { ModelDeclaration } from '../contract';
import { requireText } from '../private/declarations';
import { fail } from '../private/fail';
import { requireName } from '../private/names';

/** Properties of {@link Model}. */
export interface ModelProps {
  /** The team that answers for this model. */
  readonly owner: string;
  /** What the model predicts; at most 1024 characters. @default - none */
  readonly description?: string;
  /**
   * What one loaded version of it takes of each GPU, weights and activations at its largest batch alike: as `nvidia-smi` shows for it alone. Synth checks that
   * all that a pool of the runtime holds at once fits. @default - unknown: not checked, and on GPUs advised against
   */
  readonly gpuMemory?: Size;
}

/**
 * A model that a brain may serve.
 *
 * Infrastructure is declared, models are released: which version serves which share of traffic is data of
 * the rollout document, so nothing here changes when a version is released.
 */
export class Model {
  /**
   * Declares a model.
   *
   * @param name lower case letters, digits, `-` and `_`, at most 63 characters; it stands in URLs (`/v2/models/<name>`)
   */
  static declare(name: string, props: ModelProps): Model {
    return new Model(name, props);
  }

  /** Its name, as it stands in URLs. */
  readonly name: string;

  /** What one loaded version of it takes of each GPU, where that is declared. */
  readonly gpuMemory?: Size;

  private readonly declaration: ModelDeclaration;

  private constructor(name: string, props: ModelProps) {
    this.name = requireName(undefined, 'a model name', name);
    this.gpuMemory = props.gpuMemory;
    if (this.gpuMemory && this.gpuMemory.toMebibytes() < 1) {
      fail(undefined, 'ModelGpuMemory', `gpuMemory of model '${name}' must be at least 1 MiB, got ${this.gpuMemory.toMebibytes()}: leave it out if it is unknown`);
    }
    this.declaration = {
      name,
      owner: requireText(undefined, `the owner of model '${name}'`, props.owner),
      ...props.description === undefined ? {} : { description: requireText(undefined, `the description of model '${name}'`, props.description) },
    };
  }

  /** @internal */
  _toDeclaration(): ModelDeclaration {
    return this.declaration;
  }
}
