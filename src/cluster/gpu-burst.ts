import { Duration } from 'aws-cdk-lib';
import { fail } from '../private/fail';

/** How far GPU nodes may go beyond the base. */
export interface GpuBurstProps {
  /** GPU nodes at most, beside the base. */
  readonly maxNodes: number;
  /** How long a node has room for its pods elsewhere before it is given back: at least a minute. @default Duration.minutes(10) */
  readonly idle?: Duration;
}

/** GPU nodes for a burst: Auto Mode starts them when pods find no room on the base, and gives them back. Auto Mode's fee, about 12 % of an instance's price, is on them only. */
export class GpuBurst {
  /** On demand. */
  static onDemand(props: GpuBurstProps): GpuBurst {
    return new GpuBurst(['on-demand'], props);
  }

  /** Spot capacity where there is some, else on demand. */
  static spot(props: GpuBurstProps): GpuBurst {
    return new GpuBurst(['spot', 'on-demand'], props);
  }

  /** None: pods that find no room on the base wait. */
  static none(): GpuBurst {
    return new GpuBurst([], { maxNodes: 0 });
  }

  /** GPU nodes at most, beside the base. */
  readonly maxNodes: number;

  /** How long a node has room for its pods elsewhere before it is given back. */
  readonly idle: Duration;

  private constructor(
    /** Kinds of capacity, as Karpenter calls them: `spot`, `on-demand`. */
    readonly capacityTypes: string[],
    props: GpuBurstProps,
  ) {
    this.maxNodes = props.maxNodes;
    this.idle = props.idle ?? Duration.minutes(10);
    const least = capacityTypes.length > 0 ? 1 : 0;
    if (!Number.isInteger(this.maxNodes) || this.maxNodes < least) {
      fail(undefined, 'GpuBurstNodes', `maxNodes must be an integer of at least 1, got ${this.maxNodes}: or use GpuBurst.none()`);
    }
    if (this.idle.toSeconds() < 60) {
      fail(undefined, 'GpuBurstIdle', `idle must be at least a minute, got ${this.idle.toSeconds()} s: a model takes longer to load`);
    }
  }
}
