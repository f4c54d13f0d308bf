/** What the service does, apart from how it is asked: REST and gRPC are two ways to call the same operations. */
import type { Caller } from '../core/caller';
import type { BrainError, ErrorCode } from '../core/errors';
import type { ModelMetadata } from '../core/oip';
import type { RequestOperation, TokenUsage } from '../core/telemetry';
import type { Tensor } from '../core/tensors';

/** One incoming call, as its transport sees it. */
export interface IncomingCall {
  readonly protocol: 'rest' | 'grpc';
  /** The caller's own, or one that the transport made: answered in every case. Of a request of a stream the stream's, `/`, and its number, from 1. */
  readonly requestId: string;
  /** How long the caller itself waits, milliseconds from now; undefined: it does not say. */
  readonly timeoutMs: number | undefined;
  /** A header, or metadata of gRPC, by its name in lower case; the first value where there are several. */
  header(name: string): string | undefined;
  /** Calls back once if the caller goes away before it is answered. */
  onGone(listener: () => void): void;
}

export type ParameterValue = string | number | boolean;

/** An inference request without its encoding. */
export interface InferOperation {
  readonly model: string;
  /** Undefined: whichever the rollout document gives the caller. */
  readonly version?: string;
  readonly id?: string;
  readonly inputs: readonly Tensor[];
  /** Names of the outputs to answer, in this order; undefined: all. */
  readonly outputs?: readonly string[];
  readonly parameters: Readonly<Record<string, ParameterValue>>;
  /** `Telemetry.now()` before the body was decoded; undefined: decoding is not timed. */
  readonly receivedAt?: number;
}

export interface InferResult {
  readonly model: string;
  readonly version: string;
  readonly id?: string;
  readonly outputs: readonly Tensor[];
  readonly parameters: Readonly<Record<string, string>>;
  /** Of a streamed answer: what was counted so far. */
  readonly usage?: TokenUsage;
  /**
   * The transport calls it once when the answer is encoded, or cannot be; before that the request is not over for telemetry. A streamed
   * answer ends with its iteration and has none.
   *
   * @param startedAt `Telemetry.now()` when encoding began
   * @param failure what the caller is answered instead
   */
  readonly encoded?: (startedAt: number, failure?: ErrorCode) => void;
}

/** Every method fails with a `BrainError`. */
export interface Operations {
  /** `Telemetry.now()`, for what transports time. */
  now(): number;
  isLive(): boolean;
  /** DESIGN §4.3: the versions that were stable at start are loaded, and the service does not drain. */
  isReady(): boolean;
  /** Fails with MODEL_NOT_READY, or with SHUTTING_DOWN once the process drains. */
  requireReady(): void;
  /** Who asks; health is for everybody, all else is not. Fails with UNAUTHENTICATED, PERMISSION_DENIED or IDENTITY_UNAVAILABLE. */
  authenticate(call: IncomingCall): Caller | Promise<Caller>;
  serverMetadata(): { readonly name: string; readonly version: string; readonly extensions: readonly string[] };
  modelMetadata(model: string, version?: string): Promise<ModelMetadata>;
  /** Resolves where the version is ready; fails with MODEL_NOT_READY, UNKNOWN_MODEL or UNKNOWN_VERSION. */
  requireModelReady(model: string, version: string | undefined): Promise<void>;
  /** An inference that failed before it could be asked for, e.g. in decoding: counted and logged like any other. The coded error to answer. */
  refused(call: IncomingCall, operation: RequestOperation, model: string, error: unknown): BrainError;
  infer(call: IncomingCall, request: InferOperation): Promise<InferResult>;
  /** All of a decoupled model's answer in one: its pieces of text joined, the last of its other outputs, and what was counted. */
  generate(call: IncomingCall, request: InferOperation): Promise<InferResult>;
  /** One result per answer of a decoupled model; of a model that is not decoupled, the one answer. */
  stream(call: IncomingCall, request: InferOperation): AsyncIterable<InferResult>;
}
