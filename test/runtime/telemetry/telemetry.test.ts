import { memoryLogger, NOT_SAMPLED, observed, serve, start, testTelemetry, TRACE_ID } from './telemetry.fixture';
import { RequestRecorder } from '../../../runtime/telemetry/request-recorder';
import { never } from '../adapters-aws/peer.fixture';

/** Value of a sample by its beginning, e.g. `thalos_requests_total{model="eta"`. */
function sample(text: string, beginning: string): number | undefined {
  const line = text.split('\n').find((one) => one.startsWith(beginning));
  return line === undefined ? undefined : Number(line.slice(line.lastIndexOf(' ') + 1));
}

describe('a request', () => {
  test('is counted with its duration and its stages under model, version and arm', () => {
    const given = testTelemetry();
    serve(given);
    const { body } = given.telemetry.metrics();
    expect(sample(body, 'thalos_requests_total{model="eta",version="1",arm="stable",code="OK"}')).toBe(1);
    expect(sample(body, 'thalos_request_duration_seconds_sum{model="eta",version="1",arm="stable"}')).toBe(0.02);
    expect(sample(body, 'thalos_stage_duration_seconds_sum{model="eta",version="1",arm="stable",stage="decode"}')).toBe(0.005);
    expect(sample(body, 'thalos_stage_duration_seconds_sum{model="eta",version="1",arm="stable",stage="runtime"}')).toBe(0.015);
    expect(body).not.toContain('stage="vectors"');
  });

  test('that fails before a version is chosen is counted by its code', () => {
    const { telemetry } = testTelemetry();
    telemetry.begin(start()).end('INVALID_JSON');
    expect(sample(telemetry.metrics().body, 'thalos_requests_total{model="eta",version="none",arm="none",code="INVALID_JSON"}')).toBe(1);
  });

  test('for a model that nobody declared makes no label of what the caller invented', () => {
    const { telemetry } = testTelemetry();
    for (let index = 0; index < 100; index++) telemetry.begin(start({ model: `invented-${index}` })).end('UNKNOWN_MODEL');
    const { body } = telemetry.metrics();
    expect(body).not.toContain('invented');
    expect(sample(body, 'thalos_requests_total{model="other",version="none",arm="none",code="UNKNOWN_MODEL"}')).toBe(100);
  });

  test('is in flight until it ends, once', () => {
    const { telemetry } = testTelemetry();
    const request = telemetry.begin(start());
    expect(sample(telemetry.metrics().body, 'thalos_requests_in_flight{model="eta"}')).toBe(1);
    request.end();
    request.end('INTERNAL');
    expect(sample(telemetry.metrics().body, 'thalos_requests_in_flight{model="eta"}')).toBe(0);
    expect(telemetry.metrics().body).not.toContain('INTERNAL');
  });

  test('begins where its decoding began, before anybody knew the model', () => {
    const { telemetry, clock } = testTelemetry();
    const received = telemetry.now();
    clock.pass(8);
    const request = telemetry.begin(start());
    request.served('1', 'stable');
    request.stage('decode', received);
    request.end();
    expect(sample(telemetry.metrics().body, 'thalos_request_duration_seconds_sum{model="eta",version="1"')).toBe(0.008);
  });

  test('that visits a stage twice spent the time of both there', () => {
    const { telemetry, clock } = testTelemetry();
    const request = telemetry.begin(start());
    request.served('1', 'candidate');
    for (let visit = 0; visit < 2; visit++) {
      const from = telemetry.now();
      clock.pass(3);
      request.stage('runtime', from);
    }
    request.end();
    const { body } = telemetry.metrics();
    expect(sample(body, 'thalos_stage_duration_seconds_sum{model="eta",version="1",arm="candidate",stage="runtime"}')).toBe(0.006);
    expect(sample(body, 'thalos_stage_duration_seconds_count{model="eta",version="1",arm="candidate",stage="runtime"}')).toBe(1);
  });

  test('that streams has a time to its first token, a rate of the others, and counts', () => {
    const { telemetry, clock } = testTelemetry();
    const request = telemetry.begin(start({ operation: 'stream' }));
    request.served('1', 'stable');
    clock.pass(50);
    for (let piece = 0; piece < 11; piece++) {
      request.piece();
      clock.pass(10);
      request.tokens({ promptTokens: 7, completionTokens: piece + 1 });
    }
    request.end();
    const { body } = telemetry.metrics();
    expect(sample(body, 'thalos_time_to_first_token_seconds_sum')).toBe(0.05);
    // ten tokens in 110 ms
    expect(sample(body, 'thalos_tokens_per_second_sum')).toBeCloseTo(90.9, 1);
    expect(sample(body, 'thalos_prompt_tokens_total')).toBe(7);
    expect(sample(body, 'thalos_completion_tokens_total')).toBe(11);
  });

  test('counts unknown entities, defaulted features, and the age of the oldest row', async () => {
    const given = testTelemetry();
    serve(given, {}, await observed());
    const { body } = given.telemetry.metrics();
    // one of two drivers is unknown, and stands in two tensors
    expect(sample(body, 'thalos_feature_misses_total{group="drivers"}')).toBe(2);
    expect(sample(body, 'thalos_feature_defaults_total{feature="drivers.badge"}')).toBe(1);
    // the row is one minute old at noon, and the request ends 1.02 s after it
    expect(sample(body, 'thalos_feature_age_seconds_sum{model="eta",version="1"}')).toBeCloseTo(61.02, 5);
  });

  test('passes the context of a caller that does not sample on as it came', () => {
    const { telemetry } = testTelemetry();
    const request = telemetry.begin(start({ traceparent: NOT_SAMPLED }));
    expect([request.traceparent, request.traceId]).toEqual([NOT_SAMPLED, TRACE_ID]);
    const broken = telemetry.begin(start({ traceparent: 'what is this' }));
    expect([broken.traceparent, broken.traceId]).toEqual([undefined, undefined]);
  });
});

