/** How failed steps of builds and drills are named: Step Functions retries and catches by the name. */
import { OpenSearchRefusal } from '../adapters/aws/opensearch-http';
import { BrainError } from '../core/errors';
import { BuildError } from '../core/vectors/build-errors';
import { isForbidden, isSnapshotRunning } from '../core/vectors/refusal';

/** Access may not be there yet, or not any more; a request came too late, or beside another one. */
const PASSING_STATUSES: ReadonlySet<number> = new Set([401, 403, 408, 409]);

/** Does a step of a build or a drill; it fails with an error whose name is its code. */
export async function named<T>(step: () => Promise<T>): Promise<T> {
  try {
    return await step();
  } catch (error) {
    const coded = error instanceof OpenSearchRefusal ? refusal(error) : error;
    if (coded instanceof BrainError) throw Object.assign(new Error(coded.message, { cause: coded.cause }), { name: coded.code });
    throw coded;
  }
}

/** BUILD_REFUSED where another try does not help, else VECTOR_STORE_UNAVAILABLE. */
function refusal(error: OpenSearchRefusal): BrainError | BuildError {
  const { status, message } = error;
  if (!PASSING_STATUSES.has(status) && !isSnapshotRunning(error)) return new BuildError('BUILD_REFUSED', message, { cause: error });
  const remedy = isForbidden(error)
    ? ': where this lasts, look at the policies of the function\'s role, at the role of the domain that it is mapped to, and for blocks of the index; then redrive' : '';
  return new BrainError('VECTOR_STORE_UNAVAILABLE', `${message}${remedy}`, {}, { cause: error });
}
