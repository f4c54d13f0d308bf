/**
 * What the vector store's adapter costs over a bare client call with the same body, and what graphs find and take over exact search: on a real OpenSearch,
 * engines lucene and faiss, which it installs itself (JDK 21 or newer, Maven and a C++ compiler).
 */
import { performance } from 'node:perf_hooks';
import { type Costs, interleave, ratio, shownMs } from './interleave';
import { type Benchmark, type Measure, median } from './measure';
import { searchBody, searchHeader } from '../runtime/adapters/aws/opensearch-msearch';
import { OpenSearchVectorSearch } from '../runtime/adapters/aws/opensearch-vector-search';
import { foundOf, recallOf } from '../runtime/core/vectors/recall';
import type { VectorIndexSchema } from '../src/contract';
import { GenerationBuilder, openGenerations, signer } from '../test/conformance/vectors/builder';
import { ItemSequence, itemsIndex } from '../test/conformance/vectors/items';
import { OpenSearchServer } from '../test/conformance/vectors/opensearch-server';
import type { TestDocument } from '../test/runtime/contract/vector-document';

const VECTORS = 10_000;
const DIMENSION = 128;
/** Embeddings lie together; vectors without any structure are no nearer to one than to another. */
const CLUSTERS = 100;
const SPREAD = 0.3;
const K = 10;
const QUESTIONS = 100;
/** Calls of one turn. */
const CALLS = 50;
const TIMEOUT_MS = 5000;
const GENERATION = '1';

class Embeddings {
  private readonly sequence = new ItemSequence(1);
  private readonly centres = Array.from({ length: CLUSTERS }, () => this.around(new Array<number>(DIMENSION).fill(0), 1));

  next(): Float32Array {
    return Float32Array.from(this.around(this.centres[Math.floor(this.sequence.next() * CLUSTERS)], SPREAD));
  }

  async* documents(): AsyncGenerator<TestDocument> {
    for (let at = 0; at < VECTORS; at++) yield { id: String(at), vector: [...this.next()], fields: this.sequence.fields() };
  }

  private around(centre: readonly number[], spread: number): number[] {
    return centre.map((value) => value + (this.sequence.next() * 2 - 1) * spread);
  }
}

export const vectors: Benchmark = async () => {
  const server = await OpenSearchServer.start({}, { faiss: true });
  const client = server.client();
  const store = new OpenSearchVectorSearch({ endpoint: server.url, signer: signer() });
  try {
    // by itself the plugin looks at each vector of a segment with fewer than 15,000
    const graphs = { 'knn.advanced.approximate_threshold': 0 };
    await client.indices.putIndexTemplate({ name: 'bench', body: { index_patterns: ['bench-*'], template: { settings: { index: graphs as never } } } });
    const cluster = openGenerations(server.url);
    const embeddings = new Embeddings();
    const measures: Measure[] = [];
    for (const engine of ['lucene', 'faiss'] as const) {
      const index: VectorIndexSchema = { ...itemsIndex(`bench-${engine}`), dimension: DIMENSION, engine };
      process.stderr.write(`vectors: building a generation of ${VECTORS} vectors, engine ${engine}\n`);
      await new GenerationBuilder(cluster, index).run('bench', [embeddings.documents()], 4_000_000);
      if (engine === 'lucene') {
        const bare = (body: string) => client.transport.request({ method: 'POST', path: `/${index.name}/_msearch`, bulkBody: body });
        measures.push(...await adapterCosts(store, bare, () => ({ index, vector: embeddings.next(), k: K })));
      }
      measures.push(await found(cluster, index, embeddings));
    }
    return measures;
  } finally {
    await store.close();
    await server.stop();
  }
};

type Question = Parameters<OpenSearchVectorSearch['search']>[0][number];

/** The adapter writes, signs, sends and reads; the bare call is given the body as it is to be sent, and reads it. */
async function adapterCosts(store: OpenSearchVectorSearch, send: (body: string) => Promise<unknown>, question: () => Question): Promise<Measure[]> {
  const header = searchHeader('bench');
  const latencies = { ours: [] as number[], bare: [] as number[] };
  const contender = (name: keyof typeof latencies, ask: () => Promise<unknown>) => ({
    times: CALLS,
    cpuMs: () => {
      const { user, system } = process.cpuUsage();
      return (user + system) / 1000;
    },
    run: async (times: number) => {
      for (let call = 0; call < times; call++) {
        const start = performance.now();
        await ask();
        latencies[name].push(performance.now() - start);
      }
    },
  });
  const costs: Costs<'ours' | 'bare'> = await interleave({
    ours: contender('ours', () => store.search([question()])),
    bare: contender('bare', () => send(searchBody(header, [question()], 0, 1, TIMEOUT_MS))),
  });
  const p50 = { ours: median(latencies.ours), bare: median(latencies.bare) };
  return [
    {
      name: 'vectors.cpu',
      value: ratio(costs.ours, costs.bare),
      op: '<=',
      goal: 1.3,
      comparedWith: `a search by the adapter, signed, against one by the official client with the same body and kept connections, not signed: ${shownMs(costs.ours)} against `
        + `${shownMs(costs.bare)} of CPU per call; median ratio of ${costs.ours.length} interleaved rounds`,
    },
    {
      name: 'vectors.p50',
      value: p50.ours / p50.bare,
      op: '<=',
      goal: 1.3,
      comparedWith: `the same calls, one after the other: ${p50.ours.toFixed(2)} ms against ${p50.bare.toFixed(2)} ms`,
    },
  ];
}

async function found(cluster: ReturnType<typeof openGenerations>, index: VectorIndexSchema, embeddings: Embeddings): Promise<Measure> {
  const gate = { asked: 0, found: 0, wanted: 0 };
  const took = { exact: [] as number[], graph: [] as number[] };
  const timed = async <T>(into: number[], work: () => Promise<T>): Promise<T> => {
    const start = performance.now();
    const result = await work();
    into.push(performance.now() - start);
    return result;
  };
  for (; gate.asked < QUESTIONS; gate.asked++) {
    const vector = [...embeddings.next()];
    const exact = await timed(took.exact, () => cluster.exact(index, GENERATION, vector, 2 * K));
    const graph = await timed(took.graph, () => cluster.approximate(index, GENERATION, vector, K));
    gate.wanted += K;
    gate.found += foundOf(exact, graph, K);
  }
  return {
    name: `vectors.recall-${index.engine}`,
    value: recallOf(gate)!,
    op: '>=',
    goal: 0.9,
    comparedWith: `recall@${K} of the graph against exact search, ${VECTORS} clustered vectors of ${index.dimension} dimensions, ${QUESTIONS} questions; `
      + `p50 ${median(took.graph).toFixed(2)} ms against ${median(took.exact).toFixed(2)} ms`,
  };
}
