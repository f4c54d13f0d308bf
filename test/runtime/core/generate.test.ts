import fc from 'fast-check';
import { code } from './codes.fixture';
import { BrainError } from '../../../runtime/core/errors';
import { errorEvent, eventOf, readGenerateRequest, writeGenerateAnswer } from '../../../runtime/core/generate';
import type { Tensor } from '../../../runtime/core/tensors';
import { JoinedPieces, TokenCounter } from '../../../runtime/core/token-usage';
import type { TensorSchema } from '../../../src/contract';

const SIGNATURE: TensorSchema[] = [
  { name: 'text_input', datatype: 'BYTES', shape: [-1, 1] },
  { name: 'max_tokens', datatype: 'INT32', shape: [-1] },
  { name: 'stop', datatype: 'BYTES', shape: [-1, -1] },
  { name: 'seed', datatype: 'UINT64', shape: [1] },
  { name: 'bias', datatype: 'FP32', shape: [-1, 2] },
  { name: 'half', datatype: 'FP16', shape: [-1] },
];
const read = (body: unknown) => readGenerateRequest(Buffer.from(typeof body === 'string' ? body : JSON.stringify(body)), SIGNATURE);
const text = (name: string, ...data: string[]): Tensor => ({ name, datatype: 'BYTES', shape: [data.length], data });
const count = (name: string, value: number): Tensor => ({ name, datatype: 'INT32', shape: [1], data: Int32Array.of(value) });

describe('a generate request', () => {
  test('becomes tensors of one row by the signature of the model', () => {
    expect(read({ text_input: 'Hi "ž"', max_tokens: 16, stop: ['a', 'b', 'c'], bias: [0.5, 1] }).inputs).toEqual([
      { name: 'text_input', datatype: 'BYTES', shape: [1, 1], data: ['Hi "ž"'] },
      { name: 'max_tokens', datatype: 'INT32', shape: [1], data: Int32Array.of(16) },
      { name: 'stop', datatype: 'BYTES', shape: [1, 3], data: ['a', 'b', 'c'] },
      { name: 'bias', datatype: 'FP32', shape: [1, 2], data: Float32Array.of(0.5, 1) },
    ]);
  });

  test('names inputs among its parameters too, as Triton lets it, and any other key is a parameter', () => {
    const { id, inputs, parameters } = read({ id: '7', text_input: 'x', temperature: 0.5, parameters: { max_tokens: 4, stream: false, mode: 'fast' } });
    expect(id).toBe('7');
    expect(inputs.map(({ name }) => name)).toEqual(['text_input', 'max_tokens']);
    expect(parameters).toEqual({ temperature: 0.5, stream: false, mode: 'fast' });
  });

  test('keeps every digit of a wide integer', () => {
    expect(read('{"seed":18446744073709551615}').inputs[0].data).toEqual(BigUint64Array.of(2n ** 64n - 1n));
  });

  test.each([
    ['{', 'INVALID_JSON'], ['[]', 'INVALID_REQUEST'], ['{"id":1}', 'INVALID_REQUEST'], ['{"text_input":1}', 'INVALID_DATA'], ['{"text_input":null}', 'INVALID_DATA'],
    ['{"text_input":{"a":1}}', 'INVALID_DATA'], ['{"text_input":[["a"]]}', 'INVALID_DATA'], ['{"max_tokens":1.5}', 'INVALID_DATA'], ['{"bias":[1,2,3]}', 'INVALID_SHAPE'],
    ['{"seed":[1,2]}', 'INVALID_SHAPE'], ['{"half":1}', 'UNSUPPORTED_DATATYPE'], ['{"other":[1]}', 'INVALID_PARAMETER'], ['{"parameters":{"x":null}}', 'INVALID_PARAMETER'],
    ['{"parameters":3}', 'INVALID_REQUEST'], ['{"parameters":[]}', 'INVALID_REQUEST'], ['{"__proto__":1}', 'INVALID_PARAMETER'], ['{"text_input":"a"} x}', 'INVALID_JSON'],
  ])('%s: %s', (body, expected) => {
    expect(code(() => read(body))).toBe(expected);
  });

  test('of any JSON is read or refused with a code', () => {
    const value = fc.oneof(fc.json({ maxDepth: 3 }), fc.string().map((letters) => JSON.stringify(letters)), fc.constant('[1,2]'));
    const key = fc.oneof(fc.constantFrom(...SIGNATURE.map(({ name }) => name), 'id', 'parameters'), fc.string());
    fc.assert(fc.property(fc.array(fc.tuple(key, value), { maxLength: 5 }), (members) => {
      expect(code(() => read(`{${members.map(([name, written]) => `${JSON.stringify(name)}:${written}`).join()}}`))).toMatch(/^(none|(INVALID|UNSUPPORTED)_[A-Z]+)$/);
    }), { numRuns: 1000 });
  });
});

