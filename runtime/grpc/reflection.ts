/** `grpc.reflection.v1` and `v1alpha`: which services there are and what they take. Source: gRPC "Server Reflection Protocol". */
import { HEALTH_FILE, INFERENCE_FILE, reflectionFile } from './descriptor-tables';
import { encodeFile, type FileTable, symbolsOf } from './descriptors';
import { GrpcStatus } from './grpc-status';
import type { Frame, Method, StreamingCall } from './server-call';
import { bytesTag, varintTag } from './wire-format';
import { WireReader } from './wire-reader';
import { WireWriter } from './wire-writer';
import type { Operations } from '../inference-service/operations';

/** Choices of a request: all are strings but for EXTENSION. */
const Request = { FILE: bytesTag(3), SYMBOL: bytesTag(4), EXTENSION: bytesTag(5), EXTENSION_NUMBERS: bytesTag(6), LIST: bytesTag(7) } as const;
const Response = { ORIGINAL: bytesTag(2), FILES: bytesTag(4), SERVICES: bytesTag(6), ERROR: bytesTag(7) } as const;
/** The one field of FileDescriptorResponse, ListServiceResponse and ServiceResponse. */
const FIRST = bytesTag(1);
const ERROR_CODE = varintTag(1);
const ERROR_MESSAGE = bytesTag(2);

/** A request is given back in its answer; no real one is longer. */
const MAX_ECHO = 4_096;

const writer = new WireWriter();

interface Catalog {
  readonly services: readonly string[];
  /** Encoded files by name and by the symbols in them. */
  readonly byName: ReadonlyMap<string, Buffer>;
  readonly bySymbol: ReadonlyMap<string, Buffer>;
}

export function reflectionMethods(operations: Pick<Operations, 'authenticate'>): ReadonlyMap<string, Method> {
  const files = [INFERENCE_FILE, HEALTH_FILE, reflectionFile('v1'), reflectionFile('v1alpha')];
  const catalog = catalogOf(files);
  const method: Method = {
    kind: 'stream',
    open: (call) => ({
      onMessage: (message) => {
        const caller = operations.authenticate(call);
        if (!(caller instanceof Promise)) return respond(call, answer(catalog, message));
        // nothing more is read meanwhile, the end of the stream included
        call.pause();
        caller.then(() => {
          call.resume();
          respond(call, answer(catalog, message));
        }, (error: unknown) => call.fail(error));
      },
      onEnd: () => call.end(),
    }),
  };
  return new Map((['v1', 'v1alpha'] as const).map((version) => [`/grpc.reflection.${version}.ServerReflection/ServerReflectionInfo`, method]));
}

function catalogOf(files: readonly FileTable[]): Catalog {
  const byName = new Map<string, Buffer>();
  const bySymbol = new Map<string, Buffer>();
  for (const file of files) {
    const encoded = encodeFile(file);
    byName.set(file.file, encoded);
    for (const symbol of symbolsOf(file)) bySymbol.set(symbol, encoded);
  }
  return { services: files.map((file) => `${file.package}.${file.service}`), byName, bySymbol };
}

/** A client that does not read what it asked for asks no more. */
function respond(call: StreamingCall, frame: Frame): void {
  const full = call.write(frame);
  if (full === undefined) return;
  call.pause();
  void full.then(() => call.resume());
}

function answer(catalog: Catalog, message: Uint8Array): Frame {
  const reader = new WireReader(message);
  let choice = 0;
  let value = '';
  while (reader.more) {
    const tag = reader.tag();
    switch (tag) {
      case Request.FILE:
      case Request.SYMBOL:
      case Request.EXTENSION_NUMBERS:
      case Request.LIST:
        choice = tag;
        value = reader.string();
        break;
      case Request.EXTENSION:
        choice = tag;
        reader.skip(tag);
        break;
      default:
        reader.skip(tag);
    }
  }
  writer.reset();
  const original = writer.open(Response.ORIGINAL);
  if (message.length <= MAX_ECHO) writer.raw(message);
  writer.close(original);
  switch (choice) {
    case Request.LIST:
      writeServices(catalog.services);
      break;
    case Request.FILE:
      writeFile(catalog.byName.get(value), `file '${value.slice(0, 128)}'`);
      break;
    case Request.SYMBOL:
      writeFile(catalog.bySymbol.get(value), `symbol '${value.slice(0, 128)}'`);
      break;
    default:
      writeError(GrpcStatus.NOT_FOUND, 'proto3 has no extensions');
  }
  return writer.frame();
}

function writeServices(services: readonly string[]): void {
  const list = writer.open(Response.SERVICES);
  for (const service of services) {
    const entry = writer.open(FIRST);
    writer.string(FIRST, service);
    writer.close(entry);
  }
  writer.close(list);
}

function writeFile(file: Buffer | undefined, what: string): void {
  if (file === undefined) return writeError(GrpcStatus.NOT_FOUND, `the server has no ${what}`);
  const files = writer.open(Response.FILES);
  writer.bytes(FIRST, file);
  writer.close(files);
}

function writeError(status: number, message: string): void {
  const error = writer.open(Response.ERROR);
  writer.uint32(ERROR_CODE, status);
  writer.string(ERROR_MESSAGE, message);
  writer.close(error);
}
