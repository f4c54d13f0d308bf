/**
 * REST bodies of the Open Inference Protocol v2, JSON with the binary tensor extension.
 * Source: KServe, "Open Inference Protocol (V2 Inference Protocol)" and "Binary Tensor Data Extension".
 */
import { fromBinary, toBinary } from './binary-tensors';
import { refuse } from './errors';
import type { InferAnswer } from './infer';
import { fromJson, type Tensor, toJson } from './tensors';
import { type ModelManifest, OIP_DATATYPES, type OipDatatype, Parameter, type TensorSchema } from '../../src/contract';

/** Header of request and answer: bytes of the JSON that binary tensors follow. */
export const HEADER_LENGTH = 'inference-header-content-length';

const DATATYPES: ReadonlySet<string> = new Set(OIP_DATATYPES);

export interface InferRequest {
  readonly id?: string;
  readonly inputs: Tensor[];
  /** Names of the requested outputs; undefined: all. */
  readonly outputs?: string[];
  readonly explain: boolean;
  /** Whether an output is to be answered as binary. */
  readonly binary: (output: string) => boolean;
}

/** An answer: JSON alone, or JSON of `headerLength` bytes and the binary tensors after it. */
export type InferBody = { readonly text: string } | { readonly bytes: Buffer; readonly headerLength: number };

type Fields = Readonly<Record<string, unknown>>;

/**
 * Reads the body of an infer request.
 *
 * @param body what JSON.parse gave
 * @param binary what follows the JSON in the body
 */
export function readInferRequest(body: unknown, binary: Uint8Array = new Uint8Array(0)): InferRequest {
  const request = fields(body, 'the request');
  const { id } = request;
  if (id !== undefined && typeof id !== 'string') refuse('INVALID_REQUEST', 'id must be a string');
  const parameters = optionalFields(request.parameters, 'parameters of the request');
  if (!Array.isArray(request.inputs) || request.inputs.length === 0) refuse('INVALID_REQUEST', 'inputs must be an array of one tensor at least');

  const section = new BinarySection(binary);
  const inputs = request.inputs.map((input: unknown, position) => readInput(input, position, section));
  section.requireEnd();
  const binaryByDefault = flag(parameters, 'binary_data_output') ?? false;
  const binaryOutputs = new Map<string, boolean>();
  const outputs = request.outputs === undefined ? undefined : readOutputs(request.outputs, binaryByDefault, binaryOutputs);
  return {
    id: id as string | undefined,
    inputs,
    outputs,
    explain: flag(parameters, Parameter.EXPLAIN) ?? false,
    binary: (output) => binaryOutputs.get(output) ?? binaryByDefault,
  };
}

export function writeInferAnswer(answer: InferAnswer, request: Pick<InferRequest, 'id' | 'binary'>): InferBody {
  const sections: Uint8Array[] = [];
  const outputs = answer.outputs.map((tensor) => {
    if (!request.binary(tensor.name)) return toJson(tensor);
    const bytes = toBinary(tensor);
    sections.push(bytes);
    return { name: tensor.name, datatype: tensor.datatype, shape: tensor.shape, parameters: { binary_data_size: bytes.length } };
  });
  const text = JSON.stringify({
    model_name: answer.model,
    model_version: answer.version,
    // absent where the request has none: JSON leaves out what is undefined
    id: request.id,
    parameters: answer.parameters,
    outputs,
  });
  if (sections.length === 0) return { text };
  const header = Buffer.from(text);
  return { bytes: Buffer.concat([header, ...sections]), headerLength: header.length };
}

/** Names of platforms as the protocol spells them, `<project>_<format>`. */
const PLATFORMS: Record<ModelManifest['platform'], string> = {
  onnx: 'onnx_onnxv1', tensorrt: 'tensorrt_plan', pytorch: 'pytorch_torchscript', python: 'python',
};

