import Ajv from 'ajv';
import { RESERVED_FIELDS, SIMILARITIES, VECTOR_BUILDS_INDEX, VECTOR_ENGINES, VECTOR_INDEX_SCHEMA, VectorStoreName } from '../../src/contract';
import { Similarity, VectorEngine, VectorField, VectorIndex, VectorIndexProps } from '../../src/vectors';

const valid = new Ajv().compile(VECTOR_INDEX_SCHEMA);

const define = (props: Partial<VectorIndexProps> = {}, name = 'flats') => VectorIndex.define(name, { dimension: 8, similarity: Similarity.COSINE, ...props });

describe('VectorIndex', () => {
  test("is built by FAISS with OpenSearch's own parameters unless it says so", () => {
    expect(define()._toSchema()).toEqual({
      name: 'flats', dimension: 8, similarity: 'cosine', engine: 'faiss', fields: [], hnsw: { m: 16, efConstruction: 100, efSearch: 100 },
    });
  });

  test('validates against the contract with everything set', () => {
    const schema = define({
      dimension: 16_000,
      similarity: Similarity.DOT,
      engine: VectorEngine.FAISS,
      fields: [VectorField.float('price'), VectorField.long('rooms'), VectorField.keyword('city'), VectorField.boolean('balcony'), VectorField.text('about')],
      hnsw: { m: 512, efConstruction: 4096, efSearch: 4096 },
      description: 'Flats by description',
    })._toSchema();
    expect(valid(schema)).toBe(true);
    expect(schema.fields.map(({ type }) => type)).toEqual(['float', 'long', 'keyword', 'boolean', 'text']);
  });

  test('validates against the contract in every similarity and engine', () => {
    const similarities = [Similarity.COSINE, Similarity.L2, Similarity.DOT];
    const engines = [VectorEngine.FAISS, VectorEngine.LUCENE];
    expect(similarities.map(String)).toEqual(SIMILARITIES);
    expect(engines.map(String)).toEqual(VECTOR_ENGINES);
    for (const similarity of similarities) {
      for (const engine of engines) expect(valid(define({ similarity, engine })._toSchema())).toBe(true);
    }
  });

  test('is no contract with the name of the indexes of the library', () => {
    const named = (name: string) => valid({ ...define()._toSchema(), name });
    expect(named('thalos')).toBe(false);
    expect(['thalos-1', 'thalo', 'my-thalos'].map(named)).toEqual([true, true, true]);
    for (const own of [VECTOR_BUILDS_INDEX, VectorStoreName.SCRATCH]) expect(own).toMatch(/^thalos\./);
  });

  test('keeps the default of a parameter that is undefined', () => {
    expect(define({ hnsw: { m: 24, efConstruction: undefined } })._toSchema().hnsw).toEqual({ m: 24, efConstruction: 100, efSearch: 100 });
  });

  test.each<[string, () => unknown, RegExp]>([
    ['its name is no name', () => define({}, 'flats.1'), /InvalidName: a vector index name must match .*got 'flats\.1'/],
    ['its name is that of the indexes of the library', () => define({}, 'thalos'), /ReservedIndex: a vector index must not be 'thalos'.*choose another/],
    ['its dimension is 0', () => define({ dimension: 0 }), /OutOfRange: the dimension of vector index 'flats' must be an integer from 1 to 16000, got 0/],
    ['its dimension is beyond 16000', () => define({ dimension: 16_001 }), /got 16001: reduce/],
    ['its dimension is no integer', () => define({ dimension: 7.5 }), /got 7\.5/],
    ['m is 1', () => define({ hnsw: { m: 1 } }), /m of vector index 'flats' must be an integer from 2 to 512, got 1/],
    ['m is 513', () => define({ hnsw: { m: 513 } }), /got 513/],
    ['efConstruction is beyond what FAISS is held to', () => define({ hnsw: { efConstruction: 4097 } }), /from 2 to 4096, got 4097: with the faiss engine/],
    ['efConstruction is beyond what Lucene takes', () => define({ engine: VectorEngine.LUCENE, hnsw: { efConstruction: 3201 } }), /from 2 to 3200, got 3201: with the lucene engine/],
    ['efSearch is 0', () => define({ hnsw: { efSearch: 0 } }), /efSearch of vector index 'flats' .*got 0/],
    ['efSearch is given to Lucene, which has none', () => define({ engine: VectorEngine.LUCENE, hnsw: { efSearch: 50 } }), /LuceneEfSearch: .*got 50: .*VectorEngine\.FAISS/],
    ['two fields share a name', () => define({ fields: [VectorField.float('a'), VectorField.keyword('a')] }), /DuplicateName: a field of vector index 'flats': 'a'/],
    ['it has 9 text fields', () => define({ fields: Array.from({ length: 9 }, (_, index) => VectorField.text(`f${index}`)) }), /TextFieldCount: .*at most 8 text fields, got 9/],
    ['it has 101 fields', () => define({ fields: Array.from({ length: 101 }, (_, index) => VectorField.float(`f${index}`)) }), /FieldCount: .*at most 100 fields, got 101/],
    ['a field has no name', () => VectorField.float('_score'), /InvalidName: a vector field name/],
    ['its description is blank', () => define({ description: '' }), /InvalidText: the description of vector index 'flats'/],
  ])('fails when %s', (_, make, message) => {
    expect(make).toThrow(message);
  });

  test.each(RESERVED_FIELDS)('fails when a field is called %s, which every document has', (name) => {
    expect(() => VectorField.keyword(name)).toThrow(new RegExp(`ReservedField: a vector field must not be '${name}'`));
  });
});
