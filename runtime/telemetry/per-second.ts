/** A bound on how often something happens in a second: what costs more than a request must not follow the number of requests. */
export class PerSecond {
  private until = 0;
  private left = 0;

  constructor(private readonly most: number) {}

  /** @param now milliseconds */
  take(now: number): boolean {
    if (now >= this.until) {
      this.until = now + 1000;
      this.left = this.most;
    }
    return this.left-- > 0;
  }
}
