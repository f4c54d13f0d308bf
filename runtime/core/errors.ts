/** The one registry of errors that leave the brain: code, HTTP status, gRPC status. docs/errors.md shows the same table; a test keeps them equal. */

interface ErrorEntry {
  readonly status: number;
  /** Name of the gRPC status code. */
  readonly grpc: string;
  readonly meaning: string;
}

const entry = (status: number, grpc: string, meaning: string): ErrorEntry => ({ status, grpc, meaning });

export const ERRORS = {
  INVALID_JSON: entry(400, 'INVALID_ARGUMENT', 'The body is not JSON.'),
  INVALID_REQUEST: entry(400, 'INVALID_ARGUMENT', 'The request is not one of the Open Inference Protocol.'),
  INVALID_PARAMETER: entry(400, 'INVALID_ARGUMENT', 'A request parameter has a value that it does not take.'),
  MISSING_INPUT: entry(400, 'INVALID_ARGUMENT', 'An input of the public signature is not in the request.'),
  UNEXPECTED_INPUT: entry(400, 'INVALID_ARGUMENT', 'The request has an input that the public signature does not have, or one that the brain fills itself.'),
  DUPLICATE_INPUT: entry(400, 'INVALID_ARGUMENT', 'An input is in the request twice.'),
  INVALID_SHAPE: entry(400, 'INVALID_ARGUMENT', 'A shape does not fit the signature, the data or the other inputs.'),
  INVALID_DATATYPE: entry(400, 'INVALID_ARGUMENT', 'A datatype is unknown or is not the one of the signature.'),
  INVALID_DATA: entry(400, 'INVALID_ARGUMENT', 'A value does not fit its datatype.'),
  UNSUPPORTED_DATATYPE: entry(400, 'INVALID_ARGUMENT', 'FP16 and BF16 have no JSON form: use the binary tensor extension.'),
  UNKNOWN_OUTPUT: entry(400, 'INVALID_ARGUMENT', 'A requested output is not one of the model.'),
  BATCH_TOO_LARGE: entry(400, 'INVALID_ARGUMENT', 'The first dimension is above the declared maximum batch.'),
  INVALID_PATH: entry(400, 'INVALID_ARGUMENT', 'The path is not well-formed percent-encoded text.'),
  ROUTE_NOT_FOUND: entry(404, 'UNIMPLEMENTED', 'The service has no such route.'),
  METHOD_NOT_ALLOWED: entry(405, 'UNIMPLEMENTED', 'The route does not take this method.'),
  BODY_TOO_LARGE: entry(413, 'RESOURCE_EXHAUSTED', 'The body is above the declared maximum.'),
  UNSUPPORTED_MEDIA_TYPE: entry(415, 'INVALID_ARGUMENT', 'The body is neither JSON nor JSON followed by binary tensors, or it is compressed.'),
  REQUEST_TIMEOUT: entry(408, 'DEADLINE_EXCEEDED', 'The request did not arrive in time.'),
  HEADERS_TOO_LARGE: entry(431, 'RESOURCE_EXHAUSTED', "The request's headers are too large."),
  CANCELLED: entry(499, 'CANCELLED', 'The caller closed the connection; only logs show this.'),
  UNAUTHENTICATED: entry(401, 'UNAUTHENTICATED', 'The request has no token that the service accepts.'),
  PERMISSION_DENIED: entry(403, 'PERMISSION_DENIED', "The token's scopes do not allow what the request asks for."),
  FOREIGN_ORIGIN: entry(403, 'PERMISSION_DENIED', 'The Host or the Origin of the request is not one of this brain.'),
  INVALID_TRAINING_SET: entry(400, 'INVALID_ARGUMENT', 'A training set cannot be made as it is described.'),
  UNKNOWN_MODEL: entry(404, 'NOT_FOUND', 'The brain declares no such model.'),
  UNKNOWN_VERSION: entry(404, 'NOT_FOUND', 'The rollout document does not approve this version.'),
  UNKNOWN_ENTITY: entry(404, 'NOT_FOUND', 'A feature group has no row for an entity, and not every feature has a default.'),
  SNAPSHOT_NOT_FOUND: entry(404, 'NOT_FOUND', 'A feature group has no such snapshot, or had none at the time that was named.'),
  TRAINING_SET_NOT_FOUND: entry(404, 'NOT_FOUND', 'There is no training set at this place.'),
  FEATURE_MISSING: entry(422, 'FAILED_PRECONDITION', "An entity's row lacks a feature that has no default or is required."),
  FEATURE_STALE: entry(422, 'FAILED_PRECONDITION', 'A feature is older than its maxAge and has no default or is required.'),
  TOO_FEW_NEIGHBOURS: entry(422, 'FAILED_PRECONDITION', 'The index returned fewer than k neighbours, and the manifest declares no fill.'),
  TRAINING_SET_EXISTS: entry(409, 'ALREADY_EXISTS', 'There is a training set at this place: one is written once and never changed.'),
  ROLLOUT_BUSY: entry(409, 'ABORTED', 'Another process is changing the rollout document.'),
  SNAPSHOT_EXPIRED: entry(410, 'FAILED_PRECONDITION', 'The snapshot that a training set was made from is gone; the copy of its rows stays.'),
  ROLLOUT_CHANGED: entry(412, 'ABORTED', 'The rollout document is no longer the one that the change was made for.'),
  MODEL_NOT_READY: entry(503, 'UNAVAILABLE', 'No version of the model is released, or the version is not loaded yet.'),
  FEATURE_STORE_UNAVAILABLE: entry(503, 'UNAVAILABLE', 'The online feature store does not answer.'),
  VECTOR_STORE_UNAVAILABLE: entry(503, 'UNAVAILABLE', 'The vector store does not answer.'),
  RUNTIME_UNAVAILABLE: entry(503, 'UNAVAILABLE', 'The model runtime does not answer.'),
  ARTIFACT_STORE_UNAVAILABLE: entry(503, 'UNAVAILABLE', 'The artifact store does not answer.'),
  IDENTITY_UNAVAILABLE: entry(503, 'UNAVAILABLE', "The keys of the token's issuer cannot be fetched."),
  SHUTTING_DOWN: entry(503, 'UNAVAILABLE', 'The process drains and takes no new request.'),
  OVERLOADED: entry(503, 'UNAVAILABLE', 'The service has more work than it can do in time, and shed this request before it began.'),
  RATE_LIMITED: entry(429, 'RESOURCE_EXHAUSTED', "The tenant has taken its share of the service's capacity, and others wait."),
  DEADLINE_EXCEEDED: entry(504, 'DEADLINE_EXCEEDED', 'The answer was not ready within the declared request timeout.'),
  INVALID_CONFIGURATION: entry(500, 'FAILED_PRECONDITION', 'brain.json or a binding is missing or invalid.'),
  INVALID_ROLLOUT: entry(500, 'FAILED_PRECONDITION', 'A rollout document is not valid; the last good one stays in force.'),
  INVALID_MANIFEST: entry(500, 'FAILED_PRECONDITION', 'A model manifest is not valid, or does not fit what the brain declares.'),
  MANIFEST_NOT_FOUND: entry(500, 'FAILED_PRECONDITION', 'The artifact store has no manifest of an approved version.'),
  ARTIFACT_NOT_FOUND: entry(500, 'FAILED_PRECONDITION', 'The artifact store lacks a file that the manifest of an approved version lists.'),
  DIGEST_MISMATCH: entry(500, 'DATA_LOSS', 'Bytes do not have the digest that was released.'),
  TRAINING_SET_DIFFERS: entry(500, 'DATA_LOSS', 'A training set, or what its query gives now, is not what its manifest says.'),
  INVALID_FEATURE_ROW: entry(500, 'DATA_LOSS', 'A stored feature value does not fit its declared dtype.'),
  INVALID_VECTOR_HIT: entry(500, 'DATA_LOSS', 'A stored vector document lacks a numeric field that a model needs.'),
  INVALID_MODEL_OUTPUT: entry(500, 'INTERNAL', "The runtime's answer does not fit the manifest."),
  MODEL_FAILED: entry(500, 'INTERNAL', 'The runtime refused or failed to run the model.'),
  OFFLINE_QUERY_FAILED: entry(502, 'UNAVAILABLE', 'The offline store refused a query, or did not answer it in time.'),
  INTERNAL: entry(500, 'INTERNAL', 'An error of the service itself; the log has the details.'),
} as const satisfies Record<string, ErrorEntry>;

