/** Our server against clients that do what a stock client does not. */
import { type ClientHttp2Session, type ClientHttp2Stream, connect, type IncomingHttpHeaders, type OutgoingHttpHeaders } from 'node:http2';
import { connect as connectTcp } from 'node:net';
import { status } from '@grpc/grpc-js';
import { QUIET, TestOperations } from './operations';
import { decodeInferResponse, encodeInferRequest } from '../../../runtime/grpc/oip-infer';
import { GrpcServer, type GrpcServerOptions } from '../../../runtime/grpc/server';
import { IncomingBytes } from '../../../runtime/inference-service/incoming-bytes';

const INFER = '/inference.GRPCInferenceService/ModelInfer';
const STREAM = '/inference.GRPCInferenceService/ModelStreamInfer';
const WATCH = '/grpc.health.v1.Health/Watch';
/** A frame with a flag that gRPC does not have. */
const BROKEN = Buffer.from([2, 0, 0, 0, 0]);

let operations: TestOperations;
let server: GrpcServer | undefined;
let port: number;
let session: ClientHttp2Session | undefined;

afterEach(async () => {
  session?.destroy();
  await server?.close(0);
});

async function start(options: Partial<GrpcServerOptions> = {}, client: object = {}): Promise<ClientHttp2Session> {
  operations = new TestOperations();
  server = new GrpcServer({ operations, maxBodyBytes: 1_000_000, logger: QUIET, ...options });
  ({ port } = await server.listen(0, '127.0.0.1'));
  session = connect(`http://127.0.0.1:${port}`, client);
  session.on('error', () => undefined);
  return session;
}

const open = (http2: ClientHttp2Session, path: string, headers: OutgoingHttpHeaders = {}): ClientHttp2Stream => {
  const stream = http2.request({ ':method': 'POST', ':path': path, 'content-type': 'application/grpc', 'te': 'trailers', ...headers });
  stream.on('error', () => undefined);
  return stream;
};

interface Answer {
  readonly headers: IncomingHttpHeaders;
  readonly trailers: IncomingHttpHeaders;
  readonly body: Buffer;
  readonly rst: number | undefined;
}

function answerOf(stream: ClientHttp2Stream): Promise<Answer> {
  let headers: IncomingHttpHeaders = {};
  let trailers: IncomingHttpHeaders = {};
  const chunks: Buffer[] = [];
  stream.on('response', (received) => (headers = received));
  stream.on('trailers', (received) => (trailers = received));
  stream.on('data', (chunk: Buffer) => chunks.push(chunk));
  return new Promise((resolve) => stream.on('close', () => resolve({ headers, trailers, body: Buffer.concat(chunks), rst: stream.rstCode })));
}

const floats = (length: number) => new Float32Array(length).map((_, i) => i / 3);
const frame = (length = 30, model = 'echo') => Buffer.concat(encodeInferRequest({ model, id: '1', inputs: [{ name: 'x', datatype: 'FP32', shape: [length], data: floats(length) }] }));

describe('what is not gRPC', () => {
  it.each([
    ['another content type', { 'content-type': 'application/json' }, 415],
    ['no content type', { 'content-type': '' }, 415],
    ['grpc-web', { 'content-type': 'application/grpc-web+proto' }, 415],
    ['another method', { ':method': 'GET' }, 405],
  ])('%s is refused in HTTP', async (_, headers, expected) => {
    const stream = open(await start(), INFER, headers);
    expect((await answerOf(stream)).headers[':status']).toBe(expected);
  });

  it('unknown methods and services are UNIMPLEMENTED', async () => {
    const http2 = await start();
    for (const path of ['/inference.GRPCInferenceService/None', '/none', '/inference.GRPCInferenceService/__proto__']) {
      const { headers } = await answerOf(open(http2, path).end(frame()));
      expect(headers).toMatchObject({ ':status': 200, 'grpc-status': String(status.UNIMPLEMENTED), 'error-code': 'ROUTE_NOT_FOUND' });
    }
  });

  it.each([
    ['a malformed timeout', { 'grpc-timeout': '5' }, status.INVALID_ARGUMENT],
    ['a compressed message', { 'grpc-encoding': 'gzip' }, status.UNIMPLEMENTED],
  ])('%s is refused', async (_, headers, expected) => {
    const answer = await answerOf(open(await start(), INFER, headers).end(frame()));
    expect(answer.headers['grpc-status']).toBe(String(expected));
    if (expected === status.UNIMPLEMENTED) expect(answer.headers['grpc-accept-encoding']).toBe('identity');
  });

  it('headers beyond 16 KiB are refused, and the server serves on', async () => {
    const http2 = await start();
    const answer = await answerOf(open(http2, INFER, { 'x-large': 'a'.repeat(60_000) }).end(frame()));
    expect(answer.headers['grpc-status']).toBeUndefined();
    const other = connect(`http://127.0.0.1:${port}`);
    expect((await answerOf(open(other, INFER).end(frame()))).trailers['grpc-status']).toBe('0');
    other.destroy();
  });
});

