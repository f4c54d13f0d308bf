/** Before Triton is restarted: no new requests come, and those that it has are answered. */
import { constants } from 'node:fs';
import { open } from 'node:fs/promises';
import type { Traffic } from './triton-management';

export interface DrainOptions {
  readonly traffic: () => Promise<Traffic>;
  /** Until callers have learned that the pod is not ready, milliseconds: a probe's period, an endpoint slice and a watch. @default 20000 */
  readonly leastMs?: number;
  /** No longer than this: Triton itself waits for what it has before it ends. @default 120000 */
  readonly mostMs?: number;
  /** Between two looks; still means that nothing ended in between and nothing waits. @default 1000 */
  readonly everyMs?: number;
}

/** Looks in a row without a change. */
const STILL = 3;

export async function drained({ traffic, leastMs = 20_000, mostMs = 120_000, everyMs = 1_000 }: DrainOptions, signal: AbortSignal): Promise<void> {
  const until = performance.now() + mostMs;
  await pause(leastMs, signal);
  let still = 0;
  let before = -1;
  while (still < STILL && performance.now() < until && !signal.aborted) {
    const { pending, ended } = await traffic().catch(() => ({ pending: 1, ended: before }));
    still = pending === 0 && ended === before ? still + 1 : 0;
    before = ended;
    await pause(everyMs, signal);
  }
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      signal.removeEventListener('abort', done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal.addEventListener('abort', done);
    if (signal.aborted) done();
  });
}

/** Writes the line that the start script waits for. Fails with ENXIO where nobody reads, with ENOENT where there is no such FIFO. */
export async function askToRestart(fifo: string): Promise<void> {
  const handle = await open(fifo, constants.O_WRONLY + constants.O_NONBLOCK);
  try {
    await handle.write('restart\n');
  } finally {
    await handle.close();
  }
}
