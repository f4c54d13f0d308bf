/** Who may do what in a vector store, by the roles that the custom resource makes, under OpenSearch's own access control. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { CloudFormationCustomResourceEvent } from 'aws-lambda';
import { GenerationBuilder, openGenerations, signer } from './builder';
import { runDrill } from './drill';
import { items, itemsIndex, ItemSequence } from './items';
import { ManagementProxy } from './management-proxy';
import { OpenSearchServer } from './opensearch-server';
import { CALLER_HEADERS } from './security-plugin';
import { OpenSearchHttp } from '../../../runtime/adapters/aws/opensearch-http';
import { OpenSearchSnapshots } from '../../../runtime/adapters/aws/opensearch-snapshots';
import { OpenSearchVectorSearch } from '../../../runtime/adapters/aws/opensearch-vector-search';
import { returnToPrevious } from '../../../runtime/core/vectors/generations';
import { onEvent } from '../../../runtime/handlers/vector-indexes.lambda';
import { VectorProviderProperty, VectorStoreName, type VectorStoreDeclaration } from '../../../src/contract';

jest.setTimeout(300_000);

const LAYOUT = { shards: 1, replicas: 0, buildReplicas: 0 };
const GATE = { k: 5, sample: 20, least: 0.8 };
const role = (name: string) => `arn:aws:iam::111111111111:role/${name}`;
const own = itemsIndex('own');
const beside = itemsIndex('beside');
/** Nobody declares it: it is somebody else's. */
const foreign = itemsIndex('foreign');
const declared: VectorStoreDeclaration = {
  indexes: [{ schema: own, layout: LAYOUT, loaders: [role('builder')] }, { schema: beside, layout: LAYOUT, loaders: [role('other')] }],
  searchers: [role('service')],
  keepers: [role('keeper')],
  snapshots: { repository: { type: 'fs', settings: { location: 'kept' } }, schedule: '30 */6 * * *', retentionDays: 14 },
  retentionDays: 30,
  keepData: true,
};

const CALLERS = ['master', 'service', 'builder', 'other', 'keeper', 'guest', 'stranger'] as const;
type Caller = typeof CALLERS[number];

let server: OpenSearchServer;
let endpoints: Record<Caller, ManagementProxy>;
const stores: OpenSearchVectorSearch[] = [];
const https: OpenSearchHttp[] = [];

const urlOf = (caller: Caller) => `http://127.0.0.1:${endpoints[caller].port}`;
const documents = (seed: number, prefix: string) => items(new ItemSequence(seed), 200, prefix);
const open = (endpoint: string) => {
  const http = new OpenSearchHttp({ endpoint, signer: signer() });
  https.push(http);
  return http;
};
const as = (caller: Caller) => open(urlOf(caller));
const searcher = (caller: Caller) => {
  const store = new OpenSearchVectorSearch({ endpoint: urlOf(caller), signer: signer() });
  stores.push(store);
  return store;
};
const provide = (type: 'Create' | 'Update', now = declared, before = declared) => {
  const properties = (given: VectorStoreDeclaration) => ({
    ServiceToken: 'token', [VectorProviderProperty.ENDPOINT]: urlOf('master'), [VectorProviderProperty.DECLARATION]: JSON.stringify(given),
  });
  const event = { RequestType: type, ResourceProperties: properties(now), OldResourceProperties: properties(before) };
  return onEvent(event as unknown as CloudFormationCustomResourceEvent, open, { sleep, now: Date.now, until: Date.now() + 60_000 });
};
const build = (caller: Caller, index = own, id = 'one') => new GenerationBuilder(openGenerations(urlOf(caller)), index).run(id, [documents(1, `${id}-`)]);
const search = (caller: Caller, index = own) => searcher(caller).search([{ index, vector: new ItemSequence(3).vector(), k: 3 }]);

beforeAll(async () => {
  server = await OpenSearchServer.start({ 'rest.action.multi.allow_explicit_index': 'false' }, { master: role('master') });
  const started = await Promise.all(CALLERS.map((name) => ManagementProxy.start(server.port, {
    security: false, headers: { [CALLER_HEADERS.user]: role(name), [CALLER_HEADERS.roles]: role(name), 'x-forwarded-for': '10.0.0.1' },
  })));
  endpoints = Object.fromEntries(CALLERS.map((name, at) => [name, started[at]])) as typeof endpoints;
  await provide('Create');
  await build('master', foreign);
});
afterAll(async () => {
  await Promise.all(stores.map((store) => store.close()));
  for (const http of https) http.close();
  await Promise.all(Object.values(endpoints ?? {}).map((endpoint) => endpoint.close()));
  await server?.stop();
});

const REFUSED = { status: 403 };

test('a loader builds generations, switches and returns, and does nothing to an index of others', async () => {
  expect(await build('builder', own, 'one')).toBe('2');
  expect(await build('builder', own, 'two')).toBe('3');
  expect(await returnToPrevious(openGenerations(urlOf('builder')), own.name)).toEqual({ from: '3', to: '2' });
  await expect(build('builder', foreign)).rejects.toMatchObject(REFUSED);
  await expect(as('builder').call('DELETE', '/foreign.1')).rejects.toMatchObject(REFUSED);
});

