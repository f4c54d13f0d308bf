import { Chart } from 'cdk8s';
import { Accelerator } from './accelerator';
import { GpuNodeGroups } from './gpu-node-groups';
import { containerSecurity, labels, podSecurity, quantities } from './pods';
import { k8s } from '../private/k8s';

/** Which image is on which nodes before a pod asks for it. */
export interface ImagePrePullProps {
  /** Kubernetes name: `<name>-image`. */
  readonly name: string;
  /** Namespace of the pods that run the image. */
  readonly namespace: string;
  /** The image, pinned. It must have `sleep`. */
  readonly image: string;
  /** The nodes: base and burst alike. */
  readonly accelerator: Accelerator;
}

/**
 * Has every GPU node hold an image of several GB: a pod that moves to another node, or takes the place of a placeholder, starts without the minutes of a pull. A pod
 * of the image itself sleeps on each node, because the kubelet never collects an image that is in use. With a new image all nodes pull at once, beside what still runs.
 */
export function imagePrePull(chart: Chart, { name, namespace, image, accelerator }: ImagePrePullProps): void {
  const own = `${name}-image`;
  const memory = quantities({ memory: '16Mi' });
  new k8s.KubeDaemonSet(chart, 'ImagePrePull', {
    metadata: { name: own, namespace, labels: labels(own) },
    spec: {
      selector: { matchLabels: labels(own) },
      updateStrategy: { type: 'RollingUpdate', rollingUpdate: { maxUnavailable: k8s.IntOrString.fromString('100%') } },
      template: {
        metadata: { labels: labels(own) },
        spec: {
          automountServiceAccountToken: false,
          enableServiceLinks: false,
          securityContext: podSecurity(),
          // A first process that handles no signal is not ended by one.
          terminationGracePeriodSeconds: 1,
          nodeSelector: { 'kubernetes.io/arch': 'amd64', [GpuNodeGroups.ACCELERATOR_LABEL]: accelerator.name },
          tolerations: [{ key: GpuNodeGroups.TAINT, operator: 'Exists', effect: 'NoSchedule' }],
          containers: [{
            name: 'sleep',
            image,
            command: ['sleep', 'infinity'],
            // GPUs of the node are no business of this pod, though the image would ask for all of them.
            env: [{ name: 'NVIDIA_VISIBLE_DEVICES', value: 'void' }],
            securityContext: containerSecurity(),
            resources: { requests: { ...quantities({ 'cpu': '1m', 'ephemeral-storage': '1Mi' }), ...memory }, limits: memory },
          }],
        },
      },
    },
  });
}
