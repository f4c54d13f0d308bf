import { never, Peer, type PeerAnswer, type PeerRequest } from './peer.fixture';
import { OpenSearchVectorSearch } from '../../../runtime/adapters/aws/opensearch-vector-search';
import { Sigv4Signer } from '../../../runtime/adapters/aws/sigv4';
import type { VectorQuery } from '../../../runtime/core/ports';
import { MONOTONIC_CLOCK } from '../../../runtime/core/resilience/monotonic-clock';
import type { Similarity, VectorIndexSchema } from '../../../src/contract';
import type { TestDocument } from '../contract/vector-document';
import { vectorSearchContract } from '../contract/vector-search.contract';
import { CONFIGURATION, NOON } from '../core/brain.fixture';

const [TRIPS] = CONFIGURATION.vectorIndexes;

/** Scores by OpenSearch's documentation, written down apart from runtime/core/similarity.ts. */
const SCORES: Record<Similarity, (a: readonly number[], b: readonly number[]) => number> = {
  l2: (a, b) => 1 / (1 + a.reduce((sum, x, i) => sum + (x - b[i]) ** 2, 0)),
  cosine: (a, b) => (1 + inner(a, b) / Math.sqrt(inner(a, a) * inner(b, b))) / 2,
  dot: (a, b) => (inner(a, b) >= 0 ? 1 + inner(a, b) : 1 / (1 - inner(a, b))),
};
const inner = (a: readonly number[], b: readonly number[]) => a.reduce((sum, x, i) => sum + x * b[i], 0);

interface Filter {
  readonly bool: { readonly filter: readonly { readonly terms: object }[] };
}

interface Search {
  readonly size: number;
  readonly timeout: string;
  readonly _source: false | { readonly includes: readonly string[] };
  readonly query: { readonly knn: { readonly vector: { readonly vector: number[]; readonly k: number; readonly filter?: Filter } } };
}

/** A document passes as OpenSearch compares: a float as float32 and a long by its digits. */
function passes(index: VectorIndexSchema, fields: TestDocument['fields'], { terms }: { terms: object }): boolean {
  const [[field, values]] = Object.entries(terms) as [string, unknown[]][];
  const type = index.fields.find(({ name }) => name === field)!.type;
  const shown = (value: unknown) => (type === 'float' ? Math.fround(value as number) : String(value));
  return field in fields && values.some((value) => shown(value) === shown(fields[field]));
}

const searchesOf = (body: Buffer) => body.toString().trimEnd().split('\n').filter((_, line) => line % 2 === 1).map((line) => JSON.parse(line) as Search);

/** `_msearch` with k-NN queries and `_alias`, as OpenSearch answers them for one index behind an alias. */
function openSearch(index: VectorIndexSchema, documents: readonly TestDocument[], concrete: string) {
  return ({ method, path, body }: PeerRequest): PeerAnswer => {
    const url = new URL(path, 'http://peer');
    if (method === 'GET' && url.pathname === `/${index.name}/_alias`) return { body: { [concrete]: { aliases: { [index.name]: {} } } } };
    if (method !== 'POST' || !url.pathname.endsWith('/_msearch')) return { status: 404, body: { status: 404 } };
    const answer = ({ size, query, _source }: Search) => {
      if (url.pathname !== `/${index.name}/_msearch`) return { error: { type: 'index_not_found_exception', reason: 'no such index' }, status: 404 };
      const { vector, k, filter } = query.knn.vector;
      const hits = documents
        .filter(({ fields }) => (filter?.bool.filter ?? []).every((condition) => passes(index, fields, condition)))
        .map(({ id, vector: stored, fields }) => ({
          _index: concrete,
          _id: id,
          _score: SCORES[index.similarity](vector, stored),
          _source: _source ? Object.fromEntries(Object.entries(fields).filter(([name]) => _source.includes.includes(name))) : undefined,
        }))
        .sort((a, b) => b._score - a._score)
        .slice(0, Math.min(k, size));
      return { took: 1, timed_out: false, _shards: { total: 1, successful: 1, skipped: 0, failed: 0 }, hits: { max_score: 1, hits }, status: 200 };
    };
    return { body: { took: 1, responses: searchesOf(body).map(answer) } };
  };
}

