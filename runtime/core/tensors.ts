/** Tensors in memory, and their JSON form in the Open Inference Protocol v2 (row-major, flat or nested `data`). */
import { refuse } from './errors';
import type { OipDatatype } from '../../src/contract';

export type NumericArray =
  | Uint8Array | Uint16Array | Uint32Array | BigUint64Array
  | Int8Array | Int16Array | Int32Array | BigInt64Array
  | Float32Array | Float64Array;

/**
 * Values in row-major order. BOOL is a Uint8Array of 0 and 1; FP16 and BF16 are the raw bits in a Uint16Array;
 * BYTES are strings where they came as text, else byte strings (`texts()` and `byteStrings()` read either).
 */
export type TensorData = NumericArray | string[] | Uint8Array[];

export interface Tensor {
  readonly name: string;
  readonly datatype: OipDatatype;
  /** Concrete: no -1. */
  readonly shape: readonly number[];
  readonly data: TensorData;
}

const ARRAYS = {
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
} as const;

export const INTEGER_RANGES: Partial<Record<OipDatatype, readonly [number, number]>> = {
  UINT8: [0, 0xff],
  UINT16: [0, 0xffff],
  UINT32: [0, 0xffffffff],
  INT8: [-0x80, 0x7f],
  INT16: [-0x8000, 0x7fff],
  INT32: [-0x80000000, 0x7fffffff],
};

const WIDE_RANGES = { INT64: [-(2n ** 63n), 2n ** 63n - 1n], UINT64: [0n, 2n ** 64n - 1n] } as const;
const DECIMAL = /^-?(0|[1-9][0-9]{0,19})$/;

const UTF8_DECODER = new TextDecoder();
const UTF8_ENCODER = new TextEncoder();

export function elementCount(shape: readonly number[]): number {
  let count = 1;
  for (const dimension of shape) count *= dimension;
  return count;
}

/** A zeroed array of the datatype's element type. */
export function allocate(datatype: Exclude<OipDatatype, 'BYTES'>, length: number): NumericArray {
  return new ARRAYS[datatype](length);
}

export function bytesPerElement(datatype: Exclude<OipDatatype, 'BYTES'>): number {
  return ARRAYS[datatype].BYTES_PER_ELEMENT;
}

/** The array of the datatype over little-endian bytes: a view where they are aligned, else over a copy. */
export function arrayOver(datatype: Exclude<OipDatatype, 'BYTES'>, bytes: Uint8Array): NumericArray {
  const size = ARRAYS[datatype].BYTES_PER_ELEMENT;
  if (bytes.byteOffset % size === 0) return new ARRAYS[datatype](bytes.buffer as ArrayBuffer, bytes.byteOffset, bytes.byteLength / size);
  // slice of a Buffer would be a view
  return new ARRAYS[datatype](Uint8Array.prototype.slice.call(bytes).buffer);
}

/** The elements of a BYTES tensor as text (UTF-8). */
export function texts(tensor: Tensor): string[] {
  const data = tensor.data as string[] | Uint8Array[];
  return typeof data[0] === 'string' || data.length === 0 ? data as string[] : (data as Uint8Array[]).map((bytes) => UTF8_DECODER.decode(bytes));
}

/** The elements of a BYTES tensor as byte strings. */
export function byteStrings(tensor: Tensor): Uint8Array[] {
  const data = tensor.data as string[] | Uint8Array[];
  return typeof data[0] === 'string' ? (data as string[]).map((text) => UTF8_ENCODER.encode(text)) : data as Uint8Array[];
}

/** Whether a concrete shape fits a declared one, in which -1 stands for any size. */
export function shapeFits(shape: readonly number[], declared: readonly number[]): boolean {
  return shape.length === declared.length && declared.every((dimension, axis) => dimension === -1 || dimension === shape[axis]);
}

/** Reads `data` of a JSON tensor, flat or nested, into the array of its datatype. Fails with INVALID_DATA, INVALID_SHAPE or UNSUPPORTED_DATATYPE. */
export function fromJson(name: string, datatype: OipDatatype, shape: readonly number[], data: unknown): Tensor {
  if (!Array.isArray(data)) refuse('INVALID_REQUEST', `data of tensor '${name}' must be an array`, { tensor: name });
  const count = elementCount(shape);
  const values = Array.isArray(data[0]) ? flatten(name, shape, data) : data;
  if (values.length !== count) {
    refuse('INVALID_SHAPE', `tensor '${name}' has shape [${shape.join(', ')}], which is ${count} elements, but ${values.length} in data`, { tensor: name });
  }
  return { name, datatype, shape, data: encode(name, datatype, values) };
}

