/**
 * ModelInferRequest, ModelInferResponse and ModelStreamInferResponse, both ways.
 * Field numbers: KServe `grpc_predict_v2.proto`, Triton `grpc_service.proto`.
 */
import { NO_PARAMETERS, ParameterMap, type Parameters, writeParameter, writeParameters } from './oip-parameters';
import { MAX_TENSORS, rawTensor, readTensorHeader, TensorTag, type TensorHeader, typedTensor } from './oip-tensors';
import { bytesTag } from './wire-format';
import { malformed, WireReader } from './wire-reader';
import { WireWriter } from './wire-writer';
import { toBinary } from '../core/binary-tensors';
import { BrainError, refuse } from '../core/errors';
import type { Tensor } from '../core/tensors';
import type { InferOperation, InferResult } from '../inference-service/operations';

/** The first three fields are the same in request and response. */
const MODEL_NAME = bytesTag(1);
const MODEL_VERSION = bytesTag(2);
const ID = bytesTag(3);
const PARAMETERS = bytesTag(4);
const Request = { INPUTS: bytesTag(5), OUTPUTS: bytesTag(6), RAW: bytesTag(7) } as const;
const Response = { OUTPUTS: bytesTag(5), RAW: bytesTag(6) } as const;
const Stream = { ERROR: bytesTag(1), RESPONSE: bytesTag(2) } as const;
const REQUESTED_NAME = bytesTag(1);

/** Parameter of an answer that says whether it is the last one, as Triton names it. */
export const FINAL_RESPONSE = 'triton_final_response';
/** Parameter of a request that asks for {@link FINAL_RESPONSE} and an empty answer at the end. */
export const WANT_FINAL_RESPONSE = 'triton_enable_empty_final_response';

/** Answer parameters: tokens counted so far. */
const PROMPT_TOKENS = 'prompt_tokens';
const COMPLETION_TOKENS = 'completion_tokens';

/** Writers are used from start to end without a pause, so one serves all. */
const writer = new WireWriter();

/** What a client sends. */
export interface InferCall {
  readonly model: string;
  readonly version?: string;
  readonly id?: string;
  readonly inputs: readonly Tensor[];
  /** Undefined or empty: all. */
  readonly outputs?: readonly string[];
  readonly parameters?: Parameters;
}

/** What a client receives. */
export interface InferResponse {
  readonly model: string;
  readonly version: string;
  readonly id: string;
  readonly parameters: Parameters;
  readonly outputs: Tensor[];
}

/** One message of a stream: an answer, or an error of one of its requests. */
export type StreamInferResponse =
  | { readonly error: string; readonly id: string; readonly response?: undefined }
  | { readonly error?: undefined; readonly response: InferResponse };

/**
 * Reads a ModelInferRequest. Tensors may be views on `message`, which must not change after this.
 * Fails with a code of INVALID_ARGUMENT only.
 */
export function decodeInferRequest(message: Uint8Array, receivedAt?: number): InferOperation {
  const reader = new WireReader(message);
  let model = '';
  let version: string | undefined;
  let id: string | undefined;
  let outputs: string[] | undefined;
  const parameters = new ParameterMap();
  const tensors = new TensorList('input');
  while (reader.more) {
    const field = reader.tag();
    switch (field) {
      case MODEL_NAME:
        model = reader.string();
        break;
      case MODEL_VERSION:
        version = reader.string() || undefined;
        break;
      case ID:
        id = reader.string() || undefined;
        break;
      case PARAMETERS:
        parameters.read(reader);
        break;
      case Request.INPUTS:
        tensors.header(reader);
        break;
      case Request.OUTPUTS:
        (outputs ??= []).push(readRequestedOutput(reader));
        if (outputs.length > MAX_TENSORS) refuse('INVALID_REQUEST', `the message has more than ${MAX_TENSORS} requested outputs`);
        break;
      case Request.RAW:
        tensors.raw(reader);
        break;
      default:
        reader.skip(field);
    }
  }
  if (model === '') refuse('INVALID_REQUEST', 'the request names no model');
  return { model, version, id, inputs: tensors.read(reader), outputs, parameters: parameters.all, receivedAt };
}

