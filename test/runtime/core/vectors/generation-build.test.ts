import { Killed, MemoryCluster } from './memory-cluster.fixture';
import { BulkLoad } from '../../../../runtime/core/vectors/bulk-load';
import { GenerationBuild } from '../../../../runtime/core/vectors/generation-build';
import { listGenerations, returnToPrevious } from '../../../../runtime/core/vectors/generations';
import { runBuild } from '../../../../runtime/core/vectors/run-build';
import type { VectorIndexSchema } from '../../../../src/contract';

const INDEX: VectorIndexSchema = {
  name: 'places', dimension: 2, similarity: 'l2', engine: 'lucene', fields: [], hnsw: { m: 16, efConstruction: 100, efSearch: 100 },
};
const GATE = { k: 3, sample: 5, least: 0.9 };

/** Documents by part; each build brings its own, so that what answers shows whose it is. */
const source = (build: string, parts = 2) => Array.from({ length: parts }, (_, part) => (
  Array.from({ length: 6 }, (__, at) => JSON.stringify({ id: `${build}-${part}-${at}`, vector: [part, at] }))
));

async function* lines(texts: readonly string[]) {
  yield* texts;
}

class World {
  readonly cluster = new MemoryCluster();
  now = 1_000_000;

  gate = GATE;

  build = (id: string) => new GenerationBuild(this.cluster, { index: INDEX, build: id, gate: this.gate, clock: { now: () => this.now } });

  run(id: string, content = source(id)): Promise<string> {
    const { cluster } = this;
    return runBuild(this.build(id), {
      parts: content.length,
      pause: async () => undefined,
      load: async (part, generation) => {
        await this.build(id).generation();
        const [before] = await cluster.parts('places', generation, [part]);
        if (before?.done) return;
        const load = new BulkLoad(INDEX, {
          send: (body) => cluster.bulk('places', generation, body),
          save: (loaded) => cluster.savePart('places', generation, part, loaded),
          sleep: async () => undefined,
          now: () => this.now,
          random: () => 0,
        });
        await load.run(lines(content[part]), { source: `part ${part}`, from: before, until: Infinity, bulkBytes: 100 });
      },
    });
  }

  /** Ids of the documents that answer. */
  answering = () => [...this.cluster.made.get(this.cluster.alias!)!.documents.keys()].sort();
}

const ids = (build: string) => source(build).flat().map((line) => JSON.parse(line).id).sort();

