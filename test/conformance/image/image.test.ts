/** The image of the inference service, built and run: as a user without rights, on a read-only root, with what a pod mounts. */
import { once } from 'node:events';
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import type { IncomingMessage } from 'node:http';
import { connect } from 'node:http2';
import { request } from 'node:https';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { BuiltImage, buildImage } from './builder';
import { Container } from './container';
import { Binding, BRAIN_CONFIGURATION_VERSION, DEFAULT_LIMITS, EMPTY_ROLLOUT_DOCUMENT, Paths, Port } from '../../../src/contract';
import { Peer } from '../../runtime/adapters-aws/peer.fixture';
import { call } from '../../runtime/inference-service/http.fixture';
import { ROOT } from '../../support/examples';
import { freePort } from '../free-port';

jest.setTimeout(600_000);

const MODEL = 'eta';
const INFER = { method: 'POST', path: `/v2/models/${MODEL}/infer`, headers: { 'content-type': 'application/json' } };
const BODY = JSON.stringify({ inputs: [{ name: 'x', datatype: 'FP32', shape: [1, 1], data: [1] }] });

let image: BuiltImage;
let aws: Peer;
let mounted: string;
let container: Container;
/** Free ones: the container shares this machine's network. */
const url = { rest: '', grpc: '', health: '', metrics: '' };

/** AppConfig with the document that every new brain has; nothing else of AWS is asked by a brain without models. */
const appConfig = ({ path }: { path: string }) => {
  if (path === '/configurationsessions') return { status: 201, body: { InitialConfigurationToken: 'one' } };
  const headers = { 'next-poll-configuration-token': 'two', 'next-poll-interval-in-seconds': '15' };
  return path.startsWith('/configuration?') ? { headers, body: JSON.stringify(EMPTY_ROLLOUT_DOCUMENT) } : { status: 404, body: {} };
};

const inMount = (path: string) => join(mounted, path.slice('/etc/thalos/'.length));

function mount(files: { readonly [path: string]: string }): void {
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(dirname(inMount(path)), { recursive: true });
    writeFileSync(inMount(path), text);
  }
}

const isReady = async () => (await call(url.health, { path: '/v2/health/ready' }).catch(() => undefined))?.status === 200;

beforeAll(async () => {
  image = buildImage(join(ROOT, 'assets/inference-service'));
  aws = await Peer.start(appConfig);
  mounted = mkdtempSync(join(tmpdir(), 'conformance-image-'));
  chmodSync(mounted, 0o755);
  mount({
    [Paths.CONFIGURATION]: JSON.stringify({
      schemaVersion: BRAIN_CONFIGURATION_VERSION, name: 'brain', environment: 'dev', models: [{ name: MODEL, owner: 'tests' }], featureGroups: [], vectorIndexes: [], limits: DEFAULT_LIMITS,
    }),
    [`${Paths.BINDINGS}/${Binding.REGION}`]: 'eu-central-1',
    [`${Paths.BINDINGS}/${Binding.ARTIFACT_BUCKET}`]: 'artifacts',
    [`${Paths.BINDINGS}/${Binding.ROLLOUT_APPLICATION}`]: 'application',
    [`${Paths.BINDINGS}/${Binding.ROLLOUT_ENVIRONMENT}`]: 'environment',
    [`${Paths.BINDINGS}/${Binding.ROLLOUT_PROFILE}`]: 'profile',
  });
  const args: string[] = [];
  for (const name of ['rest', 'grpc', 'health', 'metrics'] as const) {
    const port = await freePort();
    url[name] = `${name === 'rest' || name === 'grpc' ? 'https' : 'http'}://127.0.0.1:${port}`;
    args.push(`--${name}-port`, `${port}`);
  }
  container = Container.start(image, mounted, {
    args, variables: { AWS_ENDPOINT_URL: aws.url, AWS_ACCESS_KEY_ID: 'AKIDEXAMPLE', AWS_SECRET_ACCESS_KEY: 'secret' },
  });
  await container.until(isReady);
});

afterAll(async () => {
  container?.kill();
  await aws?.stop();
  image?.remove();
  if (mounted) rmSync(mounted, { recursive: true, force: true });
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

  test('can write to its memory-backed /tmp and nowhere else', () => {
    const mounts = container.proc('mountinfo').trim().split('\n').map((line) => line.split(' ')).map((fields) => ({ path: fields[4], options: fields[5].split(',') }));
    const at = (path: string) => mounts.filter((each) => each.path === path).at(-1)!.options;
    expect(at('/')).toContain('ro');
    expect(at('/etc/thalos')).toContain('ro');
    expect(at('/tmp')).toContain('rw');
    expect(mounts.filter(({ path, options }) => options.includes('rw') && !/^\/(tmp|proc|dev)(\/|$)/.test(path))).toEqual([]);
  });
});

describe('the service', () => {
  test('is live and ready', async () => {
    for (const path of ['/v2/health/live', '/v2/health/ready']) expect((await call(url.health, { path })).status).toBe(200);
  });

  test('answers over TLS: a brain without models has none that is ready', async () => {
    expect(await call(url.rest, { ...INFER, payload: BODY })).toMatchObject({ status: 503, body: { code: 'MODEL_NOT_READY' } });
    expect((await call(url.rest, { path: '/v2/models/unknown' })).body).toMatchObject({ code: 'UNKNOWN_MODEL' });
  });

  test('answers gRPC over TLS', async () => {
    const session = connect(url.grpc, { rejectUnauthorized: false });
    const stream = session.request({ ':method': 'POST', ':path': '/inference.GRPCInferenceService/ServerLive', 'content-type': 'application/grpc', 'te': 'trailers' });
    stream.end(Buffer.alloc(5));
    const trailers = once(stream, 'trailers');
    const message = Buffer.concat(await stream.toArray());

    // one message, uncompressed, of two bytes: field 1, `live`, is true
    expect(message.toString('hex')).toBe('00000000020801');
    expect((await trailers)[0]['grpc-status']).toBe('0');
    session.close();
  });

  test('shows metrics to who scrapes', async () => {
    const { status, bytes } = await call(url.metrics, { path: '/metrics' });
    expect(status).toBe(200);
    expect(bytes.toString()).toMatch(/^# (HELP|TYPE) /m);
  });

  test('drains on SIGTERM: not ready any more, what has begun is answered, and it ends with 0', async () => {
    const begun = request(`${url.rest}${INFER.path}`, {
      agent: false, method: 'POST', rejectUnauthorized: false, headers: { ...INFER.headers, 'content-length': BODY.length, 'expect': '100-continue' },
    });
    begun.flushHeaders();
    await once(begun, 'continue');

    container.terminate();
    await container.until(async () => !await isReady());
    begun.end(BODY);
    const [answer] = await once(begun, 'response') as [IncomingMessage];

    expect(JSON.parse((await answer.toArray()).join(''))).toMatchObject({ code: 'MODEL_NOT_READY' });
    expect(await container.exit()).toBe(0);
  });
});
