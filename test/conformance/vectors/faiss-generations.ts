/** Generations with graphs of FAISS: built, measured at the gate, warmed, switched, returned to and restored; and what their graphs take of memory. */
import type { Client } from '@opensearch-project/opensearch';
import { GenerationBuilder, openGenerations, signer } from './builder';
import { runDrill } from './drill';
import { items, itemsIndex, ItemSequence } from './items';
import type { OpenSearchServer } from './opensearch-server';
import { OpenSearchHttp } from '../../../runtime/adapters/aws/opensearch-http';
import { OpenSearchSnapshots } from '../../../runtime/adapters/aws/opensearch-snapshots';
import type { GenerationCluster } from '../../../runtime/core/vectors/generation-cluster';
import { listGenerations, returnToPrevious } from '../../../runtime/core/vectors/generations';
import type { VectorIndexSchema } from '../../../src/contract';
import { graphBytes } from '../../../src/vectors/index-memory';
import type { TestDocument } from '../../runtime/contract/vector-document';

const faissIndex = (name: string): VectorIndexSchema => ({ ...itemsIndex(`faiss-${name}`), engine: 'faiss' });
const documents = (seed: number, prefix: string, count = 300) => items(new ItemSequence(seed), count, prefix);

/** What the plugin's cache holds of an index. */
interface Cached {
  readonly graph_count: number;
  /** KiB. */
  readonly graph_memory_usage: number;
  /** Of what graphs may take on the node. */
  readonly graph_memory_usage_percentage: number;
}

/** @param threshold settings with which every segment has a graph */
export function faissGenerations(server: () => OpenSearchServer, threshold: object): void {
  describe('generations with graphs of FAISS', () => {
    let client: Client;
    let cluster: GenerationCluster;
    beforeAll(async () => {
      client = server().client();
      cluster = openGenerations(server().url);
      await client.indices.putIndexTemplate({ name: 'graphs', body: { index_patterns: ['faiss-*.*'], template: { settings: { index: threshold as never } } } });
    });

    const cached = async (concrete: string): Promise<Cached | undefined> => {
      const { body } = await client.transport.request({ method: 'GET', path: '/_plugins/_knn/stats/indices_in_cache' });
      const [{ indices_in_cache: found }] = Object.values((body as { nodes: Record<string, { indices_in_cache: Record<string, Cached> }> }).nodes);
      return found[concrete];
    };

    test('are merged to one graph, which is warm before it answers; the one before stays to return to', async () => {
      const index = faissIndex('built');
      const builder = new GenerationBuilder(cluster, index);
      expect(await builder.run('one', [documents(1, 'one-', 200), documents(2, 'one+', 100)])).toBe('1');
      expect(await cached('faiss-built.1')).toMatchObject({ graph_count: 1 });
      expect(await builder.run('two', [documents(3, 'two-')])).toBe('2');
      expect(await returnToPrevious(cluster, index.name)).toEqual({ from: '2', to: '1' });
      expect((await listGenerations(cluster, index.name)).map(({ generation, state }) => [generation, state])).toEqual([['2', 'previous'], ['1', 'live']]);
    });

    test('never answer where their graph finds too little', async () => {
      const poor: VectorIndexSchema = { ...faissIndex('poor'), hnsw: { m: 2, efConstruction: 2, efSearch: 2 } };
      const run = new GenerationBuilder(cluster, poor, { k: 10, sample: 50, least: 0.9 }).run('poor', [documents(7, 'poor-', 3000)]);
      await expect(run).rejects.toMatchObject({ code: 'RECALL_TOO_LOW' });
      expect(await cluster.live(poor.name)).toBeUndefined();
    });

    test('are restored whole by a drill, whose graphs find what exact search finds', async () => {
      const kept = faissIndex('kept');
      await new GenerationBuilder(cluster, kept).run('one', [documents(30, 'kept-')]);
      await client.snapshot.createRepository({ repository: 'graphs', body: { type: 'fs', settings: { location: 'graphs' } } });
      await client.snapshot.create({ repository: 'graphs', snapshot: 'daily-1', wait_for_completion: true, body: { indices: `${kept.name}.*` } as never });
      const repository = new OpenSearchSnapshots(new OpenSearchHttp({ endpoint: server().url, signer: signer() }), 'graphs', { buildReplicas: 0 });
      const { report } = await runDrill({ cluster, repository }, kept, { k: 5, sample: 20, least: 0.8 });
      expect(report).toMatchObject({ snapshot: 'daily-1', generation: '1', completeness: 1 });
      expect(report!.recall).toBeGreaterThan(0.9);
    });

    test.each([2500, 10_000])('take the memory that the declaration of %d vectors is sized by, give or take 15 %%', async (count) => {
      const index: VectorIndexSchema = { ...faissIndex(`sized-${count}`), dimension: 128, hnsw: { m: 16, efConstruction: 32, efSearch: 32 } };
      // how much the graph finds of vectors without any structure says nothing
      await new GenerationBuilder(cluster, index, { k: 1, sample: 1, least: 0 }).run('one', [scattered(count, index.dimension)], 4_000_000);
      const { graph_count, graph_memory_usage, graph_memory_usage_percentage } = (await cached(`${index.name}.1`))!;
      const estimated = graphBytes(index, count) / 1024;
      process.stderr.write(`${count} vectors of 128 dimensions: ${graph_memory_usage} KiB (${graph_memory_usage_percentage} %), estimated ${Math.round(estimated)} KiB\n`);
      expect(graph_count).toBe(1);
      expect(graph_memory_usage / estimated).toBeGreaterThan(0.85);
      expect(graph_memory_usage / estimated).toBeLessThan(1.15);
    });
  });
}

async function* scattered(count: number, dimension: number): AsyncGenerator<TestDocument> {
  const sequence = new ItemSequence(40);
  // short numbers are parsed faster
  const vector = () => Array.from({ length: dimension }, () => Math.floor(sequence.next() * 1000));
  for (let at = 0; at < count; at++) yield { id: String(at), vector: vector(), fields: sequence.fields() };
}
