/** What a caller may stretch, and where it ends: a request that does not come, an answer that nobody reads, a handshake that is not made. */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { generate } from 'selfsigned';
import { HttpServer, type HttpServerOptions } from '../../../runtime/inference-service/http-server';
import { IncomingBytes } from '../../../runtime/inference-service/incoming-bytes';
import { restHandler } from '../../../runtime/inference-service/rest';
import { SILENT } from '../core/brain.fixture';
import { TestOperations } from '../grpc/operations';

/** More than the buffers of a connection hold. */
const LENGTH = 3 * 1024 * 1024;
const SHORT_MS = 60;

let operations: TestOperations;
let incoming: IncomingBytes;
let server: HttpServer;
let socket: Socket;

beforeEach(() => {
  operations = new TestOperations();
  incoming = new IncomingBytes(Infinity);
});
afterEach(async () => {
  socket.destroy();
  await server.close(0);
});

/** A connection that has sent these bytes, and reads nothing yet. */
async function sending(options: HttpServerOptions, bytes: string | Buffer): Promise<Socket> {
  const handler = restHandler({ operations, logger: SILENT, maxBodyBytes: 64 * 1024 * 1024, incoming, isDraining: () => false });
  server = new HttpServer(handler, options);
  const { hostname: host, port } = new URL(await server.listen({ host: '127.0.0.1', port: 0 }));
  socket = connect({ host, port: Number(port) });
  socket.on('error', () => undefined);
  await once(socket, 'connect');
  if (bytes.length > 0) socket.write(bytes);
  return socket;
}

/** All that comes until the connection is closed. */
async function answerOf(from: Socket): Promise<string> {
  const closed = once(from, 'close');
  let answer = '';
  from.setEncoding('latin1').on('data', (chunk: string) => {
    answer += chunk;
  }).resume();
  await closed;
  return answer;
}

const post = (path: string, headers: string, length: number) => `POST /v2/models/${path} HTTP/1.1\r\nhost: x\r\n${headers}content-length: ${length}\r\n\r\n`;

test.each([
  ['a body', post('echo/infer', 'content-type: application/json\r\n', 100) + '{"inputs":'],
  ['a body that comes in pieces', 'POST /v2/models/echo/infer HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n5\r\n{"inp\r\n'],
  ['headers', 'POST /v2/models/echo/infer HTTP/1.1\r\nhost: x\r\n'],
])('%s that does not come to an end in time is answered so, and given up', async (_, sent) => {
  const answer = await answerOf(await sending({ receiveTimeoutMs: SHORT_MS }, sent));
  expect(answer).toMatch(/^HTTP\/1\.1 408 /);
  expect(JSON.parse(answer.split('\r\n\r\n')[1])).toMatchObject({ code: 'REQUEST_TIMEOUT' });
  expect(incoming.bytes).toBe(0);
  expect(operations.seen).toEqual([]);
});

/** A request whose answer is more than a connection holds, worked on and not read. */
async function unread(options: HttpServerOptions): Promise<Socket> {
  const json = JSON.stringify({ inputs: [{ name: 'x', datatype: 'FP32', shape: [LENGTH], parameters: { binary_data_size: LENGTH * 4 } }], parameters: { binary_data_output: true } });
  const head = post('echo/infer', `inference-header-content-length: ${json.length}\r\n`, json.length + LENGTH * 4);
  const asked = await sending(options, Buffer.concat([Buffer.from(head + json), Buffer.alloc(LENGTH * 4)]));
  asked.pause();
  while (operations.seen.length === 0) await new Promise(setImmediate);
  return asked;
}

test('an answer that nobody reads ends the connection', async () => {
  const asked = await unread({ readTimeoutMs: SHORT_MS });
  // resolves when the server has no connection any more
  await server.close(600_000);
  const answer = await answerOf(asked);
  expect(answer).toMatch(/^HTTP\/1\.1 200 /);
  expect(answer.length).toBeLessThan(LENGTH * 4);
});

test('an answer that is read while the server closes is whole', async () => {
  const asked = await unread({ readTimeoutMs: 600_000 });
  const closed = server.close(600_000);
  const answer = await answerOf(asked);
  expect(answer.length).toBeGreaterThan(LENGTH * 4);
  await closed;
});

test('a stream that nobody reads ends the connection, and the work', async () => {
  const body = JSON.stringify({ x: new Array<number>(30_000).fill(1.5) });
  const asked = await sending({ readTimeoutMs: SHORT_MS }, post('endless/generate_stream', 'content-type: application/json\r\n', body.length) + body);
  asked.pause();
  await operations.left.happened;
  expect(await answerOf(asked)).toMatch(/^HTTP\/1\.1 200 [^]*text\/event-stream/);
});

test('a handshake that is not made ends the connection', async () => {
  const { cert, private: key } = await generate([{ name: 'commonName', value: 'x' }], { keyType: 'ec', algorithm: 'sha256' });
  const silent = await sending({ tls: { cert, key }, handshakeTimeoutMs: SHORT_MS }, '');
  silent.resume();
  await once(silent, 'close');
});
