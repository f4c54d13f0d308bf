/** The methods of `inference.GRPCInferenceService` on the operations of the service. */
import { callStatus } from './grpc-status';
import { decodeInferRequest, encodeInferResult, rawInputStart } from './oip-infer';
import { decodeEmpty, decodeModelName, encodeFlag, encodeModelMetadata, encodeServerMetadata } from './oip-server';
import type { Frame, Method, UnaryMethod } from './server-call';
import { type Now, streamInfer } from './stream-infer';
import { BrainError, refuse } from '../core/errors';
import type { RequestOperation } from '../core/telemetry';
import type { IncomingCall, InferOperation, Operations } from '../inference-service/operations';

export const INFERENCE_SERVICE = 'inference.GRPCInferenceService';

export function inferenceMethods(operations: Operations, now: Now): ReadonlyMap<string, Method> {
  const unary = (handle: UnaryMethod['handle']): UnaryMethod => ({ kind: 'unary', handle });
  const named = (message: Uint8Array) => {
    const model = decodeModelName(message);
    if (model.name === '') refuse('INVALID_REQUEST', 'the request names no model');
    return model;
  };
  const methods: Record<string, Method> = {
    ServerLive: unary((message) => {
      decodeEmpty(message);
      return encodeFlag(operations.isLive());
    }),
    ServerReady: unary((message) => {
      decodeEmpty(message);
      return encodeFlag(operations.isReady());
    }),
    ModelReady: unary(async (message, call) => {
      const { name, version } = named(message);
      await operations.authenticate(call);
      return operations.requireModelReady(name, version).then(ready, notReady);
    }),
    ServerMetadata: unary(async (message, call) => {
      decodeEmpty(message);
      await operations.authenticate(call);
      return encodeServerMetadata(operations.serverMetadata());
    }),
    ModelMetadata: unary(async (message, call) => {
      const { name, version } = named(message);
      await operations.authenticate(call);
      return operations.modelMetadata(name, version).then(encodeModelMetadata);
    }),
    ModelInfer: {
      kind: 'unary',
      before: (call) => requireCaller(operations, 'infer', call),
      alignedStart: rawInputStart,
      handle: (message, call) => infer(operations, message, call, now?.()),
    },
    ModelStreamInfer: { ...streamInfer(operations, now), before: (call) => requireCaller(operations, 'stream', call) },
  };
  return new Map(Object.entries(methods).map(([name, method]) => [`/${INFERENCE_SERVICE}/${name}`, method]));
}

/** What nobody may ask is not read. A refusal counts as a request. */
export function requireCaller(operations: Operations, operation: RequestOperation, call: IncomingCall): void | Promise<void> {
  const refused = (error: unknown): never => {
    throw operations.refused(call, operation, '', error);
  };
  try {
    const caller = operations.authenticate(call);
    return caller instanceof Promise ? caller.then(() => undefined, refused) : undefined;
  } catch (error) {
    return refused(error);
  }
}

async function infer(operations: Operations, message: Uint8Array, call: IncomingCall, receivedAt: number | undefined): Promise<Frame> {
  let request: InferOperation;
  try {
    request = decodeInferRequest(message, receivedAt);
  } catch (error) {
    throw operations.refused(call, 'infer', '', error);
  }
  const result = await operations.infer(call, request);
  const encodedFrom = operations.now();
  try {
    const frame = encodeInferResult(result);
    result.encoded?.(encodedFrom);
    return frame;
  } catch (error) {
    result.encoded?.(encodedFrom, callStatus(error).code ?? 'INTERNAL');
    throw error;
  }
}

function ready(): Frame {
  return encodeFlag(true);
}

/** A model that is not ready is an answer; one that is not there is an error, as Triton has it. */
function notReady(error: unknown): Frame {
  if (error instanceof BrainError && error.code === 'MODEL_NOT_READY') return encodeFlag(false);
  throw error;
}
