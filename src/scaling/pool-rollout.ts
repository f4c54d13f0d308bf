import { IConstruct } from 'constructs';
import { GpuCluster, gpuPlaces } from '../cluster/gpu-placement';
import { fail } from '../private/fail';
import { k8s } from '../private/k8s';

/** What a rollout has to do with: the pool, and the room that its cluster has. @internal */
export interface PoolRolloutContext {
  readonly cluster: GpuCluster;

  /** GPUs of each pod. With 0 there is always a node for one more. */
  readonly gpus: number;

  /** Pods of the pool that are always there. */
  readonly pods: number;

  /** Pods with GPUs that are always there beside the pool's, and whose places it must not count on. @default 0 */
  readonly others?: number;
}

/** How a pool's pods are replaced by those of a new revision: a value until it is bound to the pool. */
export abstract class PoolRollout {
  /**
   * Old pods go first, and new ones take their places: no room is needed, and until a new pod has loaded its models the others carry its share. A pool of one
   * pod is away for as long.
   *
   * @param maxUnavailable pods that may be away at a time
   */
  static inPlace(maxUnavailable: number = 1): PoolRollout {
    return new InPlaceRollout(maxUnavailable);
  }

  /**
   * New pods come first, and old ones go when these are ready. It needs GPUs beyond those that the pools hold: of a burst's nodes, which take minutes, or, at once,
   * where a placeholder of a `WarmPool` stands. While there is no room, because of a peak or a lost AZ, the rollout waits and the old pods serve on.
   *
   * @param pods that may be there at a time beside the pool's
   */
  static surge(pods: number = 1): PoolRollout {
    return new SurgeRollout(pods);
  }

  /** What a pool does of which nothing is said: a surge of one where a burst may bring a node for it, else in place. @internal */
  static _of(rollout: PoolRollout | undefined, scope: IConstruct, context: PoolRolloutContext): k8s.DeploymentStrategy {
    const { cluster, gpus } = context;
    const takesOne = gpus === 0 || (cluster.gpuBurstNodes > 0 && roomOf(context).free >= 1);
    return (rollout ?? (takesOne ? PoolRollout.surge() : PoolRollout.inPlace()))._strategy(scope, context);
  }

  /** @internal */
  abstract _strategy(scope: IConstruct, context: PoolRolloutContext): k8s.DeploymentStrategy;
}

class InPlaceRollout extends PoolRollout {
  constructor(private readonly maxUnavailable: number) {
    super();
  }

  /** @internal */
  override _strategy(scope: IConstruct, { pods }: PoolRolloutContext): k8s.DeploymentStrategy {
    const { maxUnavailable } = this;
    if (!Number.isInteger(maxUnavailable) || maxUnavailable < 1) {
      fail(scope, 'RolloutUnavailable', `maxUnavailable must be an integer of at least 1, got ${maxUnavailable}: a rollout in place takes a pod away to begin`);
    }
    if (maxUnavailable > 1 && maxUnavailable >= pods) {
      fail(scope, 'RolloutUnavailable', `maxUnavailable must be less than the pods that are always there (${pods}), got ${maxUnavailable}: a rollout would take all of them at once`);
    }
    return rollingUpdate(0, maxUnavailable);
  }
}

class SurgeRollout extends PoolRollout {
  constructor(private readonly pods: number) {
    super();
  }

  /** @internal */
  override _strategy(scope: IConstruct, context: PoolRolloutContext): k8s.DeploymentStrategy {
    const { pods } = this;
    if (!Number.isInteger(pods) || pods < 1) fail(scope, 'RolloutSurge', `a surge must be an integer of at least 1, got ${pods}: or use PoolRollout.inPlace()`);
    if (context.gpus > 0) {
      const { base, burst, taken, free } = roomOf(context);
      if (pods > free) {
        fail(scope, 'RolloutSurge', `a surge of ${pods} needs more than the cluster ever has: ${base} places on the base and ${burst} on nodes of a burst, of which pools `
          + `always take ${taken}: raise cluster.gpu, or use PoolRollout.${free >= 1 ? `surge(${free})` : 'inPlace()'}`);
      }
    }
    return rollingUpdate(pods, 0);
  }
}

/** Placeholders stand on places that are counted already: they add none. */
function roomOf({ cluster, gpus, pods, others = 0 }: PoolRolloutContext) {
  const { base, burst } = gpuPlaces(cluster, gpus);
  const taken = pods + others;
  return { base, burst, taken, free: base + burst - taken };
}

function rollingUpdate(maxSurge: number, maxUnavailable: number): k8s.DeploymentStrategy {
  return {
    type: 'RollingUpdate',
    rollingUpdate: { maxSurge: k8s.IntOrString.fromNumber(maxSurge), maxUnavailable: k8s.IntOrString.fromNumber(maxUnavailable) },
  };
}