describe('framing', () => {
  it('puts together a message that comes byte by byte', async () => {
    const stream = open(await start(), INFER);
    const answer = answerOf(stream);
    for (const byte of frame()) stream.write(Buffer.from([byte]));
    stream.end();
    const { body, trailers } = await answer;
    expect(trailers['grpc-status']).toBe('0');
    expect(decodeInferResponse(body.subarray(5)).outputs[0].data).toEqual(floats(30));
  });

  it('takes several messages of a stream that come in one piece', async () => {
    const answer = await answerOf(open(await start(), STREAM).end(Buffer.concat([frame(), frame(), frame(5_000), frame()])));
    expect(answer.trailers['grpc-status']).toBe('0');
    expect(operations.seen.map(({ request }) => request.inputs[0].shape)).toEqual([[30], [30], [5_000], [30]]);
  });

  it.each([
    ['a compressed message', Buffer.from([1, 0, 0, 0, 1, 0]), status.UNIMPLEMENTED],
    ['an unknown flag', Buffer.from([2, 0, 0, 0, 1, 0]), status.INTERNAL],
    ['a claim of 4 GB', Buffer.from([0, 255, 255, 255, 255, 0]), status.RESOURCE_EXHAUSTED],
    ['no message', Buffer.alloc(0), status.INVALID_ARGUMENT],
    ['half a message', Buffer.from([0, 0, 0, 0, 9, 1]), status.INVALID_ARGUMENT],
    ['a message that is no protobuf', Buffer.from([0, 0, 0, 0, 2, 0xff, 0xff]), status.INVALID_ARGUMENT],
  ])('%s ends a unary call with its status', async (_, bytes, expected) => {
    const { headers } = await answerOf(open(await start(), INFER).end(bytes));
    expect(headers['grpc-status']).toBe(String(expected));
  });

  it('a broken frame ends a stream, a broken request does not', async () => {
    const http2 = await start();
    const broken = await answerOf(open(http2, STREAM).end(Buffer.concat([frame(), Buffer.from([2, 0, 0, 0, 0])])));
    expect(broken.trailers['grpc-status']).toBe(String(status.INTERNAL));
    const wrong = await answerOf(open(http2, STREAM).end(Buffer.concat([Buffer.from([0, 0, 0, 0, 2, 0xff, 0xff]), frame()])));
    expect(wrong.trailers['grpc-status']).toBe('0');
    expect(wrong.body.toString('latin1')).toContain('INVALID_REQUEST');
  });
});

