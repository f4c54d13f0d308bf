import { Stack } from 'aws-cdk-lib';
import { BrainClusterOptions, ContainerImage } from '../../src/cluster';
import type { RuntimePool } from '../../src/contract';
import { BrainEnvironment } from '../../src/environment';
import { TritonRuntime, TritonRuntimeProps } from '../../src/model-runtime';
import { Model } from '../../src/registry';
import { clusterFixture, DIGEST, manifestObjects, oneOfKind } from '../cluster/fixture';

export const IMAGE = ContainerImage.fromRegistry('registry.example/triton', DIGEST);
export const AGENT_IMAGE = ContainerImage.fromRegistry('registry.example/model-agent', DIGEST);

/** A cluster, and Triton in it. */
export function tritonFixture(props: Partial<TritonRuntimeProps> = {}, options: BrainClusterOptions = {}, environment = BrainEnvironment.dev()) {
  const { stack, cluster, role } = clusterFixture(options, environment);
  const runtime = new TritonRuntime(stack, 'Runtime', {
    cluster, environment, role, name: 'brain', models: [Model.declare('eta', { owner: 'tests' })], image: IMAGE, agentImage: AGENT_IMAGE, ...props,
  });
  return { stack, cluster, runtime, base: () => manifestObjects(stack, 'triton'), pool: (pool: RuntimePool) => poolOf(stack, pool) };
}

/** The objects of a pool as the template carries them. */
export function poolOf(stack: Stack, pool: RuntimePool) {
  const objects = manifestObjects(stack, `triton-${pool}`);
  const { spec } = oneOfKind(objects, 'Deployment', `triton-${pool}`);
  const { spec: pod, metadata } = spec.template;
  return { stack, objects, spec, pod, metadata, triton: pod.containers[0], agent: pod.initContainers[0] };
}
