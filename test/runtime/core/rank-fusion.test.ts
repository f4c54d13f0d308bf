import { array, assert, property, uniqueArray, constantFrom, integer } from 'fast-check';
import { LexicalIndex, queryWords, segmentsOf, wordsOf } from '../../../runtime/core/lexical';
import { fuse, fusionDepth } from '../../../runtime/core/rank-fusion';

const hits = (...ids: string[]) => ids.map((id, at) => ({ id, score: 100 - at, fields: {} }));
const idsOf = (lists: string[][], k = 10) => fuse(lists.map((ids) => hits(...ids)), k).map(({ id }) => id);

describe('lists that are fused by rank', () => {
  test('give what several have first, then what is high in one; of equal ones those of the first list', () => {
    expect(idsOf([['a', 'b', 'c'], ['c', 'd']])).toEqual(['c', 'a', 'b', 'd']);
    expect(idsOf([['a'], ['b']])).toEqual(['a', 'b']);
    expect(idsOf([[], ['b']])).toEqual(['b']);
    expect(idsOf([['a', 'b', 'c']], 2)).toEqual(['a', 'b']);
  });

  test('score each document by the definition, whatever the scores of the lists', () => {
    const list = uniqueArray(constantFrom(...'abcdefghij'), { maxLength: 10 });
    assert(property(array(list, { maxLength: 3 }), integer({ min: 1, max: 12 }), (lists, k) => {
      const found = fuse(lists.map((ids) => hits(...ids)), k);
      const score = (id: string) => lists.reduce((sum, ids) => sum + (ids.includes(id) ? 1 / (61 + ids.indexOf(id)) : 0), 0);
      const all = [...new Set(lists.flat())].map(score).sort((a, b) => b - a);
      expect(found).toHaveLength(Math.min(k, all.length));
      found.forEach((hit, at) => {
        expect(hit.score).toBeCloseTo(score(hit.id), 12);
        expect(hit.score).toBeCloseTo(all[at], 12);
      });
    }), { seed: 20_260_101 });
  });

  test('are asked for more than is wanted', () => {
    expect([fusionDepth(1), fusionDepth(50), fusionDepth(1000)]).toEqual([50, 50, 1000]);
  });
});

describe('words', () => {
  test('are those of Unicode, in lower case', () => {
    expect(wordsOf("The DRIVER's 3.5 mm — größe, ΣΟΦΙΑ; a_b e-mail\n")).toEqual(['the', "driver's", '3.5', 'mm', 'größe', 'σοφια', 'a_b', 'e', 'mail']);
    expect(wordsOf(' …!?')).toEqual([]);
  });

  test('of plain ASCII are found by a shorter way, and are the same', () => {
    const piece = constantFrom('a', 'Z', 'bc', '1', '23', '_', '.', ',', ';', ':', "'", '-', ' ', '\n', '"', '@', '/');
    assert(property(array(piece, { maxLength: 14 }), (pieces) => {
      expect(wordsOf(pieces.join(''))).toEqual(segmentsOf(pieces.join('')));
    }), { numRuns: 5000, seed: 20_260_101 });
  });

  test('of a query are bounded', () => {
    expect(queryWords('x '.repeat(1000))).toHaveLength(64);
    expect(queryWords(' '.repeat(5000) + 'late')).toEqual([]);
  });
});

test('documents are scored by Okapi BM25, those without a text apart', () => {
  const index = new LexicalIndex({ fields: [{ name: 't', type: 'text' }, { name: 'k', type: 'keyword' }] }, [{ t: 'red red blue' }, { k: 'red' }, { t: 'red' }, { t: '…' }, { t: 'green grass' }]);
  const idf = Math.log(1 + (3 - 2 + 0.5) / (2 + 0.5));
  const score = (count: number, length: number) => idf * count / (count + 1.2 * (0.25 + 0.75 * length / 2));
  // twice in three words is worth a little less than once in one
  expect(index.search(['red'], 9)).toEqual([{ position: 2, score: expect.closeTo(score(1, 1), 12) }, { position: 0, score: expect.closeTo(score(2, 3), 12) }]);
  expect(index.search(['red'], 1, Uint8Array.of(0, 1, 1, 1, 1)).map(({ position }) => position)).toEqual([2]);
  expect(index.search(['black', '…'], 9)).toEqual([]);
});
