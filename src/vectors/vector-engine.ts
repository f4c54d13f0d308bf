import * as contract from '../contract';

/** Library that builds and searches the graph of an index. */
export class VectorEngine {
  /** Graphs in native memory, quantisation, the larger indexes. */
  static readonly FAISS = new VectorEngine('faiss');
  /** Graphs in heap and file cache, filters while searching, the smaller indexes. */
  static readonly LUCENE = new VectorEngine('lucene');

  private constructor(private readonly value: contract.VectorEngine) {}

  /** The name in the index schema. */
  toString(): string {
    return this.value;
  }

  /** @internal */
  _render(): contract.VectorEngine {
    return this.value;
  }
}
