import { readFileSync, writeFileSync } from 'node:fs';
import { get as httpGet, type IncomingMessage } from 'node:http';
import { NOW, oneRow, startConsole, type TestConsole } from './console.fixture';
import { NOON } from '../core/brain.fixture';

let brain: TestConsole;

beforeEach(async () => {
  brain = await startConsole();
});
afterEach(() => brain.close());

const put = (body: unknown, digest: string, model = 'eta') => brain.change('PUT', `/console/api/rollout/${model}`, body, { 'if-match': `"${digest}"` });
const document = () => JSON.parse(readFileSync(brain.data.rollout, 'utf8')) as { models: Record<string, unknown> };
const canary = (weight: number) => ({ stable: '1', candidate: { version: '2', weight, mode: 'canary' } });
const refused = (status: number, code: string) => ({ status, body: expect.objectContaining({ code }) });

describe('the pages', () => {
  test.each([['/console', 'text/html'], ['/console/', 'text/html'], ['/console?x=1', 'text/html'], ['/console/app.js', 'text/javascript'], ['/console/console.css', 'text/css'], ['/console/icon.svg', 'image/svg+xml']])('%s is %s', async (path, type) => {
    const { status, headers, bytes } = await brain.get(path);
    expect(status).toBe(200);
    expect(headers['content-type']).toBe(`${type}; charset=utf-8`);
    expect(bytes.length).toBeGreaterThan(200);
  });

  test('run only what comes from the brain itself, in nobody\'s frame', async () => {
    const { headers } = await brain.get('/console');
    expect(headers['content-security-policy']).toMatch(/^default-src 'none'; script-src 'self'; style-src 'self'; /);
    expect(headers['content-security-policy']).toContain("frame-ancestors 'none'");
    expect(headers['content-security-policy']).not.toContain('unsafe');
    expect(headers).toMatchObject({ 'x-content-type-options': 'nosniff', 'cross-origin-resource-policy': 'same-origin', 'cache-control': 'no-store' });
  });

  test('refer to nothing outside of the brain', async () => {
    for (const file of ['', '/app.js', '/console.css', '/models.js', '/login.html']) {
      const text = (await brain.get(`/console${file}`)).bytes.toString();
      expect(text.match(/(https?:)?\/\/[a-z0-9.-]+\.[a-z]+/gi) ?? []).toEqual([]);
      expect(text).not.toMatch(/<script(?! type="module" src="\/console\/)|<style| style="| on[a-z]+="/);
    }
  });

  test.each([['/console/none.js'], ['/console/..%2Fpackage.json'], ['/console/../../package.json'], ['/console/api/none'], ['/console/api/requests/1/2']])('there is no %s', async (path) => {
    expect(await brain.get(path)).toMatchObject(refused(404, 'ROUTE_NOT_FOUND'));
  });

  test('leave paths that only begin alike to the service', async () => {
    expect(await brain.get('/consoles')).toMatchObject(refused(404, 'ROUTE_NOT_FOUND'));
    expect((await brain.get('/v2')).status).toBe(200);
  });
});

describe('the rollout', () => {
  test('is shown with what each version\'s manifest says', async () => {
    const { body } = await brain.get('/console/api/rollout');
    expect(body.digest).toMatch(/^sha256:/);
    expect(body.models.map(({ name, stable }: { name: string; stable: string | null }) => [name, stable])).toEqual([['eta', '1'], ['surge', '1'], ['later', null]]);
    expect(body.models[0].versions).toMatchObject([
      { version: '2', role: 'approved', about: { platform: 'onnx', evaluation: { mae: 1.5 }, inputs: ['distance', 'driver', 'route'], flags: [] } },
      { version: '1', role: 'stable' },
    ]);
    expect(body.models[1].versions[0]).not.toHaveProperty('about');
  });

  test('changes, and requests follow at once', async () => {
    expect(await brain.infer('a')).toBe('1');
    const { status, body } = await put(canary(100), await brain.digest());
    expect(status).toBe(200);
    expect(body.models[0]).toMatchObject({ stable: '1', candidate: { version: '2', weight: 100, mode: 'canary' } });
    expect(body.digest).toBe(await brain.digest());
    expect(document().models.eta).toMatchObject(canary(100));
    expect(await brain.infer('b')).toBe('2');
  });

  test('keeps the approved versions and the other models, whatever is changed', async () => {
    const before = document();
    await put({ stable: '2', flags: { neighbours: false } }, await brain.digest());
    const { eta, ...others } = document().models as Record<string, { versions: object; flags: object; stable: string }>;
    expect(eta).toEqual({ stable: '2', versions: (before.models.eta as typeof eta).versions, flags: { neighbours: false } });
    expect(others).toEqual({ surge: before.models.surge });
  });

  test('promotes and withdraws a candidate', async () => {
    await put(canary(5), await brain.digest());
    await put({ stable: '2' }, await brain.digest());
    expect(document().models.eta).not.toHaveProperty('candidate');
    expect(await brain.infer('a')).toBe('2');
  });

  test.each([
    ['a version that is not approved', { stable: '9' }],
    ['a candidate that is stable', { stable: '1', candidate: { version: '1', weight: 1, mode: 'canary' } }],
    ['a weight above 100', canary(101)],
    ['half a blue/green switch', { stable: '1', candidate: { version: '2', weight: 50, mode: 'blueGreen' } }],
    ['a mode that is none', { stable: '1', candidate: { version: '2', weight: 50, mode: 'half' } }],
    ['a sticky key that is none', { stable: '1', candidate: { version: '2', weight: 50, mode: 'ab', stickyKey: 'moon' } }],
    ['versions of its own', { stable: '1', versions: {} }],
    ['no stable version', {}],
    ['a list', []],
    ['null', null],
    ['a candidate that is null', { stable: '1', candidate: null }],
    ['flags that are no booleans', { stable: '1', flags: { a: 1 } }],
  ])('refuses %s, and leaves the file as it was', async (_, body) => {
    const before = readFileSync(brain.data.rollout, 'utf8');
    expect(await put(body, await brain.digest())).toMatchObject(refused(400, 'INVALID_PARAMETER'));
    expect(readFileSync(brain.data.rollout, 'utf8')).toBe(before);
  });

  test('refuses models that are not declared or not released', async () => {
    const digest = await brain.digest();
    expect(await put({ stable: '1' }, digest, 'moon')).toMatchObject(refused(404, 'UNKNOWN_MODEL'));
    expect(await put({ stable: '1' }, digest, 'later')).toMatchObject(refused(503, 'MODEL_NOT_READY'));
    expect(await put({ stable: '1' }, digest, '%')).toMatchObject(refused(400, 'INVALID_PATH'));
    expect(await put({ stable: '1' }, digest, '__proto__')).toMatchObject(refused(404, 'UNKNOWN_MODEL'));
  });

  test('needs to be told which document a change is made for', async () => {
    expect(await brain.change('PUT', '/console/api/rollout/eta', { stable: '2' })).toMatchObject(refused(400, 'INVALID_PARAMETER'));
  });

  test('takes one of two changes that were made for the same document', async () => {
    const digest = await brain.digest();
    const answers = await Promise.all([put(canary(10), digest), put(canary(20), digest), put({ stable: '1', flags: { a: false } }, digest)]);
    expect(answers.map(({ status }) => status).sort()).toEqual([200, 412, 412]);
    expect(answers.filter(({ status }) => status === 412).map(({ body }) => body.code)).toEqual(['ROLLOUT_CHANGED', 'ROLLOUT_CHANGED']);
    expect(await brain.digest()).toBe(answers.find(({ status }) => status === 200)!.body.digest);
  });

  test('refuses a change made for a document that somebody has replaced on the disk since', async () => {
    const digest = await brain.digest();
    writeFileSync(brain.data.rollout, JSON.stringify({ ...document(), models: { ...document().models, surge: undefined } }));
    expect(await put(canary(10), digest)).toMatchObject(refused(412, 'ROLLOUT_CHANGED'));
    expect(Object.keys(document().models)).toEqual(['eta']);
  });

  test('waits for no other process that is changing it', async () => {
    const digest = await brain.digest();
    const lock = brain.data.lock('models');
    expect(await put(canary(10), digest)).toMatchObject(refused(409, 'ROLLOUT_BUSY'));
    lock.release();
    expect((await put(canary(10), digest)).status).toBe(200);
  });

  test('is never written over while the file is broken, and what is wrong is shown', async () => {
    const digest = await brain.digest();
    writeFileSync(brain.data.rollout, '{"schemaVersion":"1"');
    const { status, body } = await brain.get('/console/api/rollout');
    expect({ status, digest: body.digest, stable: body.models[0].stable }).toEqual({ status: 200, digest: null, stable: '1' });
    expect(body.problem).toMatch(/^INVALID_ROLLOUT: /);
    expect(await put(canary(10), digest)).toMatchObject(refused(500, 'INVALID_ROLLOUT'));
    expect(readFileSync(brain.data.rollout, 'utf8')).toBe('{"schemaVersion":"1"');
  });
});

describe('the request tracer', () => {
  test('lists the last requests and shows all of one', async () => {
    await brain.infer('first');
    await brain.infer('second');
    const { requests } = (await brain.get('/console/api/requests')).body;
    expect(requests).toMatchObject([{ sequence: 2, requestId: 'second', model: 'eta', version: '1', arm: 'stable' }, { sequence: 1, requestId: 'first' }]);
    expect(requests[0]).not.toHaveProperty('inputs');
    const { status, body } = await brain.get('/console/api/requests/1');
    expect(status).toBe(200);
    expect(body).toMatchObject({
      requestId: 'first',
      parameters: { model_version: '1', index_generation: 'trips@1' },
      enrichment: {
        features: [{ tensor: 'driver_features', rows: [[{ group: 'drivers', entity: { driver: '7' }, values: { rating: 4, trips: 100 } }, { group: 'cars', values: { seats: 6 } }]] }],
        vectors: [{ index: 'trips', rows: [{ generation: '1', neighbours: [{ id: 'near' }, { id: 'next' }] }] }],
      },
      inputs: [{ name: 'distance', shape: [1, 1], head: [1.5] }, { name: 'driver', head: ['7'] }, { name: 'route' }],
      enriched: [{ name: 'driver_features', head: [4, 100, 6] }, { name: 'neighbours' }],
    });
    expect(body.stages.map(({ stage }: { stage: string }) => stage)).toEqual(expect.arrayContaining(['decode', 'features', 'vectors', 'runtime', 'encode']));
    expect(await brain.get('/console/api/requests/99')).toMatchObject(refused(404, 'ROUTE_NOT_FOUND'));
  });

  test('is told what is new while it listens, and ends with the brain', async () => {
    const stream = await new Promise<IncomingMessage>((resolve) => httpGet(`${brain.url}/console/api/events`, { agent: false }, resolve));
    expect(stream.headers['content-type']).toBe('text/event-stream; charset=utf-8');
    let text = '';
    const heard = new Promise<void>((resolve) => stream.setEncoding('utf8').on('data', (piece: string) => {
      text += piece;
      if (text.includes('event: requests') && text.includes('event: rollout')) resolve();
    }));
    await brain.infer('seen');
    await put(canary(1), await brain.digest());
    await heard;
    const [, data] = /event: requests\ndata: (.+)\n\n/.exec(text)!;
    expect(JSON.parse(data)).toMatchObject([{ requestId: 'seen', model: 'eta' }]);
    const ended = new Promise((resolve) => stream.once('end', resolve));
    await brain.close();
    await ended;
    brain = await startConsole();
  });

  test('takes a bounded number of listeners', async () => {
    const open = () => new Promise<IncomingMessage>((resolve) => httpGet(`${brain.url}/console/api/events`, { agent: false }, resolve));
    const streams = await Promise.all(Array.from({ length: 17 }, open));
    expect(streams.map(({ statusCode }) => statusCode).sort()).toEqual([...new Array(16).fill(200), 503]);
    for (const stream of streams) stream.destroy();
  });

  test('sends a request through the console as through REST', async () => {
    const { status, body } = await brain.change('POST', '/console/api/v2/models/eta/infer', { inputs: oneRow() }, { 'x-request-id': 'from-the-console' });
    expect({ status, version: body.model_version }).toEqual({ status: 200, version: '1' });
    expect((await brain.get('/console/api/requests')).body.requests).toMatchObject([{ requestId: 'from-the-console' }]);
    expect((await brain.get('/console/api/v2/models/eta/versions/1/ready')).body).toEqual({ name: 'eta', ready: true });
  });
});

describe('traffic', () => {
  test('counts requests by version, their latencies and errors, and the split since the last change', async () => {
    await brain.infer('a');
    await brain.infer('b');
    await put(canary(100), await brain.digest());
    await brain.infer('c');
    await brain.change('POST', '/v2/models/eta/infer', { inputs: [] });
    await brain.change('POST', '/v2/models/moon/infer', { inputs: [] });
    const { body } = await brain.get('/console/api/traffic?minutes=5');
    expect(body.series.map(({ model, version, count, errors }: Record<string, unknown>) => [model, version, count, errors])).toEqual([
      ['eta', '1', 2, {}], ['eta', '2', 1, {}], ['eta', 'none', 1, { INVALID_REQUEST: 1 }],
    ]);
    const [{ points, histogram, p50 }] = body.series;
    const quantiles = { p50: expect.any(Number), p95: expect.any(Number), p99: expect.any(Number) };
    expect(points).toEqual([{ at: Math.floor(NOW / 5000) * 5000, count: 2, errors: 0, ...quantiles }]);
    expect(histogram.reduce((sum: number, bar: { count: number }) => sum + bar.count, 0)).toBe(2);
    expect(p50).toBeGreaterThan(0);
    expect(body.splits.find(({ model }: { model: string }) => model === 'eta').versions).toEqual([{ version: '2', arm: 'candidate', count: 1 }]);
  });

  test('refuses a time that is none', async () => {
    expect(await brain.get('/console/api/traffic?minutes=soon')).toMatchObject(refused(400, 'INVALID_PARAMETER'));
  });
});

describe('the feature browser', () => {
  const row = async (key: string, group = 'drivers') => brain.get(`/console/api/features/${group}/row?key=${key}`);
  const feature = (body: { features: { name: string }[] }, name: string) => body.features.find((each) => each.name === name);

  test('lists entities by the beginning of their key', async () => {
    expect((await brain.get('/console/api/features/drivers/entities')).body).toEqual({ entities: [['7'], ['70'], ['8']], more: false });
    expect((await brain.get('/console/api/features/drivers/entities?prefix=7')).body.entities).toEqual([['7'], ['70']]);
    expect((await brain.get('/console/api/features/drivers/entities?after=7')).body.entities).toEqual([['70'], ['8']]);
    expect((await brain.get('/console/api/features/cars/entities')).body.entities).toEqual([['7']]);
  });

  test('shows a row as a request would meet it', async () => {
    const { body } = await row('7');
    expect(body).toMatchObject({ group: 'drivers', version: 1, entity: { driver: '7' }, eventTime: NOON, expiresAt: NOON + 86_400_000 });
    expect(feature(body, 'trips')).toMatchObject({ stored: 100, state: 'fresh', outcome: 'value', maxAge: 3600 });
    expect(feature(body, 'badge')).toMatchObject({ stored: null, default: 'none', state: 'absent', outcome: 'default' });
    expect(feature(body, 'odometer')).toMatchObject({ stored: null, default: null, state: 'absent', outcome: 'error' });
  });

  test('says which values are too old, expired, or required', async () => {
    expect(feature((await row('70')).body, 'trips')).toMatchObject({ stored: 50, state: 'stale', outcome: 'default', default: 0 });
    const { body } = await row('8');
    expect(feature(body, 'trips')).toMatchObject({ state: 'expired', outcome: 'default' });
    expect(feature(body, 'active')).toMatchObject({ state: 'expired', required: true, outcome: 'error' });
    expect((await row('9')).body).toMatchObject({ eventTime: null, features: expect.arrayContaining([expect.objectContaining({ name: 'rating', state: 'absent', default: 4.5 })]) });
  });

  test('shows personal values as their class', async () => {
    const { body, bytes } = await row('7');
    expect(feature(body, 'income')).toMatchObject({ stored: '<personal>', default: '<personal>', piiClass: 'personal' });
    expect(bytes.toString()).not.toContain('51234');
  });

  test.each([['a group that is none', '/console/api/features/moon/row?key=1', 404], ['no key', '/console/api/features/drivers/row', 400], ['a key that is no int64', '/console/api/features/drivers/row?key=x', 400]])('refuses %s', async (_, path, status) => {
    expect((await brain.get(path)).status).toBe(status);
  });
});

describe('the vector browser', () => {
  const nearest = (body: unknown, index = 'trips') => brain.change('POST', `/console/api/vectors/${index}/nearest`, body);

  test('lists indexes and documents', async () => {
    expect((await brain.get('/console/api/vectors')).body.indexes).toMatchObject([{ name: 'trips', generation: '1', count: 3, dimension: 2, similarity: 'l2' }]);
    expect((await brain.get('/console/api/vectors/trips/documents')).body).toMatchObject({ generation: '1', documents: [{ id: 'near' }, { id: 'next' }, { id: 'far' }], more: false });
    expect((await brain.get('/console/api/vectors/trips/documents?prefix=n&from=1')).body.documents).toEqual([{ id: 'next', fields: { minutes: 20, rush: false, city: 'Graz' } }]);
  });

  test('finds what is near to a document or to a vector, through a filter', async () => {
    const ids = async (body: unknown) => ((await nearest(body)).body.hits as { id: string }[]).map(({ id }) => id);
    expect(await ids({ id: 'near', k: 2 })).toEqual(['near', 'next']);
    expect(await ids({ vector: [5, 4] })).toEqual(['far', 'next', 'near']);
    expect(await ids({ vector: [0, 0], filter: [{ field: 'city', values: ['Graz'] }] })).toEqual(['next', 'far']);
    expect(await ids({ vector: [0, 0], filter: [{ field: 'city', values: ['Graz'] }, { field: 'rush', values: [true] }] })).toEqual(['far']);
    expect((await nearest({ id: 'far', k: 1 })).body).toMatchObject({ generation: '1', vector: [5, 5], hits: [{ id: 'far', score: 1 }] });
  });

  test.each([
    ['a document that is none', { id: 'moon' }], ['another dimension', { vector: [1] }], ['no vector', {}], ['null', null], ['what is no number', { vector: [1, 'a'] }], ['a number beyond single precision', { vector: [1, 1e39] }],
    ['k of none', { id: 'near', k: 0 }], ['k of many', { id: 'near', k: 101 }], ['a filter that is none', { id: 'near', filter: {} }],
    ['a field that is none', { id: 'near', filter: [{ field: 'moon', values: [1] }] }], ['a value of another type', { id: 'near', filter: [{ field: 'rush', values: ['yes'] }] }],
    ['no values', { id: 'near', filter: [{ field: 'city', values: [] }] }],
  ])('refuses %s', async (_, body) => {
    expect(await nearest(body)).toMatchObject(refused(400, 'INVALID_PARAMETER'));
  });

  test('refuses an index that is none', async () => {
    expect((await nearest({ id: 'near' }, 'moon')).status).toBe(404);
  });
});