/** Fails with INVALID_MODEL_OUTPUT on a floating-point tensor with NaN or an infinity, which JSON has no form for. */
export function requireFinite({ name, data }: Tensor): void {
  const values = data as Float32Array | Float64Array;
  for (let i = 0; i < values.length; i++) {
    // an infinity less itself is NaN
    if (values[i] - values[i] !== 0) refuse('INVALID_MODEL_OUTPUT', `element ${i} of tensor '${name}' is ${values[i]}, which has no JSON form`, { tensor: name });
  }
}

function flatten(name: string, shape: readonly number[], nested: readonly unknown[]): unknown[] {
  const flat: unknown[] = [];
  const walk = (level: readonly unknown[], axis: number): void => {
    if (level.length !== shape[axis]) {
      refuse('INVALID_SHAPE', `tensor '${name}' has ${level.length} elements in dimension ${axis}, its shape says ${shape[axis] ?? 'there is none'}`, { tensor: name });
    }
    for (const item of level) {
      if (axis === shape.length - 1) flat.push(item);
      else if (Array.isArray(item)) walk(item, axis + 1);
      else refuse('INVALID_SHAPE', `tensor '${name}' is nested to depth ${axis + 1}, its shape has ${shape.length} dimensions`, { tensor: name });
    }
  };
  walk(nested, 0);
  return flat;
}

function encode(name: string, datatype: OipDatatype, values: readonly unknown[]): TensorData {
  switch (datatype) {
    case 'BYTES':
      for (let i = 0; i < values.length; i++) if (typeof values[i] !== 'string') badValue(name, datatype, i, values[i]);
      return values as string[];
    case 'BOOL': {
      const data = new Uint8Array(values.length);
      for (let i = 0; i < values.length; i++) {
        const value = values[i];
        if (value === true) data[i] = 1;
        else if (value !== false) badValue(name, datatype, i, value);
      }
      return data;
    }
    case 'FP32':
    case 'FP64': {
      const data = datatype === 'FP32' ? new Float32Array(values.length) : new Float64Array(values.length);
      for (let i = 0; i < values.length; i++) {
        const value = values[i];
        if (typeof value !== 'number') badValue(name, datatype, i, value);
        data[i] = value;
        // a finite number beyond the largest float32 would silently become an infinity
        if (!Number.isFinite(data[i])) badValue(name, datatype, i, value);
      }
      return data;
    }
    case 'INT64':
    case 'UINT64':
      return encodeWide(name, datatype, values);
    case 'FP16':
    case 'BF16':
      return refuse('UNSUPPORTED_DATATYPE', `tensor '${name}' is ${datatype}, which has no JSON form`, { tensor: name });
    default: {
      const [least, most] = INTEGER_RANGES[datatype]!;
      const data = allocate(datatype, values.length) as Int32Array;
      for (let i = 0; i < values.length; i++) {
        const value = values[i];
        if (!Number.isInteger(value) || (value as number) < least || (value as number) > most) badValue(name, datatype, i, value);
        data[i] = value as number;
      }
      return data;
    }
  }
}

function encodeWide(name: string, datatype: 'INT64' | 'UINT64', values: readonly unknown[]): BigInt64Array | BigUint64Array {
  const data = datatype === 'INT64' ? new BigInt64Array(values.length) : new BigUint64Array(values.length);
  const [least, most] = WIDE_RANGES[datatype];
  for (let i = 0; i < values.length; i++) {
    const value = values[i];
    let wide: bigint;
    if (Number.isSafeInteger(value)) wide = BigInt(value as number);
    else if (typeof value === 'string' && DECIMAL.test(value)) wide = BigInt(value);
    else badValue(name, datatype, i, value, ' (beyond 2^53 write a decimal string)');
    if (wide < least || wide > most) badValue(name, datatype, i, value);
    data[i] = wide;
  }
  return data;
}

function badValue(name: string, datatype: OipDatatype, index: number, value: unknown, remedy = ''): never {
  const shown = JSON.stringify(value) ?? String(value);
  return refuse('INVALID_DATA', `element ${index} of tensor '${name}' is ${shown.slice(0, 64)}, which is no ${datatype}${remedy}`, { tensor: name });
}
