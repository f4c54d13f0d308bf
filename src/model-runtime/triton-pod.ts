import { Size } from 'aws-cdk-lib';
import { agentContainer } from './agent-container';
import { DecidedResources } from './decide-resources';
import { startScript } from './triton-start';
import { Accelerator, GpuNodeGroups } from '../cluster';
import { preferBase, preferBurst } from '../cluster/gpu-placement';
import { containerSecurity, GRACE_PERIOD, httpGet, kubernetesApi, labels, mebibytes, podSecurity, quantities, zoneSpread } from '../cluster/pods';
import { AgentPaths, Paths, Port, PriorityClass, RuntimePool, ServiceAccount, TlsSecret } from '../contract';
import { k8s } from '../private/k8s';
import type { DecidedScaling } from '../scaling/pool-scaling';

/** Kubernetes name of a pool's deployment, service and what belongs to them. */
export const poolName = (pool: RuntimePool) => `triton-${pool}`;

/** Name of Triton's container. */
const TRITON = 'triton';

/** `/tmp` of each pod, on the node's disk. */
const TMP = Size.gibibytes(1);

/** What pods of both pools have in common. */
export interface TritonPods {
  readonly image: string;
  readonly agentImage: string;
  readonly accelerator: Accelerator;
  readonly resources: DecidedResources;
  readonly rollbackSeconds: number;
  /** Whether callers show certificates to Triton, and are shown one. */
  readonly secure: boolean;
  readonly annotations: { [name: string]: string };
}

export interface TritonPodProps extends TritonPods {
  readonly pool: RuntimePool;
  readonly scaling: DecidedScaling;
}

/** A pod of a pool: Triton, and the model agent beside it, which alone may reach anything outside of the pod. */
export function tritonPod(props: TritonPodProps): k8s.PodTemplateSpec {
  const { pool, scaling, resources, accelerator, secure, agentImage, rollbackSeconds } = props;
  const name = poolName(pool);
  const gpu = resources.gpus > 0;
  return {
    metadata: {
      labels: labels(name),
      annotations: {
        ...props.annotations,
        // Pod Identity gives credentials to each container; a model's code runs in this one (amazon-eks-pod-identity-webhook, README).
        'eks.amazonaws.com/skip-containers': TRITON,
      },
    },
    spec: {
      serviceAccountName: ServiceAccount.RUNTIME,
      automountServiceAccountToken: false,
      enableServiceLinks: false,
      priorityClassName: pool === 'stable' ? PriorityClass.STABLE : PriorityClass.CANDIDATE,
      securityContext: podSecurity(),
      terminationGracePeriodSeconds: GRACE_PERIOD.toSeconds(),
      nodeSelector: { 'kubernetes.io/arch': 'amd64', ...gpu ? { [GpuNodeGroups.ACCELERATOR_LABEL]: accelerator.name } : {} },
      tolerations: gpu ? [{ key: GpuNodeGroups.TAINT, operator: 'Exists', effect: 'NoSchedule' }] : undefined,
      affinity: gpu ? (pool === 'stable' ? preferBase() : preferBurst()) : undefined,
      topologySpreadConstraints: zoneSpread(name, scaling.least),
      initContainers: [agentContainer({ image: agentImage, name, pool, resources, rollbackSeconds, secure })],
      containers: [container(props)],
      volumes: volumes(props),
    },
  };
}

function container({ image, resources, secure }: TritonPodProps): k8s.Container {
  const { cpu, memory, modelStorage, gpus } = resources;
  const live = httpGet('/v2/health/live', Port.TRITON_HTTP);
  const limits = { memory: mebibytes(memory), ...gpus > 0 ? { [GpuNodeGroups.TAINT]: `${gpus}` } : {} };
  return {
    name: TRITON,
    image,
    command: ['/bin/sh', '-ec', startScript(secure)],
    ports: [
      { name: 'http', containerPort: Port.TRITON_HTTP },
      { name: 'grpc', containerPort: Port.TRITON_GRPC },
      { name: 'metrics', containerPort: Port.TRITON_METRICS },
    ],
    securityContext: containerSecurity(),
    startupProbe: { httpGet: live, periodSeconds: 5, failureThreshold: 60 },
    livenessProbe: { httpGet: live, periodSeconds: 10, timeoutSeconds: 5, failureThreshold: 6 },
    // strict readiness is false while any version is loaded or has failed: the agent says whether the pod is ready, and this only that Triton answers
    readinessProbe: { httpGet: live, periodSeconds: 5, timeoutSeconds: 5 },
    resources: {
      requests: quantities({ cpu, 'ephemeral-storage': mebibytes(Size.mebibytes(modelStorage.toMebibytes() + TMP.toMebibytes())), ...limits }),
      limits: quantities(limits),
    },
    volumeMounts: [
      { name: 'models', mountPath: AgentPaths.VOLUME, readOnly: true },
      { name: 'run', mountPath: AgentPaths.RUN },
      { name: 'shared-memory', mountPath: '/dev/shm' },
      { name: 'tmp', mountPath: '/tmp' },
      ...secure ? [{ name: 'certificate', mountPath: Paths.TRITON_CERTIFICATES, readOnly: true }] : [],
    ],
  };
}

function volumes({ resources: { modelStorage, sharedMemory }, secure }: TritonPodProps): k8s.Volume[] {
  const disk = (name: string, size: string, medium?: string): k8s.Volume => ({
    name, emptyDir: { sizeLimit: k8s.Quantity.fromString(size), medium },
  });
  // not optional: without its certificate a pod waits, and does not answer in plain text
  const secret = (name: string, ...files: string[]): k8s.Volume => ({
    name, secret: { secretName: TlsSecret.RUNTIME_SERVER, defaultMode: 0o440, items: files.map((file) => ({ key: file, path: file })) },
  });
  return [
    { name: 'brain', configMap: { name: 'brain' } },
    { name: 'bindings', configMap: { name: 'bindings' } },
    disk('models', mebibytes(modelStorage)),
    disk('shared-memory', mebibytes(sharedMemory), 'Memory'),
    disk('run', '1Mi', 'Memory'),
    disk('tmp', mebibytes(TMP)),
    ...secure ? [
      secret('certificate', 'tls.crt', 'tls.key', 'ca.crt'),
      // the agent compares, and needs no key for it
      secret('shown-certificate', 'tls.crt', 'ca.crt'),
      kubernetesApi(),
    ] : [],
  ];
}
