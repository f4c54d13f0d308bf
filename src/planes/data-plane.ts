import { CfnOutput, Duration } from 'aws-cdk-lib';
import { IBucket } from 'aws-cdk-lib/aws-s3';
import { Construct } from 'constructs';
import { BrainEnvironment } from '../environment';
import { Backfill, FeatureGroup, FeatureQuality, FeatureStore, FeatureStoreOptions, OfflineStrategy } from '../features';
import { FoundationPlane } from './foundation-plane';
import { VECTOR_BUILDS_PREFIX } from '../contract';
import { PayloadCapture } from '../observability';
import { advise, fail } from '../private/fail';
import { RolloutConfiguration } from '../release';
import { ArtifactStore, StorageOptions, TrainingSetStore } from '../storage';
import { privateBucket, UNFINISHED_UPLOADS } from '../storage/private-bucket';
import { VectorIndex, VectorIndexBuild, VectorRestoreDrill, VectorStore, VectorStoreOptions } from '../vectors';

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
  /** How vectors are kept, and generations of them built. @default - as each option says */
  readonly vectorStore?: VectorStoreOptions;
  /** Whether payloads are captured. @default false */
  readonly capture?: boolean;
  /** Where the vector store is made: an OpenSearch upgrade must roll in a stack of its own. Alarms there are the brain's. @default - in this plane */
  readonly vectorScope?: Construct;
}

/** How long the list of a build's parts stays: it takes two days at most, and Step Functions redrives it for 14 days after it ended (developer guide, "Redriving executions"). */
const BUILD_LISTS = Duration.days(16);
/** Vectors that were overwritten or deleted by mistake can be brought back as long. */
const NONCURRENT = Duration.days(30);

/** What the brain knows: artifacts, features, vectors, and which model versions serve. */
export class DataPlane extends Construct {
  /** Model artifacts, and the last good rollout document beside them. */
  readonly artifacts: ArtifactStore;

  /** Online features; absent in a brain without feature groups. */
  readonly features?: FeatureStore;

  /** Rows that writers of features refused, and alarms on them; absent in a brain without feature groups. */
  readonly quality?: FeatureQuality;

  /** Brings online what is only offline, and compares both; absent in a brain without offline tables. */
  readonly backfill?: Backfill;

  /** What models were trained on; absent in a brain without offline tables. */
  readonly trainingSets?: TrainingSetStore;

  /** Nearest-neighbour search; absent in a brain without vector indexes. */
  readonly vectors?: VectorStore;

  /** What generations of vector indexes are built from: `.jsonl` and `.jsonl.gz`; absent in a brain without vector indexes. */
  readonly vectorSource?: IBucket;

  /** Builds generations of each vector index, by the index's name. */
  readonly vectorBuilds: { [index: string]: VectorIndexBuild } = {};

  /** Captured payloads; absent in a brain that captures none. */
  readonly capture?: PayloadCapture;

  /** Which version of which model serves which share of traffic. */
  readonly rollout: RolloutConfiguration;

  constructor(scope: Construct, id: string, props: DataPlaneProps) {
    super(scope, id);
    const { environment, foundation, name, featureGroups = [], vectorIndexes = [] } = props;
    const { alerts, keys } = foundation;
    for (const watched of [this, props.vectorScope ?? this]) alerts.listenTo(watched);

    this.artifacts = new ArtifactStore(this, 'Artifacts', { environment, encryptionKey: keys.artifacts, tiering: props.storage?.artifacts });
    if (featureGroups.length > 0) {
      this.quality = new FeatureQuality(this, 'Quality', {
        environment, encryptionKey: keys.quarantine, artifacts: this.artifacts, name, groups: featureGroups, ...props.featureStore?.quality,
      });
      this.features = this.createFeatures(props, featureGroups, this.quality);
      this.backfill = this.createBackfill(props, this.features);
    }
    this.trainingSets = !this.features?.offline ? undefined : new TrainingSetStore(this, 'TrainingSets', {
      environment, encryptionKey: keys.training, artifacts: this.artifacts, source: this.features.offline, retention: props.storage?.trainingSets,
    });
    if (vectorIndexes.length > 0) {
      this.vectorSource = props.vectorStore?.source ?? this.createVectorSource(props);
      this.vectors = this.createVectors(props, vectorIndexes, this.vectorSource);
    }
    this.capture = !props.capture ? undefined : new PayloadCapture(this, 'Capture', {
      environment, encryptionKey: keys.telemetry, logsKey: keys.logs, artifacts: this.artifacts, retention: props.storage?.telemetry,
    });
    this.rollout = new RolloutConfiguration(this, 'Rollout', { environment, name, encryptionKey: keys.data, logsKey: keys.logs });
    this.tellNames();
  }

