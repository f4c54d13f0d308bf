/** A protobuf writer for as much of ONNX as a small network needs. Source of the field numbers: onnx/onnx.proto, IR version 8. */

const OPSET = 17;
const IR_VERSION = 8;
const FLOAT = 1;
/** Protobuf's wire type of strings, bytes and nested messages; that of integers is 0. */
const LENGTH_DELIMITED = 2;

export interface OnnxTensor {
  readonly name: string;
  readonly dims: readonly number[];
  readonly data: Float32Array;
}

export interface OnnxNode {
  readonly op: string;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  /** Whole numbers and lists of them; `floats` are not needed by any operator used here. */
  readonly attributes?: Readonly<Record<string, number | readonly number[]>>;
}

export interface OnnxGraph {
  readonly name: string;
  readonly nodes: readonly OnnxNode[];
  readonly constants: readonly OnnxTensor[];
  /** FP32 tensors; -1 stands for a dimension of any size. */
  readonly inputs: readonly { readonly name: string; readonly shape: readonly number[] }[];
  readonly outputs: readonly { readonly name: string; readonly shape: readonly number[] }[];
}

/** The bytes of a model file. The same graph gives the same bytes. */
export function writeOnnx(graph: OnnxGraph): Buffer {
  return Buffer.concat([
    integer(1, IR_VERSION),
    text(2, 'thalos-brain quickstart'),
    message(7, Buffer.concat([
      ...graph.nodes.map((node, i) => message(1, nodeProto(node, i))),
      text(2, graph.name),
      ...graph.constants.map((constant) => message(5, tensorProto(constant))),
      ...graph.inputs.map((input) => message(11, valueInfo(input))),
      ...graph.outputs.map((output) => message(12, valueInfo(output))),
    ])),
    message(8, Buffer.concat([text(1, ''), integer(2, OPSET)])),
  ]);
}

function nodeProto({ op, inputs, outputs, attributes = {} }: OnnxNode, index: number): Buffer {
  return Buffer.concat([
    ...inputs.map((input) => text(1, input)),
    ...outputs.map((output) => text(2, output)),
    text(3, `${op}_${index}`),
    text(4, op),
    ...Object.entries(attributes).map(([name, value]) => message(5, typeof value === 'number'
      ? Buffer.concat([text(1, name), integer(3, value), integer(20, 2)])
      : Buffer.concat([text(1, name), ...value.map((each) => integer(8, each)), integer(20, 7)]))),
  ]);
}

function tensorProto({ name, dims, data }: OnnxTensor): Buffer {
  const raw = Buffer.alloc(4 * data.length);
  data.forEach((value, i) => raw.writeFloatLE(value, 4 * i));
  return Buffer.concat([...dims.map((dim) => integer(1, dim)), integer(2, FLOAT), text(8, name), message(9, raw)]);
}

function valueInfo({ name, shape }: { name: string; shape: readonly number[] }): Buffer {
  const dims = shape.map((dim) => message(1, dim < 0 ? text(2, 'batch') : integer(1, dim)));
  return Buffer.concat([text(1, name), message(2, message(1, Buffer.concat([integer(1, FLOAT), message(2, Buffer.concat(dims))])))]);
}

/** Length-delimited field: nested messages, strings, raw bytes. */
function message(field: number, body: Buffer): Buffer {
  return Buffer.concat([varint(BigInt(8 * field + LENGTH_DELIMITED)), varint(BigInt(body.length)), body]);
}

function text(field: number, value: string): Buffer {
  return message(field, Buffer.from(value, 'utf8'));
}

/** Integers travel as varints; negative ones as 64-bit two's complement. */
function integer(field: number, value: number): Buffer {
  return Buffer.concat([varint(BigInt(8 * field)), varint(BigInt.asUintN(64, BigInt(value)))]);
}

function varint(value: bigint): Buffer {
  const bytes: number[] = [];
  let rest = value;
  for (; rest > 127n; rest /= 128n) bytes.push(128 + Number(rest % 128n));
  return Buffer.from([...bytes, Number(rest)]);
}
