import { setImmediate as turn } from 'node:timers/promises';
import { array, assert, asyncProperty, boolean, constantFrom, integer, record } from 'fast-check';
import { DynamoDbRefusal, type RowSink } from '../../../runtime/adapters/aws/batch-get-item';
import { CoalescedReads, type RowSource } from '../../../runtime/adapters/aws/coalesced-reads';
import { HttpDeadlineError } from '../../../runtime/adapters/aws/http-connection';
import { BrainError } from '../../../runtime/core/errors';
import type { CallContext, FeatureRow } from '../../../runtime/core/ports';

const row = (n: number): FeatureRow => ({ eventTime: n, createdTime: n, values: { n } });
const KEYS = (count: number, from = 0) => Array.from({ length: count }, (_, at) => `key-${from + at}`);

/** Answers when it is told to. */
class Source implements RowSource {
  readonly rows = new Map<string, FeatureRow | BrainError>(KEYS(300).map((key, n) => [key, row(n)]));
  readonly asked: (readonly string[])[] = [];
  readonly contexts: CallContext[] = [];
  answer: (keys: readonly string[], sink: RowSink, context: CallContext) => Promise<readonly string[]> = async (keys, sink) => this.give(keys, sink);

  give(keys: readonly string[], sink: RowSink): readonly string[] {
    for (const key of keys) sink.rows[sink.places.get(key)!] = this.rows.get(key);
    return [];
  }

  call(keys: readonly string[], sink: RowSink, context: CallContext): Promise<readonly string[]> {
    this.asked.push(keys);
    this.contexts.push(context);
    return this.answer(keys, sink, context);
  }

  close(): void {
    this.rows.clear();
  }
}

let source: Source;
let reads: CoalescedReads;

beforeEach(() => {
  source = new Source();
  reads = new CoalescedReads({ source, random: () => 0 });
});

const untilAborted = (_: readonly string[], __: RowSink, { signal }: CallContext) => new Promise<never>((_resolve, reject) => {
  signal!.addEventListener('abort', () => reject(signal!.reason), { once: true });
});

test('reads of one turn go out together, each key once', async () => {
  const found = await Promise.all([reads.read(['key-1', 'key-2']), reads.read(['key-2', 'none', 'key-3']), reads.read(['key-1', 'key-1'])]);
  expect(found).toEqual([[row(1), row(2)], [row(2), undefined, row(3)], [row(1), row(1)]]);
  expect(source.asked).toEqual([['key-1', 'key-2', 'none', 'key-3']]);
  await reads.read(['key-1']);
  expect(source.asked).toHaveLength(2);
});

test('a call has 100 keys at most, and a read may span several', async () => {
  const [small, large] = await Promise.all([reads.read(KEYS(60)), reads.read(KEYS(150, 30))]);
  expect(small).toEqual(KEYS(60).map((_, n) => row(n)));
  expect(large).toEqual(KEYS(150).map((_, n) => row(n + 30)));
  expect(source.asked.map(({ length }) => length)).toEqual([100, 80]);
});

test('reads nothing for no key', async () => {
  expect(await reads.read([])).toEqual([]);
  expect(source.asked).toEqual([]);
});

test("one caller's abort leaves the others alone", async () => {
  const [first, second] = [new AbortController(), new AbortController()];
  let release: () => void;
  const released = new Promise<void>((resolve) => {
    release = resolve;
  });
  source.answer = async (keys, sink) => {
    await released;
    return source.give(keys, sink);
  };
  const gone = reads.read(['key-1', 'key-2'], { signal: first.signal });
  const stays = reads.read(['key-2'], { signal: second.signal });
  await turn();
  first.abort(new Error('gave up'));
  await expect(gone).rejects.toThrow('gave up');
  expect(source.contexts[0].signal!.aborted).toBe(false);
  release!();
  expect(await stays).toEqual([row(2)]);
});

