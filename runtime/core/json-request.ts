/**
 * The body of an infer request, from its bytes: JSON, and the binary tensors behind it.
 * Source: KServe, "Open Inference Protocol (V2 Inference Protocol)" and "Binary Tensor Data Extension".
 *
 * The JSON is read once, from front to back, and its numbers go straight into their tensors. What JSON.parse would make of it decides: keys
 * in any order, the last of two equal ones counts, unknown ones are checked and passed over. A body that is not JSON fails with INVALID_JSON
 * whatever else is wrong with it.
 */
import { isUtf8 } from 'node:buffer';
import { fromBinary } from './binary-tensors';
import { BrainError, refuse } from './errors';
import { readData, refuseData } from './json-data';
import { CLOSE_ARRAY, CLOSE_OBJECT, JsonScanner, OPEN_ARRAY, OPEN_OBJECT } from './json-scanner';
import { HEADER_LENGTH } from './oip';
import type { Tensor, TensorData } from './tensors';
import { OIP_DATATYPES, type OipDatatype, Parameter } from '../../src/contract';

/** Dimensions of a tensor at most: a manifest declares up to 8, NumPy 32. */
const MAX_RANK = 32;

export type ParameterValue = string | number | boolean;

export interface InferRequest {
  readonly id?: string;
  readonly inputs: Tensor[];
  /** Names of the requested outputs; undefined: all. */
  readonly outputs?: string[];
  /** Those of the request whose value is a string, a number or a boolean: the protocol has no others. */
  readonly parameters: Readonly<Record<string, ParameterValue>>;
  /** Whether an output is to be answered as binary where it does not say so itself. */
  readonly binaryByDefault: boolean;
  /** What each of `outputs` says itself; undefined: none says anything. */
  readonly binaryOutputs?: readonly (boolean | undefined)[];
}

/** Whether an output is to be answered as binary. */
export function wantsBinary({ outputs, binaryByDefault, binaryOutputs }: Pick<InferRequest, 'outputs' | 'binaryByDefault' | 'binaryOutputs'>, output: string): boolean {
  if (binaryOutputs === undefined) return binaryByDefault;
  return binaryOutputs[outputs!.lastIndexOf(output)] ?? binaryByDefault;
}

/** A value of a JSON parameter; null stands for null, an array or an object. */
type Parameters = Record<string, ParameterValue | null>;

const DATATYPES: ReadonlySet<string> = new Set(OIP_DATATYPES);
const NO_BINARY = Buffer.alloc(0);
const NO_PARAMETERS: Parameters = Object.freeze({});

/** @param jsonLength bytes of the JSON; binary tensors follow it */
export function readInferRequest(body: Buffer, jsonLength = body.length): InferRequest {
  const whole = jsonLength === body.length;
  return new RequestReader(scannerOf(whole ? body : body.subarray(0, jsonLength)), whole ? NO_BINARY : body.subarray(jsonLength)).read();
}

/** A scanner of a JSON object. Fails with INVALID_JSON, or with INVALID_REQUEST where the text is JSON of another kind. */
export function scannerOf(json: Buffer): JsonScanner {
  // an entity id with replacement characters in it would be another entity
  if (!isUtf8(json)) refuse('INVALID_JSON', 'the body is not UTF-8');
  let end = json.length;
  while (end > 0 && (json[end - 1] === 0x20 || json[end - 1] === 0x0a || json[end - 1] === 0x0d || json[end - 1] === 0x09)) end--;
  const scanner = new JsonScanner(end === json.length ? json : json.subarray(0, end));
  if (end > 0 && json[end - 1] === CLOSE_OBJECT && scanner.peek() === OPEN_OBJECT) return scanner;
  // no object: with a last byte at which every loop ends, it is read to learn whether it is JSON at all
  const guarded = new JsonScanner(Buffer.concat([json.subarray(0, end), Buffer.of(CLOSE_OBJECT)]));
  guarded.skip();
  if (guarded.at !== end) guarded.fail();
  return refuse('INVALID_REQUEST', 'the request must be a JSON object');
}

