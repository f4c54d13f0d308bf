/** Who gives way when GPUs are short: the priority classes of the production example under a real scheduler. */
import { NODES, PODS } from './api';
import { SynthesizedBrain } from './assembly';
import { podsOf, serves, startBrain } from './brain-cluster';
import type { ControlPlane } from './control-plane';
import { PriorityClass } from '../../../src/contract';
import { removeFolders } from '../../support/examples';
import type { Json } from '../../support/templates';

jest.setTimeout(600_000);

const GPU = 'nvidia.com/gpu';

let brain: SynthesizedBrain;
let plane: ControlPlane;
let largest: Json;
let stable: Json;
let candidate: Json;
let placeholder: Json;
let gpus: number;

const ofClass = (name: string): Json => brain.ofKind('Deployment').find(({ spec }) => spec.template.spec.priorityClassName === name);

/** The deployment of a class, and where the example has none, one that asks for the same as its largest GPU pool does. */
function deploymentOf(priorityClassName: string): Json {
  const matchLabels = { 'app.kubernetes.io/name': `stand-in-${priorityClassName}` };
  const { template } = largest.spec;
  const { topologySpreadConstraints: _spread, ...pod } = template.spec;
  return ofClass(priorityClassName) ?? {
    ...largest,
    metadata: { name: `stand-in-${priorityClassName}`, namespace: largest.metadata.namespace },
    spec: { replicas: 0, selector: { matchLabels }, template: { metadata: { labels: matchLabels }, spec: { ...pod, priorityClassName } } },
  };
}

const scale = (deployment: Json, replicas: number) => plane.api.patch(deployment, { spec: { replicas } }, 'scale');
const serving = (deployment: Json, number: number) => plane.api.until(`${number} pods of ${deployment.metadata.name}`, podsOf(deployment), (pods) => (
  pods.filter(serves).length === number));
const count = async (deployment: Json) => (await plane.api.list(podsOf(deployment))).filter(serves).length;

beforeAll(async () => {
  brain = await SynthesizedBrain.of('production');
  plane = await startBrain(brain);
  [largest] = brain.ofKind('Deployment').filter(({ spec }) => spec.template.spec.containers.some(({ resources }: Json) => resources?.limits?.[GPU] !== undefined))
    .sort((a, b) => brain.replicasOf(b) - brain.replicasOf(a));
  [stable, candidate, placeholder] = [PriorityClass.STABLE, PriorityClass.CANDIDATE, PriorityClass.PLACEHOLDER].map(deploymentOf);
  for (const each of [stable, candidate, placeholder].filter(({ metadata }) => metadata.name.startsWith('stand-in'))) await plane.api.apply(each);
  if (stable !== largest) await scale(largest, 0);
  gpus = (await plane.api.list(NODES)).reduce((sum, { status }) => sum + Number(status.allocatable[GPU] ?? 0), 0);
  // one place each for the other two, and no place is free
  await scale(stable, gpus - 2);
  await Promise.all([candidate, placeholder].map((each) => scale(each, 0)));
  await plane.api.until('no other pod', PODS, (pods) => [candidate, placeholder].every(({ metadata }) => !pods.some((pod) => pod.metadata.name.startsWith(metadata.name))));
  await serving(stable, gpus - 2);
  await Promise.all([candidate, placeholder].map((each) => scale(each, 1)));
  await Promise.all([candidate, placeholder].map((each) => serving(each, 1)));
});
afterAll(async () => {
  await plane?.stop();
  removeFolders();
});

test('a stable pod takes the place of a placeholder, not that of the candidate', async () => {
  await scale(stable, gpus - 1);
  await serving(stable, gpus - 1);
  expect([await count(candidate), await count(placeholder)]).toEqual([1, 0]);
});

test('a stable pod takes the place of the candidate where no other is left', async () => {
  await scale(stable, gpus);
  await serving(stable, gpus);
  expect(await count(candidate)).toBe(0);
});

test('the candidate never takes a place of the stable pool: it waits', async () => {
  await scale(candidate, gpus);
  await plane.api.until('the verdict on every pod of the candidate', podsOf(candidate), (pods) => pods.length >= gpus && pods.every(({ status }) => (
    status.conditions?.some(({ type, message = '' }: Json) => type === 'PodScheduled' && /preemption: 0\/\d+ nodes are available/.test(message)))));
  expect([await count(stable), await count(candidate)]).toEqual([gpus, 0]);
});

test('a candidate takes the place of a placeholder', async () => {
  await scale(candidate, 0);
  await scale(stable, gpus - 1);
  await scale(placeholder, 1);
  await serving(placeholder, 1);
  await scale(candidate, 1);
  await serving(candidate, 1);
  expect([await count(stable), await count(placeholder)]).toEqual([gpus - 1, 0]);
});
