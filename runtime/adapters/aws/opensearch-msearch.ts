/** Bodies and answers of OpenSearch's `_msearch` with k-NN queries (its documentation, "Multi-search", "Efficient k-NN filtering"). */
import { GENERATION_SEPARATOR, VectorDocument, type FeatureValue, type VectorIndexSchema } from '../../../src/contract';
import { BrainError } from '../../core/errors';
import { queryWords, textFields } from '../../core/lexical';
import type { VectorFilter, VectorHit, VectorHits, VectorQuery } from '../../core/ports';
import { fuse, fusionDepth } from '../../core/rank-fusion';
import { MAX_HITS } from '../../core/vector-queries';

/** Largest answer: 4 KiB for each hit, which is its id, its fields and what stands around them. */
export const MAX_ANSWER_BYTES = MAX_HITS * 4096;

/** The hits of one search, and the index that they are in; undefined where there is none. */
export interface SearchAnswer {
  readonly concrete: string | undefined;
  readonly hits: readonly VectorHit[];
  readonly missing?: VectorHits['missing'];
}

/** `_source` of each search in an index. */
const SOURCES = new WeakMap<VectorIndexSchema, string>();

/**
 * The first line of each search. Half an answer would be a wrong one. The index stands in the path alone, so that policies per index hold.
 *
 * @param preference text for which the same copies of the shards answer as long as they are there, others when they are not (OpenSearch documentation,
 *                   "Search shard routing"): their graphs are warm, and one question has one answer
 */
export function searchHeader(preference: string): string {
  return `${JSON.stringify({ allow_partial_search_results: false, preference })}\n`;
}

/** Bits only tell candidates: three for each neighbour are scored by their vectors, as the store does by itself where the index is searched from disk. */
const RESCORED = ',"rescore":{"oversample_factor":3}';
const KNN = `{"knn":{${JSON.stringify(VectorDocument.VECTOR)}:{"vector":[`;

/**
 * The query for the nearest neighbours of a vector, as JSON: what measures a graph asks the same as what searches it.
 *
 * @param vector every component is finite
 */
export function knnQuery(index: Pick<VectorIndexSchema, 'quantization'>, vector: Float32Array | readonly number[], k: number, filter?: VectorFilter): string {
  // join writes a vector five times as fast as JSON.stringify, 14 µs for 128 dimensions
  let query = `${KNN}${vector.join(',')}],"k":${k}`;
  if (filter !== undefined && filter.length > 0) query += `,"filter":${filterText(filter)}`;
  if (index.quantization?.kind === 'binary') query += RESCORED;
  return `${query}}}}`;
}

function sourceOf(index: VectorIndexSchema): string {
  let source = SOURCES.get(index);
  if (source === undefined) {
    // no field: nothing of the document, or the vector would come back with each hit; texts may be long
    const shown = index.fields.filter(({ type }) => type !== 'text').map(({ name }) => name);
    source = shown.length === 0 ? 'false' : JSON.stringify({ includes: shown });
    SOURCES.set(index, source);
  }
  return source;
}

/**
 * The body for a chunk of queries, all of one index: a search for each, and one more for each text, which is fused with the former here. A query type
 * that fuses in the store is no part of the k-NN plugin (ADR 0079).
 *
 * @param header    from {@link searchHeader}
 * @param timeoutMs after which a shard stops searching
 */
export function searchBody(header: string, queries: readonly VectorQuery[], from: number, end: number, timeoutMs: number): string {
  let body = '';
  for (let at = from; at < end; at++) {
    const { index, vector, k: wanted, text, filter } = queries[at];
    const k = text === undefined ? wanted : fusionDepth(wanted);
    const head = `${header}{"size":${k},"timeout":"${timeoutMs}ms","track_total_hits":false,"_source":${sourceOf(index)},`;
    body += `${head}"query":${knnQuery(index, vector, k, filter)}}\n`;
    if (text !== undefined) body += `${head}"query":${wordsQuery(index, text, filter)}}\n`;
  }
  return body;
}

/** Documents with any of the words; the sum over fields, as in memory. */
function wordsQuery(index: VectorIndexSchema, text: string, filter: VectorFilter | undefined): string {
  const words = { multi_match: { query: queryWords(text).join(' '), type: 'most_fields', fields: textFields(index) } };
  const must = `"must":${JSON.stringify(words)}`;
  return filter === undefined || filter.length === 0 ? `{"bool":{${must}}}` : `{"bool":{${must},"filter":${filterText(filter)}}}`;
}

/** The engine applies it while it searches, so k neighbours are found where k pass. */
function filterText(filter: VectorFilter): string {
  let text = '';
  for (const { field, values } of filter) text += `${text === '' ? '' : ','}{"terms":{${JSON.stringify(field)}:${JSON.stringify(values)}}}`;
  return `{"bool":{"filter":[${text}]}}`;
}

