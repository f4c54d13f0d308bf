import { Token } from 'aws-cdk-lib';
import { IConstruct } from 'constructs';
import { NAME_PATTERN } from '../contract';
import { fail } from './fail';

/** A name that stands in file names, DNS labels and index names: `^[a-z][a-z0-9_-]{0,62}$`. */
export function requireName(scope: IConstruct | undefined, what: string, name: string): string {
  if (Token.isUnresolved(name) || !new RegExp(NAME_PATTERN).test(name)) {
    fail(scope, 'InvalidName', `${what} must match ${NAME_PATTERN} and be known at synth, got '${name}': use lower case letters, digits, '-' and '_'`);
  }
  return name;
}

/** Fails on the first name that stands twice. */
export function requireUnique(scope: IConstruct | undefined, what: string, names: readonly string[]): void {
  const twice = names.find((name, index) => names.indexOf(name) !== index);
  if (twice !== undefined) fail(scope, 'DuplicateName', `${what} '${twice}' is declared twice: give each its own name`);
}
