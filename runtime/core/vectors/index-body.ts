/**
 * A vector index as OpenSearch takes it: names, mapping and settings of a generation, from the index's declaration.
 * Source: OpenSearch documentation, "k-NN vector", "Methods and engines", "Memory-optimized vectors", "Vector index settings".
 */
import {
  GENERATION_SEPARATOR, type Similarity, VectorDocument, type VectorIndexLayout, type VectorIndexSchema, type VectorQuantizationSchema,
} from '../../../src/contract';

/** OpenSearch's names of the similarities. */
const SPACES: Readonly<Record<Similarity, string>> = { l2: 'l2', cosine: 'cosinesimil', dot: 'innerproduct' };

type Json = string | number | boolean | { readonly [name: string]: Json };

/** Body of the request that creates an index. */
export interface IndexBody {
  readonly settings: { readonly index: Readonly<Record<string, Json>> };
  readonly mappings: IndexMapping;
}

export interface IndexMapping {
  /** A document with a field that is not declared is refused: it would be a mistake that nobody sees. */
  readonly dynamic: 'strict';
  readonly properties: Readonly<Record<string, Readonly<Record<string, Json>>>>;
}

/** Name of the index that holds one generation. */
export function generationIndex(schema: Pick<VectorIndexSchema, 'name'>, generation: string): string {
  return `${schema.name}${GENERATION_SEPARATOR}${generation}`;
}

/** Pattern of the names of all generations of an index, and of no other index. */
export function generationPattern(schema: Pick<VectorIndexSchema, 'name'>): string {
  return generationIndex(schema, '*');
}

/** A generation that is searched as soon as documents arrive. */
export function indexBody(schema: VectorIndexSchema, layout: VectorIndexLayout): IndexBody {
  return { settings: { index: { ...fixedSettings(schema, layout), ...servingSettings(layout) } }, mappings: indexMapping(schema) };
}

/** A generation that is to be filled first: what {@link servingSettings} give back is off. */
export function buildBody(schema: VectorIndexSchema, layout: VectorIndexLayout): IndexBody {
  const building = { number_of_replicas: layout.buildReplicas, refresh_interval: '-1' };
  return { settings: { index: { ...fixedSettings(schema, layout), ...building } }, mappings: indexMapping(schema) };
}

/** Settings of `index` that a generation has while it is searched, and that change in place. */
export function servingSettings({ replicas }: VectorIndexLayout): Readonly<Record<string, Json>> {
  return { number_of_replicas: replicas, refresh_interval: '1s' };
}

/** From when on a search or the indexing of a document stands in the slow logs, which hold nothing without; documents are not written into them. */
export const SLOW_LOG_SETTINGS: Readonly<Record<string, Json>> = {
  'search.slowlog.threshold.query.warn': '1s', 'indexing.slowlog.threshold.index.warn': '5s', 'indexing.slowlog.source': 'false',
};

/** What an index has from its creation on. */
function fixedSettings(schema: VectorIndexSchema, { shards }: VectorIndexLayout): Readonly<Record<string, Json>> {
  return {
    knn: true,
    // Lucene keeps as many candidates as neighbours are asked for
    ...schema.engine === 'faiss' ? { 'knn.algo_param.ef_search': schema.hnsw.efSearch } : {},
    number_of_shards: shards,
    ...SLOW_LOG_SETTINGS,
  };
}

export function indexMapping(schema: VectorIndexSchema): IndexMapping {
  return {
    dynamic: 'strict',
    properties: { [VectorDocument.VECTOR]: vectorField(schema), ...Object.fromEntries(schema.fields.map(({ name, type }) => [name, { type }])) },
  };
}

function vectorField({ dimension, similarity, engine, hnsw, quantization }: VectorIndexSchema): Readonly<Record<string, Json>> {
  return {
    type: 'knn_vector',
    dimension,
    ...fieldOptions(quantization),
    method: {
      name: 'hnsw',
      engine,
      space_type: SPACES[similarity],
      parameters: { m: hnsw.m, ef_construction: hnsw.efConstruction, ...encoderOption(quantization) },
    },
  };
}

function fieldOptions(quantization?: VectorQuantizationSchema): Readonly<Record<string, Json>> {
  if (quantization?.kind === 'byte') return { data_type: 'byte' };
  if (quantization?.kind === 'disk') return { mode: 'on_disk', compression_level: `${quantization.compression}x` };
  return {};
}

function encoderOption(quantization?: VectorQuantizationSchema): Readonly<Record<string, Json>> {
  // no clipping: a component beyond the range of half precision is refused, not changed
  if (quantization?.kind === 'fp16') return { encoder: { name: 'sq', parameters: { type: 'fp16', clip: false } } };
  if (quantization?.kind === 'binary') return { encoder: { name: 'binary', parameters: { bits: quantization.bits } } };
  return {};
}