/** What was read of one input. Only what is there at the end of its object counts. */
class InputFields {
  name: string | undefined;
  datatype: string | undefined;
  shape: readonly number[] | undefined;
  parameters: Parameters = NO_PARAMETERS;
  /** Why the parameters are none. */
  parametersError: BrainError | undefined;
  /** Where `data` begins; -1: there is none. */
  dataAt = -1;
  data: TensorData | undefined;
  /** What `data` was read as. */
  dataType: OipDatatype | undefined;
  dataShape: readonly number[] | undefined;
  /** How datatype and shape were written, for the error. */
  datatypeAt = -1;
  shapeAt = -1;
}

class RequestReader {
  private id: string | undefined;
  private inputs: Tensor[] = [];
  private outputs: string[] | undefined;
  private binaryOutputs: (boolean | undefined)[] | undefined;
  private parameters: Parameters = NO_PARAMETERS;
  /** Place in the binary section. */
  private taken = 0;

  // the first thing wrong with each part, told in this order once the whole body is known to be JSON
  private idError: BrainError | undefined;
  private parametersError: BrainError | undefined;
  private inputsError: BrainError | undefined;
  private outputsError: BrainError | undefined;

  constructor(private readonly scanner: JsonScanner, private readonly binary: Buffer) {}

  read(): InferRequest {
    const { scanner } = this;
    scanner.expect(OPEN_OBJECT);
    for (let first = true; scanner.next(first, CLOSE_OBJECT); first = false) this.member(scanner.key());
    if (scanner.at !== scanner.bytes.length) scanner.fail();

    const error = this.idError ?? this.parametersError ?? this.inputsError;
    if (error) throw error;
    if (this.inputs.length === 0) refuse('INVALID_REQUEST', 'inputs must be an array of one tensor at least');
    if (this.taken < this.binary.length) {
      refuse('INVALID_REQUEST', `the binary section has ${this.binary.length} bytes, its tensors use ${this.taken}`);
    }
    const binaryByDefault = flag(this.parameters, 'binary_data_output') ?? false;
    if (this.outputsError) throw this.outputsError;
    flag(this.parameters, Parameter.EXPLAIN);
    const { id, inputs, outputs, binaryOutputs } = this;
    return { id, inputs, outputs, parameters: scalars(this.parameters), binaryByDefault, binaryOutputs };
  }

  private member(key: string): void {
    const { scanner } = this;
    switch (key) {
      case 'inputs':
        return this.readInputs();
      case 'outputs':
        return this.readOutputs();
      case 'id':
        this.idError = undefined;
        if (scanner.peek() === QUOTE) {
          this.id = scanner.string();
        } else {
          scanner.skip();
          this.idError = new BrainError('INVALID_REQUEST', 'id must be a string');
        }
        return;
      case 'parameters':
        this.parametersError = undefined;
        this.parameters = NO_PARAMETERS;
        if (!this.atObject()) this.parametersError = notAnObject('parameters of the request');
        else this.parameters = this.readParameters();
        return;
      default:
        scanner.skip();
    }
  }

  private readInputs(): void {
    const { scanner } = this;
    this.inputs = [];
    this.inputsError = undefined;
    this.taken = 0;
    if (scanner.peek() !== OPEN_ARRAY) return scanner.skip();
    scanner.at++;
    for (let position = 0; scanner.next(position === 0, CLOSE_ARRAY); position++) {
      // after the first error the rest has only to be JSON
      if (this.inputsError) scanner.skip();
      else this.readInput(position);
    }
  }

  private readInput(position: number): void {
    const { scanner } = this;
    if (scanner.peek() !== OPEN_OBJECT) {
      scanner.skip();
      this.inputsError = notAnObject(`input ${position}`);
      return;
    }
    scanner.at++;
    const fields = new InputFields();
    for (let first = true; scanner.next(first, CLOSE_OBJECT); first = false) this.inputMember(scanner.key(), fields);
    const end = scanner.at;
    try {
      this.inputs.push(this.tensorOf(fields, position));
    } catch (error) {
      this.inputsError = error as BrainError;
    }
    scanner.at = end;
  }

  private inputMember(key: string, fields: InputFields): void {
    const { scanner } = this;
    switch (key) {
      case 'name':
        fields.name = this.optionalString();
        return;
      case 'datatype':
        scanner.peek();
        fields.datatypeAt = scanner.at;
        fields.datatype = this.optionalString();
        return;
      case 'shape':
        scanner.peek();
        fields.shapeAt = scanner.at;
        fields.shape = this.readShape();
        return;
      case 'parameters':
        fields.parametersError = undefined;
        fields.parameters = NO_PARAMETERS;
        if (!this.atObject()) fields.parametersError = notAnObject(`parameters of input '${fields.name ?? ''}'`);
        else fields.parameters = this.readParameters();
        return;
      case 'data':
        this.readInputData(fields);
        return;
      default:
        scanner.skip();
    }
  }

