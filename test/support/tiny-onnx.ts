/** Writes small ONNX models, so that tests of the runtime hold no binary file. Field numbers are those of onnx.proto3. */

type Onnx = 'float32' | 'uint8' | 'int8' | 'int16' | 'int32' | 'int64' | 'string' | 'bool' | 'float16' | 'float64' | 'uint64';

/** TensorProto.DataType */
const TYPES: Record<Onnx, number> = {
  float32: 1, uint8: 2, int8: 3, int16: 5, int32: 6, int64: 7, string: 8, bool: 9, float16: 10, float64: 11, uint64: 13,
};

export interface OnnxValue {
  readonly name: string;
  readonly type: Onnx;
  /** A string is a size that varies. */
  readonly shape: readonly (number | string)[];
}

export interface OnnxNode {
  readonly op: string;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  /** Integer attributes. */
  readonly attributes?: Record<string, number>;
}

export interface OnnxGraph {
  readonly inputs: readonly OnnxValue[];
  readonly outputs: readonly OnnxValue[];
  readonly nodes: readonly OnnxNode[];
  readonly weights?: readonly { readonly name: string; readonly shape: readonly number[]; readonly data: readonly number[] }[];
}

/** The bytes of a model with opset 13. */
export function onnxModel({ inputs, outputs, nodes, weights = [] }: OnnxGraph): Buffer {
  const graph = Buffer.concat([
    ...nodes.map(({ op, inputs: from, outputs: to, attributes = {} }) => field(1, [
      ...from.map((name) => text(1, name)),
      ...to.map((name) => text(2, name)),
      text(4, op),
      ...Object.entries(attributes).map(([name, value]) => field(5, [text(1, name), integer(3, value), integer(20, 2)])),
    ])),
    text(2, 'tiny'),
    ...weights.map(({ name, shape, data }) => field(5, [
      ...shape.map((size) => integer(1, size)),
      integer(2, TYPES.float32),
      text(8, name),
      field(9, [Buffer.from(new Float32Array(data).buffer)]),
    ])),
    ...inputs.map((value) => field(11, [valueInfo(value)])),
    ...outputs.map((value) => field(12, [valueInfo(value)])),
  ]);
  return Buffer.concat([integer(1, 8), field(7, [graph]), field(8, [text(1, ''), integer(2, 13)])]);
}

/** One node that copies its input, of any type. */
export function identityModel(type: Onnx, shape: readonly (number | string)[] = ['batch', 2]): Buffer {
  return onnxModel({ inputs: [{ name: 'x', type, shape }], outputs: [{ name: 'y', type, shape }], nodes: [{ op: 'Identity', inputs: ['x'], outputs: ['y'] }] });
}

/** `score = sum of weights × features + bias`, for `features` of shape [batch, weights]. */
export function linearModel(weights: readonly number[], bias: number): Buffer {
  return onnxModel({
    inputs: [{ name: 'features', type: 'float32', shape: ['batch', weights.length] }],
    outputs: [{ name: 'score', type: 'float32', shape: ['batch', 1] }],
    nodes: [{ op: 'Gemm', inputs: ['features', 'weights', 'bias'], outputs: ['score'] }],
    weights: [{ name: 'weights', shape: [weights.length, 1], data: weights }, { name: 'bias', shape: [1], data: [bias] }],
  });
}

function valueInfo({ name, type, shape }: OnnxValue): Buffer {
  const dimensions = shape.map((size) => field(1, [typeof size === 'string' ? text(2, size) : integer(1, size)]));
  return Buffer.concat([text(1, name), field(2, [field(1, [integer(1, TYPES[type]), field(2, dimensions)])])]);
}

function field(number: number, parts: readonly Uint8Array[]): Buffer {
  const content = Buffer.concat(parts);
  return Buffer.concat([varint(number * 8 + 2), varint(content.length), content]);
}

const text = (number: number, value: string) => field(number, [Buffer.from(value)]);
const integer = (number: number, value: number) => Buffer.concat([varint(number * 8), varint(value)]);

function varint(value: number): Buffer {
  const bytes: number[] = [];
  for (; value > 127; value = Math.floor(value / 128)) bytes.push((value % 128) + 128);
  return Buffer.from([...bytes, value]);
}
