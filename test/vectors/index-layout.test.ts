import { App, Stack } from 'aws-cdk-lib';
import { Annotations, Match } from 'aws-cdk-lib/assertions';
import { VectorCapacity } from '../../src/environment';
import { Similarity, VectorEngine, VectorIndex, VectorIndexProps, VectorIndexSize, VectorQuantization } from '../../src/vectors';
import { layoutOf, requireFit } from '../../src/vectors/index-layout';

const STANDBY: VectorCapacity = { dataNodeType: 'r7g.large.search', dataNodes: 3, masterNodeType: 'm7g.large.search', standby: true };
const THREE: VectorCapacity = { dataNodeType: 'r7g.large.search', dataNodes: 3 };
const ONE: VectorCapacity = { dataNodeType: 'r7g.large.search', dataNodes: 1 };

const index = (size: VectorIndexSize, props: Partial<VectorIndexProps> = {}) => (
  VectorIndex.define('flats', { dimension: 768, similarity: Similarity.COSINE, size, ...props })
);
const stack = () => new Stack(new App(), 'Stack');

describe('the layout of an index', () => {
  test.each<[string, VectorCapacity, object]>([
    ['with standby has a copy in each zone, also while it is built', STANDBY, { replicas: 2, buildReplicas: 2 }],
    ['on three nodes has one replica, and none while it is built', THREE, { replicas: 1, buildReplicas: 0 }],
    ['on one node has no replica', ONE, { replicas: 0, buildReplicas: 0 }],
  ])('%s', (_, capacity, expected) => {
    expect(layoutOf(stack(), index({}), capacity)).toMatchObject(expected);
  });

  test('has a shard for each 30 GiB of vectors, or as many as it says', () => {
    const shards = (size: VectorIndexSize) => layoutOf(stack(), index(size), ONE).shards;
    expect(shards({})).toBe(1);
    // 3072 bytes each: 28.6 GiB, 57.2 GiB
    expect(shards({ vectors: 10e6 })).toBe(1);
    expect(shards({ vectors: 20e6 })).toBe(2);
    expect(shards({ vectors: 20e6, shards: 6 })).toBe(6);
  });

  test.each<[string, VectorIndexSize, VectorCapacity, RegExp]>([
    ['copies are no multiple of the zones with standby (DEPLOY A6)', { replicas: 1 }, STANDBY, /StandbyReplicas: .*multiple of 3, got 1 replicas.*use 2, 5 or 8/],
    ['there are as many replicas as nodes', { replicas: 3 }, THREE, /ReplicaNodes: .*fewer replicas than the 3 data nodes, got 3/],
    ['standby has six copies on three nodes', { replicas: 5 }, STANDBY, /ReplicaNodes: .*got 5/],
  ])('fails when %s', (_, size, capacity, message) => {
    expect(() => layoutOf(stack(), index(size), capacity)).toThrow(message);
  });
});

