import Ajv from 'ajv';
import { VECTOR_INDEX_SCHEMA, VectorIndexSchema } from '../../src/contract';
import { DiskCompression, Similarity, VectorEngine, VectorIndex, VectorQuantization } from '../../src/vectors';
import { graphBytes, graphPlace } from '../../src/vectors/index-memory';

const { FAISS, LUCENE } = VectorEngine;
const { COSINE, DOT, L2 } = Similarity;
const valid = new Ajv().compile(VECTOR_INDEX_SCHEMA);

const declare = (quantization?: VectorQuantization, engine = FAISS, similarity = COSINE): VectorIndexSchema => (
  VectorIndex.define('flats', { dimension: 256, similarity, engine, quantization })._toSchema()
);

describe('the quantization of a vector index', () => {
  test.each<[string, VectorQuantization, VectorEngine, VectorIndexSchema['quantization']]>([
    ['nothing', VectorQuantization.none(), LUCENE, undefined],
    ['half precision', VectorQuantization.fp16(), FAISS, { kind: 'fp16' }],
    ['bytes', VectorQuantization.byte(), LUCENE, { kind: 'byte' }],
    ['bits', VectorQuantization.binary(2), FAISS, { kind: 'binary', bits: 2 }],
    ['disk', VectorQuantization.onDisk(DiskCompression.X32), FAISS, { kind: 'disk', compression: 32 }],
    ['seven bits on disk', VectorQuantization.onDisk(DiskCompression.X4), LUCENE, { kind: 'disk', compression: 4 }],
  ])('%s stands in the schema, which is valid', (_, quantization, engine, expected) => {
    const schema = declare(quantization, engine);
    expect(schema.quantization).toEqual(expected);
    expect(valid(schema)).toBe(true);
  });

  test.each([COSINE, DOT, L2])('bits go with %s, in memory as on disk: the candidates are scored by their vectors', (similarity) => {
    expect(declare(VectorQuantization.binary(1), FAISS, similarity).similarity).toBe(`${similarity}`);
    expect(declare(VectorQuantization.onDisk(DiskCompression.X32), FAISS, similarity).similarity).toBe(`${similarity}`);
  });

  // figures of the OpenSearch documentation for a million vectors of 256 dimensions and m 16, GB ("Memory-optimized vectors", "Binary quantization" …)
  test.each<[string, VectorQuantization, VectorEngine, number]>([
    ['half precision', VectorQuantization.fp16(), FAISS, 0.704],
    ['bytes', VectorQuantization.byte(), LUCENE, 0.4224],
    ['one bit', VectorQuantization.binary(1), FAISS, 0.176],
    ['two bits', VectorQuantization.binary(2), FAISS, 0.2112],
    ['four bits', VectorQuantization.binary(4), FAISS, 0.2816],
    ['seven bits', VectorQuantization.onDisk(DiskCompression.X4), LUCENE, 0.4224],
    ['32 times smaller', VectorQuantization.onDisk(DiskCompression.X32), FAISS, 0.176],
    ['single precision', VectorQuantization.none(), FAISS, 1.2672],
  ])('%s takes the memory that the documentation estimates', (_, quantization, engine, gigabytes) => {
    expect(graphBytes(declare(quantization, engine), 1e6) / 1e9).toBeCloseTo(gigabytes, 6);
  });

  test('is in native memory with FAISS, in the file cache with Lucene, and stays on disk where nothing is compressed', () => {
    expect(graphPlace(declare())).toBe('native');
    expect(graphPlace(declare(undefined, LUCENE))).toBe('cache');
    expect(graphPlace(declare(VectorQuantization.onDisk(DiskCompression.X1)))).toBe('disk');
    expect(graphPlace(declare(VectorQuantization.onDisk(DiskCompression.X8)))).toBe('native');
  });

  test.each<[string, () => unknown, RegExp]>([
    ['half precision has the lucene engine', () => declare(VectorQuantization.fp16(), LUCENE), /QuantizationEngine: .*half precision, got lucene: use VectorEngine\.FAISS/],
    ['bits have the lucene engine', () => declare(VectorQuantization.binary(1), LUCENE), /QuantizationEngine: .*bits, got lucene/],
    ['bytes would be made one long', () => declare(VectorQuantization.byte(), FAISS, COSINE), /ByteCosine: .*use VectorEngine\.LUCENE, or Similarity\.DOT/],
    ['there are three bits', () => declare(VectorQuantization.binary(3)), /BinaryBits: .*1, 2, 4, got 3/],
    ['FAISS is to have what only Lucene has', () => declare(VectorQuantization.onDisk(DiskCompression.X4), FAISS), /DiskCompression: .*the lucene engine to be 4 times smaller.*got faiss/],
    ['Lucene is to have what only FAISS has', () => declare(VectorQuantization.onDisk(DiskCompression.X32), LUCENE), /DiskCompression: .*the faiss engine to be 32 times smaller/],
  ])('fails when %s', (_, make, message) => {
    expect(make).toThrow(message);
  });
});
