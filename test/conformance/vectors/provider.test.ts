/** What the custom resource does to a real OpenSearch: once, again, half, at the same time, refused, away, and against a store that fails. */
import type { Client } from '@opensearch-project/opensearch';
import type { CloudFormationCustomResourceEvent } from 'aws-lambda';
import { signer } from './builder';
import { addGeneration, switchAlias } from './indexes';
import { items, itemsIndex, ItemSequence } from './items';
import { ManagementProxy } from './management-proxy';
import { OpenSearchServer } from './opensearch-server';
import { OpenSearchHttp } from '../../../runtime/adapters/aws/opensearch-http';
import type { StorePatience } from '../../../runtime/core/vectors/patient-store';
import { onEvent } from '../../../runtime/handlers/vector-indexes.lambda';
import { VectorProviderProperty, type VectorIndexSchema, type VectorStoreDeclaration } from '../../../src/contract';
import { FaultProxy } from '../../support/fault-proxy';
import { HttpFaults } from '../../support/http-faults';

jest.setTimeout(300_000);

const LOADERS = ['arn:aws:iam::111111111111:role/builder'];
const LAYOUT = { shards: 1, replicas: 0, buildReplicas: 0 };
let server: OpenSearchServer;
let client: Client;
let store: ManagementProxy;
let declared: VectorStoreDeclaration;
let index: VectorIndexSchema;
let made = 0;

beforeAll(async () => {
  server = await OpenSearchServer.start();
  client = server.client();
});
afterAll(() => server?.stop());

beforeEach(async () => {
  store = await ManagementProxy.start(server.port, { security: true });
  index = itemsIndex(`own-${++made}`);
  declared = {
    indexes: [{ schema: index, layout: LAYOUT, loaders: LOADERS }],
    searchers: ['arn:aws:iam::111111111111:role/service'],
    keepers: [],
    snapshots: { repository: { type: 'fs', settings: { location: `at-${made}` } }, schedule: '30 */6 * * *', retentionDays: 14 },
    retentionDays: 30,
    keepData: true,
  };
});
afterEach(() => store.close());

const open = (endpoint: string) => new OpenSearchHttp({ endpoint, signer: signer() });
/** Waits pass at once, and are counted on a clock of their own. */
const patience = (): StorePatience => {
  let passed = 0;
  return { sleep: async (ms) => void (passed += ms), now: () => passed, until: 600_000 };
};

interface Request {
  readonly type?: 'Create' | 'Update' | 'Delete';
  readonly now?: VectorStoreDeclaration;
  readonly before?: VectorStoreDeclaration;
  readonly port?: number;
}

function run({ type = 'Create', now = declared, before = now, port = store.port }: Request = {}): Promise<Record<string, string>> {
  const properties = (given: VectorStoreDeclaration) => ({
    ServiceToken: 'token', [VectorProviderProperty.ENDPOINT]: `http://127.0.0.1:${port}`, [VectorProviderProperty.DECLARATION]: JSON.stringify(given),
  });
  const event = { RequestType: type, ResourceProperties: properties(now), OldResourceProperties: properties(before) };
  return onEvent(event as unknown as CloudFormationCustomResourceEvent, open, patience());
}

const redeclared = (change: Partial<VectorIndexSchema>): VectorStoreDeclaration => (
  { ...declared, indexes: [{ schema: { ...index, ...change }, layout: LAYOUT, loaders: LOADERS }] }
);
const behind = async (alias: string) => Object.keys((await client.indices.getAlias({ name: alias })).body);
const exists = async (name: string) => (await client.indices.exists({ index: name })).body;
const indexesOf = async (name: string) => ((await client.cat.indices({ index: `${name}.*`, format: 'json' })).body as { index: string }[]).map((found) => found.index).sort();

async function liveDocuments(generation: string): Promise<void> {
  await addGeneration(client, index, generation, items(new ItemSequence(3), 5));
  await switchAlias(client, index, generation);
}

