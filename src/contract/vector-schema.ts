import { SIMILARITIES, Similarity, VECTOR_ENGINES, VectorEngine } from './datatypes';
import { array, enumeration, integer, JsonSchema, NAME_PATTERN, object, string } from './json-schema';

export const VECTOR_FIELD_TYPES = ['float', 'long', 'keyword', 'boolean', 'text'] as const;

/** Most text fields of an index: each word of a query is a clause for each of them, and a query has at most 1024 (OpenSearch, `max_clause_count`). */
export const MAX_TEXT_FIELDS = 8;

/** A field stored beside each vector: numeric fields can become model inputs, keyword fields can filter, text fields are searched by words and do neither. */
export interface VectorFieldSchema {
  readonly name: string;
  readonly type: typeof VECTOR_FIELD_TYPES[number];
}

/** How many times smaller than single precision a vector is in memory while its index is searched from disk (OpenSearch documentation, "Memory-optimized vectors"). */
export const DISK_COMPRESSIONS = [1, 2, 4, 8, 16, 32] as const;
/** Bits that stand for one component of a vector in a binary graph (OpenSearch documentation, "Binary quantization"). */
export const BINARY_BITS = [1, 2, 4] as const;

/** How vectors are kept in memory, where that is not in single precision. */
export type VectorQuantizationSchema =
  | { readonly kind: 'fp16' }
  /** The vectors are integers from -128 to 127 already. */
  | { readonly kind: 'byte' }
  | { readonly kind: 'binary'; readonly bits: typeof BINARY_BITS[number] }
  | { readonly kind: 'disk'; readonly compression: typeof DISK_COMPRESSIONS[number] };

export interface VectorIndexSchema {
  readonly name: string;
  readonly dimension: number;
  readonly similarity: Similarity;
  readonly engine: VectorEngine;
  readonly fields: readonly VectorFieldSchema[];
  /** HNSW: edges per node, and candidate list sizes while building and while searching. */
  readonly hnsw: { readonly m: number; readonly efConstruction: number; readonly efSearch: number };
  /** @default - single precision */
  readonly quantization?: VectorQuantizationSchema;
  readonly description?: string;
}

/** How an index lies on the nodes of its store: which the store decides, not the declaration. */
export interface VectorIndexLayout {
  /** Primary shards of a generation. */
  readonly shards: number;
  /** Copies of each shard beside its primary, while it is searched. */
  readonly replicas: number;
  /**
   * The same while a generation is built: 0 saves building each graph again for every copy. A domain with standby refuses an index whose copies
   * are no multiple of its zones even for a moment, there it is {@link replicas}.
   */
  readonly buildReplicas: number;
}

/** Name that no index may have: its generations would be taken for those of the library's own indexes, and these for its. */
export const RESERVED_INDEX = 'thalos';

export const VECTOR_INDEX_SCHEMA: JsonSchema = object({
  name: string(`^(?!${RESERVED_INDEX}$)${NAME_PATTERN.slice(1)}`),
  // 16,000 is the limit of a knn_vector field (OpenSearch documentation, "k-NN vector").
  dimension: integer(1, 16000),
  similarity: enumeration(SIMILARITIES),
  engine: enumeration(VECTOR_ENGINES),
  fields: array(object({ name: string(NAME_PATTERN), type: enumeration(VECTOR_FIELD_TYPES) }), { maxItems: 100 }),
  hnsw: object({ m: integer(2, 512), efConstruction: integer(2, 4096), efSearch: integer(2, 4096) }),
  quantization: object({
    kind: enumeration(['fp16', 'byte', 'binary', 'disk']), bits: { enum: [...BINARY_BITS] }, compression: { enum: [...DISK_COMPRESSIONS] },
  }, ['kind']),
  description: string(),
}, ['name', 'dimension', 'similarity', 'engine', 'fields', 'hnsw']);

/** A document of an index: its `_id` names the neighbour, its fields stand beside the vector. */
export const VectorDocument = {
  /** The `knn_vector` field. No declared field may use the name. */
  VECTOR: 'vector',
} as const;

/** Names that no field of an index may use: the vector's, and the id column of imported files. */
export const RESERVED_FIELDS: readonly string[] = [VectorDocument.VECTOR, 'id'];

/**
 * An index is searched through an alias of its name; its data lies in generations, `<name>.<generation>`.
 * The point is in no declared name, so a generation of one index is never another index.
 */
export const GENERATION_SEPARATOR = '.';
