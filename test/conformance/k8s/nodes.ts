/** Simulated nodes over three zones: what EKS would put into a cluster that was synthesized. */
import { type SynthesizedBrain, type Zone, ZONES } from './assembly';
import { ControlPlane } from './control-plane';
import { Accelerator, GpuNodeGroups } from '../../../src/cluster';
import type { Json } from '../../support/templates';

export const ZONE_LABEL = 'topology.kubernetes.io/zone';
const GPU = 'nvidia.com/gpu';

/** Pods of a node of 8 vCPUs by its network interfaces (EKS user guide, "maximum pods"; the same for g4dn, g5, g6 and m7i .2xlarge). */
const MAX_PODS = 58;

interface NodeProps {
  readonly name: string;
  readonly zone: Zone;
  readonly labels: { readonly [name: string]: string };
  readonly taints?: readonly Json[];
  readonly vcpus: number;
  readonly memoryGiB: number;
  readonly gpus?: number;
}

/** All nodes of the cluster that a brain declares. */
export function nodesOf(brain: SynthesizedBrain): Json[] {
  return [...ZONES.flatMap(autoModeNodes), ...gpuNodes(brain)];
}

/**
 * Auto Mode's: two of the pool `general-purpose`, and two on which no pod of the brain may end up, one that is tainted (pool `system`) and one of
 * another architecture.
 */
function autoModeNodes(zone: Zone): Json[] {
  const pool = (name: string) => ({ 'karpenter.sh/nodepool': name, 'eks.amazonaws.com/compute-type': 'auto', 'karpenter.sh/capacity-type': 'on-demand' });
  const amd64 = { 'kubernetes.io/arch': 'amd64', 'node.kubernetes.io/instance-type': 'm7i.2xlarge' };
  const size = { vcpus: 8, memoryGiB: 32 };
  return [
    ...[1, 2].map((index) => node({ name: `cpu${index}-${zone}`, zone, labels: { ...pool('general-purpose'), ...amd64 }, ...size })),
    node({ name: `system-${zone}`, zone, labels: { ...pool('system'), ...amd64 }, taints: [{ key: 'CriticalAddonsOnly', effect: 'NoSchedule' }], ...size }),
    node({ name: `arm-${zone}`, zone, labels: { ...pool('general-purpose'), 'kubernetes.io/arch': 'arm64', 'node.kubernetes.io/instance-type': 'm7g.2xlarge' }, ...size }),
  ];
}

/** Those of the managed node groups, one group for each zone, with the labels, taints and numbers of the template. */
function gpuNodes({ templates }: SynthesizedBrain): Json[] {
  return templates.ofType('AWS::EKS::Nodegroup').flatMap(({ properties }, index) => {
    const [type] = properties.InstanceTypes as string[];
    const [instance] = Accelerator.of(type).instances;
    const effects: { readonly [effect: string]: string } = { NO_SCHEDULE: 'NoSchedule', NO_EXECUTE: 'NoExecute', PREFER_NO_SCHEDULE: 'PreferNoSchedule' };
    const taints = (properties.Taints ?? []).map(({ Key, Value, Effect }: Json) => ({ key: Key, value: Value, effect: effects[Effect] }));
    const zone = ZONES[index % ZONES.length];
    return Array.from({ length: properties.ScalingConfig.DesiredSize }, (_each, number) => node({
      name: `gpu${index + 1}-${number + 1}-${zone}`,
      zone,
      labels: { ...properties.Labels, 'kubernetes.io/arch': 'amd64', 'node.kubernetes.io/instance-type': type, 'eks.amazonaws.com/capacityType': properties.CapacityType },
      taints,
      vcpus: instance.vcpus,
      memoryGiB: instance.memory.toGibibytes(),
      gpus: instance.gpus,
    }));
  });
}

/** What a burst brings: in each zone one more node like those of the base. */
export function burstNodes(nodes: readonly Json[]): Json[] {
  return ZONES.flatMap((zone) => nodes.filter(({ metadata }) => metadata.labels[ZONE_LABEL] === zone && metadata.labels[GpuNodeGroups.CAPACITY_LABEL] === 'base').slice(0, 1))
    .map(({ apiVersion, kind, metadata: { name, labels }, spec: { providerID, taints }, status: { capacity, allocatable: given } }) => ({
      apiVersion,
      kind,
      metadata: { name: `burst-${name}`, labels: { ...labels, 'kubernetes.io/hostname': `burst-${name}`, [GpuNodeGroups.CAPACITY_LABEL]: 'burst' } },
      spec: { providerID: `${providerID}-burst`, taints },
      status: { capacity, allocatable: given },
    }));
}

/** What the kubelet leaves to pods: as the EKS-optimized images reserve it (amazon-eks-ami, `kubeReserved`), of memory that the machine shows as 5 % less than its name says. */
function allocatable({ vcpus, memoryGiB, gpus = 0 }: NodeProps): Json {
  const reservedMilli = 60 + 10 + 5 + 5 + 2.5 * Math.max(0, vcpus - 4);
  const reservedMi = 255 + 11 * MAX_PODS + 100;
  return {
    'cpu': `${Math.floor(vcpus * 1000 - reservedMilli)}m`,
    'memory': `${Math.floor(memoryGiB * 1024 * 0.95 - reservedMi)}Mi`,
    'pods': `${MAX_PODS}`,
    'ephemeral-storage': '180Gi',
    ...gpus > 0 ? { [GPU]: `${gpus}` } : {},
  };
}

function node(props: NodeProps): Json {
  const { name, zone, labels, taints = [] } = props;
  const resources = allocatable(props);
  return {
    apiVersion: 'v1',
    kind: 'Node',
    metadata: {
      name,
      labels: {
        ...ControlPlane.NODE, 'kubernetes.io/hostname': name, 'kubernetes.io/os': 'linux', 'topology.kubernetes.io/region': zone.slice(0, -1), [ZONE_LABEL]: zone, ...labels,
      },
    },
    spec: { providerID: `aws:///${zone}/${name}`, taints },
    status: { capacity: resources, allocatable: resources },
  };
}
