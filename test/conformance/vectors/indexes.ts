/** Generations of an index on a real server, with the mapping that its declaration stands for; and the same search by the official client. */
import type { Client } from '@opensearch-project/opensearch';
import type { VectorHits, VectorQuery } from '../../../runtime/core/ports';
import { generationIndex, generationPattern, indexBody } from '../../../runtime/core/vectors/index-body';
import { GENERATION_SEPARATOR, VectorDocument, type VectorIndexSchema } from '../../../src/contract';
import type { TestDocument } from '../../runtime/contract/vector-document';

const LAYOUT = { shards: 1, replicas: 0, buildReplicas: 0 };

/**
 * A generation; the alias does not stand for it yet. Fails where a document was refused.
 *
 * @param activeShards that must be there before it goes on: without all of them it cannot be searched
 */
export async function addGeneration(
  client: Client, index: VectorIndexSchema, generation: string, documents: readonly TestDocument[], settings: object = {},
  activeShards = 'all',
): Promise<void> {
  const name = generationIndex(index, generation);
  const { settings: made, mappings } = indexBody(index, LAYOUT);
  const body = { settings: { index: { ...made.index, ...settings } }, mappings } as never;
  await client.indices.create({ index: name, wait_for_active_shards: activeShards, body });
  if (documents.length === 0) return;
  const lines = documents.flatMap(({ id, vector, fields }) => [{ index: { _id: id } }, { [VectorDocument.VECTOR]: vector, ...fields }]);
  const { body: answer } = await client.bulk({ index: name, body: lines, refresh: true });
  if (answer.errors) throw new Error(JSON.stringify(answer.items[0]));
}

/** The alias stands for this generation, and for no other. */
export async function switchAlias(client: Client, index: VectorIndexSchema, generation: string): Promise<void> {
  const others = { index: generationPattern(index), alias: index.name };
  const { body: known } = await client.indices.existsAlias({ name: index.name });
  await client.indices.updateAliases({
    body: { actions: [...known ? [{ remove: others }] : [], { add: { index: generationIndex(index, generation), alias: index.name } }] },
  });
}

/** The alias stands for this generation as well. */
export async function pointAlias(client: Client, index: VectorIndexSchema, generation: string): Promise<void> {
  await client.indices.updateAliases({ body: { actions: [{ add: { index: generationIndex(index, generation), alias: index.name } }] } });
}

/** One `_search` for each query, by the official client. */
export async function referenceSearch(client: Client, queries: readonly VectorQuery[]): Promise<VectorHits[]> {
  const answers: VectorHits[] = [];
  for (const { index, vector, k, filter = [] } of queries) {
    const conditions = filter.map(({ field, values }) => ({ terms: { [field]: values } }));
    const knn = { vector: Array.from(vector), k, ...filter.length > 0 ? { filter: { bool: { filter: conditions } } } : {} };
    const { body } = await client.search({
      index: index.name,
      body: {
        size: k,
        query: { knn: { [VectorDocument.VECTOR]: knn } },
        _source: { includes: index.fields.map(({ name }) => name) },
      } as never,
    });
    const hits = body.hits.hits as { _index: string; _id: string; _score: number; _source: Record<string, string | number | boolean> }[];
    const [concrete = ''] = hits.map(({ _index }) => _index);
    answers.push({
      generation: concrete.slice(index.name.length + GENERATION_SEPARATOR.length),
      hits: hits.map(({ _id, _score, _source }) => ({ id: _id, score: _score, fields: _source })),
    });
  }
  return answers;
}
