/**
 * Which entry of a cache goes first: SIEVE (Zhang et al., "SIEVE is Simpler than LRU", NSDI 2024).
 *
 * A hit sets one bit and moves nothing; entries that were used once only go before those that were used again, which is what keeps
 * hot features in while a scan passes through.
 */

/** An entry. Holds its own links, so that adding and removing allocate nothing. */
export class SieveEntry {
  /** Whether it was used since the hand last passed. */
  visited = false;
  /** @internal */
  newer: SieveEntry | undefined = undefined;
  /** @internal */
  older: SieveEntry | undefined = undefined;
}

/** Steps of the hand for one eviction: beyond them the entry at hand goes, used or not, so that no single request pays for the whole cache. */
const MOST_STEPS = 64;

export class Sieve<T extends SieveEntry> {
  private newest: SieveEntry | undefined;
  private oldest: SieveEntry | undefined;
  private hand: SieveEntry | undefined;

  add(entry: T): void {
    entry.older = this.newest;
    if (this.newest) this.newest.newer = entry;
    else this.oldest = entry;
    this.newest = entry;
  }

  remove(entry: T): void {
    const { newer, older } = entry;
    if (this.hand === entry) this.hand = newer;
    if (newer) newer.older = older;
    else this.newest = older;
    if (older) older.newer = newer;
    else this.oldest = newer;
    entry.newer = undefined;
    entry.older = undefined;
  }

  /** The entry that goes first, removed; undefined where there is none. */
  evict(): T | undefined {
    let entry = this.hand ?? this.oldest;
    for (let step = 0; entry?.visited && step < MOST_STEPS; step++) {
      entry.visited = false;
      entry = entry.newer ?? this.oldest;
    }
    if (!entry) return undefined;
    this.hand = entry;
    this.remove(entry as T);
    return entry as T;
  }
}
