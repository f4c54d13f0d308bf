import fc from 'fast-check';
import { code } from './codes.fixture';
import { bodyTexts, mutated, numberTexts } from './infer-bodies.fixture';
import { readByParsing } from './reference-reader.fixture';
import { allocateBody, toBinary } from '../../../runtime/core/binary-tensors';
import { BrainError } from '../../../runtime/core/errors';
import { readInferRequest, wantsBinary } from '../../../runtime/core/json-request';
import { MAX_DEPTH } from '../../../runtime/core/json-scanner';
import type { Tensor } from '../../../runtime/core/tensors';

const read = (text: string) => readInferRequest(Buffer.from(text));
const inputs = (fields: string) => `{"inputs":[{"name":"x",${fields}}]}`;
const dataOf = (fields: string) => read(inputs(fields)).inputs[0].data;

/** All that a tensor is, bit for bit. */
const shown = (tensor: Tensor) => ({
  name: tensor.name,
  datatype: tensor.datatype,
  shape: tensor.shape.map((dimension) => dimension + 0),
  data: typeof tensor.data[0] === 'string' ? tensor.data : Buffer.from(toBinary(tensor)).toString('hex'),
});

/** What a reader makes of a body: everything that counts of the request, or the code of the error. */
function outcome(run: () => { inputs: Tensor[]; id?: string; outputs?: string[]; explain: boolean; binary: (output: string) => boolean }) {
  try {
    const { id, outputs, explain, binary, inputs: tensors } = run();
    return { id, outputs, explain, binary: ['a', 'b', 'c', 'd', 'z'].map(binary), tensors: tensors.map(shown) };
  } catch (error) {
    if (error instanceof BrainError) return error.code;
    throw error;
  }
}

const scanned = (body: Buffer) => outcome(() => {
  const request = readInferRequest(body);
  return { ...request, explain: request.parameters.explain === true, binary: (output) => wantsBinary(request, output) };
});
const parsed = (body: Buffer) => outcome(() => readByParsing(body));

describe('an infer request is read from its bytes', () => {
  test('as JSON.parse and a reader of its objects do, bit for bit and code for code', () => {
    let good = 0;
    fc.assert(fc.property(bodyTexts, (text) => {
      const body = Buffer.from(text);
      const expected = parsed(body);
      if (typeof expected !== 'string') good++;
      const got = scanned(body);
      // the one difference: digits beyond 2^53 are kept, so that such a tensor is good and only what follows it can be wrong
      if (expected === 'INVALID_DATA' && got !== expected) expect(text).toMatch(/U?INT64/);
      else expect(got).toEqual(expected);
    }), { numRuns: 3000 });
    // the property says little where everything is refused
    expect(good).toBeGreaterThan(500);
  });

  test('and so are bodies with broken bytes', () => {
    fc.assert(fc.property(mutated(bodyTexts), (body) => {
      const [got, expected] = [scanned(body), parsed(body)];
      if (expected === 'INVALID_DATA' && got !== expected) expect(body.toString()).toMatch(/U?INT64/);
      else expect(got).toEqual(expected);
    }), { numRuns: 3000 });
  });

  test('every number is the one that JSON.parse gives', () => {
    fc.assert(fc.property(fc.array(numberTexts, { minLength: 1, maxLength: 20 }), (texts) => {
      const values = texts.map((text) => JSON.parse(text) as number);
      const doubles = texts.filter((_, i) => Number.isFinite(values[i]));
      const singles = texts.filter((_, i) => Number.isFinite(Math.fround(values[i])));
      expect(dataOf(`"shape":[${doubles.length}],"datatype":"FP64","data":[${doubles}]`)).toEqual(Float64Array.from(doubles, Number));
      expect(dataOf(`"shape":[${singles.length}],"datatype":"FP32","data":[${singles}]`)).toEqual(Float32Array.from(singles, Number));
    }), { numRuns: 2000 });
  });
});

describe('numbers', () => {
  test.each(['FP32', 'FP64'] as const)('%s: the hard cases round as they must', (datatype) => {
    const texts = [
      '-0', '0', '0.0', '-0.0e5', '1e22', '1e23', '8.5e-23', '9007199254740993', '9007199254740991.5', '123456789012345678', '0.1', '1.7976931348623157e+2',
      '5e-324', '2.2250738585072011e-308', '1.00000005960464477539', '1.000000059604644775390625', '1.00000005960464477539062500000000001', '0.30000000000000004',
      '179769313486231570e-17', '33554431.5', '16777217', '1.1754943508222875e-38', '0.000000000000000000000000012345678901234567', '7.2057594037927933e16', '1e-400',
    ];
    const Floats = datatype === 'FP32' ? Float32Array : Float64Array;
    expect(dataOf(`"shape":[${texts.length}],"datatype":"${datatype}","data":[${texts}]`)).toEqual(Floats.from(texts.map(Number)));
  });

  test('the largest float32 is taken, what rounds beyond it is not', () => {
    expect(dataOf('"shape":[2],"datatype":"FP32","data":[3.4028235677973362e38,-3.4028234663852886e38]')).toEqual(Float32Array.of(3.4028234663852886e38, -3.4028234663852886e38));
    expect(code(() => dataOf('"shape":[1],"datatype":"FP32","data":[3.4028235677973366e38]'))).toBe('INVALID_DATA');
    expect(code(() => dataOf('"shape":[1],"datatype":"FP64","data":[1e309]'))).toBe('INVALID_DATA');
  });

  test('64-bit integers keep every digit, as numbers and as strings', () => {
    expect(dataOf('"shape":[4],"datatype":"INT64","data":[9007199254740993,-9223372036854775808,"9223372036854775807",-1]'))
      .toEqual(BigInt64Array.of(9007199254740993n, -(2n ** 63n), 2n ** 63n - 1n, -1n));
    expect(dataOf('"shape":[3],"datatype":"UINT64","data":[18446744073709551615,4294967296,-0]')).toEqual(BigUint64Array.of(2n ** 64n - 1n, 2n ** 32n, 0n));
  });

  test.each([
    ['INT64', '9223372036854775808'], ['INT64', '1.5'], ['INT64', '1e18'], ['INT64', '"1e3"'], ['INT64', '" 1"'], ['INT64', 'true'], ['UINT64', '-1'], ['UINT64', '18446744073709551616'],
    ['UINT8', '256'], ['INT16', '1.5'], ['INT32', '1e10'], ['BOOL', '1'], ['FP32', '"1"'], ['BYTES', '1'],
  ])('%s refuses %s and says which element it is', (datatype, value) => {
    const good = datatype === 'BOOL' ? 'true' : datatype === 'BYTES' ? '"a"' : '1';
    expect(() => dataOf(`"shape":[2,1],"datatype":"${datatype}","data":[[${good}],[${value}]]`)).toThrow(`element 1 of tensor 'x' is ${value}, which is no ${datatype}`);
  });
});

