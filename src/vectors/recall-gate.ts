import { IConstruct } from 'constructs';
import { RecallGateOptions } from './recall-gate-options';
import { DEFAULT_RECALL_GATE, RecallGate } from '../contract';
import { requireInteger } from '../private/declarations';
import { fail } from '../private/fail';

const MOST_K = 100;
const MOST_SAMPLED = 500;

/** What is left out is the default. Fails with OutOfRange or RecallGate. */
export function recallGate(scope: IConstruct, options: RecallGateOptions = {}): RecallGate {
  const { k = DEFAULT_RECALL_GATE.k, sample = DEFAULT_RECALL_GATE.sample, least = DEFAULT_RECALL_GATE.least } = options;
  requireInteger(scope, 'OutOfRange', 'k of the recall gate', k, 1, MOST_K, 'the default is 10');
  requireInteger(scope, 'OutOfRange', 'sample of the recall gate', sample, 1, MOST_SAMPLED, 'the default is 100');
  if (!(least >= 0 && least <= 1)) fail(scope, 'RecallGate', `the least recall must be 0 to 1, got ${least}: the default is ${DEFAULT_RECALL_GATE.least}`);
  return { k, sample, least };
}
