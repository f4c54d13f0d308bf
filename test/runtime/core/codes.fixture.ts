import { BrainError } from '../../../runtime/core/errors';

/** The code with which a call fails, or `none`. An error without a code is thrown on. */
export function code(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    if (error instanceof BrainError) return error.code;
    throw error;
  }
  return 'none';
}
