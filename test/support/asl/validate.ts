/** A definition against the rules of the language, by a validator that is not ours. */
import validator from 'asl-validator';
import type { Definition } from './definition';

/** What is wrong with the definition; empty where nothing is. */
export function definitionErrors(definition: Definition): string {
  // the validator writes into what it is given; how a service is named is checked by the execution, which has a handler for it
  const { isValid, errorsText } = validator(structuredClone(definition), { checkArn: false, checkPaths: true });
  return isValid ? '' : errorsText('\n');
}
