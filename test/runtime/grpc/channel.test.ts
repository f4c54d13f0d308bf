/** Our channel against the stock server, and against peers that misbehave. */
import { createServer as createHttp1 } from 'node:http';
import { createServer, type Http2Server, type ServerHttp2Session, type ServerHttp2Stream } from 'node:http2';
import { type AddressInfo, connect, createServer as createTcp, type Server as TcpServer, type Socket } from 'node:net';
import { Metadata, Server, ServerCredentials, status } from '@grpc/grpc-js';
import { Signal } from './operations';
import { Services } from './stock-client';
import { Channel, type ChannelOptions, type ChannelState } from '../../../runtime/grpc/channel';
import { GrpcError } from '../../../runtime/grpc/grpc-status';
import { decodeInferResponse, decodeStreamInferResponse, encodeInferRequest, rawOutputStart } from '../../../runtime/grpc/oip-infer';
import { decodeFlag, encodeEmpty } from '../../../runtime/grpc/oip-server';

/* eslint-disable @typescript-eslint/no-explicit-any -- what grpc-js makes of a .proto has no types */
const INFER = '/inference.GRPCInferenceService/ModelInfer';
const STREAM = '/inference.GRPCInferenceService/ModelStreamInfer';
const LIVE = '/inference.GRPCInferenceService/ServerLive';

const closers: (() => unknown)[] = [];

afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

function channel(port: number, options: Partial<ChannelOptions> = {}): Channel {
  const made = new Channel({ host: '127.0.0.1', port, ...options });
  closers.push(() => made.close());
  return made;
}

const data = new Float32Array(200_000).map((_, i) => i / 3);
const request = (model = 'echo', id = '1') => encodeInferRequest({ model, id, inputs: [{ name: 'x', datatype: 'FP32', shape: [data.length], data }] });

function echo(call: any) {
  const { model_name: model, id, inputs, raw_input_contents: raw } = call;
  return { model_name: model, model_version: '1', id, outputs: inputs.map(({ name, datatype, shape }: any) => ({ name, datatype, shape })), raw_output_contents: raw };
}

/** A stock server whose ModelInfer does what the model's name says. */
async function stockServer(seen: { cancelled?: Signal; metadata?: Metadata; deadline?: number } = {}) {
  const server = new Server({ 'grpc.max_receive_message_length': -1 });
  server.addService(Services.inference.service, {
    ServerLive: (_: any, answer: any) => answer(null, { live: true }),
    ModelInfer: (call: any, answer: any) => {
      seen.metadata = call.metadata;
      seen.deadline = call.getDeadline();
      const model = call.request.model_name;
      if (model === 'refuse') {
        const trailers = new Metadata();
        trailers.set('error-code', 'UNKNOWN_MODEL');
        answer({ code: status.NOT_FOUND, details: 'kein Mödel 100 %' }, null, trailers);
      } else if (model === 'wait') {
        call.on('cancelled', () => seen.cancelled?.resolve());
      } else {
        answer(null, echo(call.request));
      }
    },
    ModelStreamInfer: (call: any) => {
      call.on('data', (message: any) => call.write(message.model_name === 'refuse' ? { error_message: 'no' } : { infer_response: echo(message) }));
      call.on('end', () => call.end());
      call.on('cancelled', () => seen.cancelled?.resolve());
      call.on('error', () => undefined);
    },
  });
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, bound) => error ? reject(error) : resolve(bound));
  });
  closers.push(() => server.forceShutdown());
  return { server, port };
}

/** A bare HTTP/2 server. */
async function http2Server(
  onStream: (stream: ServerHttp2Stream, calls: number) => void,
): Promise<{ port: number; sessions: ServerHttp2Session[]; server: Http2Server }> {
  const server = createServer();
  const sessions: ServerHttp2Session[] = [];
  let calls = 0;
  server.on('session', (session) => {
    sessions.push(session);
    session.on('error', () => undefined);
  });
  server.on('stream', (stream) => {
    stream.on('error', () => undefined);
    stream.resume();
    onStream(stream, ++calls);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  closers.push(() => {
    for (const session of sessions) session.destroy();
    server.close();
  });
  return { port: (server.address() as AddressInfo).port, sessions, server };
}

async function tcpServer(onSocket: (socket: Socket) => void): Promise<{ port: number; server: TcpServer }> {
  const sockets: Socket[] = [];
  const server = createTcp((socket) => {
    sockets.push(socket);
    socket.on('error', () => undefined);
    onSocket(socket);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  closers.push(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return { port: (server.address() as AddressInfo).port, server };
}

const failure = (promise: Promise<unknown>): Promise<any> => promise.then(() => undefined, (error: unknown) => error);

/** Answers ServerLive with true. */
function answerLive(stream: ServerHttp2Stream): void {
  stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true });
  stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }));
  stream.end(Buffer.from([0, 0, 0, 0, 2, 8, 1]));
}

