import { once } from 'node:events';
import { request as httpRequest } from 'node:http';
import { connect, type Socket } from 'node:net';
import { call } from './http.fixture';
import { ANONYMOUS, type Authenticator } from '../../../runtime/core/caller';
import { HttpServer } from '../../../runtime/inference-service/http-server';
import { IncomingBytes } from '../../../runtime/inference-service/incoming-bytes';
import { readBody } from '../../../runtime/inference-service/request-body';
import { createService, type Service } from '../../../runtime/inference-service/service';
import { CONFIGURATION, EchoRuntime, FixedVectors, MANIFEST, MemoryFeatures, MemoryManifests, MemoryRollout, NOON, request, rolloutOf, SILENT } from '../core/brain.fixture';

let service: Service;
let runtime: EchoRuntime;
let base: string;
const errors: object[] = [];
let authenticate: Authenticator['caller'];

beforeEach(async () => {
  errors.length = 0;
  authenticate = () => ANONYMOUS;
  runtime = new EchoRuntime();
  service = createService({
    configuration: { ...CONFIGURATION, limits: { ...CONFIGURATION.limits, requestTimeoutMs: 500 } },
    authenticator: { caller: (authorization) => authenticate(authorization) },
    features: new MemoryFeatures(),
    vectors: new FixedVectors(),
    runtime,
    manifests: new MemoryManifests(MANIFEST),
    rollout: new MemoryRollout(rolloutOf(MANIFEST)),
    clock: { now: () => NOON },
    logger: { ...SILENT, error: (fields) => errors.push(fields) },
  });
  await service.start();
  base = await service.rest.listen({ host: '127.0.0.1', port: 0 });
});
afterEach(() => service.close());

/** A connection that has sent these bytes. */
async function sending(text: string, url = base): Promise<Socket> {
  const socket = connect({ host: '127.0.0.1', port: Number(new URL(url).port) });
  socket.on('error', () => undefined);
  await once(socket, 'connect');
  socket.write(text);
  return socket;
}

/** Resolves when the connection is closed, in whatever way. */
const ended = (socket: Socket) => new Promise((resolve) => (socket.closed ? resolve(undefined) : socket.once('close', resolve)));

/** Sends bytes and gives back everything that comes until the connection ends. */
async function raw(text: string, url = base): Promise<string> {
  const socket = connect({ host: '127.0.0.1', port: Number(new URL(url).port) });
  let answer = '';
  socket.setEncoding('utf8').on('data', (chunk) => {
    answer += chunk;
  });
  socket.write(text);
  await once(socket, 'close');
  return answer;
}

const INFER = { method: 'POST', path: '/v2/models/eta/infer', payload: JSON.stringify(request()), headers: { 'content-type': 'application/json' } };

/** Resolves when the runtime was called; it answers when `release` is. */
function holdRuntime(): { called: Promise<AbortSignal>; release: () => void } {
  let release = () => undefined as void;
  const called = new Promise<AbortSignal>((resolve) => {
    runtime.inferring = (signal) => new Promise((done) => {
      release = done;
      resolve(signal!);
    });
  });
  return { called, release: () => release() };
}

