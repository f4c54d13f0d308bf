import fc from 'fast-check';
import { BulkLoad } from '../../../../runtime/core/vectors/bulk-load';
import type { BulkAnswer, LoadedPart } from '../../../../runtime/core/vectors/generation-cluster';
import type { VectorIndexSchema } from '../../../../src/contract';

const INDEX: VectorIndexSchema = {
  name: 'places',
  dimension: 2,
  similarity: 'cosine',
  engine: 'faiss',
  fields: [{ name: 'rank', type: 'long' }, { name: 'town', type: 'keyword' }, { name: 'about', type: 'text' }],
  hnsw: { m: 16, efConstruction: 100, efSearch: 100 },
};

async function* lines(texts: readonly string[]) {
  yield* texts;
}

/** A store that answers as it is told, and a clock that only waiting moves. */
class Store {
  now = 0;
  readonly taken = new Map<string, unknown>();
  readonly saved: LoadedPart[] = [];
  bulks = 0;

  constructor(private readonly answer: (ids: readonly string[]) => number | readonly number[]) {}

  /** Refused with a status that would be final, for want of memory alone. */
  exhausted = (_id: string): boolean => false;

  load = () => new BulkLoad(INDEX, {
    send: async (body): Promise<BulkAnswer> => {
      this.bulks++;
      const parsed = body.trim().split('\n').map((line) => JSON.parse(line));
      const ids = parsed.filter((_, at) => at % 2 === 0).map(({ index }) => index._id as string);
      const status = this.answer(ids);
      if (typeof status === 'number') return { status, items: [] };
      const items = status.map((code, at) => (this.exhausted(ids[at]) ? { status: 400, reason: 'no memory', exhausted: true } : { status: code, reason: `reason ${code}` }));
      ids.forEach((id, at) => items[at]?.status < 300 && this.taken.set(id, parsed[2 * at + 1]));
      return { status: 200, items };
    },
    save: async (loaded) => void this.saved.push(loaded),
    sleep: async (ms) => {
      this.now += ms;
    },
    now: () => this.now,
    random: () => 1,
  });
}

const document = (at: number) => JSON.stringify({ id: `d${at}`, vector: [1, at], rank: at });
const all = (ids: readonly string[], status = 201) => ids.map(() => status);

