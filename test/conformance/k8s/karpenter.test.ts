/** The production example's pool of burst nodes, followed by the real Karpenter; only its cloud is simulated. */
import { NODES, PODS } from './api';
import { SynthesizedBrain, ZONES } from './assembly';
import { isOfNode, podsOf, serves, settled, startBrain } from './brain-cluster';
import type { ControlPlane } from './control-plane';
import { GPU, requirementOf, startKarpenter } from './karpenter';
import { ZONE_LABEL } from './nodes';
import { removeFolders } from '../../support/examples';
import type { Json } from '../../support/templates';

jest.setTimeout(600_000);

const CLAIMS = { apiVersion: 'karpenter.sh/v1', kind: 'NodeClaim' };

/** Nodes of the burst: fewer than declared, because they are given back one at a time, each within a minute. */
const LIMIT = 2;

let brain: SynthesizedBrain;
let plane: ControlPlane;
let pool: Json;
let stable: Json;
let replicas: number;
let base: ReadonlySet<string>;

const requirement = (key: string) => requirementOf(pool, key);
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
  await startKarpenter(plane, pool, LIMIT);
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
  // a claim goes after its node
  await plane.api.until('no claim', CLAIMS, (claims) => claims.length === 0);
});
