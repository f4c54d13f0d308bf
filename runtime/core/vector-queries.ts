/** The distinct vector queries of one request, rows that ask the same share one search, and how many of them a store is asked at once. */
import type { VectorFilter, VectorQuery } from './ports';
import { fusionDepth } from './rank-fusion';
import type { FeatureValue } from '../../src/contract';

/** Multiplier of the hash of a vector's bits, 32 at a time (the prime of FNV-1). Queries with one hash are compared, so it need not be good. */
const PRIME = 16_777_619;

/** Searches that a store is asked at once: what bounds a call's body, what has one time limit, and what a retry repeats. */
const MAX_SEARCHES = 32;
/** Hits that a store is asked for at once. A manifest's k is at most 1000, so one query never asks for more. */
export const MAX_HITS = 4096;

/** The end of the chunk of queries, from `from` on, that a store is asked at once. */
export function chunkEnd(queries: readonly VectorQuery[], from: number): number {
  let searches = 0;
  let hits = 0;
  let end = from;
  for (; end < queries.length; end++) {
    const { k, text } = queries[end];
    searches += text === undefined ? 1 : 2;
    hits += text === undefined ? k : 2 * fusionDepth(k);
    if (end > from && (searches > MAX_SEARCHES || hits > MAX_HITS)) break;
  }
  return end;
}

export class QueryBatch {
  readonly queries: VectorQuery[] = [];
  /** Position of the newest query of a hash. */
  private readonly newest = new Map<number, number>();
  /** For each query, the one before it with the same hash; -1 where there is none. */
  private readonly before: number[] = [];

  /** The position of the query's answer. */
  add(query: VectorQuery): number {
    const hash = hashOf(query.vector);
    const newest = this.newest.get(hash) ?? -1;
    for (let at = newest; at >= 0; at = this.before[at]) if (sameQuery(this.queries[at], query)) return at;
    const position = this.queries.push(query) - 1;
    this.before.push(newest);
    this.newest.set(hash, position);
    return position;
  }
}

function hashOf({ buffer, byteOffset, length }: Float32Array): number {
  const words = new Int32Array(buffer, byteOffset, length);
  let hash = 0;
  for (let i = 0; i < length; i++) hash = Math.imul(hash + words[i], PRIME);
  return hash;
}

function sameQuery(a: VectorQuery, b: VectorQuery): boolean {
  if (a.index !== b.index || a.k !== b.k || a.text !== b.text || !sameFilter(a.filter, b.filter)) return false;
  for (let i = 0; i < a.vector.length; i++) if (a.vector[i] !== b.vector[i]) return false;
  return true;
}

function sameFilter(a: VectorFilter | undefined, b: VectorFilter | undefined): boolean {
  if (a === b) return true;
  if (a === undefined || b === undefined || a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i].field !== b[i].field || !sameValues(a[i].values, b[i].values)) return false;
  return true;
}

function sameValues(a: readonly FeatureValue[], b: readonly FeatureValue[]): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}
