/** Models that answer with a sequence: `generate` and `generate_stream` over HTTP. */
import { once } from 'node:events';
import { request as httpRequest } from 'node:http';
import { call } from './http.fixture';
import { TOKENS, Words } from './words.fixture';
import { refuse } from '../../../runtime/core/errors';
import { NO_TELEMETRY, type Telemetry, type TokenUsage } from '../../../runtime/core/telemetry';
import { createService, type Service } from '../../../runtime/inference-service/service';
import { CONFIGURATION, MemoryManifests, MemoryRollout, rolloutOf, SILENT } from '../core/brain.fixture';

let runtime: Words;
let service: Service;
let base: string;
let counted: TokenUsage[];
let ended: (string | undefined)[];

beforeEach(async () => {
  runtime = new Words();
  counted = [];
  ended = [];
  const telemetry: Telemetry = {
    ...NO_TELEMETRY,
    begin: (start) => ({ ...NO_TELEMETRY.begin(start), tokens: (usage) => counted.push(usage), end: (code) => ended.push(code) }),
  };
  service = createService({
    configuration: CONFIGURATION,
    runtime,
    manifests: new MemoryManifests(TOKENS),
    rollout: new MemoryRollout(rolloutOf(TOKENS)),
    logger: SILENT,
    telemetry,
  });
  await service.start();
  base = await service.rest.listen({ host: '127.0.0.1', port: 0 });
});
afterEach(() => service.close());

const ask = (path: string, body: object) => call(base, { method: 'POST', path: `/v2/models/eta/${path}`, payload: JSON.stringify(body) });
const eventsOf = (bytes: Buffer) => bytes.toString().split('\n\n').filter((event) => event !== '').map((event) => JSON.parse(event.replace(/^data: /, '')));

test('generate joins the pieces and counts the tokens', async () => {
  const { status, body } = await ask('generate', { id: 'g-1', text_input: 'the quick brown fox', parameters: { max_tokens: 3 } });
  expect({ status, body }).toEqual({
    status: 200,
    body: {
      model_name: 'eta',
      model_version: '1',
      id: 'g-1',
      text_output: 'the quick brown ',
      prompt: 3,
      parameters: { model_version: '1' },
      usage: { prompt_tokens: 3, completion_tokens: 3 },
    },
  });
  expect(counted).toEqual([{ promptTokens: 3, completionTokens: 3 }]);
  expect(ended).toEqual([undefined]);
});

test('generate_stream sends each piece when it is there', async () => {
  const answer = await ask('generate_stream', { text_input: 'one two', max_tokens: 9 });
  expect(answer.headers).toMatchObject({ 'content-type': 'text/event-stream; charset=utf-8', 'cache-control': 'no-store' });
  expect(eventsOf(answer.bytes)).toEqual([
    expect.objectContaining({ text_output: 'one ', usage: { prompt_tokens: 2, completion_tokens: 1 } }),
    expect.objectContaining({ text_output: 'two ', usage: { prompt_tokens: 2, completion_tokens: 2 } }),
  ]);
});

test('a failure before the first piece is a status, one after it is the last event', async () => {
  runtime.failsAt = 0;
  expect(await ask('generate_stream', { text_input: 'a b', max_tokens: 2 })).toMatchObject({ status: 500, body: { code: 'MODEL_FAILED' } });
  runtime.failsAt = 1;
  const answer = await ask('generate_stream', { text_input: 'a b', max_tokens: 2 });
  expect(answer.status).toBe(200);
  expect(eventsOf(answer.bytes)).toEqual([expect.objectContaining({ text_output: 'a ' }), { code: 'MODEL_FAILED', error: 'MODEL_FAILED: no more words' }]);
  expect(ended).toEqual(['MODEL_FAILED', 'MODEL_FAILED']);
  expect(counted).toEqual([{ promptTokens: 2, completionTokens: 1 }]);
});

