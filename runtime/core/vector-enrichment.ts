/** Tensors from nearest neighbours: `[batch, k, fields]`, nearest first; what the store cannot give in time is filled where the manifest says so. */
import { refuse } from './errors';
import { ALL_ON, type Flags, type VectorTensorPlan } from './plan';
import type { CallContext, VectorHit, VectorHits, VectorSearch } from './ports';
import { type Dependency, unlessAway } from './stand-in';
import { allocate, elementCount, type Tensor, texts } from './tensors';
import { filtersOf } from './vector-conditions';
import { QueryBatch } from './vector-queries';
import { queryComponents, vectorProblem } from './vectors/components';

const STORE: Dependency = { code: 'VECTOR_STORE_UNAVAILABLE', what: 'the vector store' };

/** Of a row that was not searched. */
const NOTHING: VectorHits = { generation: '', hits: [] };

export interface VectorEnrichment {
  readonly tensors: readonly Tensor[];
  /** For each tensor, each row; no hits and the generation '' where nothing was searched. */
  readonly hits: readonly (readonly VectorHits[])[];
  /** `index@generation`, each once. */
  readonly generations: ReadonlySet<string>;
  /** `vectors:<tensor>` for each tensor that was filled because the store was away, `vectors:<tensor>/<list>` where `text` or `vector` did not answer. */
  readonly degraded: readonly string[];
}

/** What the searches of one request share. */
interface Searches {
  readonly inputs: ReadonlyMap<string, Tensor>;
  readonly batch: number;
  readonly store: VectorSearch;
  /** The rows' neighbours of each tensor that was searched. */
  readonly found: Map<VectorTensorPlan, readonly VectorHits[]>;
}

/**
 * Tensors with a fallback and tensors without are searched apart, at the same time: the former have a time limit of their own, and the
 * absence of their store costs the request nothing else.
 *
 * Fails with INVALID_DATA, TOO_FEW_NEIGHBOURS, INVALID_VECTOR_HIT, or what the store fails with.
 *
 * @param now milliseconds since the epoch
 * @param flags of the rollout document; one that is not here is on
 */
export async function enrichVectors(
  plans: readonly VectorTensorPlan[], inputs: ReadonlyMap<string, Tensor>, batch: number, store: VectorSearch, now: number, context?: CallContext,
  flags: Flags = ALL_ON,
): Promise<VectorEnrichment> {
  const on = (plan: VectorTensorPlan) => plan.flag === undefined || flags[plan.flag] !== false;
  const firm = plans.filter((plan) => !plan.degrades && on(plan));
  const soft = plans.filter((plan) => plan.degrades && on(plan));
  const searches: Searches = { inputs, batch, store, found: new Map() };
  if (soft.length === 0) await search(searches, firm, context);
  else if (firm.length === 0) await searchUnlessAway(searches, soft, now, context);
  else await Promise.all([search(searches, firm, context), searchUnlessAway(searches, soft, now, context)]);

  const tensors: Tensor[] = [];
  const hits: (readonly VectorHits[])[] = [];
  const generations = new Set<string>();
  const degraded: string[] = [];
  for (const plan of plans) {
    const rows = searches.found.get(plan);
    if (rows) {
      for (const { generation } of rows) generations.add(`${plan.index.name}@${generation}`);
      for (const list of ['text', 'vector'] as const) if (rows.some(({ missing }) => missing === list)) degraded.push(`vectors:${plan.tensor.name}/${list}`);
    } else if (on(plan)) {
      degraded.push(`vectors:${plan.tensor.name}`);
    }
    const shown = rows ?? new Array<VectorHits>(batch).fill(NOTHING);
    tensors.push(fill(plan, shown));
    hits.push(shown);
  }
  return { tensors, hits, generations, degraded };
}

async function search(searches: Searches, plans: readonly VectorTensorPlan[], context: CallContext | undefined): Promise<void> {
  const { inputs, batch, store, found } = searches;
  if (plans.length === 0) return;
  const queries = new QueryBatch();
  const positions: number[] = [];
  for (const { index, input, k, text, filter } of plans) {
    const data = inputs.get(input)!.data as Float32Array;
    const filters = filtersOf(filter, inputs, batch);
    const components = queryComponents(index);
    const asked = text === undefined ? undefined : texts(inputs.get(text)!);
    for (let row = 0; row < batch; row++) {
      const vector = data.subarray(row * index.dimension, (row + 1) * index.dimension);
      // binary tensors can hold what JSON cannot: NaN and infinities
      const problem = vectorProblem(index, components, vector);
      if (problem !== undefined) refuse('INVALID_DATA', `row ${row} of query vector '${input}' ${problem}`, { tensor: input });
      positions.push(queries.add({ index, vector, k, text: asked?.[row], filter: filters?.[row] }));
    }
  }
  const answers = await store.search(queries.queries, context);
  let at = 0;
  for (const plan of plans) {
    const rows: VectorHits[] = [];
    for (let row = 0; row < batch; row++) rows.push(answers[positions[at++]]);
    found.set(plan, rows);
  }
}

/** Finds nothing where the store is away. */
async function searchUnlessAway(
  searches: Searches, plans: readonly VectorTensorPlan[], now: number, context: CallContext | undefined,
): Promise<void> {
  await unlessAway(STORE, context, now, (shorter) => search(searches, plans, shorter));
}

function fill(plan: VectorTensorPlan, rows: readonly VectorHits[]): Tensor {
  const { tensor, index, k, fields, fill: missing } = plan;
  const shape = [rows.length, k, fields.length];
  const data = allocate(tensor.datatype as 'FP32' | 'FP64', elementCount(shape)) as Float64Array;
  let at = 0;
  for (const { hits } of rows) {
    if (hits.length < k && missing === undefined) {
      refuse('TOO_FEW_NEIGHBOURS', `vector index '${index.name}' returned ${hits.length} of ${k} neighbours, and tensor '${tensor.name}' declares no fill`, { index: index.name });
    }
    for (let position = 0; position < k; position++) {
      const hit = hits[position];
      for (const field of fields) data[at++] = hit ? numberOf(plan, hit, field) : missing!;
    }
  }
  return { name: tensor.name, datatype: tensor.datatype, shape, data };
}

function numberOf({ index }: VectorTensorPlan, hit: VectorHit, field: string): number {
  if (field === '_score') return hit.score;
  const value = hit.fields[field];
  // a long beyond 2^53 is a decimal string
  const long = typeof value === 'string' && value !== '' && index.fields.some(({ name, type }) => name === field && type === 'long');
  const number = typeof value === 'boolean' || long ? Number(value) : value;
  if (typeof number === 'number' && Number.isFinite(number)) return number;
  return refuse('INVALID_VECTOR_HIT', `document '${hit.id}' of vector index '${index.name}' has no number in field '${field}'`, { index: index.name, field });
}
