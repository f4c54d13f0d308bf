import { RESERVED_FIELDS, VectorFieldSchema } from '../contract';
import { fail } from '../private/fail';
import { requireName } from '../private/names';

/** A value that is stored beside each vector. */
export class VectorField {
  /** A number of single precision; can become a model input. */
  static float(name: string): VectorField {
    return new VectorField(name, 'float');
  }

  /** An integer of 64 bits; can become a model input. */
  static long(name: string): VectorField {
    return new VectorField(name, 'long');
  }

  /** Text that is compared as a whole. */
  static keyword(name: string): VectorField {
    return new VectorField(name, 'keyword');
  }

  /**
   * Text that is searched by its words: a model's request may carry a text beside the query vector. It is no filter and no model input, and is not
   * given back.
   */
  static text(name: string): VectorField {
    return new VectorField(name, 'text');
  }

  /** True or false; can become a model input. */
  static boolean(name: string): VectorField {
    return new VectorField(name, 'boolean');
  }

  /** Name of the field. */
  readonly name: string;

  private readonly schema: VectorFieldSchema;

  private constructor(name: string, type: VectorFieldSchema['type']) {
    this.name = requireName(undefined, 'a vector field name', name);
    if (RESERVED_FIELDS.includes(name)) {
      fail(undefined, 'ReservedField', `a vector field must not be '${name}': every document has ${RESERVED_FIELDS.join(' and ')} already, choose another name`);
    }
    this.schema = { name, type };
  }

  /** @internal */
  _toSchema(): VectorFieldSchema {
    return this.schema;
  }
}
