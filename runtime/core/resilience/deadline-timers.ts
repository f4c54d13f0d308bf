/**
 * One timer for all deadlines of a process: a hashed timing wheel (Varghese and Lauck, "Hashed and hierarchical timing wheels", SOSP 1987,
 * scheme 6). Nearly every deadline is taken back before it passes; here that costs two list operations, against about 0.3 µs for a
 * setTimeout and its clearTimeout, and any number of different timeouts share the one timer.
 */
import { MONOTONIC_CLOCK } from './monotonic-clock';
import type { Clock } from '../ports';

/** How late a deadline may be noticed, beside the event loop's own delay, milliseconds. */
const TICK_MS = 4;
/** One turn of the wheel is 2 s: an entry beyond it is passed over once a turn. */
const SLOTS = 512;
const UNLINKED = -1;

/** What waits for a point in time. Holds its own links, so that adding and removing allocate nothing. */
export abstract class DeadlineEntry {
  /** @internal */
  slot = UNLINKED;
  /** @internal */
  next: DeadlineEntry | undefined = undefined;
  /** @internal */
  previous: DeadlineEntry | undefined = undefined;

  /** @param deadline milliseconds since the epoch; Infinity: never */
  constructor(readonly deadline: number) {}

  /** Called once, when the deadline has passed and the entry was not removed before. */
  abstract expire(): void;
}

export class DeadlineTimers {
  private readonly slots: (DeadlineEntry | undefined)[] = new Array<DeadlineEntry | undefined>(SLOTS).fill(undefined);
  /** Ticks count from here, so that they stay small integers. */
  private readonly origin: number;
  private entries = 0;
  private armed = false;
  /** The last tick whose slot was looked at. */
  private lastTick = 0;
  private readonly onTimer: () => void;

  constructor(readonly clock: Clock = MONOTONIC_CLOCK) {
    this.origin = clock.now();
    this.onTimer = () => this.turn();
  }

  /** Entries that wait. */
  get size(): number {
    return this.entries;
  }

  add(entry: DeadlineEntry): void {
    if (entry.slot !== UNLINKED || entry.deadline === Infinity) return;
    if (!this.armed) this.arm();
    const tick = Math.max(Math.ceil((entry.deadline - this.origin) / TICK_MS), this.lastTick + 1);
    const slot = tick % SLOTS;
    const head = this.slots[slot];
    entry.slot = slot;
    entry.next = head;
    if (head) head.previous = entry;
    this.slots[slot] = entry;
    this.entries++;
  }

  remove(entry: DeadlineEntry): void {
    if (entry.slot === UNLINKED) return;
    const { next, previous } = entry;
    if (next) next.previous = previous;
    if (previous) previous.next = next;
    else this.slots[entry.slot] = next;
    entry.slot = UNLINKED;
    entry.next = undefined;
    entry.previous = undefined;
    this.entries--;
  }

  private arm(): void {
    this.armed = true;
    this.lastTick = Math.floor((this.clock.now() - this.origin) / TICK_MS);
    setTimeout(this.onTimer, TICK_MS).unref();
  }

  private turn(): void {
    const now = this.clock.now();
    const tick = Math.floor((now - this.origin) / TICK_MS);
    // after a long pause of the event loop one turn covers every slot
    for (let at = Math.max(this.lastTick + 1, tick - SLOTS + 1); at <= tick; at++) this.expireSlot(at % SLOTS, now);
    this.lastTick = Math.max(tick, this.lastTick);
    if (this.entries > 0) setTimeout(this.onTimer, TICK_MS).unref();
    else this.armed = false;
  }

  private expireSlot(slot: number, now: number): void {
    let due: DeadlineEntry[] | undefined;
    for (let entry = this.slots[slot]; entry; entry = entry.next) {
      if (entry.deadline <= now) (due ??= []).push(entry);
    }
    if (!due) return;
    for (const entry of due) {
      // one that expired before may have removed this one
      if (entry.slot === UNLINKED) continue;
      this.remove(entry);
      entry.expire();
    }
  }
}