describe('the memory of the data nodes', () => {
  // one of three zones lost: 2 nodes of 16 GiB, half of it heap, half of the rest for graphs: 8 GiB; 1.1 × (4 × 768 + 8 × 16) bytes are 3,520 for a vector and copy,
  // of three generations
  const check = (given: VectorIndex[], capacity: VectorCapacity = STANDBY) => () => requireFit(stack(), given, capacity);

  test('fits what the formula says, to the vector', () => {
    const most = Math.floor(8 * 2 ** 30 / 3 / 3 / 3520);
    expect(check([index({ vectors: most })])).not.toThrow();
    expect(check([index({ vectors: most + 1 })])).toThrow(/VectorMemory/);
  });

  test('is too small, and the error says how many nodes of which type would do', () => {
    expect(check([index({ vectors: 333_000 })])).toThrow(
      /VectorMemory: the vector indexes need 9\.8 GiB of native memory for FAISS, with 3 generations of each, but 3 × r7g\.large\.search without one zone have 8\.0 GiB of native memory within the circuit breaker \(50 %\) .*use 3 × r7g\.xlarge\.search, or 6 × r7g\.large\.search, or a VectorQuantization$/,
    );
  });

  test.each<[string, VectorCapacity, number, RegExp]>([
    ['t3, which ends at medium', { dataNodeType: 't3.medium.search', dataNodes: 3 }, 133_000, /use 3 × r6g\.large\.search, or 6 × t3\.medium\.search, or fewer replicas, or a Vec/],
    ['t3, of which a domain has ten', { dataNodeType: 't3.medium.search', dataNodes: 3 }, 666_000, /use 3 × r6g\.xlarge\.search, or fewer replicas, or a VectorQuantization$/],
    ['r5, which has no 8xlarge', { ...THREE, dataNodeType: 'r5.4xlarge.search' }, 5e6, /use 3 × r5\.12xlarge\.search, or 6 × r5\.4xlarge\.search, or fewer/],
    ['r6g, which ends at 12xlarge', { ...THREE, dataNodeType: 'r6g.12xlarge.search' }, 26.6e6, /use 6 × r6g\.12xlarge\.search, or fewer/],
    ['one that nobody lists, as far as all go', { ...THREE, dataNodeType: 'r8g.large.search' }, 10e6, /use 3 × r6g\.8xlarge\.search, or 75 × r8g/],
    ['any, with no replica to spare', { ...ONE, dataNodeType: 'm6g.large.search' }, 333_000, /use 1 × m6g\.xlarge\.search, or 3 × m6g\.large\.search, or a VectorQuantization$/],
    ['none that is large enough', { ...ONE, dataNodeType: 'm6g.large.search' }, 1e9, /in all: use a VectorQuantization$/],
  ])('proposes types that there are: of %s', (_, capacity, vectors, message) => expect(check([index({ vectors })], capacity)).toThrow(message));

  test('can do with fewer replicas where standby has more than a copy in each zone', () => {
    expect(check([index({ vectors: 1e6, replicas: 5 })], { ...STANDBY, dataNodes: 6 })).toThrow(/fewer replicas/);
  });

  test('is enough after the proposals', () => {
    expect(check([index({ vectors: 333_000 })], { ...STANDBY, dataNodeType: 'r7g.xlarge.search' })).not.toThrow();
    expect(check([index({ vectors: 333_000 })], { ...STANDBY, dataNodes: 6 })).not.toThrow();
    expect(check([index({ vectors: 333_000 }, { quantization: VectorQuantization.fp16() })])).not.toThrow();
  });

  test('holds all indexes together', () => {
    const half = (name: string) => VectorIndex.define(name, { dimension: 768, similarity: Similarity.COSINE, size: { vectors: 166_000 } });
    expect(check([half('a')])).not.toThrow();
    expect(check([half('a'), half('b')])).toThrow(/VectorMemory/);
  });

  test('is asked for the file cache by Lucene: what heaps and graphs leave', () => {
    const lucene = { engine: VectorEngine.LUCENE };
    expect(check([index({ vectors: 1.5e6 }, lucene)])).not.toThrow();
    expect(check([index({ vectors: 1.7e6 }, lucene)])).toThrow(/need 17 GiB of file cache for Lucene, .* 16 GiB beside their heaps in all/);
  });

  test('of a large node has a heap of 32 GiB, not of half', () => {
    // 512 − 32 GiB, half of it for graphs
    const most = Math.floor(240 * 2 ** 30 / 3 / 3520);
    const big = { ...ONE, dataNodeType: 'r7g.16xlarge.search' };
    expect(check([index({ vectors: most })], big)).not.toThrow();
    expect(check([index({ vectors: most + 1 })], big)).toThrow(/VectorMemory/);
  });

  test('is not checked where the size or the type is unknown, and a warning says so', () => {
    const scope = stack();
    requireFit(scope, [index({})], STANDBY);
    requireFit(scope, [index({ vectors: 1e9 })], { ...STANDBY, dataNodeType: 'z9.large.search' });
    Annotations.fromStack(scope).hasWarning('*', Match.stringLikeRegexp('memory of flats is not checked.*vectorIndexUnsized'));
    Annotations.fromStack(scope).hasWarning('*', Match.stringLikeRegexp('memory of z9\\.large\\.search is not known.*vectorNodeUnknown'));
  });
});
