/** The document that the service serves, held against what the service answers: every route of it, successes and refusals. */
import Ajv2020 from 'ajv/dist/2020';
import { type Answer, call, type Call } from './http.fixture';
import type { Authenticator } from '../../../runtime/core/caller';
import { refuse } from '../../../runtime/core/errors';
import type { ModelRef } from '../../../runtime/core/ports';
import type { Tensor } from '../../../runtime/core/tensors';
import { createService, type Service } from '../../../runtime/inference-service/service';
import type { ModelManifest } from '../../../src/contract';
import {
  CONFIGURATION, EchoRuntime, FixedVectors, MANIFEST, MemoryFeatures, MemoryManifests, MemoryRollout, NOON, request, rolloutOf, SILENT,
} from '../core/brain.fixture';

const LENGTH = 'inference-header-content-length';
const WORDS: ModelManifest = {
  ...MANIFEST,
  name: 'surge',
  inputs: [{ name: 'text_input', datatype: 'BYTES', shape: [-1] }],
  outputs: [{ name: 'text_output', datatype: 'BYTES', shape: [-1] }],
  enrichment: undefined,
  streaming: { text: 'text_output' },
};

class Runtime extends EchoRuntime {
  failsAt = Infinity;

  async* stream(_: ModelRef, [{ data }]: readonly Tensor[]): AsyncGenerator<Tensor[]> {
    const words = String(data[0]).split(' ');
    for (let at = 0; at < words.length; at++) {
      if (at === this.failsAt) refuse('MODEL_FAILED', 'no more words');
      yield [{ name: 'text_output', datatype: 'BYTES', shape: [1], data: [words[at]] }];
    }
  }
}

const REFUSING: Authenticator = {
  caller: (authorization) => authorization === 'Bearer bad'
    ? refuse('UNAUTHENTICATED', 'bad token')
    : { subject: undefined, tenant: undefined, scopes: new Set() },
};

interface Operation {
  readonly method: string;
  readonly path: string;
  readonly responses: Readonly<Record<string, { readonly $ref?: string; readonly content?: Content; readonly headers?: object }>>;
}
type Content = Readonly<Record<string, { readonly 'schema': object; readonly 'x-event-schema'?: object }>>;

let runtime: Runtime;
let rollout: MemoryRollout;
let service: Service;
let base: string;
let operations: Operation[];
let resolve: (ref: string) => Operation['responses'][string];
let ajv: Ajv2020;
/** `METHOD path status` that were seen. */
const seen = new Set<string>();

beforeAll(async () => {
  runtime = new Runtime();
  rollout = new MemoryRollout(rolloutOf(MANIFEST, WORDS));
  const features = new MemoryFeatures();
  for (const driver of ['7', '8']) features.put('drivers', driver, { rating: 4, trips: 2, active: true });
  service = createService({
    configuration: { ...CONFIGURATION, limits: { ...CONFIGURATION.limits, requestTimeoutMs: 300 } },
    runtime,
    features,
    vectors: new FixedVectors(),
    manifests: new MemoryManifests(MANIFEST, WORDS),
    rollout,
    logger: SILENT,
    authenticator: REFUSING,
    clock: { now: () => NOON + 1000 },
  });
  await service.start();
  base = await service.rest.listen({ host: '127.0.0.1', port: 0 });
  const { body } = await call(base, { path: '/openapi.json' });
  ajv = new Ajv2020({ strict: false, formats: { 'date-time': true, 'binary': true } });
  ajv.addSchema({ ...body, $id: 'api' });
  operations = Object.entries<any>(body.paths).flatMap(([path, methods]) => (
    Object.entries<any>(methods).map(([method, { responses }]) => ({ method: method.toUpperCase(), path, responses }))
  ));
  resolve = (ref) => ref.split('/').slice(1).reduce((node, key) => node[key], body);
});
afterAll(() => service.close());

/** The schema as the document means it: its references are to the document. */
const inDocument = (schema: object) => JSON.parse(JSON.stringify(schema).replaceAll('"#/', '"api#/')) as object;

/** Sends the request, and finds the answer in the document: status, headers, type and body. */
async function described(sent: Call): Promise<Answer> {
  const answer = await call(base, sent);
  const { method = 'GET' } = sent;
  const operation = operations.find((each) => each.method === method && new RegExp(`^${each.path.replace(/\{\w+\}/g, '[^/]+')}$`).test(sent.path))!;
  const what = `${method} ${operation.path} ${answer.status}`;
  seen.add(what);
  const given = operation.responses[answer.status];
  expect([what, given]).toEqual([what, expect.any(Object)]);
  const response = given.$ref === undefined ? given : resolve(given.$ref);
  const type = answer.headers['content-type']!.split(';')[0];
  expect(Object.keys(response.content!)).toContain(type);
  // what the document promises of its own headers is there, and nothing of ours is there that it does not tell
  for (const name of ['x-request-id', 'retry-after', LENGTH]) if (name in answer.headers) expect(Object.keys(response.headers!)).toContain(name);
  expect(answer.headers['x-request-id']).toEqual(expect.any(String));
  const { schema, 'x-event-schema': event } = response.content![type];
  const check = (of: object, value: unknown) => {
    const validate = ajv.compile(inDocument(of));
    expect([what, validate(value) ? [] : validate.errors, value]).toEqual([what, [], value]);
  };
  if (event) for (const line of answer.bytes.toString().split('\n\n').filter((each) => each !== '')) check(event, JSON.parse(line.replace(/^data: /, '')));
  else if (type === 'application/json') check(schema, answer.body);
  return answer;
}

