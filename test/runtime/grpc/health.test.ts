/** Health and reflection asked by the stock client. */
import { loadPackageDefinition, status } from '@grpc/grpc-js';
import { loadFileDescriptorSetFromBuffer } from '@grpc/proto-loader';
import { QUIET, Signal, TestOperations } from './operations';
import { load } from './stock';
import { collect, Services, type StockClient, stockClient, unary } from './stock-client';
import { GrpcServer } from '../../../runtime/grpc/server';

let operations: TestOperations;
let server: GrpcServer;
let port: number;
let clients: StockClient[];

beforeEach(async () => {
  operations = new TestOperations();
  server = new GrpcServer({ operations, maxBodyBytes: 1_000_000, logger: QUIET });
  ({ port } = await server.listen(0, '127.0.0.1'));
  clients = [];
});

afterEach(async () => {
  for (const made of clients) made.close();
  await server.close(0);
});

function client(service: unknown): StockClient {
  clients.push(stockClient(service, port));
  return clients.at(-1)!;
}

describe('grpc.health.v1', () => {
  it.each(['', 'inference.GRPCInferenceService'])("checks '%s'", async (service) => {
    const health = client(Services.health);
    expect(await unary(health, 'Check', { service })).toEqual({ status: 'SERVING' });
    operations.ready = false;
    expect(await unary(health, 'Check', { service })).toEqual({ status: 'NOT_SERVING' });
  });

  it('does not know other services', async () => {
    await expect(unary(client(Services.health), 'Check', { service: 'other' })).rejects.toMatchObject({ code: status.NOT_FOUND });
  });

  it('tells watchers each change once, and the end', async () => {
    const call = client(Services.health).Watch({ service: '' });
    const seen: string[] = [];
    let heard = new Signal();
    call.on('data', ({ status: told }: { status: string }) => {
      seen.push(told);
      heard.resolve();
    });
    const next = async (change: () => void) => {
      heard = new Signal();
      change();
      await heard.happened;
    };
    await heard.happened;
    await next(() => {
      operations.ready = false;
      server.notifyReadiness();
      server.notifyReadiness();
    });
    await next(() => {
      operations.ready = true;
      server.notifyReadiness();
    });
    const ended = new Signal();
    call.on('end', () => ended.resolve());
    await server.close(1_000);
    await ended.happened;
    expect(seen).toEqual(['SERVING', 'NOT_SERVING', 'SERVING', 'NOT_SERVING']);
  });

  it('lets a client watch a service that may come', async () => {
    const call = client(Services.health).Watch({ service: 'other' });
    call.on('error', () => undefined);
    const first = await new Promise((resolve) => call.once('data', resolve));
    expect(first).toEqual({ status: 'SERVICE_UNKNOWN' });
    call.cancel();
  });
});

describe.each([['v1', Services.reflection], ['v1alpha', Services.reflectionAlpha]] as const)('grpc.reflection.%s', (_, service) => {
  async function ask(...requests: object[]) {
    const call = client(service).ServerReflectionInfo();
    const all = collect(call);
    for (const request of requests) call.write(request);
    call.end();
    return all;
  }

  it('lists services, and gives every one of them as protobuf itself describes it', async () => {
    const [{ list_services_response: { service: services } }] = await ask({ list_services: '' });
    const names = (services as { name: string }[]).map(({ name }) => name);
    expect(names).toEqual([
      'inference.GRPCInferenceService', 'grpc.health.v1.Health', 'grpc.reflection.v1.ServerReflection', 'grpc.reflection.v1alpha.ServerReflection',
    ]);
    const files = await ask(...names.map((name) => ({ file_containing_symbol: name })));
    const sources = ['inference.proto', 'health.proto', 'reflection-v1.proto', 'reflection-v1alpha.proto'];
    files.forEach(({ file_descriptor_response: { file_descriptor_proto: [bytes] } }, i) => {
      const stock = Object.values(load(sources[i])).find(({ format }) => String(format).includes('DescriptorProto'));
      expect(describeFile(bytes)).toEqual(describeFile((stock as { fileDescriptorProtos: Buffer[] }).fileDescriptorProtos[0]));
    });
  });

  it('is enough for a client to be made of it, which then calls', async () => {
    const [{ file_descriptor_response: { file_descriptor_proto: [file] } }] = await ask({ file_containing_symbol: 'inference.GRPCInferenceService' });
    const set = Buffer.concat([Buffer.from([0x0a, 0x80 + file.length % 128, Math.floor(file.length / 128)]), file]);
    const reflected = loadPackageDefinition(loadFileDescriptorSetFromBuffer(set, { keepCase: true })) as any;
    const answer = await unary(client(reflected.inference.GRPCInferenceService), 'ModelInfer', {
      model_name: 'echo', id: '5', inputs: [{ name: 'x', datatype: 'INT32', shape: [2], contents: { int_contents: [1, 2] } }],
    });
    expect(answer).toMatchObject({ id: '5', raw_output_contents: [Buffer.from([1, 0, 0, 0, 2, 0, 0, 0])] });
  });

  it('finds files by name and by any symbol, and says what it does not have', async () => {
    const [byName, bySymbol, method, missing, extension] = await ask(
      { file_by_filename: 'inference.proto' },
      { file_containing_symbol: 'inference.ModelInferRequest.InferInputTensor' },
      { file_containing_symbol: 'inference.GRPCInferenceService.ModelInfer' },
      { file_containing_symbol: 'inference.None' },
      { file_containing_extension: { containing_type: 'x', extension_number: 1 } },
    );
    expect(bySymbol.file_descriptor_response).toEqual(byName.file_descriptor_response);
    expect(method.file_descriptor_response).toEqual(byName.file_descriptor_response);
    expect(missing).toMatchObject({ original_request: { file_containing_symbol: 'inference.None' }, error_response: { error_code: status.NOT_FOUND } });
    expect(extension.error_response).toMatchObject({ error_code: status.NOT_FOUND });
  });
});

/**
 * What a FileDescriptorProto says, without what protobufjs writes otherwise than protoc: the file's name, names for JSON, the scope of type names,
 * the ending of map entries and the order of nested messages.
 */
function describeFile(bytes: Uint8Array): unknown {
  // protobufjs reads descriptors with its own tables, apart from ours
  // eslint-disable-next-line @typescript-eslint/no-require-imports, import/no-extraneous-dependencies -- comes with @grpc/proto-loader
  const { FileDescriptorProto } = require('protobufjs/ext/descriptor') as { FileDescriptorProto: { decode(b: Uint8Array): { toJSON(): Record<string, unknown> } } };
  const strip = (value: unknown): unknown => {
    if (Array.isArray(value)) return value.map(strip);
    if (typeof value !== 'object' || value === null) return value;
    return Object.fromEntries(Object.entries(value).filter(([key]) => key !== 'jsonName').map(([key, item]) => {
      if (key === 'typeName' || (key === 'name' && 'options' in value)) return [key, (item as string).split('.').at(-1)!.replace(/Entry$/, '')];
      const kept = strip(item);
      return [key, key === 'nestedType' ? (kept as { name: string }[]).sort((a, b) => a.name.localeCompare(b.name)) : kept];
    }));
  };
  const { name: _name, ...rest } = FileDescriptorProto.decode(bytes).toJSON();
  return strip(rest);
}
