/** One index of a store: its template and policy, its first generation, and what of a changed declaration changes in place. Every step may be repeated. */
import { generationIndex, generationPattern, indexBody, indexMapping, SLOW_LOG_SETTINGS } from './index-body';
import { generationPolicy } from './lifecycle';
import type { StoreApi } from './store-api';
import { type DeclaredVectorIndex, FIRST_GENERATION, VectorDocument, type VectorIndexSchema, VectorStoreName } from '../../../src/contract';
import { BrainError } from '../errors';

/** Until a new index takes documents. */
const HEALTH_TIMEOUT = '30s';

/** Mapping of the live generation, as the store tells it. */
interface LiveMapping {
  readonly index: string;
  readonly properties: Readonly<Record<string, LiveField | undefined>>;
}

interface LiveField {
  readonly type: string;
  readonly dimension?: number;
  readonly data_type?: string;
  readonly method?: { readonly engine?: string; readonly space_type?: string };
}

/** Fails where searchers of the declared index and its live generation would misunderstand each other. An empty generation can be made again. */
export async function requireSafe(store: StoreApi, { schema }: DeclaredVectorIndex): Promise<void> {
  const live = await liveMapping(store, schema);
  if (live && misfits(schema, live).length > 0 && !await isEmpty(store, schema)) throw misfit(schema, live);
}

/** Makes what is missing of an index that is safe, and changes what changes in place. Graph, quantization and shards are for the next generation. */
export async function provideIndex(store: StoreApi, index: DeclaredVectorIndex, retentionDays: number | undefined): Promise<void> {
  const { schema, layout } = index;
  const live = await liveMapping(store, schema);
  await putTemplate(store, index);
  if (retentionDays !== undefined) await putPolicy(store, schema, retentionDays);
  if (live === undefined) return makeFirst(store, index);
  if (misfits(schema, live).length > 0) return replaceEmpty(store, index, live);
  await store.call('PUT', `/${live.index}/_mapping`, { body: { properties: fieldsOf(schema) } });
  await store.call('PUT', `/${live.index}/_settings`, { body: { index: { number_of_replicas: layout.replicas, ...SLOW_LOG_SETTINGS } } });
}

/** Removes template and policy, and the generations only where data is not kept. */
export async function removeIndex(store: StoreApi, { schema }: DeclaredVectorIndex, keepData: boolean): Promise<void> {
  const name = VectorStoreName.generations(schema.name);
  await store.call('DELETE', `/_index_template/${name}`, { accept: [404] });
  await store.call('DELETE', `/_plugins/_ism/policies/${name}`, { accept: [404] });
  if (keepData) return;
  const { body } = await store.call('GET', `/${generationPattern(schema)}/_alias`, { accept: [404] });
  // by name: a domain may refuse to delete by a pattern (`action.destructive_requires_name`)
  for (const concrete of Object.keys(body ?? {}).filter((found) => found.startsWith(generationIndex(schema, '')))) {
    await store.call('DELETE', `/${concrete}`, { accept: [404] });
  }
}

async function putTemplate(store: StoreApi, { schema, layout }: DeclaredVectorIndex): Promise<void> {
  const template = indexBody(schema, layout);
  await store.call('PUT', `/_index_template/${VectorStoreName.generations(schema.name)}`, {
    body: { index_patterns: [generationPattern(schema)], priority: 500, template },
  });
}

async function putPolicy(store: StoreApi, schema: VectorIndexSchema, retentionDays: number): Promise<void> {
  const path = `/_plugins/_ism/policies/${VectorStoreName.generations(schema.name)}`;
  await putVersioned(store, path, 'PUT', { policy: generationPolicy(schema, retentionDays) });
}

/** Makes a policy, or changes the one that is there, whose version the store wants to be told. @param create method that makes one */
export async function putVersioned(store: StoreApi, path: string, create: 'PUT' | 'POST', body: object): Promise<void> {
  const { status, body: found } = await store.call('GET', path, { accept: [404] });
  if (status === 404) {
    // somebody else made it between our look and our call: with the same body
    await store.call(create, path, { body, accept: [409] });
    return;
  }
  await store.call('PUT', path, { query: { if_seq_no: String(found._seq_no), if_primary_term: String(found._primary_term) }, body, accept: [409] });
}

