/** A token bucket, as API Gateway has it. */
export interface EdgeThrottle {
  /** Requests per second that the bucket gains; above 0. */
  readonly rate: number;
  /** Requests that the bucket holds; an integer of at least 1. */
  readonly burst: number;
}

/** The period that an {@link EdgeQuota} counts over. */
export class EdgeQuotaPeriod {
  /** From midnight UTC. */
  static readonly DAY = new EdgeQuotaPeriod('DAY');
  /** From Sunday, midnight UTC. */
  static readonly WEEK = new EdgeQuotaPeriod('WEEK');
  /** From the first of the month, midnight UTC. */
  static readonly MONTH = new EdgeQuotaPeriod('MONTH');

  private constructor(readonly name: string) {}
}

/** How many requests a client may make in a period. API Gateway counts it by best effort: it is a budget, not a bill. */
export interface EdgeQuota {
  /** Requests per period; an integer of at least 1. */
  readonly requests: number;
  /** The period that the quota is counted in. */
  readonly period: EdgeQuotaPeriod;
}

/** What a client may use. */
export interface EdgeLimits {
  /** Requests in a second. @default - 100 requests per second with a burst of 200, or the throttle of the whole edge where that is lower */
  readonly throttle?: EdgeThrottle;
  /** Requests in a period. @default - no quota */
  readonly quota?: EdgeQuota;
}

/** A client with limits of its own. */
export interface EdgeClient extends EdgeLimits {
  /** What the token's client claim says: 1 to 128 letters, digits and `._~:@/-`. */
  readonly clientId: string;
}
