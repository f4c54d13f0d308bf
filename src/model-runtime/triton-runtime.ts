import { Size } from 'aws-cdk-lib';
import { KubernetesManifest } from 'aws-cdk-lib/aws-eks-v2';
import { App, Chart } from 'cdk8s';
import { Construct } from 'constructs';
import { IModelRuntime } from './model-runtime';
import { ContainerImage, GpuNodeGroups, IBrainCluster } from '../cluster';
import {
  containerSecurity, deployment, disruptionBudget, GRACE_PERIOD, httpGet, labels, mebibytes, namespacePeer, podSecurity, quantities,
  restrictedNamespace, tcp, zoneSpread,
} from '../cluster/pods';
import { Binding, Namespace, Port, ServiceAccount } from '../contract';
import { BrainEnvironment } from '../environment';
import { advise, fail } from '../private/fail';
import { k8s } from '../private/k8s';
import { IWorkload } from '../security/workload';

/** The pool that serves stable versions. */
const POOL = 'triton-stable';

/** APIs that change or expose the server. Health, metadata and inference stay open to the inference service. */
const MANAGEMENT_APIS = ['shared-memory', 'model-config', 'model-repository', 'statistics', 'trace', 'logging'].join(',');

/** In memory, readable by the pod's user only. */
const MANAGEMENT_KEY = '/run/thalos/management-key';

/**
 * Callers ping a connection that rests, to find out that its peer is gone before a request does. gRPC's defaults count that as abuse (a ping
 * within 5 minutes without data is a strike, the third ends the connection: gRFC A8); here one every 2.5 s is fine, so that a caller's every 5 s never
 * comes too early. The server itself asks after 30 s.
 */
const KEEP_ALIVE = [
  '--grpc-keepalive-permit-without-calls=true',
  '--grpc-http2-min-recv-ping-interval-without-data=2500',
  '--grpc-http2-max-pings-without-data=0',
  '--grpc-keepalive-time=30000',
  '--grpc-keepalive-timeout=10000',
];

/** `/tmp` of each pod, on the node's disk. */
const TMP = Size.gibibytes(1);

/** One pool of Triton pods. */
export interface TritonProps {
  /** Triton's image. Its registry cannot be an ECR pull-through cache: beyond dev it is copied to the account's own ECR. */
  readonly image: ContainerImage;

  /** Pods. @default - the environment's `replicas` */
  readonly replicas?: number;

  /** CPUs that each pod asks for, e.g. `2` or `500m`. @default '2' */
  readonly cpu?: string;

  /** Memory of each pod, shared memory included: request and limit alike. @default Size.gibibytes(8) */
  readonly memory?: Size;

  /** `/dev/shm` of each pod, part of `memory`: the Python backend moves tensors through it. @default Size.gibibytes(1) */
  readonly sharedMemory?: Size;

  /** Room for models on the node's disk. @default Size.gibibytes(20) */
  readonly modelStorage?: Size;

  /** GPUs of each pod. @default - 1, and 0 with Accelerator.CPU */
  readonly gpus?: number;
}

/** Properties of {@link TritonRuntime}. */
export interface TritonRuntimeProps extends TritonProps {
  /** Decides capacity, retention and removal policies. */
  readonly environment: BrainEnvironment;
  /** The cluster that it belongs to. */
  readonly cluster: IBrainCluster;
}

/**
 * NVIDIA Triton in the brain's cluster: one pool of pods behind a headless service, reachable over gRPC from the inference service only. HTTP is
 * for the kubelet's probes, which come from the pod's own node and are subject to no policy.
 *
 * Models are loaded explicitly and never completed by guess. The management APIs ask for a key that each pod makes for itself
 * at start and that never leaves it, so no caller outside of the pod can load, unload or trace anything.
 */
export class TritonRuntime extends Construct implements IModelRuntime {
  readonly namespace?: string = Namespace.RUNTIME;

  /** Kubernetes name of the headless service. */
  readonly serviceName = POOL;

  /** The pool's manifests. */
  readonly manifest: KubernetesManifest;

