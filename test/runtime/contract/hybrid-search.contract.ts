import type { TestDocument } from './vector-document';
import type { VectorFilter, VectorSearch } from '../../../runtime/core/ports';
import type { VectorIndexSchema } from '../../../src/contract';

const INDEX: VectorIndexSchema = {
  name: 'articles',
  dimension: 2,
  similarity: 'l2',
  engine: 'lucene',
  fields: [{ name: 'title', type: 'text' }, { name: 'body', type: 'text' }, { name: 'topic', type: 'keyword' }, { name: 'year', type: 'long' }],
  hnsw: { m: 16, efConstruction: 100, efSearch: 100 },
};
const article = (id: string, x: number, title: string | undefined, body: string, topic = 'care', year = 2025): TestDocument => (
  { id, vector: [x, 0], fields: { ...title === undefined ? {} : { title }, body, topic, year } }
);
const DOCUMENTS: readonly TestDocument[] = [
  article('brakes', 1, 'Brake pads', "Squeaking brakes: change the driver's pads, then bed them in."),
  article('tyres', 2, 'Tyres', 'Pressure, wear, and when to change them. Winter tyres from November.'),
  article('oil', 3, undefined, 'Change the oil; oil ages even when the car stands.', 'engine'),
  article('battery', 4, 'Winter and the battery', 'A battery loses capacity in winter.', 'electrics', 2024),
  article('wipers', 5, 'Wipers', 'Größe und Länge der Wischer; ΣΟΦΙΑ 3.5 mm_v2', 'care', 2023),
  { id: 'bare', vector: [6, 0], fields: {} },
];
const RANK = (...ranks: number[]) => ranks.reduce((sum, rank) => sum + 1 / (60 + rank), 0);

/** What every vector store answers where a query has a text beside its vector. `open` gives a store whose index holds the documents in one generation. */
export function hybridSearchContract(open: (index: VectorIndexSchema, documents: readonly TestDocument[]) => Promise<VectorSearch>): void {
  let store: VectorSearch | undefined;
  afterEach(async () => {
    await store?.close();
    store = undefined;
  });

  const ask = async (text: string, x: number, k = 10, filter?: VectorFilter, documents = DOCUMENTS) => {
    store ??= await open(INDEX, documents);
    const [found] = await store.search([{ index: INDEX, vector: Float32Array.of(x, 0), k, text, filter }]);
    return found;
  };
  const ids = async (...asked: Parameters<typeof ask>) => (await ask(...asked)).hits.map(({ id }) => id);

  test('what both lists have stands first, with the score of its ranks', async () => {
    const { hits, generation, missing } = await ask('winter battery', 0, 3);
    // by vector: brakes 1, tyres 2, oil 3, battery 4; by words: battery 1, tyres 2
    expect(hits.map(({ id, score }) => [id, score])).toEqual([
      ['tyres', expect.closeTo(RANK(2, 2), 6)], ['battery', expect.closeTo(RANK(4, 1), 6)], ['brakes', expect.closeTo(RANK(1), 6)],
    ]);
    expect(generation).toMatch(/./);
    expect(missing).toBeUndefined();
  });

  test('gives the fields of a document, and not the texts', async () => {
    expect((await ask('pads', 1, 1)).hits).toEqual([{ id: 'brakes', score: expect.closeTo(RANK(1, 1), 6), fields: { topic: 'care', year: 2025 } }]);
    expect((await store!.search([{ index: INDEX, vector: Float32Array.of(1, 0), k: 1 }]))[0].hits[0].fields).toEqual({ topic: 'care', year: 2025 });
  });

  test('a text that no document has, or that has no word, leaves the order of the vectors', async () => {
    const byVector = ['brakes', 'tyres', 'oil', 'battery', 'wipers', 'bare'];
    expect(await ids('gearbox', 0)).toEqual(byVector);
    expect(await ids('', 0)).toEqual(byVector);
    expect(await ids(' … !? "*" ) && (', 0)).toEqual(byVector);
    expect((await ask('', 0, 1)).hits[0].score).toBeCloseTo(RANK(1), 6);
  });

  test.each<[string, string, string]>([
    ['of a field that the document alone has', 'squeaking', 'brakes'],
    ['in another case', 'CAPACITY', 'battery'],
    ['with an apostrophe', "driver's", 'brakes'],
    ['with letters of other alphabets', 'größe σοφια', 'wipers'],
    ['with digits, points and underlines', '3.5 mm_v2', 'wipers'],
    ['that stands twice, more often than elsewhere', 'oil oil', 'oil'],
  ])('finds a word %s', async (_, text, expected) => {
    // a document that words and vectors have beats all that only one of them has
    const { hits } = await ask(text, 0, 6);
    expect(hits.filter(({ score }) => score > RANK(1)).map(({ id }) => id)).toEqual([expected]);
  });

  test('ranks by how rare words are, how often they stand, how long the text is, and in how many fields', async () => {
    const documents = [
      article('once', 9, undefined, 'winter is long and the days are short and cold and dark'), article('often', 9, undefined, 'winter winter winter'),
      article('both', 9, 'winter', 'winter winter winter'), article('short', 9, undefined, 'cold winter'), article('rare', 9, undefined, 'cold aquaplaning'),
      article('none', 9, undefined, 'summer'),
    ];
    // all as near: ranks of the words decide, and the vectors' do not depend on the text
    const { hits: same } = await ask('', 9, 6, undefined, documents);
    const byVector = new Map(same.map(({ id, score }) => [id, score]));
    const { hits } = await ask('winter aquaplaning', 9, 6);
    const byWords = hits.map(({ id, score }) => [id, score - byVector.get(id)!] as const)
      .filter(([, score]) => score > 1e-6)
      .sort(([, a], [, b]) => b - a);
    expect(byWords.map(([id]) => id)).toEqual(['rare', 'both', 'often', 'short', 'once']);
  });

  test('a filter applies to both lists', async () => {
    expect(await ids('winter battery', 0, 10, [{ field: 'topic', values: ['care'] }])).toEqual(['tyres', 'brakes', 'wipers']);
    expect(await ids('winter', 0, 10, [{ field: 'topic', values: ['electrics', 'engine'] }, { field: 'year', values: [2024] }])).toEqual(['battery']);
    expect(await ids('winter', 0, 10, [{ field: 'topic', values: ['none'] }])).toEqual([]);
  });

  test('each query of a batch has its own text, and some have none', async () => {
    store = await open(INDEX, DOCUMENTS);
    const vector = Float32Array.of(0, 0);
    const found = await store.search([
      { index: INDEX, vector, k: 1, text: 'battery' }, { index: INDEX, vector, k: 2 }, { index: INDEX, vector, k: 1, text: 'oil' },
      ...Array.from({ length: 40 }, (_, at) => ({ index: INDEX, vector, k: 1, text: ['tyres', 'squeaking'][at % 2] })),
    ]);
    expect(found.slice(0, 3).map(({ hits }) => hits.map(({ id }) => id))).toEqual([['battery'], ['brakes', 'tyres'], ['oil']]);
    expect(found.slice(3).map(({ hits }) => hits[0].id)).toEqual(Array.from({ length: 40 }, (_, at) => ['tyres', 'brakes'][at % 2]));
  });

  test('a text of more words than one query may have is searched by its first ones', async () => {
    const long = `battery ${'lorem '.repeat(5000)} squeaking`;
    expect(await ids(long, 0, 1)).toEqual(['battery']);
  });
}
