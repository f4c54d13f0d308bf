import fc from 'fast-check';
import { BrainError } from '../../../../runtime/core/errors';
import type { CallContext, ModelRef, ModelRuntime } from '../../../../runtime/core/ports';
import { RequestScope } from '../../../../runtime/core/resilience/deadline';
import { DeadlineTimers } from '../../../../runtime/core/resilience/deadline-timers';
import { MicroBatcher } from '../../../../runtime/core/resilience/micro-batcher';
import { joinable, joinRows, splitRows } from '../../../../runtime/core/resilience/tensor-batch';
import { NO_TELEMETRY } from '../../../../runtime/core/telemetry';
import { byteStrings, type Tensor, texts } from '../../../../runtime/core/tensors';
import type { ModelManifest } from '../../../../src/contract';
import { SURGE } from '../brain.fixture';

const BATCHED: ModelManifest = {
  ...SURGE,
  inputs: [{ name: 'x', datatype: 'FP32', shape: [-1, 2] }],
  outputs: [{ name: 'y', datatype: 'FP32', shape: [-1] }],
  batching: { maxSize: 4, maxDelayMs: 10 },
};
const MODEL: ModelRef = { name: 'surge', version: '1', manifest: BATCHED };

const rows = (...values: number[]): Tensor[] => [
  { name: 'x', datatype: 'FP32', shape: [values.length, 2], data: Float32Array.from(values.flatMap((value) => [value, 1])) },
];

interface Call {
  readonly inputs: readonly Tensor[];
  readonly context: CallContext | undefined;
  answer(): void;
  fail(error: unknown): void;
}

/** A runtime that answers when it is told to: the first column of its input. */
class HeldRuntime implements ModelRuntime {
  readonly calls: Call[] = [];

  ready(): Promise<boolean> {
    return Promise.resolve(true);
  }

