import { IConstruct } from 'constructs';
import { VectorIndexLayout } from '../contract';
import { VectorCapacity } from '../environment';
import { GRAPH_SHARE, largerTypes, mostNodes, offHeapGiB } from './data-node-memory';
import { graphBytes, graphPlace } from './index-memory';
import { VectorIndex } from './vector-index';
import { advise, fail } from '../private/fail';

/** Zones that data nodes stand in, where there is more than one node. */
export const ZONES = 3;

/**
 * Generations whose graphs of FAISS are in memory while one is warmed: the one that answers, the one before, and the new one. Nobody searches the one before,
 * but the plugin lets go of graphs only for want of room (`knn.cache.item.expiry.enabled` is off by default), which opens its circuit breaker.
 */
const LOADED_GENERATIONS = 3;

const GIB = 2 ** 30;

/** How an index lies on the nodes of a store. Fails where OpenSearch would refuse it, or leave copies without a node. */
export function layoutOf(scope: IConstruct, index: VectorIndex, { dataNodes, standby = false }: VectorCapacity): VectorIndexLayout {
  const { shards = 1, replicas = defaultReplicas(dataNodes, standby) } = index._size;
  const copies = replicas + 1;
  if (standby && copies % ZONES !== 0) {
    fail(scope, 'StandbyReplicas', `a domain with standby must have primary and replicas of vector index '${index.name}' in a multiple of ${ZONES}, got ${replicas} replicas: `
      + 'it refuses the index otherwise; use 2, 5 or 8');
  }
  if (copies > dataNodes) {
    fail(scope, 'ReplicaNodes', `vector index '${index.name}' must have fewer replicas than the ${dataNodes} data nodes, got ${replicas}: `
      + 'no node holds two copies of a shard, so that some would never be made; use fewer replicas, or more nodes');
  }
  return { shards, replicas, buildReplicas: standby ? replicas : 0 };
}

function defaultReplicas(dataNodes: number, standby: boolean): number {
  if (standby) return ZONES - 1;
  return dataNodes > 1 ? 1 : 0;
}

/** What the indexes of a store need and what its nodes have, GiB, with one zone lost. */
interface Need {
  readonly native: number;
  readonly cache: number;
}

/**
 * Fails where graphs would not fit the memory of the data nodes that are left without one zone: those of FAISS into the share of native memory that the
 * plugin's circuit breaker leaves them, those of Lucene into what remains for the file cache.
 *
 * For FAISS that is {@link LOADED_GENERATIONS}: a build must end without an eviction, which makes the plugin refuse documents, and the build with them. What
 * Lucene's files no longer have in the cache is read again.
 */
export function requireFit(scope: IConstruct, indexes: readonly VectorIndex[], capacity: VectorCapacity): void {
  const unsized = indexes.filter(({ _size }) => _size.vectors === undefined).map(({ name }) => name);
  if (unsized.length > 0) {
    advise(scope, 'vectorIndexUnsized', `The memory of ${unsized.join(', ')} is not checked: give each index the number of its vectors (size.vectors).`);
  }
  const need = needOf(scope, indexes, capacity);
  if (need.native + need.cache === 0) return;
  const { dataNodes, dataNodeType } = capacity;
  if (offHeapGiB(dataNodeType) === undefined) {
    advise(scope, 'vectorNodeUnknown', `The memory of ${dataNodeType} is not known here, so that the indexes were not checked against it.`);
    return;
  }
  if (fits(need, dataNodeType, dataNodes)) return;
  const wanted = [need.native > 0 ? `${say(need.native)} of native memory for FAISS, with ${LOADED_GENERATIONS} generations of each` : '', need.cache > 0 ? `${say(need.cache)} of file cache for Lucene` : ''];
  const has = dataNodes * servingShare(dataNodes) * offHeapGiB(dataNodeType)!;
  fail(scope, 'VectorMemory', `the vector indexes need ${wanted.filter(Boolean).join(' and ')}, but ${dataNodes} × ${dataNodeType}${dataNodes > 1 ? ' without one zone' : ''} have `
    + `${say(has * GRAPH_SHARE)} of native memory within the circuit breaker (${GRAPH_SHARE * 100} %) and ${say(has)} beside their heaps in all: `
    + `use ${[...proposals(need, capacity), ...canSpareReplicas(scope, indexes, capacity) ? ['fewer replicas'] : [], 'a VectorQuantization'].join(', or ')}`);
}

function needOf(scope: IConstruct, indexes: readonly VectorIndex[], capacity: VectorCapacity): Need {
  const need = { native: 0, cache: 0 };
  for (const index of indexes) {
    const schema = index._toSchema();
    const place = graphPlace(schema);
    if (place === 'disk') continue;
    const generations = place === 'native' ? LOADED_GENERATIONS : 1;
    need[place] += generations * graphBytes(schema, index._size.vectors ?? 0) * (layoutOf(scope, index, capacity).replicas + 1) / GIB;
  }
  return need;
}

function fits({ native, cache }: Need, type: string, nodes: number): boolean {
  const memory = (offHeapGiB(type) ?? 0) * nodes * servingShare(nodes);
  return native <= memory * GRAPH_SHARE && native + cache <= memory;
}

/** Of the nodes, those that are left when a zone is lost; a single node has no other zone. */
function servingShare(nodes: number): number {
  return nodes === 1 ? 1 : (ZONES - 1) / ZONES;
}

/** The same number of a larger type, and more of the same type, where there are such. */
function proposals(need: Need, { dataNodes, dataNodeType }: VectorCapacity): string[] {
  const larger = largerTypes(dataNodeType).find((type) => fits(need, type, dataNodes));
  let nodes = Math.ceil((dataNodes + 1) / ZONES) * ZONES;
  while (nodes <= mostNodes(dataNodeType) && !fits(need, dataNodeType, nodes)) nodes += ZONES;
  return [...larger === undefined ? [] : [`${dataNodes} × ${larger}`], ...nodes <= mostNodes(dataNodeType) ? [`${nodes} × ${dataNodeType}`] : []];
}

/** Whether an index has more than the store needs: standby has a copy in each zone. */
function canSpareReplicas(scope: IConstruct, indexes: readonly VectorIndex[], capacity: VectorCapacity): boolean {
  const least = capacity.standby ? ZONES - 1 : 0;
  return indexes.some((index) => index._size.vectors !== undefined && layoutOf(scope, index, capacity).replicas > least);
}

const say = (gib: number) => `${gib < 10 ? gib.toFixed(1) : Math.round(gib)} GiB`;
