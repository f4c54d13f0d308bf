import { App, Chart } from 'cdk8s';
import { Accelerator } from './accelerator';
import { GpuNodeGroups } from './gpu-node-groups';
import { labels, quantities } from './pods';
import { Namespace } from '../contract';
import { k8s } from '../private/k8s';

const NAME = 'nvidia-device-plugin';

/** Where the kubelet listens for device plugins (Kubernetes documentation, "Device Plugins"). */
const SOCKETS = '/var/lib/kubelet/device-plugins';

/**
 * NVIDIA's device plugin on the nodes of the base, whose AMI has none: as NVIDIA's own manifest runs it. It needs a folder of the node, which Pod
 * Security only allows in a privileged namespace: hence one of its own, where nothing else runs and which nothing reaches.
 */
export function devicePlugin(image: string, accelerator: Accelerator): Chart {
  const chart = new Chart(new App(), 'device-plugin');
  new k8s.KubeNamespace(chart, 'Namespace', {
    metadata: {
      name: Namespace.GPU,
      labels: {
        'app.kubernetes.io/part-of': 'thalos-brain',
        'pod-security.kubernetes.io/enforce': 'privileged',
        // What it asks for beyond `baseline` is that folder; anything more shows up in the audit log.
        'pod-security.kubernetes.io/audit': 'baseline',
      },
    },
  });
  new k8s.KubeNetworkPolicy(chart, 'DefaultDeny', {
    metadata: { name: 'default-deny', namespace: Namespace.GPU },
    spec: { podSelector: {}, policyTypes: ['Ingress', 'Egress'] },
  });
  const memory = quantities({ memory: '128Mi' });
  new k8s.KubeDaemonSet(chart, 'Plugin', {
    metadata: { name: NAME, namespace: Namespace.GPU, labels: labels(NAME) },
    spec: {
      selector: { matchLabels: labels(NAME) },
      updateStrategy: { type: 'RollingUpdate', rollingUpdate: { maxUnavailable: k8s.IntOrString.fromNumber(1) } },
      template: {
        metadata: { labels: labels(NAME) },
        spec: {
          automountServiceAccountToken: false,
          enableServiceLinks: false,
          priorityClassName: 'system-node-critical',
          // Auto Mode's nodes have a plugin of their own.
          nodeSelector: { [GpuNodeGroups.ACCELERATOR_LABEL]: accelerator.name, [GpuNodeGroups.CAPACITY_LABEL]: 'base' },
          tolerations: [{ key: GpuNodeGroups.TAINT, operator: 'Exists', effect: 'NoSchedule' }],
          containers: [{
            name: NAME,
            image,
            securityContext: { allowPrivilegeEscalation: false, capabilities: { drop: ['ALL'] }, seccompProfile: { type: 'RuntimeDefault' } },
            resources: { requests: { ...quantities({ cpu: '50m' }), ...memory }, limits: memory },
            volumeMounts: [{ name: 'device-plugins', mountPath: SOCKETS }],
          }],
          volumes: [{ name: 'device-plugins', hostPath: { path: SOCKETS, type: 'Directory' } }],
        },
      },
    },
  });
  return chart;
}