describe('a bulk load', () => {
  test('takes every document once the store does, whatever it refused before', async () => {
    await fc.assert(fc.asyncProperty(
      fc.integer({ min: 0, max: 60 }), fc.integer({ min: 1, max: 500 }), fc.array(fc.constantFrom(201, 429, 503, 'whole', 'large'), { minLength: 1, maxLength: 40 }),
      async (count, bulkBytes, outcomes) => {
        let at = 0;
        const store = new Store((ids) => {
          const outcome = outcomes[at++];
          if (outcome === 'whole') return 429;
          if (outcome === 'large' && ids.length > 1) return 413;
          return ids.map((_, position) => (typeof outcome !== 'number' || position % 2 === 0 ? 201 : outcome));
        });
        const loaded = await store.load().run(lines(Array.from({ length: count }, (_, position) => document(position))), { source: 's', until: Infinity, bulkBytes });
        expect(loaded).toEqual({ lines: count, vectors: count, done: true });
        expect([...store.taken.keys()].sort()).toEqual(Array.from({ length: count }, (_, position) => `d${position}`).sort());
      },
    ));
  });

  test('ends in time, and goes on where it ended', async () => {
    const store = new Store((ids) => {
      store.now += 10;
      return all(ids);
    });
    const source = Array.from({ length: 20 }, (_, at) => (at === 3 ? '' : document(at)));
    let loaded: LoadedPart | undefined;
    let runs = 0;
    do {
      loaded = await store.load().run(lines(source), { source: 's', from: loaded, until: store.now + 25, bulkBytes: 1 });
      runs++;
    } while (!loaded.done);
    expect(loaded).toEqual({ lines: 20, vectors: 19, done: true });
    expect([runs, store.bulks]).toEqual([7, 19]);
    expect(store.saved.at(-1)).toEqual(loaded);
  });

  test('waits longer from refusal to refusal, and gives up after two minutes without a document', async () => {
    const store = new Store(() => 429);
    await expect(store.load().run(lines([document(1)]), { source: 's', until: Infinity })).rejects.toMatchObject({ code: 'LOAD_STALLED', message: expect.stringContaining('(HTTP 429)') });
    expect(store.now).toBeGreaterThan(120_000);
    expect(store.bulks).toBeLessThan(20);
  });

  test('waits where graphs do not fit in memory, which says nothing of the documents, and gives up with what to do', async () => {
    const store = new Store((ids) => all(ids));
    store.exhausted = () => store.now < 60_000;
    const source = [document(0), document(1)];
    expect(await store.load().run(lines(source), { source: 's', until: Infinity })).toEqual({ lines: 2, vectors: 2, done: true });
    expect([...store.taken.keys()]).toEqual(['d0', 'd1']);
    store.exhausted = (id) => id === 'd1';
    await expect(store.load().run(lines(source), { source: 's', until: Infinity })).rejects.toMatchObject({
      code: 'LOAD_STALLED', message: expect.stringMatching(/no document was taken for 120 s \(no memory\); the graphs do not fit in memory: add data nodes, quantize/),
    });
  });

  test.each<[string, number | readonly number[], string, RegExp]>([
    ['a document that the mapping refuses', [201, 400], 'INVALID_VECTOR', /"d1".* is refused \(reason 400\)/],
    ['a whole bulk that is forbidden', 403, 'BUILD_REFUSED', /HTTP 403/],
    ['a single document that is too large', 413, 'BUILD_REFUSED', /HTTP 413/],
    ['an answer for fewer documents', [201], 'BUILD_REFUSED', /1 of 2/],
  ])('refuses %s', async (_, status, code, message) => {
    const store = new Store((ids) => (status === 413 && ids.length > 1 ? 413 : status));
    await expect(store.load().run(lines([document(0), document(1)]), { source: 's', until: Infinity })).rejects.toMatchObject({ code, message: expect.stringMatching(message) });
  });

  test.each([
    ['no JSON', '{', 'the line must be one JSON object'],
    ['a list', '[]', 'the line must be one JSON object'],
    ['no id', '{"vector":[1,2]}', "'id' must be text of 1 to 512 bytes, got nothing"],
    ['an id that is too long', JSON.stringify({ id: 'ä'.repeat(257), vector: [1, 2] }), "'id' must be text"],
    ['a short vector', '{"id":"a","vector":[1]}', "'vector' must be a list of 2 finite numbers, got [1]"],
    ['text in a vector', '{"id":"a","vector":[1,"2"]}', "'vector' must be a list of 2 finite numbers"],
    ['a component beyond single precision', '{"id":"a","vector":[1,1e39]}', "'vector' holds 1e+39, and must hold finite numbers"],
    ['no direction', '{"id":"a","vector":[0,1e-60]}', "'vector' is zero, which has no cosine"],
    ['another field', '{"id":"a","vector":[1,2],"x":1}', "index 'places' declares no field 'x'"],
    ['a text that is none', '{"id":"a","vector":[1,2],"about":["a"]}', "'about' must be a text, got [\"a\"]"],
    ['a field of another type', '{"id":"a","vector":[1,2],"town":7}', "'town' must be a keyword, got 7"],
    ['a number that lost its last digits', '{"id":"a","vector":[1,2],"rank":9007199254740993}', "'rank' must be a long, got 9007199254740992 (beyond 2^53 as text)"],
  ])('names the line with %s', async (_, line, message) => {
    const store = new Store((ids) => all(ids));
    await expect(store.load().run(lines([document(0), line]), { source: 'vectors/a.jsonl', until: Infinity }))
      .rejects.toMatchObject({ code: 'INVALID_VECTOR', message: expect.stringContaining(`vectors/a.jsonl, line 2: ${message}`) });
  });

  test('writes what stands in the line, a long beyond 2^53 as text, and leaves out what is null', async () => {
    const store = new Store((ids) => all(ids));
    await store.load().run(lines(['{"id":"a","vector":[1,2.5],"rank":"9007199254740993","town":null}']), { source: 's', until: Infinity });
    expect([...store.taken]).toEqual([['a', { vector: [1, 2.5], rank: '9007199254740993' }]]);
  });
});
