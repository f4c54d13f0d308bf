/** The image of the inference service, built and run as its pod: a user without rights, on a read-only root, with what the pod mounts. */
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import type { IncomingMessage } from 'node:http';
import { request } from 'node:https';
import { join } from 'node:path';
import { credentials } from '@grpc/grpc-js';
import { type BuiltImage, buildImage } from './builder';
import { Container } from './container';
import { DRIVER, MODEL, surround, type Surroundings } from './surroundings';
import { HEADER_LENGTH } from '../../../runtime/core/oip';
import { Parameter, Port } from '../../../src/contract';
import { Services, type StockClient, stockClient, unary } from '../../runtime/grpc/stock-client';
import { type Answer, call } from '../../runtime/inference-service/http.fixture';
import { issue } from '../../support/certificates';
import { ROOT } from '../../support/examples';
import { freePort } from '../free-port';

jest.setTimeout(600_000);

const INFER = `/v2/models/${MODEL}/infer`;
/** Two trips, of which the second driver is unknown: its fare is by the declared defaults. */
const DISTANCES = [10, 20];
const DRIVERS = [DRIVER.id, 99];
const FARES = [10 * DRIVER.perMile + DRIVER.flagFall, 20 * 1 + 5];
const BODY = JSON.stringify({
  inputs: [{ name: 'distance', datatype: 'FP32', shape: [2, 1], data: DISTANCES }, { name: 'driver', datatype: 'INT64', shape: [2], data: DRIVERS }],
});

let image: BuiltImage;
let around: Surroundings;
let container: Container;
/** Told of what arrives on the way to Triton. */
let asked: (bytes: Buffer) => void = () => undefined;
const ports = { rest: 0, grpc: 0, health: 0, metrics: 0 };
const clients: StockClient[] = [];

const url = (name: keyof typeof ports) => `${name === 'rest' ? 'https' : 'http'}://127.0.0.1:${ports[name]}`;
const isReady = async () => (await call(url('health'), { path: '/v2/health/ready' }).catch(() => undefined))?.status === 200;
const json = (more: object = {}) => call(url('rest'), { method: 'POST', path: INFER, payload: BODY, headers: { 'content-type': 'application/json' }, ...more });

function floats(bytes: Buffer): number[] {
  return Array.from({ length: bytes.length / 4 }, (_, at) => bytes.readFloatLE(4 * at));
}

function grpc(channel: ReturnType<typeof credentials.createSsl>): StockClient {
  const client = stockClient(Services.inference, ports.grpc, {}, channel);
  clients.push(client);
  return client;
}

/** With a certificate of the authority that the pod's secret names. */
async function trusted(): Promise<StockClient> {
  const { cert, key } = await issue(around.authority);
  return grpc(credentials.createSsl(Buffer.from(around.authority.cert), Buffer.from(key), Buffer.from(cert)));
}

/** Asks, and resolves when the question is on its way to Triton. */
async function held<T>(ask: () => Promise<T>): Promise<{ readonly answer: Promise<T> }> {
  const arrived = new Promise<void>((resolve) => {
    asked = () => resolve();
  });
  const answer = ask();
  await Promise.race([arrived, answer]);
  return { answer };
}

const message = () => {
  const distances = Buffer.from(Float32Array.from(DISTANCES).buffer);
  const drivers = Buffer.from(BigInt64Array.from(DRIVERS, BigInt).buffer);
  return {
    model_name: MODEL,
    inputs: [{ name: 'distance', datatype: 'FP32', shape: [2, 1] }, { name: 'driver', datatype: 'INT64', shape: [2] }],
    raw_input_contents: [distances, drivers],
  };
};

beforeAll(async () => {
  image = buildImage(join(ROOT, 'assets/inference-service'));
  around = await surround((bytes) => asked(bytes));
  const args: string[] = [];
  for (const name of ['rest', 'grpc', 'health', 'metrics'] as const) {
    ports[name] = await freePort();
    args.push(`--${name}-port`, `${ports[name]}`);
  }
  container = Container.start(image, around.container(args));
  await container.until(isReady);
});