test('a call ends when its last caller has gone', async () => {
  source.answer = untilAborted;
  const callers = [new AbortController(), new AbortController()];
  const all = callers.map(({ signal }) => reads.read(['key-1'], { signal }));
  await turn();
  for (const caller of callers) caller.abort(new Error('gave up'));
  await Promise.all(all.map((read) => expect(read).rejects.toThrow('gave up')));
  expect(source.contexts[0].signal!.aborted).toBe(true);
});

test('a call whose callers have gone before it was sent is not sent', async () => {
  const caller = new AbortController();
  const read = reads.read(['key-1'], { signal: caller.signal });
  caller.abort(new Error('gave up'));
  await expect(read).rejects.toThrow('gave up');
  await turn();
  expect(source.asked).toEqual([]);
});

test("a caller's deadline is its own: it does not wait for a call that may take longer", async () => {
  source.answer = untilAborted;
  const now = Date.now();
  const short = reads.read(['key-1'], { deadline: now + 20 });
  const long = new AbortController();
  const patient = reads.read(['key-1'], { deadline: now + 1_000, signal: long.signal });
  await expect(short).rejects.toMatchObject({ code: 'DEADLINE_EXCEEDED' });
  expect(source.contexts[0].deadline).toBe(now + 1_000);
  long.abort(new Error('enough'));
  await expect(patient).rejects.toThrow('enough');
});

test('a call may take as long as the store allows, whatever its callers do', async () => {
  reads = new CoalescedReads({ source, timeoutMs: 500, clock: { now: () => 1_000 } });
  source.answer = async () => {
    throw new HttpDeadlineError('late');
  };
  const [open, far, near] = await Promise.allSettled([reads.read(['a']), reads.read(['b'], { deadline: 90_000 }), reads.read(['c'], { deadline: 1_000 })]);
  expect(source.contexts[0].deadline).toBe(1_500);
  expect([open, far, near].map((result) => (result as PromiseRejectedResult).reason.code)).toEqual([
    'FEATURE_STORE_UNAVAILABLE', 'FEATURE_STORE_UNAVAILABLE', 'DEADLINE_EXCEEDED',
  ]);
});

test('the spoilt row of one caller is not the error of another', async () => {
  source.rows.set('key-1', new BrainError('INVALID_FEATURE_ROW', 'spoilt'));
  const [spoilt, sound] = await Promise.allSettled([reads.read(['key-1', 'key-2']), reads.read(['key-2'])]);
  expect(spoilt).toMatchObject({ status: 'rejected', reason: { code: 'INVALID_FEATURE_ROW' } });
  expect(sound).toEqual({ status: 'fulfilled', value: [row(2)] });
});

test('the failure of one call is not that of another', async () => {
  source.answer = async (keys, sink) => {
    if (keys.includes('key-0')) throw new Error('broken');
    return source.give(keys, sink);
  };
  const [broken, sound] = await Promise.allSettled([reads.read(KEYS(100)), reads.read(['key-200'])]);
  expect(broken).toMatchObject({ status: 'rejected', reason: { code: 'FEATURE_STORE_UNAVAILABLE' } });
  expect(sound).toEqual({ status: 'fulfilled', value: [row(200)] });
});

