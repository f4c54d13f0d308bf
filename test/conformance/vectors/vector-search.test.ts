/** The vector search adapter on OpenSearch with its k-NN plugin, in indexes with the mapping that the declaration stands for. */
import type { Client } from '@opensearch-project/opensearch';
import { signer } from './builder';
import { vectorFaults } from './faults';
import { addGeneration, pointAlias, referenceSearch, switchAlias } from './indexes';
import { items, itemsIndex, ItemSequence } from './items';
import { OpenSearchServer } from './opensearch-server';
import { vectorServiceFaults } from './service-faults';
import { OpenSearchVectorSearch } from '../../../runtime/adapters/aws/opensearch-vector-search';
import type { VectorQuery } from '../../../runtime/core/ports';
import type { VectorIndexSchema } from '../../../src/contract';
import { hybridSearchContract } from '../../runtime/contract/hybrid-search.contract';
import type { TestDocument } from '../../runtime/contract/vector-document';
import { vectorSearchContract } from '../../runtime/contract/vector-search.contract';

jest.setTimeout(300_000);

/** Enough for one request's 16 searches at a time, and few enough for a crowd to be refused. */
const QUEUE = 64;

let server: OpenSearchServer;
let client: Client;
const stores: OpenSearchVectorSearch[] = [];

const storeAt = (endpoint: string) => {
  const store = new OpenSearchVectorSearch({ endpoint, signer: signer() });
  stores.push(store);
  return store;
};

beforeAll(async () => {
  // no index may be named in a body: policies per index rely on it
  server = await OpenSearchServer.start({ 'rest.action.multi.allow_explicit_index': 'false', 'thread_pool.search.queue_size': QUEUE });
  client = server.client();
});
afterAll(async () => {
  await Promise.all(stores.map((store) => store.close()));
  await server?.stop();
});

