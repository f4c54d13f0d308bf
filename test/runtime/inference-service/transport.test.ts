import { once } from 'node:events';
import { request as httpRequest } from 'node:http';
import { connect } from 'node:net';
import { call } from './http.fixture';
import { createService, type Service } from '../../../runtime/inference-service/service';
import { CONFIGURATION, EchoRuntime, FixedVectors, MANIFEST, MemoryFeatures, MemoryManifests, MemoryRollout, NOON, request, rolloutOf, SILENT } from '../core/brain.fixture';

let service: Service;
let runtime: EchoRuntime;
let base: string;
const errors: object[] = [];

beforeEach(async () => {
  errors.length = 0;
  runtime = new EchoRuntime();
  service = createService({
    configuration: CONFIGURATION,
    features: new MemoryFeatures(),
    vectors: new FixedVectors(),
    runtime,
    manifests: new MemoryManifests(MANIFEST),
    rollout: new MemoryRollout(rolloutOf(MANIFEST)),
    clock: { now: () => NOON },
    logger: { ...SILENT, error: (fields) => errors.push(fields) },
  });
  await service.start();
  base = await service.app.listen({ host: '127.0.0.1', port: 0 });
});
afterEach(() => service.close());

/** Sends bytes and gives back everything that comes until the connection ends. */
async function raw(text: string): Promise<string> {
  const socket = connect({ host: '127.0.0.1', port: Number(new URL(base).port) });
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
});
