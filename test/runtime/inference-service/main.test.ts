/** The bundled process as its container runs it, against peers that speak the protocols of AWS on loopback. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { connect } from 'node:tls';
import { generate } from 'selfsigned';
import { call } from './http.fixture';
import { digestOf } from '../../../runtime/core/digest';
import { Header, type ModelManifest, onlineKey } from '../../../src/contract';
import { DynamoDbTable } from '../adapters-aws/dynamodb.fixture';
import { Peer, type PeerAnswer, type PeerRequest } from '../adapters-aws/peer.fixture';
import { FakeTriton } from '../adapters-aws/triton.fixture';
import { CONFIGURATION, MANIFEST, request } from '../core/brain.fixture';

const ROOT = join(__dirname, '../../..');

let folder: string;
let bundle: string;
let aws: Peer;
let triton: FakeTriton;
let peerAnswer: (request: PeerRequest) => PeerAnswer | Promise<PeerAnswer>;

/** AppConfigData, S3, DynamoDB and OpenSearch behind one port: each has paths of its own. */
function awsAnswer(table: DynamoDbTable, ...released: ModelManifest[]) {
  const texts = new Map(released.map((manifest) => [manifest.name, JSON.stringify(manifest)]));
  const rollout = Object.fromEntries([...texts].map(([name, text]) => [name, { stable: '1', versions: { 1: { digest: digestOf(text) } } }]));
  return ({ method, path, headers, body }: PeerRequest): PeerAnswer => {
    const { pathname } = new URL(path, 'http://peer');
    if (headers['x-amz-target']) return table.answer({ method, path, headers, body });
    switch (pathname) {
      case '/configurationsessions':
        return { status: 201, body: { InitialConfigurationToken: 'one' } };
      case '/configuration':
        return { headers: { 'next-poll-configuration-token': 'two', 'next-poll-interval-in-seconds': '15' }, body: JSON.stringify({ schemaVersion: '1', models: rollout }) };
      case '/artifacts/models/eta/1/brain-model.json':
      case '/artifacts/models/surge/1/brain-model.json':
        return { body: texts.get(pathname.split('/')[3])! };
      case '/trips/_msearch': {
        const hit = (_id: string, _score: number, minutes: number) => ({ _index: 'trips.9', _id, _score, _source: { minutes, rush: false } });
        const one = { status: 200, hits: { hits: [hit('a', 0.9, 10), hit('b', 0.5, 20)] } };
        // a header and a body for each search
        return { body: { responses: body.toString().trim().split('\n').filter((_, line) => line % 2 === 1).map(() => one) } };
      }
    }
    return { status: 404, body: {} };
  };
}

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'inference-service-'));
  bundle = join(folder, 'index.js');
  execFileSync(process.execPath, [
    require.resolve('esbuild/bin/esbuild'), 'runtime/inference-service/main.ts', '--bundle', '--platform=node', '--target=node20', '--log-level=error', `--outfile=${bundle}`,
  ], { cwd: ROOT });
  aws = await Peer.start((received) => peerAnswer(received));
  triton = await FakeTriton.start();
  triton.loaded = new Set(['eta.1/1']);
  triton.answer = () => [
    { name: 'minutes', datatype: 'FP32', shape: [2], data: Float32Array.of(11, 12) }, { name: 'seen', datatype: 'BYTES', shape: [2], data: ['x', 'y'] },
  ];
}, 60_000);
afterAll(async () => {
  await aws.stop();
  await triton.stop();
  rmSync(folder, { recursive: true });
});

const mount = (files: Record<string, string>): string => {
  const root = mkdtempSync(join(folder, 'etc-'));
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(join(root, path, '..'), { recursive: true });
    writeFileSync(join(root, path), text);
  }
  return root;
};

const BINDINGS = () => ({
  'bindings/REGION': 'eu-central-1',
  'bindings/ARTIFACT_BUCKET': 'artifacts',
  'bindings/ROLLOUT_APPLICATION': 'app',
  'bindings/ROLLOUT_ENVIRONMENT': 'env',
  'bindings/ROLLOUT_PROFILE': 'profile',
  'bindings/FEATURE_TABLE': 'features',
  'bindings/VECTOR_ENDPOINT': aws.url,
  'bindings/TRITON_ENDPOINT': `grpc://${triton.address}\n`,
});

interface Running {
  readonly process: ChildProcess;
  readonly rest: string;
  readonly health: string;
  readonly lines: { message: string; [field: string]: unknown }[];
  /** All that it has written, to either stream. */
  output(): string;
  /** Resolves when the process has logged this message. */
  logged(message: string): Promise<Record<string, unknown>>;
}

