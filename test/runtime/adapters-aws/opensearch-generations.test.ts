import { Peer, type PeerRequest } from './peer.fixture';
import { OpenSearchGenerations } from '../../../runtime/adapters/aws/opensearch-generations';
import { OpenSearchHttp } from '../../../runtime/adapters/aws/opensearch-http';
import { OpenSearchVectorSearch } from '../../../runtime/adapters/aws/opensearch-vector-search';
import { Sigv4Signer } from '../../../runtime/adapters/aws/sigv4';
import type { VectorIndexSchema, VectorQuantizationSchema } from '../../../src/contract';

const schemaOf = (quantization?: VectorQuantizationSchema): VectorIndexSchema => ({
  name: 'flats', dimension: 3, similarity: 'l2', engine: 'faiss', fields: [], hnsw: { m: 16, efConstruction: 100, efSearch: 100 }, ...quantization ? { quantization } : {},
});
const signer = new Sigv4Signer({ region: 'eu-central-1', service: 'es', credentials: async () => ({ accessKeyId: 'a', secretAccessKey: 'b' }) });

describe('generations in OpenSearch', () => {
  let peer: Peer;
  let http: OpenSearchHttp;
  const asked: PeerRequest[] = [];
  const last = () => asked.at(-1)!;
  let stats: object;
  let items: object[];
  let highest: number | null;

  beforeAll(async () => {
    peer = await Peer.start((request) => {
      asked.push(request);
      if (request.path.includes('_bulk')) return { body: { items } };
      if (request.path.includes('_stats')) return { body: stats };
      if (request.body.includes('"aggs"')) return { body: { timed_out: false, _shards: { failed: 0, total: 4 }, hits: { hits: [] }, aggregations: { last: { value: highest } } } };
      const hits = { _shards: { failed: 0 }, hits: { hits: [{ _index: 'flats.7', _id: 'a', _score: 0.5 }] } };
      return { body: request.path.includes('_msearch') ? { responses: [hits] } : hits };
    });
    http = new OpenSearchHttp({ endpoint: peer.url, signer });
  });
  afterAll(async () => {
    http.close();
    await peer.stop();
  });

  test.each<[string, VectorQuantizationSchema | undefined, object]>([
    ['none', undefined, {}],
    ['fp16', { kind: 'fp16' }, {}],
    ['byte', { kind: 'byte' }, {}],
    ['disk', { kind: 'disk', compression: 32 }, {}],
    ['binary', { kind: 'binary', bits: 1 }, { rescore: { oversample_factor: 3 } }],
  ])('are measured by the query that searchers send (quantization %s)', async (_, quantization, more) => {
    const index = schemaOf(quantization);
    const vector = [1.5, -0.25, 1e-7];
    const generations = new OpenSearchGenerations(http, { shards: 1, replicas: 0, buildReplicas: 0 });
    expect(await generations.approximate(index, '7', vector, 4)).toEqual([{ id: 'a', score: 0.5 }]);
    expect(last().path).toMatch(/^\/flats\.7\/_search\?/);
    const measured = JSON.parse(last().body.toString());
    expect(measured).toEqual({ size: 4, query: { knn: { vector: { vector, k: 4, ...more } } }, _source: false, track_total_hits: false });

    const search = new OpenSearchVectorSearch({ endpoint: peer.url, signer });
    await search.search([{ index, vector: new Float32Array([1.5, -0.25, 0]), k: 4 }]);
    await search.close();
    const searched = JSON.parse(last().body.toString().split('\n')[1]);
    expect({ ...searched.query.knn.vector, vector }).toEqual(measured.query.knn.vector);
  });

  test.each([[768, 1999, { end: 2000, step: 87_381 }], [768, null, { end: 0, step: 87_381 }], [1_000_000_000, 0, { end: 1, step: 1 }]])(
    'divide exact search into calls of a GiB of vectors, all shards together (%i dimensions, highest %s)', async (dimension, value, extent) => {
      highest = value;
      const generations = new OpenSearchGenerations(http, { shards: 1, replicas: 0, buildReplicas: 0 });
      expect(await generations.extent({ ...schemaOf(), dimension }, '7')).toEqual(extent);
      await generations.exact(schemaOf(), '7', [1, 2, 3], 4, { from: 5, to: 9 });
      expect(JSON.parse(last().body.toString()).query.script_score.query).toEqual({ range: { _seq_no: { gte: 5, lt: 9 } } });
      await generations.exact(schemaOf(), '7', [1, 2, 3], 4);
      expect(JSON.parse(last().body.toString()).query.script_score.query).toEqual({ match_all: {} });
    });

  test('say of a document that was refused what the refusal was caused by, and whether it is for want of memory alone', async () => {
    const failed = (type: string, reason: string) => ({ type: 'mapper_parsing_exception', reason: 'failed to parse field [vector]', caused_by: { type, reason } });
    items = [
      { index: { status: 201 } },
      { index: { status: 400, error: failed('illegal_argument_exception', `Vector dimension mismatch ${'9'.repeat(500)}`) } },
      { index: { status: 400, error: failed('knn_circuit_breaker_exception', 'the circuit breaker triggered') } },
      { index: { status: 429, error: { type: 'rejected_execution_exception', reason: 'queue is full' } } },
      { index: { status: 400, error: { type: 'strict_dynamic_mapping_exception' } } },
    ];
    const mapping = 'mapper_parsing_exception: failed to parse field [vector], caused by ';
    expect(await new OpenSearchGenerations(http, { shards: 1, replicas: 0, buildReplicas: 0 }).bulk('flats', '7', '')).toEqual({
      status: 200,
      items: [
        { status: 201, reason: '' },
        { status: 400, reason: `${mapping}illegal_argument_exception: Vector dimension mismatch ${'9'.repeat(274)}` },
        { status: 400, reason: `${mapping}knn_circuit_breaker_exception: the circuit breaker triggered`, exhausted: true },
        { status: 429, reason: 'rejected_execution_exception: queue is full' },
        { status: 400, reason: 'strict_dynamic_mapping_exception: no reason' },
      ],
    });
    expect(new URL(last().path, peer.url).searchParams.get('filter_path')!.split(',').sort()).toEqual([
      'items.*.error.caused_by.reason', 'items.*.error.caused_by.type', 'items.*.error.reason', 'items.*.error.type', 'items.*.status',
    ]);
  });

  const copy = (primary: boolean, docs: number, segments: number, current = 0) => (
    { routing: { primary, state: 'STARTED' }, docs: { count: docs }, segments: { count: segments }, merges: { current } }
  );

  test.each<[string, Record<string, object[]>, object]>([
    ['one copy of each', { 0: [copy(true, 9, 3)], 1: [copy(true, 8, 1)] }, { copies: 2, segments: 4, running: false }],
    ['replicas that are not merged yet', { 0: [copy(true, 9, 1), copy(false, 9, 4)] }, { copies: 2, segments: 5, running: false }],
    ['replicas that merge', { 0: [copy(true, 9, 1), copy(false, 9, 4, 1)] }, { copies: 2, segments: 5, running: true }],
    ['a shard without a document', { 0: [copy(true, 9, 1), copy(false, 9, 1)], 1: [copy(true, 0, 0), copy(false, 0, 0)] }, { copies: 2, segments: 2, running: false }],
  ])('count segments and merges of every copy of a shard (%s)', async (_, shards, state) => {
    stats = { _all: { primaries: { segments: { count: 1 }, merges: { current: 0 } } }, indices: { 'flats.7': { shards } } };
    expect(await new OpenSearchGenerations(http, { shards: 1, replicas: 2, buildReplicas: 2 }).mergeState('flats', '7')).toEqual(state);
    expect(last().path).toContain('level=shards');
  });
});
