import { BINARY_BITS, VectorQuantizationSchema } from '../contract';
import type { Similarity } from './similarity';
import type { VectorEngine } from './vector-engine';
import { fail } from '../private/fail';

/** How many times smaller than in single precision vectors are in memory, while the index is searched from disk (OpenSearch, "Memory-optimized vectors"). */
export enum DiskCompression {
  /** Nothing is compressed: FAISS maps the file, and the system keeps what is asked for in its cache. */
  X1 = 1,
  /** Half precision, FAISS. The store scores by it. */
  X2 = 2,
  /** Seven bits for each component, Lucene. */
  X4 = 4,
  /** Four bits for each component, FAISS. */
  X8 = 8,
  /** Two bits for each component, FAISS. */
  X16 = 16,
  /** One bit for each component, FAISS. */
  X32 = 32,
}

/** What the declaration of an index says of vectors, as far as a quantization has to fit it. */
interface Declared {
  readonly what: string;
  readonly engine: VectorEngine;
  readonly similarity: Similarity;
}

/**
 * How vectors are kept in memory. Less memory costs recall: a generation is measured against its gate before it is searched.
 *
 * What each engine can do is what the k-NN plugin 3.5 accepts (OpenSearch documentation, "Methods and engines" and "Memory-optimized vectors"); a
 * combination that it refuses, or that would answer by another similarity than the declared one, fails at synth.
 */
export abstract class VectorQuantization {
  /** Single precision: 4 bytes for each component. */
  static none(): VectorQuantization {
    return new SinglePrecision();
  }

  /** Half precision: 2 bytes for each component. FAISS only. The store refuses a component beyond ±65504, it does not clip it. */
  static fp16(): VectorQuantization {
    return new HalfPrecision();
  }

  /** For vectors whose components are whole numbers from -128 to 127 already: 1 byte for each. The store refuses all others, it does not round them. */
  static byte(): VectorQuantization {
    return new Bytes();
  }

  /**
   * Bits tell which vectors are candidates, and the candidates are scored in single precision. FAISS only. Bits keep a vector's direction and lose its
   * length: where lengths differ and the similarity counts them, fewer of the true neighbours are candidates.
   *
   * @param bits for each component: 1, 2 or 4
   */
  static binary(bits: number): VectorQuantization {
    return new Bits(bits);
  }

  /** Compressed vectors in memory tell which vectors are candidates, and the candidates are scored in single precision, from disk. */
  static onDisk(compression: DiskCompression): VectorQuantization {
    return new OnDisk(compression);
  }

  protected constructor() {}

  /** Fails where the engine does not have it, or would answer by another similarity. @internal */
  abstract _render(declared: Declared): VectorQuantizationSchema | undefined;
}

class SinglePrecision extends VectorQuantization {
  constructor() {
    super();
  }

  /** @internal */
  _render(): undefined {
    return undefined;
  }
}

class HalfPrecision extends VectorQuantization {
  constructor() {
    super();
  }

  /** @internal */
  _render(declared: Declared): VectorQuantizationSchema {
    requireFaiss(declared, 'half precision');
    return { kind: 'fp16' };
  }
}

class Bytes extends VectorQuantization {
  constructor() {
    super();
  }

  /** @internal */
  _render({ what, engine, similarity }: Declared): VectorQuantizationSchema {
    if (engine._render() === 'faiss' && similarity._render() === 'cosine') {
      fail(undefined, 'ByteCosine', `${what} must not have bytes with cosine and the faiss engine: it would have to make each vector one long, `
        + 'which bytes cannot be; use VectorEngine.LUCENE, or Similarity.DOT of vectors that are equally long');
    }
    return { kind: 'byte' };
  }
}

class Bits extends VectorQuantization {
  constructor(private readonly bits: number) {
    super();
  }

  /** @internal */
  _render(declared: Declared): VectorQuantizationSchema {
    const bits = BINARY_BITS.find((known) => known === this.bits)
      ?? fail(undefined, 'BinaryBits', `the bits of ${declared.what} must be ${BINARY_BITS.join(', ')}, got ${this.bits}`);
    requireFaiss(declared, 'bits');
    return { kind: 'binary', bits };
  }
}

class OnDisk extends VectorQuantization {
  constructor(private readonly compression: DiskCompression) {
    super();
  }

  /** @internal */
  _render({ what, engine }: Declared): VectorQuantizationSchema {
    const owner = this.compression === DiskCompression.X4 ? 'lucene' : 'faiss';
    if (engine._render() !== owner) {
      fail(undefined, 'DiskCompression', `${what} on disk must have the ${owner} engine to be ${this.compression} times smaller in memory, got ${engine}: `
        + `use VectorEngine.${owner.toUpperCase()}, or another DiskCompression`);
    }
    return { kind: 'disk', compression: this.compression };
  }
}

function requireFaiss({ what, engine }: Declared, quantization: string): void {
  if (engine._render() !== 'faiss') {
    fail(undefined, 'QuantizationEngine', `${what} must have the faiss engine to keep its vectors in ${quantization}, got ${engine}: `
      + 'use VectorEngine.FAISS, or VectorQuantization.onDisk(DiskCompression.X4)');
  }
}
