import { indexMapping } from '../../../../runtime/core/vectors/index-body';
import { requireSafe } from '../../../../runtime/core/vectors/provide-index';
import type { StoreApi } from '../../../../runtime/core/vectors/store-api';
import type { DeclaredVectorIndex, VectorIndexSchema } from '../../../../src/contract';

const FLATS: VectorIndexSchema = {
  name: 'flats', dimension: 2, similarity: 'l2', engine: 'faiss', fields: [], hnsw: { m: 16, efConstruction: 100, efSearch: 100 },
};
const declared = (rest: Partial<VectorIndexSchema> = {}): DeclaredVectorIndex => (
  { schema: { ...FLATS, ...rest }, layout: { shards: 1, replicas: 0, buildReplicas: 0 }, loaders: [] }
);

/** One live generation of {@link FLATS}. */
const storeOf = (count: number): StoreApi => ({
  call: async (_, path) => ({ status: 200, body: path.endsWith('/_count') ? { count } : { 'flats.2': { mappings: indexMapping(FLATS) } } }),
});

test('a declaration that the live generation does not fit is refused with what can be done, which the same deployment does not take back', async () => {
  await expect(requireSafe(storeOf(5), declared({ dimension: 3 }))).rejects.toMatchObject({
    code: 'INVALID_CONFIGURATION',
    message: expect.stringMatching(/declared with dimension 3, but its live generation 'flats\.2' has dimension 2: nothing was changed\. Declare it under a new name beside the old one, build generations of that, and move searchers to it$/),
  });
  await expect(requireSafe(storeOf(0), declared({ dimension: 3 }))).resolves.toBeUndefined();
  await expect(requireSafe(storeOf(5), declared())).resolves.toBeUndefined();
});
