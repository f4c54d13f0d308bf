import { Duration, RemovalPolicy } from 'aws-cdk-lib';
import { ControlPlaneScalingTier } from 'aws-cdk-lib/aws-eks-v2';
import { RetentionDays } from 'aws-cdk-lib/aws-logs';
import { requireDays } from '../private/declarations';
import { fail } from '../private/fail';
import { requireName } from '../private/names';

/** Capacity of a vector store's domain. */
export interface VectorCapacity {
  /** OpenSearch instance type of the data nodes, e.g. `r7g.large.search`. */
  readonly dataNodeType: string;
  /** Number of data nodes: a multiple of 3 beyond a single node. */
  readonly dataNodes: number;
  /** Instance type of three dedicated masters. @default - no dedicated masters */
  readonly masterNodeType?: string;
  /** Multi-AZ with standby: needs dedicated masters and a multiple of 3 data nodes. @default false */
  readonly standby?: boolean;
  /** EBS volume of each data node, GiB of gp3. @default 100 */
  readonly volumeSizeGiB?: number;
}

/** What differs between environments, and nothing else does. */
export interface BrainEnvironmentProps {
  /** What happens to data when a stack is deleted. Keys are retained in every environment. @default RemovalPolicy.RETAIN */
  readonly removalPolicy?: RemovalPolicy;
  /** Deletion protection of tables and cluster. @default true */
  readonly deletionProtection?: boolean;
  /** NAT gateways, 1 to 3: one per AZ survives the loss of an AZ. @default 3 */
  readonly natGateways?: number;
  /** Interface endpoints for every AWS service that nodes and pods call. @default true */
  readonly privateEndpoints?: boolean;
  /** Retention of every log group. @default RetentionDays.ONE_YEAR */
  readonly logRetention?: RetentionDays;
  /** Capacity of the vector store. @default - 3 × r7g.large.search with standby and three m7g.large.search masters */
  readonly vectorCapacity?: VectorCapacity;
  /** Replicas of the inference service, and of each runtime pool: at least 1. @default 3 */
  readonly replicas?: number;
  /** Container images from outside of the account's own registry. @default false */
  readonly foreignImages?: boolean;
  /** Quota of the edge: requests per second of all callers together, with a burst of twice that. @default 1000 */
  readonly requestsPerSecond?: number;
  /**
   * Capacity of the Kubernetes control plane that is there all the time, and paid for: for clusters of thousands of pods, or that grow by hundreds at once.
   * @default ControlPlaneScalingTier.STANDARD
   */
  readonly controlPlaneTier?: ControlPlaneScalingTier;
  /** How long the past of the offline tables can be asked for: whole days, at least 1. A training set pins it, and outlives it. @default Duration.days(90) */
  readonly snapshotRetention?: Duration;
  /** Whether backfills of features run by themselves, where nothing else is said. @default true */
  readonly scheduledBackfills?: boolean;
}

/**
 * The one source of differences between environments: capacity, removal policies, quotas.
 *
 * Staging has the shape of prod with less capacity; dev is small and leaves nothing behind.
 */
export class BrainEnvironment {
  /**
   * Small, single-node where that is safe, deleted with its stack.
   *
   * The vector store has three small nodes: a single one has no copy of a shard and no other master, so that its indexes go with it, and shows nothing of zones
   * and replicas before staging does.
   */
  static dev(): BrainEnvironment {
    return new BrainEnvironment('dev', {
      removalPolicy: RemovalPolicy.DESTROY,
      deletionProtection: false,
      natGateways: 1,
      privateEndpoints: false,
      logRetention: RetentionDays.TWO_WEEKS,
      vectorCapacity: { dataNodeType: 't3.medium.search', dataNodes: 3, volumeSizeGiB: 20 },
      replicas: 3,
      foreignImages: true,
      requestsPerSecond: 100,
      snapshotRetention: Duration.days(7),
      scheduledBackfills: false,
    });
  }

