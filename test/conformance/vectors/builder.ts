/** Builds generations of test documents in this process, with the real adapter. */
import { setTimeout as pause } from 'node:timers/promises';
import { OpenSearchGenerations } from '../../../runtime/adapters/aws/opensearch-generations';
import { OpenSearchHttp } from '../../../runtime/adapters/aws/opensearch-http';
import { Sigv4Signer } from '../../../runtime/adapters/aws/sigv4';
import { BulkLoad } from '../../../runtime/core/vectors/bulk-load';
import { GenerationBuild } from '../../../runtime/core/vectors/generation-build';
import type { GenerationCluster } from '../../../runtime/core/vectors/generation-cluster';
import { runBuild } from '../../../runtime/core/vectors/run-build';
import type { RecallGate, VectorIndexLayout, VectorIndexSchema } from '../../../src/contract';
import type { TestDocument } from '../../runtime/contract/vector-document';

/** Of one part of a source; some may come late. */
type Documents = readonly TestDocument[] | AsyncIterable<TestDocument>;

const ONE_NODE: VectorIndexLayout = { shards: 1, replicas: 0, buildReplicas: 0 };
const GATE: RecallGate = { k: 5, sample: 20, least: 0.8 };

export const signer = () => new Sigv4Signer({ region: 'eu-central-1', service: 'es', credentials: async () => ({ accessKeyId: 'a', secretAccessKey: 'b' }) });

export function openGenerations(endpoint: string, layout = ONE_NODE): OpenSearchGenerations {
  return new OpenSearchGenerations(new OpenSearchHttp({ endpoint, signer: signer() }), layout);
}

export class GenerationBuilder {
  constructor(private readonly cluster: GenerationCluster, private readonly index: VectorIndexSchema, private readonly gate = GATE) {}

  /** Builds from documents, part by part; gives the generation. */
  run(id: string, parts: readonly Documents[], bulkBytes = 20_000): Promise<string> {
    const { cluster, index } = this;
    return runBuild(this.build(id), {
      parts: parts.length,
      pause: () => pause(20),
      load: async (part, generation) => {
        const [before] = await cluster.parts(index.name, generation, [part]);
        if (before?.done) return;
        const load = new BulkLoad(index, {
          send: (body) => cluster.bulk(index.name, generation, body),
          save: (loaded) => cluster.savePart(index.name, generation, part, loaded),
          sleep: (ms) => pause(ms),
          now: Date.now,
          random: Math.random,
        });
        await load.run(linesOf(parts[part]), { source: `part ${part}`, from: before, until: Infinity, bulkBytes });
      },
    });
  }

  abandon = (id: string) => this.build(id).abandon();
  retire = (id: string) => this.build(id).retire();

  private build(id: string): GenerationBuild {
    return new GenerationBuild(this.cluster, { index: this.index, build: id, gate: this.gate, clock: { now: Date.now } });
  }
}

async function* linesOf(documents: Documents): AsyncIterable<string> {
  for await (const { id, vector, fields } of documents) yield JSON.stringify({ id, vector, ...fields });
}
