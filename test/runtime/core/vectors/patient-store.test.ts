import { OpenSearchRefusal } from '../../../../runtime/adapters/aws/opensearch-http';
import { PatientStore } from '../../../../runtime/core/vectors/patient-store';
import { provideStore, removeStore } from '../../../../runtime/core/vectors/provide-store';
import type { StoreApi, StoreRequest } from '../../../../runtime/core/vectors/store-api';
import type { VectorStoreDeclaration } from '../../../../src/contract';

const OURS = 'flats';
const GENERATIONS = ['flats.1', 'flats.2'];
const declared = (dimension: number, names = [OURS]): VectorStoreDeclaration => ({
  indexes: names.map((name) => ({
    schema: { name, dimension, similarity: 'l2', engine: 'faiss', fields: [], hnsw: { m: 16, efConstruction: 100, efSearch: 100 } },
    layout: { shards: 1, replicas: 0, buildReplicas: 0 },
    loaders: [],
  })),
  searchers: [],
  keepers: [],
  keepData: false,
});

/** A store whose generations are empty, and kept by a snapshot until the clock says `over`; only waiting moves the clock. */
class SnapshottedStore implements StoreApi {
  now = 0;
  readonly deleted: string[] = [];

  constructor(private readonly over: number) {}

  patient = () => new PatientStore(this, { sleep: async (ms) => void (this.now += ms), now: () => this.now, until: 600_000 });

  async call(method: string, path: string, { accept = [] }: StoreRequest = {}) {
    const name = path.slice(1);
    if (method === 'DELETE' && GENERATIONS.includes(name)) {
      if (this.now < this.over) throw new OpenSearchRefusal(400, 'snapshot_in_progress_exception', `the vector store refuses DELETE ${path}`);
      this.deleted.push(name);
      return { status: 200, body: {} };
    }
    if (path === '/flats.*/_alias') return { status: 200, body: Object.fromEntries(GENERATIONS.map((generation) => [generation, {}])) };
    if (path === '/flats/_mapping') return { status: 200, body: { 'flats.1': { mappings: { properties: { vector: { type: 'knn_vector', dimension: 3 } } } } } };
    if (path === '/flats/_count') return { status: 200, body: { count: 0 } };
    return method === 'GET' && accept.includes(404) ? { status: 404, body: {} } : { status: 200, body: {} };
  }
}

const HALF_AN_HOUR = 1_800_000;

describe('a snapshot that is made of an index', () => {
  test.each<[string, string[], (store: StoreApi) => Promise<void>]>([
    ['of a store that goes', GENERATIONS, (store) => removeStore(store, declared(2))],
    ['of an index that is no longer declared', GENERATIONS, (store) => provideStore(store, declared(2, []), declared(2))],
    ['of another declaration', ['flats.1'], (store) => provideStore(store, declared(2))],
  ])('is waited for: the generations %s are deleted after it', async (_, deleted, work) => {
    const store = new SnapshottedStore(120_000);
    await work(store.patient());
    expect(store.deleted).toEqual(deleted);
    expect(store.now).toBeGreaterThanOrEqual(120_000);
  });

  test('for longer than the function has is said, with what to do', async () => {
    const store = new SnapshottedStore(HALF_AN_HOUR);
    await expect(removeStore(store.patient(), declared(2))).rejects.toMatchObject({
      code: 'VECTOR_STORE_UNAVAILABLE', message: expect.stringMatching(/refuses DELETE \/flats\.1, asked again for \d+ s: no index is deleted while a snapshot is made of it; deploy again/),
    });
    expect(store.deleted).toEqual([]);
  });

  test('is all that is waited for: another refusal is final', async () => {
    const store: StoreApi = { call: async () => { throw new OpenSearchRefusal(400, 'illegal_argument_exception', 'no'); } };
    await expect(new PatientStore(store, { sleep: () => Promise.reject(new Error('waited')), now: () => 0, until: 600_000 }).call('DELETE', '/flats.1')).rejects.toThrow('no');
  });
});
