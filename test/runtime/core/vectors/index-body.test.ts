import { buildBody, generationIndex, generationPattern, indexBody, servingSettings } from '../../../../runtime/core/vectors/index-body';
import type { VectorIndexSchema } from '../../../../src/contract';

const INDEX: VectorIndexSchema = {
  name: 'flats',
  dimension: 8,
  similarity: 'cosine',
  engine: 'faiss',
  fields: [{ name: 'city', type: 'keyword' }, { name: 'price', type: 'float' }, { name: 'about', type: 'text' }],
  hnsw: { m: 24, efConstruction: 120, efSearch: 60 },
};
const LAYOUT = { shards: 2, replicas: 2, buildReplicas: 0 };

const vectorOf = (index: Partial<VectorIndexSchema>) => indexBody({ ...INDEX, ...index }, LAYOUT).mappings.properties.vector;

describe('the body of a generation', () => {
  test('has the declared graph, similarity, fields, shards and copies, and refuses other fields', () => {
    expect(indexBody(INDEX, LAYOUT)).toEqual({
      settings: {
        index: {
          'knn': true,
          'knn.algo_param.ef_search': 60,
          'number_of_shards': 2,
          'number_of_replicas': 2,
          'refresh_interval': '1s',
          'search.slowlog.threshold.query.warn': '1s',
          'indexing.slowlog.threshold.index.warn': '5s',
          'indexing.slowlog.source': 'false',
        },
      },
      mappings: {
        dynamic: 'strict',
        properties: {
          vector: {
            type: 'knn_vector',
            dimension: 8,
            method: { name: 'hnsw', engine: 'faiss', space_type: 'cosinesimil', parameters: { m: 24, ef_construction: 120 } },
          },
          city: { type: 'keyword' },
          price: { type: 'float' },
          about: { type: 'text' },
        },
      },
    });
  });

  test('while it is built is not refreshed and has the copies of a build, which serving settings undo', () => {
    const { settings: { index } } = buildBody(INDEX, LAYOUT);
    expect(index).toMatchObject({ number_of_replicas: 0, refresh_interval: '-1' });
    expect({ ...index, ...servingSettings(LAYOUT) }).toEqual(indexBody(INDEX, LAYOUT).settings.index);
    expect(buildBody(INDEX, LAYOUT).mappings).toEqual(indexBody(INDEX, LAYOUT).mappings);
  });

  test.each([['cosine', 'cosinesimil'], ['l2', 'l2'], ['dot', 'innerproduct']] as const)('says %s as OpenSearch does', (similarity, space) => {
    expect(vectorOf({ similarity })).toMatchObject({ method: { space_type: space } });
  });

  test('says nothing of a candidate list to Lucene, which has none', () => {
    expect(indexBody({ ...INDEX, engine: 'lucene' }, LAYOUT).settings.index).not.toHaveProperty(['knn.algo_param.ef_search']);
  });

  test('in half precision refuses what is beyond its range', () => {
    expect(vectorOf({ quantization: { kind: 'fp16' } })).toMatchObject({ method: { parameters: { encoder: { name: 'sq', parameters: { type: 'fp16', clip: false } } } } });
  });

  test('holds bytes as such', () => {
    expect(vectorOf({ quantization: { kind: 'byte' } })).toMatchObject({ data_type: 'byte', method: { parameters: { m: 24, ef_construction: 120 } } });
  });

  test.each([1, 2, 4] as const)('holds %d bits for each component', (bits) => {
    expect(vectorOf({ quantization: { kind: 'binary', bits } })).toMatchObject({ method: { parameters: { encoder: { name: 'binary', parameters: { bits } } } } });
  });

  test.each([1, 2, 4, 8, 16, 32] as const)('on disk is %d times smaller in memory', (compression) => {
    expect(vectorOf({ quantization: { kind: 'disk', compression } })).toMatchObject({ mode: 'on_disk', compression_level: `${compression}x`, method: { engine: 'faiss' } });
  });

  test('has a name that no other index can have', () => {
    expect(generationIndex(INDEX, '7')).toBe('flats.7');
    expect(generationPattern(INDEX)).toBe('flats.*');
  });
});