const run = (root: string): Omit<Running, 'rest' | 'health'> => {
  const child = spawn(process.execPath, [bundle, '--root', root, '--rest-port', '0', '--grpc-port', '0', '--health-port', '0', '--metrics-port', '0'], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { PATH: process.env.PATH, AWS_ENDPOINT_URL: aws.url, AWS_ACCESS_KEY_ID: 'AKIDEXAMPLE', AWS_SECRET_ACCESS_KEY: 'secret' },
  });
  const lines: Running['lines'] = [];
  let output = '';
  for (const stream of [child.stdout!, child.stderr!]) stream.on('data', (piece: Buffer) => void (output += piece.toString()));
  const waiting = new Map<string, (line: Record<string, unknown>) => void>();
  createInterface({ input: child.stdout! }).on('line', (text) => {
    const line = JSON.parse(text);
    lines.push(line);
    waiting.get(line.message)?.(line);
  });
  const logged = (message: string) => {
    const line = lines.find((seen) => seen.message === message);
    return line ? Promise.resolve(line) : new Promise<Record<string, unknown>>((resolve) => waiting.set(message, resolve));
  };
  return { process: child, lines, logged, output: () => output };
};

const start = async (root: string): Promise<Running> => {
  const running = run(root);
  const { rest, health } = await running.logged('listening') as { rest: string; health: string };
  await running.logged('started');
  const local = (url: string) => url.replace('0.0.0.0', '127.0.0.1');
  return { ...running, rest: local(rest), health: local(health) };
};

const stop = async ({ process: child }: Running): Promise<unknown> => {
  const exited = once(child, 'exit');
  child.kill('SIGTERM');
  return (await exited)[0];
};

