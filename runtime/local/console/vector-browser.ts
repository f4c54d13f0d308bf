/** What the console shows of the vector indexes: generations, documents, and the neighbours of a document or of a given vector. */
import type { FeatureValue, VectorFieldSchema, VectorIndexSchema } from '../../../src/contract';
import type { LoadedGeneration } from '../../adapters/local/vector-generations';
import type { FlatVectorSearch } from '../../adapters/local/vector-search';
import { refuse } from '../../core/errors';
import { textFields } from '../../core/lexical';
import type { VectorFilter, VectorHits } from '../../core/ports';
import { isValueOf } from '../../core/vector-conditions';
import { isVector, queryComponents, vectorProblem } from '../../core/vectors/components';

/** Documents of one answer. */
const PAGE = 50;
const MOST_NEIGHBOURS = 100;
const MOST_CONDITIONS = 8;
const MOST_VALUES = 100;

export interface ShownIndex {
  readonly name: string;
  readonly description?: string;
  readonly dimension: number;
  readonly similarity: string;
  readonly fields: readonly VectorFieldSchema[];
  /** Null before the first import. */
  readonly generation: string | null;
  readonly count: number;
}

export interface ShownDocument {
  readonly id: string;
  readonly fields: Readonly<Record<string, FeatureValue>>;
}

export interface ShownDocuments {
  readonly generation: string;
  readonly documents: readonly ShownDocument[];
  /** Whether there are others behind them. */
  readonly more: boolean;
}

export class VectorBrowser {
  constructor(private readonly indexes: readonly VectorIndexSchema[], private readonly search: FlatVectorSearch) {}

  list(): ShownIndex[] {
    return this.indexes.map((schema) => {
      const loaded = this.search.follow(schema);
      const { name, description, dimension, similarity, fields } = schema;
      return { name, description, dimension, similarity, fields, generation: loaded?.generation ?? null, count: loaded?.index.count ?? 0 };
    });
  }

  /** Documents whose id begins with `prefix`, in the order of their import. @param from how many of them to leave out */
  documents(name: string, prefix: string, from: number): ShownDocuments {
    const { generation, documents } = this.loaded(this.schema(name));
    const found: ShownDocument[] = [];
    let skipped = 0;
    for (const [id, fields] of documents) {
      if (!id.startsWith(prefix) || skipped++ < from) continue;
      found.push({ id, fields });
      if (found.length > PAGE) break;
    }
    return { generation, documents: found.slice(0, PAGE), more: found.length > PAGE };
  }

  /**
   * The nearest to the vector of a document, or to a vector of the caller's own. Fails with INVALID_PARAMETER.
   *
   * @param query `{ id | vector, text?, k, filter?: [{ field, values }] }`
   */
  async nearest(name: string, query: unknown): Promise<VectorHits & { readonly vector: readonly number[] }> {
    const schema = this.schema(name);
    const { id, vector: given, text, k = 10, filter } = (typeof query === 'object' && query !== null ? query : {}) as Readonly<Record<string, unknown>>;
    const wanted = Number.isSafeInteger(k) && (k as number) >= 1 && (k as number) <= MOST_NEIGHBOURS
      ? k as number
      : refuse('INVALID_PARAMETER', `k must be a whole number from 1 to ${MOST_NEIGHBOURS}`);
    const vector = typeof id === 'string' ? vectorOf(this.loaded(schema), id) : vectorFrom(schema, given);
    const [hits] = await this.search.search([{ index: schema, vector, k: wanted, text: textFrom(schema, text), filter: filterFrom(schema, filter) }]);
    return { ...hits, vector: Array.from(vector) };
  }

  private schema(name: string): VectorIndexSchema {
    return this.indexes.find((index) => index.name === name) ?? refuse('ROUTE_NOT_FOUND', `the brain declares no vector index '${name}'`);
  }

  private loaded(schema: VectorIndexSchema): LoadedGeneration {
    return this.search.follow(schema) ?? refuse('VECTOR_STORE_UNAVAILABLE', `vector index '${schema.name}' holds no vectors yet: import some`, { index: schema.name });
  }
}

function vectorOf({ documents, index }: LoadedGeneration, wanted: string): Float32Array {
  const position = documents.findIndex(([id]) => id === wanted);
  return position < 0 ? refuse('INVALID_PARAMETER', `the index has no document '${wanted.slice(0, 128)}'`) : index.vector(position);
}

function vectorFrom(schema: VectorIndexSchema, given: unknown): Float32Array {
  const { name, dimension } = schema;
  const components = queryComponents(schema);
  if (!isVector(schema, given)) {
    return refuse('INVALID_PARAMETER', `a vector of index '${name}' must be a list of ${dimension} ${components.what}${Array.isArray(given) ? `, got ${given.length} values` : ''}`);
  }
  const problem = vectorProblem(schema, components, given);
  return problem === undefined ? Float32Array.from(given) : refuse('INVALID_PARAMETER', `the vector ${problem}`);
}

function textFrom(schema: VectorIndexSchema, given: unknown): string | undefined {
  if (given === undefined || (typeof given === 'string' && textFields(schema).length > 0)) return given;
  return refuse('INVALID_PARAMETER', `text must be text, for an index with a text field; index '${schema.name}' has ${textFields(schema).join(', ') || 'none'}`);
}

function filterFrom({ fields }: VectorIndexSchema, given: unknown): VectorFilter | undefined {
  if (given === undefined) return undefined;
  if (!Array.isArray(given) || given.length > MOST_CONDITIONS) return refuse('INVALID_PARAMETER', `filter must be a list of at most ${MOST_CONDITIONS} conditions`);
  return given.map((condition: unknown) => {
    const { field: name, values } = (condition ?? {}) as { field?: unknown; values?: unknown };
    const field = fields.find((declared) => declared.name === name) ?? refuse('INVALID_PARAMETER', `the index has no field '${String(name).slice(0, 64)}'`);
    if (field.type === 'text') refuse('INVALID_PARAMETER', `field '${field.name}' is text, which is searched, not compared`);
    if (!Array.isArray(values) || values.length === 0 || values.length > MOST_VALUES) refuse('INVALID_PARAMETER', `the condition on '${field.name}' needs 1 to ${MOST_VALUES} values`);
    const odd = (values as FeatureValue[]).find((value) => !isValueOf(field, value));
    if (odd !== undefined) refuse('INVALID_PARAMETER', `${JSON.stringify(odd).slice(0, 64)} is no value of the ${field.type} field '${field.name}'`);
    return { field: field.name, values: values as FeatureValue[] };
  });
}