describe('the function that makes the indexes of a vector store', () => {
  test('makes an empty first generation behind the alias, which searches find at once', async () => {
    expect(await run()).toEqual({ Indexes: index.name });
    expect(await behind(index.name)).toEqual([`${index.name}.1`]);
    const query = { knn: { vector: { vector: new Array(16).fill(1), k: 3 } } };
    const { body } = await client.search({ index: index.name, body: { query } as never });
    expect(body.hits.hits).toEqual([]);
  });

  test('makes policies that their schemas accept, for this index alone', async () => {
    await run();
    const { policy } = store.at(`/_plugins/_ism/policies/thalos-${index.name}`);
    expect(policy.ism_template).toEqual([{ index_patterns: [`${index.name}.*`], priority: 100 }]);
    const names = policy.states.map(({ name }: { name: string }) => name);
    // every transition leads somewhere, and only what no alias stands for is deleted
    for (const { name, transitions } of policy.states) {
      for (const { state_name, conditions } of transitions) {
        expect(names).toContain(state_name);
        if (state_name === 'deleted') expect(['built', 'retired']).toContain(name);
        if (state_name === 'retired') expect(conditions).toEqual({ no_alias: true });
      }
    }
    expect(store.at('/_plugins/_sm/policies/thalos-vectors')).toMatchObject({ snapshot_config: { indices: `${index.name}.*`, include_global_state: false, partial: false } });
  });

  test('registers a repository that takes a snapshot and gives it back', async () => {
    await run();
    await liveDocuments('2');
    const { body: { snapshot } } = await client.snapshot.create({ repository: 'thalos-vectors', snapshot: 'one', wait_for_completion: true, body: { indices: `${index.name}.2` } });
    expect(snapshot).toMatchObject({ state: 'SUCCESS', indices: [`${index.name}.2`] });
    const rename = { indices: `${index.name}.2`, include_aliases: false, rename_pattern: '(.+)', rename_replacement: `thalos.drill.${index.name}` };
    await client.snapshot.restore({ repository: 'thalos-vectors', snapshot: 'one', wait_for_completion: true, body: rename });
    expect((await client.count({ index: `thalos.drill.${index.name}` })).body.count).toBe(5);
    await client.indices.delete({ index: `thalos.drill.${index.name}` });
  });

  test('of a domain that is lost, a snapshot comes back in another by the steps of docs/restore-vectors.md', async () => {
    await run();
    await liveDocuments('2');
    const { body: { snapshot } } = await client.snapshot.create({ repository: 'thalos-vectors', snapshot: 'last', wait_for_completion: true, body: { indices: `${index.name}.*` } });
    expect(snapshot!.state).toBe('SUCCESS');
    await client.indices.delete({ index: [`${index.name}.1`, `${index.name}.2`] });
    // the same stack over an empty domain
    const saved = declared.snapshots!.repository.settings.location;
    declared = { ...declared, snapshots: { ...declared.snapshots!, repository: { type: 'fs', settings: { location: `new-${made}` } } } };
    await run();
    expect((await client.count({ index: index.name })).body.count).toBe(0);

    await client.snapshot.createRepository({ repository: 'lost', body: { type: 'fs', settings: { location: saved, readonly: true } } as never });
    const restored = { indices: `${index.name}.2`, include_aliases: false, include_global_state: false };
    await client.snapshot.restore({ repository: 'lost', snapshot: 'last', wait_for_completion: true, body: restored });
    const actions = [{ remove: { index: `${index.name}.1`, alias: index.name, must_exist: true } }, { add: { index: `${index.name}.2`, alias: index.name } }];
    await client.indices.updateAliases({ body: { actions } as never });
    expect((await client.count({ index: index.name })).body.count).toBe(5);
    // and the next deployment takes it for its own
    await run({ type: 'Update' });
    expect(await behind(index.name)).toEqual([`${index.name}.2`]);
    await client.snapshot.deleteRepository({ repository: 'lost' });
  });

  test('gives a new generation its mapping, also where somebody makes it by hand', async () => {
    await run();
    await client.indices.create({ index: `${index.name}.9` });
    const { body } = await client.indices.getMapping({ index: `${index.name}.9` });
    expect((body as any)[`${index.name}.9`].mappings).toMatchObject({ dynamic: 'strict', properties: { vector: { type: 'knn_vector', dimension: index.dimension }, town: { type: 'keyword' } } });
  });

  test('changes nothing when it is called again, and follows a changed policy by its version', async () => {
    await run();
    await liveDocuments('2');
    await run();
    await run({ type: 'Update', now: { ...declared, retentionDays: 7 } });
    expect(await behind(index.name)).toEqual([`${index.name}.2`]);
    expect((await client.count({ index: index.name })).body.count).toBe(5);
    expect(store.at(`/_plugins/_ism/policies/thalos-${index.name}`).policy.states[2].transitions[1]).toEqual({ state_name: 'deleted', conditions: { min_state_age: '7d' } });
  });

  test('lets slow requests be logged, of a generation that was there before as well', async () => {
    await run();
    await liveDocuments('2');
    const slow = async (generation: string) => {
      const name = `${index.name}.${generation}`;
      const { body } = await client.indices.getSettings({ index: name, flat_settings: true });
      return Object.fromEntries(Object.entries((body as any)[name].settings).filter(([setting]) => setting.includes('slowlog')));
    };
    const wanted = {
      'index.search.slowlog.threshold.query.warn': '1s', 'index.indexing.slowlog.threshold.index.warn': '5s', 'index.indexing.slowlog.source': 'false',
    };
    expect(await slow('1')).toEqual(wanted);
    await client.indices.putSettings({ index: `${index.name}.2`, body: Object.fromEntries(Object.keys(wanted).map((setting) => [setting, null])) });
    expect(await slow('2')).toEqual({});
    await run({ type: 'Update' });
    expect(await slow('2')).toEqual(wanted);
  });

  test('comes to the same when it is called twice at the same time', async () => {
    await Promise.all([run(), run(), run()]);
    expect(await behind(index.name)).toEqual([`${index.name}.1`]);
    expect(await indexesOf(index.name)).toEqual([`${index.name}.1`]);
  });

  test('goes on with an index that a run before it made, and died', async () => {
    await client.indices.create({
      index: `${index.name}.1`,
      body: {
        settings: { index: { knn: true, number_of_replicas: 0 } },
        mappings: {
          properties: {
            vector: { type: 'knn_vector', dimension: index.dimension, method: { name: 'hnsw', engine: 'lucene', space_type: 'cosinesimil' } },
          },
        },
      } as never,
    });
    await run();
    expect(await behind(index.name)).toEqual([`${index.name}.1`]);
  });

  test('takes up new fields and copies in place', async () => {
    await run();
    await liveDocuments('2');
    const fields = [...index.fields, { name: 'added', type: 'long' as const }];
    await run({ type: 'Update', now: redeclared({ fields }), before: declared });
    const { body } = await client.indices.getMapping({ index: index.name });
    expect((body as any)[`${index.name}.2`].mappings.properties.added).toEqual({ type: 'long' });
  });

  test.each<[string, Partial<VectorIndexSchema>, RegExp]>([
    ['dimension', { dimension: 8 }, /declared with dimension 8, but its live generation 'own-\d+\.2' has dimension 16: nothing was changed\. Declare it under a new name/],
    ['similarity', { similarity: 'l2' }, /similarity l2, but .* similarity cosinesimil/],
    ['engine', { engine: 'faiss' }, /engine faiss, but .* engine lucene/],
    ['type of a field', { fields: [{ name: 'town', type: 'long' }] }, /type of field 'town' long, but .* keyword/],
  ])('refuses another %s while documents are searched, and says what to do', async (_, change, message) => {
    await run();
    await liveDocuments('2');
    const policies = JSON.stringify(store.at(`/_plugins/_ism/policies/thalos-${index.name}`));
    await expect(run({ type: 'Update', now: { ...redeclared(change), retentionDays: 1 }, before: declared })).rejects.toThrow(message);
    expect(await behind(index.name)).toEqual([`${index.name}.2`]);
    expect(JSON.stringify(store.at(`/_plugins/_ism/policies/thalos-${index.name}`))).toBe(policies);
  });

  test('makes an empty generation again as it is declared now, and accepts a built one that fits', async () => {
    await run();
    const now = redeclared({ dimension: 8 });
    await run({ type: 'Update', now, before: declared });
    expect((await client.indices.getMapping({ index: index.name })).body).toMatchObject({ [`${index.name}.1`]: { mappings: { properties: { vector: { dimension: 8 } } } } });
    await liveDocuments('2');
    await run({ type: 'Update', now: declared, before: now });
    expect(await behind(index.name)).toEqual([`${index.name}.2`]);
  });

  test('refuses an index in the place of its alias', async () => {
    await client.indices.create({ index: index.name });
    await expect(run()).rejects.toThrow(/an index is called 'own-\d+', which must be an alias of generations: reindex it/);
    await client.indices.delete({ index: index.name });
  });

  test.each([[true, 'keeps'], [false, 'deletes']])('where data is kept (%s), %s the generations of what is no longer declared, and of what goes', async (keepData) => {
    const other = itemsIndex(`other-${made}`);
    const both = { ...declared, keepData, indexes: [...declared.indexes, { schema: other, layout: LAYOUT, loaders: LOADERS }] };
    await run({ now: both });
    await run({ type: 'Update', now: { ...declared, keepData }, before: both });
    expect(await exists(`${other.name}.1`)).toBe(keepData);
    expect(store.at(`/_plugins/_ism/policies/thalos-${other.name}`)).toBeUndefined();
    expect(await exists(`${index.name}.1`)).toBe(true);

    await run({ type: 'Delete', now: { ...declared, keepData } });
    expect(await exists(`${index.name}.1`)).toBe(keepData);
    // what is kept goes on to be saved
    expect(store.at('/_plugins/_sm/policies/thalos-vectors') !== undefined).toBe(keepData);
    const repositories = (await client.snapshot.getRepository()).body;
    expect('thalos-vectors' in repositories).toBe(keepData);
    expect((await client.indices.existsIndexTemplate({ name: `thalos-${index.name}` })).body).toBe(false);
    expect(store.at('/_plugins/_security/api/roles/thalos_vector_searcher')).toBeUndefined();
  });

  test('deletes what is not there, twice', async () => {
    await run({ type: 'Delete' });
    await run({ type: 'Delete', now: { ...declared, keepData: false } });
    expect(await exists(`${index.name}.1`)).toBe(false);
  });
});

