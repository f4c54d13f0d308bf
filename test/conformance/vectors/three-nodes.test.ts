/** Three nodes of OpenSearch, of which one loses its power and comes back: what searchers and builds come to. */
import { setTimeout as pause } from 'node:timers/promises';
import type { Client } from '@opensearch-project/opensearch';
import { GenerationBuilder, openGenerations, signer } from './builder';
import { DomainEndpoint } from './domain-endpoint';
import { filled, softPlan, Traffic } from './faults';
import { items, itemsIndex, ItemSequence } from './items';
import { OpenSearchServer } from './opensearch-server';
import { OpenSearchVectorSearch } from '../../../runtime/adapters/aws/opensearch-vector-search';
import type { GenerationCluster } from '../../../runtime/core/vectors/generation-cluster';
import { listGenerations } from '../../../runtime/core/vectors/generations';
import type { VectorIndexSchema } from '../../../src/contract';
import type { TestDocument } from '../../runtime/contract/vector-document';

jest.setTimeout(300_000);

const SHARDS = 3;
const DOCUMENTS = 300;
/** As in a domain with standby, where a build has its copies from the beginning; and with one copy alone. */
const COPIED = { shards: SHARDS, replicas: 1, buildReplicas: 1 };
const SINGLE = { shards: SHARDS, replicas: 0, buildReplicas: 0 };
const SEARCHERS = 3;

const graphs: VectorIndexSchema = { ...itemsIndex('graphs'), engine: 'faiss' };
const copied = itemsIndex('copied');
const single = itemsIndex('single');

let nodes: Record<string, OpenSearchServer>;
let endpoint: DomainEndpoint;
let dying: string;
/** Of a node that stays. */
let client: Client;
/** By that node. */
let cluster: Record<'copied' | 'single', GenerationCluster>;
const stores: OpenSearchVectorSearch[] = [];

/** By the domain's endpoint, as the service asks. */
function searcher(): OpenSearchVectorSearch {
  const store = new OpenSearchVectorSearch({ endpoint: endpoint.url, signer: signer() });
  stores.push(store);
  return store;
}

/** With the service's guards. */
const traffic = () => new Traffic(searcher());

const documents = (seed: number, prefix: string) => items(new ItemSequence(seed), DOCUMENTS, prefix);

/** Of each copy of each shard. */
async function segmentsOf(concrete: string): Promise<number[]> {
  const { body } = await client.indices.stats({ index: concrete, metric: ['segments'], level: 'shards' });
  const { shards } = body.indices![concrete] as { shards: Record<string, { segments: { count: number } }[]> };
  return Object.values(shards).flat().map(({ segments }) => segments.count);
}

/** A moment that others wait for. */
class Moment {
  come!: () => void;
  readonly reached = new Promise<void>((resolve) => (this.come = resolve));
}

beforeAll(async () => {
  nodes = await OpenSearchServer.startThree({}, { faiss: true });
  const [{ node }] = (await nodes.n1.client().cat.clusterManager({ format: 'json' })).body as unknown as { node: string }[];
  // that costs most: the others choose a new manager, too
  dying = node;
  const survivor = Object.keys(nodes).find((name) => name !== dying)!;
  client = nodes[survivor].client();
  // a copy is made again at once, not after a minute; and where there is one copy, each node has its part
  const templates = { graphs: { 'unassigned.node_left.delayed_timeout': '0' }, copied: { 'unassigned.node_left.delayed_timeout': '0' }, single: { 'routing.allocation.total_shards_per_node': 1 } };
  for (const [name, settings] of Object.entries(templates)) {
    await client.indices.putIndexTemplate({ name, body: { index_patterns: [`${name}.*`], template: { settings: { index: settings as never } } } });
  }
  cluster = { copied: openGenerations(nodes[survivor].url, COPIED), single: openGenerations(nodes[survivor].url, SINGLE) };
  endpoint = await DomainEndpoint.start(Object.values(nodes));
  await new GenerationBuilder(cluster.copied, graphs).run('one', [documents(1, 'one-')]);
  await new GenerationBuilder(cluster.copied, copied).run('one', [documents(1, 'one-')]);
  await new GenerationBuilder(cluster.single, single).run('one', [documents(1, 'one-')]);
});
afterAll(async () => {
  await Promise.all(stores.map((store) => store.close()));
  await endpoint?.close();
  await Promise.all(Object.values(nodes ?? {}).map((node) => node.stop()));
});

test('a searcher asks the same copy of each shard every time, whichever node takes the call', async () => {
  const asked = async () => {
    const { body } = await client.indices.stats({ index: 'copied.1', metric: ['search'], level: 'shards' });
    const { shards } = body.indices!['copied.1'] as { shards: Record<string, { routing: { node: string }; search: { query_total: number } }[]> };
    return Object.entries(shards).flatMap(([shard, copies]) => copies.map(({ routing, search }) => [`${shard} on ${routing.node}`, search.query_total] as const));
  };
  const before = new Map(await asked());
  const store = searcher();
  const vector = new ItemSequence(4).vector();
  for (let at = 0; at < 20; at++) await store.search([{ index: copied, vector, k: 3 }]);
  const after = await asked();
  expect(after).toHaveLength(SHARDS * 2);
  expect(after.filter(([copy, times]) => times > before.get(copy)!)).toHaveLength(SHARDS);
});

