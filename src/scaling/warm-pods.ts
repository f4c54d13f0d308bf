import { Chart } from 'cdk8s';
import { GpuNodeGroups } from '../cluster';
import { besideBase } from '../cluster/gpu-placement';
import { containerSecurity, labels, podSecurity, zoneSpread } from '../cluster/pods';
import { PriorityClass } from '../contract';
import { k8s } from '../private/k8s';

/** The places that placeholders keep. */
export interface WarmPodsProps {
  /** Kubernetes name of the pool's deployment: theirs is `<name>-warm`. */
  readonly name: string;
  readonly namespace: string;
  /** How many. */
  readonly pods: number;
  /** A pod of the pool. Its first container's image must have `sleep`. */
  readonly pod: k8s.PodSpec;
}

/**
 * Placeholders: pods that sleep where a pod of the pool could stand, with a container for each of that pod's which asks for the same, so that whatever fits in
 * one's place fits in the other's. The pool's own image keeps the image on the node, and is no further one to trust. They can reach nothing and nobody.
 */
export function warmPods(chart: Chart, { name, namespace, pods, pod }: WarmPodsProps): void {
  const own = `${name}-warm`;
  // sidecars ask beside the others, other containers that come first do not
  const beside = [...(pod.initContainers ?? []).filter(({ restartPolicy }) => restartPolicy === 'Always'), ...pod.containers];
  const onGpus = beside.some(({ resources }) => resources?.limits?.[GpuNodeGroups.TAINT] !== undefined);
  new k8s.KubeDeployment(chart, own, {
    metadata: { name: own, namespace, labels: labels(own) },
    spec: {
      replicas: pods,
      selector: { matchLabels: labels(own) },
      // New ones would else ask for nodes of their own, to hold a place for a moment.
      strategy: { type: 'RollingUpdate', rollingUpdate: { maxSurge: k8s.IntOrString.fromNumber(0), maxUnavailable: k8s.IntOrString.fromString('100%') } },
      template: {
        metadata: { labels: labels(own) },
        spec: {
          priorityClassName: PriorityClass.PLACEHOLDER,
          automountServiceAccountToken: false,
          enableServiceLinks: false,
          securityContext: podSecurity(),
          // A first process that handles no signal is not ended by one. Not 0: the place would count as free while its GPU is still taken.
          terminationGracePeriodSeconds: 1,
          nodeSelector: pod.nodeSelector,
          tolerations: pod.tolerations,
          affinity: onGpus ? besideBase() : undefined,
          // as for one pod: a place in whichever zone is better than none
          topologySpreadConstraints: zoneSpread(own, 1),
          containers: beside.map((container) => ({
            name: `${container.name}-place`,
            image: pod.containers[0].image,
            command: ['sleep', 'infinity'],
            // It keeps GPUs and looks at none: a driver that hangs is no business of a placeholder.
            env: [{ name: 'NVIDIA_VISIBLE_DEVICES', value: 'void' }],
            securityContext: containerSecurity(),
            resources: container.resources,
          })),
        },
      },
    },
  });
}
