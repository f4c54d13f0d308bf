/** Bodies of the REST API as JSON Schemas (2020-12, the dialect of OpenAPI 3.1). */
import { OIP_DATATYPES, Parameter } from '../../src/contract';
import { ERRORS } from '../core/errors';

export type Schema = Readonly<Record<string, unknown>>;

export const ref = (name: string): Schema => ({ $ref: `#/components/schemas/${name}` });

const text = (description?: string): Schema => ({ type: 'string', ...(description === undefined ? {} : { description }) });
const record = (properties: Record<string, Schema>, required: readonly string[], rest: Schema = {}): Schema => ({ type: 'object', properties, required, ...rest });
const list = (items: Schema, rest: Schema = {}): Schema => ({ type: 'array', items, ...rest });

const SHAPE = list({ type: 'integer', minimum: 0 }, { maxItems: 32 });
const TENSOR_NAME: Schema = { type: 'string', minLength: 1, maxLength: 128 };
const BINARY_SIZE: Schema = { type: 'integer', minimum: 0, description: 'Bytes of the tensor behind the JSON, in the order of the tensors.' };
const ELEMENT: Schema = { type: ['number', 'string', 'boolean'] };

const ANSWER_PARAMETERS = record({
  [Parameter.MODEL_VERSION]: text('The version that answered.'),
  [Parameter.FEATURE_AS_OF]: { type: 'string', format: 'date-time', description: 'Time of the oldest feature that went into the answer.' },
  [Parameter.INDEX_GENERATION]: text('`index@generation`, comma separated.'),
  [Parameter.DEFAULTED]: text('Features that were filled with their declared default, comma separated.'),
  [Parameter.DEGRADED]: text('What was away and stood in for by its declared fallback, comma separated.'),
  [Parameter.ENRICHMENT]: text('JSON text of the features and neighbours that went into the answer, where the request asks for it.'),
}, [], { additionalProperties: { type: 'string' } });

export const SCHEMAS: Readonly<Record<string, Schema>> = {
  Datatype: { type: 'string', enum: OIP_DATATYPES },
  Parameters: { type: ['object', 'null'], description: 'Values are strings, numbers or booleans; any other is ignored.' },
  Live: record({ live: { type: 'boolean' } }, ['live']),
  Ready: record({ ready: { const: true } }, ['ready']),
  ModelReady: record({ name: text(), ready: { const: true } }, ['name', 'ready']),
  ServerMetadata: record({ name: text(), version: text(), extensions: list(text()) }, ['name', 'version', 'extensions']),
  TensorMetadata: record({
    name: TENSOR_NAME,
    datatype: ref('Datatype'),
    shape: list({ type: 'integer', minimum: -1 }, { description: '-1 stands for a dimension of any size, the batch first.' }),
  }, ['name', 'datatype', 'shape']),
  ModelMetadata: record({
    name: text(), versions: list(text()), platform: text(), inputs: list(ref('TensorMetadata')), outputs: list(ref('TensorMetadata')),
  }, ['name', 'versions', 'platform', 'inputs', 'outputs']),
  TensorData: list({ anyOf: [ELEMENT, ref('TensorData')] }, {
    description: 'Row-major, flat or nested as the shape says. INT64 and UINT64 may be decimal strings, and are in an answer beyond 2^53. FP16 and BF16 have no JSON form.',
  }),
  InferInput: record({
    name: TENSOR_NAME,
    datatype: ref('Datatype'),
    shape: SHAPE,
    data: ref('TensorData'),
    parameters: record({ binary_data_size: BINARY_SIZE }, [], { type: ['object', 'null'] }),
  }, ['name', 'datatype', 'shape'], { description: 'With `data`, or with `parameters.binary_data_size` and its bytes behind the JSON.' }),
  RequestedOutput: record({
    name: TENSOR_NAME,
    parameters: record({ binary_data: { type: 'boolean', description: 'Whether this output is answered as binary.' } }, [], { type: ['object', 'null'] }),
  }, ['name']),
  InferRequest: record({
    id: text(),
    parameters: {
      ...ref('Parameters'),
      properties: {
        binary_data_output: { type: 'boolean', description: 'Whether outputs are answered as binary that do not say so themselves.' },
        [Parameter.EXPLAIN]: { type: 'boolean', description: `Whether the answer shows its features and neighbours in \`${Parameter.ENRICHMENT}\`.` },
      },
    },
    inputs: list(ref('InferInput'), { minItems: 1 }),
    outputs: list(ref('RequestedOutput'), { description: 'In the order in which they are answered; absent or empty: all.' }),
  }, ['inputs']),
  InferOutput: record({
    name: TENSOR_NAME, datatype: ref('Datatype'), shape: SHAPE, data: list(ELEMENT), parameters: record({ binary_data_size: BINARY_SIZE }, []),
  }, ['name', 'datatype', 'shape']),
  InferAnswer: record({
    model_name: text(), model_version: text(), id: text('The one of the request.'), parameters: ANSWER_PARAMETERS, outputs: list(ref('InferOutput')),
  }, ['model_name', 'model_version', 'outputs']),
  GenerateRequest: record({ id: text(), parameters: ref('Parameters') }, [], {
    additionalProperties: true,
    description: "Every other key is an input of the model's signature, with a scalar or an array of scalars, or a parameter with a scalar.",
  }),
  GenerateAnswer: record({
    model_name: text(),
    model_version: text(),
    id: text(),
    parameters: ANSWER_PARAMETERS,
    usage: record({ prompt_tokens: { type: 'integer', minimum: 0 }, completion_tokens: { type: 'integer', minimum: 0 } }, ['prompt_tokens', 'completion_tokens']),
  }, ['model_name', 'model_version'], {
    additionalProperties: true,
    description: 'Every other key is an output of the model: a scalar where it has one element, else an array.',
  }),
  Error: record({
    error: text('The code, a colon and a sentence.'),
    code: { type: 'string', enum: Object.keys(ERRORS) },
  }, ['error', 'code'], { additionalProperties: true, description: 'Switch on `code`, never on the sentence. Some codes add fields that name the place.' }),
};