/** The first generation has no documents, and stands behind the alias from the moment that it is made. */
async function makeFirst(store: StoreApi, { schema, layout }: DeclaredVectorIndex): Promise<void> {
  const concrete = generationIndex(schema, FIRST_GENERATION);
  const made = await store.call('PUT', `/${concrete}`, { body: { ...indexBody(schema, layout), aliases: { [schema.name]: {} } }, accept: [400] });
  if (made.status === 400) {
    if (made.body?.error?.type !== 'resource_already_exists_exception') throw refused(concrete, made.body);
    // a run before this one made it and died, or another one makes it right now; a build may have put another generation behind the alias since
    if (await liveMapping(store, schema) === undefined) {
      await store.call('POST', '/_aliases', { body: { actions: [{ add: { index: concrete, alias: schema.name } }] } });
    }
  }
  const health = await store.call('GET', `/_cluster/health/${concrete}`, { query: { wait_for_status: 'yellow', timeout: HEALTH_TIMEOUT }, accept: [408] });
  if (health.status === 408 || health.body.status === 'red') {
    throw new BrainError('VECTOR_STORE_UNAVAILABLE', `index '${concrete}' was made, but no node takes its shards: look at GET /_cluster/allocation/explain, then deploy again`);
  }
}

/** An empty generation holds nothing that a new declaration could lose: it is made again. */
async function replaceEmpty(store: StoreApi, index: DeclaredVectorIndex, live: LiveMapping): Promise<void> {
  await store.call('DELETE', `/${live.index}`, { accept: [404] });
  await makeFirst(store, index);
}

async function liveMapping(store: StoreApi, { name }: VectorIndexSchema): Promise<LiveMapping | undefined> {
  const { status, body } = await store.call('GET', `/${name}/_mapping`, { accept: [404] });
  if (status === 404) return undefined;
  const found = Object.entries(body as Record<string, { mappings: { properties?: LiveMapping['properties'] } }>);
  if (found.length !== 1) throw invalid(`the alias '${name}' stands for ${found.map(([index]) => index).join(' and ')}, it must stand for one: remove the others from it`);
  const [[index, { mappings }]] = found;
  if (index === name) throw invalid(`an index is called '${name}', which must be an alias of generations: reindex it into '${name}.1', delete it, and deploy again`);
  return { index, properties: mappings.properties ?? {} };
}

async function isEmpty(store: StoreApi, { name }: VectorIndexSchema): Promise<boolean> {
  return (await store.call('GET', `/${name}/_count`)).body.count === 0;
}

function misfit(schema: VectorIndexSchema, live: LiveMapping): BrainError {
  const found = misfits(schema, live);
  return invalid(`vector index '${schema.name}' is declared with ${found.map(([what, wanted]) => `${what} ${wanted}`).join(', ')}, but its live generation '${live.index}' has `
    + `${found.map(([what, , got]) => `${what} ${got}`).join(', ')}: nothing was changed. Declare it under a new name beside the old one, build `
    + 'generations of that, and move searchers to it');
}

/** What of the declaration the live generation is not: name, wanted, got. */
function misfits(schema: VectorIndexSchema, { properties }: LiveMapping): (readonly [string, unknown, unknown])[] {
  const vector = properties[VectorDocument.VECTOR];
  const declared = indexMapping(schema).properties[VectorDocument.VECTOR] as unknown as LiveField;
  const compared: (readonly [string, unknown, unknown])[] = [
    ['dimension', declared.dimension, vector?.dimension],
    ['similarity', declared.method?.space_type, vector?.method?.space_type],
    ['engine', declared.method?.engine, vector?.method?.engine],
    ['data type', declared.data_type ?? 'float', vector?.data_type ?? 'float'],
    ...schema.fields.map(({ name, type }) => [`type of field '${name}'`, type, properties[name]?.type ?? type] as const),
  ];
  return compared.filter(([, want, got]) => want !== got);
}

function fieldsOf(schema: VectorIndexSchema): object {
  return Object.fromEntries(schema.fields.map(({ name, type }) => [name, { type }]));
}

// eslint-disable-next-line @typescript-eslint/no-explicit-any
function refused(concrete: string, body: any): BrainError {
  return invalid(`the store refuses to make index '${concrete}': ${body?.error?.type}: ${body?.error?.reason}`);
}

function invalid(text: string): BrainError {
  return new BrainError('INVALID_CONFIGURATION', text);
}
