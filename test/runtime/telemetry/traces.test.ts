import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buildSync } from 'esbuild';
import { NOT_SAMPLED, SAMPLED, serve, SPAN_ID, start, testTelemetry, TRACE_ID } from './telemetry.fixture';
import { COMMON } from '../../../projenrc/bundle';
import type { createTelemetry } from '../../../runtime/telemetry/create-telemetry';
import { Peer } from '../adapters-aws/peer.fixture';
import { NOON } from '../core/brain.fixture';

interface OtlpSpan {
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId?: string;
  readonly traceState?: string;
  readonly name: string;
  readonly kind: number;
  readonly startTimeUnixNano: string;
  readonly endTimeUnixNano: string;
  readonly attributes: { key: string; value: { stringValue?: string; intValue?: number } }[];
  readonly status: { code: number; message?: string };
}

/** The kinds of OTLP's protobuf. */
const INTERNAL = 1;
const SERVER = 2;
const CLIENT = 3;

/** Bundled as it is shipped, but for the exporter's dynamic import of its transport, which jest has none of. */
function bundled(folder: string): typeof createTelemetry {
  const outfile = join(folder, 'telemetry.js');
  buildSync({ ...COMMON, write: true, supported: { 'dynamic-import': false }, entryPoints: ['runtime/telemetry/create-telemetry.ts'], outfile });
  return (jest.requireActual<{ createTelemetry: typeof createTelemetry }>(outfile)).createTelemetry;
}

