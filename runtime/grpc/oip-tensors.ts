/**
 * Tensors in protobuf: InferInputTensor and InferOutputTensor, which have the same fields, with typed `contents` or raw contents beside them.
 * Source: KServe, "Open Inference Protocol", GRPC, and "Tensor Data Types" (raw contents: row-major, little-endian, no padding).
 */
import { readParameter } from './oip-parameters';
import { bytesTag, fieldOf, varintTag, Wire, wireTypeOf } from './wire-format';
import type { WireReader } from './wire-reader';
import { OIP_DATATYPES, type OipDatatype } from '../../src/contract';
import { fromBinary } from '../core/binary-tensors';
import { refuse } from '../core/errors';
import { allocate, type NumericArray, type Tensor } from '../core/tensors';

/** Bounds on what a message may make the decoder allocate beyond its own size. Each is far above any model that is served. */
export const MAX_TENSORS = 1_024;
export const MAX_DIMENSIONS = 32;
/** Elements of a BYTES tensor: each costs an object of about a hundred bytes, however short it is. */
export const MAX_BYTE_STRINGS = 262_144;
/** The longest tensor name that a manifest may declare. */
const MAX_NAME = 128;
/** Raw contents below this size are copied: a view would keep alive the much larger buffer that the connection read into. */
const VIEW_BYTES = 4_096;

export const TensorTag = {
  NAME: bytesTag(1), DATATYPE: bytesTag(2), SHAPE: bytesTag(3), SHAPE_UNPACKED: varintTag(3), PARAMETERS: bytesTag(4), CONTENTS: bytesTag(5),
} as const;

/** Field of InferTensorContents for a datatype, and the array of its elements. FP16 and BF16 have raw contents only. */
const DATATYPES = {
  BOOL: { field: 1, array: Uint8Array },
  INT8: { field: 2, array: Int8Array },
  INT16: { field: 2, array: Int16Array },
  INT32: { field: 2, array: Int32Array },
  INT64: { field: 3, array: BigInt64Array },
  UINT8: { field: 4, array: Uint8Array },
  UINT16: { field: 4, array: Uint16Array },
  UINT32: { field: 4, array: Uint32Array },
  UINT64: { field: 5, array: BigUint64Array },
  FP16: { field: 0, array: Uint16Array },
  BF16: { field: 0, array: Uint16Array },
  FP32: { field: 6, array: Float32Array },
  FP64: { field: 7, array: Float64Array },
  BYTES: { field: 8, array: Uint8Array },
} as const satisfies Record<OipDatatype, object>;

/** What a tensor message says, before its contents are read: contents may come before datatype and shape. */
export interface TensorHeader {
  name: string;
  datatype: OipDatatype;
  shape: number[];
  /** Elements by the shape. */
  count: number;
  /** Start and end of each `contents` field; protobuf lets a message field come in parts. Undefined: there is none. */
  contents: number[] | undefined;
}

/** Reads the fields of a tensor message, from where the reader stands to its end. */
export function readTensorHeader(reader: WireReader): TensorHeader {
  let name = '';
  let datatype = '';
  const shape: number[] = [];
  let contents: number[] | undefined;
  while (reader.more) {
    const tag = reader.tag();
    switch (tag) {
      case TensorTag.NAME:
        name = reader.string();
        break;
      case TensorTag.DATATYPE:
        datatype = reader.string();
        break;
      case TensorTag.SHAPE: {
        const outer = reader.enter();
        while (reader.more) dimension(reader, shape);
        reader.leave(outer);
        break;
      }
      case TensorTag.SHAPE_UNPACKED:
        dimension(reader, shape);
        break;
      case TensorTag.PARAMETERS:
        readTensorParameter(reader);
        break;
      case TensorTag.CONTENTS: {
        const outer = reader.enter();
        (contents ??= []).push(reader.at, reader.end);
        reader.at = reader.end;
        reader.leave(outer);
        break;
      }
      default:
        reader.skip(tag);
    }
  }
  if (name.length === 0 || name.length > MAX_NAME) refuse('INVALID_REQUEST', `a tensor has no name of 1 to ${MAX_NAME} characters`);
  if (!Object.hasOwn(DATATYPES, datatype)) {
    refuse('INVALID_DATATYPE', `tensor '${name}' has datatype '${datatype.slice(0, 64)}', the protocol has ${OIP_DATATYPES.join(', ')}`, { tensor: name });
  }
  return { name, datatype: datatype as OipDatatype, shape, count: countElements(name, shape), contents };
}

