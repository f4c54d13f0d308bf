/** Nearest neighbours from OpenSearch k-NN, through the alias of an index: one signed `_msearch` per index and chunk of queries. */
import { randomUUID } from 'node:crypto';
import { unavailable } from './failures';
import { type HttpAnswer, HttpConnection, HttpDeadlineError } from './http-connection';
import { generationOf, MAX_ANSWER_BYTES, readAnswers, requireOneGeneration, type SearchAnswer, searchBody, searchHeader } from './opensearch-msearch';
import { canonicalQuery, type SignableForm, type Sigv4Signer } from './sigv4';
import type { VectorIndexSchema } from '../../../src/contract';
import { BrainError } from '../../core/errors';
import type { CallContext, Clock, VectorHits, VectorQuery, VectorSearch } from '../../core/ports';
import { MONOTONIC_CLOCK } from '../../core/resilience/monotonic-clock';
import { RetryBudget } from '../../core/resilience/retry-budget';
import { chunkEnd } from '../../core/vector-queries';

const UNAVAILABLE = 'VECTOR_STORE_UNAVAILABLE';
/** Longest wait for one answer; a request's own deadline may end it before. */
const TIMEOUT_MS = 5000;
/**
 * Searches that one call has under way. A data node has 3/2 of its vCPUs, plus one, as search threads, and a queue of 1000 (OpenSearch,
 * thread pool `search`); 16 keep a node of ten vCPUs busy. The calls of one request follow each other, so a request of 1024 rows never
 * has more under way than that.
 */
const CONCURRENT_SEARCHES = '16';
const MSEARCH_QUERY = canonicalQuery({ max_concurrent_searches: CONCURRENT_SEARCHES });
/** How long the index behind an alias is taken for the same, where no hit tells. */
const GENERATION_AGE_MS = 1000;

/**
 * Calls sent again because the domain had closed the kept connection, per call: it does so to idle ones, now and then. All other failures are
 * for the caller to retry.
 */
const RECONNECTS = { share: 0.02, maxTokens: 4, initialTokens: 4 };

export interface OpenSearchVectorSearchOptions {
  /** Base URL of the domain, without a path. */
  readonly endpoint: string;
  /** For the service `es`. */
  readonly signer: Sigv4Signer;
  /** Told of each call that is sent again. */
  readonly onRetry?: () => void;
  /** Sticks to the same copies of the shards, see {@link searchHeader}. @default - one of its own */
  readonly preference?: string;
  /** That of the deadlines. @default MONOTONIC_CLOCK */
  readonly clock?: Clock;
}

/** What does not change between the calls for one index. */
interface IndexCalls {
  readonly searchPath: string;
  readonly search: SignableForm;
  readonly aliasPath: string;
  readonly alias: SignableForm;
  /** The index behind the alias, and until when it is taken for it, milliseconds since the epoch. */
  concrete: string;
  concreteUntil: number;
}

export class OpenSearchVectorSearch implements VectorSearch {
  private readonly header: string;
  private readonly connection: HttpConnection;
  private readonly signer: Sigv4Signer;
  private readonly clock: Clock;
  private readonly calls = new Map<string, IndexCalls>();
  private readonly reconnects = new RetryBudget(RECONNECTS);

  constructor({ endpoint, signer, onRetry, preference = randomUUID(), clock = MONOTONIC_CLOCK }: OpenSearchVectorSearchOptions) {
    this.header = searchHeader(preference);
    const mayRetry = () => {
      const may = this.reconnects.tryWithdraw();
      if (may) onRetry?.();
      return may;
    };
    this.connection = new HttpConnection(endpoint, { maxAnswerBytes: MAX_ANSWER_BYTES, mayRetry, clock });
    this.signer = signer;
    this.clock = clock;
  }

  async search(queries: readonly VectorQuery[], context?: CallContext): Promise<VectorHits[]> {
    if (queries.length === 0) return [];
    const deadline = Math.min(context?.deadline ?? Infinity, this.clock.now() + TIMEOUT_MS);
    const [{ index }] = queries;
    let mixed = false;
    for (const query of queries) mixed ||= query.index.name !== index.name;
    return mixed ? this.searchIndexes(queries, deadline, context) : this.searchIndex(index, queries, deadline, context);
  }

  async close(): Promise<void> {
    this.connection.close();
  }

