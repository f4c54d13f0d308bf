/** The codec of ModelInfer against protobufjs: what one writes, the other reads. */
import fc from 'fast-check';
import { plain, stockMethod, unframed } from './stock';
import { tensor } from './tensor-arbitrary';
import { toBinary } from '../../../runtime/core/binary-tensors';
import type { Tensor } from '../../../runtime/core/tensors';
import {
  decodeInferRequest, decodeInferResponse, decodeStreamInferResponse, encodeInferRequest, encodeInferResult, encodeStreamError, encodeStreamResult,
  rawInputStart, rawOutputStart,
} from '../../../runtime/grpc/oip-infer';
import type { ParameterValue } from '../../../runtime/inference-service/operations';

const infer = stockMethod('ModelInfer');
const stream = stockMethod('ModelStreamInfer');

const CONTENTS: Record<string, string> = {
  BOOL: 'bool_contents',
  INT8: 'int_contents',
  INT16: 'int_contents',
  INT32: 'int_contents',
  INT64: 'int64_contents',
  UINT8: 'uint_contents',
  UINT16: 'uint_contents',
  UINT32: 'uint_contents',
  UINT64: 'uint64_contents',
  FP32: 'fp32_contents',
  FP64: 'fp64_contents',
  BYTES: 'bytes_contents',
};
const parameter: fc.Arbitrary<ParameterValue> = fc.oneof(
  fc.boolean(), fc.string(), fc.maxSafeInteger(), fc.double({ noNaN: true }).map((value) => value + 0.5),
);
const parameters = fc.dictionary(fc.string({ minLength: 1, maxLength: 12 }), parameter, { maxKeys: 4 });
const call = fc.record({
  model: fc.string({ minLength: 1 }),
  version: fc.string(),
  id: fc.string(),
  inputs: fc.array(tensor, { maxLength: 4 }),
  parameters,
  outputs: fc.array(fc.string({ minLength: 1 }), { maxLength: 3 }),
});

/** A parameter as protobufjs shows it. */
function stockParameter(value: ParameterValue): object {
  if (typeof value === 'boolean') return { bool_param: value };
  if (typeof value === 'string') return { string_param: value };
  return Number.isSafeInteger(value) ? { int64_param: String(value) } : { double_param: value };
}

const stockParameters = (all: Readonly<Record<string, ParameterValue>>) =>
  Object.fromEntries(Object.entries(all).map(([key, value]) => [key, expect.objectContaining(stockParameter(value))]));
/** Elements as protobufjs takes them. */
const stockValues = ({ datatype, data }: Tensor) => Array.from(data as ArrayLike<unknown>, (value) => {
  if (typeof value === 'bigint') return value.toString();
  return datatype === 'BOOL' ? value === 1 : value;
});
const stockTensor = ({ name, datatype, shape }: Tensor) => expect.objectContaining({ name, datatype, shape: shape.map(String) });

describe('ModelInferRequest', () => {
  it('is read by protobufjs as it was written', () => {
    fc.assert(fc.property(call, (written) => {
      const read = infer.requestDeserialize(unframed(encodeInferRequest(written)));
      expect(read).toMatchObject({
        model_name: written.model,
        model_version: written.version,
        id: written.id,
        parameters: stockParameters(written.parameters),
        inputs: written.inputs.map(stockTensor),
        outputs: written.outputs.map((name) => expect.objectContaining({ name })),
        raw_input_contents: written.inputs.map((input) => Buffer.from(toBinary(input))),
      });
    }));
  });

  it('comes back as it was written', () => {
    fc.assert(fc.property(call, (written) => {
      const read = decodeInferRequest(unframed(encodeInferRequest(written)));
      expect(read.inputs.map(plain)).toEqual(written.inputs.map(plain));
      expect({ ...read, inputs: undefined }).toEqual({
        model: written.model,
        version: written.version || undefined,
        id: written.id || undefined,
        inputs: undefined,
        outputs: written.outputs.length === 0 ? undefined : written.outputs,
        parameters: { ...written.parameters },
        receivedAt: undefined,
      });
    }));
  });

  it('with typed contents of protobufjs gives the same tensors', () => {
    fc.assert(fc.property(fc.array(tensor.filter(({ datatype }) => datatype in CONTENTS), { maxLength: 3 }), (inputs) => {
      const bytes = infer.requestSerialize({
        model_name: 'm',
        inputs: inputs.map((input) => ({
          name: input.name, datatype: input.datatype, shape: input.shape, contents: { [CONTENTS[input.datatype]]: stockValues(input) },
        })),
      });
      expect(decodeInferRequest(bytes).inputs.map(plain)).toEqual(inputs.map(plain));
    }));
  });

  it('takes every choice of a parameter, 64 bit numbers beyond 2^53 as decimal text', () => {
    const bytes = infer.requestSerialize({
      model_name: 'm',
      parameters: {
        least: { int64_param: '-9223372036854775808' },
        most: { uint64_param: '18446744073709551615' },
        small: { uint64_param: '7' },
        half: { double_param: 0.5 },
        no: { bool_param: false },
        text: { string_param: '' },
      },
    });
    expect({ ...decodeInferRequest(bytes).parameters }).toEqual({
      least: '-9223372036854775808', most: '18446744073709551615', small: 7, half: 0.5, no: false, text: '',
    });
  });
});

