import { App, Stack } from 'aws-cdk-lib';
import { Annotations, Match } from 'aws-cdk-lib/assertions';
import { VectorCapacity } from '../../src/environment';
import { Similarity, VectorIndex } from '../../src/vectors';
import { adviseRecallTime, recallGate } from '../../src/vectors/recall-gate';
import { RecallGateOptions } from '../../src/vectors/recall-gate-options';

const MILLION = 1_000_000;
const NODES: VectorCapacity = { dataNodeType: 'r7g.16xlarge.search', dataNodes: 9 };

const index = (name: string, vectors?: number, shards = 1) => (
  VectorIndex.define(name, { dimension: 768, similarity: Similarity.COSINE, size: { vectors, shards } })
);

/** What synth says of a gate. */
function advice(indexes: VectorIndex[], gate: RecallGateOptions = {}, capacity = NODES): string[] {
  const scope = new Stack(new App(), 'Vectors');
  adviseRecallTime(scope, recallGate(scope, gate), indexes, capacity);
  return Annotations.fromStack(scope).findWarning('*', Match.anyValue()).map(({ entry }) => String(entry.data));
}

describe('the time that recall takes to measure', () => {
  test.each<[string, VectorIndex[], RecallGateOptions]>([
    ['ten million vectors in one shard', [index('flats', 10 * MILLION)], {}],
    ['300 million in a shard for each node', [index('flats', 300 * MILLION, 9)], {}],
    ['few questions of 300 million in one shard', [index('flats', 300 * MILLION)], { sample: 16 }],
    ['no question', [index('flats', 300 * MILLION)], { least: 0 }],
    ['an index without a size', [index('flats')], {}],
  ])('is no matter for %s', (_, indexes, gate) => expect(advice(indexes, gate)).toEqual([]));

  test.each<[string, VectorIndex[], RecallGateOptions, VectorCapacity, RegExp]>([
    ['in one shard', [index('flats', 300 * MILLION)], {}, NODES, /recall of flats by a sample of 100 may take 68 hours, and should take at most 12, .*: use a sample of 16 or fewer, more shards on more nodes, or least: 0, .*vectorRecallSlow/],
    ['on few nodes', [index('flats', 300 * MILLION, 9)], {}, { ...NODES, dataNodes: 3 }, /may take 23 hours/],
    ['without a zone on standby', [index('flats', 300 * MILLION, 9)], { sample: 150 }, { ...NODES, standby: true }, /may take 17 hours/],
    ['of several indexes, one after the other', [index('flats', 300 * MILLION, 9), index('streets', 300 * MILLION, 9)], {}, NODES, /recall of flats, streets .* may take 15 hours/],
    ['that no sample makes short', [index('flats', 5000 * MILLION)], {}, NODES, /every vector for each: use more shards on more nodes, or least: 0/],
  ])('is warned of where it is long (%s), with what to choose', (_, indexes, gate, capacity, text) => {
    expect(advice(indexes, gate, capacity)).toEqual([expect.stringMatching(text)]);
  });
});
