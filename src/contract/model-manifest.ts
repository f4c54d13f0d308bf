import { OIP_DATATYPES, OipDatatype } from './datatypes';
import { array, DIGEST_PATTERN, enumeration, integer, JsonSchema, NAME_PATTERN, object, string, TENSOR_NAME_PATTERN, VERSION_PATTERN } from './json-schema';

/** Version of `brain-model.json`. */
export const MODEL_MANIFEST_VERSION = '1';
export const MODEL_PLATFORMS = ['onnx', 'tensorrt', 'pytorch', 'python'] as const;
export type ModelPlatform = typeof MODEL_PLATFORMS[number];

/** A tensor of the model; -1 stands for a dimension of any size, the batch first. */
export interface TensorSchema {
  readonly name: string;
  readonly datatype: OipDatatype;
  readonly shape: readonly number[];
}

/** A public input that names entities, one per row: shape [-1]. */
export interface EntityInput {
  readonly input: string;
  readonly datatype: 'BYTES' | 'INT64';
  readonly description?: string;
}

/** A tensor built from online features: shape [-1, number of features], columns in the order given here. */
export interface FeatureTensor {
  readonly tensor: string;
  /** Entity inputs, in the order of the groups' entity keys. */
  readonly keys: readonly string[];
  readonly groups: readonly { readonly group: string; readonly features: readonly string[] }[];
  /** `defaults`: while the feature store is away, every feature counts as absent and the answer says `degraded`. @default fail */
  readonly onUnavailable?: 'fail' | 'defaults';
  /** A flag of the rollout document; where it is off, nothing is read and every feature counts as absent. */
  readonly flag?: string;
}

/** A condition on the neighbours: the field has one of `values`, or the value that the public input `input` gives for the row. */
export interface VectorCondition {
  readonly field: string;
  readonly values?: readonly (string | number | boolean)[];
  readonly input?: string;
}

/** A tensor built from nearest neighbours: shape [-1, k, fields], nearest first. */
export interface VectorTensor {
  /** The public input that carries the query vector: FP32, shape [-1, dimension of the index]. */
  readonly input: string;
  readonly index: string;
  readonly k: number;
  readonly tensor: string;
  /**
   * The public input that carries the query's text: BYTES, shape [-1]. Neighbours are then those that vector and words find together, and `_score` is
   * that of their fusion. The index has a text field. @default - vectors alone
   */
  readonly text?: string;
  /** Numeric fields of the index, and `_score` for the similarity score. */
  readonly fields: readonly string[];
  /** Every condition must hold. */
  readonly filter?: readonly VectorCondition[];
  /** What a missing neighbour is filled with, where the index holds fewer than k; without it such a request fails. */
  readonly fill?: number;
  /** `fill`: while the vector store is away, every neighbour is missing and the answer says `degraded`. @default fail */
  readonly onUnavailable?: 'fail' | 'fill';
  /** A flag of the rollout document; where it is off, nothing is searched and every neighbour is missing. */
  readonly flag?: string;
}

/** A model that answers with a sequence: token by token, or in pieces. */
export interface Streaming {
  /** The output that holds the text of one piece (BYTES): counted as one token where no output counts them. */
  readonly text?: string;
  /** Integer outputs that count tokens: of the prompt, and of what was generated so far. */
  readonly promptTokens?: string;
  readonly completionTokens?: string;
}

/** Requests joined into one call of the runtime by the service itself, for a runtime that does not. */
export interface Batching {
  /** Rows of one call. */
  readonly maxSize: number;
  /** How long the first request waits for others, milliseconds. */
  readonly maxDelayMs: number;
}

export interface Enrichment {
  readonly entities?: readonly EntityInput[];
  readonly features?: readonly FeatureTensor[];
  readonly vectors?: readonly VectorTensor[];
}

export interface ModelFile {
  /** Path relative to the manifest, with `/`. */
  readonly path: string;
  readonly digest: string;
  readonly bytes: number;
}

