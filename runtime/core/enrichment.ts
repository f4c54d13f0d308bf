/** Everything that the brain adds to a request before the model is called, and how it accounts for it. */
import { refuse } from './errors';
import { enrichFeatures, type FeatureEnrichment } from './feature-enrichment';
import { ALL_ON, type Flags, type ModelPlan } from './plan';
import type { CallContext, OnlineFeatureStore, VectorSearch } from './ports';
import type { Tensor } from './tensors';
import { enrichVectors, type VectorEnrichment } from './vector-enrichment';

export interface EnrichmentSources {
  /** Undefined in a brain without feature groups. */
  readonly features?: OnlineFeatureStore;
  /** Undefined in a brain without vector indexes. */
  readonly vectors?: VectorSearch;
}

export interface EnrichmentResult {
  readonly features?: FeatureEnrichment;
  readonly vectors?: VectorEnrichment;
  /** What was answered without its source, each once: `features:<tensor>`, `vectors:<tensor>`. */
  readonly degraded: readonly string[];
}


const NOTHING: EnrichmentResult = { degraded: [] };

/** Features and vectors at the same time; the first failure is the answer. */
export async function enrich(
  plan: ModelPlan, inputs: ReadonlyMap<string, Tensor>, batch: number, sources: EnrichmentSources, now: number, context?: CallContext,
  flags: Flags = ALL_ON, ended?: (stage: 'features' | 'vectors') => void,
): Promise<EnrichmentResult> {
  const rows = plan.features.length === 0 ? undefined : sources.features ?? missing('feature');
  const index = plan.vectors.length === 0 ? undefined : sources.vectors ?? missing('vector');
  if (rows && index) {
    const [features, vectors] = await Promise.all([
      timed('features', enrichFeatures(plan.features, inputs, batch, rows, now, context, flags), ended),
      timed('vectors', enrichVectors(plan.vectors, inputs, batch, index, now, context, flags), ended),
    ]);
    return { features, vectors, degraded: [...features.degraded, ...vectors.degraded] };
  }
  if (rows) {
    const features = await timed('features', enrichFeatures(plan.features, inputs, batch, rows, now, context, flags), ended);
    return { features, degraded: features.degraded };
  }
  if (index) {
    const vectors = await timed('vectors', enrichVectors(plan.vectors, inputs, batch, index, now, context, flags), ended);
    return { vectors, degraded: vectors.degraded };
  }
  return NOTHING;
}

/** Says when the work has ended, whether it succeeded or not. */
async function timed<T, S>(stage: S, work: Promise<T>, ended: ((stage: S) => void) | undefined): Promise<T> {
  if (!ended) return work;
  try {
    return await work;
  } finally {
    ended(stage);
  }
}

function missing(store: 'feature' | 'vector'): never {
  return refuse('INVALID_CONFIGURATION', `the model needs the ${store} store, and the service was started without one`);
}

/** What `explain: true` answers: the features and neighbours behind the tensors. Features with a PII class are named, not shown. */
export function explain(plan: ModelPlan, { features, vectors }: EnrichmentResult): string {
  return JSON.stringify({
    features: plan.features.map(({ tensor }, index) => ({
      tensor: tensor.name,
      rows: features!.resolved[index].map((groups) => groups.map(({ group, entity, row, values, defaulted }) => ({
        group: group.schema.name,
        version: group.schema.version,
        entity: Object.fromEntries(group.schema.entityKeys.map(({ name }, position) => [name, entity[position]])),
        event_time: row ? new Date(row.eventTime).toISOString() : null,
        values: Object.fromEntries(group.columns.map(({ feature }, column) => [
          feature.name, feature.piiClass === 'none' ? values[column] : `<${feature.piiClass}>`,
        ])),
        defaulted: defaulted.map(({ feature }) => feature.name),
      }))),
    })),
    vectors: plan.vectors.map(({ tensor, index }, position) => ({
      tensor: tensor.name,
      index: index.name,
      rows: vectors!.hits[position].map(({ generation, hits }) => ({ generation, neighbours: hits })),
    })),
  });
}
