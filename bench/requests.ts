/** The requests of the benchmarks, each in every encoding. */
import type { GrpcRequest, HttpRequest } from './load';
import { DIMENSION, IMAGE, WIDTH } from './servers/brain';
import { HEADER_LENGTH } from '../runtime/core/oip';
import type { Tensor } from '../runtime/core/tensors';
import { encodeInferRequest } from '../runtime/grpc/oip-infer';

const GRPC_PATH = '/inference.GRPCInferenceService/ModelInfer';

/** Spread over (0, 1), the same each time; as JSON most have 17 digits, as Python writes a float32. */
export function floats(length: number): Float32Array {
  const data = new Float32Array(length);
  for (let i = 0, seed = 1; i < length; i++) data[i] = (seed = Math.imul(seed, 48271) & 0x7fffffff) / 0x7fffffff; // eslint-disable-line no-bitwise
  return data;
}

const fp32 = (name: string, shape: readonly number[]): Tensor => (
  { name, datatype: 'FP32', shape: [...shape], data: floats(shape.reduce((count, size) => count * size, 1)) }
);

export const SMALL: readonly Tensor[] = [fp32('x', [1, WIDTH])];
export const BIG: readonly Tensor[] = [fp32('x', IMAGE)];
/** Needs features of a user and neighbours of a vector. */
export const ENRICHED: readonly Tensor[] = [
  ...SMALL,
  { name: 'user', datatype: 'INT64', shape: [1], data: new BigInt64Array([42n]) },
  fp32('query', [1, DIMENSION]),
];

type Headers = Readonly<Record<string, string>>;

const pathOf = (model: string) => `/v2/models/${model}/infer`;

export function jsonRequest(model: string, inputs: readonly Tensor[], headers: Headers = {}, more: object = {}): HttpRequest {
  const written = inputs.map(({ name, datatype, shape, data }) => {
    return { name, datatype, shape, data: Array.from(data as ArrayLike<number | bigint>, Number) };
  });
  return { path: pathOf(model), headers, body: Buffer.from(JSON.stringify({ ...more, inputs: written })) };
}

/** All tensors binary, in the request and in the answer. */
export function binaryRequest(model: string, inputs: readonly Tensor[], headers: Headers = {}): HttpRequest {
  const sections = inputs.map(({ data }) => bytesOf(data as Float32Array));
  const written = inputs.map(({ name, datatype, shape }, at) => ({ name, datatype, shape, parameters: { binary_data_size: sections[at].length } }));
  const json = Buffer.from(JSON.stringify({ parameters: { binary_data_output: true }, inputs: written }));
  return {
    path: pathOf(model),
    headers: { ...headers, 'content-type': 'application/octet-stream', [HEADER_LENGTH]: String(json.length) },
    body: Buffer.concat([json, ...sections]),
  };
}

export function grpcRequest(model: string, inputs: readonly Tensor[], metadata: Headers = {}): GrpcRequest {
  // the encoder's memory is its own, and used again
  const frame = encodeInferRequest({ model, inputs, version: '' }).map((part) => Buffer.from(part));
  return { path: GRPC_PATH, metadata, frame };
}

const bytesOf = (data: Float32Array | BigInt64Array) => Buffer.from(data.buffer, data.byteOffset, data.byteLength);
