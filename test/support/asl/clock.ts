/** Time of executions: it stands still while anything computes or calls, and jumps to the next moment that somebody waits for. */
import { Cancelled } from './errors';

interface Timer {
  readonly at: number;
  readonly wake: () => void;
}

export class VirtualClock {
  private time: number;
  private timers: Timer[] = [];
  private busy = 0;
  private turning = false;

  /** @param start milliseconds since the epoch */
  constructor(start = Date.UTC(2026, 0, 1)) {
    this.time = start;
  }

  /** Milliseconds since the epoch. */
  readonly now = (): number => this.time;

  iso(): string {
    return new Date(this.time).toISOString();
  }

  /** Resolves `ms` later; fails with {@link Cancelled} when the signal aborts. */
  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const cancel = () => {
        this.timers = this.timers.filter((each) => each !== timer);
        reject(new Cancelled());
        this.turn();
      };
      const timer: Timer = {
        at: this.time + ms,
        wake: () => {
          signal?.removeEventListener('abort', cancel);
          resolve();
        },
      };
      if (signal?.aborted) return reject(new Cancelled());
      signal?.addEventListener('abort', cancel, { once: true });
      this.timers.push(timer);
      this.turn();
    });
  }

  /** Time stands still until `work` is done: it may do real input and output. */
  async standing<T>(work: () => Promise<T> | T): Promise<T> {
    this.busy++;
    try {
      return await work();
    } finally {
      this.busy--;
      this.turn();
    }
  }

  /** Inside of {@link standing}: lets time pass. */
  async passing(ms: number, signal?: AbortSignal): Promise<void> {
    this.busy--;
    try {
      await this.sleep(ms, signal);
    } finally {
      this.busy++;
    }
  }

  /** After the promises that are due: whoever can go on without waiting has done so. */
  private turn(): void {
    if (this.turning) return;
    this.turning = true;
    setImmediate(() => {
      this.turning = false;
      if (this.busy > 0 || this.timers.length === 0) return;
      // the earliest; of equals the one that waits longest
      const next = this.timers.reduce((first, timer) => (timer.at < first.at ? timer : first));
      this.timers = this.timers.filter((timer) => timer !== next);
      this.time = next.at;
      next.wake();
      this.turn();
    });
  }
}
