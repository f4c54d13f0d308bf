/** The generations of a vector index in OpenSearch: each an index `<name>.<generation>`, behind an alias of the name (docs/adr/0075). */
import { type OpenSearchAnswer, type OpenSearchHttp, OpenSearchRefusal } from './opensearch-http';
import { knnQuery } from './opensearch-msearch';
import { scannedBytes, VectorDocument, VECTOR_BUILDS_INDEX, type Similarity, type VectorIndexLayout, type VectorIndexSchema } from '../../../src/contract';
import { BrainError } from '../../core/errors';
import { stop } from '../../core/vectors/build-errors';
import type {
  BulkAnswer, BulkItem, GenerationCluster, IndexRecord, LoadedPart, MergeState, RecordVersion, Removal, SampledVector, Scored,
  SearchExtent, SequenceRange, StoredRecord,
} from '../../core/vectors/generation-cluster';
import { buildBody, generationIndex, generationPattern, servingSettings } from '../../core/vectors/index-body';
import { isSnapshotRunning } from '../../core/vectors/refusal';

/** Names of the similarities in the script of exact search (OpenSearch documentation, "Exact k-NN with scoring script"). */
const SCRIPT_SPACES: Readonly<Record<Similarity, string>> = { l2: 'l2', cosine: 'cosinesimil', dot: 'innerproduct' };
/** Ids of documents that one request may ask for. */
const CHUNK = 1000;
/** Of vectors that one exact search looks at, all shards together: seconds of work, also for one node that reads them from a volume of 125 MiB/s. */
const SCANNED_BYTES = 2 ** 30;
/** Waited for copies, and for graphs, in one call; what takes longer is asked for again. */
const WAIT_S = 20;
const WARM_UP_MS = 55_000;

/** Statistics of one copy of a shard. */
interface ShardCopy {
  readonly docs: { readonly count: number };
  readonly segments: { readonly count: number };
  readonly merges: { readonly current: number };
}

/** What became of one document. A refusal by the mapping is wrapped: what it is for is its cause. */
interface RawItem {
  readonly status: number;
  readonly error?: RawError & { readonly caused_by?: RawError };
}

interface RawError {
  readonly type: string;
  readonly reason?: string;
}

/** The k-NN plugin takes no document while graphs do not fit in memory; with status 400, as if the document were wrong. */
const BREAKER_OPEN = 'knn_circuit_breaker_exception';
/** Characters of a reason: it may show the vector. */
const SHOWN = 300;

/** Records are found by their id alone: nothing in them is indexed. */
const RECORDS_MAPPING = { dynamic: false, properties: {} };

export class OpenSearchGenerations implements GenerationCluster {
  constructor(private readonly http: OpenSearchHttp, private readonly layout: VectorIndexLayout) {}

  async record(index: string): Promise<StoredRecord | undefined> {
    const { status, body } = await this.http.call('GET', recordPath(index), { accept: [404] });
    if (status === 404) return undefined;
    return { record: body._source as IndexRecord, version: `${body._seq_no}:${body._primary_term}` };
  }

  async saveRecord(index: string, record: IndexRecord, version: RecordVersion | undefined): Promise<boolean> {
    if (version === undefined) await this.requireRecords();
    const [seqNo, term] = version?.split(':') ?? [];
    const query: Record<string, string> = version === undefined ? { op_type: 'create' } : { if_seq_no: seqNo, if_primary_term: term };
    return (await this.http.call('PUT', recordPath(index), { query, body: record, accept: [409] })).status !== 409;
  }

  async parts(index: string, generation: string, parts: readonly number[]): Promise<(LoadedPart | undefined)[]> {
    const found: (LoadedPart | undefined)[] = [];
    for (let from = 0; from < parts.length; from += CHUNK) {
      const ids = parts.slice(from, from + CHUNK).map((part) => partId(index, generation, part));
      const { body } = await this.http.call('POST', `/${VECTOR_BUILDS_INDEX}/_mget`, { body: { ids } });
      found.push(...(body.docs as { found: boolean; _source: LoadedPart }[]).map((document) => (document.found ? document._source : undefined)));
    }
    return found;
  }

