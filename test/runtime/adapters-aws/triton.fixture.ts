/** A Triton that speaks gRPC over node:http2 on loopback, with every failure that a test asks for. */
import { once } from 'node:events';
import { createSecureServer, createServer, type Http2Server, type ServerHttp2Session, type ServerHttp2Stream } from 'node:http2';
import type { AddressInfo } from 'node:net';
import type { Tensor } from '../../../runtime/core/tensors';
import { decodeInferRequest, encodeInferResult, encodeStreamError, encodeStreamResult } from '../../../runtime/grpc/oip-infer';
import { decodeModelName, encodeFlag } from '../../../runtime/grpc/oip-server';
import type { InferOperation } from '../../../runtime/inference-service/operations';
import type { Pair } from '../../support/certificates';

export interface FakeCall {
  readonly method: string;
  readonly headers: NodeJS.Dict<string | string[]>;
  readonly stream: ServerHttp2Stream;
  /** Of ModelInfer and ModelStreamInfer. */
  readonly request?: InferOperation;
}

/** Outputs, or a gRPC status; undefined: the test answers by itself, or nobody does. */
export type FakeAnswer = readonly Tensor[] | { readonly status: number; readonly message: string } | undefined;

export interface FakeTritonOptions {
  readonly port?: number;
  readonly tls?: Pair & { readonly ca: string };
}

const SERVICE = '/inference.GRPCInferenceService/';

const ECHO: (call: FakeCall) => FakeAnswer | Promise<FakeAnswer> = ({ request }) => request!.inputs;

export class FakeTriton {
  static async start(options: FakeTritonOptions = {}): Promise<FakeTriton> {
    const { tls } = options;
    const server = tls ? createSecureServer({ ...tls, requestCert: true, rejectUnauthorized: true }) : createServer();
    const fake = new FakeTriton(server);
    server.listen(options.port ?? 0, '127.0.0.1');
    await once(server, 'listening');
    fake.port = (server.address() as AddressInfo).port;
    return fake;
  }

  port = 0;
  /** `name/version` of the versions that are ready; undefined: all. */
  loaded: ReadonlySet<string> | undefined;
  answer = ECHO;
  readonly calls: FakeCall[] = [];
  readonly sessions = new Set<ServerHttp2Session>();
  private readonly waiting: { readonly is: () => boolean; readonly resolve: () => void }[] = [];

  private constructor(private readonly server: Http2Server) {
    server.on('session', (session: ServerHttp2Session) => {
      this.sessions.add(session);
      session.on('error', () => undefined);
      session.on('close', () => {
        this.sessions.delete(session);
        this.changed();
      });
      this.changed();
    });
    server.on('stream', (stream: ServerHttp2Stream, headers: FakeCall['headers']) => this.take(stream, headers));
  }

  get address(): string {
    return `127.0.0.1:${this.port}`;
  }

  get infers(): readonly FakeCall[] {
    return this.calls.filter(({ method }) => method === 'ModelInfer');
  }

  /** Settles as soon as `is` holds after a call or a connection came or went. */
  until(is: () => boolean): Promise<void> {
    if (is()) return Promise.resolve();
    return new Promise((resolve) => void this.waiting.push({ is, resolve }));
  }

  /** GOAWAY on every connection; calls that are under way may end. */
  goAway(lastStreamId?: number): void {
    for (const session of this.sessions) {
      if (lastStreamId === undefined) session.close();
      else session.goaway(0, lastStreamId);
    }
  }

  async stop(): Promise<void> {
    const closed = once(this.server, 'close');
    this.server.close();
    for (const session of this.sessions) session.destroy();
    await closed;
  }

  private async take(stream: ServerHttp2Stream, headers: FakeCall['headers']): Promise<void> {
    stream.on('error', () => undefined);
    stream.on('close', () => this.changed());
    const method = String(headers[':path']).slice(SERVICE.length);
    let body = Buffer.alloc(0);
    for await (const chunk of stream) body = Buffer.concat([body, chunk as Buffer]);
    const message = body.subarray(5);
    const infers = method === 'ModelInfer' || method === 'ModelStreamInfer';
    const call: FakeCall = { method, headers, stream, ...(infers ? { request: decodeInferRequest(message) } : {}) };
    this.calls.push(call);
    this.changed();
    if (stream.destroyed) return;
    if (!infers) {
      const { name, version } = method === 'ModelReady' ? decodeModelName(message) : { name: '', version: '' };
      return this.reply(stream, [encodeFlag(method !== 'ModelReady' || !this.loaded || this.loaded.has(`${name}/${version}`))]);
    }
    const answer = await this.answer(call);
    if (answer === undefined || stream.destroyed) return;
    if ('status' in answer) return this.reply(stream, [], answer.status, answer.message);
    const result = resultOf(call.request!, answer);
    const messages = method === 'ModelInfer' ? [encodeInferResult(result)] : [encodeStreamResult(result, false), encodeStreamResult({ ...result, outputs: [] }, true)];
    this.reply(stream, messages);
  }

  private reply(stream: ServerHttp2Stream, messages: readonly (readonly Uint8Array[])[], status = 0, message = ''): void {
    begin(stream);
    for (const chunks of messages) for (const chunk of chunks) stream.write(chunk);
    finish(stream, status, message);
  }

  private changed(): void {
    for (const { is, resolve } of this.waiting) if (is()) resolve();
  }
}

const resultOf = ({ model, version, id }: InferOperation, outputs: readonly Tensor[]) => ({ model, version: version ?? '', id, parameters: {}, outputs });

export function begin(stream: ServerHttp2Stream): void {
  stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true });
}

/** A piece of a stream that has begun. */
export function piece(call: FakeCall, outputs: readonly Tensor[], final = false): void {
  for (const chunk of encodeStreamResult(resultOf(call.request!, outputs), final)) call.stream.write(chunk);
}

export function failPiece(call: FakeCall, message: string): void {
  for (const chunk of encodeStreamError(message, call.request!.id)) call.stream.write(chunk);
}

export function finish(stream: ServerHttp2Stream, status = 0, message = ''): void {
  stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': String(status), 'grpc-message': encodeURIComponent(message) }));
  stream.end();
}