describe('traces', () => {
  const folder = mkdtempSync(join(tmpdir(), 'thalos-traces-'));
  const create = bundled(folder);
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  test('weigh less than 600 KB in the bundle, names and all', () => {
    expect(statSync(join(folder, 'telemetry.js')).size).toBeLessThan(600 * 1024);
  });

  let collector: Peer;
  let status: number;
  beforeEach(async () => {
    status = 200;
    collector = await Peer.start(() => ({ status, body: {} }));
  });
  afterEach(() => collector.stop());

  const traced = (share = 1, draw = 0.5) => testTelemetry({
    declaration: { traces: share, capture: 0, statistics: 0 }, otlpEndpoint: `${collector.url}/v1/traces`, random: () => draw,
  }, create);
  const bodies = () => collector.requests.map(({ body }) => JSON.parse(body.toString()) as {
    resourceSpans: { resource: { attributes: OtlpSpan['attributes'] }; scopeSpans: { spans: OtlpSpan[] }[] }[];
  });
  const spans = () => bodies().flatMap(({ resourceSpans }) => resourceSpans.flatMap(({ scopeSpans }) => scopeSpans.flatMap((scope) => scope.spans)));
  const attributes = (span: Pick<OtlpSpan, 'attributes'>) => Object.fromEntries(span.attributes.map(({ key, value }) => [key, value.stringValue ?? value.intValue]));

  test('have a span for the request and one for each stage, under the caller\'s span', async () => {
    const given = traced();
    const traceparent = serve(given, { traceparent: SAMPLED, tracestate: 'vendor=1,other=2' })!;
    await given.telemetry.close();
    const [server, decode, runtime, ...others] = spans();
    expect(others).toEqual([]);
    expect(server).toMatchObject({ traceId: TRACE_ID, parentSpanId: SPAN_ID, kind: SERVER, name: 'POST /v2/models/{model}/infer', traceState: 'vendor=1,other=2' });
    expect(traceparent).toBe(`00-${TRACE_ID}-${server.spanId}-01`);
    expect(decode).toMatchObject({ traceId: TRACE_ID, parentSpanId: server.spanId, kind: INTERNAL, name: 'decode' });
    expect(runtime).toMatchObject({ parentSpanId: server.spanId, kind: CLIENT, name: 'runtime' });
    expect(attributes(server)).toEqual({
      'thalos.model': 'eta',
      'thalos.model.version': '1',
      'thalos.arm': 'stable',
      'thalos.request.id': 'r-1',
      'http.request.method': 'POST',
      'http.route': '/v2/models/{model}/infer',
      'http.response.status_code': 200,
    });
    const milliseconds = (nanoseconds: string) => Number(BigInt(nanoseconds) / 1_000_000n) - NOON;
    const times = ({ startTimeUnixNano, endTimeUnixNano }: OtlpSpan) => [milliseconds(startTimeUnixNano), milliseconds(endTimeUnixNano)];
    expect([server, decode, runtime].map(times)).toEqual([[1000, 1020], [1000, 1005], [1005, 1020]]);
  });

  test('say which service sent them', async () => {
    const given = traced();
    serve(given);
    await given.telemetry.close();
    expect(attributes(bodies()[0].resourceSpans[0].resource)).toMatchObject({
      'service.name': 'thalos-brain-inference', 'service.namespace': 'rides', 'service.instance.id': 'pod-1', 'deployment.environment.name': 'dev',
    });
  });

  test('are begun for the declared share of requests that bring none', async () => {
    const sampled = traced(0.3, 0.29);
    expect(serve(sampled)).toMatch(/^00-[0-9a-f]{32}-[0-9a-f]{16}-01$/);
    expect(serve(traced(0.3, 0.3))).toBeUndefined();
    await sampled.telemetry.close();
    expect(spans().map(({ parentSpanId }) => parentSpanId === undefined)).toEqual([true, false, false]);
  });

  test('follow the parent, whatever the share', async () => {
    const none = traced(0);
    serve(none, { traceparent: SAMPLED });
    await none.telemetry.close();
    expect(spans()).toHaveLength(3);
    const all = traced(1);
    expect(serve(all, { traceparent: NOT_SAMPLED })).toBe(NOT_SAMPLED);
    await all.telemetry.close();
    expect(spans()).toHaveLength(3);
  });

  test('of a malformed parent are traces of their own', async () => {
    const given = traced();
    expect(serve(given, { traceparent: SAMPLED.toUpperCase(), tracestate: 'vendor=1' })).not.toContain(TRACE_ID);
    await given.telemetry.close();
    expect(spans()[0].parentSpanId).toBeUndefined();
  });

  test('of gRPC have its conventions, and an error only where it is ours', async () => {
    const given = traced();
    for (const code of ['RUNTIME_UNAVAILABLE', 'INVALID_SHAPE'] as const) given.telemetry.begin(start({ protocol: 'grpc' })).end(code);
    await given.telemetry.close();
    const [ours, theirs] = spans();
    expect(ours).toMatchObject({ name: 'inference.GRPCInferenceService/ModelInfer', status: { code: 2, message: 'RUNTIME_UNAVAILABLE' } });
    expect(attributes(ours)).toMatchObject({
      'rpc.system': 'grpc', 'rpc.service': 'inference.GRPCInferenceService', 'rpc.method': 'ModelInfer', 'rpc.grpc.status_code': 14, 'error.type': 'RUNTIME_UNAVAILABLE',
    });
    expect(theirs.status.code).toBe(0);
    expect(attributes(theirs)).toMatchObject({ 'rpc.grpc.status_code': 3, 'error.type': 'INVALID_SHAPE' });
  });

  test('are named by the route or the method', async () => {
    const given = traced();
    for (const operation of ['infer', 'generate', 'stream'] as const) given.telemetry.begin(start({ operation })).end();
    for (const operation of ['infer', 'stream'] as const) given.telemetry.begin(start({ protocol: 'grpc', operation })).end();
    await given.telemetry.close();
    expect(spans().map(({ name }) => name)).toEqual([
      'POST /v2/models/{model}/infer', 'POST /v2/models/{model}/generate', 'POST /v2/models/{model}/generate_stream',
      'inference.GRPCInferenceService/ModelInfer', 'inference.GRPCInferenceService/ModelStreamInfer',
    ]);
  });

  const dropped = (text: string) => Number(/thalos_telemetry_dropped_total\{signal="traces"\} (\d+)/.exec(text)![1]);

  test('that the collector refuses are counted as lost', async () => {
    status = 400;
    const given = traced();
    serve(given);
    await given.telemetry.close();
    expect(dropped(given.telemetry.metrics().body)).toBe(3);
  });

  test('beyond the queue are counted as lost, and no request notices', async () => {
    let answer = (_: { status: number }) => undefined as void;
    const answered = new Promise<{ status: number }>((resolve) => {
      answer = resolve;
    });
    await collector.stop();
    collector = await Peer.start(() => answered);
    const given = traced();
    for (let request = 0; request < 1500; request++) serve(given);
    expect(dropped(given.telemetry.metrics().body)).toBe(3 * 1500 - 2048);
    answer({ status: 200 });
    await given.telemetry.close();
  });
});