test('a reader who goes away ends the model\'s work', async () => {
  let release = () => undefined as void;
  runtime.waiting = new Promise((resolve) => {
    release = resolve;
  });
  const sent = httpRequest({ host: '127.0.0.1', port: new URL(base).port, method: 'POST', path: '/v2/models/eta/generate_stream' });
  sent.on('error', () => undefined);
  sent.end(JSON.stringify({ text_input: 'a b c d', max_tokens: 4 }));
  const [response] = await once(sent, 'response');
  await once(response, 'data');
  sent.destroy();
  while (ended.length === 0) await new Promise((resolve) => setTimeout(resolve, 2));
  release();
  while (runtime.left === 0) await new Promise((resolve) => setTimeout(resolve, 2));
  expect(ended).toEqual(['CANCELLED']);
});

test('a reader who goes away while he is behind is counted as gone, with the tokens that were made for him', async () => {
  runtime.padding = 4 * 1024 * 1024;
  const sent = httpRequest({ host: '127.0.0.1', port: new URL(base).port, method: 'POST', path: '/v2/models/eta/generate_stream' });
  sent.on('error', () => undefined);
  sent.end(JSON.stringify({ text_input: 'a b c d e f g h', max_tokens: 8 }));
  const [response] = await once(sent, 'response');
  await once(response, 'readable');
  response.destroy();
  while (ended.length === 0) await new Promise((resolve) => setTimeout(resolve, 2));
  expect(ended).toEqual(['CANCELLED']);
  expect(counted).toEqual([expect.objectContaining({ promptTokens: 8 })]);
  expect(counted[0].completionTokens).toBeLessThan(8);
});

test('an answer without its features is counted once, and each piece says it', async () => {
  const [group] = CONFIGURATION.featureGroups;
  const trips = { name: 'trips', datatype: 'FP32' as const, shape: [-1, 1] };
  const entities = [{ input: 'driver', datatype: 'INT64' as const }];
  const features = [{ tensor: trips.name, keys: ['driver'], groups: [{ group: group.name, features: ['trips'] }], onUnavailable: 'defaults' as const }];
  const manifest = { ...TOKENS, inputs: [...TOKENS.inputs, trips], enrichment: { entities, features } };
  const events: string[] = [];
  const degraded = createService({
    configuration: CONFIGURATION,
    runtime,
    features: { read: async () => refuse('FEATURE_STORE_UNAVAILABLE', 'gone'), write: async () => undefined, close: async () => undefined },
    manifests: new MemoryManifests(manifest),
    rollout: new MemoryRollout(rolloutOf(manifest)),
    logger: SILENT,
    telemetry: { ...NO_TELEMETRY, count: (event, what) => void events.push(`${event} ${what}`) },
  });
  await degraded.start();
  base = await degraded.rest.listen({ host: '127.0.0.1', port: 0 });
  const answer = await ask('generate_stream', { text_input: 'a b c', max_tokens: 3, driver: 7 });
  await degraded.close();
  expect(events).toEqual(['degraded features:trips']);
  expect(eventsOf(answer.bytes).map(({ parameters }) => parameters.degraded)).toEqual(new Array(3).fill('features:trips'));
});

test('infer does not take a model that answers with a sequence, and says what does', async () => {
  const inputs = [{ name: 'text_input', datatype: 'BYTES', shape: [1], data: ['a'] }, { name: 'max_tokens', datatype: 'INT32', shape: [1], data: [1] }];
  const { status, body } = await ask('infer', { inputs });
  expect({ status, body }).toEqual({ status: 400, body: expect.objectContaining({ code: 'INVALID_REQUEST', error: expect.stringContaining('generate_stream') }) });
});

test.each<[string, unknown, string]>([
  ['no JSON', '{', 'INVALID_JSON'],
  ['a missing input', { text_input: 'a' }, 'MISSING_INPUT'],
  ['a value of another type', { text_input: 7, max_tokens: 1 }, 'INVALID_DATA'],
  ['a parameter that is an object', { text_input: 'a', max_tokens: 1, parameters: { stop: {} } }, 'INVALID_PARAMETER'],
])('%s is refused', async (_, body, code) => {
  const payload = typeof body === 'string' ? body : JSON.stringify(body);
  for (const path of ['generate', 'generate_stream']) {
    expect(await call(base, { method: 'POST', path: `/v2/models/eta/${path}`, payload })).toMatchObject({ status: 400, body: { code } });
  }
});
