import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect, createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { bundleCli } from '../../support/cli-bundle';
import { askPrice, CliProcess, eventually, priceRequest, writeAssembly, writeModel } from '../../support/local-brain';

jest.setTimeout(60_000);

let root: string;
let cli: string;
let assembly: string;
let data: string;
const processes: CliProcess[] = [];

beforeAll(async () => {
  root = mkdtempSync(join(tmpdir(), 'thalos-serve-'));
  ({ cli } = await bundleCli(join(root, 'cli')));
});
afterAll(() => rmSync(root, { recursive: true, force: true }));

let folders = 0;
beforeEach(() => {
  const folder = join(root, String(++folders));
  assembly = writeAssembly(join(folder, 'cdk.out'));
  data = join(folder, 'data');
});
afterEach(async () => {
  for (const started of processes.splice(0)) {
    started.kill('SIGKILL');
    await started.ended;
  }
});

function start(...args: string[]): CliProcess {
  const started = new CliProcess(cli, [...args, '--data-dir', data]);
  processes.push(started);
  return started;
}
const boot = (...args: string[]) => start('local', assembly, ...args);
async function run(...args: string[]): Promise<string> {
  const { status, out, err } = await start(...args, '--assembly', assembly).ended;
  if (status !== 0) throw new Error(`${args.join(' ')} ended with ${status}: ${err}`);
  return out;
}
function file(name: string, content: string): string {
  mkdirSync(join(data, '..'), { recursive: true });
  writeFileSync(join(data, '..', name), content);
  return join(data, '..', name);
}
const features = (trips: number, time: string) => run('features', 'import', 'drivers', file('drivers.csv', `driver,trips,rating,event_time\nann,${trips},0.5,${time}\n`));
const vectors = (fare: number) => run('vectors', 'import', 'places', file('places.jsonl', `{"id":"here","vector":[0,0],"fare":${fare}}\n{"id":"far","vector":[9,9],"fare":1000}\n`));
const put = (version: string, bias: number, ...flags: string[]) => run('models', 'put', writeModel(join(data, '..', `model-${version}`), version, bias), ...flags);
async function fill(): Promise<void> {
  await features(10, '2026-01-01T00:00:00Z');
  await vectors(7);
  await put('1', 100);
}
const price = async (url: string) => (await askPrice(url, 'ann')).body.outputs?.[0].data[0];

