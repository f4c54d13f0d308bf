import { MAX_TEXT_FIELDS, RESERVED_INDEX, VectorIndexSchema } from '../contract';
import { Similarity } from './similarity';
import { VectorEngine } from './vector-engine';
import { VectorField } from './vector-field';
import { VectorQuantization } from './vector-quantization';
import { requireInteger, requireText } from '../private/declarations';
import { fail } from '../private/fail';
import { requireName, requireUnique } from '../private/names';

/** Shape of the graph (HNSW, Malkov and Yashunin, 2016): larger values find more of the true neighbours and cost memory and time. */
export interface HnswParameters {
  /** Edges per node, 2 to 512. @default 16 */
  readonly m?: number;
  /** Candidates kept while building: 2 to 4096 with FAISS, 2 to 3200 with Lucene. @default 100 */
  readonly efConstruction?: number;
  /** Candidates kept while searching, 2 to 4096. FAISS only: Lucene keeps as many as neighbours are asked for. @default 100 */
  readonly efSearch?: number;
}

/** How large an index becomes, and how it lies on the nodes. */
export interface VectorIndexSize {
  /** Vectors that it holds at most: what its memory is checked against. @default - unknown; its memory is not checked, and a warning says so */
  readonly vectors?: number;
  /** Primary shards, 1 to 1024. @default - one for each 30 GiB of vectors in single precision */
  readonly shards?: number;
  /** Copies of each shard beside its primary. With standby, copies and primary together are a multiple of 3. @default - 2 with standby, 1 with several data nodes, 0 with one */
  readonly replicas?: number;
}

/** Properties of {@link VectorIndex}. */
export interface VectorIndexProps {
  /** Number of elements of each vector, 1 to 16000. */
  readonly dimension: number;
  /** How near two vectors are. */
  readonly similarity: Similarity;
  /** Library that builds and searches the graph. @default VectorEngine.FAISS */
  readonly engine?: VectorEngine;
  /** Values stored beside each vector, at most 100, of which at most 8 are text. @default - none */
  readonly fields?: VectorField[];
  /** Shape of the graph. @default - m 16, efConstruction 100, efSearch 100 */
  readonly hnsw?: HnswParameters;
  /** How vectors are kept in memory. @default VectorQuantization.none() */
  readonly quantization?: VectorQuantization;
  /** How large it becomes. @default - unknown: one shard, and its memory is not checked */
  readonly size?: VectorIndexSize;
  /** What the vectors stand for; at most 1024 characters. @default - none */
  readonly description?: string;
}

/** Limit of a `knn_vector` field, of both engines (OpenSearch documentation, "k-NN vector"). */
const MAX_DIMENSION = 16_000;
const MAX_FIELDS = 100;

/** OpenSearch's own defaults (its documentation, "Methods and engines", HNSW parameters). */
const DEFAULT_HNSW = { m: 16, efConstruction: 100, efSearch: 100 };

/** Lucene's `MAXIMUM_MAX_CONN`; the contract holds FAISS to the same bound. */
const MAX_M = 512;
/** Lucene's `MAXIMUM_BEAM_WIDTH`, and the contract's own bound for FAISS. */
const MAX_EF_CONSTRUCTION = { lucene: 3200, faiss: 4096 };
const MAX_EF_SEARCH = 4096;

/** Limit of `index.number_of_shards` (OpenSearch documentation, "Index settings"). */
const MAX_SHARDS = 1024;
/** Of a shard that is searched: 10 to 30 GiB where latency counts (OpenSearch Service developer guide, "Choosing the number of shards"). */
const SHARD_BYTES = 30 * 2 ** 30;
/** More vectors than one brain's domain can hold by far; what is beyond is a mistake. */
const MAX_VECTORS = 1e12;

/** Vectors of one dimension and one similarity that are searched together. Its data lives in generations behind an alias of this name. */
export class VectorIndex {
  /**
   * Declares a vector index.
   *
   * @param name lower case letters, digits, `-` and `_`, at most 63 characters; not `thalos`
   */
  static define(name: string, props: VectorIndexProps): VectorIndex {
    return new VectorIndex(name, props);
  }