afterAll(async () => {
  for (const client of clients) client.close();
  container?.kill();
  await around?.stop();
  image?.remove();
});

describe('the image', () => {
  test('says which user, which ports, and what it is', () => {
    expect(image.config).toMatchObject({ User: '1000:1000', Entrypoint: ['node', 'index.js'], WorkingDir: '/app', Labels: { 'org.opencontainers.image.licenses': 'Apache-2.0' } });
    expect(Object.keys(image.config.ExposedPorts).sort()).toEqual([Port.REST, Port.GRPC, Port.HEALTH, Port.METRICS].map((port) => `${port}/tcp`).sort());
  });

  test('has one program, Node, and no shell', () => {
    const programs = ['bin', 'sbin', 'usr/bin', 'usr/sbin', 'usr/local/bin'].flatMap((folder) => {
      try {
        return readdirSync(join(image.root, folder)).map((file) => `${folder}/${file}`);
      } catch {
        return [];
      }
    });
    expect(programs).toEqual(['usr/local/bin/node']);
  });

  test('carries its bill of materials', () => {
    expect(readdirSync(join(image.root, 'app')).sort()).toEqual(['index.js', 'sbom.cdx.json']);
    expect(JSON.parse(readFileSync(join(image.root, 'app/sbom.cdx.json'), 'utf8'))).toMatchObject({ bomFormat: 'CycloneDX', specVersion: '1.6' });
  });
});

describe('the process', () => {
  test('is number 1, Node itself, a user without rights that can gain none', () => {
    const status = Object.fromEntries(container.proc('status').trim().split('\n').map((line) => line.split(':\t')));
    expect(container.proc('cmdline').split('\0').slice(0, 2)).toEqual(['node', 'index.js']);
    expect(status.NSpid.split('\t').at(-1)).toBe('1');
    expect(status.Uid.split('\t')).toEqual(['1000', '1000', '1000', '1000']);
    expect(status.Gid.split('\t')).toEqual(['1000', '1000', '1000', '1000']);
    expect(status.NoNewPrivs).toBe('1');
    for (const set of ['CapEff', 'CapPrm', 'CapAmb']) expect(Number.parseInt(status[set], 16)).toBe(0);
  });

  test('is what the security context of its pod asks for', () => {
    expect(around.pod.spec.securityContext).toMatchObject({ runAsNonRoot: true, runAsUser: 1000, runAsGroup: 1000 });
    expect(around.pod.container.securityContext).toMatchObject({ allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: { drop: ['ALL'] } });
  });

  test('can write to its memory-backed /tmp and nowhere else', () => {
    const mounts = container.proc('mountinfo').trim().split('\n').map((line) => line.split(' ')).map((fields) => ({ path: fields[4], options: fields[5].split(',') }));
    const at = (path: string) => mounts.filter((each) => each.path === path).at(-1)!.options;
    expect(at('/')).toContain('ro');
    for (const { path, source } of around.pod.mounts) expect([path, at(path)[0]]).toEqual([path, source ? 'ro' : 'rw']);
    expect(around.pod.mounts.filter(({ source }) => !source).map(({ path }) => path)).toEqual(['/tmp']);
    expect(mounts.filter(({ path, options }) => options.includes('rw') && !/^\/(tmp|proc|dev)(\/|$)/.test(path))).toEqual([]);
  });
});

