/** Status of a gRPC call. Sources: gRPC "Status codes and their use in gRPC"; "gRPC over HTTP2", Responses and Errors. */
import { BrainError, type ErrorCode, ERRORS } from '../core/errors';

export const GrpcStatus = {
  OK: 0,
  CANCELLED: 1,
  UNKNOWN: 2,
  INVALID_ARGUMENT: 3,
  DEADLINE_EXCEEDED: 4,
  NOT_FOUND: 5,
  ALREADY_EXISTS: 6,
  PERMISSION_DENIED: 7,
  RESOURCE_EXHAUSTED: 8,
  FAILED_PRECONDITION: 9,
  ABORTED: 10,
  OUT_OF_RANGE: 11,
  UNIMPLEMENTED: 12,
  INTERNAL: 13,
  UNAVAILABLE: 14,
  DATA_LOSS: 15,
  UNAUTHENTICATED: 16,
} as const;
export type GrpcStatusName = keyof typeof GrpcStatus;

/** Trailer that carries the code of our registry beside `grpc-status`. */
export const ERROR_CODE_METADATA = 'error-code';

/** A status message longer than this is cut: HTTP/2 bounds the size of all headers together. */
const MAX_MESSAGE = 1_024;

const BY_CODE = Object.fromEntries(
  Object.entries(ERRORS).map(([code, { grpc }]) => [code, GrpcStatus[grpc as GrpcStatusName]]),
) as Record<ErrorCode, number>;

/** The gRPC status number of an error of our registry. */
export function statusOf(code: ErrorCode): number {
  return BY_CODE[code];
}

/** A call that ended with another status than OK; on the server, a status that has no code of our registry. */
export class GrpcError extends Error {
  override readonly name = 'GrpcError';

  constructor(
    /** Number of the gRPC status. */
    readonly status: number,
    message: string,
    /** Trailers (or headers) that came with it, by name in lower case. */
    readonly metadata: Readonly<Record<string, string>> = {},
    /**
     * Whether the peer may have begun to work on the call. False: it certainly has not, and any call may be tried again.
     */
    readonly sentBeforeFailure = true,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}

/** What ends a call: number, text, and the code where the error has one. */
export interface CallStatus {
  readonly status: number;
  readonly message: string;
  readonly code: ErrorCode | undefined;
  /** Seconds after which the caller may come back. */
  readonly retryAfterS?: number;
}

/** An error that is neither coded nor of gRPC is the service's own fault, and its text stays here. */
export function callStatus(error: unknown): CallStatus {
  if (error instanceof BrainError) return { status: BY_CODE[error.code], message: error.message, code: error.code, retryAfterS: error.retryAfterS };
  if (error instanceof GrpcError) return { status: error.status, message: error.message, code: undefined };
  return { status: GrpcStatus.INTERNAL, message: 'INTERNAL: an error of the service itself', code: 'INTERNAL' };
}

/** Percent-encodes what is not printable ASCII, and the percent sign. */
export function encodeMessage(message: string): string {
  const text = message.length > MAX_MESSAGE ? message.slice(0, MAX_MESSAGE) : message;
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code < 0x20 || code > 0x7e || code === 0x25) return encodeAll(text);
  }
  return text;
}

/** Text that is not well formed stays as it is, as the protocol asks. */
export function decodeMessage(encoded: string): string {
  if (!encoded.includes('%')) return encoded;
  try {
    return decodeURIComponent(encoded);
  } catch {
    return encoded;
  }
}

/** The status of an answer that is none of gRPC. Source: gRPC "HTTP to gRPC Status Code Mapping". */
export function statusOfHttp(httpStatus: number): number {
  switch (httpStatus) {
    case 400:
      return GrpcStatus.INTERNAL;
    case 401:
      return GrpcStatus.UNAUTHENTICATED;
    case 403:
      return GrpcStatus.PERMISSION_DENIED;
    case 404:
      return GrpcStatus.UNIMPLEMENTED;
    case 429:
    case 502:
    case 503:
    case 504:
      return GrpcStatus.UNAVAILABLE;
    default:
      return GrpcStatus.UNKNOWN;
  }
}

function encodeAll(text: string): string {
  let encoded = '';
  for (const byte of Buffer.from(text)) {
    encoded += byte < 0x20 || byte > 0x7e || byte === 0x25 ? `%${byte.toString(16).toUpperCase().padStart(2, '0')}` : String.fromCharCode(byte);
  }
  return encoded;
}
