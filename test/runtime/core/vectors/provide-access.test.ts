import { storeRoles } from '../../../../runtime/core/vectors/access';
import { provideAccess, removeAccess } from '../../../../runtime/core/vectors/provide-access';
import type { StoreApi } from '../../../../runtime/core/vectors/store-api';
import { VectorStoreName, type VectorStoreDeclaration } from '../../../../src/contract';

const API = '/_plugins/_security/api';
const SEARCHERS = `${API}/rolesmapping/${VectorStoreName.SEARCHER}`;
const declared = (searchers: readonly string[]): VectorStoreDeclaration => ({ indexes: [], searchers, keepers: [], keepData: true });
const indexed = (loaders: Readonly<Record<string, readonly string[]>>, keepData = true): VectorStoreDeclaration => ({
  ...declared([]),
  keepData,
  indexes: Object.entries(loaders).map(([name, own]) => ({
    schema: { name, dimension: 2, similarity: 'l2', engine: 'faiss', fields: [], hnsw: { m: 16, efConstruction: 100, efSearch: 100 } },
    layout: { shards: 1, replicas: 0, buildReplicas: 0 },
    loaders: own,
  })),
});

/** The documents of a security plugin, by path. */
class Documents implements StoreApi {
  readonly kept = new Map<string, any>();

  async call(method: string, path: string, { body, accept = [] }: { body?: object; accept?: readonly number[] } = {}) {
    const found = this.kept.get(path);
    if (method === 'PUT') {
      this.kept.set(path, body);
      return { status: found ? 200 : 201, body: {} };
    }
    if (!found) {
      if (!accept.includes(404)) throw new Error(`${path} is not there`);
      return { status: 404, body: { status: 'NOT_FOUND' } };
    }
    if (method === 'DELETE') this.kept.delete(path);
    // as the plugin does: with what cannot be written
    return { status: 200, body: { [path.split('/').at(-1)!]: { reserved: false, hidden: false, hosts: [], users: [], and_backend_roles: [], ...found } } };
  }

  get searchers() {
    return this.kept.get(SEARCHERS);
  }
}

const byHand = { backend_roles: ['service', 'guest'], users: ['admin'], hosts: ['10.0.0.*'], and_backend_roles: ['a'], description: 'ours' };

describe('access to a vector store', () => {
  test('is mapped to who is declared', async () => {
    const store = new Documents();
    await provideAccess(store, declared(['service', 'other']));
    expect(store.searchers).toEqual({ backend_roles: ['service', 'other'] });
    expect(store.kept.get(`${API}/roles/${VectorStoreName.SEARCHER}`)).toHaveProperty('cluster_permissions');
  });

  test('of who was mapped by hand stays, in whatever field, and how often it is provided', async () => {
    const store = new Documents();
    store.kept.set(SEARCHERS, byHand);
    for (let time = 0; time < 2; time++) {
      await provideAccess(store, declared(['service']), declared(['service']));
      expect(store.searchers).toEqual({ ...byHand, backend_roles: ['guest', 'service'] });
    }
  });

  test('goes from who is no longer declared, and from nobody else', async () => {
    const store = new Documents();
    await provideAccess(store, declared(['service', 'old']));
    store.kept.set(SEARCHERS, { ...store.searchers, backend_roles: [...store.searchers.backend_roles, 'guest'] });
    await provideAccess(store, declared(['service', 'new']), declared(['service', 'old']));
    expect(store.searchers.backend_roles).toEqual(['guest', 'service', 'new']);
  });

  test('to build an index is its own, names no other, and goes with the index', async () => {
    const store = new Documents();
    const both = indexed({ flats: ['one', 'all'], trips: ['two', 'all'] });
    await provideAccess(store, both);
    const [flats, trips] = ['flats', 'trips'].map((name) => `${API}/rolesmapping/${VectorStoreName.loader(name)}`);
    expect([store.kept.get(flats), store.kept.get(trips)]).toEqual([{ backend_roles: ['one', 'all'] }, { backend_roles: ['two', 'all'] }]);
    const { index_permissions } = store.kept.get(`${API}/roles/${VectorStoreName.loader('flats')}`);
    expect(index_permissions.map(({ index_patterns }: { index_patterns: string[] }) => index_patterns)).toEqual([['flats', 'flats.*'], ['thalos.builds']]);

    await provideAccess(store, indexed({ flats: ['one'] }), both);
    expect(store.kept.get(flats).backend_roles).toEqual(['one']);
    expect([...store.kept.keys()].filter((path) => path.includes('trips'))).toEqual([]);
  });

  test('goes with the store; with kept data it stays for who was mapped by hand', async () => {
    const store = new Documents();
    const roles = storeRoles(declared(['service']));
    await provideAccess(store, declared(['service']));
    store.kept.set(SEARCHERS, byHand);
    await removeAccess(store, roles, true);
    expect([...store.kept.keys()].sort()).toEqual([`${API}/roles/${VectorStoreName.SEARCHER}`, SEARCHERS]);
    expect(store.searchers).toEqual({ ...byHand, backend_roles: ['guest'] });
    await removeAccess(store, roles, false);
    expect(store.kept.size).toBe(0);
    await removeAccess(store, roles, true);
    expect(store.kept.size).toBe(0);
  });
});