describe('a generation', () => {
  test('is built, sealed, merged, copied, checked and warm before it answers; the one before stays, older ones go', async () => {
    const world = new World();
    expect(await world.run('a')).toBe('1');
    expect(await world.run('b')).toBe('2');
    expect(await world.run('c')).toBe('3');
    expect([...world.cluster.made.keys()]).toEqual(['2', '3']);
    expect(world.answering()).toEqual(ids('c'));
    expect(world.cluster.looks).toEqual([]);
    expect(world.cluster.loaded.size).toBe(0);
    expect(await listGenerations(world.cluster, 'places')).toEqual([
      { generation: '3', state: 'live', documents: 12, recall: 1, builtAt: expect.any(String) },
      { generation: '2', state: 'previous', documents: 12, recall: 1, builtAt: expect.any(String) },
    ]);
  });

  test('that was returned to answers again, and again the other; the next build keeps what was live', async () => {
    const world = new World();
    await world.run('a');
    await expect(returnToPrevious(world.cluster, 'places')).rejects.toMatchObject({ code: 'NO_PREVIOUS_GENERATION' });
    await world.run('b');
    expect(await returnToPrevious(world.cluster, 'places')).toEqual({ from: '2', to: '1' });
    expect(world.answering()).toEqual(ids('a'));
    expect(await returnToPrevious(world.cluster, 'places')).toEqual({ from: '1', to: '2' });
    await returnToPrevious(world.cluster, 'places');
    await world.run('c');
    expect([...world.cluster.made.keys()]).toEqual(['1', '3']);
    expect(await returnToPrevious(world.cluster, 'places')).toEqual({ from: '3', to: '1' });
  });

  test('that is gone is not returned to, and nothing is asked of the alias; the next build keeps one again', async () => {
    const world = new World();
    await world.run('a');
    await world.run('b');
    world.cluster.made.delete('1');
    const calls: string[] = [];
    world.cluster.around = (call) => void calls.push(call);
    await expect(returnToPrevious(world.cluster, 'places')).rejects.toMatchObject({
      code: 'NO_PREVIOUS_GENERATION', message: expect.stringMatching(/generation 1 of vector index 'places', which answered before 2, is gone: .* 30 days .*Build it again/),
    });
    expect(calls).not.toContain('moveAlias');
    expect(world.answering()).toEqual(ids('b'));
    await world.run('c');
    expect(await returnToPrevious(world.cluster, 'places')).toEqual({ from: '3', to: '2' });
  });

  test('is merged on every copy before it is looked at: also on one that was made while the others merged', async () => {
    const world = new World();
    const { cluster } = world;
    const { replicate } = cluster;
    let late = true;
    cluster.replicate = async (...asked) => {
      const there = await replicate(...asked);
      if (there && late) cluster.made.get('1')!.merged = late = false;
      return there;
    };
    expect(await world.run('a')).toBe('1');
    expect([late, cluster.looks]).toEqual([false, []]);
  });

  test('whose graph is bad never answers', async () => {
    const world = new World();
    await world.run('a');
    world.cluster.bad.add('2');
    await expect(world.run('b')).rejects.toMatchObject({ code: 'RECALL_TOO_LOW', message: expect.stringContaining('recall@3 0.000 over 5 vectors') });
    expect(world.answering()).toEqual(ids('a'));
    await world.build('b').abandon();
    expect([...world.cluster.made.keys()]).toEqual(['1']);
    expect(world.cluster.loaded.size).toBe(0);
    // a number is never used twice: what named it before would lie
    expect(await world.run('c')).toBe('3');
  });

  test('is not measured where its gate asks for no recall', async () => {
    const world = new World();
    world.gate = { ...GATE, least: 0 };
    world.cluster.around = (call) => {
      if (['sample', 'exact', 'approximate'].includes(call)) throw new Error(`called ${call}`);
    };
    expect(await world.run('a')).toBe('1');
    expect(await listGenerations(world.cluster, 'places')).toEqual([{ generation: '1', state: 'live', documents: 12, builtAt: expect.any(String) }]);
  });

  test('that a snapshot keeps is deleted by the next build, where its own was given up', async () => {
    const world = new World();
    await world.run('a');
    world.cluster.bad.add('2');
    world.cluster.snapshotRuns = () => true;
    await expect(world.run('b')).rejects.toMatchObject({ code: 'RECALL_TOO_LOW' });
    expect(await world.build('b').abandon()).toEqual({ done: true });
    expect([...world.cluster.made.keys()]).toEqual(['1', '2']);
    expect(world.cluster.loaded.size).toBe(0);
    // nothing is loaded beside it: disk and memory are counted for three
    expect(await world.build('c').begin(2)).toEqual({ generation: '3', done: false });
    expect([...world.cluster.made.keys()]).toEqual(['1', '2']);
    world.cluster.snapshotRuns = () => false;
    expect(await world.run('c')).toBe('3');
    expect([...world.cluster.made.keys()]).toEqual(['1', '3']);
  });

  test('whose graphs do not fit in memory never answers', async () => {
    const world = new World();
    world.cluster.exhausted = true;
    await expect(world.run('a')).rejects.toMatchObject({ code: 'GRAPH_MEMORY_EXHAUSTED' });
    expect(world.cluster.alias).toBeUndefined();
  });

  test.each([
    ['an empty source', [], 'SOURCE_EMPTY'],
    ['a source without a vector', [['', '  ']], 'SOURCE_EMPTY'],
    ['an id that is there twice', [...source('b'), source('b')[0]], 'DUPLICATE_VECTOR'],
    ['a line that is no document', [['{"id":"x","vector":[1]}']], 'INVALID_VECTOR'],
  ])('is refused %s', async (_, content, code) => {
    const world = new World();
    await world.run('a');
    await expect(world.run('b', content)).rejects.toMatchObject({ code });
    expect(world.answering()).toEqual(ids('a'));
  });

  test('of another build is left alone while its lease holds, and taken over afterwards', async () => {
    const world = new World();
    const first = world.build('a');
    expect(await first.begin(1)).toEqual({ generation: '1', done: true });
    await expect(world.run('b')).rejects.toMatchObject({ code: 'BUILD_RUNNING', message: expect.stringContaining("build 'a'") });
    // whoever works renews it
    world.now += 20 * 60_000;
    await first.generation();
    world.now += 20 * 60_000;
    await expect(world.run('b')).rejects.toMatchObject({ code: 'BUILD_RUNNING' });
    world.now += 11 * 60_000;
    expect(await world.run('b')).toBe('2');
    await expect(first.seal()).rejects.toMatchObject({ code: 'BUILD_LOST' });
    expect([...world.cluster.made.keys()]).toEqual(['2']);
    await first.abandon();
    expect(world.answering()).toEqual(ids('b'));
  });
});