test('a loader of one index does nothing to another of the same store: it deletes, seals, fills and takes away none of it', async () => {
  expect(await build('other', beside)).toBe('2');
  await expect(build('builder', beside, 'theirs')).rejects.toMatchObject(REFUSED);
  const aliases = (...actions: object[]) => ['POST', '/_aliases', { actions }] as const;
  for (const [method, path, body] of [
    ['DELETE', '/beside.2'],
    ['PUT', '/beside.2/_settings', { index: { 'blocks.write': false } }],
    ['PUT', '/beside.2/_doc/x', {}],
    ['POST', '/beside.2/_forcemerge'],
    ['PUT', '/beside.3'],
    ['POST', '/beside/_search'],
    aliases({ remove_index: { index: 'beside.1' } }),
    aliases({ remove: { index: 'beside.2', alias: beside.name } }),
    aliases({ add: { index: 'beside.1', alias: beside.name } }),
    aliases({ add: { index: 'own.2', alias: own.name } }, { remove_index: { index: 'beside.1' } }),
  ] as const) await expect(as('builder').call(method, path, { body })).rejects.toMatchObject(REFUSED);
  const [{ generation, hits }] = await search('service', beside);
  expect([generation, hits.length]).toEqual(['2', 3]);
});

test('an alias has no rights of its own: where a generation of one is put behind that of another, its answer is none, alone and beside the true one', async () => {
  const change = (caller: 'builder' | 'master', action: 'add' | 'remove', index: string) => as(caller).call('POST', '/_aliases', { body: { actions: [{ [action]: { index, alias: foreign.name } }] } });
  const refused = (text: string) => expect(search('master', foreign)).rejects.toMatchObject({ code: 'VECTOR_STORE_UNAVAILABLE', message: expect.stringContaining(text) });
  await change('builder', 'add', 'own.2');
  await refused('must stand for one generation');
  await change('master', 'remove', 'foreign.1');
  await refused('stands for own.2, which is no generation of this index');
  await change('master', 'add', 'foreign.1');
  await change('builder', 'remove', 'own.2');
  expect(await search('master', foreign)).toHaveLength(1);
});

test('a searcher searches its index through the alias, and reads, writes and deletes nothing else', async () => {
  const [{ generation, hits }] = await search('service');
  expect([generation, hits.length]).toEqual(['2', 3]);
  const [none] = await searcher('service').search([{ index: own, vector: new ItemSequence(3).vector(), k: 3, filter: [{ field: 'town', values: ['nowhere'] }] }]);
  expect(none).toEqual({ generation: '2', hits: [] });
  await expect(search('service', foreign)).rejects.toMatchObject({ code: 'VECTOR_STORE_UNAVAILABLE' });
  for (const [method, path, body] of [
    ['GET', `/${foreign.name}/_search`], ['PUT', '/own.2/_doc/x', {}], ['DELETE', '/own.2'], ['POST', '/_aliases', { actions: [{ add: { index: 'own.3', alias: own.name } }] }],
    ['GET', '/_plugins/_security/api/roles'], ['GET', `/_snapshot/${VectorStoreName.REPOSITORY}/_all`], ['GET', '/thalos.builds/_doc/own'],
  ] as const) await expect(as('service').call(method, path, { body })).rejects.toMatchObject(REFUSED);
});

test('a keeper restores a snapshot beside the original, which it cannot change, and takes none', async () => {
  await as('master').call('PUT', `/_snapshot/${VectorStoreName.REPOSITORY}/daily-1`, { query: { wait_for_completion: 'true' }, body: { indices: 'own.*', include_global_state: false } });
  const repository = new OpenSearchSnapshots(as('keeper'), VectorStoreName.REPOSITORY, { buildReplicas: 0 });
  const verdict = await runDrill({ cluster: openGenerations(urlOf('keeper')), repository }, own, GATE);
  expect(verdict.report).toMatchObject({ snapshot: 'daily-1', generation: '2', completeness: 1 });
  for (const [method, path] of [
    ['PUT', `/_snapshot/${VectorStoreName.REPOSITORY}/daily-2`], ['DELETE', '/own.2'],
    ['DELETE', `/_snapshot/${VectorStoreName.REPOSITORY}/daily-1`], ['GET', '/foreign/_search'], ['GET', '/_plugins/_security/api/roles'],
  ]) {
    await expect(as('keeper').call(method, path)).rejects.toMatchObject(REFUSED);
  }
});

test('whom somebody mapped by hand may do so after the next deployment, and who is no longer declared may not', async () => {
  const mapping = `/_plugins/_security/api/rolesmapping/${VectorStoreName.SEARCHER}`;
  await expect(search('guest')).rejects.toMatchObject({ code: 'VECTOR_STORE_UNAVAILABLE' });
  await as('master').call('PUT', mapping, { body: { backend_roles: [role('service'), role('guest')], users: ['somebody'] } });
  await provide('Update');
  expect(await search('guest')).toHaveLength(1);
  expect((await as('master').call('GET', mapping)).body[VectorStoreName.SEARCHER]).toMatchObject({ backend_roles: [role('guest'), role('service')], users: ['somebody'] });
  await provide('Update', { ...declared, searchers: [] });
  expect(await search('guest')).toHaveLength(1);
  await expect(search('service')).rejects.toMatchObject({ code: 'VECTOR_STORE_UNAVAILABLE' });
  await provide('Update', declared, { ...declared, searchers: [] });
  expect(await search('service')).toHaveLength(1);
});

test('what is refused is written into the audit log, without bodies of requests', async () => {
  const { body: { config } } = await as('master').call('GET', '/_plugins/_security/api/audit');
  expect(config).toMatchObject({ enabled: true, audit: { enable_rest: true, enable_transport: true, log_request_body: false } });
  for (const layer of ['rest', 'transport']) expect(config.audit[`disabled_${layer}_categories`]).not.toContain('MISSING_PRIVILEGES');
});

test('whom no role names may do nothing', async () => {
  await expect(search('stranger')).rejects.toMatchObject({ code: 'VECTOR_STORE_UNAVAILABLE' });
  for (const path of ['/own/_search', '/_cat/indices', '/_plugins/_security/api/roles']) await expect(as('stranger').call('GET', path)).rejects.toMatchObject(REFUSED);
});
