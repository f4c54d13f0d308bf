import { call, type Call } from './http.fixture';
import { createService, type Service, type ServiceOptions } from '../../../runtime/inference-service/service';
import {
  CONFIGURATION, EchoRuntime, FixedVectors, MANIFEST, MemoryFeatures, MemoryManifests, MemoryRollout, NOON, request, rolloutOf, SILENT, SURGE,
} from '../core/brain.fixture';

let features: MemoryFeatures;
let vectors: FixedVectors;
let runtime: EchoRuntime;
let rollout: MemoryRollout;
let service: Service;
let base: string;
const errors: object[] = [];

const serve = async (overrides: Partial<ServiceOptions> = {}) => {
  service = createService({
    configuration: CONFIGURATION,
    features,
    vectors,
    runtime,
    rollout,
    manifests: new MemoryManifests(MANIFEST, { ...MANIFEST, version: '2' }, SURGE),
    clock: { now: () => NOON + 60_000 },
    logger: { ...SILENT, error: (fields) => errors.push(fields) },
    retryMs: 1,
    ...overrides,
  });
  await service.start();
  base = await service.rest.listen({ host: '127.0.0.1', port: 0 });
};

beforeEach(async () => {
  errors.length = 0;
  features = new MemoryFeatures();
  features.put('drivers', '7', { rating: 4, trips: 100, active: true });
  features.put('drivers', '8', { rating: 3, trips: 50, active: true }, NOON - 1000);
  features.put('cars', '7', { seats: 6 });
  vectors = new FixedVectors();
  runtime = new EchoRuntime();
  rollout = new MemoryRollout(rolloutOf(MANIFEST, { ...MANIFEST, version: '2' }, SURGE));
  await serve();
});
afterEach(() => service.close());

const send = async (sent: Call) => {
  const { status, body } = await call(base, sent);
  return { status, body };
};
const get = (path: string) => send({ path });
const post = (payload: unknown, path = '/v2/models/eta/infer', headers: object = { 'content-type': 'application/json' }) => (
  send({ method: 'POST', path, headers: { ...headers }, payload: typeof payload === 'string' || Buffer.isBuffer(payload) ? payload : JSON.stringify(payload) })
);
const refused = (status: number, code: string) => ({ status, body: expect.objectContaining({ code, error: expect.stringMatching(`^${code}: .`) }) });

describe('infer', () => {
  test('gives the model the features and neighbours of each row, in the manifest\'s order', async () => {
    const { status, body } = await post(request({ id: 'r-1' }));
    expect(status).toBe(200);
    expect(body).toEqual({
      model_name: 'eta',
      model_version: '1',
      id: 'r-1',
      parameters: {
        model_version: '1',
        feature_as_of: new Date(NOON - 1000).toISOString(),
        index_generation: 'trips@g7',
        defaulted_features: 'cars.seats',
      },
      outputs: [
        { name: 'minutes', datatype: 'FP32', shape: [2], data: [expect.closeTo(1.5 + 4 + 100 + 6 + 34.9, 3), expect.closeTo(3 + 3 + 50 + 4 + 34.9, 3)] },
        { name: 'seen', datatype: 'BYTES', shape: [2], data: ['1.5 4 100 6 12.5 0.9 1 20 0.5 0', '3 3 50 4 12.5 0.9 1 20 0.5 0'] },
      ],
    });
    expect(vectors.queries).toEqual([[0, 1], [1, 1]]);
  });

  test('reads once for a request, each entity once', async () => {
    const inputs = request().inputs.map((input) => (input.name === 'driver' ? { ...input, data: [7, 7] } : input));
    await post({ inputs });
    expect(features.reads).toHaveLength(1);
    expect(features.reads[0].map(({ group, entity }) => [group.name, ...entity])).toEqual([['drivers', '7'], ['cars', '7']]);
  });

  test('explains what went into the answer when asked to', async () => {
    const { body } = await post(request({ parameters: { explain: true } }));
    expect(JSON.parse(body.parameters.enrichment)).toMatchObject({
      features: [{
        tensor: 'driver_features',
        rows: [
          [{ group: 'drivers', version: 1, entity: { driver: '7' }, event_time: '2026-01-01T12:00:00.000Z', values: { rating: 4, trips: 100 }, defaulted: [] }, { group: 'cars', values: { seats: 6 } }],
          [{ group: 'drivers', entity: { driver: '8' } }, { group: 'cars', event_time: null, values: { seats: 4 }, defaulted: ['seats'] }],
        ],
      }],
      vectors: [{ tensor: 'neighbours', index: 'trips', rows: [{ generation: 'g7', neighbours: vectors.answer.hits }, {}] }],
    });
  });

  test('shows no personal feature in an explanation', async () => {
    const personal = {
      ...MANIFEST,
      version: '3',
      inputs: MANIFEST.inputs.map((input) => (input.name === 'driver_features' ? { ...input, shape: [-1, 1] } : input)),
      enrichment: {
        ...MANIFEST.enrichment, features: [{ tensor: 'driver_features', keys: ['driver'], groups: [{ group: 'drivers', features: ['income'] }] }],
      },
    };
    await service.close();
    features.put('drivers', '7', { income: 123456 });
    await serve({ manifests: new MemoryManifests(personal), rollout: new MemoryRollout(rolloutOf(personal)) });
    const { body } = await post(request({ parameters: { explain: true } }));
    expect(body.parameters.enrichment).toContain('"income":"<personal>"');
    expect(body.parameters.enrichment).not.toContain('123456');
  });

  test('answers an approved version by name', async () => {
    expect((await post(request(), '/v2/models/eta/versions/2/infer')).body).toMatchObject({ model_version: '2', parameters: { model_version: '2' } });
  });

  test('answers the outputs asked for, in their order', async () => {
    const { body } = await post(request({ outputs: [{ name: 'seen' }] }));
    expect(body.outputs.map(({ name }: { name: string }) => name)).toEqual(['seen']);
    expect((await post(request({ outputs: [] }))).body.outputs).toHaveLength(2);
  });

  test('takes entity ids beyond 2^53 as decimal strings', async () => {
    features.put('drivers', '9007199254740993', { rating: 5, trips: 1 });
    const inputs = request().inputs.map((input) => (input.name === 'driver' ? { ...input, data: ['9007199254740993', 7] } : input));
    expect((await post({ inputs })).body.outputs[1].data[0]).toMatch(/^1\.5 5 1 4 /);
  });
});