  async savePart(index: string, generation: string, part: number, loaded: LoadedPart): Promise<void> {
    await this.http.call('PUT', `/${VECTOR_BUILDS_INDEX}/_doc/${encodeURIComponent(partId(index, generation, part))}`, { body: loaded });
  }

  async dropParts(index: string, generation: string, parts: number): Promise<void> {
    for (let from = 0; from < parts; from += CHUNK) {
      const ids = Array.from({ length: Math.min(CHUNK, parts - from) }, (_, at) => partId(index, generation, from + at));
      const body = ids.map((id) => `{"delete":{"_id":${JSON.stringify(id)}}}\n`).join('');
      await this.http.call('POST', `/${VECTOR_BUILDS_INDEX}/_bulk`, { body });
    }
  }

  async generations(index: string): Promise<string[]> {
    return Object.keys(await this.aliases(index));
  }

  async live(index: string): Promise<string | undefined> {
    const names = Object.entries(await this.aliases(index)).filter(([, aliases]) => aliases.includes(index)).map(([generation]) => generation);
    if (names.length > 1) stop('ALIAS_MOVED', `the alias '${index}' stands for generations ${names.join(' and ')}, it must stand for one: remove the others from it`);
    return names[0];
  }

  async create(schema: VectorIndexSchema, generation: string): Promise<void> {
    // what is loaded before its copies are there is lost with its node
    await this.unlessThere('PUT', `/${generationIndex(schema, generation)}`, buildBody(schema, this.layout), { wait_for_active_shards: 'all' });
  }

  async bulk(index: string, generation: string, body: string): Promise<BulkAnswer> {
    const query = { filter_path: ['status', ...['error', 'error.caused_by'].flatMap((of) => [`${of}.type`, `${of}.reason`])].map((path) => `items.*.${path}`).join(',') };
    const path = `/${generationIndex({ name: index }, generation)}/_bulk`;
    try {
      const answer = await this.http.call('POST', path, { query, body, accept: [413, 429, 503] });
      const items = (answer.body?.items ?? []) as { index?: RawItem }[];
      return { status: answer.status, items: items.map(({ index: item }) => bulkItem(item)) };
    } catch (error) {
      // nobody knows what was taken: the same ids are written once more
      if (error instanceof BrainError) return { status: 503, items: [] };
      throw error;
    }
  }

  async seal(index: string, generation: string): Promise<void> {
    const name = generationIndex({ name: index }, generation);
    // a refresh would wait for it as long as a call may take
    if ((await this.http.call('GET', `/_cluster/health/${name}`)).body.status === 'red') throw shardAway(name);
    await this.http.call('PUT', `/${name}/_settings`, { body: { index: { 'blocks.write': true } } });
    await this.http.call('POST', `/${name}/_refresh`);
  }

  async count(index: string, generation: string): Promise<number> {
    const name = generationIndex({ name: index }, generation);
    const { body: { count, _shards } } = await this.http.call('GET', `/${name}/_count`);
    if (_shards.successful < _shards.total) throw shardAway(name);
    return Number(count);
  }

  async mergeState(index: string, generation: string): Promise<MergeState> {
    const name = generationIndex({ name: index }, generation);
    // without it the statistics are of the segments that searches saw last
    await this.http.call('POST', `/${name}/_refresh`);
    const { body } = await this.http.call('GET', `/${name}/_stats/merge,segments,docs`, { query: { level: 'shards' } });
    const [{ shards }] = Object.values(body.indices) as { shards: Record<string, ShardCopy[]> }[];
    const copies = Object.values(shards).flat();
    return {
      // one without a document has no segment
      copies: copies.filter(({ docs }) => docs.count > 0).length,
      segments: copies.reduce((sum, { segments }) => sum + segments.count, 0),
      running: copies.some(({ merges }) => merges.current > 0),
    };
  }

