import { Duration, Stack } from 'aws-cdk-lib';
import { KubernetesManifest } from 'aws-cdk-lib/aws-eks-v2';
import { IRole } from 'aws-cdk-lib/aws-iam';
import { App, Chart } from 'cdk8s';
import { Construct } from 'constructs';
import { BrainConfigurationFile, BrainDeclarations, InferenceLimits } from './brain-declarations';
import { inferenceCertificates } from './inference-certificates';
import { inferenceNetwork } from './inference-network';
import { inferencePods, NAME } from './inference-pods';
import { InferenceTelemetry } from './inference-telemetry';
import { ContainerImage, IBrainCluster } from '../cluster';
import { PodConfiguration } from '../cluster/pod-configuration';
import { DEREGISTRATION_DELAY, disruptionBudget, restrictedNamespace } from '../cluster/pods';
import { Binding, Namespace, NAME_PATTERN, Port, ServiceAccount } from '../contract';
import { BrainEnvironment } from '../environment';
import { IModelRuntime } from '../model-runtime';
import { ITelemetrySink } from '../observability';
import { fail } from '../private/fail';
import { IScaler, PoolScaling } from '../scaling';
import { SERVICE_DEMAND } from '../scaling/demand';
import { ICertificateAuthority, JwtAuthorization } from '../security';
import { resolveJwtAuthorization } from '../security/resolve-jwt-authorization';
import { IWorkload } from '../security/workload';

/** Choices about the inference service of a brain. */
export interface InferenceOptions {
  /** Image of its pods, from the account's own registry where Docker is not at hand at deploy. @default ContainerImage.fromBundle('inference-service') */
  readonly image?: ContainerImage;

  /** Bounds that it enforces on requests. @default - as each limit says */
  readonly limits?: InferenceLimits;

  /**
   * Whose tokens it verifies, for callers inside of the VPC too. Without any, who calls is not known, and overrides and priority lanes are off.
   *
   * @default - those of the edge
   */
  readonly tokens?: JwtAuthorization;

  /** Pods: one at least in any case, which notices that somebody asks. @default - on demand where `services.scaler` is given, else the environment's `replicas` */
  readonly scaling?: PoolScaling;

  /** How much of the traffic is traced, captured and counted, and where that goes. @default - as each option says */
  readonly telemetry?: InferenceTelemetry;

  /** Namespaces of the cluster whose pods may call it over gRPC. @default - none: nobody calls gRPC */
  readonly grpcNamespaces?: string[];
}

/** Properties of {@link InferenceService}. */
export interface InferenceServiceProps {
  /** The cluster that it belongs to. */
  readonly cluster: IBrainCluster;

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

  /** Where metrics and traces go. @default - nowhere; metrics can be scraped */
  readonly sink?: ITelemetrySink;

  /** Namespaces of the cluster whose pods may call it over gRPC. @default - none: nobody calls gRPC */
  readonly grpcNamespaces?: string[];

  /** Who signs what it shows to its callers and to the runtime. @default - each pod makes a certificate for itself, and the runtime is called without one */
  readonly certificates?: ICertificateAuthority;

  /** Pods. @default - on demand where `scaler` is given, else the environment's `replicas` */
  readonly scaling?: PoolScaling;

  /** What scales them. @default - nothing */
  readonly scaler?: IScaler;
}

/**
 * The service that answers infer requests: Open Inference Protocol v2 over HTTPS and gRPC, with features and neighbours fetched before the model is called.
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

  /** Port of gRPC, TLS, on the service, on its pods, and on the headless service `inference-service-pods`. */
  readonly grpcPort: number = Port.GRPC;

  /** Port of the health routes, HTTP, on the pods: for the kubelet's probes and a load balancer's health checks. */
  readonly healthPort: number = Port.HEALTH;

  /** What a load balancer's target group waits before it forgets a pod: shorter than the pods' grace period. */
  readonly deregistrationDelay: Duration = DEREGISTRATION_DELAY;

  /** The service's manifests. What binds to the service depends on them. */
  readonly manifest: KubernetesManifest;

  private readonly configuration: PodConfiguration;

  constructor(scope: Construct, id: string, props: InferenceServiceProps) {
    super(scope, id);
    const { cluster, environment, declarations, runtime, sink, certificates, scaler, grpcNamespaces = [] } = props;
    this.role = props.role;
    this.requireNamespaces(grpcNamespaces);

    this.configuration = new PodConfiguration(this, new BrainConfigurationFile(this, 'Configuration', { declarations, runtime }).content);
    this.addBinding(Binding.REGION, Stack.of(this).region);
    const image = (props.image ?? ContainerImage.fromBundle(NAME))._bind(this, 'Image', environment);

    const scaling = PoolScaling._of(props.scaling, this, { environment, scaler: scaler !== undefined });
    const chart = new Chart(new App(), NAME);
    restrictedNamespace(chart, this.namespace);
    this.configuration.addTo(chart, this.namespace);
    inferencePods(chart, { image, scaling, annotations: this.configuration.digests() });
    disruptionBudget(chart, this.namespace, NAME);
    inferenceNetwork(chart, { cluster, runtime, sink, grpcNamespaces });

    const identity = cluster.addPodIdentity(this.workloadName, {
      namespace: this.namespace, serviceAccount: ServiceAccount.INFERENCE, role: this.role,
    });
    this.manifest = cluster.addManifests(NAME, chart);
    this.manifest.node.addDependency(identity);
    certificates?.issue(`${NAME}-certificates`, this.manifest, inferenceCertificates(runtime));
    if (scaling.replicas === undefined) scaler!._scale(`${NAME}-scaling`, [this.manifest], [{ name: NAME, namespace: this.namespace, scaling, demand: SERVICE_DEMAND }]);
    runtime?.connectCaller(this);
    sink?.connectSender(this);
  }

  /** Has the service verify tokens by itself, as a second line behind whoever verified them before, and take from them alone who calls. */
  acceptTokens(tokens: JwtAuthorization): void {
    const { issuer, audience, scopes, jwksUri } = resolveJwtAuthorization(this, tokens);
    const port = /^https:\/\/[^/]+:(\d+)(\/|$)/.exec(jwksUri)?.[1];
    if (port !== undefined && port !== '443') {
      fail(this, 'JwksPort', `jwksUri must be at port 443, got '${jwksUri}': the pods' network policy opens no other`);
    }
    this.addBinding(Binding.JWT_ISSUER, issuer);
    this.addBinding(Binding.JWT_AUDIENCE, audience);
    this.addBinding(Binding.JWT_SCOPES, scopes.join(' '));
    this.addBinding(Binding.JWKS_URI, jwksUri);
  }

  /** Puts a physical name into the `bindings` ConfigMap. */
  addBinding(name: string, value: string): void {
    this.configuration.addBinding(name, value);
  }

  private requireNamespaces(names: readonly string[]): void {
    const bad = names.find((name) => !new RegExp(NAME_PATTERN).test(name) || name.includes('_'));
    if (bad !== undefined) fail(this, 'GrpcNamespace', `grpcNamespaces must be names of Kubernetes namespaces, got '${bad}': use lower case letters, digits and '-'`);
  }
}
