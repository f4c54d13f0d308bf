/** Bounded fuzzing of the decoder: whatever comes, it is refused as INVALID_ARGUMENT or read, and memory stays in proportion. */
import fc from 'fast-check';
import { stockMethod, unframed } from './stock';
import { tensor } from './tensor-arbitrary';
import { BrainError, ERRORS } from '../../../runtime/core/errors';
import { decodeInferRequest, decodeInferResponse, decodeStreamInferResponse, encodeInferRequest } from '../../../runtime/grpc/oip-infer';
import { decodeEmpty, decodeFlag, decodeModelMetadata, decodeModelName, decodeServerMetadata } from '../../../runtime/grpc/oip-server';
import { MAX_BYTE_STRINGS } from '../../../runtime/grpc/oip-tensors';

/** Runs a decoder; anything but a refusal of the caller's message fails the test. */
function survives(decode: (message: Uint8Array) => unknown, message: Uint8Array): void {
  try {
    decode(message);
  } catch (error) {
    if (!(error instanceof BrainError)) throw error;
    expect(ERRORS[error.code].grpc).toBe('INVALID_ARGUMENT');
  }
}

const survivesAll = (message: Uint8Array) => {
  for (const decode of [decodeInferRequest, decodeEmpty, decodeFlag, decodeModelMetadata, decodeModelName, decodeServerMetadata]) {
    survives(decode, message);
  }
};

/** Bytes that begin like fields, so that more of them get past the first tag. */
const almost = fc.array(fc.oneof(
  fc.tuple(fc.integer({ min: 1, max: 9 }), fc.integer({ min: 0, max: 5 }), fc.uint8Array({ maxLength: 12 }))
    .map(([field, type, bytes]) => [field * 8 + type, bytes.length, ...bytes]),
  fc.uint8Array({ maxLength: 6 }).map((bytes) => [...bytes]),
), { maxLength: 12 }).map((parts) => Uint8Array.from(parts.flat()));

describe('the decoder', () => {
  it('survives arbitrary bytes', () => {
    fc.assert(fc.property(fc.oneof(fc.uint8Array({ maxLength: 300 }), almost), survivesAll), { numRuns: 3_000 });
  });

  it('survives requests with bytes changed, inserted and cut off', () => {
    const change = fc.record({ at: fc.nat(), byte: fc.integer({ min: 0, max: 255 }), kind: fc.constantFrom('set', 'insert', 'cut') });
    const changesOf = fc.array(change, { minLength: 1, maxLength: 6 });
    fc.assert(fc.property(fc.array(tensor, { minLength: 1, maxLength: 3 }), changesOf, fc.boolean(), (inputs, changes, typed) => {
      let bytes: Buffer = typed
        ? stockMethod('ModelInfer').requestSerialize({
          model_name: 'm', inputs: [{ name: 'x', datatype: 'INT32', shape: ['3'], contents: { int_contents: [1, -2, 3] } }],
        })
        : unframed(encodeInferRequest({ model: 'm', id: '1', inputs, parameters: { a: 1, b: 'c' } }));
      for (const { at, byte, kind } of changes) {
        const position = at % Math.max(1, bytes.length);
        if (kind === 'set') bytes[position] = byte;
        else if (kind === 'cut') bytes = bytes.subarray(0, position);
        else bytes = Buffer.concat([bytes.subarray(0, position), Buffer.from([byte]), bytes.subarray(position)]);
      }
      survivesAll(bytes);
    }), { numRuns: 3_000 });
  });

  it('calls what a runtime sends INVALID_MODEL_OUTPUT where it is not readable', () => {
    fc.assert(fc.property(fc.oneof(fc.uint8Array({ maxLength: 100 }), almost), (bytes) => {
      for (const decode of [decodeInferResponse, decodeStreamInferResponse]) {
        try {
          decode(bytes);
        } catch (error) {
          expect(error).toMatchObject({ code: 'INVALID_MODEL_OUTPUT' });
        }
      }
    }), { numRuns: 1_000 });
  });
});