  async startMerge(index: string, generation: string): Promise<void> {
    const query = { max_num_segments: '1', wait_for_completion: 'false' };
    await this.http.call('POST', `/${generationIndex({ name: index }, generation)}/_forcemerge`, { query });
  }

  async replicate(index: string, generation: string): Promise<boolean> {
    const name = generationIndex({ name: index }, generation);
    await this.http.call('PUT', `/${name}/_settings`, { body: { index: servingSettings(this.layout) } });
    const query = { wait_for_status: 'green', wait_for_no_relocating_shards: 'true', timeout: `${WAIT_S}s` };
    const { body } = await this.http.call('GET', `/_cluster/health/${name}`, { query, accept: [408] });
    // copies can be made of what is there only
    if (body?.status === 'red') throw shardAway(name);
    return body?.status === 'green' && body.timed_out === false;
  }

  async sample(index: string, generation: string, size: number): Promise<SampledVector[]> {
    const random = { function_score: { query: { match_all: {} }, random_score: { seed: 1, field: '_seq_no' }, boost_mode: 'replace' } };
    const hits = await this.search(generationIndex({ name: index }, generation), { size, query: random, _source: [VectorDocument.VECTOR] });
    return hits.map(({ _id, _source }) => ({ id: _id, vector: _source![VectorDocument.VECTOR] }));
  }

  async extent(schema: VectorIndexSchema, generation: string): Promise<SearchExtent> {
    const last = { last: { max: { field: '_seq_no' } } };
    const { aggregations, _shards } = await this.answer(generationIndex(schema, generation), { size: 0, track_total_hits: false, aggs: last });
    // of each shard a step takes as many
    const step = Math.floor(SCANNED_BYTES / (_shards.total * scannedBytes(schema.dimension)));
    return { end: (aggregations.last.value ?? -1) + 1, step: Math.max(1, step) };
  }

  async exact(schema: VectorIndexSchema, generation: string, vector: readonly number[], k: number, range?: SequenceRange): Promise<Scored[]> {
    const params = { field: VectorDocument.VECTOR, query_value: vector, space_type: SCRIPT_SPACES[schema.similarity] };
    const script = { source: 'knn_score', lang: 'knn', params };
    const query = range === undefined ? { match_all: {} } : { range: { _seq_no: { gte: range.from, lt: range.to } } };
    return this.scored(schema, generation, k, { script_score: { query, script } });
  }

  async approximate(schema: VectorIndexSchema, generation: string, vector: readonly number[], k: number): Promise<Scored[]> {
    return this.scored(schema, generation, k, JSON.parse(knnQuery(schema, vector, k)) as object);
  }

  async warmUp(index: string, generation: string): Promise<boolean> {
    try {
      const { body } = await this.http.call('GET', `/_plugins/_knn/warmup/${generationIndex({ name: index }, generation)}`, { timeoutMs: WARM_UP_MS });
      return body._shards.failed === 0;
    } catch (error) {
      // the nodes load on, and the next call finds what they have
      if (error instanceof BrainError) return false;
      throw error;
    }
  }

  async memoryExhausted(): Promise<boolean> {
    const { body } = await this.http.call('GET', '/_plugins/_knn/stats/circuit_breaker_triggered');
    return body.circuit_breaker_triggered === true;
  }

  async moveAlias(index: string, from: string | undefined, to: string): Promise<boolean> {
    const name = (generation: string) => generationIndex({ name: index }, generation);
    const actions = [
      ...from === undefined ? [] : [{ remove: { index: name(from), alias: index, must_exist: true } }],
      { add: { index: name(to), alias: index } },
    ];
    return this.changeAliases(actions);
  }

