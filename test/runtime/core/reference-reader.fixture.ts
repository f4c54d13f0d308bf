/** The plain way to read an infer request, from what JSON.parse gives: what the scanner of the bytes is held against. */
import { isUtf8 } from 'node:buffer';
import { fromBinary } from '../../../runtime/core/binary-tensors';
import { refuse } from '../../../runtime/core/errors';
import { fromJson, type Tensor } from '../../../runtime/core/tensors';
import { OIP_DATATYPES, type OipDatatype, Parameter } from '../../../src/contract';

const DATATYPES: ReadonlySet<string> = new Set(OIP_DATATYPES);

export interface ReferenceRequest {
  readonly id?: string;
  readonly inputs: Tensor[];
  /** Names of the requested outputs; undefined: all. */
  readonly outputs?: string[];
  readonly explain: boolean;
  /** Whether an output is to be answered as binary. */
  readonly binary: (output: string) => boolean;
}

type Fields = Readonly<Record<string, unknown>>;

export function readByParsing(body: Buffer, jsonLength = body.length): ReferenceRequest {
  const json = body.subarray(0, jsonLength);
  if (!isUtf8(json)) refuse('INVALID_JSON', 'the body is not UTF-8');
  let parsed: unknown;
  try {
    parsed = JSON.parse(json.toString('utf8'));
  } catch {
    refuse('INVALID_JSON', 'the body is not JSON');
  }
  return read(parsed, body.subarray(jsonLength));
}

function read(body: unknown, binary: Uint8Array): ReferenceRequest {
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

/** Hands out the binary tensors in the order of the inputs. */
class BinarySection {
  private at = 0;

  constructor(private readonly bytes: Uint8Array) {}

  take(name: string, size: unknown): Uint8Array {
    if (!Number.isSafeInteger(size) || (size as number) < 0) refuse('INVALID_REQUEST', `binary_data_size of tensor '${name}' must be a number of bytes`, { tensor: name });
    const end = this.at + (size as number);
    if (end > this.bytes.length) {
      refuse('INVALID_REQUEST', `tensor '${name}' ends at byte ${end} of the binary section, which has ${this.bytes.length}`, { tensor: name });
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
