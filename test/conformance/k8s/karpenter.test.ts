/** The production example's pool of burst nodes, followed by the real Karpenter; only its cloud is simulated. */
import { NODES, PODS } from './api';
import { SynthesizedBrain, ZONES } from './assembly';
import { isOfNode, podsOf, serves, settled, startBrain } from './brain-cluster';
import type { ControlPlane } from './control-plane';
import { ZONE_LABEL } from './nodes';
import { programPath } from './programs';
import { Accelerator } from '../../../src/cluster';
import { removeFolders } from '../../support/examples';
import type { Json } from '../../support/templates';
import { freePort } from '../free-port';

jest.setTimeout(600_000);

const GPU = 'nvidia.com/gpu';
const CLAIMS = { apiVersion: 'karpenter.sh/v1', kind: 'NodeClaim' };
const NODE_CLASS = { group: 'karpenter.kwok.sh', kind: 'KWOKNodeClass', name: 'simulated' };

/** Instead of the minutes for which a node may be idle. */
const IDLE = '1s';

/** Nodes of the burst: fewer than declared, because they are given back one at a time, each within a minute. */
const LIMIT = 2;

/** One that the brain does not stand in, and the cheapest. */
const FOREIGN_ZONE = 'us-east-1f';

let brain: SynthesizedBrain;
let plane: ControlPlane;
let pool: Json;
let stable: Json;
let replicas: number;
let base: ReadonlySet<string>;

const requirement = (key: string): readonly string[] => pool.spec.template.spec.requirements.find((each: Json) => each.key === key).values;

/** What the cloud sells: the pool's instance types and others, in the brain's zones and another. */
function catalogue(): string {
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
  const gpuTypes = Accelerator.of(...requirement('node.kubernetes.io/instance-type')).instances.map(({ instanceType, vcpus, memory, gpus }) => (
    type(instanceType, vcpus / 10, { cpu: `${vcpus}`, memory: `${memory.toGibibytes()}Gi`, [GPU]: `${gpus}` })));
  return JSON.stringify([...gpuTypes, type('g4dn.xlarge', 0.1, { cpu: '8', memory: '32Gi', [GPU]: '1' }), type('m7i.2xlarge', 0.1, { cpu: '8', memory: '32Gi' })]);
}

const asksForGpu = ({ containers }: Json): boolean => containers.some(({ resources }: Json) => resources?.limits?.[GPU] !== undefined);
const burst = (nodes: readonly Json[]) => nodes.filter(({ metadata }) => !base.has(metadata.name));
const isLeaving = ({ metadata }: Json) => metadata.deletionTimestamp !== undefined;
const scale = (pods: number) => plane.api.patch(stable, { spec: { replicas: pods } }, 'scale');
const servingOf = (pods: readonly Json[]) => pods.filter(serves).length;

beforeAll(async () => {
  brain = await SynthesizedBrain.of('production');
  plane = await startBrain(brain);
  base = new Set((await plane.api.list(NODES)).map(({ metadata }) => metadata.name));
  [pool] = brain.ofKind('NodePool');
  const onGpus = brain.ofKind('Deployment').filter(({ spec }) => asksForGpu(spec.template.spec));
  // a candidate's pool is smaller
  [stable] = onGpus.sort((a, b) => brain.replicasOf(b) - brain.replicasOf(a));
  replicas = brain.replicasOf(stable);
  await plane.api.apply({ apiVersion: `${NODE_CLASS.group}/v1alpha1`, kind: NODE_CLASS.kind, metadata: { name: NODE_CLASS.name }, spec: {} });
  // the class is the cloud's own, and cannot be changed in a pool that is there
  await plane.api.delete(pool);
  const { template, disruption } = pool.spec;
  const simulated = { ...template, spec: { ...template.spec, nodeClassRef: NODE_CLASS } };
  await plane.api.apply({ ...pool, spec: { ...pool.spec, template: simulated, limits: { [GPU]: `${LIMIT}` }, disruption: { ...disruption, consolidateAfter: IDLE } } });
  expect(Number(pool.spec.limits[GPU])).toBeGreaterThanOrEqual(LIMIT);
  const types = plane.write('instance-types.json', catalogue());
  plane.run('karpenter', programPath('controllers'), [
    'karpenter', '--disable-leader-election', `--metrics-port=${await freePort()}`, `--health-probe-port=${await freePort()}`,
    '--batch-idle-duration=200ms', '--batch-max-duration=1s', `--instance-types-file-path=${types}`,
  ], { KUBECONFIG: plane.kubeconfig, SYSTEM_NAMESPACE: 'kube-system', KUBERNETES_MIN_VERSION: '1.19.0-0' });
});
afterAll(async () => {
  await plane?.stop();
  removeFolders();
});

test('a burst gets nodes of the accelerator, in the zones of the brain, for GPU pods only', async () => {
  await scale(replicas + LIMIT);
  await plane.api.until('every pod of the burst', podsOf(stable), (pods) => servingOf(pods) === replicas + LIMIT);
  const nodes = burst(await plane.api.list(NODES));
  expect(nodes).toHaveLength(LIMIT);
  for (const { metadata: { labels }, spec } of nodes) {
    expect(labels).toMatchObject(pool.spec.template.metadata.labels);
    expect(requirement('node.kubernetes.io/instance-type')).toContain(labels['node.kubernetes.io/instance-type']);
    expect(requirement('karpenter.sh/capacity-type')).toContain(labels['karpenter.sh/capacity-type']);
    expect(ZONES).toContain(labels[ZONE_LABEL]);
    expect(spec.taints).toContainEqual(pool.spec.template.spec.taints[0]);
  }
  expect(new Set(nodes.map(({ metadata }) => metadata.labels[ZONE_LABEL])).size).toBe(LIMIT);
  const there = (await plane.api.list(PODS)).filter((pod) => !isOfNode(pod) && nodes.some(({ metadata }) => metadata.name === pod.spec.nodeName));
  expect(there.every(({ spec }) => asksForGpu(spec))).toBe(true);
});

test('beyond its limit nothing is bought, and the pod says why it waits', async () => {
  await scale(replicas + LIMIT + 1);
  await plane.api.until('the reason', { apiVersion: 'v1', kind: 'Event', namespace: stable.metadata.namespace }, (events) => (
    events.some(({ reason, message }) => reason === 'FailedScheduling' && message.includes('exceed limits for nodepool'))));
  expect(await plane.api.list(CLAIMS)).toHaveLength(LIMIT);
});

test('after the burst every node of it is given back, one at a time, and the base serves', async () => {
  await scale(replicas);
  const leaving: number[] = [];
  const following = await plane.api.follow(NODES, (nodes) => leaving.push(burst(nodes).filter(isLeaving).length));
  const least: number[] = [];
  const serving = await plane.api.follow(podsOf(stable), (pods) => least.push(servingOf(pods)));
  for (let left = LIMIT - 1; left >= 0; left--) {
    await plane.api.until(`${left} nodes of the burst`, NODES, (nodes) => burst(nodes).length <= left);
  }
  following.stop();
  serving.stop();
  expect(Math.max(...leaving)).toBe(1);
  expect(Math.min(...least)).toBeGreaterThanOrEqual(replicas - 1);
  await settled(plane.api, brain);
  expect((await plane.api.list(NODES)).length).toBe(base.size);
  expect(await plane.api.list(CLAIMS)).toEqual([]);
});
