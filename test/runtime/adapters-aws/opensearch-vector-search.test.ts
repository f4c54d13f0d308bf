import { Client } from '@opensearch-project/opensearch';
import { AwsSigv4Signer } from '@opensearch-project/opensearch/aws-v3';
import { never, Peer, type PeerAnswer, type PeerRequest } from './peer.fixture';
import { OpenSearchVectorSearch } from '../../../runtime/adapters/aws/opensearch-vector-search';
import type { Similarity, VectorIndexSchema } from '../../../src/contract';
import { type TestDocument, vectorSearchContract } from '../contract/vector-search.contract';
import { CONFIGURATION } from '../core/brain.fixture';

const [TRIPS] = CONFIGURATION.vectorIndexes;

/** Scores by OpenSearch's documentation, written down apart from runtime/core/similarity.ts. */
const SCORES: Record<Similarity, (a: readonly number[], b: readonly number[]) => number> = {
  l2: (a, b) => 1 / (1 + a.reduce((sum, x, i) => sum + (x - b[i]) ** 2, 0)),
  cosine: (a, b) => (1 + inner(a, b) / Math.sqrt(inner(a, a) * inner(b, b))) / 2,
  dot: (a, b) => (inner(a, b) >= 0 ? 1 + inner(a, b) : 1 / (1 - inner(a, b))),
};
const inner = (a: readonly number[], b: readonly number[]) => a.reduce((sum, x, i) => sum + x * b[i], 0);

/** `_search` with a k-NN query and `_alias`, as OpenSearch answers them for one index behind an alias. */
function openSearch(index: VectorIndexSchema, documents: readonly TestDocument[], concrete: string) {
  return ({ method, path, body }: PeerRequest): PeerAnswer => {
    const url = new URL(path, 'http://peer');
    if (method === 'GET' && url.pathname === `/${index.name}/_alias`) return { body: { [concrete]: { aliases: { [index.name]: {} } } } };
    if (method !== 'POST' || url.pathname !== `/${index.name}/_search`) {
      return { status: 404, body: { error: { type: 'index_not_found_exception', reason: `no such index [${url.pathname.split('/')[1]}]` }, status: 404 } };
    }
    const { size, query, _source } = JSON.parse(body.toString());
    const { vector, k } = query.knn.vector;
    const hits = documents
      .map(({ id, vector: stored, fields }) => ({
        _index: concrete,
        _id: id,
        _score: SCORES[index.similarity](vector, stored),
        _source: Object.fromEntries(Object.entries(fields).filter(([name]) => _source.includes.includes(name))),
      }))
      .sort((a, b) => b._score - a._score)
      .slice(0, Math.min(k, size));
    return { body: { took: 1, timed_out: false, _shards: { total: 1, successful: 1, skipped: 0, failed: 0 }, hits: { total: { value: hits.length, relation: 'eq' }, hits } } };
  };
}

const peers: Peer[] = [];
const clientOf = (peer: Peer) => new Client({
  ...AwsSigv4Signer({ region: 'eu-central-1', service: 'es', getCredentials: async () => ({ accessKeyId: 'AKIDEXAMPLE', secretAccessKey: 'secret' }) }), node: peer.url,
});
const start = async (answer: (request: PeerRequest) => PeerAnswer | Promise<PeerAnswer>) => {
  const peer = await Peer.start(answer);
  peers.push(peer);
  return { peer, store: new OpenSearchVectorSearch(clientOf(peer)) };
};
afterEach(async () => {
  await Promise.all(peers.splice(0).map((peer) => peer.stop()));
});

describe('vector search in OpenSearch', () => {
  vectorSearchContract(async (index, documents) => (await start(openSearch(index, documents, `${index.name}.2026-01-01`))).store);

  const DOCUMENTS = [{ id: 'a', vector: [0, 1], fields: { minutes: 5, rush: true, city: 'Wien' } }];

  test('the generation is what stands behind the alias', async () => {
    const { store } = await start(openSearch(TRIPS, DOCUMENTS, 'trips.2026-01-01'));
    expect((await store.search(TRIPS, Float32Array.of(0, 1), 1)).generation).toBe('2026-01-01');
    await store.close();
  });

  test('every request is signed, and searches the alias only', async () => {
    const { store, peer } = await start(openSearch(TRIPS, [], 'trips.1'));
    await store.search(TRIPS, Float32Array.of(0, 1), 1);
    expect(peer.requests.map(({ method, path }) => `${method} ${path}`)).toEqual(['POST /trips/_search?allow_partial_search_results=false', 'GET /trips/_alias']);
    for (const { headers } of peer.requests) expect(headers.authorization).toMatch(/^AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE\/\d{8}\/eu-central-1\/es\/aws4_request/);
    await store.close();
  });

  test('an alias of two generations is no answer', async () => {
    const { store } = await start((request) => {
      const answer = openSearch(TRIPS, [...DOCUMENTS, { ...DOCUMENTS[0], id: 'b' }], 'trips.1')(request) as { body: { hits: { hits: { _index: string }[] } } };
      answer.body.hits.hits[0]._index = 'trips.2';
      return answer;
    });
    await expect(store.search(TRIPS, Float32Array.of(0, 1), 2)).rejects.toMatchObject({ code: 'VECTOR_STORE_UNAVAILABLE' });
    await store.close();
  });

  test.each([403, 429, 500, 503])('HTTP %d is "unavailable"', async (status) => {
    const { store } = await start(() => ({ status, body: { error: { type: 'x', reason: 'y' }, status } }));
    await expect(store.search(TRIPS, Float32Array.of(0, 1), 1)).rejects.toMatchObject({ code: 'VECTOR_STORE_UNAVAILABLE', message: expect.stringContaining(String(status)) });
    await store.close();
  });

  test('a connection that breaks is tried once more', async () => {
    let broken = false;
    const { store } = await start((request) => {
      if (broken) return openSearch(TRIPS, DOCUMENTS, 'trips.1')(request);
      broken = true;
      return { status: 0 };
    });
    expect((await store.search(TRIPS, Float32Array.of(0, 1), 1)).hits).toHaveLength(1);
    await store.close();
  });

  test('stops when the caller gives up', async () => {
    const caller = new AbortController();
    const { store } = await start(() => {
      caller.abort(new Error('gave up'));
      return never();
    });
    await expect(store.search(TRIPS, Float32Array.of(0, 1), 1, caller.signal)).rejects.toThrow('gave up');
    await store.close();
  });
});