describe('what a message claims', () => {
  const request = (input: object, raw?: Buffer[]) => stockMethod('ModelInfer').requestSerialize({
    model_name: 'm', inputs: [{ name: 'x', datatype: 'FP32', ...input }], ...(raw && { raw_input_contents: raw }),
  });
  const code = (message: Uint8Array) => {
    const before = process.memoryUsage();
    try {
      decodeInferRequest(message);
      return 'none';
    } catch (error) {
      const after = process.memoryUsage();
      expect(after.arrayBuffers - before.arrayBuffers).toBeLessThan(message.length * 16 + 1_000_000);
      return (error as BrainError).code;
    }
  };

  it.each([
    ['a shape of 2^40 elements', request({ shape: ['1099511627776'] }), 'INVALID_SHAPE'],
    ['a shape whose product has no number', request({ shape: ['4294967296', '4294967296'] }), 'INVALID_SHAPE'],
    ['a dimension beyond 2^53', request({ shape: ['9223372036854775807'] }), 'INVALID_SHAPE'],
    ['a negative dimension', request({ shape: ['-1', '2'] }), 'INVALID_SHAPE'],
    ['two negative dimensions', request({ shape: ['-2', '-2'], contents: { fp32_contents: [1, 2, 3, 4] } }), 'INVALID_SHAPE'],
    ['a hundred dimensions', request({ shape: new Array(100).fill('1'), contents: { fp32_contents: [1] } }), 'INVALID_SHAPE'],
    ['a large BYTES tensor', request({ datatype: 'BYTES', shape: [String(MAX_BYTE_STRINGS + 1)] }, [Buffer.alloc(4 * (MAX_BYTE_STRINGS + 1))]), 'INVALID_SHAPE'],
    ['more byte strings than the shape has', request({ datatype: 'BYTES', shape: ['1'] }, [Buffer.alloc(400_000)]), 'INVALID_SHAPE'],
    ['a byte string longer than its tensor', request({ datatype: 'BYTES', shape: ['1'] }, [Buffer.from([255, 255, 255, 255, 1])]), 'INVALID_DATA'],
    ['fewer elements than the shape has', request({ shape: ['3'], contents: { fp32_contents: [1, 2] } }), 'INVALID_SHAPE'],
    ['more elements than the shape has', request({ shape: ['1'], contents: { fp32_contents: [1, 2] } }), 'INVALID_SHAPE'],
    ['raw contents of another size', request({ shape: ['3'] }, [Buffer.alloc(11)]), 'INVALID_SHAPE'],
    ['raw contents beside typed ones', request({ shape: ['1'], contents: { fp32_contents: [1] } }, [Buffer.alloc(4)]), 'INVALID_REQUEST'],
    ['more raw contents than inputs', request({ shape: ['1'] }, [Buffer.alloc(4), Buffer.alloc(4)]), 'INVALID_REQUEST'],
    ['contents of another datatype', request({ shape: ['1'], contents: { fp64_contents: [1] } }), 'INVALID_DATA'],
    ['contents of another datatype as well', request({ shape: ['1'], contents: { fp32_contents: [1], int_contents: [1] } }), 'INVALID_DATA'],
    ['an INT8 of 128', request({ datatype: 'INT8', shape: ['1'], contents: { int_contents: [128] } }), 'INVALID_DATA'],
    ['a raw BOOL of 2', request({ datatype: 'BOOL', shape: ['1'] }, [Buffer.from([2])]), 'INVALID_DATA'],
    ['typed FP16', request({ datatype: 'FP16', shape: ['1'], contents: { fp32_contents: [1] } }), 'UNSUPPORTED_DATATYPE'],
    ['an unknown datatype', request({ datatype: 'FP8', shape: ['1'] }), 'INVALID_DATATYPE'],
    ['shared memory', request({ shape: ['1'], parameters: { shared_memory_region: { string_param: 'r' } } }), 'INVALID_PARAMETER'],
    ['two thousand inputs', Buffer.from(`\n\x01m${'*\t\n\x01x\x12\x04FP32'.repeat(2_000)}`, 'latin1'), 'INVALID_REQUEST'],
    ['a parameter without a value', Buffer.from('\n\x01m"\x03\n\x01a', 'latin1'), 'INVALID_PARAMETER'],
    ['a name that is not UTF-8', Buffer.from('\n\x02\xc3\x28', 'latin1'), 'INVALID_REQUEST'],
    ['no model', Buffer.alloc(0), 'INVALID_REQUEST'],
    ['groups forty deep', Buffer.concat([Buffer.from('\n\x01m'), Buffer.alloc(40, 0x7b), Buffer.alloc(40, 0x7c)]), 'INVALID_REQUEST'],
  ])('%s is refused', (_, message, expected) => {
    expect(code(message)).toBe(expected);
  });

  it('may hold fields that it does not know', () => {
    // a group, a string, a fixed32, a fixed64 and a varint
    const unknown = Buffer.from([
      0x7b, 8, 5, 0x7c, 0x82, 1, 2, 0, 0, 0x85, 1, 1, 2, 3, 4, 0x81, 1, 1, 2, 3, 4, 5, 6, 7, 8, 0x80, 1, 0xff, 1,
    ]);
    const message = Buffer.concat([unknown, request({ shape: ['1'], contents: { fp32_contents: [1] } }), unknown]);
    expect(decodeInferRequest(message).inputs[0].data).toEqual(Float32Array.of(1));
  });
});
