/**
 * Every similarity with every engine and every quantization: the mapping that OpenSearch gets, or the code that stops it at synth, because the store
 * would answer by another similarity or with less precision than was declared.
 */
import { indexMapping } from '../../../../runtime/core/vectors/index-body';
import { DiskCompression, Similarity, VectorEngine, VectorIndex, VectorQuantization } from '../../../../src/vectors';

const ENGINES = { faiss: VectorEngine.FAISS, lucene: VectorEngine.LUCENE };
const SIMILARITIES = { l2: Similarity.L2, cosine: Similarity.COSINE, dot: Similarity.DOT };
const SPACES = { l2: 'l2', cosine: 'cosinesimil', dot: 'innerproduct' };
type Engine = keyof typeof ENGINES;
type Cell = `${Engine} ${keyof typeof SIMILARITIES}`;

const CELLS = (Object.keys(ENGINES) as Engine[]).flatMap((engine) => (Object.keys(SIMILARITIES) as (keyof typeof SIMILARITIES)[])
  .map((similarity): [Cell, Engine, keyof typeof SIMILARITIES] => [`${engine} ${similarity}`, engine, similarity]));

interface Row {
  readonly quantization: VectorQuantization;
  /** What the field says beside its method. */
  readonly field?: object;
  /** What the method's parameters say beside m and ef_construction. */
  readonly encoder?: object;
  /** Codes of what is refused: of an engine, or of one similarity with it. */
  readonly refused?: Partial<Record<Engine | Cell, string>>;
}

const onDisk = (compression: DiskCompression, other: Engine): Row => ({
  quantization: VectorQuantization.onDisk(compression), field: { mode: 'on_disk', compression_level: `${compression}x` }, refused: { [other]: 'DiskCompression' },
});
const bits = (count: number): Row => ({
  quantization: VectorQuantization.binary(count),
  encoder: { name: 'binary', parameters: { bits: count } },
  refused: { lucene: 'QuantizationEngine' },
});

const MATRIX: { readonly [quantization: string]: Row } = {
  'single precision': { quantization: VectorQuantization.none() },
  'half precision': {
    quantization: VectorQuantization.fp16(), encoder: { name: 'sq', parameters: { type: 'fp16', clip: false } }, refused: { lucene: 'QuantizationEngine' },
  },
  'bytes': { quantization: VectorQuantization.byte(), field: { data_type: 'byte' }, refused: { 'faiss cosine': 'ByteCosine' } },
  'one bit': bits(1),
  'two bits': bits(2),
  'four bits': bits(4),
  'on disk as it is': onDisk(DiskCompression.X1, 'lucene'),
  'on disk, 2 times smaller': onDisk(DiskCompression.X2, 'lucene'),
  'on disk, 4 times smaller': onDisk(DiskCompression.X4, 'faiss'),
  'on disk, 8 times smaller': onDisk(DiskCompression.X8, 'lucene'),
  'on disk, 16 times smaller': onDisk(DiskCompression.X16, 'lucene'),
  'on disk, 32 times smaller': onDisk(DiskCompression.X32, 'lucene'),
};

describe.each(Object.entries(MATRIX))('%s', (_quantization, { quantization, field = {}, encoder, refused = {} }) => {
  test.each(CELLS)('with %s', (cell, engine, similarity) => {
    const define = () => VectorIndex.define('flats', { dimension: 256, similarity: SIMILARITIES[similarity], engine: ENGINES[engine], quantization })._toSchema();
    const code = refused[engine] ?? refused[cell];
    if (code !== undefined) return expect(define).toThrow(new RegExp(`^${code}: .*use `));
    return expect(indexMapping(define()).properties.vector).toEqual({
      type: 'knn_vector',
      dimension: 256,
      ...field,
      method: { name: 'hnsw', engine, space_type: SPACES[similarity], parameters: { m: 16, ef_construction: 100, ...encoder ? { encoder } : {} } },
    });
  });
});

test('no quantization, engine or similarity is left out', () => {
  const made = Object.getOwnPropertyNames(VectorQuantization).filter((name) => typeof (VectorQuantization as never as Record<string, unknown>)[name] === 'function');
  expect(made.sort()).toEqual(['binary', 'byte', 'fp16', 'none', 'onDisk']);
  const compressions = Object.values(DiskCompression).filter((value) => typeof value === 'number').length;
  expect(Object.keys(MATRIX)).toHaveLength(3 + 3 + compressions);
  for (const [choices, known] of [[VectorEngine, ENGINES], [Similarity, SIMILARITIES]] as const) {
    expect(Object.values(choices).filter((value) => value instanceof (choices as never))).toHaveLength(Object.keys(known).length);
  }
});
