/** What the template and the function that makes a vector store's indexes tell each other. */
import { GENERATION_SEPARATOR, RESERVED_INDEX, type VectorIndexLayout, type VectorIndexSchema } from './vector-schema';

/** Properties of the custom resource. CloudFormation turns numbers and booleans into text, hence one text of JSON. */
export const VectorProviderProperty = {
  /** `https://` and the domain's endpoint. */
  ENDPOINT: 'Endpoint',
  /** JSON of a {@link VectorStoreDeclaration}. */
  DECLARATION: 'Declaration',
} as const;

/** What is to be in the store. */
export interface VectorStoreDeclaration {
  readonly indexes: readonly DeclaredVectorIndex[];
  /** ARNs of the roles that search. */
  readonly searchers: readonly string[];
  /** ARNs of the roles that restore snapshots into scratch indexes. */
  readonly keepers: readonly string[];
  readonly snapshots?: SnapshotDeclaration;
  /** How long a generation stays that no alias stands for, days. @default - for ever: the version of OpenSearch cannot tell */
  readonly retentionDays?: number;
  /** Whether generations outlive the declaration of their index, and the stack. */
  readonly keepData: boolean;
}

export interface DeclaredVectorIndex {
  readonly schema: VectorIndexSchema;
  readonly layout: VectorIndexLayout;
  /** ARNs of the roles that build generations of it. */
  readonly loaders: readonly string[];
}

/** Where snapshots go, and how many stay. */
export interface SnapshotDeclaration {
  /** Body of the request that registers the repository. */
  readonly repository: { readonly type: string; readonly settings: Readonly<Record<string, string | boolean>> };
  /** When one is taken: five fields of cron, UTC. */
  readonly schedule: string;
  /** How long one stays, days. */
  readonly retentionDays: number;
}

/** Names in a store. */
export const VectorStoreName = {
  /** Roles of the domain's own access control. */
  SEARCHER: 'thalos_vector_searcher',
  /** One for each index: who builds one does nothing to another. */
  loader: (index: string) => `thalos_vector_loader_${index}`,
  KEEPER: 'thalos_vector_keeper',
  REPOSITORY: 'thalos-vectors',
  /** Policy that takes and deletes snapshots. */
  SNAPSHOT_POLICY: 'thalos-vectors',
  /** Template and policy of an index's generations. */
  generations: (index: string) => `thalos-${index}`,
  /** A snapshot is restored as the generation of this index that is named by its own: no pattern of a declared index takes it in. */
  SCRATCH: `${RESERVED_INDEX}${GENERATION_SEPARATOR}drill`,
} as const;
