import { posix } from 'node:path';
import { Size } from 'aws-cdk-lib';
import { Chart } from 'cdk8s';
import { containerSecurity, deployment, GRACE_PERIOD, httpGet, kubernetesApi, labels, mebibytes, podSecurity, quantities, zoneSpread } from '../cluster/pods';
import { Namespace, Paths, PodEnv, Port, ServiceAccount, TlsSecret } from '../contract';
import { k8s } from '../private/k8s';
import type { DecidedScaling } from '../scaling/pool-scaling';

/** Kubernetes name of the deployment, the service and what belongs to them. */
export const NAME = 'inference-service';

/** Secrets of cert-manager's form (`tls.crt`, `tls.key`, `ca.crt`). A pod starts without them, and sees them some time after they are made. */
export const CERTIFICATES = [
  { volume: 'serving-certificates', secretName: TlsSecret.SERVING, mountPath: Paths.SERVING_CERTIFICATES },
  { volume: 'runtime-certificates', secretName: TlsSecret.RUNTIME_CLIENT, mountPath: Paths.RUNTIME_CERTIFICATES },
];

const MEMORY = Size.gibibytes(1);

/** Old generation of the heap. The rest of {@link MEMORY} is for what lies outside of it: tensors and bodies in buffers, TLS, code, stacks. */
const HEAP = Size.mebibytes(640);

export interface InferencePodsProps {
  readonly image: string;
  readonly scaling: DecidedScaling;
  readonly annotations: { [name: string]: string };
}

/** Service account and pods of the inference service. */
export function inferencePods(chart: Chart, props: InferencePodsProps): void {
  new k8s.KubeServiceAccount(chart, 'ServiceAccount', {
    metadata: { name: ServiceAccount.INFERENCE, namespace: Namespace.INFERENCE },
    automountServiceAccountToken: false,
  });
  deployment(chart, {
    metadata: { name: NAME, namespace: Namespace.INFERENCE, labels: labels(NAME) },
    spec: {
      replicas: props.scaling.replicas,
      selector: { matchLabels: labels(NAME) },
      strategy: {
        type: 'RollingUpdate',
        rollingUpdate: { maxSurge: k8s.IntOrString.fromNumber(1), maxUnavailable: k8s.IntOrString.fromNumber(0) },
      },
      template: {
        metadata: { labels: labels(NAME), annotations: props.annotations },
        spec: {
          serviceAccountName: ServiceAccount.INFERENCE,
          // Pod Identity brings its own token. The one for the Kubernetes API is a volume of its own below, short-lived, for this container alone.
          automountServiceAccountToken: false,
          enableServiceLinks: false,
          securityContext: podSecurity(),
          terminationGracePeriodSeconds: GRACE_PERIOD.toSeconds(),
          nodeSelector: { 'kubernetes.io/arch': 'amd64' },
          topologySpreadConstraints: zoneSpread(NAME, props.scaling.least),
          containers: [container(props.image)],
          volumes: [
            { name: 'brain', configMap: { name: 'brain' } },
            { name: 'bindings', configMap: { name: 'bindings' } },
            kubernetesApi(),
            ...CERTIFICATES.map(({ volume, secretName }) => ({ name: volume, secret: { secretName, optional: true, defaultMode: 0o440 } })),
            { name: 'tmp', emptyDir: { sizeLimit: k8s.Quantity.fromString('64Mi') } },
          ],
        },
      },
    },
  });
}

function container(image: string): k8s.Container {
  return {
    name: NAME,
    image,
    env: environment(),
    ports: [
      { name: 'rest', containerPort: Port.REST },
      { name: 'grpc', containerPort: Port.GRPC },
      { name: 'health', containerPort: Port.HEALTH },
      { name: 'metrics', containerPort: Port.METRICS },
    ],
    securityContext: containerSecurity(),
    startupProbe: { httpGet: httpGet('/v2/health/live', Port.HEALTH), periodSeconds: 2, failureThreshold: 60 },
    livenessProbe: { httpGet: httpGet('/v2/health/live', Port.HEALTH), periodSeconds: 10, timeoutSeconds: 3, failureThreshold: 6 },
    readinessProbe: { httpGet: httpGet('/v2/health/ready', Port.HEALTH), periodSeconds: 5, timeoutSeconds: 3 },
    resources: {
      requests: quantities({ 'cpu': '500m', 'memory': mebibytes(MEMORY), 'ephemeral-storage': '128Mi' }),
      limits: quantities({ memory: mebibytes(MEMORY) }),
    },
    volumeMounts: [
      { name: 'brain', mountPath: posix.dirname(Paths.CONFIGURATION), readOnly: true },
      { name: 'bindings', mountPath: Paths.BINDINGS, readOnly: true },
      { name: 'kubernetes-api', mountPath: Paths.KUBERNETES_API, readOnly: true },
      ...CERTIFICATES.map(({ volume, mountPath }) => ({ name: volume, mountPath, readOnly: true })),
      { name: 'tmp', mountPath: '/tmp' },
    ],
  };
}

/** The zone is a label that Kubernetes copies from the node to the pod from 1.35 on (KEP-4742, on by default there); before, the variable is empty. */
function environment(): k8s.EnvVar[] {
  const field = (name: string, fieldPath: string): k8s.EnvVar => ({ name, valueFrom: { fieldRef: { fieldPath } } });
  return [
    { name: 'NODE_OPTIONS', value: `--max-old-space-size=${HEAP.toMebibytes()}` },
    field(PodEnv.NAME, 'metadata.name'),
    field(PodEnv.NAMESPACE, 'metadata.namespace'),
    field(PodEnv.ZONE, "metadata.labels['topology.kubernetes.io/zone']"),
  ];
}