describe('an entity without features', () => {
  const only = (driver: number) => ({
    inputs: [
      { name: 'distance', datatype: 'FP32', shape: [1, 1], data: [1] }, { name: 'driver', datatype: 'INT64', shape: [1], data: [driver] }, { name: 'route', datatype: 'FP32', shape: [1, 2], data: [0, 1] },
    ],
  });
  const serveFeatures = async (names: string[]) => {
    const manifest = {
      ...MANIFEST,
      inputs: MANIFEST.inputs.map((input) => (input.name === 'driver_features' ? { ...input, shape: [-1, names.length] } : input)),
      enrichment: { ...MANIFEST.enrichment, features: [{ tensor: 'driver_features', keys: ['driver'], groups: [{ group: 'drivers', features: names }] }] },
    };
    await service.close();
    await serve({ manifests: new MemoryManifests(manifest), rollout: new MemoryRollout(rolloutOf(manifest)) });
  };

  test('gets the declared defaults, and the answer says so', async () => {
    const { status, body } = await post(only(404));
    expect(status).toBe(200);
    expect(body.outputs[1].data[0]).toMatch(/^1 4\.5 0 4 /);
    expect(body.parameters.defaulted_features).toBe('drivers.rating,drivers.trips,cars.seats');
    expect(body.parameters).not.toHaveProperty('feature_as_of');
  });

  test('is unknown where a feature has no default, and the error names entity and group', async () => {
    await serveFeatures(['rating', 'odometer']);
    expect(await post(only(404))).toEqual({
      status: 404,
      body: {
        code: 'UNKNOWN_ENTITY', group: 'drivers', entity: { driver: '404' }, error: 'UNKNOWN_ENTITY: feature group \'drivers\' has no row for entity {"driver":"404"}',
      },
    });
  });

  test('is unknown where a feature is required, default or not', async () => {
    await serveFeatures(['rating', 'active']);
    expect(await post(only(404))).toEqual(refused(404, 'UNKNOWN_ENTITY'));
  });

  test('a row without a value takes the default, or is an error where there is none', async () => {
    features.put('drivers', '9', { trips: 5, rating: null });
    expect((await post(only(9))).body).toMatchObject({ parameters: { defaulted_features: 'drivers.rating,cars.seats' } });
    await serveFeatures(['trips', 'odometer']);
    expect(await post(only(9))).toEqual({ status: 422, body: expect.objectContaining({ code: 'FEATURE_MISSING', feature: 'odometer', group: 'drivers', entity: { driver: '9' } }) });
    await serveFeatures(['trips', 'active']);
    expect(await post(only(9))).toEqual(refused(422, 'FEATURE_MISSING'));
  });

  test('a value beyond its maxAge counts as absent, a feature without maxAge beside it does not', async () => {
    features.put('drivers', '9', { rating: 2, trips: 5 }, NOON + 60_000 - 3_600_000);
    expect((await post(only(9))).body.outputs[1].data[0]).toMatch(/^1 2 5 4 /);
    features.put('drivers', '9', { rating: 2, trips: 5 }, NOON + 60_000 - 3_600_001);
    const { body } = await post(only(9));
    expect(body.outputs[1].data[0]).toMatch(/^1 2 0 4 /);
    expect(body.parameters.defaulted_features).toBe('drivers.trips,cars.seats');
  });

  test('a stale value without a default is an error of its own', async () => {
    const configuration = structuredClone(CONFIGURATION);
    (configuration.featureGroups[0].features[5] as { maxAge?: number }).maxAge = 10;
    await service.close();
    const manifest = { ...MANIFEST, enrichment: { ...MANIFEST.enrichment, features: [{ tensor: 'driver_features', keys: ['driver'], groups: [{ group: 'drivers', features: ['rating', 'trips', 'odometer'] }] }] } };
    await serve({ configuration, manifests: new MemoryManifests(manifest), rollout: new MemoryRollout(rolloutOf(manifest)) });
    features.put('drivers', '9', { odometer: 5 });
    expect(await post(only(9))).toEqual({ status: 422, body: expect.objectContaining({ code: 'FEATURE_STALE', error: expect.stringMatching(/60 s old, its maxAge is 10 s/) }) });
  });

  test('a row beyond the group\'s ttl counts as absent', async () => {
    features.put('drivers', '9', { rating: 2 }, NOON + 60_000 - 86_400_000);
    expect((await post(only(9))).body.outputs[1].data[0]).toMatch(/^1 2 /);
    features.put('drivers', '9', { rating: 2 }, NOON + 60_000 - 86_400_000 - 1);
    expect((await post(only(9))).body.outputs[1].data[0]).toMatch(/^1 4\.5 /);
  });

  test('a stored value of another type is an error, never a number made of it', async () => {
    features.put('drivers', '9', { rating: 'five' });
    expect(await post(only(9))).toEqual(refused(500, 'INVALID_FEATURE_ROW'));
  });

  test('fewer neighbours than k are an error, or the declared fill', async () => {
    vectors.answer = { generation: 'g7', hits: vectors.answer.hits.slice(0, 1) };
    expect(await post(only(7))).toEqual(refused(422, 'TOO_FEW_NEIGHBOURS'));
    const filled = { ...MANIFEST, enrichment: { ...MANIFEST.enrichment, vectors: [{ ...MANIFEST.enrichment!.vectors![0], fill: -1 }] } };
    await service.close();
    await serve({ manifests: new MemoryManifests(filled), rollout: new MemoryRollout(rolloutOf(filled)) });
    expect((await post(only(7))).body.outputs[1].data[0]).toMatch(/ 12\.5 0\.9 1 -1 -1 -1$/);
  });

  test('a neighbour without a numeric field is an error', async () => {
    vectors.answer = { generation: 'g7', hits: [{ id: 'a', score: 1, fields: { rush: true } }, vectors.answer.hits[1]] };
    expect(await post(only(7))).toEqual({ status: 500, body: expect.objectContaining({ code: 'INVALID_VECTOR_HIT', field: 'minutes' }) });
  });
});