describe('the process of the inference service', () => {
  test('answers over TLS with an ephemeral certificate, probes over plain HTTP, and SIGTERM ends it with 0', async () => {
    const table = new DynamoDbTable('features');
    for (const driver of ['7', '8']) {
      const pk = { S: onlineKey(CONFIGURATION.featureGroups[0], [driver]) };
      table.items.set(pk.S, { pk, event_time: { N: String(Date.now()) }, created_time: { N: String(Date.now()) }, features: { S: '{"rating":4,"trips":2}' } });
    }
    peerAnswer = awsAnswer(table, MANIFEST);
    const running = await start(mount({ 'brain/brain.json': JSON.stringify(CONFIGURATION), ...BINDINGS() }));
    expect(running.rest).toMatch(/^https:/);
    const ask = () => call(running.rest, { method: 'POST', path: '/v2/models/eta/infer', payload: JSON.stringify(request({ parameters: { explain: true } })) });
    let answer = await ask();
    // the stores have time limits, which a busy machine may miss
    while (answer.status === 503) answer = await ask();
    expect(answer).toMatchObject({
      status: 200,
      body: {
        model_version: '1',
        parameters: { index_generation: 'trips@9', defaulted_features: 'cars.seats', feature_as_of: expect.any(String), enrichment: expect.stringContaining('"rating":4') },
        outputs: [{ name: 'minutes', data: [11, 12] }, { name: 'seen', data: ['x', 'y'] }],
      },
    });
    expect((await call(running.health, { path: '/v2/health/ready' })).status).toBe(200);
    expect((await call(running.health, { path: '/v2/models/eta' })).status).toBe(404);
    expect(triton.infers.map(({ request: sent }) => [sent!.model, sent!.version])).toEqual([['eta.1', '1']]);

    expect(await stop(running)).toBe(0);
    expect(running.lines.map(({ message }) => message)).toEqual(expect.arrayContaining(['listening', 'model version serves', 'started', 'draining', 'the service is closed']));
  }, 30_000);

  test('a brain without a released model is ready', async () => {
    peerAnswer = awsAnswer(new DynamoDbTable('features'));
    const running = await start(mount({ 'brain/brain.json': JSON.stringify(CONFIGURATION), ...BINDINGS() }));
    expect((await call(running.health, { path: '/v2/health/ready' })).status).toBe(200);
    expect((await call(running.rest, { path: '/v2/models/eta/ready' })).body).toMatchObject({ code: 'MODEL_NOT_READY' });
    expect(await stop(running)).toBe(0);
  }, 30_000);

  test('serves with the mounted certificate where there is one', async () => {
    peerAnswer = awsAnswer(new DynamoDbTable('features'));
    const { cert, private: key, fingerprint } = await generate([{ name: 'commonName', value: 'mounted.example' }], { keyType: 'ec', algorithm: 'sha256' });
    const running = await start(mount({ 'brain/brain.json': JSON.stringify(CONFIGURATION), 'tls/tls.crt': cert, 'tls/tls.key': key, ...BINDINGS() }));
    const socket = connect({ host: '127.0.0.1', port: Number(new URL(running.rest).port), rejectUnauthorized: false });
    await once(socket, 'secureConnect');
    expect(socket.getPeerCertificate().fingerprint.toLowerCase()).toBe(fingerprint.toLowerCase());
    socket.destroy();
    expect(await stop(running)).toBe(0);
  }, 30_000);

  test('nothing of a request comes into its output, whatever becomes of the request', async () => {
    const SECRET = 'c0ffee-from-the-caller';
    const DRIVER = 777000777;
    const text = { name: 'text', datatype: 'BYTES' as const, shape: [-1] };
    const table = new DynamoDbTable('features');
    const pk = { S: onlineKey(CONFIGURATION.featureGroups[0], ['8']) };
    // a stored value that is none of the declared type
    table.items.set(pk.S, { pk, event_time: { N: String(Date.now()) }, created_time: { N: String(Date.now()) }, features: { S: `{"rating":"${SECRET}"}` } });
    peerAnswer = awsAnswer(table, MANIFEST, { ...MANIFEST, name: 'surge', inputs: [text], outputs: [text], enrichment: undefined });
    triton.loaded = undefined;
    const running = await start(mount({ 'brain/brain.json': JSON.stringify(CONFIGURATION), ...BINDINGS() }));
    const headers = { authorization: `Bearer ${SECRET}`, cookie: SECRET };
    const post = async (model: string, body: unknown, more: Record<string, string> = {}) => {
      const { status, body: { code } } = await call(running.rest, {
        method: 'POST', path: `/v2/models/${model}/infer?q=${SECRET}`, headers: { ...headers, ...more }, payload: typeof body === 'string' ? body : JSON.stringify(body),
      });
      return [status, code];
    };
    const say = (over: object = {}) => ({ id: SECRET, parameters: { note: SECRET }, inputs: [{ name: 'text', datatype: 'BYTES', shape: [1], data: [SECRET], ...over }] });

    const answers = triton.answer;
    try {
      triton.answer = ({ request: sent }) => sent!.inputs;
      expect(await post('surge', say())).toEqual([200, undefined]);
      expect(await post('surge', `{"inputs": ${SECRET}`)).toEqual([400, 'INVALID_JSON']);
      expect(await post('surge', say({ name: SECRET }))).toEqual([400, 'UNEXPECTED_INPUT']);
      expect(await post('surge', say({ datatype: 'FP32' }))).toEqual([400, 'INVALID_DATA']);
      expect(await post('surge', { ...say(), outputs: [{ name: SECRET }] })).toEqual([400, 'UNKNOWN_OUTPUT']);
      const ask = (driver: number) => request({ inputs: request().inputs.map((input) => ({ ...input, shape: [1, ...input.shape.slice(1)], data: input.name === 'driver' ? [driver] : [1, 1].slice(0, input.shape[1]) })) });
      let answer = await post('eta', ask(8));
      // the store has a time limit, which a busy machine may miss
      while (answer[0] === 503) answer = await post('eta', ask(8));
      expect(answer).toEqual([500, 'INVALID_FEATURE_ROW']);
      const stores = peerAnswer;
      peerAnswer = (sent) => sent.headers['x-amz-target'] ? { status: 400, body: { __type: 'x#ValidationException', message: 'no' } } : stores(sent);
      expect(await post('eta', ask(DRIVER))).toEqual([503, 'FEATURE_STORE_UNAVAILABLE']);
      // a model's exception quotes what it could not read
      triton.answer = ({ request: sent }) => ({ status: 13, message: `ValueError: could not convert string to float: '${sent!.inputs[0].data[0]}'` });
      expect(await post('surge', say())).toEqual([500, 'MODEL_FAILED']);
      triton.answer = () => [{ ...text, name: SECRET, shape: [1], data: [SECRET] }];
      expect(await post('surge', say())).toEqual([500, 'INVALID_MODEL_OUTPUT']);
      triton.answer = () => undefined;
      expect(await post('surge', say(), { [Header.TIMEOUT]: '500' })).toEqual([504, 'DEADLINE_EXCEEDED']);
    } finally {
      triton.answer = answers;
      triton.loaded = new Set(['eta.1/1']);
      expect(await stop(running)).toBe(0);
    }
    const failed = running.lines.filter(({ message }) => message === 'request failed').map(({ code }) => code);
    expect(failed.slice(failed.indexOf('INVALID_FEATURE_ROW'))).toEqual([
      'INVALID_FEATURE_ROW', 'FEATURE_STORE_UNAVAILABLE', 'MODEL_FAILED', 'INVALID_MODEL_OUTPUT', 'DEADLINE_EXCEEDED',
    ]);
    const output = running.output();
    expect(output).toContain('request failed');
    for (const secret of [SECRET, String(DRIVER)]) expect(output).not.toContain(secret);
  }, 30_000);

  test.each<[string, Record<string, string>, RegExp]>([
    ['no configuration', {}, /INVALID_CONFIGURATION: there is no .*brain\/brain\.json: mount/],
    ['a configuration that is not valid', { 'brain/brain.json': '{}' }, /INVALID_CONFIGURATION: brain\.json is not valid/],
    ['a missing binding', { 'brain/brain.json': JSON.stringify(CONFIGURATION), 'bindings/REGION': 'eu-central-1' }, /there is no binding 'ARTIFACT_BUCKET'/],
    ['half a certificate', { 'brain/brain.json': JSON.stringify(CONFIGURATION), 'tls/tls.crt': 'x' }, /must hold tls\.crt and tls\.key/],
  ])('ends with 1 and says why: %s', async (_, files, message) => {
    const { process: child, lines } = run(mount(files));
    const [code] = await once(child, 'close');
    expect(code).toBe(1);
    expect(lines.at(-1)).toMatchObject({ level: 'error', error: expect.stringMatching(message) });
  }, 30_000);
});
