import { Construct } from 'constructs';
import { BrainEnvironment } from '../environment';
import { FeatureGroup, FeatureStore, FeatureStoreOptions, OfflineStrategy } from '../features';
import { FoundationPlane } from './foundation-plane';
import { PayloadCapture } from '../observability';
import { RolloutConfiguration } from '../release';
import { ArtifactStore, StorageOptions, TrainingSetStore } from '../storage';
import { VectorIndex, VectorStore } from '../vectors';

/** Properties of {@link DataPlane}. */
export interface DataPlaneProps {
  /** Decides capacity and removal policies. */
  readonly environment: BrainEnvironment;
  /** Network, keys and roles. */
  readonly foundation: FoundationPlane;
  /** The brain's name. */
  readonly name: string;
  /** What is known about entities. @default - no feature store */
  readonly featureGroups?: FeatureGroup[];
  /** How features are kept, online and offline. @default - as each option says */
  readonly featureStore?: FeatureStoreOptions;
  /** How long what is kept in buckets stays. @default - as each option says */
  readonly storage?: StorageOptions;
  /** What is searched by similarity. @default - no vector store */
  readonly vectorIndexes?: VectorIndex[];
  /** Whether payloads are captured. @default false */
  readonly capture?: boolean;
  /** Where the vector store is made: an OpenSearch upgrade must roll in a stack of its own. Alarms there are the brain's. @default - in this plane */
  readonly vectorScope?: Construct;
}

/** What the brain knows: artifacts, features, vectors, and which model versions serve. */
export class DataPlane extends Construct {
  /** Model artifacts, and the last good rollout document beside them. */
  readonly artifacts: ArtifactStore;

  /** Online features; absent in a brain without feature groups. */
  readonly features?: FeatureStore;

  /** What models were trained on; absent in a brain without offline tables. */
  readonly trainingSets?: TrainingSetStore;

  /** Nearest-neighbour search; absent in a brain without vector indexes. */
  readonly vectors?: VectorStore;

  /** Captured payloads; absent in a brain that captures none. */
  readonly capture?: PayloadCapture;

  /** Which version of which model serves which share of traffic. */
  readonly rollout: RolloutConfiguration;

  constructor(scope: Construct, id: string, props: DataPlaneProps) {
    super(scope, id);
    const { environment, foundation, name, featureGroups = [], vectorIndexes = [] } = props;
    const { alerts, keys, network, roles, serviceLinkedRoles } = foundation;
    for (const watched of [this, props.vectorScope ?? this]) alerts.listenTo(watched);

    this.artifacts = new ArtifactStore(this, 'Artifacts', { environment, encryptionKey: keys.data });
    this.features = featureGroups.length === 0 ? undefined : this.createFeatures(props, featureGroups);
    this.trainingSets = !this.features?.offline ? undefined : new TrainingSetStore(this, 'TrainingSets', {
      environment, encryptionKey: keys.training, artifacts: this.artifacts, retention: props.storage?.trainingSets,
    });
    this.vectors = vectorIndexes.length === 0 ? undefined : new VectorStore(props.vectorScope ?? this, 'Vectors', {
      environment,
      network,
      encryptionKey: keys.vectors,
      logsKey: keys.logs,
      masterRole: roles.vectorAdmin,
      indexes: vectorIndexes,
      serviceLinkedRoles,
    });
    this.capture = !props.capture ? undefined : new PayloadCapture(this, 'Capture', {
      environment, encryptionKey: keys.telemetry, logsKey: keys.logs, artifacts: this.artifacts, retention: props.storage?.telemetry,
    });
    this.rollout = new RolloutConfiguration(this, 'Rollout', { environment, name, encryptionKey: keys.data, logsKey: keys.logs });
  }

  private createFeatures({ environment, foundation: { keys }, featureStore = {} }: DataPlaneProps, groups: FeatureGroup[]): FeatureStore {
    const { offline = OfflineStrategy.iceberg(), lock, ...online } = featureStore;
    lock?._check(this, groups);
    const store = offline._bind(this, 'Offline', { environment, encryptionKey: keys.offline, logsKey: keys.logs, artifacts: this.artifacts, groups });
    return new FeatureStore(this, 'Features', { environment, encryptionKey: keys.data, groups, offline: store, ...online });
  }
}
