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

/** The name of a brain, from its construct id: `PriceBrain` is `price-brain`. It names the folder in the cloud assembly. */
export function brainNameOf(scope: IConstruct, id: string): string {
  const kebab = id.replace(/([a-z0-9])([A-Z])/g, '$1-$2').replace(/[^A-Za-z0-9_-]+/g, '-').toLowerCase();
  return requireName(scope, "the brain's id in kebab case", kebab);
}
