import { Duration, Size } from 'aws-cdk-lib';
import { ApiObject, Chart, JsonPatch } from 'cdk8s';
import { k8s } from '../private/k8s';

/** What every pod of the brain has in common: Pod Security `restricted`, a spread over zones, an orderly end. */

/** While a pod is deregistered and callers learn of it, it still serves: it sleeps this long before it is told to stop. */
export const PRE_STOP_SLEEP = Duration.seconds(20);

/** How long a load balancer may take to deregister a pod. */
export const DEREGISTRATION_DELAY = Duration.seconds(30);

/** Sleep, then requests in flight (29 s is the longest that the edge allows): longer than {@link DEREGISTRATION_DELAY}. */
export const GRACE_PERIOD = Duration.seconds(75);

/** The kubelet renews a token for the Kubernetes API when 80 % of this are over. */
const TOKEN_LIFETIME = Duration.minutes(30);

/** User of the official Node image and of Triton's alike. */
const UID = 1000;

export const labels = (name: string) => ({ 'app.kubernetes.io/name': name, 'app.kubernetes.io/part-of': 'thalos-brain' });

export const mebibytes = (size: Size) => `${size.toMebibytes()}Mi`;

export const quantities = (values: { [resource: string]: string }) => Object.fromEntries(
  Object.entries(values).map(([resource, value]) => [resource, k8s.Quantity.fromString(value)]),
);

/** A namespace whose pods are refused unless they pass Pod Security `restricted`, and reach nothing that no policy names. */
export function restrictedNamespace(chart: Chart, name: string): void {
  const level = 'restricted';
  new k8s.KubeNamespace(chart, 'Namespace', {
    metadata: {
      name,
      labels: {
        'app.kubernetes.io/part-of': 'thalos-brain',
        'pod-security.kubernetes.io/enforce': level,
        'pod-security.kubernetes.io/audit': level,
        'pod-security.kubernetes.io/warn': level,
      },
    },
  });
  new k8s.KubeNetworkPolicy(chart, 'DefaultDeny', {
    metadata: { name: 'default-deny', namespace: name },
    spec: { podSelector: {}, policyTypes: ['Ingress', 'Egress'] },
  });
}

export const podSecurity = (): k8s.PodSecurityContext => ({
  runAsNonRoot: true,
  runAsUser: UID,
  runAsGroup: UID,
  fsGroup: UID,
  seccompProfile: { type: 'RuntimeDefault' },
});

export const containerSecurity = (): k8s.SecurityContext => ({
  allowPrivilegeEscalation: false,
  readOnlyRootFilesystem: true,
  runAsNonRoot: true,
  capabilities: { drop: ['ALL'] },
});

/**
 * Pods evenly over zones, counted per revision, so that a rollout does not upset the spread. `minDomains` makes the scheduler wait for nodes in
 * the other zones, where it would else put the first pods together on the first node. A single pod goes anywhere.
 */
export function zoneSpread(name: string, replicas: number): k8s.TopologySpreadConstraint[] {
  const common = { maxSkew: 1, labelSelector: { matchLabels: labels(name) }, matchLabelKeys: ['pod-template-hash'] };
  const zone = { ...common, topologyKey: 'topology.kubernetes.io/zone' };
  return [
    replicas > 1
      ? { ...zone, whenUnsatisfiable: 'DoNotSchedule', minDomains: Math.min(replicas, 3) }
      : { ...zone, whenUnsatisfiable: 'ScheduleAnyway' },
    { ...common, topologyKey: 'kubernetes.io/hostname', whenUnsatisfiable: 'ScheduleAnyway' },
  ];
}

/** One pod at a time may be taken away on purpose. */
export function disruptionBudget(chart: Chart, namespace: string, name: string): void {
  new k8s.KubePodDisruptionBudget(chart, 'DisruptionBudget', {
    metadata: { name, namespace },
    spec: {
      maxUnavailable: k8s.IntOrString.fromNumber(1),
      selector: { matchLabels: labels(name) },
      // Pods that never became ready must not keep a node from being drained.
      unhealthyPodEvictionPolicy: 'AlwaysAllow',
    },
  });
}

/**
 * A deployment whose first container sleeps before it is told to stop. The kubelet sleeps, so that an image needs no shell for it; the
 * generated types lack this action (Kubernetes 1.30), and so it is patched into the rendered object.
 */
export function deployment(chart: Chart, props: k8s.KubeDeploymentProps): void {
  new ApiObject(chart, 'Deployment', k8s.KubeDeployment.manifest(props)).addJsonPatch(
    JsonPatch.add('/spec/template/spec/containers/0/lifecycle', { preStop: { sleep: { seconds: PRE_STOP_SLEEP.toSeconds() } } }),
  );
}

/** What a client of the Kubernetes API looks for, at its usual place. */
export function kubernetesApi(): k8s.Volume {
  return {
    name: 'kubernetes-api',
    projected: {
      defaultMode: 0o440,
      sources: [
        { serviceAccountToken: { path: 'token', expirationSeconds: TOKEN_LIFETIME.toSeconds() } },
        { configMap: { name: 'kube-root-ca.crt', items: [{ key: 'ca.crt', path: 'ca.crt' }] } },
        { downwardApi: { items: [{ path: 'namespace', fieldRef: { fieldPath: 'metadata.namespace' } }] } },
      ],
    },
  };
}

export const httpGet = (path: string, port: number): k8s.HttpGetAction => ({ path, port: k8s.IntOrString.fromNumber(port) });

export const tcp = (...ports: number[]): k8s.NetworkPolicyPort[] => ports.map((port) => ({ port: k8s.IntOrString.fromNumber(port), protocol: 'TCP' }));

/** All pods of another namespace. */
export const namespacePeer = (name: string): k8s.NetworkPolicyPeer => ({ namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': name } } });

/** DNS: on Auto Mode's nodes a cache on the node behind the cluster's DNS address, on managed nodes the coredns pods. */
export const dnsEgress = (dnsAddress: string): k8s.NetworkPolicyEgressRule => ({
  to: [
    { ipBlock: { cidr: `${dnsAddress}/32` } },
    { ...namespacePeer('kube-system'), podSelector: { matchLabels: { 'k8s-app': 'kube-dns' } } },
  ],
  ports: ['UDP', 'TCP'].map((protocol) => ({ port: k8s.IntOrString.fromNumber(53), protocol })),
});

/** Credentials: the Pod Identity agent's address on every node (EKS user guide, "Pod Identity considerations"). */
export const podIdentityEgress = (): k8s.NetworkPolicyEgressRule => ({ to: [{ ipBlock: { cidr: '169.254.170.23/32' } }], ports: tcp(80) });

/** AWS APIs, over gateway and interface endpoints or NAT: their addresses are public and change. */
export const awsEgress = (): k8s.NetworkPolicyEgressRule => ({ to: [{ ipBlock: { cidr: '0.0.0.0/0' } }], ports: tcp(443) });
