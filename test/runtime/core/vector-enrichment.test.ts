import fc from 'fast-check';
import { CONFIGURATION, MANIFEST, NOON } from './brain.fixture';
import { BrainError } from '../../../runtime/core/errors';
import { planModel, type VectorTensorPlan } from '../../../runtime/core/plan';
import type { CallContext, VectorHits, VectorQuery, VectorSearch } from '../../../runtime/core/ports';
import { RequestScope } from '../../../runtime/core/resilience/deadline';
import { DeadlineTimers } from '../../../runtime/core/resilience/deadline-timers';
import type { Tensor } from '../../../runtime/core/tensors';
import { enrichVectors } from '../../../runtime/core/vector-enrichment';
import type { VectorTensor } from '../../../src/contract';

const [index] = CONFIGURATION.vectorIndexes;
const BATCH = 100;

/** Answers each query with a score equal to the vector's first value, and keeps what it was asked. */
class ScoringVectors implements VectorSearch {
  readonly calls: { readonly queries: readonly VectorQuery[]; readonly context: CallContext | undefined }[] = [];

  constructor(private readonly failing: (queries: readonly VectorQuery[]) => unknown = () => undefined) {}

  async search(queries: readonly VectorQuery[], context?: CallContext): Promise<VectorHits[]> {
    this.calls.push({ queries, context });
    const failure = this.failing(queries);
    if (failure) throw failure;
    return queries.map(({ vector, k }) => ({ generation: 'g1', hits: Array.from({ length: k }, () => ({ id: 'a', score: vector[0], fields: { minutes: 3 } })) }));
  }

  async close(): Promise<void> {}
}

const AWAY = new BrainError('VECTOR_STORE_UNAVAILABLE', 'away');

const plan = (input: string, rest: Partial<VectorTensorPlan> = {}): VectorTensorPlan => ({
  tensor: { name: `near_${input}`, datatype: 'FP32', shape: [-1, 1, 1] }, input, index, k: 1, text: undefined, fields: ['_score'], filter: [], fill: undefined, degrades: false, flag: undefined, ...rest,
});
const fallback = (input: string, rest: Partial<VectorTensorPlan> = {}) => plan(input, { fill: -1, degrades: true, ...rest });
const vectors = (name: string, from: number, rows = BATCH): [string, Tensor] => [
  name, { name, datatype: 'FP32', shape: [rows, 2], data: Float32Array.from({ length: 2 * rows }, (_, at) => from + Math.floor(at / 2)) },
];
const INPUTS = new Map([vectors('a', 0), vectors('b', 1000)]);
const enrich = (store: VectorSearch, plans = [plan('a'), plan('b')], context?: CallContext, flags?: Record<string, boolean>, inputs: ReadonlyMap<string, Tensor> = INPUTS) => (
  enrichVectors(plans, inputs, inputs.values().next().value!.shape[0], store, NOON, context, flags)
);
const valuesOf = ({ data }: Tensor) => [...data as Float32Array];

afterEach(() => jest.useRealTimers());

