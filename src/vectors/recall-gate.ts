import { IConstruct } from 'constructs';
import { layoutOf, ZONES } from './index-layout';
import { RecallGateOptions } from './recall-gate-options';
import { VectorIndex } from './vector-index';
import { DEFAULT_RECALL_GATE, questionsAtOnce, RecallGate, scannedBytes } from '../contract';
import { VectorCapacity } from '../environment';
import { requireInteger } from '../private/declarations';
import { advise, fail } from '../private/fail';

const MOST_K = 100;
const MOST_SAMPLED = 500;

const MIB = 2 ** 20;
/** What a node reads from its volume, bytes per second: the least of gp3 (EBS documentation, "General Purpose SSD volumes"). */
const READ = 125 * MIB;
/** What exact search looks at in one shard, bytes per second, where it is read already; an estimate at the safe side. */
const LOOKED_AT = 500 * MIB;
/** Beyond this measuring takes too much of the two days of a build, and of the twenty hours of all drills. */
const LONGEST_HOURS = 12;

/** What is left out is the default. Fails with OutOfRange or RecallGate. */
export function recallGate(scope: IConstruct, options: RecallGateOptions = {}): RecallGate {
  const { k = DEFAULT_RECALL_GATE.k, sample = DEFAULT_RECALL_GATE.sample, least = DEFAULT_RECALL_GATE.least } = options;
  requireInteger(scope, 'OutOfRange', 'k of the recall gate', k, 1, MOST_K, 'the default is 10');
  requireInteger(scope, 'OutOfRange', 'sample of the recall gate', sample, 1, MOST_SAMPLED, 'the default is 100');
  if (!(least >= 0 && least <= 1)) fail(scope, 'RecallGate', `the least recall must be 0 to 1, got ${least}: the default is ${DEFAULT_RECALL_GATE.least}`);
  return { k, sample, least };
}

/** Advises against measuring that would take half a day or more: exact search looks at every vector for every question. Indexes without a size are not looked at. */
export function adviseRecallTime(scope: IConstruct, gate: RecallGate, indexes: readonly VectorIndex[], capacity: VectorCapacity): void {
  if (gate.least === 0) return;
  const hours = (sample: number) => indexes.reduce((sum, index) => sum + measuringHours(scope, index, { ...gate, sample }, capacity), 0);
  if (hours(gate.sample) <= LONGEST_HOURS) return;
  const fewer = Array.from({ length: gate.sample }, (_, at) => gate.sample - at).find((sample) => hours(sample) <= LONGEST_HOURS);
  const smaller = fewer === undefined ? '' : `a sample of ${fewer} or fewer, `;
  advise(scope, 'vectorRecallSlow', `To measure the recall of ${indexes.map(({ name }) => name).join(', ')} by a sample of ${gate.sample} may take ${Math.round(hours(gate.sample))} hours, and should take at most `
    + `${LONGEST_HOURS}, since exact search looks at every vector for each: use ${smaller}more shards on more nodes, or least: 0, which measures nothing.`);
}

function measuringHours(scope: IConstruct, index: VectorIndex, { k, sample }: RecallGate, capacity: VectorCapacity): number {
  const bytes = (index._size.vectors ?? 0) * scannedBytes(index._toSchema().dimension);
  const { dataNodes, standby = false } = capacity;
  // copies in the zone on standby answer nothing
  const nodes = Math.min(layoutOf(scope, index, capacity).shards, standby ? dataNodes * (ZONES - 1) / ZONES : dataNodes);
  return bytes * (Math.ceil(sample / questionsAtOnce(k)) / READ + sample / LOOKED_AT) / nodes / 3600;
}