  constructor(scope: Construct, id: string, props: TritonRuntimeProps) {
    super(scope, id);
    const { cluster, environment } = props;
    const replicas = props.replicas ?? environment.replicas;
    const gpus = props.gpus ?? Math.min(cluster.accelerator.gpus, 1);
    const memory = props.memory ?? Size.gibibytes(8);
    const sharedMemory = props.sharedMemory ?? Size.gibibytes(1);
    const modelStorage = props.modelStorage ?? Size.gibibytes(20);

    if (!Number.isInteger(replicas) || replicas < 1) fail(this, 'Replicas', `replicas must be an integer of at least 1, got ${replicas}`);
    if (sharedMemory.toMebibytes() >= memory.toMebibytes()) {
      fail(this, 'SharedMemory', `sharedMemory (${mebibytes(sharedMemory)}) is part of memory and must be less than it (${mebibytes(memory)})`);
    }
    this.checkGpus(cluster, replicas, gpus);

    const chart = new Chart(new App(), POOL);
    restrictedNamespace(chart, Namespace.RUNTIME);
    this.pool(chart, { ...props, image: props.image._bind(this, 'Image', environment), replicas, gpus, memory, sharedMemory, modelStorage });
    disruptionBudget(chart, Namespace.RUNTIME, POOL);
    this.network(chart);
    this.discovery(chart);
    this.manifest = cluster.addManifests(POOL, chart);
  }

  /** Gives the workload the pool's address. The path to it, and the right to look up its pods, are open to the inference service only. */
  connectCaller(workload: IWorkload): void {
    workload.addBinding(Binding.TRITON_ENDPOINT, `grpc://${this.serviceName}.${Namespace.RUNTIME}.svc:${Port.TRITON_GRPC}`);
  }

  private checkGpus(cluster: IBrainCluster, replicas: number, gpus: number): void {
    if (!Number.isInteger(gpus) || gpus < 0 || gpus > cluster.accelerator.gpus) {
      fail(this, 'TritonGpus', `gpus must be an integer from 0 to those of one node (${cluster.accelerator.gpus} with ${cluster.accelerator.name}), got ${gpus}: `
        + 'choose an accelerator with more, or fewer for each pod');
    }
    const base = cluster.gpuNodes * Math.floor(gpus > 0 ? cluster.accelerator.gpus / gpus : 0);
    if (gpus > 0 && replicas > base) {
      advise(this, 'gpu-capacity', `${replicas} Triton pods of ${gpus} GPU(s) need more than the ${cluster.gpuNodes} GPU node(s) of the cluster hold (${base}): `
        + 'the others stay pending until the base is raised (cluster.gpu.base) or a burst brings nodes');
    }
  }

  private pool(chart: Chart, pool: Pool): void {
    new k8s.KubeServiceAccount(chart, 'ServiceAccount', {
      metadata: { name: ServiceAccount.RUNTIME, namespace: Namespace.RUNTIME },
      automountServiceAccountToken: false,
    });
    // Headless: callers balance over the pods themselves, because their connections live long.
    new k8s.KubeService(chart, 'Service', {
      metadata: { name: POOL, namespace: Namespace.RUNTIME, labels: labels(POOL) },
      spec: {
        clusterIp: 'None',
        selector: labels(POOL),
        ports: [{ name: 'grpc', port: Port.TRITON_GRPC }],
      },
    });
    const gpu = pool.gpus > 0;
    deployment(chart, {
      metadata: { name: POOL, namespace: Namespace.RUNTIME, labels: labels(POOL) },
      spec: {
        replicas: pool.replicas,
        selector: { matchLabels: labels(POOL) },
        // GPU nodes have no room for one more pod, so a rollout replaces in place.
        strategy: {
          type: 'RollingUpdate',
          rollingUpdate: { maxSurge: k8s.IntOrString.fromNumber(gpu ? 0 : 1), maxUnavailable: k8s.IntOrString.fromNumber(gpu ? 1 : 0) },
        },
        template: {
          metadata: { labels: labels(POOL) },
          spec: {
            serviceAccountName: ServiceAccount.RUNTIME,
            automountServiceAccountToken: false,
            enableServiceLinks: false,
            securityContext: podSecurity(),
            terminationGracePeriodSeconds: GRACE_PERIOD.toSeconds(),
            nodeSelector: { 'kubernetes.io/arch': 'amd64' },
            tolerations: gpu ? [{ key: GpuNodeGroups.TAINT, operator: 'Exists', effect: 'NoSchedule' }] : undefined,
            topologySpreadConstraints: zoneSpread(POOL, pool.replicas),
            containers: [this.container(pool)],
            volumes: [
              { name: 'models', emptyDir: { sizeLimit: k8s.Quantity.fromString(mebibytes(pool.modelStorage)) } },
              { name: 'shared-memory', emptyDir: { medium: 'Memory', sizeLimit: k8s.Quantity.fromString(mebibytes(pool.sharedMemory)) } },
              { name: 'run', emptyDir: { medium: 'Memory', sizeLimit: k8s.Quantity.fromString('1Mi') } },
              { name: 'tmp', emptyDir: { sizeLimit: k8s.Quantity.fromString(mebibytes(TMP)) } },
            ],
          },
        },
      },
    });
  }