describe('the transport', () => {
  test('what is no HTTP gets a coded error', async () => {
    const answer = await raw('NONSENSE\r\n\r\n');
    expect(answer).toMatch(/^HTTP\/1\.1 400 Bad Request\r\n/);
    expect(JSON.parse(answer.split('\r\n\r\n')[1])).toMatchObject({ code: 'INVALID_REQUEST' });
  });

  test('headers that are too large get a coded error', async () => {
    const answer = await raw(`GET /v2 HTTP/1.1\r\nhost: x\r\nx-large: ${'x'.repeat(20_000)}\r\n\r\n`);
    expect(answer).toMatch(/^HTTP\/1\.1 431 /);
    expect(JSON.parse(answer.split('\r\n\r\n')[1])).toMatchObject({ code: 'HEADERS_TOO_LARGE' });
  });

  test('a body beyond the limit is refused by its declared length, before it is sent', async () => {
    const answer = await raw('POST /v2/models/eta/infer HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 99999999\r\nconnection: close\r\n\r\n');
    expect(answer).toMatch(/^HTTP\/1\.1 413 /);
    expect(answer).toContain('"code":"BODY_TOO_LARGE"');
  });

  test('a chunked body beyond the limit is refused as well', async () => {
    const sent = httpRequest({ host: '127.0.0.1', port: new URL(base).port, method: 'POST', path: INFER.path, headers: { ...INFER.headers, 'transfer-encoding': 'chunked' } });
    sent.on('error', () => undefined);
    const answered = once(sent, 'response');
    sent.end(Buffer.alloc(CONFIGURATION.limits.maxBodyBytes + 1, 0x20));
    const [response] = await answered;
    expect(response.statusCode).toBe(413);
    response.resume();
  });

  test('work stops when the caller is gone', async () => {
    const { called } = holdRuntime();
    const sent = httpRequest({ host: '127.0.0.1', port: new URL(base).port, ...INFER });
    sent.on('error', () => undefined);
    sent.end(INFER.payload);
    const signal = await called;
    const aborted = once(signal, 'abort');
    sent.destroy();
    await aborted;
    expect(signal.reason).toMatchObject({ code: 'CANCELLED' });
    expect(errors).toEqual([]);
  });

  test('closing answers what is under way, on a kept connection too, and takes nothing new', async () => {
    const { called, release } = holdRuntime();
    const answer = call(base, { ...INFER, headers: { ...INFER.headers, connection: 'keep-alive' } });
    await called;
    const closed = service.close();
    expect(service.isReady()).toBe(false);
    release();
    expect((await answer).status).toBe(200);
    await closed;
    await expect(call(base, INFER)).rejects.toThrow(/ECONNREFUSED/);
  });

  test.each(['live', 'ready'])('a connection is kept after a request without a body: %s', async (route) => {
    const { headers } = await call(base, { path: `/v2/health/${route}`, headers: { connection: 'keep-alive' } });
    expect(headers.connection).toBe('keep-alive');
  });

  test('a connection is kept after a body that is answered with its last byte', async () => {
    const { status, headers } = await call(base, { ...INFER, payload: 'NONSENSE', headers: { ...INFER.headers, 'content-length': '8', 'connection': 'keep-alive' } });
    expect(status).toBe(400);
    expect(headers.connection).toBe('keep-alive');
  });

  test('a connection whose body nobody reads is not kept', async () => {
    expect(await raw('GET /v2/health/live HTTP/1.1\r\nhost: x\r\ncontent-length: 25\r\n\r\nGET /v2 HTTP/1.1\r\nhost: x')).toMatch(/connection: close\r\n/);
  });

  test('what is no HTTP does not get into an answer that has begun', async () => {
    const server = new HttpServer((_, response) => {
      response.writeHead(200, { 'content-length': 100 });
      response.write('begun');
    });
    const url = await server.listen({ host: '127.0.0.1', port: 0 });
    const answer = await raw('GET / HTTP/1.1\r\nhost: x\r\n\r\nNONSENSE\r\n\r\n', url);
    expect(answer).toMatch(/^HTTP\/1\.1 200 OK\r\n[^]*\r\n\r\nbegun$/);
    await server.close(0);
  });

  test('a body is not waited for once its caller has gone', async () => {
    const read = new Promise((resolve, reject) => {
      const server = new HttpServer((received) => {
        received.once('close', () => {
          readBody(received, 100, new IncomingBytes(100)).then(resolve, reject);
          void server.close(0);
        });
      });
      void server.listen({ host: '127.0.0.1', port: 0 }).then(async (url) => (await sending('POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n{', url)).destroy());
    });
    await expect(read).rejects.toMatchObject({ code: 'CANCELLED' });
  });

  test('bodies that are begun and not ended take no more memory than is meant for them, and give it back', async () => {
    const incoming = new IncomingBytes(100_000);
    const read: Promise<unknown>[] = [];
    const server = new HttpServer((received, response) => {
      const body = readBody(received, 80_000, incoming);
      read.push(body);
      body.then(({ length }) => response.end(String(length)), ({ code }) => response.end(code));
    });
    const url = await server.listen({ host: '127.0.0.1', port: 0 });
    const post = (sent: number) => `POST / HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 80000\r\n\r\n${'x'.repeat(sent)}`;
    const half = await sending(post(70_000), url);
    while (incoming.bytes < 70_000) await new Promise(setImmediate);
    expect(await raw(post(80_000), url)).toMatch(/OVERLOADED$/);
    half.destroy();
    await expect(read[0]).rejects.toMatchObject({ code: 'CANCELLED' });
    expect(await raw(post(80_000), url)).toMatch(/80000$/);
    expect(incoming.bytes).toBe(0);
    await server.close(0);
  });

  test('closing waits for nobody who sends nothing', async () => {
    const silent = await sending('');
    const asked = await sending('GET /v2/health/live HTTP/1.1\r\nhost: x\r\n\r\n');
    await once(asked, 'data');
    const half = await sending('GET /v2/health/live HTTP/1.1\r\nhost: x\r\n');
    await service.close();
    for (const socket of [silent, asked, half]) await ended(socket);
  });

  test('closing waits for a body that does not come no longer than for an answer', async () => {
    const half = await sending('POST /v2/models/eta/infer HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{');
    await service.close();
    await ended(half);
  });

  test('a caller that leaves while it is verified costs no inference', async () => {
    let verified: () => void = () => undefined;
    const asked = new Promise<void>((resolve) => {
      authenticate = () => {
        resolve();
        return new Promise((done) => {
          verified = () => done(ANONYMOUS);
        });
      };
    });
    const sent = httpRequest({ host: '127.0.0.1', port: new URL(base).port, ...INFER });
    sent.on('error', () => undefined);
    sent.end(INFER.payload);
    await asked;
    sent.destroy();
    // another request, so that the service has seen the connection close
    await call(base, { path: '/v2/health/live' });
    verified();
    authenticate = () => ANONYMOUS;
    expect((await call(base, INFER)).status).toBe(200);
    expect(runtime.inputs).toHaveLength(1);
  });
});