describe('retries', () => {
  const throttled = () => new DynamoDbRefusal('ThrottlingException', true, 'slow down');

  test('a throttled call is made again', async () => {
    let refusals = 2;
    source.answer = async (keys, sink) => {
      if (refusals-- > 0) throw throttled();
      return source.give(keys, sink);
    };
    expect(await reads.read(['key-1'])).toEqual([row(1)]);
    expect(source.asked).toHaveLength(3);
  });

  test('a call that is refused first and late then says both', async () => {
    const answers = [throttled(), new HttpDeadlineError('late')];
    source.answer = async () => {
      throw answers.shift()!;
    };
    await expect(reads.read(['key-1'])).rejects.toMatchObject({
      code: 'FEATURE_STORE_UNAVAILABLE', message: expect.stringContaining('did not answer within 2000 ms (ThrottlingException before)'),
    });
  });

  test('what is no matter of load is not', async () => {
    source.answer = async () => {
      throw new DynamoDbRefusal('ValidationException', false, 'no');
    };
    await expect(reads.read(['key-1'])).rejects.toMatchObject({ code: 'FEATURE_STORE_UNAVAILABLE', message: expect.stringContaining('ValidationException') });
    expect(source.asked).toHaveLength(1);
  });

  test('keys left unprocessed are asked for again, and only they', async () => {
    const onRetry = jest.fn();
    reads = new CoalescedReads({ source, onRetry });
    source.answer = async (keys, sink) => {
      source.give(keys.slice(0, 1), sink);
      return keys.slice(1);
    };
    expect(await reads.read(KEYS(3))).toEqual([row(0), row(1), row(2)]);
    expect(source.asked).toEqual([KEYS(3), KEYS(2, 1), KEYS(1, 2)]);
    expect(onRetry).toHaveBeenCalledTimes(2);
  });

  test('callers whose rows are there do not suffer from keys that stay unprocessed', async () => {
    reads = new CoalescedReads({ source, timeoutMs: 0 });
    source.answer = async (keys, sink) => {
      source.give(keys.slice(0, 1), sink);
      return keys.slice(1);
    };
    const [there, missing] = await Promise.allSettled([reads.read(['key-0']), reads.read(['key-1'])]);
    expect(there).toEqual({ status: 'fulfilled', value: [row(0)] });
    expect(missing).toMatchObject({ status: 'rejected', reason: { code: 'FEATURE_STORE_UNAVAILABLE', message: expect.stringContaining('1 of 2 keys unprocessed') } });
  });

  test('add a tenth to the traffic at most, however much is refused', async () => {
    source.answer = async () => {
      throw throttled();
    };
    const reading = 600;
    for (let n = 0; n < reading; n++) await expect(reads.read(['key-1'])).rejects.toMatchObject({ code: 'FEATURE_STORE_UNAVAILABLE' });
    expect(source.asked.length).toBeGreaterThan(reading);
    expect(source.asked.length / reading).toBeLessThanOrEqual(1.1);
  });
});

test('any mixture of readers, refusals and aborts ends for each reader in its own rows or its own error', async () => {
  const keysOf = array(constantFrom(...KEYS(12), 'none'), { minLength: 1, maxLength: 8 });
  const reader = record({ keys: keysOf, aborts: boolean(), later: integer({ min: 0, max: 2 }) });
  const outcome = integer({ min: 0, max: 3 });
  await assert(asyncProperty(array(reader, { minLength: 1, maxLength: 8 }), array(outcome, { maxLength: 6 }), async (readers, script) => {
    const outcomes = [...script];
    source.asked.length = 0;
    source.answer = async (keys, sink) => {
      await turn();
      const next = outcomes.shift() ?? 3;
      if (next === 0) throw throttledOnce();
      if (next === 1) throw new Error('broken');
      const processed = next === 2 ? Math.ceil(keys.length / 2) : keys.length;
      source.give(keys.slice(0, processed), sink);
      return keys.slice(processed);
    };
    await Promise.all(readers.map(async ({ keys, aborts, later }) => {
      for (let n = 0; n < later; n++) await turn();
      const caller = new AbortController();
      const read = reads.read(keys, { signal: caller.signal });
      if (aborts) setImmediate(() => caller.abort(new Error('gave up')));
      const result = await read.catch((error: Error) => error);
      if (result instanceof BrainError) expect(result.code).toBe('FEATURE_STORE_UNAVAILABLE');
      else if (result instanceof Error) expect([aborts, result.message]).toEqual([true, 'gave up']);
      else expect(result).toEqual(keys.map((key) => source.rows.get(key)));
    }));
    for (const keys of source.asked) expect(new Set(keys).size).toBe(keys.length);
  }), { numRuns: 60 });
});

const throttledOnce = () => new DynamoDbRefusal('ThrottlingException', true, 'slow down');
