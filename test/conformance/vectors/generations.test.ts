/** Builds of generations on OpenSearch with its k-NN plugin: bulk load, merge, recall gate, warm-up, the step of the alias, and the way back. */
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Client } from '@opensearch-project/opensearch';
import { GenerationBuilder, openGenerations, signer } from './builder';
import { runDrill } from './drill';
import { items, itemsIndex, ItemSequence } from './items';
import { OpenSearchServer } from './opensearch-server';
import { OpenSearchHttp } from '../../../runtime/adapters/aws/opensearch-http';
import { OpenSearchSnapshots } from '../../../runtime/adapters/aws/opensearch-snapshots';
import { OpenSearchVectorSearch } from '../../../runtime/adapters/aws/opensearch-vector-search';
import type { GenerationCluster } from '../../../runtime/core/vectors/generation-cluster';
import { listGenerations, returnToPrevious } from '../../../runtime/core/vectors/generations';
import { SIMILARITIES, type VectorIndexSchema } from '../../../src/contract';
import { HttpFaults } from '../../support/http-faults';

jest.setTimeout(600_000);

let server: OpenSearchServer;
let client: Client;
let snapshots: string;
let cluster: GenerationCluster;
const stores: OpenSearchVectorSearch[] = [];

beforeAll(async () => {
  snapshots = mkdtempSync(join(tmpdir(), 'snapshots-'));
  // the server may run as another account
  chmodSync(snapshots, 0o777);
  server = await OpenSearchServer.start({ 'rest.action.multi.allow_explicit_index': 'false', 'path.repo': snapshots });
  client = server.client();
  cluster = openGenerations(server.url);
});
afterAll(async () => {
  await Promise.all(stores.map((store) => store.close()));
  await server?.stop();
  rmSync(snapshots, { recursive: true, force: true });
});

const documents = (seed: number, prefix: string, count = 300) => items(new ItemSequence(seed), count, prefix);
const settingsOf = async (name: string) => (await client.indices.getSettings({ index: name })).body[name].settings!.index as object;