const post = (path: string, body: unknown, headers = {}) => described({ method: 'POST', path, headers, payload: typeof body === 'string' ? body : JSON.stringify(body) });
const ETA = ['/v2/models/eta', '/v2/models/eta/versions/1'];
const SURGE = ['/v2/models/surge', '/v2/models/surge/versions/1'];

test('health and metadata are as described', async () => {
  for (const path of ['/v2', '/v2/health/live', '/v2/health/ready', '/openapi.json', ...ETA, ...ETA.map((model) => `${model}/ready`)]) {
    expect([path, (await described({ path })).status]).toEqual([path, 200]);
  }
});

test('inferences are as described, in JSON and with binary tensors', async () => {
  for (const model of ETA) {
    const { body } = await post(`${model}/infer`, request({ id: 'r', parameters: { explain: true } }));
    expect(Object.keys(body.parameters)).toEqual(['model_version', 'feature_as_of', 'defaulted_features', 'index_generation', 'enrichment']);
    expect((await post(`${model}/infer`, request({ parameters: { binary_data_output: true } }))).headers[LENGTH]).toEqual(expect.any(String));
  }
});

test('priorities are as described', async () => {
  const { body } = await call(base, { path: '/openapi.json' });
  const asked: Record<string, number> = {};
  for (const priority of body.components.parameters['x-priority'].schema.enum) {
    asked[priority] = (await post(`${ETA[0]}/infer`, request(), { 'x-priority': priority })).status;
  }
  // nobody here has a token that allows it
  expect(asked).toEqual({ high: 403, normal: 200, low: 200 });
  expect(await post(`${ETA[0]}/infer`, request(), { 'x-priority': 'urgent' })).toMatchObject({ status: 400, body: { code: 'INVALID_PARAMETER' } });
});

test('generated answers and their events are as described, a failure among them too', async () => {
  for (const model of SURGE) {
    for (const path of [`${model}/generate`, `${model}/generate_stream`]) {
      expect((await post(path, { id: 'g', text_input: 'one two' })).status).toBe(200);
      runtime.failsAt = 1;
      expect((await post(path, { text_input: 'one two' })).status).toBe(path.endsWith('stream') ? 200 : 500);
      runtime.failsAt = Infinity;
    }
  }
});

test.each<[number, string, () => Promise<Answer>]>([
  [400, 'INVALID_JSON', () => post('/v2/models/eta/infer', '{')],
  [400, 'MISSING_INPUT', () => post('/v2/models/eta/infer', request({ inputs: request().inputs.slice(1) }))],
  [400, 'INVALID_DATA', () => post('/v2/models/surge/generate', { text_input: 7 })],
  [400, 'INVALID_PATH', () => described({ path: '/v2/models/%zz/ready' })],
  [401, 'UNAUTHENTICATED', () => described({ path: '/v2', headers: { authorization: 'Bearer bad' } })],
  [403, 'PERMISSION_DENIED', () => post('/v2/models/eta/infer', request(), { 'x-model-version': '1' })],
  [404, 'UNKNOWN_MODEL', () => described({ path: '/v2/models/nobody' })],
  [404, 'UNKNOWN_VERSION', () => described({ path: '/v2/models/eta/versions/9/ready' })],
  [413, 'BODY_TOO_LARGE', () => post('/v2/models/eta/infer', ' '.repeat(CONFIGURATION.limits.maxBodyBytes + 1))],
  [415, 'UNSUPPORTED_MEDIA_TYPE', () => post('/v2/models/eta/infer', request(), { 'content-type': 'text/plain' })],
])('a refusal %d %s is as described', async (status, code, send) => {
  expect(await send()).toMatchObject({ status, body: { code } });
});

test('what fails behind the service is as described', async () => {
  runtime.infer = async () => [];
  expect(await post('/v2/models/eta/infer', request())).toMatchObject({ status: 500, body: { code: 'INVALID_MODEL_OUTPUT' } });
  runtime.infer = () => new Promise(() => undefined);
  expect(await post('/v2/models/eta/infer', request())).toMatchObject({ status: 504, body: { code: 'DEADLINE_EXCEEDED' } });
  rollout.publish(rolloutOf(MANIFEST));
  expect(await described({ path: '/v2/models/surge/ready' })).toMatchObject({ status: 503, body: { code: 'MODEL_NOT_READY' } });
  service.drain();
  expect(await described({ path: '/v2/health/ready' })).toMatchObject({ status: 503, body: { code: 'SHUTTING_DOWN' } });
});

test('no route of the document went without a good answer', () => {
  for (const { method, path } of operations) expect([...seen]).toContain(`${method} ${path} 200`);
});
