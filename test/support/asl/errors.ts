/** Errors of executions (developer guide of Step Functions, "Handling errors in Step Functions workflows"). */

/** An error that a state may retry or catch. Handlers throw it to name the error as the service does, e.g. `Athena.TooManyRequestsException`. */
export class StateError extends Error {
  constructor(readonly error: string, readonly reason = '') {
    super(`${error}: ${reason}`);
    this.name = error;
  }
}

/** The execution was stopped at a point that the test chose. Nothing retries or catches it. */
export class Killed extends Error {
  constructor(readonly point: string) {
    super(`killed ${point}`);
  }
}

/** A branch whose map, parallel or task ended before it. */
export class Cancelled extends Error {}

/** A mistake of the test or the definition that no service would answer with: it fails the test, whatever the machine catches. */
export class Unsupported extends Error {}

/** What the machine sees of an error: a Lambda function's own errors keep their name, as they do on AWS. */
export function stateErrorOf(error: unknown): StateError {
  if (error instanceof StateError) return error;
  if (error instanceof Killed || error instanceof Cancelled || error instanceof Unsupported) throw error;
  return error instanceof Error ? new StateError(error.name, error.message) : new StateError('Error', String(error));
}

export const DATA_LIMIT_EXCEEDED = 'States.DataLimitExceeded';

/** No wildcard matches these: they end the execution. */
const TERMINAL = [DATA_LIMIT_EXCEEDED, 'States.Runtime'];

/** Whether `ErrorEquals` names the error. */
export function matches(names: readonly string[], error: string): boolean {
  return names.some((name) => {
    if (name === error) return true;
    if (TERMINAL.includes(error)) return false;
    return name === 'States.ALL' || (name === 'States.TaskFailed' && error !== 'States.Timeout');
  });
}
