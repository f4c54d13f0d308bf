import { Chart } from 'cdk8s';
import { AGENT } from './agent-container';
import { poolName } from './triton-pod';
import { IBrainCluster } from '../cluster';
import { awsEgress, dnsEgress, labels, namespacePeer, podIdentityEgress, restrictedNamespace, tcp } from '../cluster/pods';
import { Namespace, Port, restartLease, RUNTIME_POOLS, ServiceAccount } from '../contract';
import { k8s } from '../private/k8s';

const namespace = Namespace.RUNTIME;
const RBAC = 'rbac.authorization.k8s.io';

export interface SurroundingsProps {
  readonly cluster: IBrainCluster;
  /** Whether agents take turns at restarts of Triton. */
  readonly secure: boolean;
}

/** What the pods of both pools stand in: namespace, service account, rights, and every network path. */
export function surroundings(chart: Chart, { cluster, secure }: SurroundingsProps): void {
  restrictedNamespace(chart, namespace);
  new k8s.KubeServiceAccount(chart, 'ServiceAccount', { metadata: { name: ServiceAccount.RUNTIME, namespace }, automountServiceAccountToken: false });
  discovery(chart);
  if (secure) restarts(chart);
  network(chart, cluster);
}

/** Callers balance over the pods by what the endpoint slices say of them, zone and readiness included: that and nothing else may be read. */
function discovery(chart: Chart): void {
  const metadata = { name: 'runtime-discovery', namespace };
  new k8s.KubeRole(chart, 'Discovery', { metadata, rules: [{ apiGroups: ['discovery.k8s.io'], resources: ['endpointslices'], verbs: ['get', 'list', 'watch'] }] });
  new k8s.KubeRoleBinding(chart, 'DiscoveryByInference', {
    metadata,
    roleRef: { apiGroup: RBAC, kind: 'Role', name: metadata.name },
    subjects: [{ kind: 'ServiceAccount', name: ServiceAccount.INFERENCE, namespace: Namespace.INFERENCE }],
  });
}

/** Agents take turns by the Lease of their pool, and may change nothing else. */
function restarts(chart: Chart): void {
  const metadata = { name: AGENT, namespace };
  new k8s.KubeRole(chart, 'Restarts', {
    metadata,
    rules: [{
      apiGroups: ['coordination.k8s.io'], resources: ['leases'], verbs: ['get', 'update'], resourceNames: RUNTIME_POOLS.map((pool) => restartLease(poolName(pool))),
    }],
  });
  new k8s.KubeRoleBinding(chart, 'RestartsByAgent', {
    metadata,
    roleRef: { apiGroup: RBAC, kind: 'Role', name: metadata.name },
    subjects: [{ kind: 'ServiceAccount', name: ServiceAccount.RUNTIME, namespace }],
  });
}

/** Policies are of a pod, not of a container: what the agent may reach, a model's code may reach too, without any credentials. */
function network(chart: Chart, cluster: IBrainCluster): void {
  new k8s.KubeNetworkPolicy(chart, 'Paths', {
    metadata: { name: 'triton', namespace },
    spec: {
      podSelector: { matchExpressions: [{ key: 'app.kubernetes.io/name', operator: 'In', values: RUNTIME_POOLS.map(poolName) }] },
      policyTypes: ['Ingress', 'Egress'],
      ingress: [
        { from: [{ ...namespacePeer(Namespace.INFERENCE), podSelector: { matchLabels: labels('inference-service') } }], ports: tcp(Port.TRITON_GRPC) },
        { from: [namespacePeer(Namespace.OBSERVABILITY)], ports: tcp(Port.TRITON_METRICS, Port.AGENT) },
      ],
      egress: [
        dnsEgress(cluster.dnsAddress),
        podIdentityEgress(),
        // HTTPS to everywhere: artifacts, the rollout document, and the Kubernetes API for the Lease
        awsEgress(),
      ],
    },
  });
}