describe('a store that fails', () => {
  const JSON_TYPE = { 'content-type': 'application/json' };
  const FORBIDDEN = { status: 403, body: '{"Message":"User is not authorized"}', headers: JSON_TYPE };
  let faults: HttpFaults;
  beforeEach(async () => {
    faults = await HttpFaults.start(store.port);
  });
  afterEach(() => faults.close());

  test.each([
    ['forbids until IAM has settled', 6, FORBIDDEN],
    ['does not know its master yet', 4, { status: 401, body: '{}', headers: JSON_TYPE }],
    ['has too much to do', 5, { status: 429, body: '{"error":{"type":"rejected_execution_exception"}}', headers: JSON_TYPE }],
    ['is not up yet', 5, { status: 503, body: 'no', headers: {} }],
  ])('%s is asked again until all is made', async (_, times, answer) => {
    faults.answerNext(times, answer);
    expect(await run({ port: faults.port })).toEqual({ Indexes: index.name });
    expect(faults.answered).toBe(times);
    expect(await behind(index.name)).toEqual([`${index.name}.1`]);
  });

  test('throttles a third of everything, comes to the same', async () => {
    faults.answerShare(0.34, { status: 429, body: '{}', headers: JSON_TYPE });
    await run({ port: faults.port });
    await run({ port: faults.port, type: 'Update' });
    expect(await behind(index.name)).toEqual([`${index.name}.1`]);
    expect(await indexesOf(index.name)).toEqual([`${index.name}.1`]);
  });

  test('forbids for good, ends with a message that a person can act on', async () => {
    faults.answerShare(1, FORBIDDEN);
    await expect(run({ port: faults.port })).rejects.toThrow(/refuses GET \/own-\d+\/_mapping \(HTTP 403, User is not authorized.*asked again for 1\d\d s: the role of this function must be master/);
    // a creation that never reached the domain can be rolled back
    expect(await run({ port: faults.port, type: 'Delete' })).toEqual({});
  });

  test('breaks connections in the middle, or is not there, is asked again', async () => {
    const proxy = await FaultProxy.start(store.port);
    try {
      proxy.set({ kind: 'refuse' });
      const waits: number[] = [];
      const event = {
        RequestType: 'Create',
        ResourceProperties: { [VectorProviderProperty.ENDPOINT]: `http://127.0.0.1:${proxy.port}`, [VectorProviderProperty.DECLARATION]: JSON.stringify(declared) },
      } as unknown as CloudFormationCustomResourceEvent;
      const sleep = async (ms: number) => {
        waits.push(ms);
        proxy.set(waits.length === 1 ? { kind: 'reset', afterBytes: 40 } : { kind: 'pass' });
      };
      await onEvent(event, open, { sleep, now: () => 0, until: 600_000 });
      expect(waits.length).toBeGreaterThanOrEqual(2);
      expect(await behind(index.name)).toEqual([`${index.name}.1`]);
    } finally {
      await proxy.close();
    }
  });
});
