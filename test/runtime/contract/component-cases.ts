import type { Similarity, VectorQuantizationSchema } from '../../../src/contract';

const FP16: VectorQuantizationSchema = { kind: 'fp16' };
const BYTE: VectorQuantizationSchema = { kind: 'byte' };
const disk = (compression: 1 | 2 | 4): VectorQuantizationSchema => ({ kind: 'disk', compression });

export interface ComponentCase {
  readonly vector: readonly number[];
  readonly quantization?: VectorQuantizationSchema;
  /** @default l2 */
  readonly similarity?: Similarity;
  /** What is said of it as a query, and as a document; undefined where the index takes it. */
  readonly query?: string;
  readonly document?: string;
}

const both = (problem: string) => ({ query: problem, document: problem });
const BYTES = 'and must hold whole numbers from -128 to 127';
const HALVES = 'and must hold numbers from -65504 to 65504';

/** Vectors at the edges of what an index takes, alike in OpenSearch and in the embedded store. */
export const COMPONENT_CASES: [string, ComponentCase][] = [
  ['the largest numbers of single precision', { vector: [3.4028234663852886e38, -3.4028234663852886e38] }],
  ['a number that rounds to the largest of single precision', { vector: [3.4028235e38, 1] }],
  ['a number beyond single precision', { vector: [1, 3.5e38], ...both('holds 3.5e+38, and must hold finite numbers') }],
  ['the ends of a byte', { vector: [-128, 127], quantization: BYTE }],
  ['a fraction among bytes', { vector: [1, 0.5], quantization: BYTE, ...both(`holds 0.5, ${BYTES}`) }],
  ['a fraction that single precision does not see', { vector: [1, 2.00000001], quantization: BYTE }],
  ['more than a byte', { vector: [128, 1], quantization: BYTE, ...both(`holds 128, ${BYTES}`) }],
  ['less than a byte', { vector: [1, -129], quantization: BYTE, ...both(`holds -129, ${BYTES}`) }],
  ['zero bytes with cosine', { vector: [0, 0], quantization: BYTE, similarity: 'cosine', ...both('is zero, which has no cosine') }],
  ['the ends of half precision', { vector: [-65504, 65504], quantization: FP16 }],
  ['more than half precision', { vector: [1, 65505], quantization: FP16, document: `holds 65505, ${HALVES}` }],
  ['less than half precision', { vector: [-70000, 1], quantization: FP16, document: `holds -70000, ${HALVES}` }],
  ['more than half precision, on disk', { vector: [1, 1e5], quantization: disk(2), document: `holds 100000, ${HALVES}` }],
  ['more than half precision, on disk in single precision', { vector: [1, 1e5], quantization: disk(1) }],
  ['more than half precision, on disk in Lucene', { vector: [1, 1e5], quantization: disk(4) }],
  ['fractions in bits', { vector: [0.5, -1e5], quantization: { kind: 'binary', bits: 1 } }],
  ['zero', { vector: [0, 0] }],
  ['zero with cosine', { vector: [0, -0], similarity: 'cosine', ...both('is zero, which has no cosine') }],
  ['what is zero in single precision, with cosine', { vector: [0, 1e-60], similarity: 'cosine', ...both('is zero, which has no cosine') }],
];
