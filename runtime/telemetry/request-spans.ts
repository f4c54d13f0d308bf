/** The spans of one sampled request: itself, by the semantic conventions of HTTP or RPC servers, and one for each visit of a stage. */
import { type Attributes, SpanKind } from '@opentelemetry/api';
import type { Request } from './request';
import { newSpanId, parseTracestate, type SpanSink } from './spans';
import { ERRORS } from '../core/errors';
import { type Stage, STAGES } from '../core/telemetry';
import { GrpcStatus, statusOf } from '../grpc/grpc-status';

/** Attributes that no semantic convention has. */
export const SpanAttribute = {
  MODEL: 'thalos.model',
  VERSION: 'thalos.model.version',
  ARM: 'thalos.arm',
  REQUEST_ID: 'thalos.request.id',
  STAGE: 'thalos.stage',
} as const;

/** Routes by operation, as PUBLIC_ROUTES names them. */
const ROUTES = { infer: '/v2/models/{model}/infer', generate: '/v2/models/{model}/generate', stream: '/v2/models/{model}/generate_stream' } as const;
const RPC_SERVICE = 'inference.GRPCInferenceService';
const METHODS = { infer: 'ModelInfer', generate: 'ModelInfer', stream: 'ModelStreamInfer' } as const;

/** Stages in which the service waits for another. */
const CALLS: ReadonlySet<Stage> = new Set<Stage>(['features', 'vectors', 'runtime']);

/** @param toEpoch what to add to a time of `Telemetry.now()` to get milliseconds since the epoch */
export function exportSpans(sink: SpanSink, request: Request, endedAt: number, toEpoch: number): void {
  const { start, span, code, marks, startedAt } = request;
  const { context, parent } = span!;
  const tracestate = parseTracestate(start.tracestate);
  sink.add({
    name: start.protocol === 'rest' ? `POST ${ROUTES[start.operation]}` : `${RPC_SERVICE}/${METHODS[start.operation]}`,
    kind: SpanKind.SERVER,
    context,
    parentSpanId: parent?.spanId,
    tracestate,
    start: startedAt + toEpoch,
    end: endedAt + toEpoch,
    attributes: attributesOf(request),
    // what the caller did wrong is no failure of the service (semantic conventions for HTTP spans, "Status")
    failure: code !== undefined && ERRORS[code].status >= 500 ? code : undefined,
  });
  if (!marks) return;
  for (let at = 0; at < marks.length; at += 3) {
    const stage = STAGES[marks[at]];
    sink.add({
      name: stage,
      kind: CALLS.has(stage) ? SpanKind.CLIENT : SpanKind.INTERNAL,
      context: { traceId: context.traceId, spanId: newSpanId(), sampled: true },
      parentSpanId: context.spanId,
      tracestate,
      start: marks[at + 1] + toEpoch,
      end: marks[at + 2] + toEpoch,
      attributes: { [SpanAttribute.STAGE]: stage },
      failure: undefined,
    });
  }
}

function attributesOf({ start, version, arm, code, usage, modelLabel }: Request): Attributes {
  const attributes: Attributes = { [SpanAttribute.MODEL]: modelLabel, [SpanAttribute.REQUEST_ID]: start.requestId };
  if (version !== undefined) attributes[SpanAttribute.VERSION] = version;
  if (arm !== undefined) attributes[SpanAttribute.ARM] = arm;
  if (start.protocol === 'rest') {
    attributes['http.request.method'] = 'POST';
    attributes['http.route'] = ROUTES[start.operation];
    attributes['http.response.status_code'] = code === undefined ? 200 : ERRORS[code].status;
  } else {
    attributes['rpc.system'] = 'grpc';
    attributes['rpc.service'] = RPC_SERVICE;
    attributes['rpc.method'] = METHODS[start.operation];
    attributes['rpc.grpc.status_code'] = code === undefined ? GrpcStatus.OK : statusOf(code);
  }
  if (code !== undefined) attributes['error.type'] = code;
  if (usage) {
    attributes['gen_ai.usage.input_tokens'] = usage.promptTokens;
    attributes['gen_ai.usage.output_tokens'] = usage.completionTokens;
  }
  return attributes;
}
