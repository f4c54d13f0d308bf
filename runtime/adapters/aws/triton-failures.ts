/** What a failed call of Triton means: to the caller, to the balancer, and to a second attempt. */
import type { Outcome } from '../../core/balancer';
import { BrainError } from '../../core/errors';
import type { ModelRef } from '../../core/ports';
import { GrpcError, GrpcStatus } from '../../grpc/grpc-status';

/** How Triton words that a version is not there, whatever status it gives that. */
const NOT_LOADED = /unknown model|is not ready|is not at ready state|is not found|no available versions|not available/i;
/** A call that had less time than this says nothing about its endpoint when the time is up, milliseconds. */
const TELLING_MS = 50;

/** The endpoint has no such version: it did not begin to work on the request. */
export function isNotLoaded(error: unknown): boolean {
  if (!(error instanceof GrpcError)) return false;
  return error.status === GrpcStatus.NOT_FOUND || (error.status === GrpcStatus.UNAVAILABLE && NOT_LOADED.test(error.message));
}

/** The request was surely not processed: it may be sent to another endpoint. */
export function isUnprocessed(error: unknown): boolean {
  return error instanceof GrpcError && (!error.sentBeforeFailure || isNotLoaded(error));
}

/** An error within a stream comes without a status: its words are all there is. */
export function streamFailure(message: string): GrpcError {
  return new GrpcError(NOT_LOADED.test(message) ? GrpcStatus.NOT_FOUND : GrpcStatus.INTERNAL, message);
}

/** @param tookMs how long the attempt lasted */
export function outcomeOf(error: unknown, tookMs: number, signal: AbortSignal | undefined): Outcome {
  if (signal?.aborted) return isDeadline(signal.reason) && tookMs >= TELLING_MS ? 'failure' : 'neutral';
  // an answer that cannot be read
  if (!(error instanceof GrpcError)) return 'error';
  if (isNotLoaded(error)) return 'neutral';
  switch (error.status) {
    case GrpcStatus.DEADLINE_EXCEEDED:
      return tookMs >= TELLING_MS ? 'failure' : 'neutral';
    case GrpcStatus.UNAVAILABLE:
    case GrpcStatus.UNKNOWN:
    case GrpcStatus.CANCELLED:
    case GrpcStatus.RESOURCE_EXHAUSTED:
    case GrpcStatus.DATA_LOSS:
      return 'failure';
    case GrpcStatus.INTERNAL:
      return 'error';
    default:
      return 'success';
  }
}

/** The error to throw in place of `error`. */
export function failureOf(error: unknown, { name: model, version }: Pick<ModelRef, 'name' | 'version'>, signal: AbortSignal | undefined): unknown {
  if (signal?.aborted) return signal.reason;
  if (!(error instanceof GrpcError)) return error;
  const options = { cause: error };
  if (isNotLoaded(error)) return notReady({ name: model, version }, options);
  switch (error.status) {
    case GrpcStatus.DEADLINE_EXCEEDED:
      return new BrainError('DEADLINE_EXCEEDED', 'the model runtime did not answer in time', {}, options);
    case GrpcStatus.UNAVAILABLE:
    case GrpcStatus.CANCELLED:
      // the text may name addresses of ours: it stays in the log
      return new BrainError('RUNTIME_UNAVAILABLE', 'the model runtime does not answer', {}, options);
    case GrpcStatus.RESOURCE_EXHAUSTED:
      return new BrainError('RUNTIME_UNAVAILABLE', 'the model runtime is overloaded', {}, options);
    default:
      return new BrainError('MODEL_FAILED', `the model runtime answered ${nameOf(error.status)}${textOf(error)}`, { model, version }, options);
  }
}

export function notReady({ name: model, version }: Pick<ModelRef, 'name' | 'version'>, options?: ErrorOptions): BrainError {
  return new BrainError('MODEL_NOT_READY', `the runtime has no ready version ${version} of model '${model}'`, { model, version }, options);
}

function nameOf(status: number): string {
  return Object.keys(GrpcStatus).find((name) => GrpcStatus[name as keyof typeof GrpcStatus] === status) ?? `status ${status}`;
}

/** Triton 2.51 gives no text with some errors, e.g. of a wrong shape. */
function textOf({ message }: GrpcError): string {
  return message === '' ? '' : `: ${message}`;
}

function isDeadline(reason: unknown): boolean {
  return reason instanceof BrainError && reason.code === 'DEADLINE_EXCEEDED';
}
