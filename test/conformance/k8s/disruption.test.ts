/** What a real control plane does to the brain's pods when nodes are drained, rolled or lost. */
import { type Following, NODES, PODS } from './api';
import { SynthesizedBrain, type Zone, ZONES } from './assembly';
import { isComplete, isOfNode, podsOf, serves, settled, startBrain, zonesOf } from './brain-cluster';
import type { ControlPlane } from './control-plane';
import { burstNodes, nodesOf, ZONE_LABEL } from './nodes';
import { removeFolders } from '../../support/examples';
import type { Json } from '../../support/templates';

jest.setTimeout(600_000);

const DEPLOYMENTS = { apiVersion: 'apps/v1', kind: 'Deployment' };

let brain: SynthesizedBrain;
let plane: ControlPlane;
const watching: Following[] = [];

/** The least number of pods of each deployment that served at once. */
class Least {
  static async watch(deployments: readonly Json[]): Promise<Least> {
    const least = new Least();
    for (const deployment of deployments) {
      watching.push(await plane.api.follow(podsOf(deployment), (pods) => least.note(deployment.metadata.name, pods.filter(serves).length)));
    }
    return least;
  }

  private readonly numbers = new Map<string, number>();

  of(name: string): number {
    return this.numbers.get(name) ?? NaN;
  }

  private note(name: string, serving: number): void {
    this.numbers.set(name, Math.min(this.numbers.get(name) ?? Infinity, serving));
  }
}

/** Deployments that a budget protects. */
const budgeted = () => brain.ofKind('Deployment').map((each) => ({ ...each, replicas: brain.replicasOf(each) })).filter(({ metadata, spec, replicas }) => replicas > 1 && brain.ofKind('PodDisruptionBudget')
  .some((budget) => budget.metadata.namespace === metadata.namespace && JSON.stringify(budget.spec.selector) === JSON.stringify(spec.selector)));

const names = (pods: readonly Json[]) => pods.map(({ metadata }) => metadata.name);

beforeAll(async () => {
  brain = await SynthesizedBrain.of('production');
});
beforeEach(async () => {
  plane = await startBrain(brain);
});
afterEach(async () => {
  for (const each of watching.splice(0)) each.stop();
  await plane?.stop();
});
afterAll(removeFolders);

test('drains of all nodes at once take one pod of a deployment at a time', async () => {
  const deployments = budgeted();
  expect(deployments.length).toBeGreaterThan(1);
  const before = (await plane.api.list(PODS)).filter((pod) => !isOfNode(pod));
  const least = await Least.watch(deployments);
  // every pod, again and again, as one drain for each node would
  let left = before;
  while (left.length > 0) {
    const gone = await Promise.all(left.map((pod) => plane.api.evict(pod)));
    left = left.filter((_pod, index) => !gone[index]);
  }
  await plane.api.until('every pod replaced', PODS, (pods) => pods.every((pod) => !names(before).includes(pod.metadata.name)));
  await settled(plane.api, brain);
  for (const { metadata, replicas } of deployments) expect([metadata.name, least.of(metadata.name)]).toEqual([metadata.name, replicas - 1]);
});

test('a rollout takes away no more than its strategy says, and completes: in place on the nodes that are there, with a surge on those of a burst', async () => {
  const deployments = budgeted();
  for (const node of burstNodes(nodesOf(brain))) await plane.api.create(node);
  const least = await Least.watch(deployments);
  for (const deployment of deployments) await plane.api.patch(deployment, { spec: { template: { metadata: { annotations: { 'tests/rollout': '1' } } } } });
  await plane.api.until('every rollout', DEPLOYMENTS, (all) => all.every(isComplete));
  for (const { metadata, spec, replicas } of deployments) {
    expect([metadata.name, least.of(metadata.name)]).toEqual([metadata.name, replicas - spec.strategy.rollingUpdate.maxUnavailable]);
  }
});

/** Silent, as machines are whose zone lost power: no heartbeat, and nobody who would end their pods. */
async function kill(zone: Zone): Promise<void> {
  const silenced = (await plane.api.list(NODES)).filter(({ metadata }) => metadata.labels[ZONE_LABEL] === zone);
  for (const node of silenced) await plane.api.patch(node, { metadata: { labels: { 'kwok.x-k8s.io/node': null } } });
  await plane.api.until(`every node of ${zone} given up`, NODES, (nodes) => nodes.filter(({ metadata }) => metadata.labels[ZONE_LABEL] === zone)
    .every(({ spec }) => spec.taints?.some(({ key, effect }: Json) => key === 'node.kubernetes.io/unreachable' && effect === 'NoExecute')));
}

test('the loss of a zone leaves two thirds of what serves, without a new node', async () => {
  const zones = await zonesOf(plane.api);
  const lost = ZONES[2];
  await kill(lost);
  await plane.api.until('every pod of the lost zone given up', PODS, (pods) => pods.every((pod) => zones.get(pod.spec.nodeName) !== lost || !serves(pod)));
  for (const deployment of budgeted()) {
    const serving = (await plane.api.list(podsOf(deployment))).filter(serves);
    expect([deployment.metadata.name, serving.length]).toEqual([deployment.metadata.name, Math.ceil(deployment.replicas * 2 / 3)]);
  }
  expect((await plane.api.list(NODES)).length).toBe(zones.size);
});
