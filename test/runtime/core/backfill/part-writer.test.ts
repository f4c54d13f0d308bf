/** One part of a backfill: what is written, what is skipped, what is refused, and what survives a writer that dies. */
import { array, assert, asyncProperty, boolean, constantFrom, integer, record } from 'fast-check';
import { type Checkpoint, type PartPorts, writePart } from '../../../../runtime/core/backfill/part-writer';
import { TokenBucket } from '../../../../runtime/core/backfill/token-bucket';
import { BrainError } from '../../../../runtime/core/errors';
import { rankOf, replaces } from '../../../../runtime/core/feature-row';
import type { FeatureRow, FeatureWrite } from '../../../../runtime/core/ports';
import { type BackfillPart, type FeatureGroupSchema, onlineKey, type QuarantinedRow } from '../../../../src/contract';

jest.setTimeout(120_000);

const GROUP: FeatureGroupSchema = {
  name: 'account',
  version: 1,
  owner: 'risk',
  entityKeys: [{ name: 'id', dtype: 'string' }],
  features: [{ name: 'balance', dtype: 'int64', required: false, piiClass: 'none', expectations: { max: 2 ** 53 } }],
};
const PART: BackfillPart = { group: GROUP, run: 'run', key: 'runs/run/0/part', dryRun: false };
const NOON = Date.UTC(2026, 0, 1, 12);
const rank = (row: FeatureRow) => rankOf(GROUP, row);

const lineOf = (id: string, at: number, balance: unknown = '1'): string => JSON.stringify({ id, balance, event_time: NOON + at, created_time: NOON + at });
const rowOf = (id: string, at: number, balance: number): FeatureWrite => (
  { group: GROUP, entity: [id], eventTime: NOON + at, createdTime: NOON + at, values: { balance } });

const NOTHING: (what: string) => void = () => undefined;

/** Memory, and a clock that only sleeping moves. */
class World {
  now = NOON;
  readonly rows = new Map<string, FeatureRow>();
  readonly checkpoints = new Map<string, Checkpoint>();
  readonly quarantined = new Map<string, readonly QuarantinedRow[]>();
  readonly progress: object[] = [];
  readonly judged: string[][] = [];
  lines: string[] = [];
  read = 0;
  writes = 0;
  /** Before each call of a port: where a test lets it fail. */
  before = NOTHING;
  readonly ports: PartPorts = {
    lines: async function* lines(this: World, _key: string, from: number) {
      this.read = from;
      for (const line of this.lines.slice(from)) yield line;
    }.bind(this),
    store: {
      read: async (requests) => {
        this.before('read');
        return requests.map(({ entity }) => this.rows.get(onlineKey(GROUP, entity)));
      },
      write: async (rows) => {
        for (const row of rows) {
          this.before('write');
          this.put(row);
        }
      },
    },
    checkpoints: {
      load: async ({ key }) => this.checkpoints.get(key),
      save: async ({ key }, checkpoint) => {
        this.before('save');
        const stored = this.checkpoints.get(key);
        if (stored && (stored.done || stored.lines > checkpoint.lines)) return false;
        this.checkpoints.set(key, checkpoint);
        return true;
      },
    },
    quarantine: async (name, rows) => {
      this.before('quarantine');
      this.quarantined.set(name, rows);
    },
    rate: new TokenBucket(1000, { now: () => this.now }, async (ms) => void (this.now += ms)),
    clock: { now: () => this.now },
    sleep: async (ms) => void (this.now += ms),
    random: () => 1,
    log: { info: () => undefined, warn: () => undefined, error: () => undefined },
    progress: (since) => void this.progress.push(since),
    judged: (violations) => void this.judged.push(violations.map(({ text }) => text)),
  };

  put(row: FeatureWrite): void {
    this.writes++;
    const key = onlineKey(GROUP, row.entity);
    const stored = this.rows.get(key);
    if (!replaces(rank(row), stored && rank(stored))) return;
    this.rows.set(key, { eventTime: row.eventTime, createdTime: row.createdTime, values: row.values });
  }

  run(part: Partial<BackfillPart> = {}, deadline = Infinity, patienceMs?: number) {
    return writePart({ ...PART, ...part }, this.ports, { deadline, patienceMs });
  }
}

const many = (count: number) => Array.from({ length: count }, (_, at) => lineOf(`c${at}`, 1));

