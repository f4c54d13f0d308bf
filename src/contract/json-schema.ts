/** The part of JSON Schema that the contract uses: valid in draft-04 and in draft-07 alike. */
export interface JsonSchema {
  readonly [keyword: string]: unknown;
}

/** A string that names one thing: lower case, digits, `_` and `-`, at most 63 characters (a DNS label and an OpenSearch index name). */
export const NAME_PATTERN = '^[a-z][a-z0-9_-]{0,62}$';

/** A column of a feature group: Athena and Glue take no `-` in one. */
export const COLUMN_PATTERN = '^[a-z][a-z0-9_]{0,62}$';

/** A tensor name: what ONNX and Triton accept and a URL needs no escape for. */
export const TENSOR_NAME_PATTERN = '^[A-Za-z_][A-Za-z0-9_.:/-]{0,127}$';

/** Model versions are positive integers, written as strings on the wire (DESIGN §4.1). */
export const VERSION_PATTERN = '^[1-9][0-9]{0,8}$';

/** `sha256:` and 64 hexadecimal digits. */
export const DIGEST_PATTERN = '^sha256:[0-9a-f]{64}$';

export const object = (properties: Record<string, JsonSchema>, required: string[] = Object.keys(properties)): JsonSchema => ({
  type: 'object',
  properties,
  // draft-04 refuses an empty `required`
  ...(required.length > 0 ? { required } : {}),
  additionalProperties: false,
});

export const array = (items: JsonSchema, bounds: { minItems?: number; maxItems?: number; uniqueItems?: boolean } = {}): JsonSchema => ({
  type: 'array', items, ...bounds,
});

export const string = (pattern?: string): JsonSchema => (pattern ? { type: 'string', pattern } : { type: 'string', minLength: 1, maxLength: 1024 });
export const integer = (minimum: number, maximum?: number): JsonSchema => ({ type: 'integer', minimum, ...(maximum === undefined ? {} : { maximum }) });
export const enumeration = (values: readonly string[]): JsonSchema => ({ type: 'string', enum: [...values] });
export const mapOf = (keyPattern: string, value: JsonSchema): JsonSchema => ({
  type: 'object', patternProperties: { [keyPattern]: value }, additionalProperties: false,
});
