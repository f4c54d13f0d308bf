import type { VectorHit } from '../../../runtime/core/ports';

/** A vector with what stands beside it, as tests write it. */
export interface TestDocument {
  readonly id: string;
  readonly vector: readonly number[];
  readonly fields: VectorHit['fields'];
}
