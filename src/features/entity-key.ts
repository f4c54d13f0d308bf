import { EntityKeySchema } from '../contract';
import { requireColumn } from '../private/declarations';

/** One part of what names an entity. Requests carry its value; it is a column of the offline table. */
export class EntityKey {
  /** Text, for example a customer's id. */
  static string(name: string): EntityKey {
    return new EntityKey({ name: requireColumn('an entity key', name), dtype: 'string' });
  }

  /** An integer from -2^63 to 2^63 - 1. */
  static int64(name: string): EntityKey {
    return new EntityKey({ name: requireColumn('an entity key', name), dtype: 'int64' });
  }

  /** Name of the key's column. */
  readonly name: string;

  private constructor(private readonly schema: EntityKeySchema) {
    this.name = schema.name;
  }

  /** @internal */
  _toSchema(): EntityKeySchema {
    return this.schema;
  }
}
