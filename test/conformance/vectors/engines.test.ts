/** Indexes of both engines on the real k-NN plugin: what our adapter finds in their graphs of what looking at every vector finds, and what they take of memory. */
import type { Client } from '@opensearch-project/opensearch';
import { signer } from './builder';
import { faissGenerations } from './faiss-generations';
import { addGeneration, referenceSearch, switchAlias } from './indexes';
import { items, itemsIndex, ItemSequence } from './items';
import { OpenSearchServer } from './opensearch-server';
import { OpenSearchVectorSearch } from '../../../runtime/adapters/aws/opensearch-vector-search';
import { FlatIndex } from '../../../runtime/adapters/local/flat-index';
import type { VectorQuery } from '../../../runtime/core/ports';
import { SIMILARITIES, type VectorIndexSchema } from '../../../src/contract';

jest.setTimeout(300_000);

const DOCUMENTS = 2000;
const K = 10;
const QUERIES = 20;

let server: OpenSearchServer;
let client: Client;
let store: OpenSearchVectorSearch;
beforeAll(async () => {
  server = await OpenSearchServer.start({}, { faiss: true });
  client = server.client();
  store = new OpenSearchVectorSearch({ endpoint: server.url, signer: signer() });
});
afterAll(async () => {
  await store?.close();
  await server?.stop();
});

/** Every segment has a graph, however small it is: by itself the plugin looks at each vector of one with fewer than 15,000. */
const GRAPHS = { 'knn.advanced.approximate_threshold': 0 };

describe.each(['lucene', 'faiss'] as const)('an index of %s', (engine) => {
  test.each(SIMILARITIES)('finds nearly all of the nearest by %s, and with a filter all that pass', async (similarity) => {
    const index: VectorIndexSchema = { ...itemsIndex(`${engine}-${similarity}`), engine, similarity };
    const sequence = new ItemSequence(11);
    const documents = items(sequence, DOCUMENTS);
    await addGeneration(client, index, '1', documents, GRAPHS);
    await switchAlias(client, index, '1');
    const exact = new FlatIndex(Float32Array.from(documents.flatMap(({ vector }) => [...vector])), index.dimension, similarity);
    const vectors = Array.from({ length: QUERIES }, () => sequence.vector());

    const searched = async (queries: readonly VectorQuery[]) => {
      const found = await store.search(queries);
      expect(found).toEqual(await referenceSearch(client, queries));
      return found;
    };
    const found = await searched(vectors.map((vector) => ({ index, vector, k: K })));
    const hit = found.map(({ hits }, at) => {
      const truth = exact.search(vectors[at], K);
      expect(hits[0].score).toBeCloseTo(truth[0].score, 4);
      const nearest = truth.map(({ position }) => documents[position].id);
      return hits.filter(({ id }) => nearest.includes(id)).length;
    });
    expect(hit.reduce((sum, count) => sum + count) / (K * QUERIES)).toBeGreaterThan(0.95);

    const filter = [{ field: 'town', values: ['Graz'] }];
    for (const { hits } of await searched(vectors.map((vector) => ({ index, vector, k: K, filter })))) {
      expect(hits.map(({ fields }) => fields.town)).toEqual(new Array(K).fill('Graz'));
    }
  });
});

faissGenerations(() => server, GRAPHS);
