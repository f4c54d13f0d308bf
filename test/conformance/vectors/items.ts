/** Documents and questions for tests, the same in every run. */
import type { VectorFilter } from '../../../runtime/core/ports';
import type { VectorIndexSchema } from '../../../src/contract';
import type { TestDocument } from '../../runtime/contract/vector-document';

const DIMENSION = 16;
const TOWNS = ['Brno', 'Łódź', 'Wien', 'Graz'];

export const itemsIndex = (name: string): VectorIndexSchema => ({
  name,
  dimension: DIMENSION,
  similarity: 'cosine',
  engine: 'lucene',
  fields: [{ name: 'town', type: 'keyword' }, { name: 'open', type: 'boolean' }, { name: 'rank', type: 'long' }, { name: 'price', type: 'float' }],
  hnsw: { m: 16, efConstruction: 100, efSearch: 100 },
});

/** Lehmer's generator, with the constants of Park and Miller. */
export class ItemSequence {
  constructor(private state: number) {}

  /** 0 to 1. */
  next(): number {
    this.state = this.state * 48271 % 2147483647;
    return this.state / 2147483647;
  }

  vector(): Float32Array {
    return Float32Array.from({ length: DIMENSION }, () => this.next() * 2 - 1);
  }

  fields(): TestDocument['fields'] {
    return { town: this.town(), open: this.next() < 0.5, rank: this.rank(), price: Math.floor(this.next() * 8) / 8 };
  }

  /** None, or one on any type of field. */
  filter(): VectorFilter | undefined {
    const at = Math.floor(this.next() * 5);
    if (at === 0) return [{ field: 'town', values: [this.town()] }];
    if (at === 1) return [{ field: 'open', values: [this.next() < 0.5] }, { field: 'rank', values: [1, 2, this.rank()] }];
    if (at === 2) return [{ field: 'price', values: [0.125, 0.5] }, { field: 'town', values: [this.town(), this.town()] }];
    // so few pass that the engine looks at them one by one
    return at === 3 ? [{ field: 'rank', values: [this.rank()] }, { field: 'price', values: [0.25] }] : undefined;
  }

  private town(): string {
    return TOWNS[Math.floor(this.next() * TOWNS.length)];
  }

  private rank(): number {
    return Math.floor(this.next() * 20);
  }
}

export function items(sequence: ItemSequence, count: number, prefix = 'item-'): TestDocument[] {
  return Array.from({ length: count }, (_, at) => ({ id: `${prefix}${at}`, vector: [...sequence.vector()], fields: sequence.fields() }));
}