/** Model metadata: the public signature. */
export function modelMetadata(manifest: ModelManifest, versions: readonly string[], inputs: readonly TensorSchema[]): object {
  return {
    name: manifest.name,
    versions,
    platform: PLATFORMS[manifest.platform],
    inputs,
    outputs: manifest.outputs.map(({ name, datatype, shape }) => ({ name, datatype, shape })),
  };
}

/** Hands out the binary tensors in the order of the inputs. */
class BinarySection {
  private at = 0;

  constructor(private readonly bytes: Uint8Array) {}

  take(name: string, size: unknown): Uint8Array {
    if (!Number.isSafeInteger(size) || (size as number) < 0) refuse('INVALID_REQUEST', `binary_data_size of tensor '${name}' must be a number of bytes`, { tensor: name });
    const end = this.at + (size as number);
    if (end > this.bytes.length) {
      refuse('INVALID_REQUEST', `tensor '${name}' ends at byte ${end} of the binary section, which has ${this.bytes.length}: is the ${HEADER_LENGTH} header right?`, { tensor: name });
    }
    const taken = this.bytes.subarray(this.at, end);
    this.at = end;
    return taken;
  }

  requireEnd(): void {
    if (this.at < this.bytes.length) refuse('INVALID_REQUEST', `the binary section has ${this.bytes.length} bytes, its tensors use ${this.at}`);
  }
}

function readInput(value: unknown, position: number, section: BinarySection): Tensor {
  const input = fields(value, `input ${position}`);
  const { name, datatype, shape, data } = input;
  if (!isName(name)) return refuse('INVALID_REQUEST', `input ${position} has no name of 1 to 128 characters`);
  if (typeof datatype !== 'string' || !DATATYPES.has(datatype)) {
    return refuse('INVALID_DATATYPE', `input '${name}' has datatype ${shown(datatype)}, the protocol has ${OIP_DATATYPES.join(', ')}`, { tensor: name });
  }
  if (!Array.isArray(shape) || !shape.every((dimension) => Number.isSafeInteger(dimension) && dimension >= 0)) {
    return refuse('INVALID_SHAPE', `shape of input '${name}' must be an array of dimensions, got ${shown(shape)}`, { tensor: name });
  }
  const size = optionalFields(input.parameters, `parameters of input '${name}'`).binary_data_size;
  if (size === undefined) return fromJson(name, datatype as OipDatatype, shape, data);
  if (data !== undefined) return refuse('INVALID_REQUEST', `input '${name}' has data and binary_data_size: only one of them`, { tensor: name });
  return fromBinary(name, datatype as OipDatatype, shape, section.take(name, size));
}

function readOutputs(value: unknown, binaryByDefault: boolean, binary: Map<string, boolean>): string[] | undefined {
  if (!Array.isArray(value)) return refuse('INVALID_REQUEST', 'outputs must be an array');
  const names = value.map((item: unknown, position) => {
    const { name, parameters } = fields(item, `output ${position}`);
    if (!isName(name)) return refuse('INVALID_REQUEST', `output ${position} has no name of 1 to 128 characters`);
    binary.set(name, flag(optionalFields(parameters, `parameters of output '${name}'`), 'binary_data') ?? binaryByDefault);
    return name;
  });
  // the protocol: no requested output means all of them
  return names.length === 0 ? undefined : names;
}

function fields(value: unknown, what: string): Fields {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return refuse('INVALID_REQUEST', `${what} must be a JSON object`);
  return value as Fields;
}

function optionalFields(value: unknown, what: string): Fields {
  return value === undefined || value === null ? {} : fields(value, what);
}

function flag(parameters: Fields, name: string): boolean | undefined {
  const value = parameters[name];
  if (value === undefined || typeof value === 'boolean') return value;
  return refuse('INVALID_PARAMETER', `parameter '${name}' must be true or false, got ${shown(value)}`, { parameter: name });
}

/** The longest tensor name that a manifest may declare is 128 characters. */
const isName = (value: unknown): value is string => typeof value === 'string' && value.length >= 1 && value.length <= 128;

const shown = (value: unknown) => (JSON.stringify(value) ?? String(value)).slice(0, 64);