test('writes rows that win, and no other', async () => {
  const world = new World();
  world.put(rowOf('newer', 9, 5));
  world.put(rowOf('older', 0, 5));
  world.put(rowOf('same', 1, 1));
  world.writes = 0;
  world.lines = [lineOf('newer', 1), lineOf('older', 1), lineOf('same', 1), lineOf('absent', 1, '-9007199254740993')];
  expect(await world.run()).toEqual({ lines: 4, changed: 2, kept: 2, refused: 0, done: true });
  expect(world.writes).toBe(2);
  expect(world.rows.get('account#1#absent')!.values).toEqual({ balance: '-9007199254740993' });
  expect(world.rows.get('account#1#newer')!.values).toEqual({ balance: 5 });
});

test('goes on where a stored row has a feature that the group does not have any more', async () => {
  const world = new World();
  for (const [id, at] of [['older', 0], ['newer', 9]] as const) world.put({ ...rowOf(id, at, 5), values: { balance: 5, gone: 1 } });
  world.lines = [lineOf('older', 1), lineOf('newer', 1)];
  expect(await world.run()).toEqual({ lines: 2, changed: 1, kept: 1, refused: 0, done: true });
  expect(world.rows.get('account#1#older')!.values).toEqual({ balance: 1 });
});

test('null rates are of what a writer read of a part and did not refuse, and its age is no matter', async () => {
  const [balance] = GROUP.features;
  const group = { ...GROUP, freshness: 60, features: [{ ...balance, expectations: { ...balance.expectations, maxNullRate: 0.2 } }] };
  const world = new World();
  world.now = NOON + 365 * 24 * 60 * 60 * 1000;
  world.lines = [...many(7), lineOf('a', 1, null), lineOf('b', 1, null), lineOf('refused', 1, '9007199254740994')];
  await world.run({ group });
  expect(world.judged).toEqual([["22.2 % of 9 rows have no 'balance', at most 20 % are expected"]]);
  await world.run({ group });
  world.checkpoints.clear();
  world.lines = many(5);
  await world.run({ group });
  // a part that is done is not judged again
  expect(world.judged.slice(1)).toEqual([[]]);
});

test('a dry run counts the same, and writes nothing', async () => {
  const world = new World();
  world.put(rowOf('newer', 9, 5));
  world.writes = 0;
  world.lines = [lineOf('newer', 1), lineOf('absent', 1), '{'];
  expect(await world.run({ dryRun: true })).toEqual({ lines: 3, changed: 1, kept: 1, refused: 1, done: true });
  expect(world.writes).toBe(0);
  expect(world.quarantined.size).toBe(0);
  expect(world.progress).toEqual([{ lines: 3, changed: 1, kept: 1, refused: 1 }]);
});

test.each([
  ['is not JSON', '{', 'UNREADABLE', undefined],
  ['has no key', JSON.stringify({ balance: '1', event_time: NOON, created_time: NOON }), 'MISSING_KEY', 'id'],
  ['has no event time', JSON.stringify({ id: 'a', created_time: NOON }), 'MISSING_TIME', 'event_time'],
  ['has a broken created time', JSON.stringify({ id: 'a', event_time: NOON, created_time: 'x' }), 'WRONG_TYPE', 'created_time'],
  ['lies beyond all time', lineOf('a', 8.64e15 + 1 - NOON), 'WRONG_TYPE', 'event_time'],
  ['lies before all time', lineOf('a', -8.64e15 - 1 - NOON), 'WRONG_TYPE', 'event_time'],
  ['was learned beyond all time', JSON.stringify({ id: 'a', event_time: NOON, created_time: 8.64e15 + 1 }), 'WRONG_TYPE', 'created_time'],
  ['has a value of another type', lineOf('a', 1, 'many'), 'WRONG_TYPE', 'balance'],
  ['has a value that is not expected', lineOf('a', 1, '9223372036854775807'), 'OUT_OF_RANGE', 'balance'],
  ['is of the future', lineOf('a', 3_600_000), 'FUTURE_TIME', 'event_time'],
])('a line that %s is refused with the reason, and the others are written', async (_, line, reason, column) => {
  const world = new World();
  world.lines = [lineOf('before', 1), line, lineOf('after', 1)];
  expect(await world.run()).toEqual({ lines: 3, changed: 2, kept: 0, refused: 1, done: true });
  const [[name, [refused]]] = [...world.quarantined];
  expect(name).toBe('backfill/run/part-0');
  expect(refused).toMatchObject({ group: 'account', version: 1, reason, row: 2, source: PART.key, ...column === undefined ? {} : { column } });
});

test('stops when its time is over, and goes on where it stopped', async () => {
  const world = new World();
  world.lines = many(2500);
  const first = await world.run({}, NOON + 1);
  expect(first.done).toBe(false);
  expect(first.lines).toBeGreaterThanOrEqual(1000);
  expect(first.lines).toBeLessThan(2500);
  const second = await world.run();
  expect(world.read).toBe(first.lines);
  expect(second).toEqual({ lines: 2500, changed: 2500, kept: 0, refused: 0, done: true });
  expect(world.writes).toBe(2500);
});

