/** So many tokens per second, and as many at once as one second brings. */
import type { Clock } from '../ports';

export class TokenBucket {
  private tokens: number;
  private filledAt: number;

  /** @param perSecond above 0 @param sleep resolves so many milliseconds later */
  constructor(private readonly perSecond: number, private readonly clock: Clock, private readonly sleep: (ms: number) => Promise<void>) {
    this.tokens = perSecond;
    this.filledAt = clock.now();
  }

  /** Resolves when the tokens are there. More than the bucket holds are taken in advance: the next caller waits for them. */
  async take(count: number): Promise<void> {
    this.fill();
    this.tokens -= count;
    if (this.tokens < 0) await this.sleep(Math.ceil(-this.tokens / this.perSecond * 1000));
  }

  private fill(): void {
    const now = this.clock.now();
    this.tokens = Math.min(this.perSecond, this.tokens + (now - this.filledAt) / 1000 * this.perSecond);
    this.filledAt = now;
  }
}
