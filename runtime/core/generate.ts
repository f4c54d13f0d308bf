/**
 * The generate extension: a model asked with a plain JSON object, and answered with one or with a stream of them.
 * Source: Triton Inference Server, "Generate Extension" (docs/protocol/extension_generate.md).
 */
import { type BrainError, refuse } from './errors';
import type { Answer } from './json-answer';
import { readData, refuseData } from './json-data';
import { jsonElements, quote } from './json-elements';
import { type ParameterValue, scannerOf } from './json-request';
import { CLOSE_ARRAY, CLOSE_OBJECT, JsonScanner, OPEN_ARRAY, OPEN_OBJECT } from './json-scanner';
import type { TokenUsage } from './telemetry';
import { elementCount, type Tensor } from './tensors';
import type { TensorSchema } from '../../src/contract';

export const EVENT_STREAM = 'text/event-stream; charset=utf-8';

export interface GenerateRequest {
  readonly id?: string;
  readonly inputs: Tensor[];
  readonly parameters: Readonly<Record<string, ParameterValue>>;
}

const QUOTE = 0x22;

/**
 * Reads the body of `generate` and `generate_stream`. A key that is an input of the signature becomes a tensor, at the top or in `parameters`;
 * `id` names the request; any other key is a parameter, as in Triton. Fails with INVALID_JSON, INVALID_REQUEST, INVALID_PARAMETER and with
 * what is wrong with a tensor.
 *
 * @param signature public inputs of the model
 */
export function readGenerateRequest(body: Buffer, signature: readonly TensorSchema[]): GenerateRequest {
  const scanner = scannerOf(body);
  const parameters: Record<string, ParameterValue> = {};
  const found = new Found(scanner, signature, parameters);
  let id: string | undefined;
  let idIsText = true;
  let parametersAreObject = true;
  scanner.expect(OPEN_OBJECT);
  for (let first = true; scanner.next(first, CLOSE_OBJECT); first = false) {
    const key = scanner.key();
    const next = scanner.peek();
    if (key === 'id') {
      idIsText = next === QUOTE;
      if (idIsText) id = scanner.string();
      else scanner.skip();
    } else if (key === 'parameters' && next === OPEN_OBJECT) {
      scanner.at++;
      for (let start = true; scanner.next(start, CLOSE_OBJECT); start = false) found.member(scanner.key());
    } else if (key === 'parameters') {
      parametersAreObject = next === NULL;
      scanner.skip();
    } else {
      found.member(key);
    }
  }
  if (scanner.at !== scanner.bytes.length) scanner.fail();
  if (!idIsText) refuse('INVALID_REQUEST', 'id must be a string');
  if (!parametersAreObject) refuse('INVALID_REQUEST', 'parameters of the request must be a JSON object');
  const { wrongParameter } = found;
  if (wrongParameter !== undefined) {
    refuse('INVALID_PARAMETER', `'${wrongParameter.slice(0, 128)}' is no input of the model, and a parameter must be a string, a number or a boolean`, { parameter: wrongParameter });
  }
  return { id, inputs: found.tensors(), parameters };
}

const NULL = 0x6e;

/** What the members of a request are: places of inputs, and parameters. */
class Found {
  wrongParameter: string | undefined;
  private readonly places: number[];

  constructor(
    private readonly scanner: JsonScanner,
    private readonly signature: readonly TensorSchema[],
    private readonly parameters: Record<string, ParameterValue>,
  ) {
    this.places = new Array<number>(signature.length).fill(-1);
  }

  /** Takes the value of a key; the last of two equal keys counts. */
  member(key: string): void {
    const { scanner, parameters } = this;
    const next = scanner.peek();
    const start = scanner.at;
    for (let i = 0; i < this.signature.length; i++) {
      if (this.signature[i].name === key) {
        scanner.skip();
        this.places[i] = start;
        return;
      }
    }
    scanner.skip();
    if (key === '__proto__' || next === OPEN_ARRAY || next === OPEN_OBJECT || next === NULL) this.wrongParameter ??= key;
    else parameters[key] = JSON.parse(scanner.bytes.toString('utf8', start, scanner.at)) as ParameterValue;
  }

  /** The inputs that are there, in the order of the signature. */
  tensors(): Tensor[] {
    const tensors: Tensor[] = [];
    for (let i = 0; i < this.signature.length; i++) if (this.places[i] >= 0) tensors.push(this.tensorAt(this.places[i], this.signature[i]));
    return tensors;
  }

  private tensorAt(start: number, { name, datatype, shape: declared }: TensorSchema): Tensor {
    const { scanner } = this;
    scanner.at = start;
    const scalar = scanner.peek() !== OPEN_ARRAY;
    scanner.skip();
    // a scalar is read as the array of it, so that there is one way to read an element
    const array = scalar ? scannerOver(scanner.bytes.subarray(start, scanner.at)) : scanner;
    const at = scalar ? 0 : start;
    array.at = at + 1;
    let count = 0;
    for (; array.next(count === 0, CLOSE_ARRAY); count++) array.skip();
    const shape = shapeOf(name, declared, count);
    array.at = at;
    const data = readData(array, datatype, [count]);
    return data === undefined ? refuseData(array, at, name, datatype, [count]) : { name, datatype, shape, data };
  }
}

function scannerOver(value: Buffer): JsonScanner {
  return new JsonScanner(Buffer.concat([Buffer.of(OPEN_ARRAY), value, Buffer.of(CLOSE_ARRAY, CLOSE_OBJECT)]));
}

/**
 * The shape of a number of elements: every dimension of any size is 1, so that there is one row, but for the last of them, which takes
 * what is left. `[-1, -1]` of three elements is `[1, 3]`.
 */
function shapeOf(name: string, declared: readonly number[], count: number): number[] {
  const last = declared.lastIndexOf(-1);
  const fixed = elementCount(declared.filter((dimension) => dimension !== -1));
  const shape = declared.map((dimension, axis) => dimension !== -1 ? dimension : axis === last ? count / fixed : 1);
  if (!shape.every(Number.isSafeInteger) || elementCount(shape) !== count) {
    refuse('INVALID_SHAPE', `input '${name}' has ${count} elements, which do not fit its shape [${declared.join(', ')}]`, { tensor: name });
  }
  return shape;
}

/** An answer, or one piece of a streamed answer: an output of one element is a scalar, any other a flat array. Fails as `jsonElements` does. */
export function writeGenerateAnswer(answer: Answer & { readonly usage?: TokenUsage }): string {
  const { id, usage, parameters } = answer;
  let text = `{"model_name":${quote(answer.model)},"model_version":${quote(answer.version)}`;
  if (id !== undefined) text += `,"id":${quote(id)}`;
  for (const tensor of answer.outputs) {
    const elements = jsonElements(tensor);
    text += `,${quote(tensor.name)}:${tensor.data.length === 1 ? elements : `[${elements}]`}`;
  }
  const written = JSON.stringify(parameters);
  if (written !== '{}') text += `,"parameters":${written}`;
  if (usage) text += `,"usage":{"prompt_tokens":${usage.promptTokens},"completion_tokens":${usage.completionTokens}}`;
  return `${text}}`;
}

/** One event of a stream. JSON text has no line break, which would end the event's data. Source: WHATWG HTML, "Server-sent events". */
export function eventOf(json: string): string {
  return `data: ${json}\n\n`;
}

/** The last event of a stream that fails after its first one: its status has gone out already. */
export function errorEvent(error: BrainError): string {
  return eventOf(JSON.stringify(error.toBody()));
}