test('writes no faster than it may', async () => {
  const world = new World();
  world.lines = many(5000);
  await world.run();
  expect(world.now - NOON).toBeGreaterThanOrEqual(4000);
  expect(world.now - NOON).toBeLessThan(4200);
});

test('a part that is done is left alone', async () => {
  const world = new World();
  world.lines = many(10);
  await world.run();
  world.before = (what) => {
    throw new Error(what);
  };
  expect((await world.run()).done).toBe(true);
});

test('a store that is away for a while loses nothing; one that stays away is an error', async () => {
  const world = new World();
  world.lines = many(300);
  let failures = 20;
  world.before = (what) => {
    if (what !== 'save' && failures-- > 0) throw new BrainError('FEATURE_STORE_UNAVAILABLE', 'throttled');
  };
  expect(await world.run({}, Infinity, 600_000)).toMatchObject({ changed: 300, done: true });
  failures = Infinity;
  world.checkpoints.clear();
  await expect(world.run({}, Infinity, 1_000)).rejects.toThrow(/FEATURE_STORE_UNAVAILABLE/);
  const other = new World();
  other.lines = many(1);
  other.before = () => {
    throw new TypeError('a mistake');
  };
  await expect(other.run()).rejects.toThrow('a mistake');
});

test('a writer that another one has overtaken stops, and takes nothing back', async () => {
  const world = new World();
  world.lines = many(2500);
  const slow = new World();
  let stolen = false;
  world.before = (what) => {
    if (what !== 'save' || stolen) return;
    stolen = true;
    // the other writer does all of it meanwhile
    Object.assign(slow, { lines: world.lines });
    world.checkpoints.set(PART.key, { lines: 2500, changed: 2500, kept: 0, refused: 0, done: true });
  };
  expect(await world.run()).toEqual({ lines: 2500, changed: 2500, kept: 0, refused: 0, done: true });
  expect(world.checkpoints.get(PART.key)!.done).toBe(true);
});

test('tells what was done since the last checkpoint', async () => {
  const world = new World();
  world.lines = [...many(1200), '{'];
  await world.run();
  expect(world.progress).toEqual([{ lines: 1000, changed: 1000, kept: 0, refused: 0 }, { lines: 201, changed: 200, kept: 0, refused: 1 }]);
});

test('killed anywhere, again and again, with live writes between: every row is the one that wins, and every line is counted once', async () => {
  const row = record({ id: constantFrom('a', 'b', 'c', 'd'), at: integer({ min: 0, max: 5 }), balance: integer({ min: 0, max: 3 }) });
  const kill = array(integer({ min: 0, max: 12 }), { maxLength: 6 });
  const histories = [array(row, { maxLength: 4 }), array(row, { maxLength: 8 }), kill, boolean()] as const;
  await assert(asyncProperty(...histories, async (offline, live, kills, bad) => {
    const world = new World();
    const entities = new Map(offline.map((each) => [each.id, each]));
    // more lines than one checkpoint holds
    world.lines = [...many(1100), ...bad ? ['{'] : [], ...[...entities.values()].map(({ id, at, balance }) => lineOf(id, at, String(balance)))];
    const queue = [...live];
    for (const last of [...kills, Infinity]) {
      let calls = 0;
      world.before = (what) => {
        const next = what === 'read' || what === 'save' ? queue.pop() : undefined;
        if (next) world.put(rowOf(next.id, next.at, next.balance));
        if (what !== 'write' && calls++ === last) throw new Error('killed');
      };
      const before = new Map(world.rows);
      try {
        expect((await world.run()).done).toBe(true);
      } catch (error) {
        expect((error as Error).message).toBe('killed');
      }
      for (const [key, stored] of before) expect(replaces(rank(stored), rank(world.rows.get(key)!))).toBe(false);
    }
    for (const next of queue) world.put(rowOf(next.id, next.at, next.balance));
    const expected = new World();
    for (const { id, at, balance } of [...entities.values(), ...live]) expected.put(rowOf(id, at, balance));
    for (const [key, value] of expected.rows) expect(world.rows.get(key)).toEqual(value);
    expect(world.rows.size).toBe(1100 + expected.rows.size);
    const { lines, changed, kept, refused } = world.checkpoints.get(PART.key)!;
    expect([lines, refused]).toEqual([world.lines.length, bad ? 1 : 0]);
    expect(changed + kept + refused).toBe(lines);
    expect([...world.quarantined.values()].flat()).toHaveLength(bad ? 1 : 0);
  }), { numRuns: 10, seed: 20_260_101 });
});