/** `brain-model.json`: what is released together with a model's artifact. */
export interface ModelManifest {
  readonly schemaVersion: typeof MODEL_MANIFEST_VERSION;
  readonly name: string;
  readonly version: string;
  readonly platform: ModelPlatform;
  readonly description?: string;
  /** The first file is the model; the others belong to it. */
  readonly files: readonly ModelFile[];
  readonly inputs: readonly TensorSchema[];
  readonly outputs: readonly TensorSchema[];
  readonly enrichment?: Enrichment;
  /** Present: the model is decoupled and asked through `generate`, `generate_stream` and ModelStreamInfer. */
  readonly streaming?: Streaming;
  readonly batching?: Batching;
  /** Requests run before the version is ready: public inputs as an OIP v2 JSON body's `inputs`, or the model's own inputs. */
  readonly warmUp?: readonly { readonly inputs: readonly (TensorSchema & { readonly data: readonly (number | string | boolean)[] })[] }[];
  readonly slo?: { readonly latencyP95Ms?: number; readonly availability?: number };
  readonly evaluation?: Readonly<Record<string, number>>;
  readonly baseline?: Readonly<Record<string, unknown>>;
  readonly lineage?: { readonly dataSnapshot?: string; readonly commit?: string; readonly pipelineRun?: string; readonly trainingSet?: string };
}

const TENSOR = {
  name: string(TENSOR_NAME_PATTERN),
  datatype: enumeration(OIP_DATATYPES),
  shape: array({ type: 'integer', minimum: -1 }, { minItems: 1, maxItems: 8 }),
};

export const MODEL_MANIFEST_SCHEMA: JsonSchema = {
  $schema: 'http://json-schema.org/draft-07/schema#',
  title: 'thalos-brain model manifest (brain-model.json)',
  ...object({
    schemaVersion: enumeration([MODEL_MANIFEST_VERSION]),
    name: string(NAME_PATTERN),
    version: string(VERSION_PATTERN),
    platform: enumeration(MODEL_PLATFORMS),
    description: string(),
    files: array(object({
      // no absolute path, no `..`
      path: { type: 'string', pattern: '^(?!.*(^|/)\\.\\.?(/|$))[A-Za-z0-9_.-][A-Za-z0-9_./-]*$', maxLength: 255 },
      digest: string(DIGEST_PATTERN),
      bytes: integer(1),
    }), { minItems: 1 }),
    inputs: array(object(TENSOR), { minItems: 1 }),
    outputs: array(object(TENSOR), { minItems: 1 }),
    enrichment: object({
      entities: array(object({ input: string(TENSOR_NAME_PATTERN), datatype: enumeration(['BYTES', 'INT64']), description: string() }, ['input', 'datatype'])),
      features: array(object({
        tensor: string(TENSOR_NAME_PATTERN),
        keys: array(string(TENSOR_NAME_PATTERN), { minItems: 1, maxItems: 4 }),
        groups: array(object({ group: string(NAME_PATTERN), features: array(string(NAME_PATTERN), { minItems: 1 }) }), { minItems: 1 }),
        onUnavailable: enumeration(['fail', 'defaults']),
        flag: string(NAME_PATTERN),
      }, ['tensor', 'keys', 'groups'])),
      vectors: array(object({
        input: string(TENSOR_NAME_PATTERN),
        index: string(NAME_PATTERN),
        text: string(TENSOR_NAME_PATTERN),
        k: integer(1, 1000),
        tensor: string(TENSOR_NAME_PATTERN),
        fields: array({ type: 'string', pattern: '^(_score|[a-z][a-z0-9_-]{0,62})$' }, { minItems: 1, uniqueItems: true }),
        filter: array(object({
          field: string(NAME_PATTERN),
          values: array({ type: ['string', 'number', 'boolean'] }, { minItems: 1, maxItems: 100 }),
          input: string(TENSOR_NAME_PATTERN),
        }, ['field']), { minItems: 1, maxItems: 8 }),
        fill: { type: 'number' },
        onUnavailable: enumeration(['fail', 'fill']),
        flag: string(NAME_PATTERN),
      }, ['input', 'index', 'k', 'tensor', 'fields'])),
    }, []),
    streaming: object({
      text: string(TENSOR_NAME_PATTERN), promptTokens: string(TENSOR_NAME_PATTERN), completionTokens: string(TENSOR_NAME_PATTERN),
    }, []),
    batching: object({ maxSize: integer(2, 4096), maxDelayMs: { type: 'number', minimum: 0, maximum: 1000 } }),
    warmUp: array(object({ inputs: array(object({ ...TENSOR, data: array({ type: ['number', 'string', 'boolean'] }) }), { minItems: 1 }) })),
    slo: object({ latencyP95Ms: { type: 'number', minimum: 0 }, availability: { type: 'number', minimum: 0, maximum: 1 } }, []),
    evaluation: { type: 'object', additionalProperties: { type: 'number' } },
    baseline: { type: 'object' },
    lineage: object({ dataSnapshot: string(), commit: string(), pipelineRun: string(), trainingSet: string() }, []),
  }, ['schemaVersion', 'name', 'version', 'platform', 'files', 'inputs', 'outputs']),
};
