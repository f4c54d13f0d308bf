/** Roles of a store's own access control, and to whom they are mapped. Whom somebody mapped by hand stays: the builder of another stack, for one. */
import { type StoreRole, storeRoles } from './access';
import type { StoreApi } from './store-api';
import type { VectorStoreDeclaration } from '../../../src/contract';

/** What of a mapping can be written (OpenSearch documentation, "Access control API"). */
const MAPPED = ['backend_roles', 'and_backend_roles', 'hosts', 'users', 'description'] as const;
type Mapping = Partial<Record<typeof MAPPED[number], readonly string[] | string>>;

const rolePath = (name: string): string => `/_plugins/_security/api/roles/${encodeURIComponent(name)}`;
const mappingPath = (name: string): string => `/_plugins/_security/api/rolesmapping/${encodeURIComponent(name)}`;

/** @param before what was declared before: who is in it and no longer declared loses access, and nobody else */
export async function provideAccess(store: StoreApi, declared: VectorStoreDeclaration, before?: VectorStoreDeclaration): Promise<void> {
  const roles = storeRoles(declared);
  const past = new Map((before ? storeRoles(before) : []).map((role) => [role.name, role]));
  for (const { name, holders, ...permissions } of roles) {
    await store.call('PUT', rolePath(name), { body: permissions });
    await putMapping(store, name, await mappingWithout(store, name, past.get(name)?.holders ?? []), holders);
    past.delete(name);
  }
  await removeAccess(store, [...past.values()], declared.keepData);
}

/** Removes roles and mappings; a role stays where somebody else was mapped to it and data are kept, which are of use to nobody else. */
export async function removeAccess(store: StoreApi, roles: readonly StoreRole[], keepData: boolean): Promise<void> {
  for (const { name, holders } of roles) {
    const others = await mappingWithout(store, name, holders);
    if (keepData && hasSomebody(others)) {
      await putMapping(store, name, others, []);
      continue;
    }
    await store.call('DELETE', mappingPath(name), { accept: [404] });
    await store.call('DELETE', rolePath(name), { accept: [404] });
  }
}

/** What is mapped but for some backend roles. */
async function mappingWithout(store: StoreApi, name: string, gone: readonly string[]): Promise<Mapping> {
  const { status, body } = await store.call('GET', mappingPath(name), { accept: [404] });
  const found = status === 404 ? {} : (body as Record<string, Mapping>)[name] ?? {};
  const mapping = Object.fromEntries(MAPPED.flatMap((field) => (found[field] === undefined || found[field] === null ? [] : [[field, found[field]]])));
  return { ...mapping, backend_roles: listOf(found.backend_roles).filter((role) => !gone.includes(role)) };
}

async function putMapping(store: StoreApi, name: string, others: Mapping, holders: readonly string[]): Promise<void> {
  const body = { ...others, backend_roles: [...new Set([...listOf(others.backend_roles), ...holders])] };
  await store.call('PUT', mappingPath(name), { body });
}

const listOf = (value: Mapping['backend_roles']): readonly string[] => (Array.isArray(value) ? value : []);
const hasSomebody = ({ description: _, ...lists }: Mapping): boolean => Object.values(lists).some((list) => list.length > 0);
