import { createHash } from 'node:crypto';
import { posix } from 'node:path';
import { Duration, Stack } from 'aws-cdk-lib';
import { KubernetesManifest } from 'aws-cdk-lib/aws-eks-v2';
import { IRole } from 'aws-cdk-lib/aws-iam';
import { App, Chart, Lazy } from 'cdk8s';
import { Construct } from 'constructs';
import { BrainConfigurationFile, BrainDeclarations, InferenceLimits } from './brain-declarations';
import { BrainCluster, ContainerImage } from '../cluster';
import {
  awsEgress, containerSecurity, deployment, DEREGISTRATION_DELAY, disruptionBudget, dnsEgress, GRACE_PERIOD, httpGet, labels, namespacePeer,
  podIdentityEgress, podSecurity, quantities, restrictedNamespace, tcp, zoneSpread,
} from '../cluster/pods';
import { Binding, Namespace, Paths, Port, ServiceAccount } from '../contract';
import { BrainEnvironment } from '../environment';
import { IModelRuntime } from '../model-runtime';
import { fail } from '../private/fail';
import { k8s } from '../private/k8s';
import { IWorkload } from '../security/workload';

/** Kubernetes name of the deployment, the service and what belongs to them. */
const NAME = 'inference-service';

/** Choices about the inference service of a brain. */
export interface InferenceOptions {
  /** Image of its pods, from the account's own registry where Docker is not at hand at deploy. @default ContainerImage.fromBundle('inference-service') */
  readonly image?: ContainerImage;

  /** Bounds that it enforces on requests. @default - as each limit says */
  readonly limits?: InferenceLimits;
}

/** Properties of {@link InferenceService}. */
export interface InferenceServiceProps {
  /** The cluster that it belongs to. */
  readonly cluster: BrainCluster;

  /** Decides capacity, retention and removal policies. */
  readonly environment: BrainEnvironment;

  /** The role of the service's pods: it trusts EKS Pod Identity. */
  readonly role: IRole;

  /** What the brain declares: mounted into the pods as `brain.json`. */
  readonly declarations: BrainDeclarations;

  /** Image of its pods. @default ContainerImage.fromBundle('inference-service') */
  readonly image?: ContainerImage;

  /** What runs the models. @default - no runtime: every infer request answers `MODEL_NOT_READY` */
  readonly runtime?: IModelRuntime;
}

/**
 * The service that answers infer requests: Open Inference Protocol v2 over HTTPS, with features and neighbours fetched before the model is called.
 *
 * Its pods mount `brain.json` with the declarations, and `bindings` with one file for each physical name.
 */
export class InferenceService extends Construct implements IWorkload {
  readonly workloadName = 'InferenceService';

  readonly role: IRole;

  /** Kubernetes namespace. */
  readonly namespace: string = Namespace.INFERENCE;

  /** Kubernetes name of the service. */
  readonly serviceName: string = NAME;

  /** Port of the REST API, HTTPS, on the service and on its pods. */
  readonly port: number = Port.REST;

  /** Port of the health routes, HTTP, on the pods: for the kubelet's probes and a load balancer's health checks. */
  readonly healthPort: number = Port.HEALTH;

  /** What a load balancer's target group waits before it forgets a pod: shorter than the pods' grace period. */
  readonly deregistrationDelay: Duration = DEREGISTRATION_DELAY;

  /** The service's manifests. What binds to the service depends on them. */
  readonly manifest: KubernetesManifest;

  private readonly bindings = new Map<string, string>();

  constructor(scope: Construct, id: string, props: InferenceServiceProps) {
    super(scope, id);
    const { cluster, environment, declarations, runtime } = props;
    this.role = props.role;
    this.addBinding(Binding.REGION, Stack.of(this).region);

    const configuration = new BrainConfigurationFile(this, 'Configuration', { declarations });
    const image = (props.image ?? ContainerImage.fromBundle(NAME))._bind(this, 'Image', environment);

    const chart = new Chart(new App(), NAME);
    restrictedNamespace(chart, this.namespace);
    this.configMaps(chart, configuration);
    this.pods(chart, { image, replicas: environment.replicas, configuration });
    disruptionBudget(chart, this.namespace, NAME);
    this.network(chart, cluster, runtime);

    const identity = cluster.addPodIdentity(this.workloadName, {
      namespace: this.namespace, serviceAccount: ServiceAccount.INFERENCE, role: this.role,
    });
    this.manifest = cluster.addManifests(NAME, chart);
    this.manifest.node.addDependency(identity);
    runtime?.connectCaller(this);
  }

  /** Puts a physical name into the `bindings` ConfigMap. */
  addBinding(name: string, value: string): void {
    if (!(Object.values(Binding) as string[]).includes(name)) {
      fail(this, 'UnknownBinding', `'${name}' is not a binding that the service reads: use one of ${Object.values(Binding).join(', ')}`);
    }
    const bound = this.bindings.get(name);
    if (bound !== undefined && bound !== value) {
      fail(this, 'DuplicateBinding', `binding ${name} is '${bound}' already and cannot be '${value}' too: connect the service to one resource of a kind`);
    }
    this.bindings.set(name, value);
  }

