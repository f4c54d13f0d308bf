/** The real Karpenter beside a control plane, for the pool of burst nodes that a brain declares; only its cloud is simulated. */
import { ZONES } from './assembly';
import type { ControlPlane } from './control-plane';
import { ZONE_LABEL } from './nodes';
import { programPath } from './programs';
import { Accelerator } from '../../../src/cluster';
import type { Json } from '../../support/templates';
import { freePort } from '../free-port';

export const GPU = 'nvidia.com/gpu';

const NODE_CLASS = { group: 'karpenter.kwok.sh', kind: 'KWOKNodeClass', name: 'simulated' };

/** Instead of the minutes for which a node may be idle. */
const IDLE = '1s';

/** One that the brain does not stand in, and the cheapest. */
const FOREIGN_ZONE = 'us-east-1f';

export function requirementOf(pool: Json, key: string): readonly string[] {
  return pool.spec.template.spec.requirements.find((each: Json) => each.key === key).values;
}

/** What the cloud sells: the pool's instance types and others, in the brain's zones and another. */
function catalogue(pool: Json): string {
  const offer = (zone: string, price: number) => ['on-demand', 'spot'].map((capacityType) => ({
    Price: capacityType === 'spot' ? price / 2 : price,
    Available: true,
    Requirements: [
      { key: 'karpenter.sh/capacity-type', operator: 'In', values: [capacityType] },
      { key: ZONE_LABEL, operator: 'In', values: [zone] },
    ],
  }));
  const type = (name: string, price: number, resources: Json) => ({
    name,
    architecture: 'amd64',
    operatingSystems: ['linux'],
    resources: { 'pods': '58', 'ephemeral-storage': '200Gi', ...resources },
    offerings: [...ZONES.flatMap((zone) => offer(zone, price)), ...offer(FOREIGN_ZONE, price / 10)],
  });
  const gpuTypes = Accelerator.of(...requirementOf(pool, 'node.kubernetes.io/instance-type')).instances.map(({ instanceType, vcpus, memory, gpus }) => (
    type(instanceType, vcpus / 10, { cpu: `${vcpus}`, memory: `${memory.toGibibytes()}Gi`, [GPU]: `${gpus}` })));
  return JSON.stringify([...gpuTypes, type('g4dn.xlarge', 0.1, { cpu: '8', memory: '32Gi', [GPU]: '1' }), type('m7i.2xlarge', 0.1, { cpu: '8', memory: '32Gi' })]);
}

/**
 * Starts it, with the pool bound to the simulated cloud.
 *
 * @param limit GPUs of the burst: fewer than declared, because nodes are given back one at a time, each within a minute
 */
export async function startKarpenter(plane: ControlPlane, pool: Json, limit: number): Promise<void> {
  expect(Number(pool.spec.limits[GPU])).toBeGreaterThanOrEqual(limit);
  await plane.api.apply({ apiVersion: `${NODE_CLASS.group}/v1alpha1`, kind: NODE_CLASS.kind, metadata: { name: NODE_CLASS.name }, spec: {} });
  // the class is the cloud's own, and cannot be changed in a pool that is there
  await plane.api.delete(pool);
  const { template, disruption } = pool.spec;
  const simulated = { ...template, spec: { ...template.spec, nodeClassRef: NODE_CLASS } };
  await plane.api.apply({ ...pool, spec: { ...pool.spec, template: simulated, limits: { [GPU]: `${limit}` }, disruption: { ...disruption, consolidateAfter: IDLE } } });
  const types = plane.write('instance-types.json', catalogue(pool));
  plane.run('karpenter', programPath('controllers'), [
    'karpenter', '--disable-leader-election', `--metrics-port=${await freePort()}`, `--health-probe-port=${await freePort()}`,
    '--batch-idle-duration=200ms', '--batch-max-duration=1s', `--instance-types-file-path=${types}`,
  ], { KUBECONFIG: plane.kubeconfig, SYSTEM_NAMESPACE: 'kube-system', KUBERNETES_MIN_VERSION: '1.19.0-0' });
}