  /** The indexes at the same time. */
  private async searchIndexes(queries: readonly VectorQuery[], deadline: number, context: CallContext | undefined): Promise<VectorHits[]> {
    const positions = new Map<string, number[]>();
    queries.forEach(({ index: { name } }, position) => {
      const known = positions.get(name);
      if (known) known.push(position);
      else positions.set(name, [position]);
    });
    const found = new Array<VectorHits>(queries.length);
    await Promise.all([...positions.values()].map(async (own) => {
      const hits = await this.searchIndex(queries[own[0]].index, own.map((position) => queries[position]), deadline, context);
      own.forEach((position, at) => {
        found[position] = hits[at];
      });
    }));
    return found;
  }

  private async searchIndex(
    index: VectorIndexSchema, queries: readonly VectorQuery[], deadline: number, context: CallContext | undefined,
  ): Promise<VectorHits[]> {
    const calls = this.callsFor(index);
    const answers: SearchAnswer[] = [];
    for (let from = 0, end; from < queries.length; from = end) {
      end = chunkEnd(queries, from);
      const body = searchBody(this.header, queries, from, end, this.timeLeft(deadline));
      readAnswers(index, await this.call('POST', calls.searchPath, calls.search, body, deadline, context), queries, from, end, answers);
    }
    const empty = answers.some((answer) => answer.concrete === undefined);
    const other = empty ? answers.find((answer) => answer.concrete !== undefined)?.concrete ?? await this.concreteIndex(index, calls, deadline, context) : '';
    // where the alias moves while a batch is searched, each answer is whole and names its own generation
    return answers.map(({ concrete = other, hits, missing }) => (
      { generation: generationOf(index, concrete), hits, ...missing === undefined ? {} : { missing } }
    ));
  }

  /** What stands behind the alias, where no hit tells. */
  private async concreteIndex(index: VectorIndexSchema, calls: IndexCalls, deadline: number, context: CallContext | undefined): Promise<string> {
    const now = this.clock.now();
    if (now < calls.concreteUntil) return calls.concrete;
    const found = Object.keys(await this.call('GET', calls.aliasPath, calls.alias, '', deadline, context) as object);
    for (const other of found) requireOneGeneration(index, found[0], other);
    calls.concrete = found[0] ?? index.name;
    calls.concreteUntil = now + GENERATION_AGE_MS;
    return calls.concrete;
  }

  private callsFor({ name }: VectorIndexSchema): IndexCalls {
    let calls = this.calls.get(name);
    if (!calls) {
      const { connection: { host }, signer } = this;
      const path = `/${name}/_msearch`;
      const aliasPath = `/${name}/_alias`;
      calls = {
        searchPath: `${path}?${MSEARCH_QUERY}`,
        search: signer.prepare({ method: 'POST', host, path, query: MSEARCH_QUERY, headers: { 'content-type': 'application/x-ndjson' } }),
        aliasPath,
        alias: signer.prepare({ method: 'GET', host, path: aliasPath }),
        concrete: '',
        concreteUntil: 0,
      };
      this.calls.set(name, calls);
    }
    return calls;
  }

  /** The answer's JSON. */
  private async call(
    method: string, path: string, form: SignableForm, body: string, deadline: number, context: CallContext | undefined,
  ): Promise<unknown> {
    this.reconnects.deposit();
    const signal = context?.signal;
    let answer: HttpAnswer;
    try {
      const headers = form.sign(body);
      answer = await this.connection.send(method, path, headers instanceof Promise ? await headers : headers, body, { deadline, signal });
    } catch (error) {
      const what = error instanceof HttpDeadlineError ? 'the vector store, within its time limit,' : 'the vector store';
      throw unavailable(UNAVAILABLE, what, error, signal);
    }
    if (answer.status !== 200) {
      if (answer.status === 401 || answer.status === 403) this.signer.forgetCredentials();
      throw new BrainError(UNAVAILABLE, `the vector store does not answer (HTTP ${answer.status})`);
    }
    try {
      return JSON.parse(answer.body.toString('utf8'));
    } catch (error) {
      throw unavailable(UNAVAILABLE, 'the vector store', error);
    }
  }

  /** Whole milliseconds, at least 1. */
  private timeLeft(deadline: number): number {
    const left = Math.round(deadline - this.clock.now());
    if (left < 1) throw new BrainError(UNAVAILABLE, 'no time is left to ask the vector store');
    return left;
  }
}