describe('slow clients', () => {
  it('are reset where a message does not arrive', async () => {
    const stream = open(await start({ slowClientMs: 60 }), INFER);
    const answer = answerOf(stream);
    stream.write(frame().subarray(0, 20));
    expect(await answer).toMatchObject({ rst: 8 });
  });

  it('are reset where they do not read', async () => {
    const http2 = await start({ slowClientMs: 60 }, { settings: { initialWindowSize: 0 } });
    const stream = open(http2, INFER);
    const answer = answerOf(stream);
    stream.end(frame(50_000));
    expect(await answer).toMatchObject({ rst: 8 });
  });

  it('may be silent between the messages of a stream', async () => {
    const stream = open(await start({ slowClientMs: 40 }), STREAM);
    const answer = answerOf(stream);
    stream.write(frame());
    await new Promise((resolve) => stream.once('data', resolve));
    // several of the server's rounds: what must not happen is a reset
    for (let i = 0; i < 3; i++) {
      const other = answerOf(open(session!, INFER));
      expect(await other).toMatchObject({ rst: 8 });
    }
    stream.end(frame());
    expect((await answer).trailers['grpc-status']).toBe('0');
  });

  it('get no new calls while they leave too much unread', async () => {
    const http2 = await start({ maxUnsentBytes: 100_000 }, { settings: { initialWindowSize: 0 } });
    open(http2, INFER).end(frame(50_000));
    while (operations.seen.length === 0) await new Promise(setImmediate);
    await new Promise(setImmediate);
    const { headers } = await answerOf(open(http2, INFER).end(frame()));
    expect(headers['grpc-status']).toBe(String(status.RESOURCE_EXHAUSTED));
  });

  it('cannot fill the memory with messages that they do not end', async () => {
    const incoming = new IncomingBytes(100_000);
    const http2 = await start({ incoming });
    const begun = open(http2, INFER);
    begun.write(frame(20_000).subarray(0, 70_000));
    while (incoming.bytes < 69_000) await new Promise(setImmediate);
    const refused = await answerOf(open(http2, INFER).end(frame(20_000)));
    expect(refused.headers).toMatchObject({ 'grpc-status': String(status.UNAVAILABLE), 'error-code': 'OVERLOADED' });
    begun.close();
    while (incoming.bytes > 0) await new Promise(setImmediate);
    expect((await answerOf(open(http2, INFER).end(frame(20_000)))).trailers['grpc-status']).toBe('0');
    expect(incoming.bytes).toBe(0);
  });

  it('that are not there any more lose their connection', async () => {
    const http2 = await start({ keepaliveMs: 60 });
    // speaks HTTP/2 as far as the first SETTINGS and then answers nothing, no ping either
    const socket = connectTcp(port, '127.0.0.1');
    socket.write(Buffer.concat([Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'), Buffer.from([0, 0, 0, 4, 0, 0, 0, 0, 0])]));
    socket.resume();
    await new Promise((resolve) => socket.on('close', resolve));
    expect(http2.destroyed).toBe(false);
  });
});

describe('a broken frame', () => {
  it('ends the work for a client that reads nothing', async () => {
    const http2 = await start({ slowClientMs: 60 }, { settings: { initialWindowSize: 0 } });
    const stream = open(http2, STREAM);
    const answer = answerOf(stream);
    stream.write(frame(30, 'endless'));
    // so much that an answer waits for the reader
    for (let before = -1; operations.streamed !== before;) {
      before = operations.streamed;
      for (let turn = 0; turn < 20; turn++) await new Promise(setImmediate);
    }
    expect(operations.streamed).toBeGreaterThan(0);
    stream.write(BROKEN);
    await operations.left.happened;
    await answer;
  });

  it('tells the requests of its stream that nobody waits for them', async () => {
    const stream = open(await start(), STREAM);
    const trailers = new Promise<IncomingHttpHeaders>((resolve) => stream.on('trailers', resolve));
    stream.resume().write(frame(30, 'wait'));
    await operations.started.happened;
    stream.write(BROKEN);
    await operations.gone.happened;
    expect((await trailers)['grpc-status']).toBe(String(status.INTERNAL));
    operations.release();
  });

  it('ends the work of a unary call', async () => {
    const stream = open(await start(), INFER);
    const answer = answerOf(stream);
    stream.write(frame(30, 'wait'));
    await operations.started.happened;
    stream.write(BROKEN);
    await operations.gone.happened;
    expect((await answer).headers['grpc-status']).toBe(String(status.INTERNAL));
    operations.release();
  });

  it('ends a watch, which is told nothing any more', async () => {
    const stream = open(await start(), WATCH);
    const answer = answerOf(stream);
    stream.write(Buffer.from([0, 0, 0, 0, 0]));
    await new Promise((resolve) => stream.once('data', resolve));
    stream.end(BROKEN);
    await answer;
    const asked = jest.spyOn(operations, 'isReady');
    server!.notifyReadiness();
    expect(asked).not.toHaveBeenCalled();
  });
});
