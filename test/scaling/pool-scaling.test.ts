import { Duration, Stack } from 'aws-cdk-lib';
import { BrainEnvironment } from '../../src/environment';
import { PoolScaling } from '../../src/scaling';

const decide = (scaling: PoolScaling | undefined, context: { scaler?: boolean; fromZero?: boolean; environment?: BrainEnvironment } = {}) =>
  PoolScaling._of(scaling, new Stack(), { environment: BrainEnvironment.prod(), scaler: true, ...context });

describe('PoolScaling', () => {
  test('is the environment\'s number of pods where nothing scales, and on demand from there where something does', () => {
    const environment = BrainEnvironment.custom('small', { replicas: 2 });
    expect(decide(undefined, { scaler: false, environment })).toMatchObject({ replicas: 2, least: 2 });
    expect(decide(undefined, { environment })).toEqual({ least: 2, most: 6, targets: { queue: 4 } });
  });

  test('on demand, the deployment names no number of pods: each apply would overrule the autoscaler', () => {
    expect(decide(PoolScaling.onDemand({ min: 2, max: 5 })).replicas).toBeUndefined();
  });

  test('a fixed number stays, whatever scales elsewhere', () => {
    expect(decide(PoolScaling.fixed(2))).toMatchObject({ replicas: 2, least: 2, most: 2 });
  });

  test('looks at what is named, and at the queue where nothing is', () => {
    expect(decide(PoolScaling.onDemand()).targets).toEqual({ queue: 4 });
    expect(decide(PoolScaling.onDemand({ targetQps: 50, targetLatency: Duration.millis(250) })).targets).toEqual({ qps: 50, latencyMs: 250 });
    expect(decide(PoolScaling.onDemand({ targetQps: 50, targetQueue: 2 })).targets).toEqual({ qps: 50, queue: 2 });
  });

  test('goes down to nothing where something else notices that somebody asks', () => {
    expect(decide(PoolScaling.onDemand({ min: 0 }), { fromZero: true })).toMatchObject({ least: 0, most: 3 });
    expect(() => decide(PoolScaling.onDemand({ min: 0 }))).toThrow(/ScalingMin: min must be an integer of at least 1, got 0: without a pod nobody would notice/);
  });

  test.each<[string, PoolScaling, RegExp]>([
    ['a minimum above the maximum', PoolScaling.onDemand({ min: 4, max: 3 }), /ScalingMax: max must be an integer of at least min \(4\) and 1, got 3/],
    ['no pod at most', PoolScaling.onDemand({ min: 0, max: 0 }), /ScalingMax: .* got 0/],
    ['half a pod', PoolScaling.onDemand({ min: 1.5 }), /ScalingMin: .* got 1.5/],
    ['a target of nothing', PoolScaling.onDemand({ targetQps: 0 }), /ScalingTarget: targetQps must be more than 0, got 0/],
    ['a latency of nothing', PoolScaling.onDemand({ targetLatency: Duration.millis(0) }), /ScalingTarget: targetLatency must be more than 0/],
    ['a fixed number of none', PoolScaling.fixed(0), /Replicas: a fixed number of pods must be an integer of at least 1, got 0/],
  ])('fails with %s', (_what, scaling, message) => {
    expect(() => decide(scaling, { fromZero: true })).toThrow(message);
  });

  test('fails on demand without anything that scales', () => {
    expect(() => decide(PoolScaling.onDemand(), { scaler: false })).toThrow(/NoScaler: .* give services.scaler, e.g. Keda.fromRepository/);
  });
});