  private container(pool: Pool): k8s.Container {
    return {
      name: 'triton',
      image: pool.image,
      command: ['/bin/sh', '-ec', startScript()],
      ports: [
        { name: 'http', containerPort: Port.TRITON_HTTP },
        { name: 'grpc', containerPort: Port.TRITON_GRPC },
        { name: 'metrics', containerPort: Port.TRITON_METRICS },
      ],
      securityContext: containerSecurity(),
      startupProbe: { httpGet: httpGet('/v2/health/live', Port.TRITON_HTTP), periodSeconds: 5, failureThreshold: 60 },
      livenessProbe: { httpGet: httpGet('/v2/health/live', Port.TRITON_HTTP), periodSeconds: 10, timeoutSeconds: 5, failureThreshold: 6 },
      readinessProbe: { httpGet: httpGet('/v2/health/ready', Port.TRITON_HTTP), periodSeconds: 5, timeoutSeconds: 5 },
      resources: {
        requests: quantities({
          'cpu': pool.cpu ?? '2',
          'memory': mebibytes(pool.memory),
          'ephemeral-storage': mebibytes(Size.mebibytes(pool.modelStorage.toMebibytes() + TMP.toMebibytes())),
          ...(pool.gpus > 0 ? { [GpuNodeGroups.TAINT]: `${pool.gpus}` } : {}),
        }),
        limits: quantities({
          memory: mebibytes(pool.memory),
          ...(pool.gpus > 0 ? { [GpuNodeGroups.TAINT]: `${pool.gpus}` } : {}),
        }),
      },
      volumeMounts: [
        { name: 'models', mountPath: '/models' },
        { name: 'shared-memory', mountPath: '/dev/shm' },
        { name: 'run', mountPath: '/run/thalos' },
        { name: 'tmp', mountPath: '/tmp' },
      ],
    };
  }

  private network(chart: Chart): void {
    new k8s.KubeNetworkPolicy(chart, 'FromInference', {
      metadata: { name: 'from-inference', namespace: Namespace.RUNTIME },
      spec: {
        podSelector: { matchLabels: labels(POOL) },
        policyTypes: ['Ingress'],
        ingress: [{ from: [namespacePeer(Namespace.INFERENCE)], ports: tcp(Port.TRITON_GRPC) }],
      },
    });
  }

  /** Callers balance over the pods by what the endpoint slices say of them, zone and readiness included: that and nothing else may be read. */
  private discovery(chart: Chart): void {
    const metadata = { name: 'runtime-discovery', namespace: Namespace.RUNTIME };
    new k8s.KubeRole(chart, 'Discovery', {
      metadata, rules: [{ apiGroups: ['discovery.k8s.io'], resources: ['endpointslices'], verbs: ['get', 'list', 'watch'] }],
    });
    new k8s.KubeRoleBinding(chart, 'DiscoveryByInference', {
      metadata,
      roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'Role', name: metadata.name },
      subjects: [{ kind: 'ServiceAccount', name: ServiceAccount.INFERENCE, namespace: Namespace.INFERENCE }],
    });
  }
}

/** {@link TritonProps} with what is decided. */
interface Pool extends Omit<TritonProps, 'image'> {
  readonly image: string;
  readonly replicas: number;
  readonly gpus: number;
  readonly memory: Size;
  readonly sharedMemory: Size;
  readonly modelStorage: Size;
}

/** No `$(…)`: Kubernetes would read it as a reference to an environment variable. */
function startScript(): string {
  const triton = [
    'exec tritonserver',
    '--model-repository=/models',
    '--model-control-mode=explicit',
    '--disable-auto-complete-config',
    '--strict-readiness=true',
    '--exit-on-error=true',
    `--exit-timeout-secs=${GRACE_PERIOD.toSeconds() - 30}`,
    `--http-port=${Port.TRITON_HTTP}`,
    `--grpc-port=${Port.TRITON_GRPC}`,
    ...KEEP_ALIVE,
    '--allow-metrics=true',
    `--metrics-port=${Port.TRITON_METRICS}`,
    `--http-restricted-api=${MANAGEMENT_APIS}:thalos-management="$KEY"`,
    `--grpc-restricted-protocol=${MANAGEMENT_APIS}:thalos-management="$KEY"`,
  ].join(' ');
  return [
    'umask 077',
    `{ od -An -vtx1 -N32 /dev/urandom | tr -d ' \\n'; echo; } > ${MANAGEMENT_KEY}`,
    `read -r KEY < ${MANAGEMENT_KEY}`,
    'test "${#KEY}" -eq 64',
    triton,
  ].join('\n');
}