interface RawHit {
  readonly _index: string;
  readonly _id: string;
  readonly _score: number;
  readonly _source?: Record<string, FeatureValue>;
}

interface RawAnswer {
  readonly status?: number;
  readonly timed_out?: boolean;
  readonly _shards?: { readonly failed: number };
  readonly error?: { readonly type?: string };
  readonly hits?: { readonly hits: readonly RawHit[] };
}

/**
 * Adds the answers to a chunk of queries. Fails with VECTOR_STORE_UNAVAILABLE where one of them has none in whole, and with INVALID_CONFIGURATION
 * where the index refuses a query: then it is not what the brain declares. Of a query with text one of the two lists is enough.
 */
export function readAnswers(
  index: VectorIndexSchema, answer: unknown, queries: readonly VectorQuery[], from: number, end: number, answers: SearchAnswer[],
): void {
  const responses = (answer as { responses?: readonly RawAnswer[] } | null)?.responses;
  let count = 0;
  for (let at = from; at < end; at++) count += queries[at].text === undefined ? 1 : 2;
  if (!Array.isArray(responses) || responses.length !== count) {
    throw new BrainError('VECTOR_STORE_UNAVAILABLE', `the vector store answered ${responses?.length ?? 'no'} of ${count} searches`, { index: index.name });
  }
  let next = 0;
  for (let at = from; at < end; at++) {
    const nearest: RawAnswer = responses[next++];
    answers.push(queries[at].text === undefined ? readAnswer(index, nearest) : readFused(index, nearest, responses[next++], queries[at].k));
  }
}

function readFused(index: VectorIndexSchema, nearest: RawAnswer, worded: RawAnswer, k: number): SearchAnswer {
  const [vector, text] = [nearest, worded].map((raw) => readUnlessAway(index, raw));
  if (vector instanceof BrainError) {
    if (text instanceof BrainError) throw vector;
    return { concrete: text.concrete, hits: fuse([text.hits], k), missing: 'vector' };
  }
  // where the alias moves between the two, half of the answer would be of another generation
  const other = !(text instanceof BrainError) && vector.concrete !== undefined && text.concrete !== undefined && vector.concrete !== text.concrete;
  if (text instanceof BrainError || other) return { concrete: vector.concrete, hits: fuse([vector.hits], k), missing: 'text' };
  return { concrete: vector.concrete ?? text.concrete, hits: fuse([vector.hits, text.hits], k) };
}

/** The error of a list that did not come. */
function readUnlessAway(index: VectorIndexSchema, raw: RawAnswer): SearchAnswer | BrainError {
  try {
    return readAnswer(index, raw);
  } catch (error) {
    if (error instanceof BrainError && error.code === 'VECTOR_STORE_UNAVAILABLE') return error;
    throw error;
  }
}

function readAnswer(index: VectorIndexSchema, { status, timed_out, _shards, error, hits: found }: RawAnswer): SearchAnswer {
  if (error !== undefined || found === undefined) {
    const type = error?.type ?? 'no hits';
    if (status === 400) throw new BrainError('INVALID_CONFIGURATION', `vector index '${index.name}' refuses the query (${type}): it is not as declared`, { index: index.name });
    throw new BrainError('VECTOR_STORE_UNAVAILABLE', `the vector store does not answer (HTTP ${status}, ${type})`, { index: index.name });
  }
  if (timed_out || (_shards !== undefined && _shards.failed > 0)) {
    throw new BrainError('VECTOR_STORE_UNAVAILABLE', `the vector store answered only in part (${timed_out ? 'timed out' : 'a shard failed'})`, { index: index.name });
  }
  const raw = found.hits;
  const hits: VectorHit[] = [];
  for (const hit of raw) {
    requireOneGeneration(index, raw[0]._index, hit._index);
    hits.push({ id: hit._id, score: hit._score, fields: hit._source ?? {} });
  }
  return { concrete: raw[0]?._index, hits };
}

export function requireOneGeneration(index: VectorIndexSchema, one: string, other: string): void {
  if (one !== other) {
    throw new BrainError('VECTOR_STORE_UNAVAILABLE', `the alias '${index.name}' stands for ${one} and ${other}, it must stand for one generation`, { index: index.name });
  }
}

/**
 * `prices.2026-01-01` is generation `2026-01-01` of `prices`; an index without an alias is its own only generation. Who may load one index may put
 * its generations behind the alias of another, since OpenSearch gives aliases no rights of their own: what they answer is none (VECTOR_STORE_UNAVAILABLE).
 */
export function generationOf({ name }: VectorIndexSchema, concrete: string): string {
  if (concrete === name) return concrete;
  const prefix = name + GENERATION_SEPARATOR;
  if (concrete.startsWith(prefix)) return concrete.slice(prefix.length);
  throw new BrainError('VECTOR_STORE_UNAVAILABLE', `the alias '${name}' stands for ${concrete}, which is no generation of this index`, { index: name });
}
