import type { BrainConfiguration, VectorIndexSchema } from '../../src/contract';
import { reject } from '../adapters/local/local-errors';

/** Fails with UNKNOWN_INDEX. */
export function declaredIndex({ name: brain, vectorIndexes }: BrainConfiguration, name: string): VectorIndexSchema {
  return vectorIndexes.find((declared) => declared.name === name)
    ?? reject('UNKNOWN_INDEX', `brain '${brain}' declares no vector index '${name}'; it declares ${vectorIndexes.map((declared) => declared.name).join(', ') || 'none'}`);
}