  private configMaps(chart: Chart, configuration: BrainConfigurationFile): void {
    new k8s.KubeConfigMap(chart, 'Brain', {
      metadata: { name: 'brain', namespace: this.namespace },
      data: { [Paths.CONFIGURATION_FILE]: configuration.content },
    });
    new k8s.KubeConfigMap(chart, 'Bindings', {
      metadata: { name: 'bindings', namespace: this.namespace },
      data: Lazy.any({ produce: () => this.sortedBindings() }),
    });
  }

  private pods(chart: Chart, pods: { image: string; replicas: number; configuration: BrainConfigurationFile }): void {
    new k8s.KubeServiceAccount(chart, 'ServiceAccount', {
      metadata: { name: ServiceAccount.INFERENCE, namespace: this.namespace },
      automountServiceAccountToken: false,
    });
    new k8s.KubeService(chart, 'Service', {
      metadata: { name: NAME, namespace: this.namespace, labels: labels(NAME) },
      spec: { type: 'ClusterIP', selector: labels(NAME), ports: [{ name: 'rest', port: this.port, targetPort: k8s.IntOrString.fromNumber(this.port) }] },
    });
    deployment(chart, {
      metadata: { name: NAME, namespace: this.namespace, labels: labels(NAME) },
      spec: {
        replicas: pods.replicas,
        selector: { matchLabels: labels(NAME) },
        strategy: {
          type: 'RollingUpdate',
          rollingUpdate: { maxSurge: k8s.IntOrString.fromNumber(1), maxUnavailable: k8s.IntOrString.fromNumber(0) },
        },
        template: {
          metadata: { labels: labels(NAME), annotations: this.digests(pods.configuration) },
          spec: {
            serviceAccountName: ServiceAccount.INFERENCE,
            // Pod Identity brings its own token; nothing here talks to the Kubernetes API.
            automountServiceAccountToken: false,
            enableServiceLinks: false,
            securityContext: podSecurity(),
            terminationGracePeriodSeconds: GRACE_PERIOD.toSeconds(),
            nodeSelector: { 'kubernetes.io/arch': 'amd64' },
            topologySpreadConstraints: zoneSpread(NAME, pods.replicas),
            containers: [this.container(pods.image)],
            volumes: [
              { name: 'brain', configMap: { name: 'brain' } },
              { name: 'bindings', configMap: { name: 'bindings' } },
              { name: 'tmp', emptyDir: { sizeLimit: k8s.Quantity.fromString('64Mi') } },
            ],
          },
        },
      },
    });
  }

  private container(image: string): k8s.Container {
    return {
      name: NAME,
      image,
      ports: [{ name: 'rest', containerPort: this.port }, { name: 'health', containerPort: this.healthPort }],
      securityContext: containerSecurity(),
      startupProbe: { httpGet: httpGet('/v2/health/live', this.healthPort), periodSeconds: 2, failureThreshold: 60 },
      livenessProbe: { httpGet: httpGet('/v2/health/live', this.healthPort), periodSeconds: 10, timeoutSeconds: 3, failureThreshold: 6 },
      readinessProbe: { httpGet: httpGet('/v2/health/ready', this.healthPort), periodSeconds: 5, timeoutSeconds: 3 },
      resources: {
        requests: quantities({ 'cpu': '500m', 'memory': '1Gi', 'ephemeral-storage': '128Mi' }),
        limits: quantities({ memory: '1Gi' }),
      },
      volumeMounts: [
        { name: 'brain', mountPath: posix.dirname(Paths.CONFIGURATION), readOnly: true },
        { name: 'bindings', mountPath: Paths.BINDINGS, readOnly: true },
        { name: 'tmp', mountPath: '/tmp' },
      ],
    };
  }

  /** Pods read both at start: a change rolls them. The bindings' digest covers references, because the names are not known at synth. */
  private digests(configuration: BrainConfigurationFile): { [name: string]: string } {
    const digest = (text: string) => createHash('sha256').update(text).digest('hex').slice(0, 16);
    return {
      'thalos-brain/configuration-digest': digest(configuration.content),
      'thalos-brain/bindings-digest': Lazy.any({ produce: () => digest(JSON.stringify(Stack.of(this).resolve(this.sortedBindings()))) }),
    };
  }

  private network(chart: Chart, cluster: BrainCluster, runtime?: IModelRuntime): void {
    new k8s.KubeNetworkPolicy(chart, 'Paths', {
      metadata: { name: NAME, namespace: this.namespace },
      spec: {
        podSelector: { matchLabels: labels(NAME) },
        policyTypes: ['Ingress', 'Egress'],
        // Load balancers have no address known here: the nodes' security group admits them, and nobody else from outside of the cluster.
        ingress: [{ ports: tcp(this.port, this.healthPort) }],
        egress: [
          dnsEgress(cluster.dnsAddress),
          podIdentityEgress(),
          awsEgress(),
          ...runtime?.namespace === undefined ? [] : [{ to: [namespacePeer(runtime.namespace)], ports: tcp(Port.TRITON_HTTP, Port.TRITON_GRPC) }],
        ],
      },
    });
  }

  private sortedBindings(): { [name: string]: string } {
    return Object.fromEntries([...this.bindings].sort(([a], [b]) => (a < b ? -1 : 1)));
  }
}