describe('enrichVectors', () => {
  test('asks for all rows of all tensors at once, and gives each its own neighbours', async () => {
    const store = new ScoringVectors();
    const { tensors, hits, generations, degraded } = await enrich(store);
    const rows = Array.from({ length: BATCH }, (_, row) => row);
    expect(store.calls.map(({ queries }) => queries.length)).toEqual([2 * BATCH]);
    expect(tensors.map((tensor) => [tensor.name, tensor.shape, valuesOf(tensor)])).toEqual([
      ['near_a', [BATCH, 1, 1], rows], ['near_b', [BATCH, 1, 1], rows.map((row) => 1000 + row)],
    ]);
    expect(hits.map(({ length }) => length)).toEqual([BATCH, BATCH]);
    expect([...generations]).toEqual(['trips@g1']);
    expect(degraded).toEqual([]);
  });

  test('asks for the text of each row beside its vector, and names a list that did not come', async () => {
    const asked: (string | undefined)[] = [];
    const store: VectorSearch = {
      search: async (queries) => queries.map(({ vector, text }) => {
        asked.push(text);
        return { generation: 'g1', hits: [{ id: 'a', score: vector[0], fields: {} }], ...text === 'away' ? { missing: 'text' as const } : {} };
      }),
      close: async () => undefined,
    };
    const words = (...data: string[]): [string, Tensor] => ['words', { name: 'words', datatype: 'BYTES', shape: [data.length], data }];
    const plans = [plan('a', { text: 'words' }), plan('b')];
    const inputs = (...data: string[]) => new Map([vectors('a', 0, 2), vectors('b', 1000, 2), words(...data)]);
    expect((await enrich(store, plans, undefined, undefined, inputs('wet', ''))).degraded).toEqual([]);
    expect(asked).toEqual(['wet', '', undefined, undefined]);
    expect((await enrich(store, plans, undefined, undefined, inputs('wet', 'away'))).degraded).toEqual(['vectors:near_a/text']);
  });

  test('rows with one vector and different texts are searched apart, equal ones together', async () => {
    const store = new ScoringVectors();
    const data = ['wet', 'dry', 'wet'];
    const inputs = new Map<string, Tensor>([
      ['a', { name: 'a', datatype: 'FP32', shape: [3, 2], data: Float32Array.of(1, 1, 1, 1, 1, 1) }], ['words', { name: 'words', datatype: 'BYTES', shape: [3], data }],
    ]);
    await enrich(store, [plan('a', { text: 'words' })], undefined, undefined, inputs);
    expect(store.calls[0].queries.map(({ text }) => text)).toEqual(['wet', 'dry']);
  });

  test('fails with INVALID_DATA in any row before it searches', async () => {
    const store = new ScoringVectors();
    const [name, tensor] = vectors('b', 0);
    (tensor.data as Float32Array)[2 * BATCH - 1] = NaN;
    await expect(enrich(store, [plan('a'), fallback('b')], undefined, undefined, new Map([...INPUTS, [name, tensor]])))
      .rejects.toMatchObject({ code: 'INVALID_DATA', message: expect.stringContaining(`row ${BATCH - 1} of query vector 'b' holds NaN`) });
  });

  test('fails with INVALID_DATA where the index takes no such query, whether or not it may answer without', async () => {
    const store = new ScoringVectors();
    const bytes = { ...index, quantization: { kind: 'byte' as const } };
    const asked = (value: number) => enrich(store, [fallback('a', { index: bytes })], undefined, undefined, new Map([
      ['a', { name: 'a', datatype: 'FP32', shape: [2, 2], data: Float32Array.of(1, -128, 1, value) }],
    ]));
    await expect(asked(0.5)).rejects.toMatchObject({
      code: 'INVALID_DATA', message: expect.stringContaining("row 1 of query vector 'a' holds 0.5, and must hold whole numbers from -128 to 127"), details: { tensor: 'a' },
    });
    await expect(asked(128)).rejects.toMatchObject({ code: 'INVALID_DATA' });
    expect(store.calls).toEqual([]);
    expect((await asked(127)).degraded).toEqual([]);
  });

  test('a long beyond 2^53 is a number in the tensor', async () => {
    const store: VectorSearch = { search: async () => [{ generation: 'g', hits: [{ id: 'a', score: 1, fields: { rank: '9007199254740993' } }] }], close: async () => undefined };
    const ranked = { ...index, fields: [{ name: 'rank', type: 'long' as const }] };
    const { tensors } = await enrich(store, [plan('a', { index: ranked, fields: ['rank'], tensor: { name: 't', datatype: 'FP64', shape: [-1, 1, 1] } })], undefined, undefined, new Map([vectors('a', 0, 1)]));
    expect(valuesOf(tensors[0])).toEqual([9007199254740992]);
  });

  describe('asks once for', () => {
    const same = (rows: number[][]): [string, Tensor] => ['a', { name: 'a', datatype: 'FP32', shape: [rows.length, 2], data: Float32Array.from(rows.flat()) }];

    test('rows with one vector', async () => {
      const store = new ScoringVectors();
      const { tensors } = await enrich(store, [plan('a')], undefined, undefined, new Map([same([[1, 2], [2, 1], [1, 2], [1, 3]])]));
      expect(store.calls[0].queries.map(({ vector }) => [...vector])).toEqual([[1, 2], [2, 1], [1, 3]]);
      expect(valuesOf(tensors[0])).toEqual([1, 2, 1, 1]);
    });

    test('tensors with one question, of whatever fields', async () => {
      const store = new ScoringVectors();
      const { tensors } = await enrich(store, [plan('a'), plan('a', { fields: ['minutes'] }), plan('a', { k: 2 })], undefined, undefined, new Map([same([[7, 2]])]));
      expect(store.calls[0].queries.map(({ k }) => k)).toEqual([1, 2]);
      expect(tensors.map(valuesOf)).toEqual([[7], [3], [7, 7]]);
    });

    test('whatever stands twice, and gives every row what it would get alone', async () => {
      const rows = fc.array(fc.tuple(fc.integer({ min: -2, max: 2 }), fc.integer({ min: -2, max: 2 })), { minLength: 1, maxLength: 40 });
      await fc.assert(fc.asyncProperty(rows, async (asked) => {
        const store = new ScoringVectors();
        const { tensors } = await enrich(store, [plan('a')], undefined, undefined, new Map([same(asked)]));
        expect(valuesOf(tensors[0])).toEqual(asked.map(([first]) => first));
        expect(store.calls[0].queries).toHaveLength(new Set(asked.map(String)).size);
      }));
    });

    test('rows with one vector and one filter, and apart for others', async () => {
      const store = new ScoringVectors();
      const inputs = new Map<string, Tensor>([same([[1, 2], [1, 2], [1, 2]]), ['city', { name: 'city', datatype: 'BYTES', shape: [3], data: ['Wien', 'Graz', 'Wien'] }]]);
      await enrich(store, [plan('a', { filter: [{ field: 'city', type: 'keyword', values: undefined, input: 'city' }] })], undefined, undefined, inputs);
      expect(store.calls[0].queries.map(({ filter }) => filter)).toEqual([[{ field: 'city', values: ['Wien'] }], [{ field: 'city', values: ['Graz'] }]]);
    });
  });

  describe('filters', () => {
    const places = {
      ...CONFIGURATION,
      vectorIndexes: [{ ...index, fields: [...index.fields, { name: 'rank', type: 'long' as const }] }],
    };
    const planned = (filter: VectorTensor['filter']) => planModel({
      name: 'eta', version: '1', manifest: { ...MANIFEST, enrichment: { ...MANIFEST.enrichment, vectors: [{ ...MANIFEST.enrichment!.vectors![0], filter }] } },
    }, places);
    const ask = async (filter: VectorTensor['filter'], ...inputs: Tensor[]) => {
      const store = new ScoringVectors();
      await enrich(store, [...planned(filter).vectors].map((each) => ({ ...each, fields: ['_score'] })), undefined, undefined, new Map([vectors('route', 0, 2), ...inputs.map((tensor): [string, Tensor] => [tensor.name, tensor])]));
      return store.calls[0].queries.map((query) => query.filter);
    };

    test('with literal values are those of every row', async () => {
      const filter = [{ field: 'city', values: ['Wien'] }, { field: 'rush', values: [true] }];
      const asked = await ask(filter);
      expect(asked).toEqual([expect.arrayContaining(filter.map((condition) => expect.objectContaining(condition))), expect.anything()]);
      expect(asked[0]).toBe(asked[1]);
    });

    test.each<[string, Tensor, unknown[]]>([
      ['keyword from text', { name: 'x', datatype: 'BYTES', shape: [2], data: ['Wien', ''] }, ['Wien', '']],
      ['keyword from bytes', { name: 'x', datatype: 'BYTES', shape: [2], data: [Buffer.from('Łódź'), Buffer.from('b')] }, ['Łódź', 'b']],
      ['boolean', { name: 'x', datatype: 'BOOL', shape: [2], data: Uint8Array.of(0, 1) }, [false, true]],
      ['long', { name: 'x', datatype: 'INT64', shape: [2], data: BigInt64Array.of(-3n, 9007199254740993n) }, [-3, '9007199254740993']],
      ['float', { name: 'x', datatype: 'FP32', shape: [2], data: Float32Array.of(0.5, 2) }, [0.5, 2]],
      ['float in double precision', { name: 'x', datatype: 'FP64', shape: [2], data: Float64Array.of(0.1, 2) }, [0.1, 2]],
    ])('take a %s of each row from an input', async (_, tensor, expected) => {
      const field = { BYTES: 'city', BOOL: 'rush', INT64: 'rank', FP32: 'minutes', FP64: 'minutes' }[tensor.datatype as 'BYTES']!;
      expect(await ask([{ field, input: 'x' }], tensor)).toEqual(expected.map((value) => [{ field, values: [value] }]));
    });

    test.each([NaN, Infinity, 1e39])('refuse %d, which no float field holds', async (value) => {
      await expect(ask([{ field: 'minutes', input: 'x' }], { name: 'x', datatype: 'FP64', shape: [2], data: Float64Array.of(1, value) })).rejects.toMatchObject({ code: 'INVALID_DATA' });
    });

    test('mix both', async () => {
      expect(await ask([{ field: 'city', input: 'x' }, { field: 'rush', values: [true] }], { name: 'x', datatype: 'BYTES', shape: [2], data: ['a', 'b'] })).toEqual([
        [{ field: 'city', values: ['a'] }, { field: 'rush', values: [true] }], [{ field: 'city', values: ['b'] }, { field: 'rush', values: [true] }],
      ]);
    });
  });

  describe('while the store is away', () => {
    test.each(['VECTOR_STORE_UNAVAILABLE', 'DEADLINE_EXCEEDED'] as const)('fills what declares it after %s, and says so', async (code) => {
      const { tensors, hits, generations, degraded } = await enrich(new ScoringVectors(() => new BrainError(code, 'away')), [fallback('a')]);
      expect(valuesOf(tensors[0])).toEqual(new Array(BATCH).fill(-1));
      expect(hits[0]).toHaveLength(BATCH);
      expect(hits[0][0].hits).toEqual([]);
      expect(generations.size).toBe(0);
      expect(degraded).toEqual(['vectors:near_a']);
    });

    test('fails where a tensor declares no fallback', async () => {
      await expect(enrich(new ScoringVectors(() => AWAY), [plan('a', { fill: 0 })])).rejects.toBe(AWAY);
      await expect(enrich(new ScoringVectors(() => AWAY), [fallback('a'), plan('b', { fill: 0 })])).rejects.toBe(AWAY);
    });

    test('keeps the tensors that do not depend on what is away', async () => {
      const store = new ScoringVectors((queries) => (queries[0].vector[0] < 1000 ? AWAY : undefined));
      const { tensors, degraded, generations } = await enrich(store, [fallback('a'), plan('b')]);
      expect(tensors.map((tensor) => valuesOf(tensor)[1])).toEqual([-1, 1001]);
      expect(degraded).toEqual(['vectors:near_a']);
      expect([...generations]).toEqual(['trips@g1']);
    });

    test.each(['INVALID_VECTOR_HIT', 'INTERNAL'] as const)('does not hide %s', async (code) => {
      await expect(enrich(new ScoringVectors(() => new BrainError(code, 'wrong')), [fallback('a')])).rejects.toMatchObject({ code });
    });

    test('does not hide errors that have no code, or too few numbers', async () => {
      await expect(enrich(new ScoringVectors(() => new TypeError('bug')), [fallback('a')])).rejects.toThrow('bug');
      await expect(enrich(new ScoringVectors(), [fallback('a', { fields: ['rush'] })])).rejects.toMatchObject({ code: 'INVALID_VECTOR_HIT' });
    });

    test('fails with the reason once the request itself has ended', async () => {
      const caller = new AbortController();
      const store = new ScoringVectors(() => {
        caller.abort();
        return new BrainError('DEADLINE_EXCEEDED', 'too late');
      });
      await expect(enrich(store, [fallback('a')], { signal: caller.signal })).rejects.toMatchObject({ code: 'DEADLINE_EXCEEDED' });
    });
  });

  test('gives a search with a fallback 60 % of the time left, and others all of it', async () => {
    const store = new ScoringVectors();
    const context = { deadline: NOON + 1000, traceparent: '00-1-2-01' };
    await enrich(store, [fallback('a'), plan('b')], context);
    expect(store.calls.map(({ queries, context: given }) => [queries[0].vector[0], given!.deadline, given!.traceparent])).toEqual([
      [1000, NOON + 1000, context.traceparent], [0, NOON + 600, context.traceparent],
    ]);
  });

  test('degrades in time although the store keeps no deadline, and tells it to stop', async () => {
    jest.useFakeTimers();
    const request = RequestScope.start(new DeadlineTimers({ now: () => Date.now() }), { timeoutMs: 250 });
    const stopped: unknown[] = [];
    const deaf: VectorSearch = {
      search: async (_, context) => {
        context!.signal!.addEventListener('abort', () => stopped.push(context!.signal!.reason));
        return new Promise(() => undefined);
      },
      close: async () => undefined,
    };
    const answer = enrich(deaf, [fallback('a')], request);
    await jest.advanceTimersByTimeAsync(0.6 * 250 + 8);
    const { degraded } = await answer;
    expect(degraded).toEqual(['vectors:near_a']);
    expect(stopped).toEqual([expect.objectContaining({ code: 'VECTOR_STORE_UNAVAILABLE' })]);
    expect(request.aborted).toBe(false);
    request.end();
  });

  test('fails with the reason of a request that was cancelled while the store was asked', async () => {
    const request = RequestScope.start(new DeadlineTimers(), { timeoutMs: 10_000 });
    const gone = new BrainError('CANCELLED', 'gone');
    const silent: VectorSearch = { search: () => new Promise(() => undefined), close: async () => undefined };
    const answer = enrich(silent, [fallback('a')], request);
    request.cancel(gone);
    await expect(answer).rejects.toBe(gone);
  });

  test('searches nothing for a flag that is off, fills, and calls it no degradation', async () => {
    const store = new ScoringVectors();
    const plans = [plan('a', { flag: 'near', fill: 0.5 }), fallback('b', { flag: 'near-b' })];
    const off = await enrich(store, plans, undefined, { 'near': false, 'near-b': true });
    expect(off.tensors.map((tensor) => valuesOf(tensor)[1])).toEqual([0.5, 1001]);
    expect(off.degraded).toEqual([]);
    const none = await enrich(store, plans, undefined, { 'near': false, 'near-b': false });
    expect(none.tensors.map((tensor) => valuesOf(tensor)[1])).toEqual([0.5, -1]);
    expect(none.generations.size).toBe(0);
    expect(store.calls).toHaveLength(1);
  });

  test('a flag that the document does not have is on', async () => {
    const store = new ScoringVectors();
    await enrich(store, [plan('a', { flag: 'near', fill: 0 })], undefined, {});
    await enrich(store, [plan('a', { flag: 'near', fill: 0 })]);
    expect(store.calls).toHaveLength(2);
  });
});
