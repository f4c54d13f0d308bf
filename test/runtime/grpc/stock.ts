/** The stock implementation, which ours is compared with: protobufjs through @grpc/proto-loader. */
import { join } from 'node:path';
import { loadSync, type MethodDefinition, type PackageDefinition, type ServiceDefinition } from '@grpc/proto-loader';
import type { Tensor } from '../../../runtime/core/tensors';

export const PROTOS = join(__dirname, 'protos');

export function load(...files: string[]): PackageDefinition {
  return loadSync(files, { includeDirs: [PROTOS], keepCase: true, longs: String, defaults: true, oneofs: true, enums: String });
}

const INFERENCE = load('inference.proto')['inference.GRPCInferenceService'] as ServiceDefinition;

export function stockMethod(name: string): MethodDefinition<object, object> {
  return INFERENCE[name] as MethodDefinition<object, object>;
}

/** The message without its gRPC prefix. */
export function unframed(frame: readonly Uint8Array[]): Buffer {
  const bytes = Buffer.concat(frame);
  expect(bytes[0]).toBe(0);
  expect(bytes.readUInt32BE(1)).toBe(bytes.length - 5);
  return bytes.subarray(5);
}

/** Elements as plain values, for comparison: byte strings as hexadecimal digits. */
export function plain(tensor: Tensor): unknown {
  const { name, datatype, shape, data } = tensor;
  return { name, datatype, shape: [...shape], data: Array.from(data as ArrayLike<unknown>, (value) => value instanceof Uint8Array ? Buffer.from(value).toString('hex') : value) };
}