/** The tensor with its typed contents, which the bytes of the reader hold. */
export function typedTensor(reader: WireReader, header: TensorHeader): Tensor {
  const { name, datatype, shape, count } = header;
  const { field } = DATATYPES[datatype];
  const ranges = header.contents ?? [];
  if (field === 0) return refuse('UNSUPPORTED_DATATYPE', `tensor '${name}' is ${datatype}, which has raw contents only`, { tensor: name });
  let bytes = 0;
  for (let i = 0; i < ranges.length; i += 2) bytes += ranges[i + 1] - ranges[i];
  // an element takes a byte at least, so no array is larger than eight times the message
  if (count > bytes) return wrongCount(header, 'fewer');
  const contents = new ContentsReader(reader, header, field);
  if (datatype === 'BYTES') {
    requireFewByteStrings(name, count);
    return { name, datatype, shape, data: contents.byteStrings(ranges) };
  }
  return { name, datatype, shape, data: contents.numbers(ranges, allocate(datatype, count)) };
}

/** The tensor with raw contents: a view on them where they are large and lie on a multiple of the element's size, else a copy. */
export function rawTensor(header: TensorHeader, bytes: Uint8Array, start: number, end: number): Tensor {
  const { name, datatype, shape, count } = header;
  const size = end - start;
  if (datatype === 'BYTES') {
    requireFewByteStrings(name, count);
    const strings = bytes.subarray(start, end);
    requireByteStrings(header, strings);
    return fromBinary(name, datatype, shape, strings);
  }
  const { array } = DATATYPES[datatype];
  const { BYTES_PER_ELEMENT } = array;
  if (size !== count * BYTES_PER_ELEMENT) {
    refuse('INVALID_SHAPE', `tensor '${name}' of ${datatype} [${shape.join(', ')}] is ${count * BYTES_PER_ELEMENT} bytes, but its raw contents are ${size}`, { tensor: name });
  }
  const offset = bytes.byteOffset + start;
  if (size < VIEW_BYTES || offset % BYTES_PER_ELEMENT !== 0 || datatype === 'BOOL') return fromBinary(name, datatype, shape, bytes.subarray(start, end));
  return { name, datatype, shape, data: new array(bytes.buffer as ArrayBuffer, offset, count) };
}

function dimension(reader: WireReader, shape: number[]): void {
  if (shape.length === MAX_DIMENSIONS) refuse('INVALID_SHAPE', `a tensor has more than ${MAX_DIMENSIONS} dimensions`);
  shape.push(reader.int64());
}

function countElements(name: string, shape: readonly number[]): number {
  let count = 1;
  for (let i = 0; i < shape.length; i++) {
    const size = shape[i];
    // NaN, which an int64 beyond 2^53 reads as, is neither
    if (!(size >= 0)) refuse('INVALID_SHAPE', `dimension ${i} of tensor '${name}' is negative or beyond 2^53`, { tensor: name });
    count *= size;
    if (!Number.isSafeInteger(count)) refuse('INVALID_SHAPE', `tensor '${name}' has more elements than can be counted`, { tensor: name });
  }
  return count;
}

/** Parameters of a tensor are hints that need no answer, but for shared memory, without which the data is not here. */
function readTensorParameter(reader: WireReader): void {
  const { key } = readParameter(reader);
  if (key === 'shared_memory_region') refuse('INVALID_PARAMETER', 'this service has no shared memory: send the tensor itself', { parameter: key });
}

function requireFewByteStrings(name: string, count: number): void {
  if (count > MAX_BYTE_STRINGS) refuse('INVALID_SHAPE', `tensor '${name}' has ${count} elements, a BYTES tensor may have ${MAX_BYTE_STRINGS}`, { tensor: name });
}

/** Counts the elements before any of them becomes an object. */
function requireByteStrings(header: TensorHeader, bytes: Uint8Array): void {
  let count = 0;
  for (let at = 0; at < bytes.length; count++) {
    if (count === header.count) wrongCount(header, 'more');
    if (at + 4 > bytes.length) break;
    at += 4 + bytes[at] + bytes[at + 1] * 0x100 + bytes[at + 2] * 0x1_0000 + bytes[at + 3] * 0x100_0000;
  }
  if (count < header.count) wrongCount(header, 'fewer');
}