describe('a request that is not right', () => {
  const change = (name: string, fields: object) => ({
    inputs: request().inputs.map((input) => (input.name === name ? { ...input, ...fields } : input)),
  });

  test.each<[string, unknown, number, string]>([
    ['no JSON', '{', 400, 'INVALID_JSON'],
    ['an empty body', '', 400, 'INVALID_JSON'],
    ['no object', '[]', 400, 'INVALID_REQUEST'],
    ['no inputs', '{}', 400, 'INVALID_REQUEST'],
    ['empty inputs', { inputs: [] }, 400, 'INVALID_REQUEST'],
    ['an id that is no string', request({ id: 7 }), 400, 'INVALID_REQUEST'],
    ['an input without a name', { inputs: [{ datatype: 'FP32', shape: [1], data: [1] }] }, 400, 'INVALID_REQUEST'],
    ['an input without data', change('distance', { data: undefined }), 400, 'INVALID_REQUEST'],
    ['a missing input', { inputs: request().inputs.slice(1) }, 400, 'MISSING_INPUT'],
    ['an unknown input', { inputs: [...request().inputs, { name: 'other', datatype: 'FP32', shape: [2], data: [1, 2] }] }, 400, 'UNEXPECTED_INPUT'],
    ['an input that the brain fills', { inputs: [...request().inputs, { name: 'driver_features', datatype: 'FP32', shape: [2, 3], data: [1, 2, 3, 4, 5, 6] }] }, 400, 'UNEXPECTED_INPUT'],
    ['an input twice', { inputs: [...request().inputs, request().inputs[0]] }, 400, 'DUPLICATE_INPUT'],
    ['another datatype', change('distance', { datatype: 'FP64' }), 400, 'INVALID_DATATYPE'],
    ['an unknown datatype', change('distance', { datatype: 'FLOAT' }), 400, 'INVALID_DATATYPE'],
    ['a value of another type', change('distance', { data: ['1', '2'] }), 400, 'INVALID_DATA'],
    ['another number of dimensions', change('distance', { shape: [2] }), 400, 'INVALID_SHAPE'],
    ['another size', change('route', { shape: [2, 3], data: [1, 2, 3, 4, 5, 6] }), 400, 'INVALID_SHAPE'],
    ['a shape that its data does not fill', change('distance', { shape: [3, 1] }), 400, 'INVALID_SHAPE'],
    ['a negative dimension', change('distance', { shape: [-1, 1] }), 400, 'INVALID_SHAPE'],
    ['rows that differ', change('distance', { shape: [3, 1], data: [1, 2, 3] }), 400, 'INVALID_SHAPE'],
    ['no rows', { inputs: request().inputs.map((input) => ({ ...input, shape: [0, ...input.shape.slice(1)], data: [] })) }, 400, 'INVALID_SHAPE'],
    ['too many rows', { inputs: request().inputs.map((input) => ({ ...input, shape: [9, ...input.shape.slice(1)], data: new Array(9 * (input.shape[1] ?? 1)).fill(1) })) }, 400, 'BATCH_TOO_LARGE'],
    ['an unknown output', request({ outputs: [{ name: 'hours' }] }), 400, 'UNKNOWN_OUTPUT'],
    ['an output twice', request({ outputs: [{ name: 'seen' }, { name: 'seen' }] }), 400, 'INVALID_REQUEST'],
    ['explain that is no boolean', request({ parameters: { explain: 'yes' } }), 400, 'INVALID_PARAMETER'],
    ['parameters that are no object', request({ parameters: [] }), 400, 'INVALID_REQUEST'],
    ['an oversized body', request({ id: 'x'.repeat(64 * 1024) }), 413, 'BODY_TOO_LARGE'],
  ])('%s is refused', async (_, payload, status, code) => {
    expect(await post(payload)).toEqual(refused(status, code));
    expect(runtime.inputs).toHaveLength(0);
    expect(features.reads).toHaveLength(0);
    expect(errors).toEqual([]);
  });

  test('FP16 in JSON is refused', async () => {
    expect(await post({ inputs: [{ name: 'text', datatype: 'BYTES', shape: [1], data: ['a'] }, { name: 'half', datatype: 'FP16', shape: [1, 2], data: [1, 2] }] }, '/v2/models/surge/infer'))
      .toEqual(refused(400, 'UNSUPPORTED_DATATYPE'));
  });

  test('a zero query vector has no cosine', async () => {
    const configuration = { ...CONFIGURATION, vectorIndexes: [{ ...CONFIGURATION.vectorIndexes[0], similarity: 'cosine' as const }] };
    await service.close();
    await serve({ configuration });
    expect(await post(change('route', { data: [0, 1, 0, 0] }))).toEqual(refused(400, 'INVALID_DATA'));
  });

  test.each([
    ['text/plain', 415, 'UNSUPPORTED_MEDIA_TYPE'], ['application/x-www-form-urlencoded', 415, 'UNSUPPORTED_MEDIA_TYPE'], ['application/octet-stream', 415, 'UNSUPPORTED_MEDIA_TYPE'],
    ['nonsense', 415, 'UNSUPPORTED_MEDIA_TYPE'],
  ])('content type %s is refused', async (type, status, code) => {
    expect(await post(request(), '/v2/models/eta/infer', { 'content-type': type })).toEqual(refused(status, code));
  });

  test('a compressed body is refused', async () => {
    expect(await post(Buffer.from([31, 139]), '/v2/models/eta/infer', { 'content-type': 'application/json', 'content-encoding': 'gzip' }))
      .toEqual(refused(415, 'UNSUPPORTED_MEDIA_TYPE'));
  });

  test('text that is not UTF-8 is refused, not repaired', async () => {
    const payload = Buffer.from(JSON.stringify(request({ id: 'ÿ' })), 'latin1');
    expect(await post(payload)).toEqual(refused(400, 'INVALID_JSON'));
  });

  test.each([
    ['GET', '/', 404, 'ROUTE_NOT_FOUND'], ['GET', '/metrics', 404, 'ROUTE_NOT_FOUND'], ['GET', '/v2/models', 404, 'ROUTE_NOT_FOUND'], ['POST', '/v2/models/eta/answer', 404, 'ROUTE_NOT_FOUND'],
    ['GET', '/v2/models/eta/infer', 405, 'METHOD_NOT_ALLOWED'], ['POST', '/v2', 405, 'METHOD_NOT_ALLOWED'], ['DELETE', '/v2/models/eta', 405, 'METHOD_NOT_ALLOWED'], ['PUT', '/v2/models/eta/versions/1/infer', 405, 'METHOD_NOT_ALLOWED'],
    ['GET', '/v2/models/%E0%A4%A', 400, 'INVALID_PATH'],
    ['GET', '/v2/models/..%2F..%2Fetc', 404, 'UNKNOWN_MODEL'], ['GET', '/v2/models/eta%00', 404, 'UNKNOWN_MODEL'], ['GET', '/v2/models/%F0%9F%9A%97', 404, 'UNKNOWN_MODEL'],
    ['GET', '/v2/models/__proto__/ready', 404, 'UNKNOWN_MODEL'], ['GET', `/v2/models/${'x'.repeat(1000)}`, 404, 'UNKNOWN_MODEL'],
    ['GET', '/v2/models/eta/versions/9', 404, 'UNKNOWN_VERSION'], ['GET', '/v2/models/eta/versions/01/ready', 404, 'UNKNOWN_VERSION'], ['GET', '/v2/models/eta/versions/..%2F1', 404, 'UNKNOWN_VERSION'],
  ] as const)('%s %s is refused', async (method, url, status, code) => {
    const answer = await call(base, { method, path: url });
    expect(answer).toMatchObject(refused(status, code));
    if (status === 405) expect(answer.headers.allow).toMatch(/^(GET|POST)$/);
  });

  test('an unknown model or version is refused in infer as well', async () => {
    expect(await post(request(), '/v2/models/other/infer')).toEqual(refused(404, 'UNKNOWN_MODEL'));
    expect(await post(request(), '/v2/models/eta/versions/3/infer')).toEqual(refused(404, 'UNKNOWN_VERSION'));
  });
});

