/** Health is for everybody; everything else is for those whom the service knows, and for others it reads no body. */
import { connect, type IncomingHttpHeaders } from 'node:http2';
import { connect as connectTcp } from 'node:net';
import { call } from './http.fixture';
import { BrainError, type ErrorCode } from '../../../runtime/core/errors';
import { NO_TELEMETRY } from '../../../runtime/core/telemetry';
import { createService, type Service } from '../../../runtime/inference-service/service';
import { CONFIGURATION, EchoRuntime, MemoryManifests, MemoryRollout, rolloutOf, SILENT, SURGE } from '../core/brain.fixture';

const SERVICE = '/inference.GRPCInferenceService/';

let service: Service;
let ended: (ErrorCode | undefined)[];
/** Whether the refusal comes at once or later, as where keys are to be fetched. */
let late: boolean;

beforeEach(async () => {
  ended = [];
  late = false;
  service = createService({
    configuration: CONFIGURATION,
    runtime: new EchoRuntime(),
    manifests: new MemoryManifests(SURGE),
    rollout: new MemoryRollout(rolloutOf(SURGE)),
    logger: SILENT,
    telemetry: { ...NO_TELEMETRY, begin: (start) => ({ ...NO_TELEMETRY.begin(start), end: (code) => ended.push(code) }) },
    authenticator: {
      caller: () => {
        const refusal = new BrainError('UNAUTHENTICATED', 'who are you');
        if (late) return Promise.reject(refusal);
        throw refusal;
      },
    },
  });
  await service.start();
});
afterEach(() => service.close());

describe.each([['at once', false], ['later', true]])('a refusal that comes %s', (_, given) => {
  beforeEach(() => {
    late = given;
  });

  test.each([
    ['GET', '/v2'], ['GET', '/openapi.json'], ['GET', '/v2/models/surge'], ['GET', '/v2/models/surge/versions/1'], ['GET', '/v2/models/surge/ready'],
    ['GET', '/v2/models/none/versions/1/ready'], ['POST', '/v2/models/surge/infer'], ['POST', '/v2/models/none/versions/1/infer'],
    ['POST', '/v2/models/surge/generate'], ['POST', '/v2/models/surge/generate_stream'],
  ])('holds for %s %s', async (method, path) => {
    const base = await service.rest.listen({ host: '127.0.0.1', port: 0 });
    const { status, body, headers } = await call(base, { method, path, payload: method === 'POST' ? 'no JSON' : undefined });
    expect({ status, code: body.code, challenge: headers['www-authenticate'] }).toEqual({ status: 401, code: 'UNAUTHENTICATED', challenge: 'Bearer' });
    expect(ended).toEqual(method === 'POST' ? ['UNAUTHENTICATED'] : []);
  });

  test.each(['ModelInfer', 'ModelStreamInfer'])('comes before the message of %s has arrived', async (method) => {
    expect(await statusOf(method, undefined)).toBe('16');
  });

  test.each(['infer', 'generate', 'generate_stream'])('comes before the body of %s is asked for', async (action) => {
    const base = await service.rest.listen({ host: '127.0.0.1', port: 0 });
    const socket = connectTcp(Number(new URL(base).port), '127.0.0.1');
    socket.write(`POST /v2/models/surge/${action} HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\nexpect: 100-continue\r\n\r\n`);
    let answer = '';
    for await (const chunk of socket) answer += String(chunk);
    expect(answer).toMatch(/^HTTP\/1\.1 401 /);
  });

  test.each([
    'ServerMetadata', 'ModelReady', 'ModelMetadata', 'ModelInfer', 'ModelStreamInfer', '/grpc.reflection.v1.ServerReflection/ServerReflectionInfo',
    '/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo',
  ])('holds for gRPC %s', async (method) => {
    // ModelReady and ModelMetadata: a name, so that there is something to refuse
    const message = /^Model(Ready|Metadata)$/.test(method) ? Buffer.from([0, 0, 0, 0, 3, 0x0a, 1, 0x61]) : Buffer.alloc(5);
    expect(await statusOf(method, message)).toBe('16');
    expect(ended).toEqual(/Infer$/.test(method) ? ['UNAUTHENTICATED'] : []);
  });
});

test.each(['ServerLive', 'ServerReady', '/grpc.health.v1.Health/Check'])('%s is for everybody', async (method) => {
  expect(await statusOf(method, Buffer.alloc(5))).toBe('0');
});

/** The gRPC status of a call; without a message of one that has only begun. */
async function statusOf(method: string, message: Buffer | undefined): Promise<string | undefined> {
  const url = (await service.grpc.listen({ host: '127.0.0.1', port: 0 })).replace('grpc:', 'http:');
  const session = connect(url);
  const stream = session.request({ ':method': 'POST', ':path': method.startsWith('/') ? method : SERVICE + method, 'content-type': 'application/grpc' });
  let status: string | undefined;
  const keep = (headers: IncomingHttpHeaders) => {
    status ??= headers['grpc-status'] as string | undefined;
  };
  stream.on('response', keep).on('trailers', keep).on('error', () => undefined).resume();
  if (message) stream.end(message);
  else stream.write(Buffer.from([0, 0, 0, 0, 9, 1]));
  await new Promise((resolve) => stream.once('end', resolve));
  stream.destroy();
  await new Promise<void>((resolve) => session.close(resolve));
  return status;
}
