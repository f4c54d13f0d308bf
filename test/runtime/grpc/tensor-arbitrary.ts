/** Arbitrary tensors of every datatype. */
import fc from 'fast-check';
import { elementCount, type Tensor } from '../../../runtime/core/tensors';
import { OIP_DATATYPES, type OipDatatype } from '../../../src/contract';

const ELEMENTS: Record<Exclude<OipDatatype, 'BYTES'>, fc.Arbitrary<number | bigint>> = {
  BOOL: fc.integer({ min: 0, max: 1 }),
  UINT8: fc.integer({ min: 0, max: 255 }),
  UINT16: fc.integer({ min: 0, max: 65_535 }),
  UINT32: fc.integer({ min: 0, max: 0xffffffff }),
  UINT64: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
  INT8: fc.integer({ min: -128, max: 127 }),
  INT16: fc.integer({ min: -32_768, max: 32_767 }),
  INT32: fc.integer(),
  INT64: fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
  FP16: fc.integer({ min: 0, max: 65_535 }),
  BF16: fc.integer({ min: 0, max: 65_535 }),
  FP32: fc.float(),
  FP64: fc.double(),
};
const ARRAYS: Record<Exclude<OipDatatype, 'BYTES'>, { from(values: never[]): Tensor['data'] }> = {
  BOOL: Uint8Array,
  UINT8: Uint8Array,
  UINT16: Uint16Array,
  UINT32: Uint32Array,
  UINT64: BigUint64Array,
  INT8: Int8Array,
  INT16: Int16Array,
  INT32: Int32Array,
  INT64: BigInt64Array,
  FP16: Uint16Array,
  BF16: Uint16Array,
  FP32: Float32Array,
  FP64: Float64Array,
};

export const tensor: fc.Arbitrary<Tensor> = fc
  .record({
    name: fc.string({ minLength: 1, maxLength: 20, unit: 'grapheme' }).filter((name) => name.length <= 128),
    datatype: fc.constantFrom(...OIP_DATATYPES),
    shape: fc.array(fc.integer({ min: 0, max: 5 }), { maxLength: 3 }),
  })
  .chain((header) => {
    const count = elementCount(header.shape);
    const size = { minLength: count, maxLength: count };
    const data: fc.Arbitrary<Tensor['data']> = header.datatype === 'BYTES'
      ? fc.array(fc.uint8Array({ maxLength: 12 }), size)
      : fc.array(ELEMENTS[header.datatype], size).map((values) => ARRAYS[header.datatype as 'FP32'].from(values as never[]));
    return data.map((values) => ({ ...header, data: values }));
  });
