import { PoolRollout } from './pool-rollout';
import { PoolScaling } from './pool-scaling';
import { WarmPool } from './warm-pool';

/** How many pods a runtime in the cluster has, how they are replaced, and how much room is kept for more. */
export interface RuntimeScaling {
  /** Pods that hold stable versions. @default - on demand where something scales (`services.scaler`), else the environment's `replicas` */
  readonly stable?: PoolScaling;

  /** Pods that hold candidates. @default - where something scales, none while there is no candidate, and on demand while there is; else one */
  readonly candidate?: PoolScaling;

  /** How pods of both pools are replaced by those of a new revision. @default - a surge of one pod where a burst may bring a node for it, else in place */
  readonly rollout?: PoolRollout;

  /** Places beyond the base that are kept ready for pods to come. @default WarmPool.none() */
  readonly warmPool?: WarmPool;
}
