import { Chart } from 'cdk8s';
import { NAME } from './inference-pods';
import { IBrainCluster } from '../cluster';
import { awsEgress, dnsEgress, labels, namespacePeer, podIdentityEgress, tcp } from '../cluster/pods';
import { Namespace, Port } from '../contract';
import { IModelRuntime } from '../model-runtime';
import { ITelemetrySink } from '../observability';
import { k8s } from '../private/k8s';

export interface InferenceNetworkProps {
  readonly cluster: IBrainCluster;
  readonly runtime?: IModelRuntime;
  readonly sink?: ITelemetrySink;
  /** Namespaces whose pods may call gRPC. */
  readonly grpcNamespaces: string[];
}

/** The Kubernetes services of the inference service, and every network path to and from its pods. */
export function inferenceNetwork(chart: Chart, { cluster, runtime, sink, grpcNamespaces }: InferenceNetworkProps): void {
  const port = (name: string, number: number) => ({ name, port: number, targetPort: k8s.IntOrString.fromNumber(number) });
  new k8s.KubeService(chart, 'Service', {
    metadata: { name: NAME, namespace: Namespace.INFERENCE, labels: labels(NAME) },
    spec: { type: 'ClusterIP', selector: labels(NAME), ports: [port('rest', Port.REST), port('grpc', Port.GRPC)] },
  });
  // A gRPC connection lives long, and a cluster IP chooses a pod for each connection, not for each call: clients that balance by themselves ask for
  // all pods here. What scrapes metrics asks here too, because it wants each pod's.
  new k8s.KubeService(chart, 'Pods', {
    metadata: { name: `${NAME}-pods`, namespace: Namespace.INFERENCE, labels: labels(NAME) },
    spec: { clusterIp: 'None', selector: labels(NAME), ports: [port('grpc', Port.GRPC), port('metrics', Port.METRICS)] },
  });
  new k8s.KubeNetworkPolicy(chart, 'Paths', {
    metadata: { name: NAME, namespace: Namespace.INFERENCE },
    spec: {
      podSelector: { matchLabels: labels(NAME) },
      policyTypes: ['Ingress', 'Egress'],
      ingress: [
        // Load balancers have no address known here: the nodes' security group admits them, and nobody else from outside of the cluster.
        { ports: tcp(Port.REST, Port.HEALTH) },
        { from: [Namespace.OBSERVABILITY, Namespace.SCALING].map(namespacePeer), ports: tcp(Port.METRICS) },
        ...grpcNamespaces.length === 0 ? [] : [{ from: grpcNamespaces.map(namespacePeer), ports: tcp(Port.GRPC) }],
      ],
      egress: [
        dnsEgress(cluster.dnsAddress),
        podIdentityEgress(),
        // HTTPS to everywhere: AWS, the keys of the tokens' issuer, and the Kubernetes API, at its service's address and at the endpoint's alike,
        // so that it does not matter whether a policy is asked before that address is translated or after.
        awsEgress(),
        ...runtime?.namespace === undefined ? [] : [{ to: [namespacePeer(runtime.namespace)], ports: tcp(Port.TRITON_GRPC) }],
        ...sink?._egress() ?? [],
      ],
    },
  });
}
