import { Duration } from 'aws-cdk-lib';
import { IConstruct } from 'constructs';
import { BrainEnvironment } from '../environment';
import { fail } from '../private/fail';

/** How many pods there are while demand changes. */
export interface OnDemandScaling {
  /** Pods that are always there. 0 takes the last one away while nobody asks. @default - the environment's `replicas` */
  readonly min?: number;

  /** Pods at most. @default - three times `min`, and three at least */
  readonly max?: number;

  /** Requests per second that one pod is given. @default - not looked at */
  readonly targetQps?: number;

  /** Requests that one pod has at a time, running or waiting, on average over half a minute. @default 4, or not looked at where another target is given */
  readonly targetQueue?: number;

  /** The 95th percentile above which there are too few pods. Take it for what grows with load only: pods do not make a slow model fast. @default - not looked at */
  readonly targetLatency?: Duration;
}

/** What pods scale on, per pod. @internal */
export interface ScalingTargets {
  readonly qps?: number;
  readonly queue?: number;
  readonly latencyMs?: number;
}

/** A decided {@link PoolScaling}. @internal */
export interface DecidedScaling {
  /** What stands in the deployment; undefined where an autoscaler decides, which every apply would else overrule. */
  readonly replicas?: number;

  /** Pods that are always there: what a spread over zones can count on. */
  readonly least: number;

  readonly most: number;

  readonly targets: ScalingTargets;
}

/** What decides where the props say nothing. @internal */
export interface PoolScalingContext {
  readonly environment: BrainEnvironment;

  /** Whether there is something that scales. */
  readonly scaler: boolean;

  /** Where the least number of pods may be 0, what else is known to bring the first one back. @default - 0 is refused */
  readonly fromZero?: boolean;
}

const DEFAULT_QUEUE = 4;
const DEFAULT_GROWTH = 3;

/** How many pods a pool has: a value until it is bound to the pool. */
export abstract class PoolScaling {
  /** Always so many. @param pods at least 1; the environment's `replicas` where it is left out */
  static fixed(pods?: number): PoolScaling {
    return new FixedScaling(pods);
  }

  /** As many as demand asks for, by KEDA: needs `services.scaler`. */
  static onDemand(props: OnDemandScaling = {}): PoolScaling {
    return new DemandScaling(props);
  }

  /** What a pool does of which nothing is said: on demand where something scales, else fixed. @internal */
  static _of(scaling: PoolScaling | undefined, scope: IConstruct, context: PoolScalingContext): DecidedScaling {
    return (scaling ?? (context.scaler ? PoolScaling.onDemand() : PoolScaling.fixed()))._decide(scope, context);
  }

  /** @internal */
  abstract _decide(scope: IConstruct, context: PoolScalingContext): DecidedScaling;
}

class FixedScaling extends PoolScaling {
  constructor(private readonly pods?: number) {
    super();
  }

  /** @internal */
  override _decide(scope: IConstruct, { environment }: PoolScalingContext): DecidedScaling {
    const replicas = this.pods ?? environment.replicas;
    if (!Number.isInteger(replicas) || replicas < 1) {
      fail(scope, 'Replicas', `a fixed number of pods must be an integer of at least 1, got ${replicas}: PoolScaling.onDemand({ min: 0 }) takes the last one away while nobody asks`);
    }
    return { replicas, least: replicas, most: replicas, targets: {} };
  }
}

class DemandScaling extends PoolScaling {
  constructor(private readonly props: OnDemandScaling) {
    super();
  }

  /** @internal */
  override _decide(scope: IConstruct, { environment, scaler, fromZero = false }: PoolScalingContext): DecidedScaling {
    if (!scaler) fail(scope, 'NoScaler', 'PoolScaling.onDemand() needs something that scales: give services.scaler, e.g. Keda.fromRepository({ images }), or use PoolScaling.fixed()');
    const { targetQps, targetQueue, targetLatency } = this.props;
    const least = this.props.min ?? environment.replicas;
    const most = this.props.max ?? Math.max(DEFAULT_GROWTH, DEFAULT_GROWTH * least);
    const floor = fromZero ? 0 : 1;
    if (!Number.isInteger(least) || least < floor) {
      fail(scope, 'ScalingMin', `min must be an integer of at least ${floor}, got ${least}${fromZero ? '' : ': without a pod nobody would notice that somebody asks'}`);
    }
    if (!Number.isInteger(most) || most < Math.max(1, least)) {
      fail(scope, 'ScalingMax', `max must be an integer of at least min (${least}) and 1, got ${most}`);
    }
    return {
      least,
      most,
      targets: {
        qps: positive(scope, 'targetQps', targetQps),
        queue: positive(scope, 'targetQueue', targetQueue ?? (targetQps === undefined && targetLatency === undefined ? DEFAULT_QUEUE : undefined)),
        latencyMs: positive(scope, 'targetLatency', targetLatency?.toMilliseconds()),
      },
    };
  }
}

function positive(scope: IConstruct, name: string, target: number | undefined): number | undefined {
  if (target !== undefined && !(target > 0 && Number.isFinite(target))) {
    fail(scope, 'ScalingTarget', `${name} must be more than 0, got ${target}: leave it out where it is not looked at`);
  }
  return target;
}