/** The chunks of a framed ModelInferRequest. Large tensors are not copied: they must not change until they are sent. */
export function encodeInferRequest(call: InferCall): readonly Uint8Array[] {
  writer.reset();
  if (call.model !== '') writer.string(MODEL_NAME, call.model);
  if (call.version) writer.string(MODEL_VERSION, call.version);
  if (call.id) writer.string(ID, call.id);
  if (call.parameters !== undefined) writeParameters(writer, PARAMETERS, call.parameters);
  for (const input of call.inputs) writeTensor(Request.INPUTS, input);
  if (call.outputs !== undefined) {
    for (const name of call.outputs) {
      const output = writer.open(Request.OUTPUTS);
      writer.string(REQUESTED_NAME, name);
      writer.close(output);
    }
  }
  for (const input of call.inputs) writer.bytes(Request.RAW, toBinary(input));
  return writer.frame();
}

/** The chunks of a framed ModelInferResponse. Large tensors are not copied: they must not change until they are sent. */
export function encodeInferResult(result: InferResult): readonly Uint8Array[] {
  writeResult(result, undefined);
  return writer.frame();
}

/**
 * The chunks of a framed ModelStreamInferResponse with an answer.
 *
 * @param final whether it is the last one of its request; undefined: the client did not ask
 */
export function encodeStreamResult(result: InferResult, final?: boolean): readonly Uint8Array[] {
  writeResult(result, final);
  return writer.frame(Stream.RESPONSE);
}

/**
 * The chunks of a framed ModelStreamInferResponse with an error. The answer in it carries the id alone, by which the client knows the request.
 */
export function encodeStreamError(message: string, id: string | undefined): readonly Uint8Array[] {
  writer.reset();
  writer.string(Stream.ERROR, message);
  if (id !== undefined) {
    const response = writer.open(Stream.RESPONSE);
    writer.string(ID, id);
    writer.close(response);
  }
  return writer.frame();
}

/** Reads a ModelInferResponse. Fails with INVALID_MODEL_OUTPUT where it is none. */
export function decodeInferResponse(message: Uint8Array): InferResponse {
  try {
    return readResponse(new WireReader(message));
  } catch (error) {
    throw unreadable(error);
  }
}

/** Reads a ModelStreamInferResponse. Fails with INVALID_MODEL_OUTPUT where it is none. */
export function decodeStreamInferResponse(message: Uint8Array): StreamInferResponse {
  try {
    const reader = new WireReader(message);
    let error = '';
    let response: InferResponse | undefined;
    while (reader.more) {
      const field = reader.tag();
      if (field === Stream.ERROR) {
        error = reader.string();
      } else if (field === Stream.RESPONSE) {
        const outer = reader.enter();
        response = readResponse(reader);
        reader.leave(outer);
      } else {
        reader.skip(field);
      }
    }
    if (error !== '') return { error, id: response?.id ?? '' };
    return { response: response ?? { model: '', version: '', id: '', parameters: NO_PARAMETERS, outputs: [] } };
  } catch (error) {
    throw unreadable(error);
  }
}

/** Where the first raw contents begin in a ModelInferRequest, as far as its first bytes tell; undefined: they do not. */
export function rawInputStart(head: Uint8Array): number | undefined {
  return fieldStart(head, Request.RAW);
}

/** Where the first raw contents begin in a ModelInferResponse, as far as its first bytes tell; undefined: they do not. */
export function rawOutputStart(head: Uint8Array): number | undefined {
  return fieldStart(head, Response.RAW);
}

/** The id of a ModelInferRequest that is otherwise not valid; undefined: it has none, or it is not readable at all. */
export function peekId(message: Uint8Array): string | undefined {
  try {
    const reader = new WireReader(message);
    while (reader.more) {
      const field = reader.tag();
      if (field === ID) return reader.string() || undefined;
      reader.skip(field);
    }
  } catch {
    // the error is told without it
  }
  return undefined;
}

function fieldStart(head: Uint8Array, wanted: number): number | undefined {
  try {
    const reader = new WireReader(head);
    while (reader.more) {
      const field = reader.tag();
      if (field !== wanted) {
        reader.skip(field);
        continue;
      }
      reader.uint32();
      return reader.at;
    }
  } catch {
    // cut off before it, or malformed, which the decoder will say
  }
  return undefined;
}

