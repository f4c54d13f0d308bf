/** A failure of an AWS call as a coded error: the caller learns which part failed, the log learns why. */
import { BrainError, type ErrorCode } from '../../core/errors';

/**
 * The error to throw in place of `error`: the reason of the abort where the caller gave up, the error itself where it is coded,
 * else `code` with the failure's name as its cause.
 */
export function unavailable(code: ErrorCode, what: string, error: unknown, signal?: AbortSignal): unknown {
  if (signal?.aborted) return signal.reason;
  if (error instanceof BrainError) return error;
  const name = error instanceof Error ? error.name : 'Error';
  return new BrainError(code, `${what} does not answer (${name})`, {}, { cause: error });
}