describe('a part that fails', () => {
  test('a slow runtime ends at the request timeout, and the work is told to stop', async () => {
    await service.close();
    await serve({ configuration: { ...CONFIGURATION, limits: { ...CONFIGURATION.limits, requestTimeoutMs: 20 } } });
    const stopped = new Promise<AbortSignal>((resolve) => {
      runtime.inferring = (signal) => new Promise(() => signal!.addEventListener('abort', () => resolve(signal!)));
    });
    expect(await post(request())).toEqual(refused(504, 'DEADLINE_EXCEEDED'));
    expect((await stopped).reason).toMatchObject({ code: 'DEADLINE_EXCEEDED' });
  });

  test('an error without a code shows nothing of itself to the caller, and all to the log', async () => {
    runtime.inferring = async () => {
      throw new TypeError('secret of the house');
    };
    const { status, body } = await post(request());
    expect({ status, body }).toEqual(refused(500, 'INTERNAL'));
    expect(JSON.stringify(body)).not.toContain('secret');
    expect(errors).toContainEqual(expect.objectContaining({ code: 'INTERNAL', cause: expect.stringContaining('secret of the house') }));
  });

  test('an output that is not the declared one is the runtime\'s fault', async () => {
    runtime.infer = async () => [{ name: 'minutes', datatype: 'FP32', shape: [2], data: Float32Array.of(1) }];
    expect(await post(request())).toEqual(refused(500, 'INVALID_MODEL_OUTPUT'));
    runtime.infer = async () => [];
    expect(await post(request())).toEqual(refused(500, 'INVALID_MODEL_OUTPUT'));
  });

  test('a service without a store that a model needs says so', async () => {
    await service.close();
    await serve({ features: undefined });
    expect(await post(request())).toEqual(refused(500, 'INVALID_CONFIGURATION'));
  });
});

