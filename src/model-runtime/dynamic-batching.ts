import { Duration } from 'aws-cdk-lib';

/** What becomes of a request whose time to wait is over. */
export enum QueueTimeoutAction {
  /** It is answered that its time is up. */
  REJECT = 'reject',
  /** It waits on, behind all others of its priority. */
  DELAY = 'delay',
}

/** Requests that wait for an execution. */
export interface QueuePolicy {
  /** Longest wait. @default - no limit of the queue: a request waits until its own deadline */
  readonly timeout?: Duration;

  /** What becomes of a request whose time is over. @default QueueTimeoutAction.REJECT */
  readonly timeoutAction?: QueueTimeoutAction;

  /** Whether a request may ask for a shorter wait than `timeout`. @default true */
  readonly allowTimeoutOverride?: boolean;

  /** Requests that wait, at most: one more is refused at once. @default - no limit */
  readonly maxSize?: number;
}

/** Queues by priority. 1 comes first. */
export interface PriorityQueues {
  /** How many levels there are, 1 to 100. */
  readonly levels: number;

  /** Level of a request that names none. @default - the last */
  readonly defaultLevel?: number;

  /** Policies of single levels, by the level's number, e.g. `{ '1': { maxSize: 8 } }`. @default - that of the batcher for each */
  readonly queues?: { [level: string]: QueuePolicy };
}

/** Triton's dynamic batcher: requests that wait at the same time are executed together. */
export interface DynamicBatching {
  /** How long a request waits for others: less than a second. @default Duration.millis(0) */
  readonly maxQueueDelay?: Duration;

  /** Batch sizes of which an execution begins at once. @default - `maxBatchSize` */
  readonly preferredBatchSizes?: number[];

  /** Whether answers leave in the order of the requests. @default false */
  readonly preserveOrdering?: boolean;

  /** Bounds of the queue. @default - none */
  readonly queue?: QueuePolicy;

  /** Queues by priority. @default - one queue */
  readonly priorities?: PriorityQueues;
}
