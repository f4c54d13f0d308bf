import { requireInteger } from '../private/declarations';

/** What the online table takes at once. */
export interface WarmThroughputProps {
  /** Reads a second, of 4 KB each: at least 12,000. @default 12000 */
  readonly readsPerSecond?: number;
  /** Writes a second, of 1 KB each: at least 4,000. @default 4000 */
  readonly writesPerSecond?: number;
}

/** What every table on demand has from the beginning; DynamoDB refuses less (DynamoDB developer guide, "Understanding DynamoDB warm throughput"). */
const LEAST_READS = 12_000;
const LEAST_WRITES = 4_000;
const MOST = 10_000_000;

/** Capacity that an on-demand table has ready before the first peak: without it, a table doubles its capacity within half an hour, and throttles until then. */
export class WarmThroughput {
  /** Each is raised once, and never sinks by itself; raising it costs once. */
  static of(props: WarmThroughputProps): WarmThroughput {
    const { readsPerSecond = LEAST_READS, writesPerSecond = LEAST_WRITES } = props;
    const floor = 'every table on demand has that much by itself, and DynamoDB refuses less';
    return new WarmThroughput(
      requireInteger(undefined, 'WarmReads', 'readsPerSecond', readsPerSecond, LEAST_READS, MOST, floor),
      requireInteger(undefined, 'WarmWrites', 'writesPerSecond', writesPerSecond, LEAST_WRITES, MOST, floor),
    );
  }

  private constructor(readonly readsPerSecond: number, readonly writesPerSecond: number) {}
}
