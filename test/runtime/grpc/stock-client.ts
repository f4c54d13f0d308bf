/** The stock client for our server. */
import { Client, credentials, loadPackageDefinition, Metadata, type ServiceError } from '@grpc/grpc-js';
import { load } from './stock';

/* eslint-disable @typescript-eslint/no-explicit-any -- what grpc-js makes of a .proto has no types */
export type StockClient = Client & Record<string, any>;

const packages = loadPackageDefinition(load('inference.proto', 'health.proto', 'reflection-v1.proto', 'reflection-v1alpha.proto')) as any;

export const Services = {
  inference: packages.inference.GRPCInferenceService,
  health: packages.grpc.health.v1.Health,
  reflection: packages.grpc.reflection.v1.ServerReflection,
  reflectionAlpha: packages.grpc.reflection.v1alpha.ServerReflection,
};

export function stockClient(service: any, port: number, options: object = {}, channelCredentials = credentials.createInsecure()): StockClient {
  const unlimited = { 'grpc.max_receive_message_length': -1, 'grpc.max_send_message_length': -1 };
  return new service(`127.0.0.1:${port}`, channelCredentials, { ...unlimited, ...options });
}

/** A unary call as a promise: the answer, or the ServiceError. */
export function unary(
  client: StockClient, method: string, request: object, metadata: Record<string, string> = {}, options: object = {},
): Promise<any> {
  const sent = new Metadata();
  for (const [name, value] of Object.entries(metadata)) sent.set(name, value);
  return new Promise((resolve, reject) => {
    client[method](request, sent, options, (error: ServiceError | null, answer: any) => error ? reject(error) : resolve(answer));
  });
}

/** Every message of a stream until it ends; rejects with its ServiceError. */
export function collect(call: any): Promise<any[]> {
  return new Promise((resolve, reject) => {
    const messages: any[] = [];
    call.on('data', (message: any) => messages.push(message));
    call.on('end', () => resolve(messages));
    call.on('error', reject);
  });
}