describe('the request', () => {
  test('a tensor is read wherever its data stands in it', () => {
    for (const fields of ['"data":[1,2],"shape":[2],"datatype":"FP32"', '"shape":[2],"data":[[9]],"datatype":"FP32","data":[1,2]', '"datatype":"INT8","shape":[2],"data":[1,2],"datatype":"FP32"']) {
      expect(dataOf(fields)).toEqual(Float32Array.of(1, 2));
    }
  });

  test('parameters with values of the protocol are handed on, others are not', () => {
    const { parameters } = read(`{"parameters":{"explain":true,"k":3,"t":"x","__proto__":{"a":1},"no":null,"list":[1]},${inputs('"shape":[0],"datatype":"FP32","data":[]').slice(1)}`);
    expect(parameters).toEqual({ explain: true, k: 3, t: 'x' });
  });

  test('binary tensors behind the JSON are views of an aligned body', () => {
    const json = inputs('"shape":[2],"datatype":"FP64","parameters":{"binary_data_size":16}');
    const values = Float64Array.of(1.5, -2);
    const body = allocateBody(json.length + 16, json.length);
    body.write(json);
    body.set(new Uint8Array(values.buffer), json.length);
    const { data } = readInferRequest(body, json.length).inputs[0];
    expect(data).toEqual(values);
    expect((data as Float64Array).buffer).toBe(body.buffer);
    // and read from a copy where it is not aligned
    const shifted = Buffer.concat([Buffer.alloc(1), body]).subarray(1);
    expect(readInferRequest(shifted, json.length).inputs[0].data).toEqual(values);
  });

  test.each([
    ['too short', 17], ['too long', 8], ['negative', -1], ['fractional', 1.5], ['absurd', 1e300], ['text', '"16"'], ['nothing', 'null'],
  ])('a binary_data_size that does not fit is refused: %s', (_, size) => {
    const json = inputs(`"shape":[2],"datatype":"FP64","parameters":{"binary_data_size":${size}}`);
    expect(['INVALID_REQUEST', 'INVALID_SHAPE']).toContain(code(() => readInferRequest(Buffer.concat([Buffer.from(json), Buffer.alloc(16)]), json.length)));
  });

  test.each([
    ['', 'INVALID_JSON'], ['{', 'INVALID_JSON'], ['}', 'INVALID_JSON'], ['[]', 'INVALID_REQUEST'], [' 1 ', 'INVALID_REQUEST'], ['"x"', 'INVALID_REQUEST'], ['{}', 'INVALID_REQUEST'],
    ['{}}', 'INVALID_JSON'], ['{"a":{"b":1}', 'INVALID_JSON'], ['﻿{}', 'INVALID_JSON'], ['{"inputs":[1]}', 'INVALID_REQUEST'], ['{"inputs":[{}]}', 'INVALID_REQUEST'],
  ])('%s is %s', (text, expected) => {
    expect(code(() => read(text))).toBe(expected);
    expect(code(() => readByParsing(Buffer.from(text)))).toBe(expected);
  });

  test('a body that is no JSON says so, and where, whatever else is wrong', () => {
    expect(() => read('{"inputs":[{"name":1}],"x":tru}')).toThrow('INVALID_JSON: the body is not JSON: unexpected "t" at byte 27');
    expect(code(() => readInferRequest(Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d])))).toBe('INVALID_JSON');
  });

  test('nesting and rank are bounded', () => {
    const deep = (levels: number) => `{"x":${'['.repeat(levels)}${']'.repeat(levels)},${inputs('"shape":[1],"datatype":"FP32","data":[1]').slice(1)}`;
    expect(code(() => read(deep(MAX_DEPTH)))).toBe('none');
    expect(code(() => read(deep(MAX_DEPTH + 1)))).toBe('INVALID_JSON');
    expect(code(() => read(deep(1_000_000)))).toBe('INVALID_JSON');
    expect(code(() => dataOf(`"shape":[${Array(33).fill(1)}],"datatype":"FP32","data":[1]`))).toBe('INVALID_SHAPE');
  });
});
