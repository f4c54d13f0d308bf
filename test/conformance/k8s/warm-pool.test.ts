/** Placeholders, and who stands on the base: a pool's pods under the real scheduler and the real Karpenter; only the cloud is simulated. */
import { Testing } from 'cdk8s';
import { NODES, PODS } from './api';
import { SynthesizedBrain } from './assembly';
import { isComplete, isOfNode, podsOf, serves, startBrain } from './brain-cluster';
import type { ControlPlane } from './control-plane';
import { GPU, startKarpenter } from './karpenter';
import { GpuNodeGroups } from '../../../src/cluster';
import { preferBase } from '../../../src/cluster/gpu-placement';
import { labels, quantities } from '../../../src/cluster/pods';
import { PriorityClass } from '../../../src/contract';
import { warmPods } from '../../../src/scaling/warm-pods';
import { removeFolders } from '../../support/examples';
import type { Json } from '../../support/templates';

jest.setTimeout(600_000);

/** Nodes of the burst. */
const LIMIT = 2;

let plane: ControlPlane;
let pool: Json;
let warm: Json;
/** Nodes of the base, each with one GPU. */
let base: ReadonlySet<string>;

const scale = (deployment: Json, pods: number) => plane.api.patch(deployment, { spec: { replicas: pods } }, 'scale');
const isOnBase = ({ spec }: Json): boolean => base.has(spec.nodeName);
const isOf = (capacity: string) => ({ metadata }: Json): boolean => metadata.labels[GpuNodeGroups.CAPACITY_LABEL] === capacity;
const burst = (nodes: readonly Json[]) => nodes.filter(isOf('burst'));
const serving = (deployment: Json, what: string, holds: (pods: Json[]) => boolean) => (
  plane.api.until(what, podsOf(deployment), (pods) => pods.every(serves) && holds(pods) && pods));
const placeholder = async () => (await serving(warm, 'a placeholder', ({ length }) => length === 1))[0];

/** A pool as the example's, with the affinity, the class and the rollout of a stable one, and no spread that would decide instead. */
function stablePool(example: Json): Json {
  const name = 'pool';
  const { topologySpreadConstraints: _spread, ...pod } = example.spec.template.spec;
  return {
    ...example,
    metadata: { name, namespace: example.metadata.namespace },
    spec: {
      replicas: 0,
      strategy: { type: 'RollingUpdate', rollingUpdate: { maxSurge: 1, maxUnavailable: 0 } },
      selector: { matchLabels: labels(name) },
      template: { metadata: { labels: labels(name) }, spec: { ...pod, priorityClassName: PriorityClass.STABLE, affinity: preferBase() } },
    },
  };
}

function placeholders({ metadata, spec }: Json): Json {
  const chart = Testing.chart();
  const typed = ({ resources, ...container }: Json) => ({
    ...container, resources: { requests: quantities(resources.requests), limits: quantities(resources.limits) },
  });
  const { containers, initContainers = [], ...others } = spec.template.spec;
  const pod = { ...others, containers: containers.map(typed), initContainers: initContainers.map(typed) };
  warmPods(chart, { name: metadata.name, namespace: metadata.namespace, pods: 0, pod });
  return chart.toJson()[0];
}

beforeAll(async () => {
  const brain = await SynthesizedBrain.of('production');
  plane = await startBrain(brain);
  const asksForGpu = ({ spec }: Json) => spec.template.spec.containers.some(({ resources }: Json) => resources?.limits?.[GPU] !== undefined);
  const pools = brain.ofKind('Deployment').filter(asksForGpu);
  await Promise.all(pools.map((each) => scale(each, 0)));
  pool = stablePool(pools[0]);
  warm = placeholders(pool);
  for (const each of [pool, warm]) await plane.api.apply(each);
  base = new Set((await plane.api.list(NODES)).filter(isOf('base')).map(({ metadata }) => metadata.name));
  await plane.api.until('no pod of the example on GPUs', PODS, (pods) => !pods.some((pod) => isOnBase(pod) && !isOfNode(pod)));
  await startKarpenter(plane, brain.ofKind('NodePool')[0], LIMIT);
});
afterAll(async () => {
  await plane?.stop();
  removeFolders();
});

test('a placeholder has a node of the burst made, though the base has a place to spare', async () => {
  await scale(pool, base.size - 1);
  await serving(pool, 'the pool', ({ length }) => length === base.size - 1);
  await scale(warm, 1);
  expect(isOnBase(await placeholder())).toBe(false);
  expect(burst(await plane.api.list(NODES))).toHaveLength(1);
});

test('a pod that comes goes to the base first', async () => {
  await scale(pool, base.size);
  const pods = await serving(pool, 'the pool', ({ length }) => length === base.size);
  expect(pods.every(isOnBase)).toBe(true);
  expect(isOnBase(await placeholder())).toBe(false);
});

test('beyond the base a pod stands where the placeholder stood, and the next node comes', async () => {
  const { spec: { nodeName } } = await placeholder();
  await scale(pool, base.size + 1);
  const pods = await serving(pool, 'the pool', ({ length }) => length === base.size + 1);
  expect(pods.filter((pod) => !isOnBase(pod)).map(({ spec }) => spec.nodeName)).toEqual([nodeName]);
  expect((await placeholder()).spec.nodeName).not.toBe(nodeName);
});

test('after the peak all of the pool is on the base, and the burst keeps the placeholder\'s node alone', async () => {
  await scale(pool, base.size);
  await serving(pool, 'the pool on the base', (pods) => pods.length === base.size && pods.every(isOnBase));
  await plane.api.until('one node of the burst', NODES, (nodes) => burst(nodes).length === 1);
  expect(isOnBase(await placeholder())).toBe(false);
});

test('a rollout that surges ends on a base that is full, by the placeholder\'s place; then the base has all of the pool again', async () => {
  await placeholder();
  const least: number[] = [];
  const following = await plane.api.follow(podsOf(pool), (pods) => least.push(pods.filter(serves).length));
  await plane.api.patch(pool, { spec: { template: { metadata: { annotations: { revision: 'next' } } } } });
  await plane.api.until('the rollout', { apiVersion: 'apps/v1', kind: 'Deployment', namespace: pool.metadata.namespace }, (all) => (
    all.some((each) => each.metadata.name === pool.metadata.name && isComplete(each))));
  following.stop();
  // a node that is emptied takes one along, as the ADR says
  expect(Math.min(...least)).toBeGreaterThanOrEqual(base.size - 1);
  await serving(pool, 'the pool on the base', (pods) => pods.length === base.size && pods.every(isOnBase));
  expect(isOnBase(await placeholder())).toBe(false);
});
