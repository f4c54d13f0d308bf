import type { IBrainCluster } from './brain-cluster-reference';
import { GpuNodeGroups } from './gpu-node-groups';
import { k8s } from '../private/k8s';

/** Which GPU nodes pods go to, and how many there may be (docs/adr/0023). */

/** What places are counted by. */
export type GpuCluster = Pick<IBrainCluster, 'accelerator' | 'gpuNodes' | 'gpuBurstNodes'>;

/** Pods that the GPU nodes of a cluster hold. */
export interface GpuPlaces {
  /** On nodes that are always there. */
  readonly base: number;
  /** On nodes that may come. */
  readonly burst: number;
}

/** @param gpus of each pod, at least 1 */
export function gpuPlaces({ accelerator, gpuNodes, gpuBurstNodes }: GpuCluster, gpus: number): GpuPlaces {
  const ofNode = Math.floor(accelerator.gpus / gpus);
  return { base: gpuNodes * ofNode, burst: gpuBurstNodes * ofNode };
}

/** The most that a preference weighs (Kubernetes API, PreferredSchedulingTerm). */
const WEIGHT = 100;

/** For what serves: nodes that nobody takes back. It also lets Karpenter empty a burst's nodes when the base has room again. */
export const preferBase = (): k8s.Affinity => prefer('base');

/** For what gives way: it leaves the base to what serves. Without a burst's node that is there and has room, it goes wherever there is room. */
export const preferBurst = (): k8s.Affinity => prefer('burst');

/** For what only holds a place: on the base it would keep what serves on a burst's nodes, because Karpenter moves pods to free places alone. */
export function besideBase(): k8s.Affinity {
  const matchExpressions = [{ key: GpuNodeGroups.CAPACITY_LABEL, operator: 'NotIn', values: ['base'] }];
  return { nodeAffinity: { requiredDuringSchedulingIgnoredDuringExecution: { nodeSelectorTerms: [{ matchExpressions }] } } };
}

function prefer(capacity: 'base' | 'burst'): k8s.Affinity {
  return {
    nodeAffinity: {
      preferredDuringSchedulingIgnoredDuringExecution: [{
        weight: WEIGHT,
        preference: { matchExpressions: [{ key: GpuNodeGroups.CAPACITY_LABEL, operator: 'In', values: [capacity] }] },
      }],
    },
  };
}
