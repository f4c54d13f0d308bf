/** Brings a vector store to what is declared: access first, then snapshots, then indexes. Every step may be repeated, and repeated by two at a time. */
import { storeRoles } from './access';
import { snapshotPolicy } from './lifecycle';
import { provideAccess, removeAccess } from './provide-access';
import { provideIndex, putVersioned, removeIndex, requireSafe } from './provide-index';
import type { StoreApi } from './store-api';
import { type VectorStoreDeclaration, VectorStoreName } from '../../../src/contract';

const SNAPSHOT_POLICY = `/_plugins/_sm/policies/${VectorStoreName.SNAPSHOT_POLICY}`;
const REPOSITORY = `/_snapshot/${VectorStoreName.REPOSITORY}`;

/** @param before what was declared before; indexes that are no longer declared are removed */
export async function provideStore(store: StoreApi, declared: VectorStoreDeclaration, before?: VectorStoreDeclaration): Promise<void> {
  // what is refused is refused before anything has changed
  for (const index of declared.indexes) await requireSafe(store, index);
  for (const index of declared.indexes) await provideIndex(store, index, declared.retentionDays);
  await provideAccess(store, declared, before);
  if (declared.snapshots) {
    await store.call('PUT', REPOSITORY, { body: declared.snapshots.repository });
    await putVersioned(store, SNAPSHOT_POLICY, 'POST', snapshotPolicy(declared.indexes.map(({ schema }) => schema), declared.snapshots));
  } else {
    await removeSnapshots(store);
  }
  const names = new Set(declared.indexes.map(({ schema }) => schema.name));
  for (const gone of before?.indexes.filter(({ schema }) => !names.has(schema.name)) ?? []) await removeIndex(store, gone, declared.keepData);
}

/** Removes what was provided. Where data are kept, generations stay, and snapshots of them go on; snapshots are never deleted: without data, the repository is only forgotten. */
export async function removeStore(store: StoreApi, declared: VectorStoreDeclaration): Promise<void> {
  if (!declared.keepData) await removeSnapshots(store);
  for (const index of declared.indexes) await removeIndex(store, index, declared.keepData);
  await removeAccess(store, storeRoles(declared), declared.keepData);
}

async function removeSnapshots(store: StoreApi): Promise<void> {
  await store.call('DELETE', SNAPSHOT_POLICY, { accept: [404] });
  await store.call('DELETE', REPOSITORY, { accept: [404] });
}
