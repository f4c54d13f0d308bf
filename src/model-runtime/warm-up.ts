import type { TritonWarmUp } from '../contract';
import { requireInteger } from '../private/declarations';

/** How a made-up request looks. */
export interface WarmUpProps {
  /** Rows. @default 1 */
  readonly batchSize?: number;

  /** How often each instance runs it. @default 1 */
  readonly count?: number;

  /** Size of each dimension that the model leaves open. @default 1 */
  readonly variableSize?: number;
}

/** A made-up request that each instance of a model runs before a version is ready, beside the requests of the version's own manifest. */
export class WarmUp {
  /** Zeros: fast, and no model knows them from real ones. */
  static zero(props: WarmUpProps = {}): WarmUp {
    return new WarmUp('zero', props);
  }

  /** Random numbers, and random text. */
  static random(props: WarmUpProps = {}): WarmUp {
    return new WarmUp('random', props);
  }

  private readonly warmUp: TritonWarmUp;

  private constructor(data: TritonWarmUp['data'], { batchSize = 1, count = 1, variableSize = 1 }: WarmUpProps) {
    this.warmUp = {
      data,
      batchSize: requireInteger(undefined, 'WarmUp', 'batchSize of a warm-up', batchSize, 1, 65_536),
      count: requireInteger(undefined, 'WarmUp', 'count of a warm-up', count, 1, 1000),
      variableSize: requireInteger(undefined, 'WarmUp', 'variableSize of a warm-up', variableSize, 1, 1_000_000),
    };
  }

  /** @internal */
  _render(): TritonWarmUp {
    return this.warmUp;
  }
}