  /** The shape of prod at the least capacity that shape allows. */
  static staging(): BrainEnvironment {
    return new BrainEnvironment('staging', {
      logRetention: RetentionDays.THREE_MONTHS,
      vectorCapacity: { ...BrainEnvironment.PROD_VECTORS, dataNodeType: 'm7g.large.search', volumeSizeGiB: 50 },
      snapshotRetention: Duration.days(30),
    });
  }

  /** Three of everything, retained, protected. */
  static prod(): BrainEnvironment {
    return new BrainEnvironment('prod', {});
  }

  /** An environment of your own; what is left out is as in prod. */
  static custom(name: string, props: BrainEnvironmentProps = {}): BrainEnvironment {
    return new BrainEnvironment(requireName(undefined, 'the environment name', name), props);
  }

  private static readonly PROD_VECTORS: VectorCapacity = {
    dataNodeType: 'r7g.large.search', dataNodes: 3, masterNodeType: 'm7g.large.search', standby: true, volumeSizeGiB: 100,
  };

  /** What happens to data when a stack is deleted. */
  readonly removalPolicy: RemovalPolicy;
  /** Deletion protection of tables, cluster and load balancer. */
  readonly deletionProtection: boolean;
  /** Number of NAT gateways, 1 to 3. */
  readonly natGateways: number;
  /** Whether AWS services are reached through interface endpoints. */
  readonly privateEndpoints: boolean;
  /** Retention of every log group. */
  readonly logRetention: RetentionDays;
  /** Capacity of the vector store's domain. */
  readonly vectorCapacity: VectorCapacity;
  /** Replicas of the inference service and of each runtime pool. */
  readonly replicas: number;
  /** Whether images from outside of the account's own registry are allowed. */
  readonly foreignImages: boolean;
  /** Requests per second that the edge lets in, of all callers together. */
  readonly requestsPerSecond: number;
  /** Capacity of the Kubernetes control plane. */
  readonly controlPlaneTier: ControlPlaneScalingTier;
  /** How long the past of the offline tables can be asked for. */
  readonly snapshotRetention: Duration;
  /** Whether backfills of features run by themselves, where nothing else is said. */
  readonly scheduledBackfills: boolean;

  private constructor(readonly name: string, props: BrainEnvironmentProps) {
    this.removalPolicy = props.removalPolicy ?? RemovalPolicy.RETAIN;
    this.deletionProtection = props.deletionProtection ?? true;
    this.natGateways = props.natGateways ?? 3;
    this.privateEndpoints = props.privateEndpoints ?? true;
    this.logRetention = props.logRetention ?? RetentionDays.ONE_YEAR;
    this.vectorCapacity = props.vectorCapacity ?? BrainEnvironment.PROD_VECTORS;
    this.replicas = props.replicas ?? 3;
    this.foreignImages = props.foreignImages ?? false;
    this.requestsPerSecond = props.requestsPerSecond ?? 1000;
    this.controlPlaneTier = props.controlPlaneTier ?? ControlPlaneScalingTier.STANDARD;
    this.snapshotRetention = props.snapshotRetention ?? Duration.days(90);
    this.scheduledBackfills = props.scheduledBackfills ?? true;
    requireDays(undefined, 'SnapshotRetention', 'snapshotRetention', this.snapshotRetention, 1);

    if (![1, 2, 3].includes(this.natGateways)) {
      fail(undefined, 'NatGateways', `natGateways must be 1, 2 or 3, got ${this.natGateways}: one per AZ (3) survives the loss of an AZ`);
    }
    if (!Number.isInteger(this.replicas) || this.replicas < 1) {
      fail(undefined, 'Replicas', `replicas must be an integer of at least 1, got ${this.replicas}`);
    }
    if (!Number.isInteger(this.requestsPerSecond) || this.requestsPerSecond < 1) {
      fail(undefined, 'RequestsPerSecond', `requestsPerSecond must be an integer of at least 1, got ${this.requestsPerSecond}: without edge nobody gets in anyway`);
    }
  }
}
