/** The embedded vector store: the current generation of each index in memory, followed from one import to the next. */
import { currentGeneration, generationStamp, loadGeneration, type LoadedGeneration } from './vector-generations';
import type { VectorIndexSchema } from '../../../src/contract';
import { refuse } from '../../core/errors';
import type { Logger, VectorHits, VectorSearch } from '../../core/ports';

interface Followed {
  /** Of the pointer that was read last, whether or not its generation could be loaded. */
  readonly stamp: string;
  readonly loaded: LoadedGeneration | undefined;
}

export class FlatVectorSearch implements VectorSearch {
  private readonly indexes = new Map<string, Followed>();

  /** @param folder of one index's generations */
  constructor(private readonly folder: (index: string) => string, private readonly logger: Logger) {}

  async search(schema: VectorIndexSchema, query: Float32Array, k: number): Promise<VectorHits> {
    const { generation, index, documents } = this.follow(schema)
      ?? refuse('VECTOR_STORE_UNAVAILABLE', `vector index '${schema.name}' holds no vectors yet: import some`, { index: schema.name });
    return {
      generation,
      hits: index.search(query, k).map(({ position, score }) => ({ id: documents[position][0], score, fields: documents[position][1] })),
    };
  }

  /** The generation that answers now; a new one that cannot be loaded leaves the old one in force. */
  follow(schema: VectorIndexSchema): LoadedGeneration | undefined {
    const folder = this.folder(schema.name);
    const before = this.indexes.get(schema.name);
    const stamp = generationStamp(folder);
    if (before?.stamp === stamp) return before.loaded;
    let loaded = before?.loaded;
    try {
      const current = currentGeneration(folder);
      if (current !== undefined) loaded = loadGeneration(folder, current, schema);
      if (loaded) this.logger.info({ index: schema.name, generation: loaded.generation, vectors: loaded.index.count }, 'vector index loaded');
    } catch (error) {
      this.logger.error({ index: schema.name, error: (error as Error).message }, loaded ? `generation ${loaded.generation} stays in force` : 'vector index not loaded');
    }
    this.indexes.set(schema.name, { stamp, loaded });
    return loaded;
  }

  async close(): Promise<void> {
    this.indexes.clear();
  }
}
