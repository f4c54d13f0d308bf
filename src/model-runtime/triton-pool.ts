import { App, Chart } from 'cdk8s';
import { poolName, tritonPod, TritonPodProps } from './triton-pod';
import { deployment, disruptionBudget, labels } from '../cluster/pods';
import { Namespace, Port, restartLease } from '../contract';
import { k8s } from '../private/k8s';
import { warmPods } from '../scaling/warm-pods';

export interface TritonPoolProps extends TritonPodProps {
  readonly strategy: k8s.DeploymentStrategy;
  /** Pods that hold places for its own. */
  readonly placeholders: number;
}

/** One pool: its pods, how callers find them, and who of them may be restarted. */
export function tritonPool(props: TritonPoolProps): Chart {
  const { pool, scaling, secure, strategy, placeholders } = props;
  const name = poolName(pool);
  const namespace = Namespace.RUNTIME;
  const chart = new Chart(new App(), name);
  // Headless: callers balance over the pods themselves, because their connections live long.
  new k8s.KubeService(chart, 'Service', {
    metadata: { name, namespace, labels: labels(name) },
    spec: { clusterIp: 'None', selector: labels(name), ports: [{ name: 'grpc', port: Port.TRITON_GRPC }] },
  });
  const template = tritonPod(props);
  deployment(chart, {
    metadata: { name, namespace, labels: labels(name) },
    spec: { replicas: scaling.replicas, selector: { matchLabels: labels(name) }, strategy, template },
  });
  disruptionBudget(chart, namespace, name);
  // Empty, so that agents need no right to make one; what they write into it no apply takes away.
  if (secure) new k8s.KubeLease(chart, 'RestartLease', { metadata: { name: restartLease(name), namespace }, spec: {} });
  if (placeholders > 0) warmPods(chart, { name, namespace, pods: placeholders, pod: template.spec! });
  return chart;
}
