/** Several real Triton servers as one pool: spread, loss, return, drain, and versions that not every server holds. */
import { FixedEndpoints, load, openRuntime, ROW, startTriton, TIMES } from './pool';
import { startScript } from './start-script';
import type { TritonServer } from './triton-server';
import type { TritonRuntime } from '../../../runtime/adapters/aws/triton-runtime';

jest.setTimeout(600_000);

const CONCURRENCY = 8;

let script: string;
let servers: TritonServer[];
let source: FixedEndpoints;
let runtime: TritonRuntime;

const counts = () => Promise.all(servers.map((server) => server.requests('times')));
/** Settles when every server has had `more` requests more than now. */
async function untilEachHad(more: number, of: readonly TritonServer[] = servers): Promise<void> {
  const before = await Promise.all(of.map((server) => server.requests('times')));
  for (;;) {
    const now = await Promise.all(of.map((server) => server.requests('times')));
    if (now.every((count, index) => count >= before[index] + more)) return;
  }
}

beforeAll(async () => {
  script = startScript();
  servers = await Promise.all([0, 1, 2].map(() => startTriton(script, ['times'])));
  source = new FixedEndpoints(...servers.map(({ address }) => address));
  runtime = openRuntime(source);
});
afterAll(async () => {
  await runtime?.close();
  await Promise.all((servers ?? []).map((server) => server.stop()));
});

test('requests spread evenly', async () => {
  expect(await runtime.ready(TIMES)).toBe(true);
  const before = await counts();
  const { answered, failures } = await load(runtime, CONCURRENCY, untilEachHad(200));
  expect(failures).toEqual([]);
  const got = (await counts()).map((count, index) => count - before[index]);
  expect(got.reduce((sum, count) => sum + count)).toBe(answered);
  for (const count of got) expect(count).toBeGreaterThan(answered / 6);
});

test('a server that is killed under load costs only the requests that it had, and serves again when it comes back', async () => {
  const [lost, ...others] = servers;
  const killed = await load(runtime, CONCURRENCY, (async () => {
    await untilEachHad(100);
    await lost.kill();
    await untilEachHad(200, others);
  })());
  expect(killed.failures.length).toBeLessThanOrEqual(CONCURRENCY);
  for (const { code } of killed.failures) expect(code).toBe('RUNTIME_UNAVAILABLE');

  const back = await load(runtime, CONCURRENCY, (async () => {
    servers[0] = await startTriton(script, ['times'], { ports: lost.ports });
    await untilEachHad(100);
  })());
  expect(back.failures).toEqual([]);
});

test('a server that drains and then ends costs no request', async () => {
  const [leaving, ...others] = servers;
  const drained = await load(runtime, CONCURRENCY, (async () => {
    await untilEachHad(50);
    source.set(...others.map(({ address }) => address));
    await untilEachHad(50, others);
    await leaving.stop();
    await untilEachHad(100, others);
    servers[0] = await startTriton(script, ['times']);
    source.set(...servers.map(({ address }) => address));
    await untilEachHad(50);
  })());
  expect(drained.failures).toEqual([]);
});

test('a server that has not loaded a version gets no request for it, and keeps none waiting', async () => {
  const [without, ...others] = servers;
  const { failures } = await load(runtime, CONCURRENCY, (async () => {
    await untilEachHad(50);
    expect(await without.manage('unload', 'times', without.managementKey())).toBe(200);
    expect(await runtime.ready(TIMES)).toBe(true);
    await untilEachHad(200, others);
    expect(await without.manage('load', 'times', without.managementKey())).toBe(200);
    await untilEachHad(50);
  })());
  expect(failures).toEqual([]);
});

test('without any server left the runtime is unavailable, at once', async () => {
  const gone = openRuntime(new FixedEndpoints('127.0.0.1:1'));
  expect(await gone.ready(TIMES)).toBe(false);
  await expect(gone.infer(TIMES, ROW, { deadline: Date.now() + 60_000 })).rejects.toMatchObject({ code: 'RUNTIME_UNAVAILABLE' });
  await gone.close();
});
