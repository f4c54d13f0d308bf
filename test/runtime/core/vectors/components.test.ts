import { documentComponents, isVector, queryComponents, vectorProblem } from '../../../../runtime/core/vectors/components';
import { bulkLines } from '../../../../runtime/core/vectors/source-document';
import type { VectorIndexSchema } from '../../../../src/contract';
import { COMPONENT_CASES } from '../../contract/component-cases';

const INDEX: VectorIndexSchema = {
  name: 'places', dimension: 2, similarity: 'l2', engine: 'faiss', fields: [], hnsw: { m: 16, efConstruction: 100, efSearch: 100 },
};

describe('an index and', () => {
  test.each(COMPONENT_CASES)('%s', (_, { vector, quantization, similarity = 'l2', query, document }) => {
    const index = { ...INDEX, quantization, similarity };
    expect(vectorProblem(index, queryComponents(index), vector)).toBe(query);
    expect(vectorProblem(index, documentComponents(index), vector)).toBe(document);
    const load = () => bulkLines(index, JSON.stringify({ id: 'a', vector }), 'line 1');
    if (document === undefined) expect(load()).toContain(`"vector":${JSON.stringify(vector)}`);
    else expect(load).toThrow(`INVALID_VECTOR: line 1: 'vector' ${document}`);
  });

  test.each([NaN, Infinity, -Infinity])('%p, which JSON cannot hold', (value) => {
    for (const quantization of [undefined, { kind: 'byte' }, { kind: 'fp16' }] as const) {
      const index: VectorIndexSchema = { ...INDEX, quantization };
      for (const components of [queryComponents(index), documentComponents(index)]) {
        expect(vectorProblem(index, components, Float32Array.of(1, value))).toBe(`holds ${value}, and must hold ${components.what}`);
      }
    }
  });

  test('what is no list of its numbers', () => {
    for (const value of [undefined, null, {}, [], [1], [1, 2, 3], [1, '2'], [1, null], '[1,2]', Float32Array.of(1, 2)]) expect(isVector(INDEX, value)).toBe(false);
    expect(isVector(INDEX, [1, 2])).toBe(true);
  });
});
