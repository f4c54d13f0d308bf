/** Nearest neighbours from OpenSearch k-NN, through the alias of an index. */
import { type Client, errors } from '@opensearch-project/opensearch';
import { unavailable } from './failures';
import { type FeatureValue, GENERATION_SEPARATOR, VectorDocument, type VectorIndexSchema } from '../../../src/contract';
import { refuse } from '../../core/errors';
import type { VectorHit, VectorHits, VectorSearch } from '../../core/ports';

const UNAVAILABLE = 'VECTOR_STORE_UNAVAILABLE';
/** Longest wait for one answer; a request's own deadline may end it before. */
const TIMEOUT_MS = 5000;

interface SearchHit {
  readonly _index: string;
  readonly _id: string;
  readonly _score: number;
  readonly _source?: Record<string, FeatureValue>;
}

interface SearchAnswer {
  readonly hits: { readonly hits: readonly SearchHit[] };
}

export class OpenSearchVectorSearch implements VectorSearch {
  private closing: Promise<void> | undefined;

  /** @param client its requests are signed by the client itself */
  constructor(private readonly client: Client) {}

  async search(index: VectorIndexSchema, query: Float32Array, k: number, signal?: AbortSignal): Promise<VectorHits> {
    const body = {
      size: k,
      query: { knn: { [VectorDocument.VECTOR]: { vector: Array.from(query), k } } },
      _source: { includes: index.fields.map(({ name }) => name) },
    };
    // half an answer would be a wrong one
    const querystring = { allow_partial_search_results: 'false' };
    const answer = await this.call<SearchAnswer>({ method: 'POST', path: `/${index.name}/_search`, querystring, body }, signal);
    const { hits } = answer.hits;
    const generations = new Set(hits.map((hit) => hit._index));
    if (generations.size > 1) {
      refuse('VECTOR_STORE_UNAVAILABLE', `the alias '${index.name}' stands for ${generations.size} generations, it must stand for one`, { index: index.name });
    }
    const [concrete = await this.concreteIndex(index, signal)] = generations;
    return {
      generation: generationOf(index, concrete),
      hits: hits.map((hit): VectorHit => ({ id: hit._id, score: hit._score, fields: hit._source ?? {} })),
    };
  }

  async close(): Promise<void> {
    // a second close of the client never ends
    await (this.closing ??= this.client.close());
  }

  /** What stands behind the alias, where no hit tells. */
  private async concreteIndex(index: VectorIndexSchema, signal: AbortSignal | undefined): Promise<string> {
    const concrete = await this.call<Record<string, unknown>>({ method: 'GET', path: `/${index.name}/_alias` }, signal);
    return Object.keys(concrete)[0] ?? index.name;
  }

  private async call<T>(
    request: { method: string; path: string; querystring?: Record<string, string>; body?: object }, signal: AbortSignal | undefined,
  ): Promise<T> {
    const call = this.client.transport.request(request, { requestTimeout: TIMEOUT_MS, maxRetries: 1 });
    // must not return the call: a thenable that a listener returns is thrown by Node where it fails
    const abort = () => {
      call.abort();
    };
    signal?.addEventListener('abort', abort, { once: true });
    try {
      return (await call).body as T;
    } catch (error) {
      const what = error instanceof errors.ResponseError ? `the vector store (HTTP ${error.statusCode})` : 'the vector store';
      throw unavailable(UNAVAILABLE, what, error, signal);
    } finally {
      signal?.removeEventListener('abort', abort);
    }
  }
}

/** `prices.2026-01-01` is generation `2026-01-01` of `prices`; an index without an alias is its own only generation. */
function generationOf({ name }: VectorIndexSchema, concrete: string): string {
  const prefix = name + GENERATION_SEPARATOR;
  return concrete.startsWith(prefix) ? concrete.slice(prefix.length) : concrete;
}
