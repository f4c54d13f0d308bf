/** A streamed answer whose reader is behind keeps nobody else's place beyond its deadline. */
import { once } from 'node:events';
import { request as httpRequest } from 'node:http';
import { connect } from 'node:http2';
import { TOKENS, Words } from './words.fixture';
import { MONOTONIC_CLOCK } from '../../../runtime/core/resilience/monotonic-clock';
import { NO_TELEMETRY, type Telemetry } from '../../../runtime/core/telemetry';
import { encodeInferRequest } from '../../../runtime/grpc/oip-infer';
import { createService, type Service } from '../../../runtime/inference-service/service';
import { CONFIGURATION, MemoryManifests, MemoryRollout, rolloutOf, SILENT } from '../core/brain.fixture';

/** More than the buffers of a connection hold. */
const PIECE = 12 * 1024 * 1024;

let runtime: Words;
let service: Service;
let passed: number;
let made: jest.SpyInstance;
let gauges: Record<string, () => number>;
let ended: (string | undefined)[];

beforeEach(async () => {
  runtime = new Words();
  made = jest.spyOn(runtime, 'stream');
  gauges = {};
  ended = [];
  passed = 0;
  const now = MONOTONIC_CLOCK.now;
  jest.spyOn(MONOTONIC_CLOCK, 'now').mockImplementation(() => now() + passed);
  const telemetry: Telemetry = {
    ...NO_TELEMETRY,
    gauge: (name, read) => {
      gauges[name] = read;
    },
    begin: (start) => ({ ...NO_TELEMETRY.begin(start), end: (code) => ended.push(code) }),
  };
  service = createService({
    configuration: { ...CONFIGURATION, limits: { ...CONFIGURATION.limits, requestTimeoutMs: 60_000 } },
    runtime,
    manifests: new MemoryManifests(TOKENS),
    rollout: new MemoryRollout(rolloutOf(TOKENS)),
    logger: SILENT,
    telemetry,
  });
  await service.start();
});
afterEach(async () => {
  jest.restoreAllMocks();
  await service.close();
});

/** The model's work is over, and the place is free, while the answer is still unread. */
async function deadlineEnds(): Promise<void> {
  const limit = gauges.concurrency_limit();
  expect(gauges.in_flight()).toBe(1);
  expect(runtime.left).toBe(0);
  passed += 60_000;
  while (gauges.in_flight() > 0 || runtime.left === 0) await new Promise(setImmediate);
  expect(ended).toEqual([]);
  // a slow reader says nothing about how much the service can do
  expect(gauges.concurrency_limit()).toBe(limit);
}

test('REST', async () => {
  runtime.padding = PIECE;
  const url = new URL(await service.rest.listen({ host: '127.0.0.1', port: 0 }));
  const sent = httpRequest({ host: url.hostname, port: url.port, method: 'POST', path: '/v2/models/eta/generate_stream' });
  sent.end(JSON.stringify({ text_input: 'a b c', max_tokens: 3 }));
  const [response] = await once(sent, 'response');
  await deadlineEnds();
  let end = '';
  for await (const chunk of response.setEncoding('latin1')) end = `${end}${chunk}`.slice(-200);
  expect(JSON.parse(end.slice(end.lastIndexOf('data: ') + 6))).toMatchObject({ code: 'DEADLINE_EXCEEDED' });
  expect(ended).toEqual(['DEADLINE_EXCEEDED']);
});

test('gRPC', async () => {
  runtime.padding = 1024 * 1024;
  const url = await service.grpc.listen({ host: '127.0.0.1', port: 0 });
  // takes headers and no data
  const session = connect(url.replace('grpc:', 'http:'), { settings: { initialWindowSize: 0 } });
  session.on('error', () => undefined);
  const stream = session.request({ ':method': 'POST', ':path': '/inference.GRPCInferenceService/ModelStreamInfer', 'content-type': 'application/grpc', 'te': 'trailers' });
  stream.on('error', () => undefined);
  const inputs = [{ name: 'text_input', datatype: 'BYTES' as const, shape: [1], data: ['a b c'] }, { name: 'max_tokens', datatype: 'INT32' as const, shape: [1], data: Int32Array.of(3) }];
  for (const chunk of encodeInferRequest({ model: 'eta', inputs })) stream.write(chunk);
  while (made.mock.calls.length === 0) await new Promise(setImmediate);
  await deadlineEnds();
  stream.close();
  while (ended.length === 0) await new Promise(setImmediate);
  session.destroy();
});
