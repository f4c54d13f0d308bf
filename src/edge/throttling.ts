import { Token } from 'aws-cdk-lib';
import { IConstruct } from 'constructs';
import { EdgeClient, EdgeLimits, EdgeQuota, EdgeThrottle } from './edge-clients';
import { BrainEnvironment } from '../environment';
import { fail } from '../private/fail';
import { requireUnique } from '../private/names';

/** Limits of one client, complete. */
export interface ResolvedLimits {
  readonly throttle: EdgeThrottle;
  readonly quota?: EdgeQuota;
}

/** The environment's quota. The account's own is 10,000 per second and 5,000 in a burst, shared by every API of a Region. */
export function edgeThrottleOf({ requestsPerSecond }: BrainEnvironment): EdgeThrottle {
  return { rate: requestsPerSecond, burst: 2 * requestsPerSecond };
}

const DEFAULT_CLIENT_THROTTLE: EdgeThrottle = { rate: 100, burst: 200 };

/** Client ids and their keys are written into an environment variable of a Lambda function, whose variables hold 4 KB together. */
const MAX_CLIENTS_LENGTH = 3000;
/** A key, quotes and punctuation beside a client's id. */
const LENGTH_BESIDE_ID = 60;

export function requireClients(scope: IConstruct, clients: readonly EdgeClient[]): void {
  const bad = clients.find(({ clientId }) => Token.isUnresolved(clientId) || !/^[\w.~:@/-]{1,128}$/.test(clientId));
  if (bad) {
    fail(scope, 'EdgeClientId', `a clientId has 1 to 128 letters, digits and ._~:@/- and is known at synth, got '${bad.clientId}': write what the token's client claim says`);
  }
  requireUnique(scope, 'clientId', clients.map(({ clientId }) => clientId));
  const length = clients.reduce((sum, { clientId }) => sum + clientId.length + LENGTH_BESIDE_ID, 0);
  if (length > MAX_CLIENTS_LENGTH) {
    fail(scope, 'EdgeClients', `${clients.length} clients are too many to have limits of their own: their ids take ${length} characters of ${MAX_CLIENTS_LENGTH}; leave the small ones to otherClients, which they share`);
  }
}

export function requireThrottle(scope: IConstruct, what: string, throttle: EdgeThrottle): void {
  if (!(throttle.rate > 0)) fail(scope, 'EdgeRate', `the rate of ${what} must be above 0 requests per second, got ${throttle.rate}`);
  if (!Number.isInteger(throttle.burst) || throttle.burst < 1) {
    fail(scope, 'EdgeBurst', `the burst of ${what} must be an integer of at least 1, got ${throttle.burst}: a burst of 0 lets nobody in`);
  }
}

/** A client's limits, which cannot be above those of the whole edge: nobody would ever reach them. */
export function resolveLimits(scope: IConstruct, what: string, limits: EdgeLimits, whole: EdgeThrottle): ResolvedLimits {
  const throttle = limits.throttle ?? {
    rate: Math.min(DEFAULT_CLIENT_THROTTLE.rate, whole.rate), burst: Math.min(DEFAULT_CLIENT_THROTTLE.burst, whole.burst),
  };
  requireThrottle(scope, what, throttle);
  if (throttle.rate > whole.rate || throttle.burst > whole.burst) {
    fail(scope, 'EdgeThrottle', `the throttle of ${what} (rate ${throttle.rate}, burst ${throttle.burst}) is above the edge's own (rate ${whole.rate}, burst ${whole.burst}): raise the edge's throttle`);
  }
  const { quota } = limits;
  if (quota && (!Number.isInteger(quota.requests) || quota.requests < 1)) {
    fail(scope, 'EdgeQuota', `the quota of ${what} must be an integer of at least 1 request, got ${quota.requests}`);
  }
  return { throttle, quota };
}
