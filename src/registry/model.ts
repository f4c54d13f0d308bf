import { ModelDeclaration } from '../contract';
import { requireText } from '../private/declarations';
import { requireName } from '../private/names';

/** Properties of {@link Model}. */
export interface ModelProps {
  /** The team that answers for this model. */
  readonly owner: string;
  /** What the model predicts; at most 1024 characters. @default - none */
  readonly description?: string;
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

  private readonly declaration: ModelDeclaration;

  private constructor(name: string, props: ModelProps) {
    this.name = requireName(undefined, 'a model name', name);
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