describe('vector search in a real OpenSearch', () => {
  describe('keeps the contract of vector stores', () => {
    /** Generations by their index and documents: what was built once answers again. */
    const built = new Map<string, string>();
    const open = async (index: VectorIndexSchema, documents: readonly TestDocument[]) => {
      const content = JSON.stringify([index, documents]);
      let generation = built.get(content);
      if (generation === undefined) {
        generation = String(built.size + 1);
        built.set(content, generation);
        await addGeneration(client, index, generation, documents);
      }
      await switchAlias(client, index, generation);
      return storeAt(server.url);
    };
    vectorSearchContract(open);
    describe('with a text', () => hybridSearchContract(open));
  });

  describe('of a thousand documents', () => {
    const index = itemsIndex('items');
    const sequence = new ItemSequence(1);
    const documents = items(sequence, 1000);
    beforeAll(async () => {
      await addGeneration(client, index, '1', documents);
      await switchAlias(client, index, '1');
    });

    test('gives what the official client gets, score by score, with and without filters', async () => {
      const queries = Array.from({ length: 80 }, (_, at): VectorQuery => (
        { index, vector: sequence.vector(), k: 1 + at % 12, filter: sequence.filter() }
      ));
      const found = await storeAt(server.url).search(queries);
      expect(found).toEqual(await referenceSearch(client, queries));
      expect(found.some(({ hits }) => hits.length > 1)).toBe(true);
    });

    test('finds k where k pass the filter, and all where fewer do', async () => {
      const byId = new Map(documents.map((document) => [document.id, document]));
      const queries = Array.from({ length: 40 }, (): VectorQuery => ({ index, vector: sequence.vector(), k: 10, filter: sequence.filter() }));
      const found = await storeAt(server.url).search(queries);
      found.forEach(({ hits }, at) => {
        const conditions = queries[at].filter ?? [];
        const passes = ({ fields }: TestDocument) => conditions.every(({ field, values }) => values.includes(fields[field]));
        expect(hits.every(({ id }) => passes(byId.get(id)!))).toBe(true);
        expect(hits).toHaveLength(Math.min(10, documents.filter(passes).length));
      });
    });

    test('in an index that is not as declared, refuses the query by a name of its own', async () => {
      const wrong = { ...index, dimension: 3 };
      await expect(storeAt(server.url).search([{ index: wrong, vector: Float32Array.of(1, 2, 3), k: 1 }])).rejects.toMatchObject({ code: 'INVALID_CONFIGURATION' });
    });

    test('a crowd is answered rightly or refused as unavailable', async () => {
      const store = storeAt(server.url);
      const queries = Array.from({ length: 32 }, (): VectorQuery => ({ index, vector: sequence.vector(), k: 10 }));
      const expected = (await store.search(queries)).map(({ hits }) => hits.map(({ id }) => id));
      const answers = await Promise.allSettled(Array.from({ length: 12 }, () => store.search(queries)));
      const refused = answers.filter((answer) => answer.status === 'rejected');
      for (const answer of answers) if (answer.status === 'fulfilled') expect(answer.value.map(({ hits }) => hits.map(({ id }) => id))).toEqual(expected);
      for (const { reason } of refused) expect(reason).toMatchObject({ code: 'VECTOR_STORE_UNAVAILABLE', message: expect.stringMatching(/HTTP 429|within its time limit/) });
      // 12 requests of 16 searches each: more than run and wait at the same time
      expect(refused.length).toBeGreaterThan(0);
    });
  });

  describe('behind an alias', () => {
    const generation = (index: VectorIndexSchema, name: string) => addGeneration(client, index, name, items(new ItemSequence(2), 20, `${name}-`));

    test('each answer is whole and of the generation that it names while the alias moves', async () => {
      const index = itemsIndex('moving');
      await generation(index, 'old');
      await generation(index, 'new');
      await switchAlias(client, index, 'old');
      const store = storeAt(server.url);
      const queries = Array.from({ length: 3 }, (): VectorQuery => ({ index, vector: new ItemSequence(3).vector(), k: 20 }));
      const seen = new Set<string>();
      let moving = true;
      const asking = (async () => {
        while (moving || seen.size < 2) {
          for (const { generation: name, hits } of await store.search(queries)) {
            expect(hits).toHaveLength(20);
            expect(hits.every(({ id }) => id.startsWith(`${name}-`))).toBe(true);
            seen.add(name);
          }
        }
      })();
      for (let move = 0; move < 6; move++) await switchAlias(client, index, move % 2 === 0 ? 'new' : 'old');
      moving = false;
      await switchAlias(client, index, seen.has('new') ? 'old' : 'new');
      await asking;
      expect([...seen].sort()).toEqual(['new', 'old']);
    });

    test('of two generations nothing is answered, whether or not something is found', async () => {
      const index = itemsIndex('torn');
      await generation(index, 'a');
      await generation(index, 'b');
      await switchAlias(client, index, 'a');
      await pointAlias(client, index, 'b');
      const query: VectorQuery = { index, vector: new ItemSequence(3).vector(), k: 40 };
      const torn = { code: 'VECTOR_STORE_UNAVAILABLE', message: expect.stringContaining('must stand for one generation') };
      await expect(storeAt(server.url).search([query])).rejects.toMatchObject(torn);
      await expect(storeAt(server.url).search([{ ...query, filter: [{ field: 'town', values: ['nowhere'] }] }])).rejects.toMatchObject(torn);
    });
  });

  test('with a shard that is away answers nothing rather than a part', async () => {
    const index = itemsIndex('broken');
    await addGeneration(client, index, '1', [], { 'number_of_shards': 2, 'routing.allocation.total_shards_per_node': 1 }, '0');
    await switchAlias(client, index, '1');
    await expect(storeAt(server.url).search([{ index, vector: new ItemSequence(3).vector(), k: 1 }])).rejects.toMatchObject({ code: 'VECTOR_STORE_UNAVAILABLE' });
  });
});

vectorFaults(() => server, storeAt);
vectorServiceFaults(() => server, storeAt);