describe('a mirrored request', () => {
  test('has its duration, stages, code and difference counted under its version and an arm of its own', () => {
    const { telemetry, clock } = testTelemetry();
    const good = telemetry.beginShadow('eta', '2');
    clock.pass(5);
    const ran = telemetry.now();
    clock.pass(15);
    good.stage('runtime', ran);
    good.end();
    good.differs({ largest: 0.5, share: 0.25 });
    const bad = telemetry.beginShadow('eta', '2');
    bad.end('MODEL_FAILED');
    bad.differs({ largest: Infinity, share: 1 });
    const { body } = telemetry.metrics();
    expect(sample(body, 'thalos_requests_total{model="eta",version="2",arm="shadow",code="OK"}')).toBe(1);
    expect(sample(body, 'thalos_requests_total{model="eta",version="2",arm="shadow",code="MODEL_FAILED"}')).toBe(1);
    expect(sample(body, 'thalos_request_duration_seconds_sum{model="eta",version="2",arm="shadow"}')).toBe(0.02);
    expect(sample(body, 'thalos_stage_duration_seconds_sum{model="eta",version="2",arm="shadow",stage="runtime"}')).toBe(0.015);
    expect(sample(body, 'thalos_shadow_difference_count{model="eta",version="2"}')).toBe(2);
    expect(sample(body, 'thalos_shadow_differing_percent_sum{model="eta",version="2"}')).toBe(125);
  });

  test('is in nobody\'s log and record, and no demand of the service', () => {
    const logger = memoryLogger();
    const { telemetry } = testTelemetry({ logger, accessLog: { share: 1, slowMs: 0 } });
    const recorder = new RequestRecorder();
    telemetry.attach(recorder);
    const mirrored = telemetry.beginShadow('eta', '2');
    expect(telemetry.scaling().inFlight).toBe(0);
    expect(sample(telemetry.metrics().body, 'thalos_requests_in_flight{model="eta"}')).toBe(0);
    mirrored.end('INTERNAL');
    expect(telemetry.scaling()).toMatchObject({ qps: 0, latencyP95Ms: 0 });
    expect(logger.lines).toEqual([]);
    expect(recorder.requests()).toEqual([]);
  });
});

describe('events and gauges', () => {
  test('are counted and read by dependency', () => {
    const { telemetry } = testTelemetry();
    telemetry.count('retry', 'features');
    telemetry.count('retry', 'features', 4);
    telemetry.gauge('concurrency_limit', () => 16, 'runtime');
    telemetry.gauge('queued', () => 2);
    telemetry.gauge('queued', () => 1);
    const { body } = telemetry.metrics();
    expect(sample(body, 'thalos_retry_total{dependency="features"}')).toBe(5);
    expect(sample(body, 'thalos_concurrency_limit{dependency="runtime"}')).toBe(16);
    expect(sample(body, 'thalos_queued{dependency=""}')).toBe(3);
  });
});

