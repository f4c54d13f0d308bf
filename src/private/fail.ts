import { Annotations } from 'aws-cdk-lib';
import { UnscopedValidationError, ValidationError } from 'aws-cdk-lib/core/lib/errors';
import { IConstruct } from 'constructs';

// `LiteralString` is a branded string of CDK's internals; the brand has no other public door.
type ErrorName = ConstructorParameters<typeof ValidationError>[0];

/**
 * Fails the construction of `scope`.
 *
 * @param scope the construct whose path the error shows; leave it out in value classes, which have none
 * @param code  PascalCase name of the rule
 * @param message lower case: what is wrong, the value, the remedy
 */
export function fail(scope: IConstruct | undefined, code: string, message: string): never {
  const text = `${code}: ${message}`;
  throw scope ? new ValidationError(code as ErrorName, text, scope) : new UnscopedValidationError(code as ErrorName, text);
}

/** Advice that does not stop a synth; `id` is stable, so that an app can acknowledge it. */
export function advise(scope: IConstruct, id: string, message: string): void {
  Annotations.of(scope).addWarningV2(`thalos-brain:${id}`, message);
}
