/** The clock of everything that measures how long something takes. */
import type { Clock } from '../ports';

const STARTED_AT = performance.timeOrigin;

/**
 * Milliseconds since the epoch with a fraction, and never backwards: the time at which the process started plus what has passed since.
 * `Date.now()` has whole milliseconds, which is too coarse for latencies below one, and jumps when the machine's clock is set.
 */
export const MONOTONIC_CLOCK: Clock = { now: () => STARTED_AT + performance.now() };