describe('the numbers for autoscaling', () => {
  test('are those of the last 30 seconds, by pool', () => {
    const given = testTelemetry();
    const { telemetry, clock } = given;
    expect(telemetry.scaling()).toMatchObject({ latencyP95Ms: 0, qps: 0, inFlight: 0, queued: 0 });
    for (let request = 0; request < 500; request++) serve(given);
    telemetry.gauge('queued', () => 4);
    telemetry.gauge('candidates', () => 2);
    const open = telemetry.begin(start());
    telemetry.callBegins('shadow', telemetry.now());
    const { latencyP95Ms, qps, concurrency, inFlight, queued, candidates, pools } = telemetry.scaling();
    // 500 requests of 20 ms one after the other: 10 seconds, 50 a second, one under way all the time
    expect(latencyP95Ms / 20).toBeCloseTo(1, 1);
    expect(qps / 50).toBeCloseTo(1, 0);
    expect(concurrency).toBeCloseTo(1, 1);
    expect([inFlight, queued, candidates]).toEqual([1, 4, 2]);
    expect(pools.candidate).toMatchObject({ latencyP95Ms: 0, qps: 0, inFlight: 1 });
    open.end();
    clock.pass(40_000);
    expect(telemetry.scaling()).toMatchObject({ qps: 0, latencyP95Ms: 0 });
  });
});

describe('the access log', () => {
  const logged = (code: 'INTERNAL' | 'INVALID_JSON' | undefined, milliseconds: number, share = 0) => {
    const logger = memoryLogger();
    const { telemetry, clock } = testTelemetry({ logger, accessLog: { share } });
    const request = telemetry.begin(start({ traceparent: NOT_SAMPLED }));
    request.served('1', 'stable');
    const from = telemetry.now();
    clock.pass(milliseconds);
    request.stage('runtime', from);
    request.end(code);
    return logger.lines;
  };

  test('has every failure of ours, with its trace, version and stages', () => {
    expect(logged('INTERNAL', 3)).toEqual([{
      level: 'error',
      message: 'request failed',
      fields: {
        requestId: 'r-1',
        traceId: TRACE_ID,
        protocol: 'rest',
        operation: 'infer',
        model: 'eta',
        version: '1',
        arm: 'stable',
        code: 'INTERNAL',
        status: 500,
        durationMs: 3,
        stages: { runtime: 3 },
      },
    }]);
  });

  test('has every slow request, and of the others only the sampled', () => {
    expect(logged(undefined, 1000)).toMatchObject([{ level: 'warn', message: 'request was slow' }]);
    expect(logged(undefined, 999)).toEqual([]);
    expect(logged('INVALID_JSON', 1)).toEqual([]);
    expect(logged(undefined, 1, 1)).toMatchObject([{ level: 'info', fields: { status: 200 } }]);
  });

  test('shows no long text of a caller', () => {
    const logger = memoryLogger();
    const { telemetry } = testTelemetry({ logger, accessLog: { share: 1 } });
    telemetry.begin(start({ model: 'm'.repeat(5000) })).end('UNKNOWN_MODEL');
    expect(logger.lines[0].fields.model).toHaveLength(64);
  });
});

describe('telemetry closes', () => {
  test('within its bound, though a sink never answers', async () => {
    const { telemetry } = testTelemetry({
      declaration: { traces: 0, capture: 1, statistics: 0 },
      capture: { sink: { write: () => undefined, close: never } },
    });
    await telemetry.close(1);
  });

  test('once', async () => {
    let closed = 0;
    const { telemetry } = testTelemetry({
      declaration: { traces: 0, capture: 1, statistics: 0 },
      capture: {
        sink: {
          write: () => undefined,
          close: async () => {
            closed++;
          },
        },
      },
    });
    await Promise.all([telemetry.close(), telemetry.close()]);
    expect(closed).toBe(1);
  });
});

test.each([
  ['an EMF endpoint without a port', { emfEndpoint: 'agent' }],
  ['an OTLP endpoint that is no URL', { otlpEndpoint: 'agent:4318' }],
])('telemetry refuses %s', (_what, options) => {
  expect(() => testTelemetry(options)).toThrow('INVALID_CONFIGURATION');
});
