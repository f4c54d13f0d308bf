import { Peer, type PeerRequest } from './peer.fixture';
import { OpenSearchGenerations } from '../../../runtime/adapters/aws/opensearch-generations';
import { OpenSearchHttp } from '../../../runtime/adapters/aws/opensearch-http';
import { OpenSearchVectorSearch } from '../../../runtime/adapters/aws/opensearch-vector-search';
import { Sigv4Signer } from '../../../runtime/adapters/aws/sigv4';
import type { VectorIndexSchema, VectorQuantizationSchema } from '../../../src/contract';

const schemaOf = (quantization?: VectorQuantizationSchema): VectorIndexSchema => ({
  name: 'flats', dimension: 3, similarity: 'l2', engine: 'faiss', fields: [], hnsw: { m: 16, efConstruction: 100, efSearch: 100 }, ...quantization ? { quantization } : {},
});
const signer = new Sigv4Signer({ region: 'eu-central-1', service: 'es', credentials: async () => ({ accessKeyId: 'a', secretAccessKey: 'b' }) });

describe('generations in OpenSearch', () => {
  let peer: Peer;
  let http: OpenSearchHttp;
  const asked: PeerRequest[] = [];
  const last = () => asked.at(-1)!;

  beforeAll(async () => {
    peer = await Peer.start((request) => {
      asked.push(request);
      const hits = { _shards: { failed: 0 }, hits: { hits: [{ _index: 'flats.7', _id: 'a', _score: 0.5 }] } };
      return { body: request.path.includes('_msearch') ? { responses: [hits] } : hits };
    });
    http = new OpenSearchHttp({ endpoint: peer.url, signer });
  });
  afterAll(async () => {
    http.close();
    await peer.stop();
  });

  test.each<[string, VectorQuantizationSchema | undefined, object]>([
    ['none', undefined, {}],
    ['fp16', { kind: 'fp16' }, {}],
    ['byte', { kind: 'byte' }, {}],
    ['disk', { kind: 'disk', compression: 32 }, {}],
    ['binary', { kind: 'binary', bits: 1 }, { rescore: { oversample_factor: 3 } }],
  ])('are measured by the query that searchers send (quantization %s)', async (_, quantization, more) => {
    const index = schemaOf(quantization);
    const vector = [1.5, -0.25, 1e-7];
    const generations = new OpenSearchGenerations(http, { shards: 1, replicas: 0, buildReplicas: 0 });
    expect(await generations.approximate(index, '7', vector, 4)).toEqual([{ id: 'a', score: 0.5 }]);
    expect(last().path).toMatch(/^\/flats\.7\/_search\?/);
    const measured = JSON.parse(last().body.toString());
    expect(measured).toEqual({ size: 4, query: { knn: { vector: { vector, k: 4, ...more } } }, _source: false, track_total_hits: false });

    const search = new OpenSearchVectorSearch({ endpoint: peer.url, signer });
    await search.search([{ index, vector: new Float32Array([1.5, -0.25, 0]), k: 4 }]);
    await search.close();
    const searched = JSON.parse(last().body.toString().split('\n')[1]);
    expect({ ...searched.query.knn.vector, vector }).toEqual(measured.query.knn.vector);
  });
});