function wrongCount({ name, shape, count }: TensorHeader, than: 'more' | 'fewer'): never {
  return refuse('INVALID_SHAPE', `tensor '${name}' has shape [${shape.join(', ')}], which is ${count} elements, but ${than} in its contents`, { tensor: name });
}

/** Reads InferTensorContents: every repeated field packed or not, in one part or several. */
class ContentsReader {
  private next = 0;

  constructor(private readonly reader: WireReader, private readonly header: TensorHeader, private readonly field: number) {}

  numbers(ranges: readonly number[], data: NumericArray): NumericArray {
    this.each(ranges, (packed) => {
      if (!packed) return this.number(data);
      const { reader } = this;
      const outer = reader.enter();
      if (this.field === 6 || this.field === 7) this.floats(data);
      else while (reader.more) this.number(data);
      reader.leave(outer);
    });
    return data;
  }

  byteStrings(ranges: readonly number[]): Uint8Array[] {
    const strings: Uint8Array[] = [];
    this.each(ranges, () => {
      if (this.next++ === this.header.count) wrongCount(this.header, 'more');
      strings.push(this.reader.view8());
    });
    return strings;
  }

  /** Calls back on each occurrence of the datatype's field. */
  private each(ranges: readonly number[], read: (packed: boolean) => void): void {
    const { reader, field, header } = this;
    const { at, end } = reader;
    for (let i = 0; i < ranges.length; i += 2) {
      reader.at = ranges[i];
      reader.end = ranges[i + 1];
      while (reader.more) {
        const tag = reader.tag();
        const number = fieldOf(tag);
        if (number === field) {
          if (wireTypeOf(tag) === Wire.BYTES) read(true);
          else if (field !== 8 && wireTypeOf(tag) === wireOf(field)) read(false);
          else reader.skip(tag);
        } else if (number >= 1 && number <= 8) {
          this.refuseOther(tag);
        } else {
          reader.skip(tag);
        }
      }
    }
    reader.at = at;
    reader.end = end;
    if (this.next < header.count) wrongCount(header, 'fewer');
  }

  /** Contents of another datatype: empty ones say nothing. */
  private refuseOther(tag: number): void {
    const { reader, header } = this;
    if (wireTypeOf(tag) === Wire.BYTES && reader.view8().length === 0) return;
    refuse('INVALID_DATA', `tensor '${header.name}' is ${header.datatype}, but has contents of another datatype`, { tensor: header.name });
  }

  /** A packed run of FP32 or FP64, which has the layout of the array itself. */
  private floats(data: NumericArray): void {
    const { reader, header } = this;
    const size = reader.end - reader.at;
    const { BYTES_PER_ELEMENT } = data;
    if (size % BYTES_PER_ELEMENT !== 0) refuse('INVALID_DATA', `contents of tensor '${header.name}' end within an element`, { tensor: header.name });
    const count = size / BYTES_PER_ELEMENT;
    if (this.next + count > data.length) wrongCount(header, 'more');
    new Uint8Array(data.buffer, this.next * BYTES_PER_ELEMENT, size).set(reader.bytes.subarray(reader.at, reader.end));
    this.next += count;
    reader.at = reader.end;
  }

  private number(data: NumericArray): void {
    const { reader, header } = this;
    const i = this.next++;
    if (i === data.length) wrongCount(header, 'more');
    switch (this.field) {
      case 1:
        data[i] = reader.bool() ? 1 : 0;
        return;
      case 2:
        return this.narrow(data, i, reader.int32());
      case 3:
        data[i] = reader.int64BigInt();
        return;
      case 4:
        return this.narrow(data, i, reader.uint32());
      case 5:
        data[i] = reader.uint64BigInt();
        return;
      case 6:
        data[i] = reader.float();
        return;
      default:
        data[i] = reader.double();
    }
  }

  private narrow(data: NumericArray, i: number, value: number): void {
    data[i] = value;
    if (data[i] === value) return;
    const { name, datatype } = this.header;
    refuse('INVALID_DATA', `element ${i} of tensor '${name}' is ${value}, which is no ${datatype}`, { tensor: name });
  }
}

function wireOf(field: number): number {
  if (field === 6) return Wire.FIXED32;
  return field === 7 ? Wire.FIXED64 : Wire.VARINT;
}