test('replicas that are there from the beginning are merged as well before a generation answers', async () => {
  const copies: number[][] = [];
  // a segment for each bulk, so that there is something to merge; looked at right before the switch
  const watched = new Proxy(cluster.copied, {
    get: (target, name) => name === 'bulk' ? async (...args: Parameters<GenerationCluster['bulk']>) => {
      const answer = await target.bulk(...args);
      await client.indices.refresh({ index: 'merged.*' });
      return answer;
    } : name === 'moveAlias' ? async (...args: Parameters<GenerationCluster['moveAlias']>) => {
      copies.push(await segmentsOf('merged.1'));
      return target.moveAlias(...args);
    } : Reflect.get(target, name).bind(target),
  });
  await new GenerationBuilder(watched, itemsIndex('merged')).run('one', [documents(1, 'one-')], 5000);
  expect(copies).toEqual([new Array(SHARDS * 2).fill(1)]);
});

describe('with one of three nodes killed under load', () => {
  const [atHalf, atCount, death, noticed] = [new Moment(), new Moment(), new Moment(), new Moment()];
  const searchers = new Map<VectorIndexSchema, Traffic>();
  const load: Promise<void>[] = [];
  const counts = { whole: 0, degraded: 0 };
  let asking = true;
  let building: Promise<PromiseSettledResult<string>[]>;

  beforeAll(async () => {
    for (const index of [graphs, copied]) {
      const own = traffic();
      searchers.set(index, own);
      await own.recovers(softPlan(index));
      load.push(...Array.from({ length: SEARCHERS }, () => search(own, index)));
    }
    // one build has half of its documents when the node dies, the other one all of them and is about to count
    async function* late(): AsyncGenerator<TestDocument> {
      atHalf.come();
      await death.reached;
      yield* documents(3, 'two+');
    }
    const counting: GenerationCluster = new Proxy(cluster.single, {
      get: (target, name) => name !== 'seal' ? Reflect.get(target, name).bind(target) : async (...sealed: Parameters<GenerationCluster['seal']>) => {
        atCount.come();
        await noticed.reached;
        return target.seal(...sealed);
      },
    });
    building = Promise.allSettled([
      new GenerationBuilder(cluster.copied, copied).run('two', [documents(2, 'two-'), late()]),
      new GenerationBuilder(counting, single).run('two', [documents(2, 'two-')]),
    ]);
    await Promise.all([atHalf.reached, atCount.reached]);
    await nodes[dying].kill();
    death.come();
    await client.cluster.health({ wait_for_nodes: '2', timeout: '60s' });
    noticed.come();
  });

  /** An answer that is not there by the request's deadline fails it. */
  async function search(own: Traffic, index: VectorIndexSchema): Promise<void> {
    const plan = softPlan(index);
    while (asking) {
      const result = await own.ask(plan);
      expect(filled(result)).toBe(result.degraded.length > 0);
      counts[filled(result) ? 'degraded' : 'whole']++;
      // an open breaker answers at once: others must come to their turn
      await pause(5);
    }
  }

  test('every answer comes in time, flagged where its neighbours are missing, and whole ones return', async () => {
    for (const [index, own] of searchers) await own.recovers(softPlan(index));
    asking = false;
    await Promise.all(load);
    // the node took connections with it, and new ones still reach for it
    expect(endpoint.lost).toBeGreaterThan(0);
    process.stderr.write(`one of three nodes killed: ${counts.whole} whole answers, ${counts.degraded} flagged, ${endpoint.lost} connections lost\n`);
  });

  test('neighbours from a part of an index are never passed off as the nearest', async () => {
    const own = traffic();
    for (let at = 0; at < 20; at++) {
      const result = await own.ask(softPlan(single));
      expect(result.degraded).toEqual(['vectors:neighbours']);
      expect(filled(result)).toBe(true);
    }
  });

  test('a build with copies goes on to its end; one without takes the missing shard for what it is, and keeps what it has', async () => {
    const [withCopies, without] = await building;
    expect(withCopies).toEqual({ status: 'fulfilled', value: '2' });
    expect((await listGenerations(cluster.copied, copied.name))[0]).toMatchObject({ generation: '2', state: 'live', documents: 2 * DOCUMENTS });
    expect(without).toMatchObject({ status: 'rejected', reason: { code: 'VECTOR_STORE_UNAVAILABLE', message: expect.stringContaining("a shard of 'single.2' has no copy") } });
    expect(await cluster.single.live(single.name)).toBe('1');
    await expect(cluster.single.replicate(single.name, '2')).rejects.toMatchObject({ code: 'VECTOR_STORE_UNAVAILABLE' });
  });
});

test('when the node is back, answers of an index without copies are whole again, and its build goes on where it was', async () => {
  await nodes[dying].boot();
  await traffic().recovers(softPlan(single));
  expect(await new GenerationBuilder(cluster.single, single).run('two', [documents(2, 'two-')])).toBe('2');
  expect((await listGenerations(cluster.single, single.name))[0]).toMatchObject({ generation: '2', state: 'live', documents: DOCUMENTS });
});