describe('calls', () => {
  it('carries tensors of some size both ways, aligned where they arrive', async () => {
    const { port } = await stockServer();
    const message = await channel(port).unary(INFER, request(), { alignedStart: rawOutputStart });
    const { outputs, ...answer } = decodeInferResponse(message);
    expect(answer).toEqual({ model: 'echo', version: '1', id: '1', parameters: {} });
    expect(outputs[0].data).toEqual(data);
    expect((outputs[0].data as Float32Array).buffer).toBe(message.buffer);
  });

  it('sends metadata and the deadline', async () => {
    const seen: { metadata?: Metadata; deadline?: number } = {};
    const { port } = await stockServer(seen);
    const deadline = Date.now() + 60_000;
    await channel(port).unary(INFER, request(), { deadline, metadata: { traceparent: '00-a-b-01' } });
    expect(seen.metadata!.get('traceparent')).toEqual(['00-a-b-01']);
    expect(Math.abs(Number(seen.deadline) - deadline)).toBeLessThan(5_000);
  });

  it('fails with the status, text and metadata of the peer', async () => {
    const { port } = await stockServer();
    const error = await failure(channel(port).unary(INFER, request('refuse')));
    expect(error).toBeInstanceOf(GrpcError);
    expect(error).toMatchObject({ status: status.NOT_FOUND, message: 'kein Mödel 100 %', metadata: { 'error-code': 'UNKNOWN_MODEL' }, sentBeforeFailure: true });
    expect(await failure(channel(port).unary('/inference.GRPCInferenceService/None', encodeEmpty()))).toMatchObject({ status: status.UNIMPLEMENTED });
  });

  it('gives up at the deadline, and tells the peer', async () => {
    const cancelled = new Signal();
    const { port } = await stockServer({ cancelled });
    expect(await failure(channel(port).unary(INFER, request('wait'), { deadline: Date.now() + 500 }))).toMatchObject({ status: status.DEADLINE_EXCEEDED });
    await cancelled.happened;
  });

  it('gives up with its caller, and tells the peer', async () => {
    const cancelled = new Signal();
    const { port } = await stockServer({ cancelled });
    const made = channel(port);
    await made.unary(LIVE, encodeEmpty());
    const controller = new AbortController();
    const failed = failure(made.unary(INFER, request('wait'), { signal: controller.signal }));
    await new Promise(setImmediate);
    expect(made.outstanding).toBe(1);
    const reason = new RangeError('enough');
    setTimeout(() => controller.abort(reason), 50);
    expect(await failed).toBe(reason);
    await cancelled.happened;
    expect(await failure(made.unary(INFER, request('wait'), { signal: AbortSignal.abort() }))).toMatchObject({ status: status.CANCELLED });
    expect(made.outstanding).toBe(0);
  });

  it('does not take an answer above its limit', async () => {
    const { port } = await stockServer();
    const made = channel(port, { maxReceiveBytes: 100_000 });
    expect(await failure(made.unary(INFER, request()))).toMatchObject({ status: status.RESOURCE_EXHAUSTED });
    expect(decodeFlag(await made.unary(LIVE, encodeEmpty()))).toBe(true);
  });

  it('streams both ways', async () => {
    const { port } = await stockServer();
    const stream = await channel(port).stream(STREAM);
    for (let i = 0; i < 40; i++) await stream.write(request(i === 7 ? 'refuse' : 'echo', String(i)));
    stream.end();
    const seen: string[] = [];
    for await (const message of stream) {
      const { error, response } = decodeStreamInferResponse(message);
      seen.push(error ?? response!.id);
    }
    expect(seen).toEqual(Array.from({ length: 40 }, (_, i) => i === 7 ? 'no' : String(i)));
  });

  it('cancels a stream that its reader leaves', async () => {
    const cancelled = new Signal();
    const { port } = await stockServer({ cancelled });
    const stream = await channel(port).stream(STREAM);
    void stream.write(request());
    for await (const message of stream) {
      expect(message.length).toBeGreaterThan(0);
      break;
    }
    await cancelled.happened;
  });

  it.each([
    ['an answer that is not gRPC', (stream: ServerHttp2Stream) => stream.respond({ ':status': 503 }, { endStream: true }), status.UNAVAILABLE],
    ['a reset', (stream: ServerHttp2Stream) => stream.close(2), status.INTERNAL],
    ['an answer without a status', (stream: ServerHttp2Stream) => {
      stream.respond({ ':status': 200, 'content-type': 'application/grpc' });
      stream.end(Buffer.from([0, 0, 0, 0, 0]));
    }, status.INTERNAL],
    ['an answer without a message', (stream: ServerHttp2Stream) => {
      stream.respond({ ':status': 200, 'content-type': 'application/grpc', 'grpc-status': '0' }, { endStream: true });
    }, status.INTERNAL],
    ['an answer cut off', (stream: ServerHttp2Stream) => {
      stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true });
      stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }));
      stream.end(Buffer.from([0, 0, 0, 0, 9, 1]));
    }, status.INTERNAL],
  ])('fails on %s', async (_, answer, expected) => {
    const { port } = await http2Server(answer);
    expect(await failure(channel(port).unary(LIVE, encodeEmpty()))).toMatchObject({ status: expected });
  });
});

