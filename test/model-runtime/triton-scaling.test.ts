import { Annotations, Match } from 'aws-cdk-lib/assertions';
import { AGENT_IMAGE, IMAGE, poolOf } from './fixture';
import { Accelerator, BrainClusterOptions, GpuBase, GpuBurst } from '../../src/cluster';
import { ModelRuntime, TritonProps } from '../../src/model-runtime';
import { Keda, PoolScaling } from '../../src/scaling';
import { clusterFixture, manifestObjects, ofKind } from '../cluster/fixture';

function scaled(scaling?: TritonProps['scaling'], options: BrainClusterOptions = {}) {
  const { stack, cluster, environment, role } = clusterFixture(options);
  const scaler = Keda.standing()._bind(stack, 'Scaler', { environment, cluster, name: 'brain' });
  const runtime = ModelRuntime.triton({ image: IMAGE, agentImage: AGENT_IMAGE, scaling })._bind(stack, 'Runtime', { cluster, environment, role, name: 'brain', models: [], scaler });
  const objects = () => ofKind(manifestObjects(stack, 'triton-scaling'), 'ScaledObject');
  return { stack, runtime, objects };
}

test('with a scaler both pools follow what the service would have of them, and the candidate goes while there is none', () => {
  const { objects, stack, runtime } = scaled();
  expect(objects().map(({ metadata, spec }) => [metadata.name, spec.minReplicaCount, spec.maxReplicaCount])).toEqual([['triton-stable', 3, 9], ['triton-candidate', 0, 3]]);
  expect(objects().map(({ spec }) => spec.triggers.map(({ metadata }: any) => metadata.valueLocation))).toEqual([
    ['pools.stable.concurrency'], ['pools.candidate.concurrency', 'candidates'],
  ]);
  expect(poolOf(stack, 'stable').spec.replicas).toBeUndefined();
  expect(runtime._declaration()).toEqual({});
});

test('where the stable pool goes to none, the service is told: it takes requests before any version is loaded', () => {
  const { objects, runtime } = scaled({ stable: PoolScaling.onDemand({ min: 0 }), candidate: PoolScaling.fixed(1) });
  expect(objects().map(({ metadata, spec }) => [metadata.name, spec.minReplicaCount])).toEqual([['triton-stable', 0]]);
  expect(runtime._declaration()).toEqual({ runtime: { onDemand: true } });
});

test('a pool that is fixed is left alone, with a scaler too', () => {
  const { stack } = scaled({ stable: PoolScaling.fixed(2), candidate: PoolScaling.fixed(1) });
  expect(poolOf(stack, 'stable').spec.replicas).toBe(2);
  expect(() => manifestObjects(stack, 'triton-scaling')).toThrow(/found 0 manifests/);
});

test('advises against more pods than base and burst nodes could ever hold', () => {
  const warnings = (maxNodes: number) => Annotations.fromStack(scaled({ candidate: PoolScaling.fixed(1) }, {
    accelerator: Accelerator.L4, gpu: { base: GpuBase.onDemand(4), burst: GpuBurst.onDemand({ maxNodes }) },
  }).stack).findWarning('*', Match.stringLikeRegexp('10 Triton pods of 1 GPU\\(s\\) at most \\(9 stable, 1 candidate\\) need more than base and burst nodes hold'));
  expect(warnings(3)).toHaveLength(1);
  expect(warnings(4)).toHaveLength(0);
});