function readResponse(reader: WireReader): InferResponse {
  let model = '';
  let version = '';
  let id = '';
  const parameters = new ParameterMap();
  const tensors = new TensorList('output');
  while (reader.more) {
    const field = reader.tag();
    switch (field) {
      case MODEL_NAME:
        model = reader.string();
        break;
      case MODEL_VERSION:
        version = reader.string();
        break;
      case ID:
        id = reader.string();
        break;
      case PARAMETERS:
        parameters.read(reader);
        break;
      case Response.OUTPUTS:
        tensors.header(reader);
        break;
      case Response.RAW:
        tensors.raw(reader);
        break;
      default:
        reader.skip(field);
    }
  }
  return { model, version, id, parameters: parameters.all, outputs: tensors.read(reader) };
}

function readRequestedOutput(reader: WireReader): string {
  let name = '';
  const outer = reader.enter();
  while (reader.more) {
    const field = reader.tag();
    if (field === REQUESTED_NAME) name = reader.string();
    // its parameters too are passed over: an answer in gRPC is raw in any case
    else reader.skip(field);
  }
  reader.leave(outer);
  if (name === '') malformed('a requested output has no name');
  return name;
}

/** Tensor messages and the raw contents beside them, which belong together by their order. */
class TensorList {
  private readonly headers: TensorHeader[] = [];
  /** Start and end of each raw contents. */
  private readonly ranges: number[] = [];

  constructor(private readonly kind: 'input' | 'output') {}

  header(reader: WireReader): void {
    if (this.headers.length === MAX_TENSORS) refuse('INVALID_REQUEST', `the message has more than ${MAX_TENSORS} ${this.kind}s`);
    const outer = reader.enter();
    this.headers.push(readTensorHeader(reader));
    reader.leave(outer);
  }

  raw(reader: WireReader): void {
    if (this.ranges.length === 2 * MAX_TENSORS) refuse('INVALID_REQUEST', `the message has more than ${MAX_TENSORS} raw contents`);
    const outer = reader.enter();
    this.ranges.push(reader.at, reader.end);
    reader.at = reader.end;
    reader.leave(outer);
  }

  /** Either every tensor has raw contents, or every one has typed contents. */
  read(reader: WireReader): Tensor[] {
    const { headers, ranges, kind } = this;
    const tensors = new Array<Tensor>(headers.length);
    const raw = ranges.length > 0;
    if (raw && ranges.length !== 2 * headers.length) {
      refuse('INVALID_REQUEST', `the message has ${headers.length} ${kind}s, but ${ranges.length / 2} raw_${kind}_contents`);
    }
    for (let i = 0; i < headers.length; i++) {
      const header = headers[i];
      if (raw && header.contents !== undefined) {
        refuse('INVALID_REQUEST', `${kind} '${header.name}' has contents beside raw_${kind}_contents: only one of them`, { tensor: header.name });
      }
      tensors[i] = raw ? rawTensor(header, reader.bytes, ranges[2 * i], ranges[2 * i + 1]) : typedTensor(reader, header);
    }
    return tensors;
  }
}

function writeResult(result: InferResult, final: boolean | undefined): void {
  writer.reset();
  writer.string(MODEL_NAME, result.model);
  writer.string(MODEL_VERSION, result.version);
  if (result.id) writer.string(ID, result.id);
  writeParameters(writer, PARAMETERS, result.parameters);
  if (result.usage !== undefined) {
    writeParameter(writer, PARAMETERS, PROMPT_TOKENS, result.usage.promptTokens);
    writeParameter(writer, PARAMETERS, COMPLETION_TOKENS, result.usage.completionTokens);
  }
  if (final !== undefined) writeParameter(writer, PARAMETERS, FINAL_RESPONSE, final);
  for (const output of result.outputs) writeTensor(Response.OUTPUTS, output);
  for (const output of result.outputs) writer.bytes(Response.RAW, toBinary(output));
}

function writeTensor(field: number, { name, datatype, shape }: Tensor): void {
  const tensor = writer.open(field);
  writer.string(TensorTag.NAME, name);
  writer.string(TensorTag.DATATYPE, datatype);
  writer.packedInt64(TensorTag.SHAPE, shape);
  writer.close(tensor);
}

function unreadable(error: unknown): BrainError {
  return new BrainError('INVALID_MODEL_OUTPUT', `the runtime's answer is not readable: ${(error as Error).message}`, {}, { cause: error });
}