describe('connections', () => {
  it('says that nothing was sent where there is no connection, and comes back by itself', async () => {
    const { port, server } = await tcpServer((socket) => socket.destroy());
    await new Promise((resolve) => server.close(resolve));
    const states: ChannelState[] = [];
    const ready = new Signal();
    const made = channel(port, {
      backoff: { firstMs: 20, maxMs: 20 },
      onState: (state) => {
        states.push(state);
        if (state === 'ready') ready.resolve();
      },
    });
    expect(await failure(made.unary(LIVE, encodeEmpty()))).toMatchObject({ status: status.UNAVAILABLE, sentBeforeFailure: false });
    expect(made.state).toBe('backoff');
    expect(await failure(made.unary(LIVE, encodeEmpty()))).toMatchObject({ status: status.UNAVAILABLE, sentBeforeFailure: false });
    const http2 = createServer();
    http2.on('stream', answerLive);
    await new Promise<void>((resolve) => http2.listen(port, '127.0.0.1', resolve));
    closers.unshift(() => http2.close());
    await ready.happened;
    expect(decodeFlag(await made.unary(LIVE, encodeEmpty()))).toBe(true);
    expect(states.slice(0, 3)).toEqual(['connecting', 'backoff', 'connecting']);
  });

  it('gives up on a peer that accepts and says nothing', async () => {
    const { port } = await tcpServer(() => undefined);
    const error = await failure(channel(port, { connectTimeoutMs: 100 }).unary(LIVE, encodeEmpty()));
    expect(error).toMatchObject({ status: status.UNAVAILABLE, sentBeforeFailure: false });
  });

  it('fails on a peer that speaks HTTP/1.1', async () => {
    const server = createHttp1();
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    closers.push(() => server.close());
    const error = await failure(channel((server.address() as AddressInfo).port, { connectTimeoutMs: 500 }).unary(LIVE, encodeEmpty()));
    expect(error).toMatchObject({ status: status.UNAVAILABLE, sentBeforeFailure: false });
  });

  it('does not dial a peer that hangs up at once without a pause', async () => {
    let accepted = 0;
    const { port, sessions } = await http2Server(() => undefined);
    const made = channel(port, {
      backoff: { firstMs: 60_000, maxMs: 60_000 },
      onState: (state) => {
        if (state !== 'ready') return;
        accepted++;
        sessions.at(-1)!.destroy();
      },
    });
    made.connect();
    while (made.state !== 'backoff') await new Promise(setImmediate);
    expect(accepted).toBeLessThanOrEqual(2);
  });

  it('finishes old calls and begins new ones on a new connection after GOAWAY', async () => {
    const held: ServerHttp2Stream[] = [];
    const { port, sessions } = await http2Server((stream, n) => n === 1 ? held.push(stream) : answerLive(stream));
    const made = channel(port);
    const first = made.unary(LIVE, encodeEmpty());
    while (held.length === 0) await new Promise(setImmediate);
    sessions[0].close();
    while (made.state === 'ready') await new Promise(setImmediate);
    expect(decodeFlag(await made.unary(LIVE, encodeEmpty()))).toBe(true);
    expect(sessions).toHaveLength(2);
    answerLive(held[0]);
    expect(decodeFlag(await first)).toBe(true);
  });

  it('says that a call which the peer did not take may be tried again', async () => {
    const { port } = await http2Server((stream) => stream.close(7));
    expect(await failure(channel(port).unary(LIVE, encodeEmpty()))).toMatchObject({ status: status.UNAVAILABLE, sentBeforeFailure: false });
  });

  it('fails the calls of a connection that breaks, as sent', async () => {
    const { port, sessions } = await http2Server(() => sessions[0].destroy());
    const error = await failure(channel(port).unary(LIVE, encodeEmpty()));
    expect(error).toMatchObject({ status: status.UNAVAILABLE, sentBeforeFailure: true });
  });

  it('finds a peer that has silently gone', async () => {
    const { port: target } = await http2Server(() => undefined);
    // a proxy that stops passing on anything once the call is there
    const { port } = await tcpServer((client) => {
      const upstream = connect(target, '127.0.0.1');
      let bytes = 0;
      upstream.on('error', () => undefined);
      upstream.on('data', (chunk) => bytes < 200 ? client.write(chunk) : undefined);
      client.on('data', (chunk) => {
        bytes += chunk.length;
        if (bytes < 200) upstream.write(chunk);
      });
      client.on('close', () => upstream.destroy());
    });
    const made = channel(port, { keepaliveMs: 50, keepaliveTimeoutMs: 100 });
    const error = await failure(made.unary(INFER, request()));
    expect(error).toMatchObject({ status: status.UNAVAILABLE, message: expect.stringContaining('ping'), sentBeforeFailure: true });
  });

  it('takes no calls when it is closed', async () => {
    const { port } = await stockServer();
    const made = channel(port);
    await made.unary(LIVE, encodeEmpty());
    await made.close();
    expect(made.state).toBe('closed');
    expect(await failure(made.unary(LIVE, encodeEmpty()))).toMatchObject({ status: status.UNAVAILABLE, sentBeforeFailure: false });
  });
});
