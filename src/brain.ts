import { Construct } from 'constructs';
import { BrainClusterOptions } from './cluster';
import { EdgeStrategy } from './edge';
import { BrainEnvironment } from './environment';
import { FeatureGroup, FeatureStoreOptions } from './features';
import { InferenceOptions } from './inference';
import { ModelRuntime } from './model-runtime';
import { BrainNetworkOptions } from './network';
import { ClusterServices, DataPlane, FoundationPlane, OperationsPlane, ServingPlane } from './planes';
import { brainNameOf } from './private/names';
import { Model } from './registry';
import { StorageOptions } from './storage';
import { VectorIndex, VectorStoreOptions } from './vectors';

/** What a brain is made of. Everything but the environment may be left out: a brain without any model deploys completely. */
export interface BrainProps {
  /** Decides capacity, removal policies and quotas. */
  readonly environment: BrainEnvironment;

  /** The models that this brain may serve. Their versions are released later, not declared here. @default - none */
  readonly models?: Model[];

  /** What is known about entities, online and offline. @default - no feature store */
  readonly featureGroups?: FeatureGroup[];

  /** How features are kept, online and offline. @default - as each option says */
  readonly featureStore?: FeatureStoreOptions;

  /** How long what is kept in buckets stays: training sets, captured payloads. @default - as each option says */
  readonly storage?: StorageOptions;

  /** What is searched by similarity. @default - no vector store */
  readonly vectorIndexes?: VectorIndex[];

  /** How vectors are kept, and generations of them built. @default - as each option says */
  readonly vectorStore?: VectorStoreOptions;

  /** Your own VPC, or the addresses and zones of a new one. @default - a new VPC over three zones of the stack's region */
  readonly network?: BrainNetworkOptions;

  /** Kubernetes version, accelerator, administrators. @default - no accelerator, no administrators */
  readonly cluster?: BrainClusterOptions;

  /** What the cluster does for its pods: certificates, autoscaling. @default - as each service says */
  readonly services?: ClusterServices;

  /** What runs the models. @default - no runtime: pods are ready, every infer request answers `MODEL_NOT_READY` */
  readonly runtime?: ModelRuntime;

  /** Image, limits, tokens and telemetry of the inference service. @default - as each option says */
  readonly inference?: InferenceOptions;

  /** How callers outside of the VPC reach the brain. @default - not at all */
  readonly edge?: EdgeStrategy;
}

/**
 * A complete brain in one stack: foundation, data, serving and operations.
 *
 * One stack for everything is for development; `BrainStage` gives each plane a stack of its own.
 */
export class Brain extends Construct {
  /** Network, keys and the identities of the workloads. */
  readonly foundation: FoundationPlane;

  /** Artifacts, features, vectors and the rollout document. */
  readonly data: DataPlane;

  /** Cluster, model runtime, inference service and edge. */
  readonly serving: ServingPlane;

  /** What watches the brain. */
  readonly operations: OperationsPlane;

  constructor(scope: Construct, id: string, props: BrainProps) {
    super(scope, id);
    const { environment, models = [], featureGroups = [], vectorIndexes = [] } = props;
    const name = brainNameOf(this, id);

    this.foundation = new FoundationPlane(this, 'Foundation', { environment, network: props.network });
    this.data = new DataPlane(this, 'Data', {
      ...props,
      foundation: this.foundation,
      name,
      capture: (props.inference?.telemetry?.capture ?? 0) > 0,
    });
    this.serving = new ServingPlane(this, 'Serving', { ...props, foundation: this.foundation, data: this.data, name, models, featureGroups, vectorIndexes });
    this.operations = new OperationsPlane(this, 'Operations', { foundation: this.foundation });
  }
}
