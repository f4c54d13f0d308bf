/**
 * Requests that wait for a place: a bounded queue of lanes. Turns between lanes that wait are shared out by weight (stride scheduling: Waldspurger
 * and Weihl, 1995), so that a busy lane slows a lesser one down but never stops it. The queue is short: it is searched, not indexed.
 */
import type { Lane, Permit } from './concurrency-limit';

export interface Waiting {
  readonly lane: Lane;
  /** 0 is the most important lane. */
  readonly rank: number;
  readonly tenant: string | undefined;
  /** When the answer must be there, milliseconds since the epoch. */
  readonly deadline: number;
  /** When it has waited for long enough. */
  readonly until: number;
  readonly resolve: (permit: Permit) => void;
  readonly reject: (reason: unknown) => void;
}

/** Turns per lane while all wait, as strides: the inverse of 16 : 4 : 1. */
const STRIDES = [1, 4, 16] as const;

export class AdmissionQueue {
  private readonly lanes: Waiting[][] = STRIDES.map(() => []);
  /** When each lane has its next turn, in turns. */
  private readonly turns: number[] = STRIDES.map(() => 0);
  private turn = 0;
  private waiting = 0;

  constructor(readonly capacity: number) {}

  get size(): number {
    return this.waiting;
  }

  get full(): boolean {
    return this.waiting >= this.capacity;
  }

  waitsAtOrAbove(rank: number): boolean {
    if (this.waiting === 0) return false;
    for (let at = 0; at <= rank; at++) if (this.lanes[at].length > 0) return true;
    return false;
  }

  /**
   * How many would have their turn before a new one of the lane: all of its own and the more important lanes, and some of the others.
   *
   * @param counts undefined: all count
   */
  ahead(rank: number, counts?: (waiting: Waiting) => boolean): number {
    const own = count(this.lanes[rank], counts);
    let ahead = own;
    for (let at = 0; at < STRIDES.length; at++) {
      if (at < rank) ahead += count(this.lanes[at], counts);
      else if (at > rank) ahead += Math.min(this.lanes[at].length, (own + 1) * STRIDES[rank] / STRIDES[at]);
    }
    return ahead;
  }

  push(waiting: Waiting): void {
    const lane = this.lanes[waiting.rank];
    // a lane that was empty has saved up no turns
    if (lane.length === 0) this.turns[waiting.rank] = Math.max(this.turns[waiting.rank], this.turn + STRIDES[waiting.rank]);
    lane.push(waiting);
    this.waiting++;
  }

  /** The next one whose lane is not below `lowestRank` and that `mayRun`. */
  take(lowestRank: number, mayRun: (waiting: Waiting) => boolean): Waiting | undefined {
    let best = -1;
    let bestAt = -1;
    for (let rank = 0; rank <= lowestRank; rank++) {
      if (this.lanes[rank].length === 0 || (best >= 0 && this.turns[rank] >= this.turns[best])) continue;
      const at = this.lanes[rank].findIndex(mayRun);
      if (at < 0) continue;
      best = rank;
      bestAt = at;
    }
    if (best < 0) return undefined;
    this.turn = Math.max(this.turn, this.turns[best]);
    this.turns[best] += STRIDES[best];
    return this.removeAt(best, bestAt);
  }

  /** The newest of the least important lane below `rank`. */
  takeNewestBelow(rank: number): Waiting | undefined {
    for (let at = STRIDES.length - 1; at > rank; at--) if (this.lanes[at].length > 0) return this.removeAt(at, this.lanes[at].length - 1);
    return undefined;
  }

  /** The newest, in the least important lane, of the tenant with most requests waiting, where these are `share` or more; never one of `except`. */
  takeNewestOfHog(share: number, except: string | undefined): Waiting | undefined {
    const counts = new Map<string, number>();
    for (const lane of this.lanes) for (const { tenant } of lane) if (tenant !== undefined) counts.set(tenant, (counts.get(tenant) ?? 0) + 1);
    let hog: string | undefined;
    for (const [tenant, waits] of counts) if (tenant !== except && waits >= share && waits > (counts.get(hog ?? '') ?? 0)) hog = tenant;
    if (hog === undefined) return undefined;
    for (let rank = STRIDES.length - 1; rank >= 0; rank--) {
      const at = this.lanes[rank].findLastIndex(({ tenant }) => tenant === hog);
      if (at >= 0) return this.removeAt(rank, at);
    }
    return undefined;
  }

  ofTenant(name: string): number {
    let waits = 0;
    for (const lane of this.lanes) for (const { tenant } of lane) if (tenant === name) waits++;
    return waits;
  }

  /** Whether anybody else than this tenant waits. */
  hasOthers(name: string): boolean {
    return this.lanes.some((lane) => lane.some(({ tenant }) => tenant !== name));
  }

  remove(waiting: Waiting): boolean {
    const at = this.lanes[waiting.rank].indexOf(waiting);
    if (at < 0) return false;
    this.removeAt(waiting.rank, at);
    return true;
  }

  takeExpired(now: number): Waiting[] {
    const expired: Waiting[] = [];
    for (let rank = 0; rank < STRIDES.length; rank++) {
      const lane = this.lanes[rank];
      for (let at = lane.length - 1; at >= 0; at--) if (lane[at].until <= now) expired.push(this.removeAt(rank, at));
    }
    return expired;
  }

  private removeAt(rank: number, at: number): Waiting {
    this.waiting--;
    return this.lanes[rank].splice(at, 1)[0];
  }
}

function count(lane: readonly Waiting[], counts: ((waiting: Waiting) => boolean) | undefined): number {
  if (!counts) return lane.length;
  let counted = 0;
  for (const waiting of lane) if (counts(waiting)) counted++;
  return counted;
}
