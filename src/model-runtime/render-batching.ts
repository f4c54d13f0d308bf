import { Duration } from 'aws-cdk-lib';
import { DynamicBatching, PriorityQueues, QueuePolicy, QueueTimeoutAction } from './dynamic-batching';
import type { TritonDynamicBatching, TritonQueuePolicy } from '../contract';
import { requireInteger } from '../private/declarations';
import { fail } from '../private/fail';

const MILLION = 1_000_000;
const LONGEST_DELAY_MS = 1000;
const LONGEST_WAIT_MS = 3_600_000;

/** As the contract has it. */
export function renderBatching(batching: DynamicBatching): TritonDynamicBatching {
  const { maxQueueDelay = Duration.millis(0), preferredBatchSizes, preserveOrdering = false, queue, priorities } = batching;
  const maxQueueDelayMs = maxQueueDelay.toMilliseconds();
  if (maxQueueDelayMs > LONGEST_DELAY_MS) {
    fail(undefined, 'BatchingDelay', `maxQueueDelay must be at most ${LONGEST_DELAY_MS} ms, got ${maxQueueDelayMs}: it is waited by every request that is alone`);
  }
  for (const size of preferredBatchSizes ?? []) requireInteger(undefined, 'BatchSize', 'a preferred batch size', size, 1, 65_536);
  return {
    maxQueueDelayMs,
    ...preferredBatchSizes === undefined || preferredBatchSizes.length === 0 ? {} : { preferredBatchSizes },
    preserveOrdering,
    ...queue === undefined ? {} : { queue: renderQueue(queue) },
    ...priorities === undefined ? {} : { priorities: renderPriorities(priorities) },
  };
}

function renderPriorities({ levels, defaultLevel, queues }: PriorityQueues): TritonDynamicBatching['priorities'] {
  requireInteger(undefined, 'PriorityLevels', 'levels', levels, 1, 100);
  for (const level of Object.keys(queues ?? {})) requireInteger(undefined, 'PriorityLevels', 'a key of queues is a level: it', Number(level), 1, levels);
  return {
    levels,
    defaultLevel: requireInteger(undefined, 'PriorityLevels', 'defaultLevel', defaultLevel ?? levels, 1, levels),
    ...queues === undefined ? {} : { queues: Object.fromEntries(Object.entries(queues).map(([level, policy]) => [level, renderQueue(policy)])) },
  };
}

function renderQueue(policy: QueuePolicy): TritonQueuePolicy {
  const { timeout, timeoutAction = QueueTimeoutAction.REJECT, allowTimeoutOverride = true, maxSize = 0 } = policy;
  return {
    timeoutMs: requireInteger(undefined, 'QueueTimeout', 'timeout in milliseconds', timeout?.toMilliseconds() ?? 0, 0, LONGEST_WAIT_MS),
    timeoutAction,
    allowTimeoutOverride,
    maxSize: requireInteger(undefined, 'QueueSize', 'maxSize', maxSize, 0, MILLION),
  };
}
