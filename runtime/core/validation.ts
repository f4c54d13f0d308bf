/** JSON documents against the contract's schemas: each compiled once, when first needed. */
import Ajv, { type ErrorObject, type ValidateFunction } from 'ajv';
import { type ErrorCode, refuse } from './errors';
import type { JsonSchema } from '../../src/contract';

/** A reader of one kind of document. Fails with `code`, and says every place that is wrong. */
export function documentReader<T>(what: string, code: ErrorCode, schema: JsonSchema): (text: string | Uint8Array) => T {
  let validate: ValidateFunction<T> | undefined;
  return (text) => {
    // the contract's schemas mean the same in draft-04 and draft-07; Ajv knows only the latter's name
    const { $schema, ...rest } = schema;
    validate ??= new Ajv({ allErrors: true, allowUnionTypes: true, strictRequired: false }).compile<T>(rest);
    let document: unknown;
    try {
      document = JSON.parse(typeof text === 'string' ? text : new TextDecoder('utf-8', { fatal: true }).decode(text));
    } catch (error) {
      return refuse(code, `${what} is not JSON: ${(error as Error).message}`);
    }
    if (!validate(document)) refuse(code, `${what} is not valid: ${describe(validate.errors ?? [])}`);
    return document as T;
  };
}

/** Fails with `code` and all problems at once, where there are any. */
export function requireNone(what: string, code: ErrorCode, problems: readonly string[]): void {
  if (problems.length > 0) refuse(code, `${what} is not valid: ${problems.join('; ')}`);
}

/** Every name that stands more than once. */
export function duplicates(names: readonly string[]): string[] {
  return [...new Set(names.filter((name, index) => names.indexOf(name) !== index))];
}

function describe(errors: readonly ErrorObject[]): string {
  const texts = errors.map(({ instancePath, message, params }) => {
    const allowed = 'allowedValues' in params ? ` (${(params.allowedValues as string[]).join(', ')})` : '';
    const extra = 'additionalProperty' in params ? ` ('${params.additionalProperty}')` : '';
    return `${instancePath || '/'} ${message}${allowed}${extra}`;
  });
  return [...new Set(texts)].slice(0, 10).join('; ');
}
