import { SIMILARITIES, Similarity, VECTOR_ENGINES, VectorEngine } from './datatypes';
import { array, enumeration, integer, JsonSchema, NAME_PATTERN, object, string } from './json-schema';

/** A field stored beside each vector: numeric fields can become model inputs, keyword fields can filter. */
export interface VectorFieldSchema {
  readonly name: string;
  readonly type: 'float' | 'long' | 'keyword' | 'boolean';
}

export interface VectorIndexSchema {
  readonly name: string;
  readonly dimension: number;
  readonly similarity: Similarity;
  readonly engine: VectorEngine;
  readonly fields: readonly VectorFieldSchema[];
  /** HNSW: edges per node, and candidate list sizes while building and while searching. */
  readonly hnsw: { readonly m: number; readonly efConstruction: number; readonly efSearch: number };
  readonly description?: string;
}

export const VECTOR_INDEX_SCHEMA: JsonSchema = object({
  name: string(NAME_PATTERN),
  // 16,000 is the limit of a knn_vector field (OpenSearch documentation, "k-NN vector").
  dimension: integer(1, 16000),
  similarity: enumeration(SIMILARITIES),
  engine: enumeration(VECTOR_ENGINES),
  fields: array(object({ name: string(NAME_PATTERN), type: enumeration(['float', 'long', 'keyword', 'boolean']) }), { maxItems: 100 }),
  hnsw: object({ m: integer(2, 512), efConstruction: integer(2, 4096), efSearch: integer(2, 4096) }),
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