/** What is not loaded may be soon, and a pool without a pod takes minutes: whole seconds until it is worth to ask again. */
const NOT_READY_RETRY_S = 10;

export type ErrorCode = keyof typeof ERRORS;

/** The body of every answer that is not a success: OIP's `{"error": string}` and the code by itself. */
export interface ErrorBody {
  readonly error: string;
  readonly code: ErrorCode;
  readonly [detail: string]: unknown;
}

/**
 * Any failure with a meaning for the caller. `details` are shown to the caller beside the message; of these, `retry_after_s` also becomes
 * HTTP's Retry-After and gRPC's metadata `retry-after`.
 */
export class BrainError extends Error {
  /**
   * Without a stack, which is most of what an error costs: for refusals that come by the thousand just when there is no time for them,
   * and whose code says where they come from.
   */
  static withoutStack(code: ErrorCode, text: string, details?: Readonly<Record<string, unknown>>): BrainError {
    const { stackTraceLimit } = Error;
    Error.stackTraceLimit = 0;
    const error = new BrainError(code, text, details);
    Error.stackTraceLimit = stackTraceLimit;
    return error;
  }

  override readonly name = 'BrainError';

  constructor(readonly code: ErrorCode, readonly text: string, readonly details: Readonly<Record<string, unknown>> = {}, options?: ErrorOptions) {
    super(`${code}: ${text}`, options);
  }

  get status(): number {
    return ERRORS[this.code].status;
  }

  /** Whole seconds after which the caller may come back; undefined where that is not known. */
  get retryAfterS(): number | undefined {
    const seconds = this.details.retry_after_s;
    if (typeof seconds === 'number') return seconds;
    return this.code === 'MODEL_NOT_READY' ? NOT_READY_RETRY_S : undefined;
  }

  toBody(): ErrorBody {
    const { retryAfterS } = this;
    return { ...this.details, ...retryAfterS === undefined ? {} : { retry_after_s: retryAfterS }, error: this.message, code: this.code };
  }
}

/** Fails with a coded error. */
export function refuse(code: ErrorCode, text: string, details?: Readonly<Record<string, unknown>>): never {
  throw new BrainError(code, text, details);
}
