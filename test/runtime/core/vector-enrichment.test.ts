import { setImmediate as turn } from 'node:timers/promises';
import { CONFIGURATION } from './brain.fixture';
import type { VectorTensorPlan } from '../../../runtime/core/plan';
import type { VectorHits, VectorSearch } from '../../../runtime/core/ports';
import type { Tensor } from '../../../runtime/core/tensors';
import { enrichVectors } from '../../../runtime/core/vector-enrichment';

const [index] = CONFIGURATION.vectorIndexes;
const BATCH = 100;

/** Answers each query with a score equal to its first value, a few turns later, and counts the searches under way. */
class SlowVectors implements VectorSearch {
  started = 0;
  underWay = 0;
  peak = 0;

  constructor(private readonly failing: (value: number) => boolean = () => false) {}

  async search(_: unknown, [value]: Float32Array): Promise<VectorHits> {
    this.started++;
    this.peak = Math.max(this.peak, ++this.underWay);
    // answers come out of order
    for (let turns = 5 - value % 5; turns > 0; turns--) await turn();
    this.underWay--;
    if (this.failing(value)) throw new Error(`search ${value} failed`);
    return { generation: 'g1', hits: [{ id: 'a', score: value, fields: {} }] };
  }

  async close(): Promise<void> {}
}

const plan = (input: string): VectorTensorPlan => ({ tensor: { name: `near_${input}`, datatype: 'FP32', shape: [-1, 1, 1] }, input, index, k: 1, fields: ['_score'], fill: undefined });
const queries = (name: string, from: number): [string, Tensor] => [
  name, { name, datatype: 'FP32', shape: [BATCH, 2], data: Float32Array.from({ length: 2 * BATCH }, (_, at) => from + Math.floor(at / 2)) },
];
const INPUTS = new Map([queries('a', 0), queries('b', 1000)]);
const enrich = (store: VectorSearch, signal?: AbortSignal, inputs: ReadonlyMap<string, Tensor> = INPUTS) => enrichVectors([plan('a'), plan('b')], inputs, BATCH, store, signal);

describe('enrichVectors', () => {
  test('has at most 16 searches under way, over all tensors of a request', async () => {
    const store = new SlowVectors();
    await enrich(store);
    expect(store).toMatchObject({ started: 2 * BATCH, underWay: 0, peak: 16 });
  });

  test('gives each row of each tensor its own neighbours, in whatever order the searches end', async () => {
    const { tensors, hits, generations } = await enrich(new SlowVectors());
    const rows = Array.from({ length: BATCH }, (_, row) => row);
    expect(tensors.map(({ name, shape, data }) => [name, shape, [...data as Float32Array]])).toEqual([
      ['near_a', [BATCH, 1, 1], rows], ['near_b', [BATCH, 1, 1], rows.map((row) => 1000 + row)],
    ]);
    expect(hits.map(({ length }) => length)).toEqual([BATCH, BATCH]);
    expect([...generations]).toEqual(['trips@g1']);
  });

  test('rejects with the first failure, and starts no search after it', async () => {
    const store = new SlowVectors((value) => value >= 20);
    await expect(enrich(store)).rejects.toThrow(/^search 2\d failed$/);
    const { started } = store;
    for (let turns = 10; turns > 0; turns--) await turn();
    expect(store).toMatchObject({ started, underWay: 0 });
    expect(started).toBeLessThan(20 + 2 * 16);
  });

  test('starts no search once the request was aborted', async () => {
    const store = new SlowVectors();
    const controller = new AbortController();
    const answer = enrich(store, controller.signal);
    controller.abort(new Error('gone'));
    await expect(answer).rejects.toThrow('gone');
    expect(store.started).toBe(16);
  });

  test('fails with INVALID_DATA in any row before it searches', async () => {
    const store = new SlowVectors();
    const [name, tensor] = queries('b', 0);
    (tensor.data as Float32Array)[2 * BATCH - 1] = NaN;
    await expect(enrich(store, undefined, new Map([...INPUTS, [name, tensor]]))).rejects.toMatchObject({ code: 'INVALID_DATA', message: expect.stringContaining(`row ${BATCH - 1} of query vector 'b' holds NaN`) });
    expect(store.started).toBe(0);
  });
});
