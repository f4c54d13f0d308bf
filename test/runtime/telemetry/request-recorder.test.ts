import { observed, serve, start, testTelemetry } from './telemetry.fixture';
import { type RecordedRequest, RequestRecorder } from '../../../runtime/telemetry/request-recorder';

describe('the request recorder', () => {
  test('has the stages, tensors, features and neighbours of a request', async () => {
    const given = testTelemetry();
    const recorder = new RequestRecorder();
    given.telemetry.attach(recorder);
    serve(given, {}, await observed({ parameters: { model_version: '1' } }));
    const [request] = recorder.requests();
    expect(request).toMatchObject({
      requestId: 'r-1',
      model: 'eta',
      version: '1',
      arm: 'stable',
      code: undefined,
      durationMs: 20,
      parameters: { model_version: '1' },
      stages: [{ stage: 'decode', offsetMs: 0, durationMs: 5 }, { stage: 'runtime', offsetMs: 5, durationMs: 15 }],
    });
    expect(request.inputs.find(({ name }) => name === 'driver')).toEqual({ name: 'driver', datatype: 'INT64', shape: [2], head: ['7', '8'] });
    expect(request.enriched.map(({ name, shape }) => [name, shape])).toEqual([['driver_features', [2, 3]], ['badges', [2, 1]], ['neighbours', [2, 2, 3]]]);
    expect(request.enriched[0].head).toEqual([4, 3, '<personal>', expect.any(Number), expect.any(Number), '<personal>']);
    expect(request.outputs.map(({ name }) => name)).toEqual(['minutes', 'seen']);
    const { features, vectors } = request.enrichment as {
      features: { rows: { values: object }[][] }[];
      vectors: { rows: { neighbours: object[] }[] }[];
    };
    expect(features[0].rows[0][0].values).toEqual({ rating: 4, trips: 3, income: '<personal>' });
    expect(vectors[0].rows[0].neighbours).toHaveLength(2);
    // the console is sent it as JSON
    expect(JSON.parse(JSON.stringify(request))).toMatchObject({ requestId: 'r-1' });
  });

  test('has a request that failed before a version was chosen', () => {
    const { telemetry } = testTelemetry();
    const recorder = new RequestRecorder();
    telemetry.attach(recorder);
    telemetry.begin(start()).end('UNKNOWN_MODEL');
    expect(recorder.requests()).toMatchObject([{ code: 'UNKNOWN_MODEL', version: undefined, stages: [], outputs: [] }]);
  });

  test('keeps the last ones, newest first', () => {
    const given = testTelemetry();
    const recorder = new RequestRecorder(3);
    given.telemetry.attach(recorder);
    for (let request = 0; request < 5; request++) serve(given, { requestId: `r-${request}` });
    expect(recorder.requests().map(({ requestId, sequence }) => [requestId, sequence])).toEqual([['r-4', 5], ['r-3', 4], ['r-2', 3]]);
  });

  test('is told nothing once it is detached', () => {
    const given = testTelemetry();
    const recorder = new RequestRecorder();
    const detach = given.telemetry.attach(recorder);
    detach();
    serve(given);
    expect(recorder.requests()).toEqual([]);
  });

  test('tells its listeners, and leaves out one that throws', () => {
    const given = testTelemetry();
    const recorder = new RequestRecorder();
    given.telemetry.attach(recorder);
    const heard: RecordedRequest[] = [];
    let thrown = 0;
    recorder.subscribe(() => {
      thrown++;
      throw new Error('gone');
    });
    const stop = recorder.subscribe((_, written) => heard.push(written()));
    serve(given);
    serve(given);
    stop();
    serve(given);
    expect(heard).toHaveLength(2);
    expect(thrown).toBe(1);
  });

  test('shows the beginning of a large tensor only', async () => {
    const given = testTelemetry();
    const recorder = new RequestRecorder();
    given.telemetry.attach(recorder);
    const data = new Float32Array(100_000).fill(NaN);
    serve(given, {}, { ...await observed(), outputs: [{ name: 'image', datatype: 'FP32', shape: [1, 100_000], data }] });
    expect(recorder.requests()[0].outputs).toEqual([{ name: 'image', datatype: 'FP32', shape: [1, 100_000], head: new Array(32).fill('NaN') }]);
  });
});
