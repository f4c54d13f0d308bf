/**
 * Memory of OpenSearch instance types, GiB at the size `large`, by family. They are those of EC2 with the same name (EC2 documentation, "Instance type
 * specifications", and OpenSearch Service developer guide, "Supported instance types"; read in November 2026).
 */
const GIB_AT_LARGE: { readonly [family: string]: number } = {
  t3: 8,
  c5: 4,
  c6g: 4,
  c7g: 4,
  c7i: 4,
  c8g: 4,
  m5: 8,
  m6g: 8,
  m7g: 8,
  m7i: 8,
  m8g: 8,
  om2: 8,
  r5: 16,
  r6g: 16,
  r6gd: 16,
  r7g: 16,
  r7gd: 16,
  r7i: 16,
  r8g: 16,
  or1: 16,
  or2: 16,
};

/** A size as a multiple of `large`. */
const SIZES: { readonly [size: string]: number } = {
  'small': 0.25, 'medium': 0.5, 'large': 1, 'xlarge': 2, '2xlarge': 4, '4xlarge': 8, '8xlarge': 16, '9xlarge': 18, '12xlarge': 24, '16xlarge': 32, '18xlarge': 36, '24xlarge': 48,
};

/**
 * Sizes that are proposed where more memory is needed, by family: those that the service's API names (OpenSearch Service API reference,
 * "InstanceTypeDetails"), and of `t3` none, of which the service makes small and medium ones only.
 */
const PROPOSED: { readonly [family: string]: readonly string[] } = {
  t3: [],
  c5: ['large', 'xlarge', '2xlarge', '4xlarge', '9xlarge', '18xlarge'],
  m5: ['large', 'xlarge', '2xlarge', '4xlarge', '12xlarge', '24xlarge'],
  r5: ['large', 'xlarge', '2xlarge', '4xlarge', '12xlarge', '24xlarge'],
  c6g: ['large', 'xlarge', '2xlarge', '4xlarge', '8xlarge', '12xlarge'],
  m6g: ['large', 'xlarge', '2xlarge', '4xlarge', '8xlarge', '12xlarge'],
  r6g: ['large', 'xlarge', '2xlarge', '4xlarge', '8xlarge', '12xlarge'],
  r6gd: ['large', 'xlarge', '2xlarge', '4xlarge', '8xlarge', '12xlarge', '16xlarge'],
  or1: ['large', 'xlarge', '2xlarge', '4xlarge', '8xlarge', '12xlarge', '16xlarge'],
};

/** Of a family that the API reference does not list size by size: what all other ones have. */
const COMMON = ['large', 'xlarge', '2xlarge', '4xlarge'];

/** Proposed beside larger types of the same family, for one that has none that is large enough. */
const LARGEST_FAMILY = 'r6g';

/** Most data nodes of a domain, without asking for more (developer guide, "Amazon OpenSearch Service quotas"). */
const MOST_NODES = 80;
const MOST_T3_NODES = 10;

/** OpenSearch Service gives the heap half of the memory, and 32 GiB at most (developer guide, "k-Nearest Neighbor (k-NN) search", sizing). */
const HEAP_SHARE = 0.5;
const MAX_HEAP_GIB = 32;

/**
 * Share of what the heap leaves that graphs in native memory may take: default of `knn.memory.circuit_breaker.limit` (OpenSearch documentation, "k-NN
 * settings"). Beyond it the plugin evicts graphs and stops taking documents.
 */
export const GRAPH_SHARE = 0.5;

/** Memory beside the heap of one node, GiB; undefined where the type is not known here. */
export function offHeapGiB(instanceType: string): number | undefined {
  const [, family = '', size = ''] = /^([a-z0-9]+)\.([a-z0-9]+)\.search$/.exec(instanceType) ?? [];
  const large = GIB_AT_LARGE[family];
  const multiple = SIZES[size];
  if (large === undefined || multiple === undefined) return undefined;
  const memory = large * multiple;
  return memory - Math.min(memory * HEAP_SHARE, MAX_HEAP_GIB);
}

/** Larger types, smallest first: of the same family, then of the one with the most memory. */
export function largerTypes(instanceType: string): string[] {
  const [own] = instanceType.split('.');
  const families = own === LARGEST_FAMILY ? [own] : [own, LARGEST_FAMILY];
  const memory = offHeapGiB(instanceType) ?? 0;
  return families.flatMap((family) => (PROPOSED[family] ?? COMMON).map((size) => `${family}.${size}.search`)).filter((type) => (offHeapGiB(type) ?? 0) > memory);
}

/** Most data nodes of this type. */
export function mostNodes(instanceType: string): number {
  return instanceType.startsWith('t3.') ? MOST_T3_NODES : MOST_NODES;
}