  async remove(index: string, generations: readonly string[], live: string | undefined): Promise<Removal> {
    const name = (generation: string) => generationIndex({ name: index }, generation);
    // the alias is taken and given back in the same step: it fails as a whole where the alias stands for something else by now
    const guard = live === undefined ? []
      : [{ remove: { index: name(live), alias: index, must_exist: true } }, { add: { index: name(live), alias: index } }];
    const there = new Set(await this.generations(index));
    const gone = generations.filter((generation) => there.has(generation));
    if (gone.length === 0) return 'removed';
    const actions = [...guard, ...gone.map((generation) => ({ remove_index: { index: name(generation) } }))];
    try {
      return await this.changeAliases(actions) ? 'removed' : 'moved';
    } catch (error) {
      if (isSnapshotRunning(error)) return 'snapshot';
      throw error;
    }
  }

  private async changeAliases(actions: readonly object[]): Promise<boolean> {
    return (await this.http.call('POST', '/_aliases', { body: { actions }, accept: [404] })).status !== 404;
  }

  /** Aliases of each generation. */
  private async aliases(index: string): Promise<Record<string, string[]>> {
    const { body } = await this.http.call('GET', `/${generationPattern({ name: index })}/_alias`);
    const found: Record<string, string[]> = {};
    for (const [concrete, { aliases }] of Object.entries(body as Record<string, { aliases: object }>)) {
      const generation = concrete.slice(index.length + 1);
      if (/^[1-9][0-9]*$/.test(generation)) found[generation] = Object.keys(aliases);
    }
    return found;
  }

  /** The index of records, made by whoever needs it first. */
  private async requireRecords(): Promise<void> {
    const settings = { index: { number_of_shards: 1, number_of_replicas: this.layout.replicas } };
    await this.unlessThere('PUT', `/${VECTOR_BUILDS_INDEX}`, { settings, mappings: RECORDS_MAPPING });
  }

  private async unlessThere(method: string, path: string, body: object, query: Readonly<Record<string, string>> = {}): Promise<void> {
    try {
      await this.http.call(method, path, { query, body });
    } catch (error) {
      if (!(error instanceof OpenSearchRefusal) || error.type !== 'resource_already_exists_exception') throw error;
    }
  }

  private async scored(schema: VectorIndexSchema, generation: string, size: number, query: object): Promise<Scored[]> {
    const hits = await this.search(generationIndex(schema, generation), { size, query, _source: false, track_total_hits: false });
    return hits.map(({ _id, _score }) => ({ id: _id, score: _score }));
  }

  private async search(concrete: string, body: object): Promise<{ _id: string; _score: number; _source?: Record<string, number[]> }[]> {
    return (await this.answer(concrete, body)).hits.hits;
  }

  private async answer(concrete: string, body: object): Promise<OpenSearchAnswer['body']> {
    const { body: answer } = await this.http.call('POST', `/${concrete}/_search`, { query: { allow_partial_search_results: 'false' }, body });
    if (answer.timed_out || answer._shards.failed > 0) throw new BrainError('VECTOR_STORE_UNAVAILABLE', `the vector store answered only in part about '${concrete}'`);
    return answer;
  }
}

function bulkItem({ status, error }: RawItem = { status: 500 }): BulkItem {
  if (!error) return { status, reason: '' };
  const said = [error, ...error.caused_by ? [error.caused_by] : []];
  return {
    status,
    reason: said.map(({ type, reason = 'no reason' }) => `${type}: ${reason.slice(0, SHOWN)}`).join(', caused by '),
    ...said.some(({ type }) => type === BREAKER_OPEN) ? { exhausted: true } : {},
  };
}

/** Its node may come back: the step is tried again, and a redrive goes on with it. */
const shardAway = (name: string): BrainError => new BrainError(
  'VECTOR_STORE_UNAVAILABLE', `a shard of '${name}' has no copy on any node: try again when its node is back; where that is lost, build again`,
);

const recordPath = (index: string): string => `/${VECTOR_BUILDS_INDEX}/_doc/${encodeURIComponent(index)}`;
const partId = (index: string, generation: string, part: number): string => `${index}.${generation}.${part}`;
