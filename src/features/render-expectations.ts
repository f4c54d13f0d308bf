import { Expectation } from './expectation';
import { FeatureDtype, FeatureExpectations, FeatureValue } from '../contract';
import { fail } from '../private/fail';

/** What all of them say together; a rule that stands twice fails. @param what the feature, as errors name it */
export function renderExpectations(
  what: string, dtype: FeatureDtype, expectations: Expectation[], defaultValue?: FeatureValue,
): FeatureExpectations | undefined {
  const rendered: Record<string, unknown> = {};
  for (const [rule, value] of expectations.flatMap((expectation) => Object.entries(expectation._render(what, dtype)))) {
    if (rule in rendered) fail(undefined, 'DuplicateExpectation', `${what} is expected twice to have a ${rule}: give each rule once`);
    rendered[rule] = value;
  }
  if (Object.keys(rendered).length === 0) return undefined;
  if ('categories' in rendered && ('min' in rendered || 'max' in rendered)) {
    fail(undefined, 'InvalidExpectation', `${what} has a range and codes: the codes alone say what it may be, leave the range out`);
  }
  const result: FeatureExpectations = rendered;
  requireExpectedDefault(what, result, defaultValue);
  return result;
}

/** A default that no row could have is a mistake in one of the two. */
function requireExpectedDefault(what: string, { min, max, categories }: FeatureExpectations, value?: FeatureValue): void {
  if (value === undefined) return;
  const fits = categories === undefined
    ? (min === undefined || Number(value) >= min) && (max === undefined || Number(value) <= max)
    : categories.includes(value as string | number);
  if (!fits) fail(undefined, 'UnexpectedDefault', `the default of ${what} is ${JSON.stringify(value)}, which its own expectations refuse: change one of the two`);
}
