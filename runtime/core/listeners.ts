/** Those who are told of each new value of something that changes. */
export class Listeners<T> {
  private readonly callbacks = new Set<(value: T) => void>();

  /** Calls back with each value after this call; the result unsubscribes. */
  add(callback: (value: T) => void): () => void {
    this.callbacks.add(callback);
    return () => this.callbacks.delete(callback);
  }

  tell(value: T): void {
    for (const callback of this.callbacks) callback(value);
  }

  /** Nobody is told any more. */
  clear(): void {
    this.callbacks.clear();
  }
}