  /** Reads `data` as what is known of the tensor by now; where that is not enough, or does not fit, `tensorOf` comes back to it. */
  private readInputData(fields: InputFields): void {
    const { scanner } = this;
    scanner.peek();
    const start = scanner.at;
    fields.dataAt = start;
    fields.data = undefined;
    const { datatype, shape } = fields;
    if (datatype !== undefined && shape !== undefined && DATATYPES.has(datatype)) {
      fields.data = readData(scanner, datatype as OipDatatype, shape);
      fields.dataType = datatype as OipDatatype;
      fields.dataShape = shape;
    }
    if (fields.data !== undefined) return;
    scanner.at = start;
    scanner.skip();
  }

  private tensorOf(fields: InputFields, position: number): Tensor {
    const { name, datatype, shape, dataAt } = fields;
    if (name === undefined || name.length === 0 || name.length > MAX_NAME) return refuse('INVALID_REQUEST', `input ${position} has no name of 1 to ${MAX_NAME} characters`);
    if (datatype === undefined || !DATATYPES.has(datatype)) {
      return refuse('INVALID_DATATYPE', `input '${name}' has datatype ${this.shown(fields.datatypeAt)}, the protocol has ${OIP_DATATYPES.join(', ')}`, { tensor: name });
    }
    if (shape === undefined) {
      return refuse('INVALID_SHAPE', `shape of input '${name}' must be an array of at most ${MAX_RANK} dimensions, got ${this.shown(fields.shapeAt)}`, { tensor: name });
    }
    if (fields.parametersError) throw fields.parametersError;
    const size = fields.parameters.binary_data_size;
    if (size !== undefined) {
      if (dataAt >= 0) return refuse('INVALID_REQUEST', `input '${name}' has data and binary_data_size: only one of them`, { tensor: name });
      return fromBinary(name, datatype as OipDatatype, shape, this.takeBinary(name, size));
    }
    if (dataAt < 0) return refuse('INVALID_REQUEST', `data of tensor '${name}' must be an array`, { tensor: name });
    const { data: early, dataType, dataShape } = fields;
    if (early !== undefined && dataType === datatype && dataShape === shape) return { name, datatype: dataType, shape, data: early };
    this.scanner.at = dataAt;
    const data = readData(this.scanner, datatype as OipDatatype, shape);
    if (data === undefined) return refuseData(this.scanner, dataAt, name, datatype as OipDatatype, shape);
    return { name, datatype: datatype as OipDatatype, shape, data };
  }

  private takeBinary(name: string, size: ParameterValue | null): Uint8Array {
    if (!Number.isSafeInteger(size) || (size as number) < 0) {
      return refuse('INVALID_REQUEST', `binary_data_size of tensor '${name}' must be a number of bytes`, { tensor: name });
    }
    const end = this.taken + (size as number);
    if (end > this.binary.length) {
      const text = `tensor '${name}' ends at byte ${end} of the binary section, which has ${this.binary.length}: is the ${HEADER_LENGTH} header right?`;
      return refuse('INVALID_REQUEST', text, { tensor: name });
    }
    const section = this.binary.subarray(this.taken, end);
    this.taken = end;
    return section;
  }

  private readOutputs(): void {
    const { scanner } = this;
    this.outputs = undefined;
    this.binaryOutputs = undefined;
    this.outputsError = undefined;
    if (scanner.peek() !== OPEN_ARRAY) {
      scanner.skip();
      this.outputsError = new BrainError('INVALID_REQUEST', 'outputs must be an array');
      return;
    }
    scanner.at++;
    const names: string[] = [];
    for (let position = 0; scanner.next(position === 0, CLOSE_ARRAY); position++) {
      if (this.outputsError) scanner.skip();
      else this.readOutput(names, position);
    }
    // the protocol: no requested output means all of them
    this.outputs = names.length === 0 ? undefined : names;
  }

