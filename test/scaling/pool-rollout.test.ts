import { Stack } from 'aws-cdk-lib';
import { Accelerator } from '../../src/cluster';
import { PoolRollout } from '../../src/scaling';
import type { PoolRolloutContext } from '../../src/scaling/pool-rollout';

const BASE = { accelerator: Accelerator.L4, gpuNodes: 3, gpuBurstNodes: 0 };
const BURST = { ...BASE, gpuBurstNodes: 2 };

function strategyOf(rollout: PoolRollout | undefined, context: Partial<PoolRolloutContext> = {}) {
  const { type, rollingUpdate } = PoolRollout._of(rollout, new Stack(), { cluster: BURST, gpus: 1, pods: 3, ...context });
  expect(type).toBe('RollingUpdate');
  return { surge: rollingUpdate?.maxSurge?.value, unavailable: rollingUpdate?.maxUnavailable?.value };
}

const IN_PLACE = { surge: 0, unavailable: 1 };
const SURGE = { surge: 1, unavailable: 0 };

describe('PoolRollout', () => {
  test.each<[string, Partial<PoolRolloutContext>, object]>([
    ['in place on a base alone', { cluster: BASE }, IN_PLACE],
    ['in place on a base alone, even where it has a place free: that is for the loss of an AZ', { cluster: BASE, pods: 2 }, IN_PLACE],
    ['a surge where a burst may bring a node', {}, SURGE],
    ['in place where the pools always take the nodes of the burst too', { pods: 4, others: 1 }, IN_PLACE],
    ['in place where a pod needs more GPUs than a node has', { gpus: 2 }, IN_PLACE],
    ['a surge without GPUs', { cluster: { accelerator: Accelerator.CPU, gpuNodes: 0, gpuBurstNodes: 0 }, gpus: 0 }, SURGE],
  ])('where nothing is said, is %s', (_what, context, strategy) => {
    expect(strategyOf(undefined, context)).toEqual(strategy);
  });

  test('is what is said', () => {
    expect(strategyOf(PoolRollout.inPlace())).toEqual(IN_PLACE);
    expect(strategyOf(PoolRollout.inPlace(2))).toEqual({ surge: 0, unavailable: 2 });
    expect(strategyOf(PoolRollout.surge(2))).toEqual({ surge: 2, unavailable: 0 });
    expect(strategyOf(PoolRollout.inPlace(), { gpus: 0 })).toEqual(IN_PLACE);
  });

  test('a surge may take what is free of the base, who says so', () => {
    expect(strategyOf(PoolRollout.surge(), { cluster: BASE, pods: 2 })).toEqual(SURGE);
  });

  test('without GPUs a surge has no bound', () => {
    expect(strategyOf(PoolRollout.surge(20), { gpus: 0 })).toEqual({ surge: 20, unavailable: 0 });
  });

  test('a pool of one pod, or of none, is replaced in place', () => {
    expect(strategyOf(PoolRollout.inPlace(), { pods: 1 })).toEqual(IN_PLACE);
    expect(strategyOf(PoolRollout.inPlace(), { pods: 0 })).toEqual(IN_PLACE);
  });

  test.each<[string, PoolRollout, Partial<PoolRolloutContext>, RegExp]>([
    ['more than the cluster ever has', PoolRollout.surge(3), {}, /RolloutSurge: a surge of 3 needs more than the cluster ever has: 3 places on the base and 2 on nodes of a burst, of which pools always take 3: raise cluster.gpu, or use PoolRollout.surge\(2\)/],
    ['what another pool takes', PoolRollout.surge(2), { others: 1 }, /always take 4: .* PoolRollout.surge\(1\)/],
    ['a full base without a burst', PoolRollout.surge(), { cluster: BASE }, /0 on nodes of a burst, .* use PoolRollout.inPlace\(\)/],
    ['a surge of none', PoolRollout.surge(0), {}, /RolloutSurge: a surge must be an integer of at least 1, got 0: or use PoolRollout.inPlace\(\)/],
    ['half a pod away', PoolRollout.inPlace(0.5), {}, /RolloutUnavailable: maxUnavailable must be an integer of at least 1, got 0.5/],
    ['all pods away at once', PoolRollout.inPlace(3), {}, /RolloutUnavailable: maxUnavailable must be less than the pods that are always there \(3\), got 3/],
  ])('fails with %s', (_what, rollout, context, message) => {
    expect(() => strategyOf(rollout, context)).toThrow(message);
  });
});