  /** Its name, unique in the brain. */
  readonly name: string;
  /** Length of its vectors. */
  readonly dimension: number;

  /** @internal */
  readonly _size: VectorIndexSize;

  private readonly schema: VectorIndexSchema;

  private constructor(name: string, props: VectorIndexProps) {
    this.name = requireName(undefined, 'a vector index name', name);
    if (name === RESERVED_INDEX) {
      fail(undefined, 'ReservedIndex', `a vector index must not be '${name}': the store keeps records of builds and restored copies under that name, choose another one`);
    }
    this.dimension = props.dimension;
    const what = `vector index '${name}'`;
    const declaredEngine = props.engine ?? VectorEngine.FAISS;
    const engine = declaredEngine._render();
    const { size = {} } = props;
    const fields = props.fields ?? [];

    requireInteger(undefined, 'OutOfRange', `the dimension of ${what}`, props.dimension, 1, MAX_DIMENSION, 'reduce the dimension of the embedding');
    if (fields.length > MAX_FIELDS) {
      fail(undefined, 'FieldCount', `${what} must have at most ${MAX_FIELDS} fields, got ${fields.length}: keep what is only looked up in a feature group`);
    }
    const texts = fields.filter((field) => field._toSchema().type === 'text').length;
    if (texts > MAX_TEXT_FIELDS) {
      fail(undefined, 'TextFieldCount', `${what} must have at most ${MAX_TEXT_FIELDS} text fields, got ${texts}: join what is searched together into one text`);
    }
    requireUnique(undefined, `a field of ${what}:`, fields.map((field) => field.name));
    if (engine === 'lucene' && props.hnsw?.efSearch !== undefined) {
      fail(undefined, 'LuceneEfSearch', `efSearch of ${what} must be left out with the lucene engine, got ${props.hnsw.efSearch}: `
        + 'Lucene keeps as many candidates as neighbours are asked for; leave it out, or use VectorEngine.FAISS');
    }
    const hnsw = { ...DEFAULT_HNSW, ...definedOf(props.hnsw) };
    requireInteger(undefined, 'OutOfRange', `m of ${what}`, hnsw.m, 2, MAX_M, 'the default is 16');
    requireInteger(undefined, 'OutOfRange', `efConstruction of ${what}`, hnsw.efConstruction, 2, MAX_EF_CONSTRUCTION[engine], `with the ${engine} engine; the default is 100`);
    requireInteger(undefined, 'OutOfRange', `efSearch of ${what}`, hnsw.efSearch, 2, MAX_EF_SEARCH, 'the default is 100');

    if (size.vectors !== undefined) requireInteger(undefined, 'OutOfRange', `the vectors of ${what}`, size.vectors, 1, MAX_VECTORS);
    if (size.replicas !== undefined) requireInteger(undefined, 'OutOfRange', `the replicas of ${what}`, size.replicas, 0, 100);
    const shards = size.shards ?? Math.max(1, Math.ceil(4 * props.dimension * (size.vectors ?? 0) / SHARD_BYTES));
    requireInteger(undefined, 'OutOfRange', `the shards of ${what}`, shards, 1, MAX_SHARDS);
    this._size = { ...size, shards };

    const quantization = (props.quantization ?? VectorQuantization.none())._render({ what, engine: declaredEngine, similarity: props.similarity });
    this.schema = {
      name,
      dimension: props.dimension,
      similarity: props.similarity._render(),
      engine,
      fields: fields.map((field) => field._toSchema()),
      hnsw,
      ...quantization === undefined ? {} : { quantization },
      ...props.description === undefined ? {} : { description: requireText(undefined, `the description of ${what}`, props.description) },
    };
  }

  /** @internal */
  _toSchema(): VectorIndexSchema {
    return this.schema;
  }
}

/** Without what was given as undefined, which would hide a default. */
function definedOf(parameters: HnswParameters = {}): HnswParameters {
  return Object.fromEntries(Object.entries(parameters).filter(([, value]) => value !== undefined));
}