describe('ModelInferResponse', () => {
  const result = fc.record({
    model: fc.string({ minLength: 1 }),
    version: fc.string({ minLength: 1 }),
    id: fc.string({ minLength: 1 }),
    outputs: fc.array(tensor, { maxLength: 4 }),
    parameters: fc.dictionary(fc.string({ minLength: 1 }), fc.string(), { maxKeys: 3 }),
  });

  it('is read by protobufjs as it was written', () => {
    fc.assert(fc.property(result, (written) => {
      expect(infer.responseDeserialize(unframed(encodeInferResult(written)))).toMatchObject({
        model_name: written.model,
        model_version: written.version,
        id: written.id,
        parameters: stockParameters(written.parameters),
        outputs: written.outputs.map(stockTensor),
        raw_output_contents: written.outputs.map((output) => Buffer.from(toBinary(output))),
      });
    }));
  });

  it('comes back as it was written, alone and in a stream', () => {
    fc.assert(fc.property(result, (written) => {
      const alone = decodeInferResponse(unframed(encodeInferResult(written)));
      const streamed = decodeStreamInferResponse(unframed(encodeStreamResult(written)));
      for (const read of [alone, streamed.response!]) {
        expect({ ...read, parameters: { ...read.parameters }, outputs: read.outputs.map(plain) })
          .toEqual({ ...written, parameters: { ...written.parameters }, outputs: written.outputs.map(plain) });
      }
    }));
  });

  it('in a stream is read by protobufjs, as is an error', () => {
    const output: Tensor = { name: 'y', datatype: 'FP32', shape: [1, 40_000], data: new Float32Array(40_000).fill(0.25) };
    const usage = { promptTokens: 3, completionTokens: 5 };
    const bytes = unframed(encodeStreamResult({ model: 'm', version: '3', id: '7', outputs: [output], parameters: {}, usage }, true));
    expect(stream.responseDeserialize(bytes)).toMatchObject({
      error_message: '',
      infer_response: {
        id: '7',
        parameters: { triton_final_response: { bool_param: true }, prompt_tokens: { int64_param: '3' }, completion_tokens: { int64_param: '5' } },
        raw_output_contents: [Buffer.from(toBinary(output))],
      },
    });
    const error = stream.responseDeserialize(unframed(encodeStreamError('UNKNOWN_MODEL: no', '9')));
    expect(error).toMatchObject({ error_message: 'UNKNOWN_MODEL: no', infer_response: { id: '9' } });
    expect(decodeStreamInferResponse(unframed(encodeStreamError('x', '9')))).toEqual({ error: 'x', id: '9' });
  });
});

describe('large tensors', () => {
  const data = new Float32Array(50_000).map((_, i) => i / 3);
  const input: Tensor = { name: 'x', datatype: 'FP32', shape: [50_000], data };

  it('are not copied on the way out', () => {
    const chunks = encodeInferRequest({ model: 'm', inputs: [input, input] });
    const views = chunks.filter(({ buffer }) => buffer === data.buffer);
    expect(views).toHaveLength(2);
    expect(infer.requestDeserialize(unframed(chunks))).toMatchObject({ raw_input_contents: [Buffer.from(data.buffer), Buffer.from(data.buffer)] });
  });

  it('are views on the message where they are aligned, and copies where they are not', () => {
    const message = unframed(encodeInferRequest({ model: 'm', inputs: [input] }));
    const start = rawInputStart(message.subarray(0, 100))!;
    const room = new ArrayBuffer(message.length + 8);
    for (let offset = 0; offset < 4; offset++) {
      const placed = new Uint8Array(room, offset, message.length);
      placed.set(message);
      const read = decodeInferRequest(placed).inputs[0].data as Float32Array;
      expect(read).toEqual(data);
      expect(read.buffer === room).toBe((offset + start) % 4 === 0);
    }
  });

  it('are found from the first bytes of a message', () => {
    const message = unframed(encodeInferResult({ model: 'm', version: '1', outputs: [input], parameters: { a: 'b' } }));
    const start = rawOutputStart(message.subarray(0, 100))!;
    expect(message.subarray(start)).toEqual(Buffer.from(data.buffer));
    expect(rawOutputStart(message.subarray(0, 10))).toBeUndefined();
  });
});
