/** The embedded vector store: the current generation of each index in memory, followed from one import to the next. */
import { currentGeneration, generationStamp, loadGeneration, type LoadedGeneration, type VectorDocument } from './vector-generations';
import type { FeatureValue, VectorFieldSchema, VectorIndexSchema } from '../../../src/contract';
import { refuse } from '../../core/errors';
import { LexicalIndex, queryWords } from '../../core/lexical';
import type { Logger, VectorFilter, VectorHits, VectorQuery, VectorSearch } from '../../core/ports';
import { fuse, fusionDepth } from '../../core/rank-fusion';

interface Followed {
  /** Of the pointer that was read last, whether or not its generation could be loaded. */
  readonly stamp: string;
  readonly loaded: LoadedGeneration | undefined;
}

export class FlatVectorSearch implements VectorSearch {
  private readonly indexes = new Map<string, Followed>();

  /** @param folder of one index's generations */
  constructor(private readonly folder: (index: string) => string, private readonly logger: Logger) {}

  async search(queries: readonly VectorQuery[]): Promise<VectorHits[]> {
    return queries.map((query) => this.searchOne(query));
  }

  private searchOne(query: VectorQuery): VectorHits {
    const { name } = query.index;
    const loaded = this.follow(query.index) ?? refuse('VECTOR_STORE_UNAVAILABLE', `vector index '${name}' holds no vectors yet: import some`, { index: name });
    return searchGeneration(loaded, query);
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

/** Made with the first query that has a text. */
const LEXICAL = new WeakMap<LoadedGeneration, LexicalIndex>();

function lexicalOf(loaded: LoadedGeneration, schema: VectorIndexSchema): LexicalIndex {
  let lexical = LEXICAL.get(loaded);
  if (!lexical) LEXICAL.set(loaded, lexical = new LexicalIndex(schema, loaded.documents.map(([, fields]) => fields)));
  return lexical;
}

/** The nearest of one generation that is in memory. */
export function searchGeneration(loaded: LoadedGeneration, { index: schema, vector, k, text, filter }: VectorQuery): VectorHits {
  const { generation, index, documents } = loaded;
  const passing = filter && filter.length > 0 ? passingOf(schema, filter, documents) : undefined;
  const hit = ({ position, score }: { readonly position: number; readonly score: number }) => {
    const [id, fields] = documents[position];
    return { id, score, fields: shownFields(schema, fields) };
  };
  if (text === undefined) return { generation, hits: index.search(vector, k, passing).map(hit) };
  const depth = fusionDepth(k);
  const lists = [index.search(vector, depth, passing), lexicalOf(loaded, schema).search(queryWords(text), depth, passing)];
  return { generation, hits: fuse(lists.map((list) => list.map(hit)), k) };
}

/** Texts are searched and not given back: they may be long. */
function shownFields({ fields }: VectorIndexSchema, values: VectorDocument[1]): VectorDocument[1] {
  if (!fields.some(({ type }) => type === 'text')) return values;
  return Object.fromEntries(fields.flatMap(({ name, type }) => (type === 'text' || values[name] === undefined ? [] : [[name, values[name]]])));
}

/** 1 for each document that has, for every condition, one of its values. */
function passingOf(schema: VectorIndexSchema, filter: VectorFilter, documents: readonly VectorDocument[]): Uint8Array {
  const passing = new Uint8Array(documents.length).fill(1);
  for (const { field, values } of filter) {
    const type = schema.fields.find(({ name }) => name === field)?.type;
    const wanted = new Set(values.map((value) => comparable(type, value)));
    for (let position = 0; position < documents.length; position++) {
      const value = documents[position][1][field];
      if (value === undefined || !wanted.has(comparable(type, value))) passing[position] = 0;
    }
  }
  return passing;
}

/** As OpenSearch compares: a `float` field holds float32; a `long` is one value, whether it came as a number or as a decimal string. */
function comparable(type: VectorFieldSchema['type'] | undefined, value: FeatureValue): FeatureValue {
  if (type === 'float') return Math.fround(value as number);
  return type === 'long' && Number.isSafeInteger(Number(value)) ? Number(value) : value;
}
