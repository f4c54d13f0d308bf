/** Faults between the service and a pool of real Triton servers: one of three is reached through a proxy that breaks its connections. */
import { FixedEndpoints, load, LOGGER, openRuntime, startTriton, TIMES } from './pool';
import { startScript } from './start-script';
import type { TritonServer } from './triton-server';
import type { TritonRuntime } from '../../../runtime/adapters/aws/triton-runtime';
import { NO_TELEMETRY } from '../../../runtime/core/telemetry';
import { type Fault, FaultProxy } from '../../support/fault-proxy';

jest.setTimeout(600_000);

const CONCURRENCY = 8;
const DEADLINE_MS = 1_000;
/** Of calls that nothing is expected to make late. */
const AMPLE_MS = 5_000;
/** What a busy machine may take to notice that the time is up. */
const SLACK_MS = 500;
/** Requests that get their answer too late before the endpoint is ejected: five in a row, and what was outstanding with them. */
const BEFORE_EJECTION = 5 + CONCURRENCY;

let servers: TritonServer[];
let proxy: FaultProxy;
let runtime: TritonRuntime;
let ejected: string[];
let retries: number;

const total = async () => (await Promise.all(servers.map((server) => server.requests('times')))).reduce((sum, count) => sum + count);
async function untilHad(server: TritonServer, more: number): Promise<void> {
  const before = await server.requests('times');
  while (await server.requests('times') < before + more);
}

beforeAll(async () => {
  const script = startScript();
  servers = await Promise.all([0, 1, 2].map(() => startTriton(script, ['times'])));
});
beforeEach(async () => {
  ejected = [];
  retries = 0;
  proxy = await FaultProxy.start(servers[2].ports.grpc);
  runtime = openRuntime(new FixedEndpoints(servers[0].address, servers[1].address, `127.0.0.1:${proxy.port}`), {
    balancing: { ejectionMs: 500 },
    telemetry: { ...NO_TELEMETRY, count: (event) => void (retries += event === 'retry' ? 1 : 0) },
    logger: { ...LOGGER, warn: (fields) => 'forMs' in fields && ejected.push((fields as unknown as { endpoint: string }).endpoint) },
  });
  expect(await runtime.ready(TIMES)).toBe(true);
  // the faulty one, too, is in the pool before the fault
  await load(runtime, CONCURRENCY, untilHad(servers[2], 20));
});
afterEach(async () => {
  await runtime.close();
  await proxy.close();
});
afterAll(() => Promise.all((servers ?? []).map((server) => server.stop())));

/**
 * The load while the fault lasts, and the load after it, each until the healthy servers, or all, had their share.
 *
 * @param ejects whether the fault also lasts until its endpoint is ejected: that takes two deadlines where few are outstanding, in which the healthy
 * servers may have answered any number. One that is never ejected ends after ten times as many answers.
 */
async function during(fault: Fault, deadlineMs = DEADLINE_MS, ejects = false) {
  const before = await total();
  const faulty = await load(runtime, CONCURRENCY, (async () => {
    proxy.set(fault);
    await Promise.all([untilHad(servers[0], 400), untilHad(servers[1], 400)]);
    while (ejects && ejected.length === 0 && await total() - before < 8_000);
  })(), deadlineMs);
  const attempts = await total() - before;
  const after = await load(runtime, CONCURRENCY, (async () => {
    proxy.set({ kind: 'pass' });
    await untilHad(servers[2], 50);
  })(), AMPLE_MS);
  return { faulty, after, attempts };
}

const inTime = (failures: Awaited<ReturnType<typeof load>>['failures']) => failures.every(({ afterMs }) => afterMs < DEADLINE_MS + SLACK_MS);

test('latency on one endpoint fails nothing: the others get more', async () => {
  const { faulty, after } = await during({ kind: 'latency', ms: 50 }, AMPLE_MS);
  expect([faulty.failures, after.failures]).toEqual([[], []]);
});

test.each<[string, Fault]>([['a black hole', { kind: 'black-hole' }], ['a half-open connection', { kind: 'half-open' }]])(
  '%s costs its requests their deadline and no more, is ejected, and comes back', async (_what, fault) => {
    const { faulty, after, attempts } = await during(fault, DEADLINE_MS, true);
    // each time that it comes back to try, it costs again what goes there until the first deadline
    expect(faulty.failures.length).toBeLessThanOrEqual(BEFORE_EJECTION + (ejected.length - 1) * CONCURRENCY);
    for (const { code } of faulty.failures) expect(['DEADLINE_EXCEEDED', 'RUNTIME_UNAVAILABLE']).toContain(code);
    expect(inTime(faulty.failures)).toBe(true);
    expect(ejected).toContain(`127.0.0.1:${proxy.port}`);
    expect(faulty.answered).toBeGreaterThanOrEqual(700);
    // attempts that reached a server, in relation to calls
    expect(attempts).toBeLessThanOrEqual(1.1 * (faulty.answered + faulty.failures.length));
    expect(after.failures.length).toBeLessThanOrEqual(CONCURRENCY);
  });

test('a reset costs the requests under way, and the connection is made anew', async () => {
  const connections = proxy.connections;
  const { failures } = await load(runtime, CONCURRENCY, (async () => {
    proxy.resetConnections();
    await untilHad(servers[2], 50);
  })(), AMPLE_MS);
  expect(failures.length).toBeLessThanOrEqual(CONCURRENCY);
  for (const { code } of failures) expect(code).toBe('RUNTIME_UNAVAILABLE');
  expect(proxy.connections).toBeGreaterThan(connections);
});

test('an endpoint that resets every answer stays out while it does, with at most a tenth more attempts', async () => {
  const { faulty, after, attempts } = await during({ kind: 'reset', afterBytes: 40 });
  expect(faulty.failures.length).toBeLessThanOrEqual(0.1 * faulty.answered);
  expect(attempts).toBeLessThanOrEqual(1.1 * (faulty.answered + faulty.failures.length));
  expect(retries).toBeLessThanOrEqual(0.1 * (faulty.answered + after.answered));
  expect(after.failures.length).toBeLessThanOrEqual(CONCURRENCY);
});

test('an endpoint that refuses connections gets nothing, and nothing fails beyond what it had', async () => {
  const before = await total();
  const { answered, failures } = await load(runtime, CONCURRENCY, (async () => {
    proxy.stopListening();
    proxy.resetConnections();
    await Promise.all([untilHad(servers[0], 400), untilHad(servers[1], 400)]);
  })(), AMPLE_MS);
  expect(failures.length).toBeLessThanOrEqual(CONCURRENCY);
  expect(await total() - before).toBeLessThanOrEqual(1.1 * (answered + failures.length));
  await proxy.startListening();
  const back = await load(runtime, CONCURRENCY, untilHad(servers[2], 20), AMPLE_MS);
  expect(back.failures).toEqual([]);
});
