import { VectorIndexSchema } from '../contract';

/** A graph's own overhead over its vectors and edges (OpenSearch documentation, "Memory-optimized vectors", HNSW memory estimation; so for all below). */
const OVERHEAD = 1.1;
/** Of one edge, bytes. */
const EDGE = 8;

/** Where the graph of an index is while it is searched. */
export type GraphPlace = 'native' | 'cache' | 'disk';

/** FAISS loads graphs into native memory, Lucene leaves them to the file cache, and an uncompressed index on disk needs neither. */
export function graphPlace({ engine, quantization }: VectorIndexSchema): GraphPlace {
  if (quantization?.kind === 'disk' && quantization.compression === 1) return 'disk';
  return engine === 'faiss' ? 'native' : 'cache';
}

/** Bytes of one vector in memory. */
export function vectorBytes({ dimension, quantization }: VectorIndexSchema): number {
  switch (quantization?.kind) {
    case undefined:
      return 4 * dimension;
    case 'fp16':
      return 2 * dimension;
    case 'byte':
      return dimension;
    case 'binary':
      return dimension * quantization.bits / 8;
    case 'disk':
      return 4 * dimension / quantization.compression;
  }
}

/** Bytes of the graph of `count` vectors, one copy. */
export function graphBytes(schema: VectorIndexSchema, count: number): number {
  return OVERHEAD * (vectorBytes(schema) + EDGE * schema.hnsw.m) * count;
}
