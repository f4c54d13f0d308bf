import { Chart } from 'cdk8s';
import { IBrainCluster } from '../cluster';
import { awsEgress, dnsEgress, namespacePeer, tcp } from '../cluster/pods';
import { Namespace, Port } from '../contract';
import { k8s } from '../private/k8s';

/** Labels that the chart gives its pods. */
const OPERATOR = { app: 'keda-operator' };
const METRICS_SERVER = { app: 'keda-operator-metrics-apiserver' };

/** Between metrics server and operator, gRPC over mutual TLS; and where the Kubernetes API asks the metrics server (`service.portHttpsTarget`). */
const METRICS_SERVICE = 9666;
const EXTERNAL_METRICS = 6443;

/** Every network path to and from KEDA's pods. */
export function kedaNetwork(chart: Chart, cluster: IBrainCluster): void {
  type Labels = typeof OPERATOR;
  const policy = (id: string, matchLabels: Labels, ingress: k8s.NetworkPolicyIngressRule[], egress: k8s.NetworkPolicyEgressRule[]) =>
    new k8s.KubeNetworkPolicy(chart, id, {
      metadata: { name: matchLabels.app, namespace: Namespace.SCALING },
      // The Kubernetes API is behind HTTPS to anywhere: its address is the service's before a policy is asked, or the endpoint's, and neither is a pod's.
      spec: { podSelector: { matchLabels }, policyTypes: ['Ingress', 'Egress'], ingress, egress: [dnsEgress(cluster.dnsAddress), awsEgress(), ...egress] },
    });
  const pods = (matchLabels: Labels): k8s.NetworkPolicyPeer => ({ podSelector: { matchLabels } });

  policy('Operator', OPERATOR,
    [{ from: [pods(METRICS_SERVER)], ports: tcp(METRICS_SERVICE) }],
    [{ to: [namespacePeer(Namespace.INFERENCE)], ports: tcp(Port.METRICS) }]);
  policy('MetricsServer', METRICS_SERVER,
    // from the control plane, whose addresses are among those of the nodes
    [{ from: cluster.nodeCidrs.map((cidr) => ({ ipBlock: { cidr } })), ports: tcp(EXTERNAL_METRICS) }],
    [{ to: [pods(OPERATOR)], ports: tcp(METRICS_SERVICE) }]);
}
