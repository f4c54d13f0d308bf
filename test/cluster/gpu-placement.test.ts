import { clusterFixture } from './fixture';
import { Accelerator, GpuBase, GpuBurst, GpuNodeGroups } from '../../src/cluster';
import { besideBase, gpuPlaces, preferBase, preferBurst } from '../../src/cluster/gpu-placement';
import { Templates } from '../support/templates';

describe('places on GPU nodes', () => {
  test.each([[1, { base: 12, burst: 8 }], [2, { base: 6, burst: 4 }], [3, { base: 3, burst: 2 }], [5, { base: 0, burst: 0 }]])('of pods with %d GPUs: whole ones, on a node each', (gpus, places) => {
    expect(gpuPlaces({ accelerator: Accelerator.of('g6.12xlarge'), gpuNodes: 3, gpuBurstNodes: 2 }, gpus)).toEqual(places);
  });
});

describe('placement', () => {
  const matched = ({ nodeAffinity }: ReturnType<typeof preferBase>) => nodeAffinity!.preferredDuringSchedulingIgnoredDuringExecution!
    .flatMap(({ preference }) => preference.matchExpressions ?? [])
    .map(({ key, operator, values }) => [key, operator, ...values ?? []]);

  test('of what works is a preference, never a demand: no GPU stays free while such a pod waits', () => {
    for (const { nodeAffinity } of [preferBase(), preferBurst()]) {
      expect(Object.keys(nodeAffinity!)).toEqual(['preferredDuringSchedulingIgnoredDuringExecution']);
    }
  });

  test('names labels that base and burst really have', () => {
    const gpu = { base: GpuBase.onDemand(2), burst: GpuBurst.onDemand({ maxNodes: 2 }) };
    const { stack, cluster } = clusterFixture({ accelerator: Accelerator.L4, gpu });
    const { CAPACITY_LABEL } = GpuNodeGroups;
    const groups = Templates.fromStacks(stack).ofType('AWS::EKS::Nodegroup').map(({ properties }) => properties.Labels[CAPACITY_LABEL]);
    const pool = cluster.gpuBurst!._nodePool().toJson()[0].spec.template.metadata.labels[CAPACITY_LABEL];

    expect(new Set(groups)).toEqual(new Set(['base']));
    expect(matched(preferBase())).toEqual([[GpuNodeGroups.CAPACITY_LABEL, 'In', groups[0]]]);
    expect(matched(preferBurst())).toEqual([[GpuNodeGroups.CAPACITY_LABEL, 'In', pool]]);
    expect(besideBase().nodeAffinity?.requiredDuringSchedulingIgnoredDuringExecution?.nodeSelectorTerms).toEqual([
      { matchExpressions: [{ key: CAPACITY_LABEL, operator: 'NotIn', values: [groups[0]] }] },
    ]);
  });
});
