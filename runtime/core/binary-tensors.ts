/**
 * Raw tensors of the Open Inference Protocol's "Binary Tensor Data Extension": row-major, little-endian, without padding;
 * each BYTES element is its length in four bytes and then its bytes.
 */
import { refuse } from './errors';
import { arrayOver, byteStrings, bytesPerElement, elementCount, type NumericArray, type Tensor } from './tensors';
import type { OipDatatype } from '../../src/contract';

/** Fails with INVALID_SHAPE where the size does not fit the shape, with INVALID_DATA where the bytes do not fit the datatype. */
export function fromBinary(name: string, datatype: OipDatatype, shape: readonly number[], bytes: Uint8Array): Tensor {
  const count = elementCount(shape);
  if (datatype === 'BYTES') return { name, datatype, shape, data: splitByteStrings(name, count, bytes) };
  const size = count * bytesPerElement(datatype);
  if (bytes.length !== size) {
    refuse('INVALID_SHAPE', `tensor '${name}' of ${datatype} [${shape.join(', ')}] is ${size} bytes, but binary_data_size is ${bytes.length}`, { tensor: name });
  }
  const data = arrayOver(datatype, bytes);
  if (datatype === 'BOOL') {
    const odd = (data as Uint8Array).findIndex((value) => value > 1);
    if (odd >= 0) refuse('INVALID_DATA', `element ${odd} of tensor '${name}' is ${data[odd]}, which is no BOOL`, { tensor: name });
  }
  return { name, datatype, shape, data };
}

/**
 * Memory for a body, such that the first binary tensor behind its JSON is aligned for every datatype, and those after it where the sizes
 * before them allow: such a tensor is a view of the body, and no byte of it is copied again.
 */
export function allocateBody(length: number, headerLength: number): Buffer {
  // without this a small buffer would come from a pool at any place
  const offset = (ALIGNMENT - headerLength % ALIGNMENT) % ALIGNMENT;
  return Buffer.from(new ArrayBuffer(length + offset), offset, length);
}

/** Bytes of the widest element. */
const ALIGNMENT = 8;

export function toBinary(tensor: Tensor): Uint8Array {
  if (tensor.datatype !== 'BYTES') {
    const { buffer, byteOffset, byteLength } = tensor.data as NumericArray;
    return new Uint8Array(buffer, byteOffset, byteLength);
  }
  const elements = byteStrings(tensor);
  const bytes = new Uint8Array(elements.reduce((sum, element) => sum + 4 + element.length, 0));
  const view = new DataView(bytes.buffer);
  let at = 0;
  for (const element of elements) {
    view.setUint32(at, element.length, true);
    bytes.set(element, at + 4);
    at += 4 + element.length;
  }
  return bytes;
}

function splitByteStrings(name: string, count: number, bytes: Uint8Array): Uint8Array[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const elements: Uint8Array[] = [];
  let at = 0;
  while (at < bytes.length) {
    const start = at + 4;
    const end = start <= bytes.length ? start + view.getUint32(at, true) : Infinity;
    if (end > bytes.length) refuse('INVALID_DATA', `element ${elements.length} of tensor '${name}' runs beyond its binary data`, { tensor: name });
    elements.push(bytes.subarray(start, end));
    at = end;
  }
  if (elements.length !== count) refuse('INVALID_SHAPE', `tensor '${name}' has ${count} elements by its shape, but ${elements.length} in its binary data`, { tensor: name });
  return elements;
}
