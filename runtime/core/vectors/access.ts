/** Roles of a store's own access control: what searchers, loaders and keepers may do, and nothing else (OpenSearch documentation, "Permissions"). */
import { generationIndex, generationPattern } from './index-body';
import { type DeclaredVectorIndex, VECTOR_BUILDS_INDEX, type VectorStoreDeclaration, VectorStoreName } from '../../../src/contract';

interface IndexPermission {
  readonly index_patterns: readonly string[];
  readonly allowed_actions: readonly string[];
}

export interface StoreRole {
  readonly name: string;
  readonly cluster_permissions: readonly string[];
  readonly index_permissions: readonly IndexPermission[];
  /** ARNs of the roles of IAM that have it. */
  readonly holders: readonly string[];
}

/** Searches the aliases, and learns which generation stands behind one. */
const SEARCH = ['indices:data/read/search', 'indices:admin/aliases/get'];

/** Makes a generation, fills it, measures it, switches the alias, and deletes what is old. */
const LOAD = [
  ...SEARCH, 'indices:admin/create', 'indices:admin/delete', 'indices:admin/aliases', 'indices:admin/settings/update', 'indices:admin/refresh*',
  'indices:admin/forcemerge*', 'indices:admin/mapping/put', 'indices:monitor/stats', 'indices:data/write/bulk*', 'indices:data/write/index',
];

/** Writes down who builds what. */
const RECORD = ['indices:admin/create', 'indices:data/read/get', 'indices:data/read/mget*', 'indices:data/write/bulk*', 'indices:data/write/index', 'indices:data/write/delete'];

/** Looks at the live generation and at a restored one, which it makes and deletes. */
const KEEP_LIVE = ['indices:data/read/search', 'indices:admin/aliases/get', 'indices:admin/mappings/get'];
const KEEP_SCRATCH = ['indices:admin/create', 'indices:admin/delete', 'indices:admin/get', 'indices:data/read/search', 'indices:admin/refresh*', 'indices:data/write/index'];

export function storeRoles({ indexes, searchers, keepers }: VectorStoreDeclaration): StoreRole[] {
  const aliases = indexes.map(({ schema }) => schema.name);
  const generations = indexes.map(({ schema }) => generationPattern(schema));
  const scratch = indexes.map(({ schema }) => generationIndex({ name: VectorStoreName.SCRATCH }, schema.name));
  return [
    {
      name: VectorStoreName.SEARCHER,
      cluster_permissions: ['indices:data/read/msearch'],
      index_permissions: [{ index_patterns: [...aliases, ...generations], allowed_actions: SEARCH }],
      holders: searchers,
    },
    ...indexes.map(loaderRole),
    {
      name: VectorStoreName.KEEPER,
      cluster_permissions: ['cluster:admin/snapshot/get', 'cluster:admin/snapshot/restore', 'cluster:monitor/health'],
      index_permissions: [
        { index_patterns: [...aliases, ...generations], allowed_actions: KEEP_LIVE },
        { index_patterns: scratch, allowed_actions: KEEP_SCRATCH },
      ],
      holders: keepers,
    },
  ];
}

/** The records of all builds are in one index: documents have no rights of their own where they are written. */
function loaderRole({ schema, loaders }: DeclaredVectorIndex): StoreRole {
  return {
    name: VectorStoreName.loader(schema.name),
    cluster_permissions: ['indices:data/write/bulk', 'indices:data/read/mget', 'cluster:monitor/health', 'cluster:admin/knn_warmup_action', 'cluster:admin/knn_stats_action'],
    index_permissions: [
      { index_patterns: [schema.name, generationPattern(schema)], allowed_actions: LOAD },
      { index_patterns: [VECTOR_BUILDS_INDEX], allowed_actions: RECORD },
    ],
    holders: loaders,
  };
}
