import type { TestDocument } from './vector-document';
import type { VectorFilter, VectorSearch } from '../../../runtime/core/ports';
import type { Similarity, VectorIndexSchema } from '../../../src/contract';

const indexOf = (similarity: Similarity): VectorIndexSchema => ({
  name: `places-${similarity}`,
  dimension: 2,
  similarity,
  engine: 'lucene',
  fields: [{ name: 'price', type: 'float' }, { name: 'visits', type: 'long' }, { name: 'open', type: 'boolean' }, { name: 'town', type: 'keyword' }],
  hnsw: { m: 16, efConstruction: 100, efSearch: 100 },
});

const DOCUMENTS: readonly TestDocument[] = [
  { id: 'north', vector: [0, 1], fields: { price: 1.5, visits: 10, open: true, town: 'Brno' } },
  { id: 'north-far', vector: [0, 3], fields: { price: 2.5, visits: 20, open: false, town: 'Brno' } },
  { id: 'east', vector: [1, 0], fields: { price: 3.5, visits: 30, open: true, town: 'Łódź' } },
  { id: 'south', vector: [0, -2], fields: { price: 4.5, visits: 40, open: true, town: 'Wien' } },
];

/** What every vector store answers to exact questions. `open` gives a store whose index holds the documents in one generation. */
export function vectorSearchContract(open: (index: VectorIndexSchema, documents: readonly TestDocument[]) => Promise<VectorSearch>): void {
  let store: VectorSearch | undefined;
  afterEach(async () => {
    await store?.close();
    store = undefined;
  });

  const search = async (similarity: Similarity, query: number[], k: number, documents = DOCUMENTS) => {
    const index = indexOf(similarity);
    store = await open(index, documents);
    const [found] = await store.search([{ index, vector: Float32Array.from(query), k }]);
    return found;
  };

  /** The ids that pass, sorted. */
  const passing = async (filter: VectorFilter, documents = DOCUMENTS) => {
    const index = indexOf('l2');
    store = await open(index, documents);
    const [{ hits }] = await store.search([{ index, vector: Float32Array.of(0, 1), k: 10, filter }]);
    return hits.map(({ id }) => id).sort();
  };

  test.each<[Similarity, [string, number][]]>([
    ['l2', [['north', 1 / (1 + 1)], ['north-far', 1 / (1 + 1)], ['east', 1 / (1 + 5)], ['south', 1 / (1 + 16)]]],
    ['cosine', [['north', 1], ['north-far', 1], ['east', 0.5], ['south', 0]]],
    ['dot', [['north-far', 7], ['north', 3], ['east', 1], ['south', 1 / 5]]],
  ])('%s scores are those of OpenSearch, nearest first', async (similarity, expected) => {
    const { hits } = await search(similarity, [0, 2], 4);
    expect(hits.map(({ score }) => score)).toEqual(expected.map(([, score]) => expect.closeTo(score, 5)));
    // equal scores come in any order
    for (const [id, score] of expected) expect(hits.find((hit) => hit.id === id)!.score).toBeCloseTo(score, 5);
  });

  test('gives at most k, with the declared fields', async () => {
    const { hits } = await search('l2', [1, 0], 1);
    expect(hits).toEqual([{ id: 'east', score: expect.closeTo(1, 6), fields: { price: 3.5, visits: 30, open: true, town: 'Łódź' } }]);
  });

  test('gives fewer where the index holds fewer', async () => {
    expect((await search('l2', [1, 0], 10)).hits).toHaveLength(4);
    await store!.close();
    expect((await search('l2', [1, 0], 10, [])).hits).toEqual([]);
  });

  test('names the generation that answered, also where nothing is found', async () => {
    const { generation } = await search('l2', [1, 0], 1);
    expect(generation).toMatch(/./);
    await store!.close();
    expect((await search('l2', [1, 0], 1, [])).generation).toMatch(/./);
  });

  test('an index that is not there is unavailable, not empty', async () => {
    store = await open(indexOf('l2'), DOCUMENTS);
    const query = { index: indexOf('l2'), vector: Float32Array.of(1, 0), k: 1 };
    await expect(store.search([query, { ...query, index: { ...indexOf('l2'), name: 'nowhere' } }])).rejects.toMatchObject({ code: 'VECTOR_STORE_UNAVAILABLE' });
  });

  test('answers many queries in their order, and none with nothing', async () => {
    const index = indexOf('l2');
    store = await open(index, DOCUMENTS);
    const wanted = Array.from({ length: 100 }, (_, at) => DOCUMENTS[at % DOCUMENTS.length]);
    const found = await store.search(wanted.map(({ vector }, at) => ({ index, vector: Float32Array.from(vector), k: 1 + at % 2 })));
    expect(found.map(({ hits }) => hits[0].id)).toEqual(wanted.map(({ id }) => id));
    expect(found.map(({ hits }) => hits.length)).toEqual(wanted.map((_, at) => 1 + at % 2));
    expect(await store.search([])).toEqual([]);
  });

  const HUGE: TestDocument = { id: 'huge', vector: [0, 9], fields: { price: 0.1, visits: '9007199254740993', open: false, town: 'a "b"\n' } };
  const BARE: TestDocument = { id: 'bare', vector: [0, 9], fields: {} };

  test.each<[string, VectorFilter, string[]]>([
    ['a keyword', [{ field: 'town', values: ['Łódź'] }], ['east']],
    ['one of several keywords', [{ field: 'town', values: ['Wien', 'Łódź', 'Graz'] }], ['east', 'south']],
    ['a keyword with quotes and line breaks', [{ field: 'town', values: ['a "b"\n'] }], ['huge']],
    ['a keyword that is only a part', [{ field: 'town', values: ['Br', 'brno'] }], []],
    ['a long', [{ field: 'visits', values: [20] }], ['north-far']],
    ['a long as text', [{ field: 'visits', values: ['20', '10'] }], ['north', 'north-far']],
    ['a long beyond 2^53', [{ field: 'visits', values: ['9007199254740993'] }], ['huge']],
    ['another long beyond 2^53', [{ field: 'visits', values: ['9007199254740992'] }], []],
    ['true', [{ field: 'open', values: [true] }], ['east', 'north', 'south']],
    ['false', [{ field: 'open', values: [false] }], ['huge', 'north-far']],
    ['either', [{ field: 'open', values: [false, true] }], ['east', 'huge', 'north', 'north-far', 'south']],
    ['a float', [{ field: 'price', values: [4.5] }], ['south']],
    ['a float, as float32 holds it', [{ field: 'price', values: [0.1] }], ['huge']],
    ['a float of another precision', [{ field: 'price', values: [Math.fround(0.1)] }], ['huge']],
    ['every condition at once', [{ field: 'town', values: ['Brno', 'Wien'] }, { field: 'open', values: [true] }, { field: 'visits', values: [10, 20] }], ['north']],
    ['two conditions on one field', [{ field: 'town', values: ['Brno', 'Wien'] }, { field: 'town', values: ['Wien'] }], ['south']],
    ['no value', [{ field: 'town', values: [] }], []],
    ['no condition', [], ['bare', 'east', 'huge', 'north', 'north-far', 'south']],
  ])('finds only what passes a filter on %s', async (_, filter, expected) => {
    expect(await passing(filter, [...DOCUMENTS, HUGE, BARE])).toEqual(expected);
  });

  test('a filter leaves k nearest among those that pass, each query with its own', async () => {
    const index = indexOf('l2');
    store = await open(index, DOCUMENTS);
    const vector = Float32Array.of(0, 1);
    const found = await store.search([
      { index, vector, k: 2, filter: [{ field: 'open', values: [true] }] },
      { index, vector, k: 2, filter: [{ field: 'town', values: ['Wien'] }] },
      { index, vector, k: 2 },
    ]);
    expect(found.map(({ hits }) => hits.map(({ id }) => id))).toEqual([['north', 'east'], ['south'], ['north', 'east']]);
    expect(found[0].hits[1].score).toBeCloseTo(1 / 3, 6);
  });
}
