import { IConstruct } from 'constructs';
import { GpuCluster, gpuPlaces } from '../cluster/gpu-placement';
import { fail } from '../private/fail';

/** Where placeholders stand. @internal */
export interface WarmPoolContext {
  readonly cluster: GpuCluster;

  /** GPUs of each pod. With 0 there is always a node for one more. */
  readonly gpus: number;

  /** Pods with GPUs that are always there, of all pools. */
  readonly pods: number;
}

/**
 * Places beyond the base that are kept ready for pods to come: on nodes of a burst that have joined, and hold the image. In each stands a placeholder, which asks for
 * the same as a pod of the pool and gives way to it within a second or two. The next node starts while the new pod is at work already.
 */
export class WarmPool {
  /** So many. Each costs what its pod would: GPUs of a node of a burst, all the time. What the base has to spare is warm by itself. */
  static of(pods: number): WarmPool {
    if (!Number.isInteger(pods) || pods < 1) fail(undefined, 'WarmPoolPods', `a warm pool must have at least 1 placeholder, got ${pods}: or use WarmPool.none()`);
    return new WarmPool(pods);
  }

  /** None: a pod that finds no room waits for a node, and for its image. */
  static none(): WarmPool {
    return new WarmPool(0);
  }

  private constructor(
    /** Placeholders. */
    readonly pods: number,
  ) {}

  /** How many there are. Fails where a burst can never hold them all beside what of the pools is always there. @internal */
  _placeholders(scope: IConstruct, { cluster, gpus, pods }: WarmPoolContext): number {
    if (this.pods === 0 || gpus === 0) return this.pods;
    const { base, burst } = gpuPlaces(cluster, gpus);
    const taken = Math.max(0, pods - base);
    if (this.pods > burst - taken) {
      fail(scope, 'WarmPoolPods', `a warm pool of ${this.pods} needs more than a burst ever has: ${burst} places, of which pools always take ${taken}: raise cluster.gpu.burst, `
        + 'or keep fewer warm');
    }
    return this.pods;
  }
}
