/** Endpoints of one source from the moment that it answers, and of another until then: a pod that starts while the first is away still serves. */
import type { Endpoint, EndpointSource } from '../../core/balancer';
import { Listeners } from '../../core/listeners';

export interface KnowingSource extends EndpointSource {
  /** Whether it has answered since the process started. */
  readonly known: boolean;
}

export class FallbackEndpoints implements EndpointSource {
  private readonly listeners = new Listeners<readonly Endpoint[]>();

  constructor(private readonly preferred: KnowingSource, private readonly fallback: EndpointSource) {
    preferred.onChange((endpoints) => {
      this.listeners.tell(endpoints);
      // it is not asked again: what the preferred source knows stays in force
      void fallback.close();
    });
    fallback.onChange((endpoints) => {
      if (!preferred.known) this.listeners.tell(endpoints);
    });
  }

  current(): readonly Endpoint[] {
    return this.preferred.known ? this.preferred.current() : this.fallback.current();
  }

  onChange(callback: (endpoints: readonly Endpoint[]) => void): () => void {
    return this.listeners.add(callback);
  }

  async close(): Promise<void> {
    this.listeners.clear();
    await Promise.all([this.preferred.close(), this.fallback.close()]);
  }
}
