import { existsSync, mkdtempSync, readdirSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { DuckDb } from '../../../runtime/adapters/local/duckdb';
import { FlatIndex } from '../../../runtime/adapters/local/flat-index';
import { findNatives } from '../../../runtime/adapters/local/natives';
import { GenerationWriter, loadGeneration } from '../../../runtime/adapters/local/vector-generations';
import { importVectors } from '../../../runtime/adapters/local/vector-import';
import { FlatVectorSearch } from '../../../runtime/adapters/local/vector-search';
import { SIMILARITIES, type Similarity, type VectorIndexSchema } from '../../../src/contract';
import { COMPONENT_CASES } from '../contract/component-cases';
import { hybridSearchContract } from '../contract/hybrid-search.contract';
import type { TestDocument } from '../contract/vector-document';
import { vectorSearchContract } from '../contract/vector-search.contract';

/** The definition, term by term, in the slowest and plainest way. */
function scoreByHand(similarity: Similarity, a: readonly number[], b: readonly number[]): number {
  const dot = a.reduce((sum, value, i) => sum + value * b[i], 0);
  const norm = (v: readonly number[]) => Math.sqrt(v.reduce((sum, value) => sum + value * value, 0));
  if (similarity === 'cosine') return (1 + dot / (norm(a) * norm(b))) / 2;
  if (similarity === 'dot') return dot >= 0 ? dot + 1 : 1 / (1 - dot);
  return 1 / (1 + a.reduce((sum, value, i) => sum + (value - b[i]) ** 2, 0));
}

describe('exact search', () => {
  test.each(SIMILARITIES)('finds the nearest by %s, with the scores of its definition', (similarity) => {
    const component = fc.integer({ min: -8, max: 8 });
    fc.assert(fc.property(
      fc.integer({ min: 1, max: 11 }).chain((dimension) => {
        const vector = fc.array(component, { minLength: dimension, maxLength: dimension }).filter((v) => v.some((value) => value !== 0));
        return fc.record({ rows: fc.array(vector, { minLength: 1, maxLength: 60 }), query: vector, k: fc.integer({ min: 1, max: 70 }) });
      }),
      ({ rows, query, k }) => {
        const hits = new FlatIndex(new Float32Array(rows.flat()), query.length, similarity).search(new Float32Array(query), k);
        const expected = rows.map((row) => scoreByHand(similarity, row, query)).sort((a, b) => b - a).slice(0, k);
        expect(hits).toHaveLength(Math.min(k, rows.length));
        hits.forEach(({ position, score }, rank) => {
          expect(score).toBeCloseTo(expected[rank], 10);
          expect(score).toBeCloseTo(scoreByHand(similarity, rows[position], query), 10);
        });
        expect(new Set(hits.map(({ position }) => position)).size).toBe(hits.length);
      },
    ));
  });

  test('finds the nearest of those that may be found', () => {
    const index = new FlatIndex(new Float32Array([0, 1, 2, 3, 4]), 1, 'l2');
    expect(index.search(new Float32Array([0]), 2, Uint8Array.of(0, 1, 0, 1, 1)).map(({ position }) => position)).toEqual([1, 3]);
    expect(index.search(new Float32Array([4]), 9, Uint8Array.of(0, 1, 0, 0, 0)).map(({ position }) => position)).toEqual([1]);
    expect(index.search(new Float32Array([4]), 9, new Uint8Array(5))).toEqual([]);
  });

  test('of equally near vectors the earlier stands first', () => {
    const index = new FlatIndex(new Float32Array([1, 0, 0, 1, 1, 0, 1, 0, 0, 1]), 2, 'l2');
    expect(index.search(new Float32Array([1, 0]), 2).map(({ position }) => position)).toEqual([0, 2]);
    expect(index.search(new Float32Array([1, 0]), 5).map(({ position }) => position)).toEqual([0, 2, 3, 1, 4]);
  });
});

describe('the embedded vector store', () => {
  describe('keeps the contract of vector stores', () => {
    const folders: string[] = [];
    afterAll(() => folders.forEach((folder) => rmSync(folder, { recursive: true, force: true })));
    const open = async (index: VectorIndexSchema, documents: readonly TestDocument[]) => {
      const folder = mkdtempSync(join(tmpdir(), 'thalos-vectors-'));
      folders.push(folder);
      const writer = new GenerationWriter(join(folder, index.name), index);
      writer.addComponents(new Float32Array(documents.flatMap(({ vector }) => vector)));
      writer.addDocuments(documents.map(({ id, fields }) => [id, fields]));
      writer.publish();
      return new FlatVectorSearch((name) => join(folder, name), { info: () => undefined, warn: () => undefined, error: () => undefined });
    };
    vectorSearchContract(open);
    describe('with a text', () => hybridSearchContract(open));
  });

  const INDEX: VectorIndexSchema = {
    name: 'places',
    dimension: 3,
    similarity: 'l2',
    engine: 'faiss',
    fields: [{ name: 'price', type: 'float' }, { name: 'rank', type: 'long' }, { name: 'kind', type: 'keyword' }, { name: 'open', type: 'boolean' }],
    hnsw: { m: 16, efConstruction: 100, efSearch: 100 },
  };
  const log: string[] = [];
  const logger = { info: () => undefined, warn: () => undefined, error: (fields: object, message: string) => log.push(`${message} ${JSON.stringify(fields)}`) };
  let db: DuckDb;
  let root: string;
  let search: FlatVectorSearch;
  beforeEach(async () => {
    log.length = 0;
    root = mkdtempSync(join(tmpdir(), 'thalos-vectors-'));
    db = await DuckDb.open(findNatives(), join(root, 'spill'));
    search = new FlatVectorSearch((index) => join(root, index), logger);
  });
  afterEach(async () => {
    db.close();
    await search.close();
    rmSync(root, { recursive: true, force: true });
  });

  const file = (name: string, content: string) => {
    writeFileSync(join(root, name), content);
    return join(root, name);
  };
  const jsonl = (rows: object[], name = 'in.jsonl') => file(name, rows.map((row) => `${JSON.stringify(row)}\n`).join(''));
  const put = (path: string, index = INDEX) => importVectors(db, join(root, index.name), index, path, () => undefined);
  const ask = async (query: number[], k: number) => (await search.search([{ index: INDEX, vector: new Float32Array(query), k }]))[0];
  const rows = [
    { id: 'a', vector: [0, 0, 0], price: 1.5, rank: 1, kind: 'cafe', open: true },
    { id: 'b', vector: [1, 0, 0.5], price: 2, rank: '9007199254740993', kind: '', open: false },
    { id: 'c', vector: [5, 5, 5], price: null, rank: -3, kind: 'bar', open: true },
  ];

  test.each([
    ['JSON Lines', () => jsonl(rows)],
    ['CSV', () => file('in.csv', 'kind,id,vector,price,rank,open\ncafe,a,"[0,0,0]",1.5,1,true\n"",b,"[1, 0, 0.5]",2,9007199254740993,false\nbar,c,"[5,5,5]",,-3,1\n')],
    ['parquet', async () => {
      await db.run(`COPY (SELECT * FROM (VALUES ('a', [0,0,0]::DOUBLE[], 1.5, 1::BIGINT, 'cafe', true), ('b', [1,0,0.5], 2, 9007199254740993, '', false), ('c', [5,5,5], NULL, -3, 'bar', true))
        t(id, vector, price, rank, kind, open)) TO '${join(root, 'in.parquet')}' (FORMAT parquet)`);
      return join(root, 'in.parquet');
    }],
  ])('imports %s and answers from it', async (_, source) => {
    expect(await put(await source())).toEqual({ generation: '1', count: 3 });
    expect(await ask([0, 0, 0], 9)).toEqual({
      generation: '1',
      hits: [
        { id: 'a', score: 1, fields: { price: 1.5, rank: 1, kind: 'cafe', open: true } },
        { id: 'b', score: 1 / 2.25, fields: { price: 2, rank: '9007199254740993', kind: '', open: false } },
        { id: 'c', score: 1 / 76, fields: { rank: -3, kind: 'bar', open: true } },
      ],
    });
  });

  test('an index without vectors says so', () => expect(ask([0, 0, 0], 1)).rejects.toMatchObject({ code: 'VECTOR_STORE_UNAVAILABLE' }));

  test('a new generation answers from the next search on, and two stay on disk', async () => {
    await put(jsonl(rows));
    expect((await ask([5, 5, 5], 1)).hits[0].id).toBe('c');
    await put(jsonl([{ ...rows[0], id: 'z' }]));
    expect(await ask([5, 5, 5], 1)).toMatchObject({ generation: '2', hits: [{ id: 'z' }] });
    await put(jsonl(rows));
    expect(readdirSync(join(root, 'places')).sort()).toEqual(['2', '3', 'current']);
  });

  test('a build that never ended leaves the generation before in force, and its remains go with the next import', async () => {
    await put(jsonl(rows));
    const dead = new GenerationWriter(join(root, 'places'), INDEX);
    dead.addComponents(new Float32Array([9, 9, 9]));
    expect((await ask([5, 5, 5], 1)).generation).toBe('1');
    expect(readdirSync(join(root, 'places'))).toHaveLength(3);
    await put(jsonl(rows));
    expect(readdirSync(join(root, 'places')).sort()).toEqual(['1', '2', 'current']);
  });

  test('a generation whose bytes changed never answers: the one before does', async () => {
    await put(jsonl(rows));
    await ask([0, 0, 0], 1);
    await put(jsonl(rows));
    writeFileSync(join(root, 'places', '2', 'vectors.f32'), Buffer.alloc(36));
    expect((await ask([0, 0, 0], 1)).generation).toBe('1');
    expect(log).toEqual([expect.stringContaining('generation 1 stays in force')]);
    await ask([0, 0, 0], 1);
    expect(log).toHaveLength(1);
    expect(() => new FlatVectorSearch(() => join(root, 'places'), logger).follow(INDEX)).not.toThrow();
    expect(log[1]).toContain('vector index not loaded');
  });

  test.each([1, 2, 7, 64, 4096])('is read whole in pieces of %i bytes, which end anywhere', async (pieceBytes) => {
    const texts = [{ ...rows[0], kind: 'kávézó 🐟' }, { ...rows[1], id: 'bé\n"', kind: 'x'.repeat(200) }, rows[2]];
    await put(jsonl(texts));
    const seen: number[] = [];
    const whole = loadGeneration(join(root, 'places'), '1', INDEX);
    const pieces = loadGeneration(join(root, 'places'), '1', INDEX, (done) => seen.push(done), pieceBytes);
    expect(pieces).toEqual(whole);
    expect(pieces.documents.map(([id, { kind }]) => [id, kind])).toEqual(texts.map(({ id, kind }) => [id, kind]));
    expect([...pieces.index.vector(1)]).toEqual([1, 0, 0.5]);
    expect(seen).toEqual([...seen].sort((a, b) => a - b));
    const size = (name: string) => statSync(join(root, 'places', '1', name)).size;
    expect(seen.at(-1)).toBe(size('vectors.f32') + size('documents.jsonl'));
    expect(seen).toHaveLength(Math.ceil(size('vectors.f32') / pieceBytes) + Math.ceil(size('documents.jsonl') / pieceBytes));
  });

  test.each([['documents.jsonl', Buffer.from('["a",{}]\n{')], ['documents.jsonl', Buffer.from('["a",{}]\n')], ['vectors.f32', Buffer.alloc(35)]])(
    'whose %s is another one is corrupt', async (name, bytes) => {
      await put(jsonl(rows));
      writeFileSync(join(root, 'places', '1', name), bytes);
      expect(() => loadGeneration(join(root, 'places'), '1', INDEX)).toThrow(/DATA_DIR_CORRUPT: generation 1 of vector index 'places' .*import it again/);
    });

  test('for whose vectors there is no memory is too large, not corrupt', async () => {
    await put(jsonl(rows));
    // a file of holes
    truncateSync(join(root, 'places', '1', 'vectors.f32'), 2 ** 43);
    expect(() => loadGeneration(join(root, 'places'), '1', INDEX)).toThrow(/^TOO_LARGE: generation 1 of vector index 'places' has 8796093022208 bytes of vectors/);
    expect(search.follow(INDEX)).toBeUndefined();
    expect(log).toEqual([expect.stringContaining('TOO_LARGE')]);
  });

  test('more than one process holds is not imported, and the generation before answers on', async () => {
    await put(jsonl(rows));
    const more = importVectors(db, join(root, 'places'), INDEX, jsonl([...rows, { ...rows[0], id: 'd' }], 'more.jsonl'), () => undefined, 11);
    await expect(more).rejects.toMatchObject({ code: 'TOO_LARGE', message: expect.stringMatching(/more\.jsonl holds 4 vectors of 3 numbers, .* at most 11 numbers; nothing was imported/) });
    expect(readdirSync(join(root, 'places')).sort()).toEqual(['1', 'current']);
    expect(await importVectors(db, join(root, 'places'), INDEX, join(root, 'more.jsonl'), () => undefined, 12)).toEqual({ generation: '2', count: 4 });
  });

  test('a generation of another dimension than the brain declares does not answer', async () => {
    await put(jsonl(rows));
    expect(search.follow({ ...INDEX, dimension: 4 })).toBeUndefined();
    expect(log[0]).toContain('has dimension 3, the brain declares 4');
  });

  test.each([
    ['a vector of another length', [{ ...rows[0], vector: [1, 2] }], /row 1: 'vector' must be a list of 3 finite numbers, got '\[1,2\]'/],
    ['a component that is no number', [rows[1], { ...rows[0], vector: [1, null, 3] }], /row 2: 'vector'/],
    ['a component that overflows', [{ ...rows[0], vector: [1, 1e39, 3] }], /row 1: 'vector'/],
    ['a missing id', [{ ...rows[0], id: null }], /row 1: 'id' has no value/],
    ['an id that stands twice', [rows[0], rows[1], { ...rows[2], id: 'a' }], /row 3: 'id' must be unique, got 'a', which row 1 has as well/],
    ['a field of another type', [rows[0], { ...rows[1], rank: 1.5 }], /row 2: field 'rank' must be int64, got '1.5'/],
    ['an unknown field', [{ ...rows[0], colour: 'red' }], /UNKNOWN_COLUMN: .*'colour'/],
    ['a missing field', [{ id: 'a', vector: [1, 2, 3] }], /MISSING_COLUMN: .*lacks field 'price', field 'rank'/],
  ])('fails when a file has %s, and imports nothing', async (_, bad, message) => {
    await expect(put(jsonl(bad))).rejects.toThrow(message);
    expect(existsSync(join(root, 'places', 'current'))).toBe(false);
  });

  test.each(COMPONENT_CASES)('judges %s as a build does', async (_, { vector, quantization, similarity = 'l2', document }) => {
    const index: VectorIndexSchema = { ...INDEX, dimension: 2, fields: [], quantization, similarity };
    const imported = put(jsonl([{ id: 'a', vector }]), index);
    if (document === undefined) return expect(imported).resolves.toEqual({ generation: '1', count: 1 });
    const [, range] = document.split(', and must hold ');
    return expect(imported).rejects.toMatchObject({
      code: 'INVALID_VALUE', message: expect.stringContaining(`row 1: 'vector' ${range === undefined ? document : `must be a list of 2 ${range}, got`}`),
    });
  });

  test('fails when an index with cosine similarity gets a zero vector', async () => {
    await expect(put(jsonl(rows), { ...INDEX, similarity: 'cosine' })).rejects.toThrow(/row 1: 'vector' is zero, which has no cosine/);
  });

  test('fails when a file is empty, absent, or not what its name says', async () => {
    await expect(put(file('in.csv', 'id,vector,price,rank,kind,open\n'))).rejects.toThrow(/holds no vectors/);
    await expect(put(join(root, 'absent.csv'))).rejects.toMatchObject({ code: 'FILE_NOT_FOUND' });
    await expect(put(file('in.parquet', 'no parquet'))).rejects.toMatchObject({ code: 'UNREADABLE_FILE' });
    await expect(put(file('in.jsonl', '{"id": "a"\n'))).rejects.toMatchObject({ code: 'UNREADABLE_FILE' });
    await expect(put(file('in.txt', ''))).rejects.toMatchObject({ code: 'UNREADABLE_FILE' });
  });
});