const SIGNER = new Sigv4Signer({
  region: 'eu-central-1', service: 'es', credentials: async () => ({ accessKeyId: 'AKIDEXAMPLE', secretAccessKey: 'secret' }),
});
const peers: Peer[] = [];
const stores: OpenSearchVectorSearch[] = [];
const start = async (answer: (request: PeerRequest) => PeerAnswer | Promise<PeerAnswer>) => {
  const peer = await Peer.start(answer);
  peers.push(peer);
  const store = new OpenSearchVectorSearch({ endpoint: peer.url, signer: SIGNER });
  stores.push(store);
  return { peer, store };
};
afterEach(async () => {
  await Promise.all(stores.splice(0).map((store) => store.close()));
  await Promise.all(peers.splice(0).map((peer) => peer.stop()));
});

describe('vector search in OpenSearch', () => {
  vectorSearchContract(async (index, documents) => (await start(openSearch(index, documents, `${index.name}.2026-01-01`))).store);

  const DOCUMENTS = [{ id: 'a', vector: [0, 1], fields: { minutes: 5, rush: true, city: 'Wien' } }];
  const query = (rest: Partial<VectorQuery> = {}): VectorQuery => ({ index: TRIPS, vector: Float32Array.of(0, 1), k: 1, ...rest });
  const many = (count: number, rest: Partial<VectorQuery> = {}) => (
    Array.from({ length: count }, (_, at) => query({ vector: Float32Array.of(at, 1), ...rest }))
  );
  /** The answer with its first search's part replaced. */
  const withFirst = (change: (first: any) => object) => (request: PeerRequest) => {
    const answer = openSearch(TRIPS, DOCUMENTS, 'trips.1')(request) as { body: { responses: object[] } };
    answer.body.responses[0] = change(answer.body.responses[0]);
    return answer;
  };

  test('the generation is what stands behind the alias', async () => {
    const { store } = await start(openSearch(TRIPS, DOCUMENTS, 'trips.2026-01-01'));
    expect((await store.search([query()]))[0].generation).toBe('2026-01-01');
  });

  describe('of a query with a text', () => {
    const TEXTS: VectorIndexSchema = { ...TRIPS, name: 'trips', fields: [...TRIPS.fields, { name: 'notes', type: 'text' }, { name: 'title', type: 'text' }] };
    const list = (concrete: string, ...ids: string[]) => (
      { timed_out: false, _shards: { failed: 0 }, hits: { hits: ids.map((_id) => ({ _index: concrete, _id, _score: 1, _source: { city: 'Wien' } })) }, status: 200 }
    );
    const AWAY = { error: { type: 'circuit_breaking_exception' }, status: 429 };
    const answering = (...responses: object[]) => start(({ method }) => (method === 'GET' ? { body: { 'trips.1': {} } } : { body: { responses } }));
    const asked = (rest: Partial<VectorQuery> = {}) => query({ index: TEXTS, k: 2, text: 'Wet, roads?', ...rest });
    const score = (...ranks: number[]) => expect.closeTo(ranks.reduce((sum, rank) => sum + 1 / (60 + rank), 0), 9);
    const hit = (id: string, ...ranks: number[]) => ({ id, score: score(...ranks), fields: { city: 'Wien' } });

    test('one call asks for both lists, each deeper than k, with the same filter and without the texts themselves', async () => {
      const { store, peer } = await answering(list('trips.1', 'a', 'b'), list('trips.1', 'b', 'c'), list('trips.1', 'a'));
      const filter = [{ field: 'city', values: ['Wien'] }];
      expect(await store.search([asked({ filter }), query({ index: TEXTS })])).toEqual([
        { generation: '1', hits: [hit('b', 2, 1), hit('a', 1)] }, { generation: '1', hits: [{ id: 'a', score: 1, fields: { city: 'Wien' } }] },
      ]);
      const [nearest, worded, plain] = searchesOf(peer.requests[0].body) as any[];
      const terms = { bool: { filter: [{ terms: { city: ['Wien'] } }] } };
      expect([nearest.size, nearest.query.knn.vector.k, nearest.query.knn.vector.filter, plain.size]).toEqual([50, 50, terms, 1]);
      expect(worded).toEqual({
        size: 50,
        timeout: nearest.timeout,
        track_total_hits: false,
        _source: { includes: TRIPS.fields.map(({ name }) => name) },
        query: { bool: { must: { multi_match: { query: 'wet roads', type: 'most_fields', fields: ['notes', 'title'] } }, filter: terms } },
      });
    });

    test.each<[string, 'text' | 'vector', object[], object[]]>([
      ['the words', 'text', [list('trips.1', 'a', 'b'), AWAY], [hit('a', 1), hit('b', 2)]],
      ['the words, whose shards answered in part,', 'text', [list('trips.1', 'a'), { ...list('trips.1', 'b'), _shards: { failed: 1 } }], [hit('a', 1)]],
      ['the words, which are of another generation,', 'text', [list('trips.1', 'a'), list('trips.2', 'b')], [hit('a', 1)]],
      ['the vectors', 'vector', [{ ...list('trips.1', 'a'), timed_out: true }, list('trips.1', 'c')], [hit('c', 1)]],
    ])('the list of %s is named where it is missing', async (_, missing, responses, hits) => {
      const { store } = await answering(...responses);
      expect(await store.search([asked()])).toEqual([{ generation: '1', hits, missing }]);
    });

    test('without both lists there is no answer, and a refused query is a mistake', async () => {
      await expect((await answering(AWAY, AWAY)).store.search([asked()])).rejects.toMatchObject({ code: 'VECTOR_STORE_UNAVAILABLE' });
      await expect((await answering(list('trips.1'))).store.search([asked()])).rejects.toMatchObject({ message: expect.stringContaining('answered 1 of 2 searches') });
      const refused = { error: { type: 'parsing_exception' }, status: 400 };
      await expect((await answering(list('trips.1'), refused)).store.search([asked()])).rejects.toMatchObject({ code: 'INVALID_CONFIGURATION' });
    });

    test('calls are bounded by all searches that they make', async () => {
      const { store, peer } = await start(({ method, body }) => (
        method === 'GET' ? { body: { 'trips.1': {} } } : { body: { responses: searchesOf(body).map(() => list('trips.1', 'a')) } }
      ));
      await store.search(many(40, { index: TEXTS, text: 'wet' }));
      await store.search(many(6, { index: TEXTS, text: 'wet', k: 1000 }));
      expect(peer.requests.map(({ body }) => searchesOf(body).length)).toEqual([32, 32, 16, 4, 4, 4]);
    });
  });

  test('every request is signed, and searches by the path of the alias only', async () => {
    const { store, peer } = await start(openSearch(TRIPS, [], 'trips.1'));
    await store.search([query()]);
    expect(peer.requests.map(({ method, path }) => `${method} ${path}`)).toEqual(['POST /trips/_msearch?max_concurrent_searches=16', 'GET /trips/_alias']);
    for (const { headers } of peer.requests) expect(headers.authorization).toMatch(/^AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE\/\d{8}\/eu-central-1\/es\/aws4_request/);
    expect(JSON.parse(peer.requests[0].body.toString().split('\n')[0])).toEqual({ allow_partial_search_results: false, preference: expect.stringMatching(/^[0-9a-f-]{36}$/) });
  });

  test('asks for 32 searches at a time, one call after the other', async () => {
    let underWay = 0;
    let peak = 0;
    const { store, peer } = await start(async (request) => {
      peak = Math.max(peak, ++underWay);
      await new Promise(setImmediate);
      underWay--;
      return openSearch(TRIPS, DOCUMENTS, 'trips.1')(request);
    });
    expect(await store.search(many(70))).toHaveLength(70);
    expect(peer.requests.map(({ body }) => searchesOf(body).length)).toEqual([32, 32, 6]);
    expect(peak).toBe(1);
  });

  test('asks for at most 4096 hits at a time', async () => {
    const { store, peer } = await start(openSearch(TRIPS, DOCUMENTS, 'trips.1'));
    await store.search(many(10, { k: 1000 }));
    expect(peer.requests.map(({ body }) => searchesOf(body).length)).toEqual([4, 4, 2]);
  });

  test('asks each index by itself, and gives the answers in the order of the queries', async () => {
    const roads = { ...TRIPS, name: 'roads' };
    const { store, peer } = await start((request) => (
      request.path.startsWith('/trips/') ? openSearch(TRIPS, DOCUMENTS, 'trips.1') : openSearch(roads, [{ ...DOCUMENTS[0], id: 'r' }], 'roads.7')
    )(request));
    const found = await store.search([query(), query({ index: roads }), query()]);
    expect(found.map(({ generation, hits }) => [generation, hits[0].id])).toEqual([['1', 'a'], ['7', 'r'], ['1', 'a']]);
    expect(peer.requests).toHaveLength(2);
  });

  test('an index without fields gives back no part of a document', async () => {
    const bare = { ...TRIPS, fields: [] };
    const { store, peer } = await start(openSearch(bare, DOCUMENTS, 'trips.1'));
    expect((await store.search([query({ index: bare })]))[0].hits[0].fields).toEqual({});
    expect(searchesOf(peer.requests[0].body)[0]._source).toBe(false);
  });

  test('only where bits tell the candidates, asks for them to be scored by their vectors', async () => {
    const { store, peer } = await start(openSearch(TRIPS, DOCUMENTS, 'trips.1'));
    await store.search([query(), query({ index: { ...TRIPS, quantization: { kind: 'binary', bits: 1 } } })]);
    const asked = searchesOf(peer.requests[0].body).map(({ query: { knn } }: any) => knn.vector.rescore);
    expect(asked).toEqual([undefined, { oversample_factor: 3 }]);
  });

  test('the time that is left is the limit of each search', async () => {
    const { store, peer } = await start(openSearch(TRIPS, DOCUMENTS, 'trips.1'));
    await store.search([query()], { deadline: MONOTONIC_CLOCK.now() + 400 });
    const limit = Number(/^(\d+)ms$/.exec(searchesOf(peer.requests[0].body)[0].timeout)![1]);
    expect(limit).toBeGreaterThan(0);
    expect(limit).toBeLessThanOrEqual(400);
  });

  test('without a deadline the limit is 5 s', async () => {
    const { peer } = await start(openSearch(TRIPS, DOCUMENTS, 'trips.1'));
    const store = new OpenSearchVectorSearch({ endpoint: peer.url, signer: SIGNER, clock: { now: () => NOON } });
    stores.push(store);
    await store.search([query()]);
    expect(searchesOf(peer.requests[0].body)[0].timeout).toBe('5000ms');
  });

  test('where no time is left, nothing is asked', async () => {
    const { store, peer } = await start(never);
    await expect(store.search([query()], { deadline: MONOTONIC_CLOCK.now() - 1 })).rejects.toMatchObject({ code: 'VECTOR_STORE_UNAVAILABLE', message: expect.stringContaining('no time is left') });
    expect(peer.requests).toHaveLength(0);
  });

  test('a store that is silent until the deadline is "unavailable"', async () => {
    const { store } = await start(never);
    await expect(store.search([query()], { deadline: MONOTONIC_CLOCK.now() + 50 })).rejects.toMatchObject({ code: 'VECTOR_STORE_UNAVAILABLE', message: expect.stringContaining('within its time limit') });
  });

  interface Made {
    readonly body: { readonly responses: { readonly hits: { readonly hits: { _index: string }[] } }[] };
  }

  test('an alias that moves between two searches gives each its own generation', async () => {
    const { store } = await start((request) => {
      const made = openSearch(TRIPS, DOCUMENTS, 'trips.1')(request) as Made;
      made.body.responses[1].hits.hits[0]._index = 'trips.2';
      made.body.responses[2].hits.hits.length = 0;
      return made;
    });
    expect((await store.search(many(3))).map(({ generation, hits }) => [generation, hits.length])).toEqual([['1', 1], ['2', 1], ['1', 0]]);
  });

  test('an alias of two generations is no answer', async () => {
    const two = [...DOCUMENTS, { ...DOCUMENTS[0], id: 'b' }];
    const within = await start((request) => {
      const made = openSearch(TRIPS, two, 'trips.1')(request) as Made;
      made.body.responses[0].hits.hits[0]._index = 'trips.2';
      return made;
    });
    await expect(within.store.search([query({ k: 2 })])).rejects.toMatchObject({ code: 'VECTOR_STORE_UNAVAILABLE' });
    const behind = await start((request) => (request.method === 'GET' ? { body: { 'trips.1': {}, 'trips.2': {} } } : openSearch(TRIPS, [], 'trips.1')(request)));
    await expect(behind.store.search([query()])).rejects.toMatchObject({ code: 'VECTOR_STORE_UNAVAILABLE' });
  });

  test.each([[DOCUMENTS], [[]]])('an alias of another index\'s generation is no answer, be it of %j', async (documents) => {
    const { store } = await start(openSearch(TRIPS, documents, 'cities.1'));
    await expect(store.search([query()])).rejects.toMatchObject({ code: 'VECTOR_STORE_UNAVAILABLE', message: expect.stringContaining("the alias 'trips' stands for cities.1") });
  });

  test('asks for the alias once a second at most where nothing is found', async () => {
    const { peer } = await start(openSearch(TRIPS, [], 'trips.1'));
    let now = NOON;
    const store = new OpenSearchVectorSearch({ endpoint: peer.url, signer: SIGNER, clock: { now: () => now } });
    stores.push(store);
    for (const later of [0, 500, 499, 1]) {
      now += later;
      expect((await store.search([query()]))[0].generation).toBe('1');
    }
    expect(peer.requests.filter(({ method }) => method === 'GET')).toHaveLength(2);
  });

  test.each([403, 429, 500, 503])('HTTP %d is "unavailable", and not asked again', async (status) => {
    const { store, peer } = await start(() => ({ status, body: { error: { type: 'x', reason: 'y' }, status } }));
    await expect(store.search([query()])).rejects.toMatchObject({ code: 'VECTOR_STORE_UNAVAILABLE', message: expect.stringContaining(String(status)) });
    expect(peer.requests).toHaveLength(1);
  });

  test.each<[string, (first: any) => object]>([
    ['one search was refused for load', () => ({ error: { type: 'rejected_execution_exception' }, status: 429 })],
    ['one search ran out of time', (first) => ({ ...first, timed_out: true })],
    ['a shard of one search failed', (first) => ({ ...first, _shards: { failed: 1 } })],
    ['one search has no hits at all', () => ({ status: 200 })],
  ])('is "unavailable" where %s, even if others were answered', async (_, change) => {
    const { store } = await start(withFirst(change));
    await expect(store.search(many(3))).rejects.toMatchObject({ code: 'VECTOR_STORE_UNAVAILABLE' });
  });

  test('a query that the index refuses is a wrong declaration', async () => {
    const { store } = await start(withFirst(() => ({ error: { type: 'search_phase_execution_exception' }, status: 400 })));
    await expect(store.search([query()])).rejects.toMatchObject({ code: 'INVALID_CONFIGURATION', message: expect.stringContaining("'trips' refuses the query") });
  });

  test.each([['no JSON', '<html>'], ['another answer', { hits: {} }], ['too few answers', { responses: [] }]])('%s is "unavailable"', async (_, body) => {
    const { store } = await start(() => ({ body }));
    await expect(store.search([query()])).rejects.toMatchObject({ code: 'VECTOR_STORE_UNAVAILABLE' });
  });

  test('an answer above its bound is "unavailable"', async () => {
    const { store } = await start(() => ({ body: Buffer.alloc(17 * 1024 * 1024, ' ') }));
    await expect(store.search([query()])).rejects.toMatchObject({ code: 'VECTOR_STORE_UNAVAILABLE' });
  });

  test('a kept connection that has been closed is replaced', async () => {
    const { peer } = await start(openSearch(TRIPS, DOCUMENTS, 'trips.1'));
    const onRetry = jest.fn();
    const store = new OpenSearchVectorSearch({ endpoint: peer.url, signer: SIGNER, onRetry });
    stores.push(store);
    for (let round = 0; round < 3; round++) {
      expect((await store.search([query()]))[0].hits).toHaveLength(1);
      peer.dropConnections();
    }
    // the end of a connection may be seen before it is used again
    expect(onRetry.mock.calls.length).toBeLessThanOrEqual(2);
  });

  test('a new connection that breaks is "unavailable", and not tried again', async () => {
    const { store, peer } = await start(() => ({ status: 0 }));
    await expect(store.search([query()])).rejects.toMatchObject({ code: 'VECTOR_STORE_UNAVAILABLE' });
    expect(peer.requests).toHaveLength(1);
  });

  test('stops when the caller gives up, and asks nothing more', async () => {
    const caller = new AbortController();
    const { store, peer } = await start(() => {
      caller.abort(new Error('gave up'));
      return never();
    });
    await expect(store.search(many(40), { signal: caller.signal })).rejects.toThrow('gave up');
    expect(peer.requests).toHaveLength(1);
  });
});