describe('the embedded brain', () => {
  test('without any model is ready, and says that the model is not', async () => {
    const brain = boot();
    const url = await brain.ready();
    expect((await fetch(`${url}/v2/health/ready`)).status).toBe(200);
    expect(await askPrice(url, 'ann')).toMatchObject({ status: 503, body: { code: 'MODEL_NOT_READY' } });
    expect(await askPrice(url.replace('price', 'cost'), 'ann')).toMatchObject({ status: 503 });
    brain.kill('SIGTERM');
    expect((await brain.ended).status).toBe(0);
  });

  test('says once that it is ready, binds this machine only, and says that it verifies nobody', async () => {
    const brain = boot();
    const url = await brain.ready();
    expect(url).toMatch(/^http:\/\/127\.0\.0\.1:[0-9]+$/);
    brain.kill('SIGINT');
    const { status, out } = await brain.ended;
    expect(status).toBe(0);
    expect(out.split('\n').filter((line) => line.startsWith('ready'))).toEqual([`ready ${url}`]);
    expect(out).toMatch(/^no JWT verification: /m);
  });

  test('answers from features, neighbours and model together', async () => {
    expect(await features(10, '2026-01-01T00:00:00Z')).toBe('imported 1 rows into feature group drivers version 1: snapshot 1\n');
    expect(await vectors(7)).toBe('imported 2 vectors into index places: generation 1\n');
    expect(await put('1', 100)).toMatch(/^put model price version 1 \(\d+ B\): approved, and stable\n$/);
    const url = await boot().ready();
    const { status, body } = await askPrice(url, 'ann');
    expect(status).toBe(200);
    expect(body.outputs![0].data).toEqual([2 * 10 + 3 * 0.5 + 7 + 100]);
    expect(body.parameters).toMatchObject({ model_version: '1', feature_as_of: '2026-01-01T00:00:00.000Z', index_generation: 'places@1' });
    expect((await askPrice(url, 'bob')).body.code).toBe('UNKNOWN_ENTITY');
  });

  test('follows what is imported and released while it runs', async () => {
    await fill();
    const url = await boot().ready();
    expect(await price(url)).toBe(128.5);
    await features(20, '2026-01-02T00:00:00Z');
    expect(await price(url)).toBe(148.5);
    await features(1, '2025-12-01T00:00:00Z');
    expect(await price(url)).toBe(148.5);
    await vectors(8);
    expect((await askPrice(url, 'ann')).body.parameters).toMatchObject({ index_generation: 'places@2' });
    expect(await price(url)).toBe(149.5);
    expect(await put('2', 200)).toContain('approved; version 1 stays stable');
    expect(await price(url)).toBe(149.5);
    const second = async () => (await fetch(`${url}/v2/models/price/versions/2/ready`)).status === 200;
    await eventually(second);
    expect(await put('2', 200, '--stable')).toContain('already has model price version 2');
    await eventually(async () => await price(url) === 249.5);
  });

  test('has all its data after it was killed', async () => {
    await fill();
    const first = boot();
    expect(await price(await first.ready())).toBe(128.5);
    first.kill('SIGKILL');
    expect((await first.ended).signal).toBe('SIGKILL');
    expect(await price(await boot().ready())).toBe(128.5);
  });

  test('answers the request under way when it is told to stop, and exits 0', async () => {
    await fill();
    const brain = boot();
    const { hostname, port } = new URL(await brain.ready());
    const body = JSON.stringify(priceRequest('ann'));
    const socket = connect(Number(port), hostname).setEncoding('utf8');
    let answer = '';
    socket.on('data', (text: string) => {
      answer += text;
    });
    await once(socket, 'connect');
    socket.write(`POST /v2/models/price/infer HTTP/1.1\r\nhost: ${hostname}:${port}\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body.slice(0, 20)}`);
    // the service has accepted the connection once it answers on a later one
    await fetch(`http://${hostname}:${port}/v2/health/live`);
    brain.kill('SIGTERM');
    await brain.until('stderr', /draining/);
    const closed = once(socket, 'close');
    socket.write(body.slice(20));
    await closed;
    expect(answer).toMatch(/^HTTP\/1.1 200 /);
    expect(answer).toContain('128.5');
    expect((await brain.ended).status).toBe(0);
  });

  test('never loads a model whose bytes were changed at rest', async () => {
    await fill();
    const model = join(data, 'artifacts', 'models', 'price', '1', 'model.onnx');
    const good = readFileSync(model);
    const bad = Buffer.from(good);
    bad[bad.length - 30] += 1;
    writeFileSync(model, bad);
    const brain = boot();
    const [, url] = await brain.until('stdout', /may ask (\S+)$/m);
    await brain.until('stderr', /DIGEST_MISMATCH: file 'model.onnx' of version 1 of model 'price'/);
    expect((await fetch(`${url}/v2/health/ready`)).status).toBe(503);
    expect(await askPrice(url, 'ann')).toMatchObject({ status: 503, body: { code: 'MODEL_NOT_READY' } });
    expect(brain.out).not.toMatch(/^ready/m);
    // putting the same version again repairs it, and the running brain takes it up
    expect(await put('1', 100)).toContain('put model price version 1');
    expect(await price(await brain.ready())).toBe(128.5);
  });

  test('stops with 0 also while a version cannot be loaded', async () => {
    await fill();
    writeFileSync(join(data, 'artifacts', 'models', 'price', '1', 'brain-model.json'), '{}');
    const brain = boot();
    await brain.until('stderr', /DIGEST_MISMATCH: the manifest of version 1 of model 'price'/);
    brain.kill('SIGTERM');
    expect((await brain.ended).status).toBe(0);
  });

  test('keeps the last good rollout document, and says so', async () => {
    await fill();
    const brain = boot();
    const url = await brain.ready();
    writeFileSync(join(data, 'rollout.json'), '{"schemaVersion":"1","models":{"price":{"stable":"9","versions":{}}}}');
    await brain.until('stderr', /rollout document is not valid: the last good document stays in force/);
    expect(await price(url)).toBe(128.5);
  });

  test('with a token answers its holder only, wherever it listens, and shows the token to nobody', async () => {
    await fill();
    const token = 'a-token-of-some-length';
    const brain = boot('--host', 'localhost', '--token', token);
    const url = await brain.ready();
    expect(url).toMatch(/^http:\/\/localhost:[0-9]+$/);
    expect(await askPrice(url, 'ann')).toMatchObject({ status: 401, body: { code: 'UNAUTHENTICATED' } });
    expect((await fetch(`${url}/console/api/brain`)).status).toBe(401);
    const authorization = `Bearer ${token}`;
    expect((await fetch(`${url}/v2/models/price`, { headers: { authorization } })).status).toBe(200);
    expect(await (await fetch(`${url}/console/api/brain`, { headers: { authorization } })).json()).toMatchObject({ name: 'fleet', addresses: { rest: url } });
    expect(brain.err).toContain('is not encrypted');
    expect(brain.out + brain.err).not.toContain(token);
    if (process.platform === 'linux') expect(readFileSync(`/proc/${brain.pid}/cmdline`, 'utf8')).not.toContain(token);
  });

  test('has a console from its first moment, whose open pages do not hold up its end', async () => {
    const brain = boot();
    const url = await brain.ready();
    expect(await (await fetch(`${url}/console`)).text()).toContain('/console/app.js');
    expect((await fetch(`${url}/console/app.js`)).headers.get('content-type')).toContain('text/javascript');
    const events = await fetch(`${url}/console/api/events`);
    brain.kill('SIGTERM');
    expect((await brain.ended).status).toBe(0);
    expect(await events.text()).toContain(': open');
  });

  test('refuses a host that is not this machine\'s', async () => {
    const { status, err } = await boot('--host', '203.0.113.7', '--token', 'a-token-of-some-length').ended;
    expect({ status, err }).toEqual({ status: 2, err: expect.stringContaining('error: USAGE: --host 203.0.113.7 is no address of this machine') });
  });

  test('refuses a second one on the same data, and a port that is taken', async () => {
    const first = boot();
    await first.ready();
    expect(await boot().ended).toMatchObject({ status: 1, out: '', err: expect.stringMatching(new RegExp(`^error: DATA_DIR_BUSY: process ${first.pid} is at work: .*\\n$`)) });
    first.kill('SIGKILL');
    await first.ended;

    const other = createServer().listen(0, '127.0.0.1');
    await once(other, 'listening');
    const { port } = other.address() as AddressInfo;
    const refused = await boot('--http-port', String(port)).ended;
    expect(refused.status).toBe(1);
    expect(refused.err).toContain(`error: PORT_IN_USE: port ${port} of 127.0.0.1 is in use`);
    const closed = once(other, 'close');
    other.close();
    await closed;
    expect(await boot('--http-port', String(port)).ready()).toBe(`http://127.0.0.1:${port}`);
  });
});
