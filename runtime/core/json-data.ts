/** The `data` of a tensor in JSON, flat or nested (row-major), read from its text into the array of its datatype. */
import { refuse } from './errors';
import { mismatch, readFloats, readIntegers, readWideIntegers, refuseRow } from './json-numbers';
import { CLOSE_ARRAY, COMMA, JsonScanner, OPEN_ARRAY } from './json-scanner';
import { allocate, elementCount, INTEGER_RANGES, type NumericArray, type TensorData } from './tensors';
import type { OipDatatype } from '../../src/contract';

/**
 * Reads the value at which the scanner stands, and passes it.
 *
 * @returns undefined where it is no data of that datatype and shape; the scanner then stands anywhere
 */
export function readData(scanner: JsonScanner, datatype: OipDatatype, shape: readonly number[]): TensorData | undefined {
  if (!scanner.accept(OPEN_ARRAY)) return undefined;
  const count = elementCount(shape);
  // an element takes a digit and a comma at least: a shape of billions allocates nothing
  if (!(count <= (scanner.bytes.length - scanner.at) / 2) || datatype === 'FP16' || datatype === 'BF16') {
    mismatch.at = -1;
    return undefined;
  }
  const data: TensorData = datatype === 'BYTES' ? new Array<string>(count) : allocate(datatype, count);
  const end = scanner.peek() === OPEN_ARRAY
    ? readLevel(scanner, datatype, data, shape, 0, 0, count)
    : readRow(scanner, datatype, data, 0, count);
  if (end < 0) return undefined;
  scanner.at = end;
  return data;
}

/** Fails with what is wrong with the data at `start`, which `readData` has refused and which is known to be JSON. */
export function refuseData(scanner: JsonScanner, start: number, name: string, datatype: OipDatatype, shape: readonly number[]): never {
  const { element, at } = mismatch;
  const details = { tensor: name };
  scanner.at = start;
  if (!scanner.accept(OPEN_ARRAY)) refuse('INVALID_REQUEST', `data of tensor '${name}' must be an array`, details);
  if (scanner.peek() === OPEN_ARRAY) {
    requireLevel(scanner, name, shape, 0);
  } else {
    const [count, found] = [elementCount(shape), countElements(scanner)];
    if (found !== count) refuse('INVALID_SHAPE', `tensor '${name}' has shape [${shape.join(', ')}], which is ${count} elements, but ${found} in data`, details);
  }
  if (datatype === 'FP16' || datatype === 'BF16') refuse('UNSUPPORTED_DATATYPE', `tensor '${name}' is ${datatype}, which has no JSON form`, details);
  return refuse('INVALID_DATA', `element ${element} of tensor '${name}' is ${scanner.textAt(at)}, which is no ${datatype}`, details);
}

/** Reads the elements of one level of nesting, behind its `[`; gives the place behind its `]`, or -1. */
function readLevel(
  scanner: JsonScanner, datatype: OipDatatype, data: TensorData, shape: readonly number[], axis: number, from: number, count: number,
): number {
  if (axis === shape.length - 1) return readRow(scanner, datatype, data, from, from + count);
  const size = shape[axis];
  const inner = count / size;
  for (let i = 0; i < size; i++) {
    if (i > 0 && !scanner.accept(COMMA)) return -1;
    if (!scanner.accept(OPEN_ARRAY)) return -1;
    const end = readLevel(scanner, datatype, data, shape, axis + 1, from + i * inner, inner);
    if (end < 0) return -1;
    scanner.at = end;
  }
  return scanner.accept(CLOSE_ARRAY) ? scanner.at : -1;
}

function readRow(scanner: JsonScanner, datatype: OipDatatype, data: TensorData, from: number, to: number): number {
  const { bytes, at } = scanner;
  switch (datatype) {
    case 'FP32':
    case 'FP64':
      return readFloats(bytes, at, data as Float32Array, from, to);
    case 'INT64':
    case 'UINT64':
      return readWideIntegers(bytes, at, data as BigInt64Array, from, to);
    case 'BOOL':
      return readBooleans(scanner, data as Uint8Array, from, to);
    case 'BYTES':
      return readTexts(scanner, data as string[], from, to);
    default: {
      const [least, most] = INTEGER_RANGES[datatype]!;
      return readIntegers(bytes, at, data as NumericArray as Int32Array, from, to, least, most);
    }
  }
}

function readBooleans(scanner: JsonScanner, out: Uint8Array, from: number, to: number): number {
  for (let i = from; i < to; i++) {
    const byte = scanner.peek();
    if (byte === 0x74) scanner.literal('true');
    else if (byte === 0x66) scanner.literal('false');
    else return refuseRow(i, scanner.at);
    out[i] = byte === 0x74 ? 1 : 0;
    if (i + 1 < to && !scanner.accept(COMMA)) return -1;
  }
  return scanner.accept(CLOSE_ARRAY) ? scanner.at : refuseRow(from, scanner.at);
}

function readTexts(scanner: JsonScanner, out: string[], from: number, to: number): number {
  for (let i = from; i < to; i++) {
    if (scanner.peek() !== 0x22) return refuseRow(i, scanner.at);
    out[i] = scanner.string();
    if (i + 1 < to && !scanner.accept(COMMA)) return -1;
  }
  return scanner.accept(CLOSE_ARRAY) ? scanner.at : refuseRow(from, scanner.at);
}

/** Elements of the array behind whose `[` the scanner stands. */
function countElements(scanner: JsonScanner): number {
  let count = 0;
  for (; scanner.next(count === 0, CLOSE_ARRAY); count++) scanner.skip();
  return count;
}

/** Fails with INVALID_SHAPE unless every level has as many elements as the shape says. */
function requireLevel(scanner: JsonScanner, name: string, shape: readonly number[], axis: number): void {
  const details = { tensor: name };
  let count = 0;
  for (; scanner.next(count === 0, CLOSE_ARRAY); count++) {
    if (axis >= shape.length - 1) {
      scanner.skip();
    } else if (scanner.accept(OPEN_ARRAY)) {
      requireLevel(scanner, name, shape, axis + 1);
    } else {
      refuse('INVALID_SHAPE', `tensor '${name}' is nested to depth ${axis + 1}, its shape has ${shape.length} dimensions`, details);
    }
  }
  if (count !== shape[axis]) {
    refuse('INVALID_SHAPE', `tensor '${name}' has ${count} elements in dimension ${axis}, its shape says ${shape[axis] ?? 'there is none'}`, details);
  }
}
