import { RuntimePool, ScalingValue } from '../contract';
import type { PoolDemand } from './scaled-object';

/** The service's own pods. */
export const SERVICE_DEMAND: PoolDemand = {
  qps: ScalingValue.QPS, queue: ScalingValue.CONCURRENCY, latencyMs: ScalingValue.LATENCY_P95_MS, wanted: ScalingValue.QPS,
};

/** A pool of the runtime, by what the service would have of it: the pool itself may have no pod that could say. */
export const runtimeDemand = (pool: RuntimePool): PoolDemand => ({
  qps: ScalingValue.poolQps(pool),
  queue: ScalingValue.poolConcurrency(pool),
  latencyMs: ScalingValue.poolLatencyP95Ms(pool),
  wanted: pool === 'candidate' ? ScalingValue.CANDIDATES : ScalingValue.poolQps(pool),
});
