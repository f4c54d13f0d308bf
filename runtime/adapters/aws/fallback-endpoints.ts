/** Endpoints of one source from the moment that it answers, and of another until then: a pod that starts while the first is away still serves. */
import type { Endpoint, EndpointSource } from '../../core/balancer';

export interface KnowingSource extends EndpointSource {
  /** Whether it has answered since the process started. */
  readonly known: boolean;
}

export class FallbackEndpoints implements EndpointSource {
  private readonly callbacks = new Set<(endpoints: readonly Endpoint[]) => void>();

  constructor(private readonly preferred: KnowingSource, private readonly fallback: EndpointSource) {
    preferred.onChange((endpoints) => {
      this.tell(endpoints);
      // it is not asked again: what the preferred source knows stays in force
      void fallback.close();
    });
    fallback.onChange((endpoints) => {
      if (!preferred.known) this.tell(endpoints);
    });
  }

  current(): readonly Endpoint[] {
    return this.preferred.known ? this.preferred.current() : this.fallback.current();
  }

  onChange(callback: (endpoints: readonly Endpoint[]) => void): () => void {
    this.callbacks.add(callback);
    return () => this.callbacks.delete(callback);
  }

  async close(): Promise<void> {
    this.callbacks.clear();
    await Promise.all([this.preferred.close(), this.fallback.close()]);
  }

  private tell(endpoints: readonly Endpoint[]): void {
    for (const callback of this.callbacks) callback(endpoints);
  }
}
