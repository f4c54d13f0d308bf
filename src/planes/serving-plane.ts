import { Construct } from 'constructs';
import { ClusterServices } from './cluster-services';
import { DataPlane } from './data-plane';
import { FoundationPlane } from './foundation-plane';
import { BrainCluster, BrainClusterOptions, IBrainCluster } from '../cluster';
import { DEFAULT_TELEMETRY } from '../contract';
import { EdgeStrategy, IBrainEdge } from '../edge';
import { BrainEnvironment } from '../environment';
import { FeatureGroup } from '../features';
import { InferenceOptions, InferenceService } from '../inference';
import { IModelRuntime, ModelRuntime } from '../model-runtime';
import { ITelemetrySink, TelemetrySink } from '../observability';
import { fail } from '../private/fail';
import { Model } from '../registry';
import { IScaler } from '../scaling';
import { CertificateAuthority, ICertificateAuthority } from '../security';
import { VectorIndex } from '../vectors';

/** Properties of {@link ServingPlane}. */
export interface ServingPlaneProps {
  /** Decides capacity, retention and removal policies. */
  readonly environment: BrainEnvironment;

  /** Network, keys and identities. */
  readonly foundation: FoundationPlane;

  /** Artifacts, features, vectors and the rollout document. */
  readonly data: DataPlane;

  /** The brain's name. */
  readonly name: string;

  /** The models that the brain may serve. */
  readonly models: Model[];

  /** The feature groups that the brain declares. */
  readonly featureGroups: FeatureGroup[];

  /** The vector indexes that the brain declares. */
  readonly vectorIndexes: VectorIndex[];

  /** Kubernetes version, accelerator, administrators. @default - as each option says */
  readonly cluster?: BrainClusterOptions;

  /** Certificates and autoscaling. @default - as each service says */
  readonly services?: ClusterServices;

  /** What runs the models. @default - no runtime: every infer request answers `MODEL_NOT_READY` */
  readonly runtime?: ModelRuntime;

  /** Image, limits, tokens and telemetry of the inference service. @default - as each option says */
  readonly inference?: InferenceOptions;

  /** How callers outside of the VPC reach the brain. @default - not at all */
  readonly edge?: EdgeStrategy;
}

/** Cluster, model runtime, inference service and edge: what answers requests. */
export class ServingPlane extends Construct {
  /** The cluster. */
  readonly cluster: IBrainCluster;

  /** Who signs the certificates of its pods. */
  readonly certificates?: ICertificateAuthority;

  /** What lets its numbers of pods follow demand. */
  readonly scaler?: IScaler;

  /** What runs the models. */
  readonly runtime?: IModelRuntime;

  /** Where metrics and traces of its pods go. */
  readonly telemetry?: ITelemetrySink;

  /** The inference service. */
  readonly inference: InferenceService;

  /** How callers outside of the VPC reach it. */
  readonly edge?: IBrainEdge;

  constructor(scope: Construct, id: string, props: ServingPlaneProps) {
    super(scope, id);
    const { environment, foundation, data, name, models, featureGroups, vectorIndexes, services = {}, inference: options = {} } = props;
    const { alerts, network, keys, roles } = foundation;
    alerts.listenTo(this);

    this.cluster = this.resolveCluster(props);
    this.certificates = (services.certificates ?? CertificateAuthority.inCluster())._bind(this, 'Certificates', { cluster: this.cluster, name });
    this.scaler = services.scaler?._bind(this, 'Scaler', { environment, cluster: this.cluster, name });
    this.runtime = props.runtime?._bind(this, 'Runtime', {
      environment, name, models, role: roles.runtime, cluster: this.cluster, certificates: this.certificates, scaler: this.scaler,
    });
    const sink = options.telemetry?.sink ?? TelemetrySink.cloudWatch();
    this.telemetry = sink._bind(this, 'Telemetry', { environment, cluster: this.cluster, logsKey: keys.logs });
    this.inference = new InferenceService(this, 'Inference', {
      cluster: this.cluster,
      environment,
      role: roles.inference,
      declarations: {
        name, environment: environment.name, models, featureGroups, vectorIndexes, limits: options.limits, telemetry: options.telemetry,
      },
      image: options.image,
      runtime: this.runtime,
      sink: this.telemetry,
      certificates: this.certificates,
      scaling: options.scaling,
      scaler: this.scaler,
      grpcNamespaces: options.grpcNamespaces,
    });
    if (options.tokens) this.inference.acceptTokens(options.tokens);

    for (const workload of [this.inference, ...this.runtime?.agent ? [this.runtime.agent] : []]) {
      data.artifacts.connectReader(workload);
      data.rollout.connectReader(workload);
    }
    if ((options.telemetry?.statistics ?? DEFAULT_TELEMETRY.statistics) > 0) data.artifacts.connectStatisticsWriter(this.inference);
    data.features?.connectReader(this.inference);
    data.vectors?.connectSearcher(this.inference);
    data.capture?.connectWriter(this.inference);

    this.edge = props.edge?._bind(this, { environment, network, cluster: this.cluster, service: this.inference, logsKey: keys.logs });
  }

  private resolveCluster({ environment, foundation, name, cluster: options = {} }: ServingPlaneProps): IBrainCluster {
    const { network, keys, serviceLinkedRoles } = foundation;
    if (!options.existing) {
      return new BrainCluster(this, 'Cluster', { environment, network, encryptionKey: keys.cluster, logsKey: keys.logs, name, options, serviceLinkedRoles });
    }
    const { existing, serviceCidr, accelerator, version, addOnVersions, ...forNew } = options;
    const wrong = Object.entries(forNew).filter(([, value]) => value !== undefined).map(([key]) => key);
    if (wrong.length > 0) {
      fail(this, 'ClusterOptions', `${wrong.join(', ')} describe a new cluster and do not go with existing: leave them out, or leave existing out`);
    }
    if (serviceCidr === undefined) {
      fail(this, 'ExistingClusterServiceCidr', 'an existing cluster needs its serviceCidr, which network policies open DNS by: aws eks describe-cluster --query cluster.kubernetesNetworkConfig.serviceIpv4Cidr');
    }
    return BrainCluster.fromExisting(this, 'Cluster', { name, existing, serviceCidr, accelerator, version, addOnVersions, network });
  }
}