describe('a build that dies', () => {
  /** Calls of a whole second build, to know where it may die. */
  async function calls(): Promise<number> {
    const world = new World();
    await world.run('a');
    let seen = 0;
    world.cluster.around = () => void seen++;
    await world.run('b');
    return seen;
  }

  test('at any call, before or after its effect, harms no searcher and ends the same when it is run again', async () => {
    const all = await calls();
    expect(all).toBeGreaterThan(100);
    for (let dying = 1; dying <= all; dying++) {
      const world = new World();
      await world.run('a');
      let seen = 0;
      world.cluster.around = (call) => {
        if (++seen === dying) throw new Killed(call);
      };
      await expect(world.run('b')).rejects.toBeInstanceOf(Killed);
      world.cluster.around = () => undefined;
      // once the build is over there is only its last step to repeat
      const over = world.cluster.stored?.record.build === undefined && world.cluster.alias === '2';
      await (over ? world.build('b').retire() : world.run('b'));
      expect(world.cluster.loaded.size).toBe(0);
      expect([dying, world.answering(), world.cluster.looks]).toEqual([dying, ids('b'), []]);
      expect([...world.cluster.made.keys()].sort()).toEqual(['1', '2']);
      expect(world.cluster.stored?.record).toMatchObject({ last: 2, kept: ['2', '1'] });
      expect(await returnToPrevious(world.cluster, 'places')).toEqual({ from: '2', to: '1' });
    }
  });

  test('at any call leaves nothing behind that the next one does not clear, when another takes over', async () => {
    const all = await calls();
    for (let dying = 1; dying <= all; dying += 3) {
      const world = new World();
      await world.run('a');
      let seen = 0;
      world.cluster.around = (call) => {
        if (++seen === dying) throw new Killed(call);
      };
      await expect(world.run('b')).rejects.toBeInstanceOf(Killed);
      world.cluster.around = () => undefined;
      const before = world.cluster.alias!;
      world.now += 31 * 60_000;
      const generation = await world.run('c');
      expect([dying, world.answering(), world.cluster.looks]).toEqual([dying, ids('c'), []]);
      expect([...world.cluster.made.keys()].sort()).toEqual([before, generation].sort());
    }
  });

  test('at any call can be abandoned', async () => {
    const all = await calls();
    for (let dying = 1; dying <= all; dying += 3) {
      const world = new World();
      await world.run('a');
      let seen = 0;
      world.cluster.around = (call) => {
        if (++seen === dying) throw new Killed(call);
      };
      await expect(world.run('b')).rejects.toBeInstanceOf(Killed);
      world.cluster.around = () => undefined;
      await world.build('b').abandon();
      expect(world.cluster.stored?.record.build).toBeUndefined();
      expect(world.cluster.looks).toEqual([]);
      expect([...world.cluster.made.keys()].sort()).toEqual(world.cluster.alias === '2' ? ['1', '2'] : ['1']);
    }
  });
});

describe('two at once', () => {
  /** Lets a second actor act right before call number `at` of the first one. */
  async function meet(at: number, act: (world: World) => Promise<unknown>): Promise<World | undefined> {
    const world = new World();
    await world.run('a');
    await world.run('b');
    let seen = 0;
    let met = false;
    world.cluster.around = async () => {
      if (++seen !== at) return;
      met = true;
      const { around } = world.cluster;
      world.cluster.around = () => undefined;
      await act(world).catch(() => undefined);
      world.cluster.around = around;
    };
    await world.run('c').catch(() => undefined);
    world.cluster.around = () => undefined;
    return met ? world : undefined;
  }

  test.each<[string, (world: World) => Promise<unknown>]>([
    ['a return to the previous generation', (world) => returnToPrevious(world.cluster, 'places')],
    ['a build whose lease still holds', (world) => world.run('d')],
    ['a build that takes the lease of one that is only slow', (world) => {
      world.now += 31 * 60_000;
      return world.run('d');
    }],
  ])('a build and %s, at any point: what answers is whole all the time, and a generation is kept to go back to', async (_, act) => {
    for (let at = 1; ; at++) {
      const world = await meet(at, act);
      if (!world) break;
      expect([at, world.cluster.looks]).toEqual([at, []]);
      expect(world.cluster.made.has(world.cluster.alias!)).toBe(true);
      const { to } = await returnToPrevious(world.cluster, 'places');
      expect([at, world.cluster.looks, world.cluster.alias]).toEqual([at, [], to]);
    }
  });

  test('a return that was slow does nothing where the alias moved meanwhile', async () => {
    const world = new World();
    await world.run('a');
    await world.run('b');
    world.cluster.around = async (call) => {
      if (call !== 'moveAlias') return;
      world.cluster.around = () => undefined;
      await world.run('c');
    };
    await expect(returnToPrevious(world.cluster, 'places')).rejects.toMatchObject({ code: 'ALIAS_MOVED' });
    expect(world.answering()).toEqual(ids('c'));
  });
});