  /** What commands ask for. */
  private tellNames(): void {
    const names: { [id: string]: [string | undefined, string] } = {
      FeatureTable: [this.features?.table.tableName, 'Online table: --table of the feature commands'],
      FeatureStream: [this.features?.offline?.stream.streamName, 'Stream of the offline tables: --stream of the feature commands'],
      FeatureQuarantine: [this.quality?.quarantine.bucketName, 'Bucket of refused rows: --quarantine of the feature commands'],
      OfflineDatabase: [this.features?.offline?.databaseName, 'Database of the offline tables: --database of training sets'],
      OfflineWorkGroup: [this.features?.offline?.workGroupName, 'Athena workgroup of the offline tables: --work-group of training sets'],
      OfflineBucket: [this.features?.offline?.bucket.bucketName, 'Bucket of the offline tables, and of what did not get there'],
      TrainingSetBucket: [this.trainingSets?.bucket.bucketName, 'Bucket of training sets: --out s3://<bucket>/training-sets/<name>'],
      Backfills: [this.backfill?.stateMachineArn, 'State machine of backfills'],
      ConsistencyChecks: [this.backfill?.checkArn, 'State machine of consistency checks'],
    };
    for (const [id, [value, description]] of Object.entries(names)) if (value !== undefined) new CfnOutput(this, id, { value, description });
  }

  private createVectors(props: DataPlaneProps, indexes: VectorIndex[], source: IBucket): VectorStore {
    const { environment, foundation: { keys, network, roles, serviceLinkedRoles }, name } = props;
    const { version, gate, loaders, drillInterval } = props.vectorStore ?? {};
    const store = new VectorStore(props.vectorScope ?? this, 'Vectors', {
      environment,
      network,
      encryptionKey: keys.vectors,
      logsKey: keys.logs,
      masterRole: roles.vectorAdmin,
      indexes,
      serviceLinkedRoles,
      version,
    });
    for (const index of indexes) {
      // within the store: its access control names their roles
      this.vectorBuilds[index.name] = new VectorIndexBuild(store, `BuildOf${index.name}`, {
        environment, name, logsKey: keys.logs, store, index, source, gate, loaders,
      });
    }
    if (store.snapshots) new VectorRestoreDrill(store, 'Drill', { environment, name, logsKey: keys.logs, store, gate, interval: drillInterval });
    return store;
  }

  /** Beside the other buckets, not with the domain: what it holds is what lost generations are built from again. */
  private createVectorSource({ environment, foundation: { keys } }: DataPlaneProps): IBucket {
    const bucket = privateBucket(this, 'VectorSource', {
      environment,
      encryptionKey: keys.vectors,
      lifecycleRules: [
        { prefix: `${VECTOR_BUILDS_PREFIX}/`, expiration: BUILD_LISTS },
        { noncurrentVersionExpiration: NONCURRENT, abortIncompleteMultipartUploadAfter: UNFINISHED_UPLOADS },
      ],
    });
    this.artifacts._keepAccessLogOf(bucket, 'vector-source/');
    return bucket;
  }

  private createFeatures(props: DataPlaneProps, groups: FeatureGroup[], quality: FeatureQuality): FeatureStore {
    const { environment, foundation: { keys }, featureStore = {} } = props;
    const { offline = OfflineStrategy.iceberg(), lock, warmThroughput, replicas } = featureStore;
    if (lock) {
      lock._check(this, groups);
    } else if (environment.deletionProtection) {
      advise(this, 'noFeatureLock', 'featureStore.lock is not set: nothing notices a feature that is dropped, on which rows, models and training sets depend. '
        + "Run 'thalos-brain features lock' after the synth, commit the file, and give it as FeatureLock.fromFile.");
    }
    const store = offline._bind(this, 'Offline', { environment, encryptionKey: keys.offline, logsKey: keys.logs, artifacts: this.artifacts, groups });
    return new FeatureStore(this, 'Features', { environment, encryptionKey: keys.data, groups, offline: store, quality, warmThroughput, replicas });
  }

  private createBackfill(props: DataPlaneProps, features: FeatureStore): Backfill | undefined {
    const { environment, foundation: { keys }, name, featureStore } = props;
    const { offline, groups } = features;
    if (offline) {
      return new Backfill(this, 'Backfill', {
        environment,
        name,
        encryptionKey: keys.offline,
        logsKey: keys.logs,
        artifacts: this.artifacts,
        features,
        groups,
        offline,
        ...featureStore?.backfill,
      });
    }
    if (featureStore?.backfill) {
      fail(this, 'BackfillWithoutOffline', 'backfill fills from offline tables, and offline is OfflineStrategy.none(): '
        + 'leave backfill out, or keep features offline');
    }
    return undefined;
  }
}
