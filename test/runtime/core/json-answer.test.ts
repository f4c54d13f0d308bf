import fc from 'fast-check';
import { code } from './codes.fixture';
import { type InferBody, writeInferAnswer } from '../../../runtime/core/json-answer';
import { jsonElements } from '../../../runtime/core/json-elements';
import { readInferRequest } from '../../../runtime/core/json-request';
import { readOutputs } from '../../../runtime/core/oip-client';
import { shortDouble, shortText, writeShortFloats } from '../../../runtime/core/short-floats';
import { fromJson, type Tensor } from '../../../runtime/core/tensors';

const JSON_WISH = { binaryByDefault: false };
const bytesOf = (body: InferBody) => body.text === undefined ? Buffer.concat(body.chunks) : Buffer.from(body.text);
const answerOf = (...outputs: Tensor[]) => ({ model: 'm', version: '1', outputs, parameters: { model_version: '1' } });
const floats = (...values: number[]): Tensor => ({ name: 't', datatype: 'FP32', shape: [values.length], data: Float32Array.from(values) });

/** Every float32 there is, by its bits, without NaN and infinities. */
const singles = fc.integer().map((bits) => new Float32Array(Int32Array.of(bits).buffer)[0]).filter(Number.isFinite);

describe('numbers of an answer', () => {
  test('a float32 is read back the same, through a double and directly', () => {
    fc.assert(fc.property(singles, (value) => {
      const short = shortDouble(value);
      expect(Math.fround(short)).toBe(value);
      expect(JSON.parse(shortText(value))).toBe(short);
      // on neither side of the middle between two float32s
      expect(Math.fround(short * (1 + 2 ** -40))).toBe(Math.fround(short * (1 - 2 ** -40)));
    }), { numRuns: 20_000 });
  });

  test('and has few digits', () => {
    expect([0.1, 1 / 3, 0.5, 16777216, 1e-7, 3.4028234663852886e38, 144.4, 1e6 + 0.1].map((value) => shortText(Math.fround(value))))
      .toEqual(['0.1', '0.33333334', '0.5', '16777216', '1e-7', '3.4028234663852886e+38', '144.4', '1000000.1']);
  });

  test('long tensors are the same text as short ones', () => {
    const value = fc.oneof(singles, fc.float({ min: -1, max: 1, noNaN: true }), fc.integer().map(Math.fround));
    fc.assert(fc.property(fc.array(value, { maxLength: 50 }), (values) => {
      expect(writeShortFloats(Float32Array.from(values)).toString()).toBe(values.map(shortText).join());
    }), { numRuns: 2000 });
  });

  test('a negative zero stays one', () => {
    for (const datatype of ['FP32', 'FP64'] as const) {
      const text = jsonElements({ name: 't', datatype, shape: [2], data: datatype === 'FP32' ? Float32Array.of(-0, 0) : Float64Array.of(-0, 0) });
      expect(text).toBe('-0.0,0');
    }
  });

  test.each([
    ['BOOL', [true, false], 'true,false'], ['INT8', [-128, 127], '-128,127'], ['UINT32', [4294967295], '4294967295'], ['FP64', [0.1, 1e300], '0.1,1e+300'],
    ['INT64', ['9007199254740992', 9007199254740991, -1], '"9007199254740992",9007199254740991,-1'], ['UINT64', ['18446744073709551615'], '"18446744073709551615"'],
    ['BYTES', ['', 'a"b', 'Škoda', '\n'], '"","a\\"b","Škoda","\\n"'],
  ] as const)('%s', (datatype, data, text) => {
    expect(jsonElements(fromJson('t', datatype, [data.length], data))).toBe(text);
  });

  test('what JSON has no form for is refused', () => {
    for (const value of [NaN, Infinity, -Infinity]) expect(code(() => writeInferAnswer(answerOf(floats(1, value)), JSON_WISH))).toBe('INVALID_MODEL_OUTPUT');
    expect(code(() => writeInferAnswer(answerOf({ name: 't', datatype: 'FP16', shape: [1], data: new Uint16Array(1) }), JSON_WISH))).toBe('UNSUPPORTED_DATATYPE');
  });
});

describe('an answer', () => {
  test('in short JSON is one string', () => {
    const body = writeInferAnswer({ ...answerOf(floats(1, 2.5)), id: 'a "b"' }, JSON_WISH);
    expect(JSON.parse(body.text!)).toEqual({
      model_name: 'm', model_version: '1', id: 'a "b"', parameters: { model_version: '1' }, outputs: [{ name: 't', datatype: 'FP32', shape: [2], data: [1, 2.5] }],
    });
    expect(body).toMatchObject({ length: Buffer.byteLength(body.text!), headerLength: undefined });
  });

  test('with a long tensor is the same JSON in parts', () => {
    const values = Array.from({ length: 5000 }, (_, i) => Math.fround(i / 7));
    const body = writeInferAnswer(answerOf(floats(...values), floats(1), floats(...values)), JSON_WISH);
    expect(body.text).toBeUndefined();
    expect(body.length).toBe(bytesOf(body).length);
    const { outputs } = JSON.parse(bytesOf(body).toString()) as { outputs: { data: number[] }[] };
    expect(outputs.map(({ data }) => Float32Array.from(data))).toEqual([Float32Array.from(values), Float32Array.of(1), Float32Array.from(values)]);
  });

  test('asked for as binary has the tensors behind its JSON, without a copy', () => {
    const data = Float32Array.of(1, NaN, 3);
    const long = floats(...Array<number>(2000).fill(0.5));
    const wish = readInferRequest(Buffer.from('{"inputs":[{"name":"x","shape":[0],"datatype":"FP32","data":[]}],"outputs":[{"name":"long"},{"name":"t","parameters":{"binary_data":true}},{"name":"b","parameters":{"binary_data":true}}]}'));
    const answer = answerOf({ ...long, name: 'long' }, { name: 't', datatype: 'FP32', shape: [3], data }, { name: 'b', datatype: 'BYTES', shape: [1], data: ['ž'] });
    const body = writeInferAnswer(answer, wish);
    expect(body.chunks.some((chunk) => chunk.buffer === data.buffer)).toBe(true);
    expect(body.length).toBe(bytesOf(body).length);
    const back = readOutputs(bytesOf(body), body.headerLength);
    expect(back.map((tensor) => tensor.data)).toEqual([long.data, data, [Uint8Array.from(Buffer.from('ž'))].map((bytes) => Buffer.from(bytes))]);
  });

  test('is binary by default where the request says so', () => {
    const body = writeInferAnswer(answerOf(floats(1), floats(2)), { binaryByDefault: true, outputs: ['t'], binaryOutputs: [undefined] });
    expect(JSON.parse(bytesOf(body).toString('utf8', 0, body.headerLength)).outputs).toEqual(Array(2).fill({ name: 't', datatype: 'FP32', shape: [1], parameters: { binary_data_size: 4 } }));
    expect(writeInferAnswer(answerOf(floats(1)), { binaryByDefault: true, outputs: ['t'], binaryOutputs: [false] }).text).toContain('"data":[1]');
  });
});
