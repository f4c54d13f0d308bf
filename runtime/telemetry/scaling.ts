/** What autoscaling reads: numbers over the last seconds, per pool of the runtime and over all. */
import { Histogram } from './histogram';
import { type RuntimePool, SCALING_WINDOW_SECONDS } from '../../src/contract';
import type { Arm } from '../core/telemetry';

/** Versions that are tried out run in a pool of their own. */
export const poolOf = (arm: Arm): RuntimePool => (arm === 'candidate' || arm === 'shadow' ? 'candidate' : 'stable');

export interface PoolNumbers {
  /** Over the whole request; 0 where there was none: a trigger needs a number. */
  readonly latencyP95Ms: number;
  /** Finished requests per second. */
  readonly qps: number;
  /** Calls of the runtime under way, the mean over the window (Little's law: time spent there, by the window). */
  readonly concurrency: number;
}

export interface ScalingReport extends PoolNumbers {
  /** Right now. */
  readonly inFlight: number;
  readonly queued: number;
  readonly pools: Readonly<Record<RuntimePool, PoolNumbers>>;
}

interface Slot {
  readonly second: number;
  readonly latency: Record<RuntimePool, Histogram>;
  /** Milliseconds spent in the runtime. */
  readonly busy: Record<RuntimePool, number>;
}

/** Slots of this many seconds are forgotten one by one. */
const SLOT_SECONDS = 5;

/** Cheap to write: one histogram entry per request. */
export class ScalingWindow {
  private readonly slots: Slot[] = [];
  private current: Slot;
  private endsAt: number;

  constructor(private readonly now: () => number) {
    const second = Math.floor(now() / 1000);
    this.current = emptySlot(second);
    this.slots.push(this.current);
    this.endsAt = (second + SLOT_SECONDS) * 1000;
  }

  /** @param at `now()` when the request ended */
  record(pool: RuntimePool, latencyMs: number, runtimeMs: number, at: number): void {
    if (at >= this.endsAt) this.turn(at);
    this.current.latency[pool].record(latencyMs);
    this.current.busy[pool] += runtimeMs;
  }

  report(inFlight: number, queued: number): ScalingReport {
    const at = this.now();
    if (at >= this.endsAt) this.turn(at);
    const seconds = Math.min(SCALING_WINDOW_SECONDS, Math.max(1, at / 1000 - this.slots[0].second));
    const sum = (...pools: RuntimePool[]): PoolNumbers => {
      const all = new Histogram();
      let busy = 0;
      for (const { latency, busy: spent } of this.slots) {
        for (const pool of pools) {
          all.add(latency[pool]);
          busy += spent[pool];
        }
      }
      const latencyP95Ms = all.count === 0 ? 0 : round(all.quantile(0.95));
      return { latencyP95Ms, qps: round(all.count / seconds), concurrency: round(busy / 1000 / seconds) };
    };
    return { ...sum('stable', 'candidate'), inFlight, queued, pools: { stable: sum('stable'), candidate: sum('candidate') } };
  }

  private turn(at: number): void {
    const second = Math.floor(at / 1000);
    this.current = emptySlot(second);
    this.slots.push(this.current);
    while (this.slots[0].second <= second - SCALING_WINDOW_SECONDS) this.slots.shift();
    this.endsAt = (second + SLOT_SECONDS) * 1000;
  }
}

const emptySlot = (second: number): Slot => ({
  second,
  latency: { stable: new Histogram(), candidate: new Histogram() },
  busy: { stable: 0, candidate: 0 },
});
const round = (value: number): number => Number(value.toPrecision(6));
