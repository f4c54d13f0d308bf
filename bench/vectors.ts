/**
 * What the vector store's adapter costs over a bare client call, and what the graph finds and takes over exact search: on a real OpenSearch with the
 * lucene engine, which it installs itself (JDK 21 or newer and Maven).
 */
import { performance } from 'node:perf_hooks';
import { type Costs, interleave, ratio, shownMs } from './interleave';
import { type Benchmark, median } from './measure';
import { OpenSearchVectorSearch } from '../runtime/adapters/aws/opensearch-vector-search';
import { recallOf } from '../runtime/core/vectors/generation-build';
import { foundOf } from '../runtime/core/vectors/recall';
import { GenerationBuilder, openGenerations, signer } from '../test/conformance/vectors/builder';
import { referenceSearch } from '../test/conformance/vectors/indexes';
import { items, itemsIndex, ItemSequence } from '../test/conformance/vectors/items';
import { OpenSearchServer } from '../test/conformance/vectors/opensearch-server';

const VECTORS = 5000;
const K = 10;
const QUESTIONS = 100;
/** Calls of one turn. */
const CALLS = 50;
const GENERATION = '1';

export const vectors: Benchmark = async () => {
  const server = await OpenSearchServer.start();
  const client = server.client();
  const store = new OpenSearchVectorSearch({ endpoint: server.url, signer: signer() });
  try {
    const index = itemsIndex('bench');
    const cluster = openGenerations(server.url);
    process.stderr.write(`vectors: building a generation of ${VECTORS} vectors\n`);
    await new GenerationBuilder(cluster, index).run('bench', [items(new ItemSequence(1), VECTORS)], 1_000_000);

    const sequence = new ItemSequence(2);
    const question = () => ({ index, vector: sequence.vector(), k: K });
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
      bare: contender('bare', () => referenceSearch(client, [question()])),
    });

    const gate = { asked: 0, found: 0, wanted: 0 };
    const took = { exact: [] as number[], graph: [] as number[] };
    const timed = async <T>(into: number[], work: () => Promise<T>): Promise<T> => {
      const start = performance.now();
      const result = await work();
      into.push(performance.now() - start);
      return result;
    };
    for (; gate.asked < QUESTIONS; gate.asked++) {
      const vector = [...sequence.vector()];
      const exact = await timed(took.exact, () => cluster.exact(index, GENERATION, vector, 2 * K));
      const graph = await timed(took.graph, () => cluster.approximate(index, GENERATION, vector, K));
      gate.wanted += K;
      gate.found += foundOf(exact, graph, K);
    }

    const p50 = { ours: median(latencies.ours), bare: median(latencies.bare) };
    return [
      {
        name: 'vectors.cpu',
        value: ratio(costs.ours, costs.bare),
        op: '<=',
        goal: 1.3,
        comparedWith: `a search by the adapter, signed, against one by the official client, not signed: ${shownMs(costs.ours)} against ${shownMs(costs.bare)} of CPU per call; `
          + `median ratio of ${costs.ours.length} interleaved rounds`,
      },
      {
        name: 'vectors.p50',
        value: p50.ours / p50.bare,
        op: '<=',
        goal: 1.3,
        comparedWith: `the same calls, one after the other: ${p50.ours.toFixed(2)} ms against ${p50.bare.toFixed(2)} ms`,
      },
      {
        name: 'vectors.recall',
        value: recallOf(gate)!,
        op: '>=',
        goal: 0.9,
        comparedWith: `recall@${K} of the lucene graph against exact search, ${VECTORS} random vectors of ${index.dimension} dimensions, ${QUESTIONS} questions; `
          + `p50 ${median(took.graph).toFixed(2)} ms against ${median(took.exact).toFixed(2)} ms`,
      },
    ];
  } finally {
    await store.close();
    await server.stop();
  }
};