describe('health and metadata', () => {
  test('server metadata', async () => {
    expect(await get('/v2')).toEqual({ status: 200, body: { name: 'thalos-brain', version: expect.any(String), extensions: ['binary_tensor_data', 'generate'] } });
  });

  test('the OpenAPI document is served', async () => {
    const { status, body } = await get('/openapi.json');
    expect({ status, openapi: body.openapi, infer: body.paths['/v2/models/{model}/infer'].post.operationId }).toEqual({ status: 200, openapi: '3.1.0', infer: expect.any(String) });
  });

  test('a model shows its public signature and the approved versions', async () => {
    expect(await get('/v2/models/eta')).toEqual({
      status: 200,
      body: {
        name: 'eta',
        versions: ['1', '2'],
        platform: 'onnx_onnxv1',
        inputs: [{ name: 'distance', datatype: 'FP32', shape: [-1, 1] }, { name: 'driver', datatype: 'INT64', shape: [-1] }, { name: 'route', datatype: 'FP32', shape: [-1, 2] }],
        outputs: [{ name: 'minutes', datatype: 'FP32', shape: [-1] }, { name: 'seen', datatype: 'BYTES', shape: [-1] }],
      },
    });
    expect((await get('/v2/models/eta/versions/2')).body).toMatchObject({ versions: ['2'] });
  });

  test('live and ready', async () => {
    expect(await get('/v2/health/live')).toEqual({ status: 200, body: { live: true } });
    expect(await get('/v2/health/ready')).toEqual({ status: 200, body: { ready: true } });
    expect(await get('/v2/models/eta/ready')).toEqual({ status: 200, body: { name: 'eta', ready: true } });
  });

  test('a version that fails later is not ready, the pod still is', async () => {
    runtime.broken.add('eta/2');
    expect(await get('/v2/models/eta/versions/2/ready')).toEqual(refused(503, 'MODEL_NOT_READY'));
    expect(await get('/v2/models/eta/ready')).toMatchObject({ status: 200 });
    expect(await get('/v2/health/ready')).toMatchObject({ status: 200 });
  });

  test('a brain without a released model is live and ready, its models are not, and infer says so', async () => {
    await service.close();
    await serve({ rollout: new MemoryRollout(rolloutOf()) });
    expect(await get('/v2/health/live')).toMatchObject({ status: 200 });
    expect(await get('/v2/health/ready')).toMatchObject({ status: 200 });
    expect(await get('/v2/models/eta')).toEqual(refused(503, 'MODEL_NOT_READY'));
    expect(await get('/v2/models/eta/ready')).toEqual(refused(503, 'MODEL_NOT_READY'));
    expect(await post(request())).toEqual(refused(503, 'MODEL_NOT_READY'));
    expect(await post(request(), '/v2/models/eta/versions/1/infer')).toEqual(refused(503, 'MODEL_NOT_READY'));
  });

  test('a process whose stable version is not loaded is live, not ready', async () => {
    await service.close();
    runtime.broken.add('eta/1');
    await serve();
    expect(await get('/v2/health/live')).toMatchObject({ status: 200 });
    expect(await get('/v2/health/ready')).toEqual({ status: 503, body: expect.objectContaining({ ready: false, code: 'MODEL_NOT_READY' }) });
  });

  test('a process that drains is live, not ready, and answers on', async () => {
    service.drain();
    expect(await get('/v2/health/live')).toMatchObject({ status: 200 });
    expect(await get('/v2/health/ready')).toEqual({ status: 503, body: expect.objectContaining({ ready: false, code: 'SHUTTING_DOWN' }) });
    expect(await post(request())).toMatchObject({ status: 200 });
  });

  test('the probe port knows live and ready, nothing else', async () => {
    const probes = await service.probes.listen({ host: '127.0.0.1', port: 0 });
    const probe = async (path: string) => (await call(probes, { path })).status;
    expect(await Promise.all(['/v2/health/live', '/v2/health/ready', '/v2', '/v2/models/eta', '/v2/models/eta/infer'].map(probe))).toEqual([200, 200, 404, 404, 404]);
  });
});
