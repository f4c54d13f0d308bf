/** `grpc.health.v1.Health`. Source: gRPC "Health Checking Protocol". */
import { GrpcError, GrpcStatus } from './grpc-status';
import { INFERENCE_SERVICE } from './inference-methods';
import type { Frame, Method, StreamingCall } from './server-call';
import { bytesTag, varintTag } from './wire-format';
import { WireReader } from './wire-reader';
import { WireWriter } from './wire-writer';
import type { Operations } from '../inference-service/operations';

export const HEALTH_SERVICE = 'grpc.health.v1.Health';

export const ServingStatus = { UNKNOWN: 0, SERVING: 1, NOT_SERVING: 2, SERVICE_UNKNOWN: 3 } as const;

const SERVICE = bytesTag(1);
const STATUS = varintTag(1);
const writer = new WireWriter();

interface Watcher {
  readonly call: StreamingCall;
  /** Undefined: it has not said yet which service it watches. */
  service: string | undefined;
  told: number | undefined;
}

/** Tells whether the server as a whole (`''`) or the inference service is ready; both are at the same time. */
export class HealthService {
  readonly methods: ReadonlyMap<string, Method>;
  private readonly watchers = new Set<Watcher>();
  private closed = false;

  constructor(private readonly operations: Operations) {
    this.methods = new Map<string, Method>([
      [`/${HEALTH_SERVICE}/Check`, { kind: 'unary', handle: (message) => this.check(decodeService(message)) }],
      [`/${HEALTH_SERVICE}/Watch`, {
        kind: 'stream',
        open: (call) => {
          const watcher: Watcher = { call, service: undefined, told: undefined };
          return {
            onMessage: (message) => this.begin(watcher, decodeService(message)),
            // the client sends one message and then listens
            onEnd: () => undefined,
          };
        },
      }],
    ]);
  }

  /** Tells the watchers what has changed. */
  notify(): void {
    for (const watcher of this.watchers) this.tell(watcher);
  }

  /** Ends every watch, after it has been told that the server does not serve any more. */
  close(): void {
    this.closed = true;
    this.notify();
    for (const { call } of this.watchers) call.end();
    this.watchers.clear();
  }

  private check(service: string): Frame {
    const status = this.status(service);
    if (status === ServingStatus.SERVICE_UNKNOWN) throw new GrpcError(GrpcStatus.NOT_FOUND, `the server has no service '${service.slice(0, 128)}'`);
    return encodeStatus(status);
  }

  private begin(watcher: Watcher, service: string): void {
    watcher.service = service;
    this.watchers.add(watcher);
    watcher.call.onClosed = () => this.watchers.delete(watcher);
    this.tell(watcher);
    if (this.closed) watcher.call.end();
  }

  private tell(watcher: Watcher): void {
    const status = this.status(watcher.service!);
    if (status === watcher.told) return;
    watcher.told = status;
    // a watcher that does not read falls behind by a few bytes; its stream is reset in time
    void watcher.call.write(encodeStatus(status));
  }

  private status(service: string): number {
    if (service !== '' && service !== INFERENCE_SERVICE) return ServingStatus.SERVICE_UNKNOWN;
    return this.operations.isReady() && !this.closed ? ServingStatus.SERVING : ServingStatus.NOT_SERVING;
  }
}

/** Frames of HealthCheckRequest, and what HealthCheckResponse says: for clients that probe. */
export function encodeService(service: string): Frame {
  writer.reset();
  if (service !== '') writer.string(SERVICE, service);
  return writer.frame();
}

export function decodeStatus(message: Uint8Array): number {
  const reader = new WireReader(message);
  let status = 0;
  while (reader.more) {
    const tag = reader.tag();
    if (tag === STATUS) status = reader.int32();
    else reader.skip(tag);
  }
  return status;
}

function decodeService(message: Uint8Array): string {
  const reader = new WireReader(message);
  let service = '';
  while (reader.more) {
    const tag = reader.tag();
    if (tag === SERVICE) service = reader.string();
    else reader.skip(tag);
  }
  return service;
}

function encodeStatus(status: number): Frame {
  writer.reset();
  writer.uint32(STATUS, status);
  return writer.frame();
}
