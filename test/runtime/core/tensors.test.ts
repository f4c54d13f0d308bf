import fc from 'fast-check';
import { code } from './codes.fixture';
import { fromBinary, toBinary } from '../../../runtime/core/binary-tensors';
import { jsonElements } from '../../../runtime/core/json-elements';
import { readOutputs, writeBinaryInputs } from '../../../runtime/core/oip-client';
import { allocate, byteStrings, fromJson, type Tensor, texts } from '../../../runtime/core/tensors';
import { OIP_DATATYPES } from '../../../src/contract';

describe('tensors in JSON', () => {
  test.each([
    ['BOOL', [true, false]], ['UINT8', [0, 255]], ['UINT16', [0, 65535]], ['UINT32', [0, 4294967295]], ['INT8', [-128, 127]], ['INT16', [-32768, 32767]],
    ['INT32', [-2147483648, 2147483647]], ['INT64', ['-9223372036854775808', '9223372036854775807']], ['UINT64', [0, '18446744073709551615']],
    ['FP32', [0.5, -3]], ['FP64', [0.1, 1e300]], ['BYTES', ['', 'Škoda 🚗']],
  ] as const)('%s goes in and out unchanged', (datatype, data) => {
    expect(JSON.parse(`[${jsonElements(fromJson('t', datatype, [2], data))}]`)).toEqual(data);
  });

  test.each([
    ['BOOL', 1], ['UINT8', 256], ['UINT8', -1], ['UINT16', 65536], ['UINT32', 2 ** 32], ['INT8', 128], ['INT16', 1.5], ['INT32', 2 ** 31], ['INT32', '1'],
    ['INT32', null], ['FP32', '1'], ['FP32', 1e39], ['FP32', true], ['FP64', null], ['BYTES', 1], ['BYTES', null], ['INT64', 1.5], ['INT64', true], ['INT64', '1e3'],
    ['INT64', ' 1'], ['INT64', '0x10'], ['INT64', '9223372036854775808'], ['UINT64', -1], ['UINT64', '18446744073709551616'],
  ] as const)('%s refuses %p', (datatype, value) => {
    expect(code(() => fromJson('t', datatype, [1], [value]))).toBe('INVALID_DATA');
  });

  test('INT64 beyond 2^53 is refused as a JSON number, whose digits are lost already, and taken as a decimal string', () => {
    expect(() => fromJson('t', 'INT64', [1], JSON.parse('[9007199254740993]'))).toThrow(/decimal string/);
    expect(fromJson('t', 'INT64', [1], ['9007199254740993']).data).toEqual(BigInt64Array.of(9007199254740993n));
  });

  test('nested data is row-major', () => {
    expect(fromJson('t', 'INT32', [2, 3], [[1, 2, 3], [4, 5, 6]]).data).toEqual(Int32Array.of(1, 2, 3, 4, 5, 6));
  });

  test.each([
    ['too few', [2], [1]], ['too many', [1], [1, 2]], ['a short row', [2, 2], [[1, 2], [3]]], ['too deep', [2], [[1], [2]]], ['too shallow', [1, 2, 1], [[1, 2]]], ['ragged', [2, 1], [[1], 2]],
  ])('data that does not fit its shape is refused: %s', (_, shape, data) => {
    expect(['INVALID_SHAPE', 'INVALID_DATA']).toContain(code(() => fromJson('t', 'INT32', shape, data)));
  });

  test('a shape of billions allocates nothing', () => {
    expect(code(() => fromJson('t', 'FP64', [2 ** 31, 2 ** 20], [1]))).toBe('INVALID_SHAPE');
    expect(code(() => fromBinary('t', 'FP64', [2 ** 31, 2 ** 20], new Uint8Array(8)))).toBe('INVALID_SHAPE');
  });

  test.each(['FP16', 'BF16'] as const)('%s has no JSON form in either direction', (datatype) => {
    expect(code(() => fromJson('t', datatype, [1], [1]))).toBe('UNSUPPORTED_DATATYPE');
    expect(code(() => jsonElements({ name: 't', datatype, shape: [1], data: new Uint16Array(1) }))).toBe('UNSUPPORTED_DATATYPE');
  });
});

describe('binary tensors', () => {
  const tensors = fc.constantFrom(...OIP_DATATYPES).chain((datatype) => fc.integer({ min: 0, max: 20 }).chain((count): fc.Arbitrary<Tensor> => {
    if (datatype === 'BYTES') {
      return fc.array(fc.uint8Array(), { minLength: count, maxLength: count }).map((data) => ({ name: 't', datatype, shape: [count], data }));
    }
    const size = allocate(datatype, 1).BYTES_PER_ELEMENT;
    const byte = datatype === 'BOOL' ? { min: 0, max: 1 } : { min: 0, max: 255 };
    return fc.uint8Array({ ...byte, minLength: count * size, maxLength: count * size }).map((bytes) => fromBinary('t', datatype, [count], bytes));
  }));

  test('every tensor survives the way to a runtime and back', () => {
    fc.assert(fc.property(fc.array(tensors, { minLength: 1, maxLength: 4 }), (given) => {
      const { body, headerLength } = writeBinaryInputs(given);
      const outputs = JSON.stringify({ outputs: JSON.parse(body.toString('utf8', 0, headerLength)).inputs });
      const back = readOutputs(Buffer.concat([Buffer.from(outputs), body.subarray(headerLength)]), Buffer.byteLength(outputs));
      expect(back.map((tensor) => Buffer.from(toBinary(tensor)).toString('hex'))).toEqual(given.map((tensor) => Buffer.from(toBinary(tensor)).toString('hex')));
    }));
  });

  test('text and byte strings are one and the same', () => {
    const text: Tensor = { name: 't', datatype: 'BYTES', shape: [2], data: ['a', 'ž'] };
    expect(texts(fromBinary('t', 'BYTES', [2], toBinary(text)))).toEqual(['a', 'ž']);
    expect(byteStrings(text)[1]).toEqual(new Uint8Array([0xc5, 0xbe]));
    expect(texts({ ...text, shape: [0], data: [] })).toEqual([]);
  });

  test('a size that does not fit the shape is refused', () => {
    expect(code(() => fromBinary('t', 'INT32', [2], new Uint8Array(7)))).toBe('INVALID_SHAPE');
    expect(code(() => fromBinary('t', 'BYTES', [1], new Uint8Array(0)))).toBe('INVALID_SHAPE');
    expect(code(() => fromBinary('t', 'BYTES', [1], Uint8Array.of(2, 0, 0, 0, 1)))).toBe('INVALID_DATA');
    expect(code(() => fromBinary('t', 'BYTES', [1], Uint8Array.of(2, 0)))).toBe('INVALID_DATA');
    expect(code(() => fromBinary('t', 'BOOL', [1], Uint8Array.of(2)))).toBe('INVALID_DATA');
  });

  test('an answer that is no answer of the protocol is the runtime\'s fault', () => {
    for (const body of ['', '{}', '[]', 'null', '{"outputs":[{"name":"t","datatype":"FP32","shape":[2],"data":[1]}]}', '{"outputs":[{"name":"t"}]}', '{"outputs":[null]}']) {
      expect(code(() => readOutputs(Buffer.from(body)))).toBe('INVALID_MODEL_OUTPUT');
    }
    expect(code(() => readOutputs(Buffer.from('{}'), 9))).toBe('INVALID_MODEL_OUTPUT');
  });
});