  infer(_model: ModelRef, inputs: readonly Tensor[], context?: CallContext): Promise<Tensor[]> {
    return new Promise((resolve, reject) => {
      const { shape: [count], data } = inputs[0]!;
      const y = Float32Array.from({ length: count! }, (_, row) => Number(data[row * 2]));
      this.calls.push({ inputs, context, answer: () => resolve([{ name: 'y', datatype: 'FP32', shape: [count!], data: y }]), fail: reject });
    });
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}

describe('a micro-batcher', () => {
  let runtime: HeldRuntime;
  let batcher: MicroBatcher;
  let timers: DeadlineTimers;
  let retries: number;

  beforeEach(() => {
    jest.useFakeTimers();
    timers = new DeadlineTimers({ now: () => Date.now() });
    runtime = new HeldRuntime();
    retries = 0;
    const count = (event: string, dependency: string, times = 1) => {
      if (event === 'retry' && dependency === 'runtime') retries += times;
    };
    batcher = new MicroBatcher(runtime, timers, { ...NO_TELEMETRY, count });
  });

  afterEach(() => jest.useRealTimers());

  const ask = (context: CallContext | undefined, ...values: number[]): Promise<unknown> =>
    batcher.infer(MODEL, rows(...values), context).then(([y]) => [...y!.data as Float32Array], (error: { code: string }) => error.code);
  const settle = (): Promise<void> => jest.advanceTimersByTimeAsync(0);

  test('a lone request goes at once, as it is', async () => {
    const answer = ask(undefined, 1);
    expect(runtime.calls).toHaveLength(1);
    runtime.calls[0]!.answer();
    expect(await answer).toEqual([1]);
  });

  test('others gather while it runs, and go together when it ends', async () => {
    const answers = [ask(undefined, 1), ask(undefined, 2), ask(undefined, 3, 4)];
    expect(runtime.calls).toHaveLength(1);
    runtime.calls[0]!.answer();
    await settle();
    expect(runtime.calls.map(({ inputs }) => inputs[0]!.shape)).toEqual([[1, 2], [3, 2]]);
    runtime.calls[1]!.answer();
    expect(await Promise.all(answers)).toEqual([[1], [2], [3, 4]]);
  });

  test('a batch goes when it is full', async () => {
    void ask(undefined, 0);
    const answers = [ask(undefined, 1, 2), ask(undefined, 3, 4), ask(undefined, 5, 6)];
    expect(runtime.calls.map(({ inputs }) => inputs[0]!.shape[0])).toEqual([1, 4]);
    await jest.advanceTimersByTimeAsync(10);
    for (const call of runtime.calls) call.answer();
    expect(await Promise.all(answers)).toEqual([[1, 2], [3, 4], [5, 6]]);
  });

  test('one that does not fit sends the others off and begins anew', async () => {
    void ask(undefined, 0);
    void ask(undefined, 1, 2);
    void ask(undefined, 3, 4, 5);
    expect(runtime.calls.map(({ inputs }) => inputs[0]!.shape[0])).toEqual([1, 2]);
    await jest.advanceTimersByTimeAsync(10);
    expect(runtime.calls.map(({ inputs }) => inputs[0]!.shape[0])).toEqual([1, 2, 3]);
  });

  test('a batch goes when its first request has waited for long enough', async () => {
    void ask(undefined, 0);
    void ask(undefined, 1);
    await jest.advanceTimersByTimeAsync(9);
    expect(runtime.calls).toHaveLength(1);
    await jest.advanceTimersByTimeAsync(1);
    expect(runtime.calls).toHaveLength(2);
  });

  test('one that has no time to wait takes the others along', () => {
    void ask(undefined, 0);
    void ask(undefined, 1);
    void ask({ deadline: Date.now() + 5 }, 2);
    expect(runtime.calls[1]!.inputs[0]!.shape[0]).toBe(2);
  });

  test('only requests of the same shape go together', async () => {
    void ask(undefined, 0);
    void batcher.infer(MODEL, [{ name: 'x', datatype: 'FP32', shape: [1, 3], data: new Float32Array(3) }]);
    void ask(undefined, 1);
    void ask(undefined, 2);
    await jest.advanceTimersByTimeAsync(10);
    expect(runtime.calls.map(({ inputs }) => inputs[0]!.shape)).toEqual([[1, 2], [1, 3], [2, 2]]);
  });

  test('a model that does not batch, or a request that is a full batch, passes through', () => {
    void batcher.infer({ ...MODEL, manifest: SURGE }, rows(1));
    void batcher.infer({ ...MODEL, manifest: SURGE }, rows(2));
    void ask(undefined, 1, 2, 3, 4);
    void ask(undefined, 1, 2, 3, 4);
    expect(runtime.calls).toHaveLength(4);
  });

  test('a failure of the joint call is everybody\'s', async () => {
    void ask(undefined, 0);
    const answers = [ask(undefined, 1), ask(undefined, 2)];
    await jest.advanceTimersByTimeAsync(10);
    runtime.calls[1]!.fail(new BrainError('RUNTIME_UNAVAILABLE', 'away'));
    expect(await Promise.all(answers)).toEqual(['RUNTIME_UNAVAILABLE', 'RUNTIME_UNAVAILABLE']);
  });

  /** Requests that are answered: each pays a tenth of a retry. */
  const healthy = async (count: number): Promise<void> => {
    for (let i = 0; i < count; i++) {
      const answer = ask(undefined, 1);
      runtime.calls.at(-1)!.answer();
      await answer;
    }
    runtime.calls.length = 0;
  };
  const badRow = () => new BrainError('MODEL_FAILED', 'a bad row');

  test('a request that the model fails on does not fail its neighbours', async () => {
    await healthy(20);
    void ask(undefined, 0);
    const answers = [ask(undefined, 1), ask(undefined, 2)];
    await jest.advanceTimersByTimeAsync(10);
    runtime.calls[1]!.fail(badRow());
    await settle();
    expect(runtime.calls).toHaveLength(4);
    runtime.calls[2]!.fail(badRow());
    runtime.calls[3]!.answer();
    expect(await Promise.all(answers)).toEqual(['MODEL_FAILED', [2]]);
    expect(runtime.calls).toHaveLength(4);
    expect(retries).toBe(2);
  });

  test('what the budget of retries does not pay for fails as its batch did', async () => {
    await healthy(8);
    void ask(undefined, 0);
    const answers = [ask(undefined, 1), ask(undefined, 2), ask(undefined, 3)];
    await jest.advanceTimersByTimeAsync(10);
    runtime.calls[1]!.fail(badRow());
    await settle();
    // twelve requests were made: one retry and two tenths
    expect(runtime.calls.slice(2).map(({ inputs }) => inputs)).toEqual([rows(1)]);
    runtime.calls[2]!.answer();
    expect(await Promise.all(answers)).toEqual([[1], 'MODEL_FAILED', 'MODEL_FAILED']);
    expect(retries).toBe(1);
  });

  test('of the requests of a model that fails on everything no more than a tenth go again', async () => {
    const infer = jest.spyOn(runtime, 'infer').mockImplementation(() => Promise.reject(badRow()));
    for (let round = 0; round < 50; round++) {
      const answers = [ask(undefined, 0), ask(undefined, 1), ask(undefined, 2), ask(undefined, 3)];
      expect(await Promise.all(answers)).toEqual(new Array(4).fill('MODEL_FAILED'));
      await settle();
    }
    expect(retries).toBe(20);
    // of each round the first one, and the others together
    expect(infer).toHaveBeenCalledTimes(100 + retries);
  });

  test('a retry is not spent on one that is gone', async () => {
    await healthy(20);
    void ask(undefined, 0);
    const controller = new AbortController();
    const answers = [ask({ signal: controller.signal }, 1), ask(undefined, 2)];
    await jest.advanceTimersByTimeAsync(10);
    controller.abort(new BrainError('CANCELLED', 'gone'));
    runtime.calls[1]!.fail(badRow());
    await settle();
    runtime.calls[2]!.answer();
    expect(await Promise.all(answers)).toEqual(['CANCELLED', [2]]);
    expect(retries).toBe(1);
  });

  test('each request ends at its own deadline, and the joint call when all are gone', async () => {
    void ask(undefined, 0);
    const scope = RequestScope.start(timers, { timeoutMs: 30 });
    const controller = new AbortController();
    const answers = [ask(scope, 1), ask({ signal: controller.signal }, 2)];
    await jest.advanceTimersByTimeAsync(10);
    await jest.advanceTimersByTimeAsync(30);
    expect(await answers[0]).toBe('DEADLINE_EXCEEDED');
    const { signal } = runtime.calls[1]!.context!;
    expect(signal!.aborted).toBe(false);
    controller.abort(new BrainError('CANCELLED', 'gone'));
    expect(await answers[1]).toBe('CANCELLED');
    expect(signal!.aborted).toBe(true);
  });

  test('one that is gone before its batch goes is left out', async () => {
    void ask(undefined, 0);
    const controller = new AbortController();
    const gone = ask({ signal: controller.signal }, 1);
    void ask(undefined, 2);
    controller.abort(new BrainError('CANCELLED', 'gone'));
    await jest.advanceTimersByTimeAsync(10);
    expect(await gone).toBe('CANCELLED');
    expect(runtime.calls[1]!.inputs).toEqual(rows(2));
  });

  test('an answer without a row per row is no answer', async () => {
    void ask(undefined, 0);
    const answers = [ask(undefined, 1), ask(undefined, 2)];
    jest.spyOn(runtime, 'infer').mockResolvedValueOnce([{ name: 'y', datatype: 'FP32', shape: [1], data: new Float32Array(1) }]);
    await jest.advanceTimersByTimeAsync(10);
    expect(await Promise.all(answers)).toEqual(['INVALID_MODEL_OUTPUT', 'INVALID_MODEL_OUTPUT']);
  });
});

test('what is joined and split again is what it was, for any rows', () => {
  const row = fc.tuple(fc.float({ noNaN: true }), fc.string(), fc.bigInt({ min: 0n, max: 9n }));
  const requests = fc.array(fc.array(row, { minLength: 1, maxLength: 4 }), { minLength: 1, maxLength: 5 });
  fc.assert(fc.property(requests, fc.boolean(), (given, mixed) => {
    const tensors = given.map((values, at): Tensor[] => {
      const names: Tensor = { name: 's', datatype: 'BYTES', shape: [values.length], data: values.map(([, text]) => text) };
      return [
        { name: 'f', datatype: 'FP32', shape: [values.length, 1], data: Float32Array.from(values.map(([number]) => number)) },
        mixed && at % 2 === 1 ? { ...names, data: byteStrings(names) } : names,
        { name: 'i', datatype: 'INT64', shape: [values.length], data: BigInt64Array.from(values.map(([, , wide]) => wide)) },
      ];
    });
    expect(tensors.every((inputs) => joinable(tensors[0]!, inputs))).toBe(true);
    const split = splitRows(joinRows(tensors), given.map(({ length }) => length));
    expect(split.map(([f, s, i]) => [f!.shape, [...f!.data as Float32Array], texts(s!), [...i!.data as BigInt64Array]]))
      .toEqual(tensors.map(([f, s, i]) => [f!.shape, [...f!.data as Float32Array], texts(s!), [...i!.data as BigInt64Array]]));
  }));
});