describe('a generate answer', () => {
  const answer = { model: 'llm', version: '2', outputs: [text('text_output', 'a\n"b"'), text('list', 'x', 'y'), count('n', 3)], parameters: {} };

  test('shows an output of one element as a scalar, any other as an array', () => {
    expect(JSON.parse(writeGenerateAnswer(answer))).toEqual({ model_name: 'llm', model_version: '2', text_output: 'a\n"b"', list: ['x', 'y'], n: 3 });
  });

  test('has id, parameters and usage where there are any', () => {
    const written = writeGenerateAnswer({ ...answer, outputs: [], id: '7', parameters: { model_version: '2' }, usage: { promptTokens: 3, completionTokens: 9 } });
    expect(JSON.parse(written)).toEqual({ model_name: 'llm', model_version: '2', id: '7', parameters: { model_version: '2' }, usage: { prompt_tokens: 3, completion_tokens: 9 } });
  });

  test('is one event of a stream, whatever its text is', () => {
    fc.assert(fc.property(fc.string({ unit: 'binary' }), (piece) => {
      const event = eventOf(writeGenerateAnswer({ ...answer, outputs: [text('text_output', piece)] }));
      expect(event.split(/\r\n|\r|\n/)).toEqual([expect.stringMatching(/^data: \{/), '', '']);
      expect(JSON.parse(event.slice(6)).text_output).toBe(piece);
    }));
  });

  test('that fails midway ends with the coded error', () => {
    expect(JSON.parse(errorEvent(new BrainError('MODEL_FAILED', 'no\nmore')).slice(6))).toEqual({ error: 'MODEL_FAILED: no\nmore', code: 'MODEL_FAILED' });
  });
});

describe('tokens', () => {
  test('are what the outputs of the model count', () => {
    const counter = new TokenCounter({ text: 't', promptTokens: 'p', completionTokens: 'c' });
    counter.add([text('t', 'a'), count('p', 5), count('c', 2)]);
    expect(counter.add([text('t', 'b'), count('c', 4)])).toEqual({ promptTokens: 5, completionTokens: 4 });
  });

  test('are the pieces with text where no output counts them', () => {
    const counter = new TokenCounter({ text: 't' });
    for (const piece of ['a', 'b', '']) counter.add([text('t', piece)]);
    expect(counter.usage).toEqual({ promptTokens: 0, completionTokens: 2 });
  });

  test('the pieces of an answer make one text', () => {
    const joined = new JoinedPieces({ streaming: {}, outputs: [{ name: 't', datatype: 'BYTES', shape: [-1] }, { name: 'n', datatype: 'INT32', shape: [1] }] });
    expect(joined.outputs).toEqual([]);
    for (const [i, piece] of ['To', 'ken', '!'].entries()) joined.add([text('t', piece), count('n', i)]);
    expect(joined.outputs).toEqual([text('t', 'Token!'), count('n', 2)]);
  });
});
