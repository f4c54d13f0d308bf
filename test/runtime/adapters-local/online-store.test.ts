import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { findNatives } from '../../../runtime/adapters/local/natives';
import { LmdbFeatureStore } from '../../../runtime/adapters/local/online-store';
import type { FeatureGroupSchema } from '../../../src/contract';
import { expiryContract } from '../contract/expiry.contract';
import { onlineStoreContract } from '../contract/online-store.contract';

const natives = findNatives();
const GROUP: FeatureGroupSchema = {
  name: 'drivers',
  version: 1,
  owner: 'fleet',
  entityKeys: [{ name: 'driver', dtype: 'string' }],
  features: [{ name: 'trips', dtype: 'int32', required: false, piiClass: 'none' }, { name: 'rating', dtype: 'float64', required: false, piiClass: 'none' }],
};

describe('the embedded online store', () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'thalos-online-'));
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  describe('keeps the contract of online stores', () => {
    onlineStoreContract(async () => LmdbFeatureStore.open(natives, folder));
  });

  describe('expires as the offline store does', () => {
    expiryContract(async () => LmdbFeatureStore.open(natives, folder));
  });

  test('rows survive closing and opening', async () => {
    const first = LmdbFeatureStore.open(natives, folder);
    await first.write([{ group: GROUP, entity: ['a'], eventTime: 1, createdTime: 2, values: { trips: 3 } }]);
    await first.markApplied(GROUP, 7);
    await first.close();
    const second = LmdbFeatureStore.open(natives, folder);
    expect(await second.read([{ group: GROUP, entity: ['a'] }])).toEqual([{ eventTime: 1, createdTime: 2, values: { trips: 3 } }]);
    expect(second.appliedSnapshot(GROUP)).toBe(7);
    expect(second.appliedSnapshot({ ...GROUP, version: 2 })).toBe(0);
    await second.close();
  });

  test('is not opened where its file is another one, which LMDB would not survive; an empty one becomes its own', async () => {
    const file = join(folder, 'data.mdb');
    await LmdbFeatureStore.open(natives, folder).close();
    const own = readFileSync(file);
    for (const bytes of [Buffer.from('mine'), Buffer.alloc(100_000), Buffer.alloc(100_000, 7), own.subarray(0, 5000)]) {
      writeFileSync(file, bytes);
      expect(() => LmdbFeatureStore.open(natives, folder)).toThrow(`DATA_DIR_CORRUPT: ${file} is no file of LMDB's`);
      expect(readFileSync(file)).toEqual(bytes);
    }
    for (const bytes of [own, Buffer.alloc(0)]) {
      writeFileSync(file, bytes);
      await LmdbFeatureStore.open(natives, folder).close();
    }
  });

  test('entities with keys longer than the tree takes are kept apart', async () => {
    const store = LmdbFeatureStore.open(natives, folder);
    const entities = [1900, 1966, 1967, 1968, 1969, 1970, 2000, 2036, 2037, 2100, 5000].flatMap((length) => [`${'x'.repeat(length)}1`, `${'x'.repeat(length)}2`]);
    await store.write(entities.map((entity, trips) => ({ group: GROUP, entity: [entity], eventTime: 1, createdTime: 1, values: { trips } })));
    const rows = await store.read([...entities, 'x'.repeat(5001)].map((entity) => ({ group: GROUP, entity: [entity] })));
    expect(rows.map((row) => row?.values.trips)).toEqual([...entities.keys(), undefined]);
    await store.close();
  });

  test('an open store sees what another process writes, in sets of features that it never saw', async () => {
    const store = LmdbFeatureStore.open(natives, folder);
    await store.write([{ group: GROUP, entity: ['a'], eventTime: 1, createdTime: 1, values: { trips: 1 } }]);
    const script = `
      const { findNatives } = require('./runtime/adapters/local/natives.ts');
      const { LmdbFeatureStore } = require('./runtime/adapters/local/online-store.ts');
      const store = LmdbFeatureStore.open(findNatives(), ${JSON.stringify(folder)});
      const group = ${JSON.stringify(GROUP)};
      const row = (entity, values) => ({ group, entity: [entity], eventTime: 2, createdTime: 2, values });
      store.write([row('a', { trips: 5, rating: 0.5 }), row('b', { rating: 1.5 })]).then(() => store.close());
    `;
    execFileSync(process.execPath, ['--import', 'tsx', '-e', script], { cwd: join(__dirname, '../../..'), stdio: 'pipe' });
    const rows = await store.read([{ group: GROUP, entity: ['a'] }, { group: GROUP, entity: ['b'] }]);
    expect(rows.map((row) => row?.values)).toEqual([{ trips: 5, rating: 0.5 }, { rating: 1.5 }]);
    await store.close();
  });
});
