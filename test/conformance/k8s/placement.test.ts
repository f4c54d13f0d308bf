/** Where a real scheduler puts the pods of the examples, over three zones of simulated nodes. */
import { NODES, PODS } from './api';
import { SynthesizedBrain, ZONES } from './assembly';
import { isOfNode, podsOf, startBrain, zonesOf } from './brain-cluster';
import type { ControlPlane } from './control-plane';
import { EXAMPLES, removeFolders } from '../../support/examples';
import type { Json } from '../../support/templates';

jest.setTimeout(600_000);

const GPU = 'nvidia.com/gpu';
const gpusOf = ({ spec }: Json) => spec.containers.reduce((sum: number, { resources }: Json) => sum + Number(resources?.limits?.[GPU] ?? 0), 0);

describe.each(EXAMPLES)('%s', (example) => {
  let brain: SynthesizedBrain;
  let plane: ControlPlane;
  let pods: Json[];
  let nodes: ReadonlyMap<string, Json>;

  beforeAll(async () => {
    brain = await SynthesizedBrain.of(example);
    plane = await startBrain(brain);
    pods = await plane.api.list(PODS);
    nodes = new Map((await plane.api.list(NODES)).map((node) => [node.metadata.name, node]));
  });
  afterAll(async () => {
    await plane?.stop();
    removeFolders();
  });

  const nodeOf = (pod: Json) => nodes.get(pod.spec.nodeName)!;

  test('pods that ask for a GPU have one each, on tainted nodes, and nothing else is there', () => {
    const onGpuNodes = pods.filter((pod) => !isOfNode(pod) && nodeOf(pod).status.capacity[GPU] !== undefined);
    expect(onGpuNodes.filter((pod) => gpusOf(pod) === 0).map(({ metadata }) => metadata.name)).toEqual([]);
    expect(pods.filter((pod) => gpusOf(pod) > 0).every((pod) => onGpuNodes.includes(pod))).toBe(true);
    for (const pod of onGpuNodes) expect(nodeOf(pod).spec.taints).toContainEqual({ key: GPU, value: 'present', effect: 'NoSchedule' });
    expect(onGpuNodes.length > 0).toBe(brain.templates.ofType('AWS::EKS::Nodegroup').length > 0);
  });

  test('no pod is on a node of another architecture, or on those for the cluster itself', () => {
    const wrong = pods.filter((pod) => nodeOf(pod).metadata.labels['kubernetes.io/arch'] !== 'amd64' || nodeOf(pod).spec.taints?.some(({ key }: Json) => key === 'CriticalAddonsOnly'));
    expect(wrong.map(({ metadata }) => metadata.name)).toEqual([]);
  });

  test('every workload of more than two pods is in every zone, and evenly', async () => {
    const zones = await zonesOf(plane.api);
    for (const deployment of brain.ofKind('Deployment').filter((each) => brain.replicasOf(each) > 2)) {
      const own = await plane.api.list(podsOf(deployment));
      const perZone = ZONES.map((zone) => own.filter(({ spec }) => zones.get(spec.nodeName) === zone).length);
      expect(Math.max(...perZone) - Math.min(...perZone)).toBeLessThanOrEqual(1);
      expect(Math.min(...perZone)).toBeGreaterThan(0);
    }
  });

  test('a pod that does not tolerate GPU nodes never gets one, not even where it asks for it', async () => {
    const gpuNode = [...nodes.values()].find(({ status }) => status.capacity[GPU] !== undefined);
    if (!gpuNode) {
      expect(brain.templates.ofType('AWS::EKS::Nodegroup')).toEqual([]);
      return;
    }
    const stray = {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name: 'stray', namespace: 'default' },
      spec: { nodeSelector: { 'kubernetes.io/hostname': gpuNode.metadata.name }, containers: [{ name: 'stray', image: 'stray' }] },
    };
    await plane.api.create(stray);
    const message = await plane.api.until('the verdict on the stray pod', { ...PODS, namespace: 'default' }, ([pod]) => (
      pod.status.conditions?.find((each: Json) => each.type === 'PodScheduled' && each.reason === 'Unschedulable')?.message));
    expect(message).toContain('untolerated taint(s)');
    await plane.api.delete(stray);
  });
});