describe('the service', () => {
  test('is live and ready', async () => {
    for (const path of ['/v2/health/live', '/v2/health/ready']) expect((await call(url('health'), { path })).status).toBe(200);
  });

  test('infers over REST: features of a real table, a real Triton over mutual TLS, and says what went into the answer', async () => {
    const { status, body } = await json();
    expect({ status, body }).toMatchObject({
      status: 200,
      body: {
        model_name: MODEL,
        model_version: '1',
        outputs: [{ name: 'fare', datatype: 'FP32', shape: [2, 1], data: FARES }],
        parameters: { [Parameter.DEFAULTED]: 'drivers.per_mile,drivers.flag_fall', [Parameter.FEATURE_AS_OF]: expect.any(String) },
      },
    });
  });

  test('infers over REST with binary tensors', async () => {
    const header = JSON.stringify({
      parameters: { binary_data_output: true },
      inputs: [
        { name: 'distance', datatype: 'FP32', shape: [2, 1], parameters: { binary_data_size: 8 } },
        { name: 'driver', datatype: 'INT64', shape: [2], parameters: { binary_data_size: 16 } },
      ],
    });
    const { status, headers, bytes }: Answer = await json({
      headers: { 'content-type': 'application/octet-stream', [HEADER_LENGTH]: header.length },
      payload: Buffer.concat([Buffer.from(header), ...message().raw_input_contents]),
    });
    expect(status).toBe(200);
    expect(floats(bytes.subarray(Number(headers[HEADER_LENGTH])))).toEqual(FARES);
  });

  test('infers over gRPC for a client whose certificate its own authority has signed', async () => {
    const { model_version, raw_output_contents } = await unary(await trusted(), 'ModelInfer', message());
    expect(model_version).toBe('1');
    expect(floats(raw_output_contents[0])).toEqual(FARES);
  });

  test('refuses gRPC without a certificate', async () => {
    const client = grpc(credentials.createSsl(Buffer.from(around.authority.cert)));
    await expect(unary(client, 'ServerLive', {}, {}, { deadline: Date.now() + 10_000 })).rejects.toMatchObject({ code: 14 });
  });

  test('shows the mounted certificate over REST', async () => {
    const sent = request(`${url('rest')}/v2/health/live`, { agent: false, ca: around.authority.cert });
    sent.end();
    expect(((await once(sent, 'response'))[0] as IncomingMessage).statusCode).toBe(200);
  });

  test('knows no model but the declared ones', async () => {
    expect((await call(url('rest'), { path: '/v2/models/unknown' })).body).toMatchObject({ code: 'UNKNOWN_MODEL' });
  });

  test('shows metrics to who scrapes', async () => {
    const { status, bytes } = await call(url('metrics'), { path: '/metrics' });
    expect(status).toBe(200);
    expect(bytes.toString()).toMatch(/^# (HELP|TYPE) /m);
    expect(bytes.toString()).toMatch(new RegExp(`\\bmodel="${MODEL}"`));
  });

  test('follows the rollout document to another version', async () => {
    around.release('2');
    await container.until(async () => (await json()).body.model_version === '2');
    expect((await json()).body.outputs[0].data).toEqual(FARES.map((fare) => fare + 100));
  });

  test('drains on SIGTERM: not ready any more, what has begun is answered by the model, and it ends with 0', async () => {
    const client = await trusted();
    await unary(client, 'ServerLive', {});
    // its body comes when the drain has begun
    const late = request(`${url('rest')}${INFER}`, {
      agent: false, method: 'POST', rejectUnauthorized: false, headers: { 'content-type': 'application/json', 'content-length': BODY.length, 'expect': '100-continue' },
    });
    late.flushHeaders();
    await once(late, 'continue');
    const lateAnswer = once(late, 'response');
    // these are on their way to Triton, and arrive there when the drain has begun
    around.proxy.set({ kind: 'black-hole' });
    const overRest = await held(() => json());
    const overGrpc = await held(() => unary(client, 'ModelInfer', message()));

    container.terminate();
    await container.until(async () => !await isReady());
    around.proxy.set({ kind: 'pass' });
    late.end(BODY);

    const fares = FARES.map((fare) => fare + 100);
    expect((await overRest.answer).body.outputs[0].data).toEqual(fares);
    expect(floats((await overGrpc.answer).raw_output_contents[0])).toEqual(fares);
    const [answer] = await lateAnswer as [IncomingMessage];
    expect(JSON.parse((await answer.toArray()).join(''))).toMatchObject({ outputs: [{ data: fares }] });
    expect(await container.exit()).toBe(0);
  });
});