  private readOutput(names: string[], position: number): void {
    const { scanner } = this;
    if (scanner.peek() !== OPEN_OBJECT) {
      scanner.skip();
      this.outputsError = notAnObject(`output ${position}`);
      return;
    }
    scanner.at++;
    let name: string | undefined;
    let parameters = NO_PARAMETERS;
    let wrong = false;
    for (let first = true; scanner.next(first, CLOSE_OBJECT); first = false) {
      const key = scanner.key();
      if (key === 'name') {
        name = this.optionalString();
      } else if (key === 'parameters') {
        wrong = !this.atObject();
        parameters = wrong ? NO_PARAMETERS : this.readParameters();
      } else {
        scanner.skip();
      }
    }
    try {
      if (name === undefined || name.length === 0 || name.length > MAX_NAME) return refuse('INVALID_REQUEST', `output ${position} has no name of 1 to ${MAX_NAME} characters`);
      if (wrong) throw notAnObject(`parameters of output '${name}'`);
      const binary = flag(parameters, 'binary_data');
      names.push(name);
      if (binary !== undefined) (this.binaryOutputs ??= [])[position] = binary;
    } catch (error) {
      this.outputsError = error as BrainError;
    }
  }

  /** Whether an object comes, or null, which stands for an empty one; anything else is passed. */
  private atObject(): boolean {
    const byte = this.scanner.peek();
    if (byte === OPEN_OBJECT || byte === 0x6e) return true;
    this.scanner.skip();
    return false;
  }

  private readParameters(): Parameters {
    const { scanner } = this;
    if (scanner.peek() !== OPEN_OBJECT) {
      scanner.skip();
      return NO_PARAMETERS;
    }
    scanner.at++;
    let parameters: Parameters | undefined;
    for (let first = true; scanner.next(first, CLOSE_OBJECT); first = false) {
      const key = scanner.key();
      // no name of ours, and no property like any other
      if (key === '__proto__') scanner.skip();
      else (parameters ??= {})[key] = this.parameter();
    }
    return parameters ?? NO_PARAMETERS;
  }

  private parameter(): ParameterValue | null {
    const { scanner } = this;
    const byte = scanner.peek();
    switch (byte) {
      case QUOTE:
        return scanner.string();
      case 0x74:
        scanner.literal('true');
        return true;
      case 0x66:
        scanner.literal('false');
        return false;
      case 0x6e:
      case OPEN_ARRAY:
      case OPEN_OBJECT:
        scanner.skip();
        return null;
      default:
        return scanner.number();
    }
  }

  private optionalString(): string | undefined {
    if (this.scanner.peek() === QUOTE) return this.scanner.shortString();
    this.scanner.skip();
    return undefined;
  }

  /** Undefined where it is no shape. */
  private readShape(): readonly number[] | undefined {
    const { scanner } = this;
    if (scanner.peek() !== OPEN_ARRAY) {
      scanner.skip();
      return undefined;
    }
    scanner.at++;
    const shape: number[] = [];
    let valid = true;
    for (let first = true; scanner.next(first, CLOSE_ARRAY); first = false) {
      const byte = scanner.peek();
      const numeric = byte === 0x2d || (byte >= 0x30 && byte <= 0x39);
      if (!valid || !numeric) {
        scanner.skip();
        valid = false;
        continue;
      }
      const dimension = scanner.number();
      valid = Number.isSafeInteger(dimension) && dimension >= 0 && shape.length < MAX_RANK;
      // also -0 becomes 0
      if (valid) shape.push(dimension + 0);
    }
    return valid ? shape : undefined;
  }

  private shown(at: number): string {
    return at < 0 ? 'none' : this.scanner.textAt(at);
  }
}

const QUOTE = 0x22;
/** The longest tensor name that a manifest may declare. */
const MAX_NAME = 128;

function notAnObject(what: string): BrainError {
  return new BrainError('INVALID_REQUEST', `${what} must be a JSON object`);
}

function flag(parameters: Parameters, name: string): boolean | undefined {
  const value = Object.hasOwn(parameters, name) ? parameters[name] : undefined;
  if (value === undefined || typeof value === 'boolean') return value;
  return refuse('INVALID_PARAMETER', `parameter '${name}' must be true or false, got ${JSON.stringify(value)?.slice(0, 64)}`, { parameter: name });
}

function scalars(parameters: Parameters): Record<string, ParameterValue> {
  for (const name in parameters) if (parameters[name] === null) delete parameters[name];
  return parameters as Record<string, ParameterValue>;
}
