import type { VectorHit, VectorSearch } from '../../../runtime/core/ports';
import type { Similarity, VectorIndexSchema } from '../../../src/contract';

export interface TestDocument {
  readonly id: string;
  readonly vector: readonly number[];
  readonly fields: VectorHit['fields'];
}

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
    return store.search(index, Float32Array.from(query), k);
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
    await expect(store.search({ ...indexOf('l2'), name: 'nowhere' }, Float32Array.of(1, 0), 1)).rejects.toMatchObject({ code: 'VECTOR_STORE_UNAVAILABLE' });
  });
}
