/** Tensors from nearest neighbours: `[batch, k, fields]`, nearest first. */
import { refuse } from './errors';
import type { VectorTensorPlan } from './plan';
import type { VectorHit, VectorHits, VectorSearch } from './ports';
import { allocate, elementCount, type Tensor } from './tensors';
import type { VectorIndexSchema } from '../../src/contract';

/**
 * Searches that one request has under way. A data node has 3/2 of its vCPUs, plus one, as search threads, and a queue of 1000 (OpenSearch,
 * thread pool `search`), which a request of 1024 rows at once would overflow alone; 16 keep a node of ten vCPUs busy.
 */
const MAX_CONCURRENT_SEARCHES = 16;

export interface VectorEnrichment {
  readonly tensors: readonly Tensor[];
  /** For each tensor, each row. */
  readonly hits: readonly (readonly VectorHits[])[];
  /** `index@generation`, each once. */
  readonly generations: ReadonlySet<string>;
}

/** Fails with TOO_FEW_NEIGHBOURS, INVALID_VECTOR_HIT, or what the store fails with. */
export async function enrichVectors(
  plans: readonly VectorTensorPlan[], inputs: ReadonlyMap<string, Tensor>, batch: number, store: VectorSearch, signal?: AbortSignal,
): Promise<VectorEnrichment> {
  const queries = plans.flatMap(({ index, input, k }) => {
    const data = inputs.get(input)!.data as Float32Array;
    return Array.from({ length: batch }, (_, row) => {
      const query = data.subarray(row * index.dimension, (row + 1) * index.dimension);
      checkQuery(index, input, query, row);
      return { index, query, k };
    });
  });
  const found = await mapBounded(queries, ({ index, query, k }) => {
    signal?.throwIfAborted();
    return store.search(index, query, k, signal);
  });
  const hits = plans.map((_, plan) => found.slice(plan * batch, (plan + 1) * batch));
  const generations = new Set(plans.flatMap(({ index }, plan) => hits[plan].map(({ generation }) => `${index.name}@${generation}`)));
  return { tensors: plans.map((plan, index) => fill(plan, hits[index])), hits, generations };
}

/** The results in the order of `items`. The first failure rejects, and nothing more starts after it. */
async function mapBounded<T, R>(items: readonly T[], work: (item: T) => Promise<R>): Promise<R[]> {
  const results = new Array<R>(items.length);
  let next = 0;
  let failed = false;
  const lane = async (): Promise<void> => {
    while (next < items.length && !failed) {
      const at = next++;
      try {
        results[at] = await work(items[at]);
      } catch (error) {
        failed = true;
        throw error;
      }
    }
  };
  await Promise.all(Array.from({ length: Math.min(MAX_CONCURRENT_SEARCHES, items.length) }, lane));
  return results;
}

/** Binary tensors can hold what JSON cannot: NaN and infinities, which are near nothing. */
function checkQuery({ similarity }: VectorIndexSchema, input: string, query: Float32Array, row: number): void {
  let zero = true;
  for (const value of query) {
    if (!Number.isFinite(value)) refuse('INVALID_DATA', `row ${row} of query vector '${input}' holds ${value}`, { tensor: input });
    if (value !== 0) zero = false;
  }
  // engines disagree on what they answer to it
  if (zero && similarity === 'cosine') refuse('INVALID_DATA', `row ${row} of query vector '${input}' is zero, which has no cosine`, { tensor: input });
}

function fill(plan: VectorTensorPlan, rows: readonly VectorHits[]): Tensor {
  const { tensor, index, k, fields, fill: missing } = plan;
  const shape = [rows.length, k, fields.length];
  const data = allocate(tensor.datatype as 'FP32' | 'FP64', elementCount(shape)) as Float64Array;
  rows.forEach(({ hits }, row) => {
    if (hits.length < k && missing === undefined) {
      refuse('TOO_FEW_NEIGHBOURS', `vector index '${index.name}' returned ${hits.length} of ${k} neighbours, and tensor '${tensor.name}' declares no fill`, { index: index.name });
    }
    let at = row * k * fields.length;
    for (let position = 0; position < k; position++) {
      const hit = hits[position];
      for (const field of fields) data[at++] = hit ? numberOf(plan, hit, field) : missing!;
    }
  });
  return { name: tensor.name, datatype: tensor.datatype, shape, data };
}

function numberOf({ index }: VectorTensorPlan, hit: VectorHit, field: string): number {
  if (field === '_score') return hit.score;
  const value = hit.fields[field];
  const number = typeof value === 'boolean' ? Number(value) : value;
  if (typeof number === 'number' && Number.isFinite(number)) return number;
  return refuse('INVALID_VECTOR_HIT', `document '${hit.id}' of vector index '${index.name}' has no number in field '${field}'`, { index: index.name, field });
}
