import { Chart } from 'cdk8s';
import { AGENT } from './agent-container';
import { poolName } from './triton-pod';
import { IBrainCluster } from '../cluster';
import { awsEgress, dnsEgress, labels, namespacePeer, podIdentityEgress, restrictedNamespace, tcp } from '../cluster/pods';
import { Namespace, Port, restartLease, RUNTIME_POOLS, ServiceAccount } from '../contract';
import { k8s } from '../private/k8s';

const namespace = Namespace.RUNTIME;

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
  allow(chart, 'runtime-discovery', { name: ServiceAccount.INFERENCE, namespace: Namespace.INFERENCE }, {
    apiGroups: ['discovery.k8s.io'], resources: ['endpointslices'], verbs: ['get', 'list', 'watch'],
  });
}

/** Agents take turns by the Lease of their pool, and may change nothing else. */
function restarts(chart: Chart): void {
  allow(chart, AGENT, { name: ServiceAccount.RUNTIME, namespace }, {
    apiGroups: ['coordination.k8s.io'], resources: ['leases'], verbs: ['get', 'update'], resourceNames: RUNTIME_POOLS.map((pool) => restartLease(poolName(pool))),
  });
}

/** A role of the runtime's namespace, and the one service account that has it. */
function allow(chart: Chart, name: string, account: { readonly name: string; readonly namespace: string }, rule: k8s.PolicyRule): void {
  const metadata = { name, namespace };
  new k8s.KubeRole(chart, `${name}-role`, { metadata, rules: [rule] });
  new k8s.KubeRoleBinding(chart, `${name}-binding`, {
    metadata, roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'Role', name }, subjects: [{ kind: 'ServiceAccount', ...account }],
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