describe('a generation on a real OpenSearch', () => {
  const index = itemsIndex('built');
  const builder = () => new GenerationBuilder(cluster, index);

  test('is loaded, merged to one segment, closed to writes, and given its refreshes before it answers', async () => {
    expect(await builder().run('one', [documents(1, 'one-', 200), documents(2, 'one+', 100)])).toBe('1');
    expect((await client.count({ index: index.name })).body.count).toBe(300);
    const { body: segments } = await client.cat.segments({ index: 'built.1', format: 'json' });
    expect(segments).toHaveLength(1);
    expect(await settingsOf('built.1')).toMatchObject({ blocks: { write: 'true' }, refresh_interval: '1s', knn: 'true' });
    await expect(client.index({ index: 'built.1', id: 'late', body: {} })).rejects.toMatchObject({ statusCode: 403 });
  });

  test('takes the place of the one before, which stays to return to', async () => {
    expect(await builder().run('two', [documents(3, 'two-')])).toBe('2');
    expect(await listGenerations(cluster, index.name)).toEqual([
      { generation: '2', state: 'live', documents: 300, recall: expect.any(Number), builtAt: expect.stringMatching(/Z$/) },
      { generation: '1', state: 'previous', documents: 300, recall: expect.any(Number), builtAt: expect.stringMatching(/Z$/) },
    ]);
    expect(await returnToPrevious(cluster, index.name)).toEqual({ from: '2', to: '1' });
    expect(Object.keys((await client.indices.getAlias({ name: index.name })).body)).toEqual(['built.1']);
    expect(await returnToPrevious(cluster, index.name)).toEqual({ from: '1', to: '2' });
    expect(await builder().run('three', [documents(4, 'three-')])).toBe('3');
    expect(Object.keys((await client.indices.get({ index: 'built.*' })).body).sort()).toEqual(['built.2', 'built.3']);
  });

  test('of a wrong source is refused, and the one that answers stays', async () => {
    await expect(builder().run('empty', [[]])).rejects.toMatchObject({ code: 'SOURCE_EMPTY' });
    await builder().abandon('empty');
    await expect(builder().run('twice', [documents(5, 'same-', 10), documents(6, 'same-', 10)])).rejects.toMatchObject({ code: 'DUPLICATE_VECTOR' });
    await builder().abandon('twice');
    expect((await listGenerations(cluster, index.name)).map(({ generation, state }) => [generation, state])).toEqual([['3', 'live'], ['2', 'previous']]);
  });

  test.each(SIMILARITIES)('is searched exactly range by range as in one search over all (%s)', async (similarity) => {
    const ranged: VectorIndexSchema = { ...itemsIndex(`ranged-${similarity}`), similarity };
    const sharded = openGenerations(server.url, { shards: 3, replicas: 0, buildReplicas: 0 });
    // a few documents for each call
    const divided = new Proxy(sharded, {
      get: (target, name) => (name !== 'extent' ? Reflect.get(target, name).bind(target) : async (...asked: Parameters<GenerationCluster['extent']>) => (
        { ...await target.extent(...asked), step: 17 }
      )),
    });
    await new GenerationBuilder(divided, ranged).run('one', [documents(14, 'ranged-')]);
    const { end, step } = await sharded.extent(ranged, '1');
    expect(end).toBeGreaterThan(100);
    expect(end).toBeLessThan(300);
    expect(step).toBeGreaterThan(1000);
    const sequence = new ItemSequence(15);
    for (let question = 0; question < 5; question++) {
      const vector = [...sequence.vector()];
      const whole = await sharded.exact(ranged, '1', vector, 20);
      const pieces = [];
      for (let from = 0; from < end; from += 17) pieces.push(...await sharded.exact(ranged, '1', vector, 20, { from, to: from + 17 }));
      const ids = (hits: typeof whole) => hits.map(({ id }) => id);
      expect(new Set(ids(pieces)).size).toBe(pieces.length);
      expect(pieces.sort((a, b) => b.score - a.score).slice(0, 20)).toEqual(whole);
    }
  });

  test('whose graph finds too little never answers', async () => {
    const poor: VectorIndexSchema = { ...itemsIndex('poor'), hnsw: { m: 2, efConstruction: 2, efSearch: 2 } };
    const run = new GenerationBuilder(cluster, poor, { k: 10, sample: 50, least: 0.9 }).run('poor', [documents(7, 'poor-', 3000)]);
    await expect(run).rejects.toMatchObject({ code: 'RECALL_TOO_LOW', message: expect.stringMatching(/recall@10 0\.\d+ over 50 vectors/) });
    expect(await client.indices.existsAlias({ name: 'poor' }).then(({ body }) => body)).toBe(false);
    await new GenerationBuilder(cluster, poor).abandon('poor');
    expect(await cluster.generations('poor')).toEqual([]);
  });

  test('whose builder dies right after any of its calls is finished by the runs that follow', async () => {
    const dying = itemsIndex('dying');
    const source = (name: string) => [documents(8, `${name}-`, 30), documents(9, `${name}+`, 30)];
    for (const name of ['older', 'first']) await new GenerationBuilder(cluster, dying).run(name, source(name));
    // a segment for each bulk, so that there is something to merge
    const segmented = new Proxy(cluster, {
      get: (target, name) => (name !== 'bulk' ? Reflect.get(target, name).bind(target) : async (...args: Parameters<GenerationCluster['bulk']>) => {
        const answer = await target.bulk(...args);
        await client.indices.refresh({ index: `${dying.name}.*` });
        return answer;
      }),
    });
    const answering = async () => {
      const { body } = await client.search({ index: dying.name, body: { size: 100, _source: false } });
      return [...new Set(body.hits.hits.map(({ _id }) => _id!.split(/[-+]/)[0]))].concat(String(body.hits.hits.length));
    };
    const methods = ['record', 'saveRecord', 'generations', 'live', 'create', 'bulk', 'savePart', 'parts', 'seal', 'count', 'mergeState', 'startMerge', 'replicate',
      'sample', 'exact', 'approximate', 'warmUp', 'memoryExhausted', 'moveAlias', 'remove'] as const;
    for (const method of methods) {
      const died = await new GenerationBuilder(killedAt(segmented, method), dying).run('second', source('second')).then(() => undefined, (error: Error) => error.message);
      expect(died).toBe(`killed after ${method}`);
      expect(await answering()).toEqual([methods.indexOf(method) < methods.indexOf('moveAlias') ? 'first' : 'second', '60']);
    }
    await new GenerationBuilder(cluster, dying).run('second', source('second'));
    expect(await answering()).toEqual(['second', '60']);
    expect((await cluster.generations(dying.name)).sort()).toEqual(['2', '3']);
  });

  test('waits while the store throttles, repeats only what was refused, and loses nothing', async () => {
    const throttled = itemsIndex('throttled');
    const faults = await HttpFaults.start(server.port);
    try {
      faults.answerShare(0.4, { status: 429, body: '{"status":429}', headers: { 'content-type': 'application/json' } });
      const through = openGenerations(`http://127.0.0.1:${faults.port}`);
      const only = new Proxy(cluster, { get: (target, name) => (name === 'bulk' ? through.bulk.bind(through) : Reflect.get(target, name).bind(target)) });
      await new GenerationBuilder(only, throttled).run('t', [documents(10, 't-', 400)], 2000);
      expect(faults.requests).toBeGreaterThan(40);
      expect((await client.count({ index: throttled.name })).body.count).toBe(400);
    } finally {
      await faults.close();
    }
  });

  test('says what a document was refused for, and takes one for refused for now alone while graphs do not fit in memory', async () => {
    const refusing = itemsIndex('refusing');
    await cluster.create(refusing, '1');
    const [{ id, vector, fields }] = documents(13, 'r-', 1);
    const bulk = (of: object) => cluster.bulk(refusing.name, '1', `{"index":{"_id":"${id}"}}\n${JSON.stringify({ ...fields, ...of })}\n`);
    const short = await bulk({ vector: [1] });
    expect(short.items).toEqual([{ status: 400, reason: expect.stringMatching(/^mapper_parsing_exception: .*, caused by illegal_argument_exception: .*dimension/i) }]);
    await client.cluster.putSettings({ body: { persistent: { 'knn.circuit_breaker.triggered': true } } });
    try {
      const memory = await bulk({ vector });
      expect(memory.items).toEqual([{ status: 400, reason: expect.stringMatching(/^mapper_parsing_exception: .*, caused by knn_circuit_breaker_exception: /), exhausted: true }]);
    } finally {
      await client.cluster.putSettings({ body: { persistent: { 'knn.circuit_breaker.triggered': null } } });
    }
    expect((await bulk({ vector })).items).toEqual([{ status: 201, reason: '' }]);
    await cluster.remove(refusing.name, ['1'], undefined);
  });

  test('is never seen empty or in part by a searcher while generations come and go', async () => {
    const moving = itemsIndex('seen');
    await new GenerationBuilder(cluster, moving).run('g1', [documents(11, 'g1-', 120)]);
    const store = new OpenSearchVectorSearch({ endpoint: server.url, signer: signer() });
    stores.push(store);
    const vector = new ItemSequence(12).vector();
    const seen = new Set<string>();
    let moves = true;
    const asking = Promise.all(Array.from({ length: 4 }, async () => {
      while (moves) {
        const [{ generation, hits }] = await store.search([{ index: moving, vector, k: 120 }]);
        expect(hits).toHaveLength(120);
        expect(hits.every(({ id }) => id.startsWith(`g${generation}-`))).toBe(true);
        seen.add(generation);
      }
    }));
    for (const next of [2, 3, 4]) {
      await new GenerationBuilder(cluster, moving).run(`g${next}`, [documents(11 + next, `g${next}-`, 120)]);
      await returnToPrevious(cluster, moving.name);
      await returnToPrevious(cluster, moving.name);
    }
    moves = false;
    await asking;
    expect([...seen].sort()).toEqual(expect.arrayContaining(['1', '4']));
  });

  test('is built by one at a time', async () => {
    const shared = itemsIndex('shared');
    const outcomes = await Promise.allSettled(['x', 'y', 'z'].map((name) => new GenerationBuilder(cluster, shared).run(name, [documents(20, `${name}-`, 50)])));
    expect(outcomes.filter(({ status }) => status === 'fulfilled').length).toBeGreaterThan(0);
    for (const outcome of outcomes) if (outcome.status === 'rejected') expect(outcome.reason).toMatchObject({ code: 'BUILD_RUNNING' });
    expect(Object.keys((await client.indices.getAlias({ name: shared.name })).body)).toHaveLength(1);
  });

  test('is restored by a drill that finds all of it, reports, and leaves nothing behind', async () => {
    const kept = itemsIndex('kept');
    const repository = new OpenSearchSnapshots(new OpenSearchHttp({ endpoint: server.url, signer: signer() }), 'drills', { buildReplicas: 0 });
    const lines: Record<string, number>[] = [];
    const gate = { k: 5, sample: 20, least: 0.8 };
    const run = () => runDrill({ cluster, repository, emit: (line) => lines.push(JSON.parse(line)) }, kept, gate);
    await new GenerationBuilder(cluster, kept).run('one', [documents(30, 'kept-')]);
    await expect(run()).rejects.toMatchObject({ code: 'NO_SNAPSHOT' });
    await client.snapshot.createRepository({ repository: 'drills', body: { type: 'fs', settings: { location: 'drills' } } });
    // before the first snapshot there is nothing to restore, and that is no failure
    expect(await run()).toEqual({ index: 'kept' });
    expect(lines).toEqual([]);
    await client.snapshot.create({ repository: 'drills', snapshot: 'daily-1', wait_for_completion: true, body: { indices: 'kept.*' } as never });
    expect((await run()).report).toMatchObject({ snapshot: 'daily-1', generation: '1', completeness: 1, restoreSeconds: expect.any(Number) });
    expect(lines[0]).toMatchObject({ Brain: 'fleet', VectorIndex: 'kept', VectorRestoreCompleteness: 1 });
    expect(lines[0].VectorRestoreRecall).toBeGreaterThan(0.8);
    expect(lines[1]).toMatchObject({ Brain: 'fleet', VectorIndex: 'kept', VectorDrillsPassed: 1 });
    // a newer generation that no snapshot holds: the one before is restored
    await new GenerationBuilder(cluster, kept).run('two', [documents(31, 'kept+')]);
    expect((await run()).report).toMatchObject({ generation: '1' });
    expect(Object.keys((await client.indices.get({ index: 'thalos.drill.*' })).body)).toEqual([]);
    // nobody searches the copy
    expect(Object.keys((await client.indices.getAlias({ name: 'kept' })).body)).toEqual(['kept.2']);
  });

  test('is not deleted while a snapshot is made of it, and neither is the copy of a drill', async () => {
    const slow = itemsIndex('snapped');
    for (const name of ['one', 'two']) await new GenerationBuilder(cluster, slow).run(name, [documents(40, `${name}-`)]);
    const repository = new OpenSearchSnapshots(new OpenSearchHttp({ endpoint: server.url, signer: signer() }), 'slow', { buildReplicas: 0 });
    await client.indices.create({ index: 'thalos.drill.snapped', body: { settings: { number_of_replicas: 0 } } });
    // some tens of KiB: it does not end before it is ended
    await client.snapshot.createRepository({ repository: 'slow', body: { type: 'fs', settings: { location: 'slow', max_snapshot_bytes_per_sec: '1kb' } } as never });
    const run = { repository: 'slow', snapshot: 'running' };
    await client.snapshot.create({ ...run, wait_for_completion: false, body: { indices: 'snapped.*,thalos.drill.*' } as never });
    await expect(cluster.remove(slow.name, ['1'], '2')).resolves.toBe('snapshot');
    await expect(repository.dropScratch(slow.name)).resolves.toBe(false);
    expect((await cluster.generations(slow.name)).sort()).toEqual(['1', '2']);
    await client.snapshot.delete(run);
    await expect(cluster.remove(slow.name, ['1'], '2')).resolves.toBe('removed');
    await expect(repository.dropScratch(slow.name)).resolves.toBe(true);
    expect(await cluster.generations(slow.name)).toEqual(['2']);
  });

  test('is not deleted where the alias moved in between', async () => {
    await expect(cluster.remove(index.name, ['3'], '2')).resolves.toBe('moved');
    await expect(cluster.moveAlias(index.name, '2', '3')).resolves.toBe(false);
    await expect(cluster.moveAlias(index.name, '3', '99')).resolves.toBe(false);
    expect(await cluster.live(index.name)).toBe('3');
  });
});

/** The store, for a process that dies right after its first call of a method has taken effect. */
function killedAt(store: GenerationCluster, method: keyof GenerationCluster): GenerationCluster {
  let dead = false;
  return new Proxy(store, {
    get: (target, name) => async (...args: unknown[]) => {
      if (dead) throw new Error('called by a dead process');
      const result = await Reflect.get(target, name).apply(target, args);
      dead = name === method;
      if (dead) throw new Error(`killed after ${method}`);
      return result;
    },
  });
}
