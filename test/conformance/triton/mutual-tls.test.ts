/** Mutual TLS towards the real Triton, and the renewal of the certificate under load. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { FixedEndpoints, load, LOGGER, openRuntime, ROW, startTriton, TIMES } from './pool';
import { startScript } from './start-script';
import type { TritonServer } from './triton-server';
import { ClientCertificates } from '../../../runtime/adapters/aws/client-certificates';
import { type Clock, SYSTEM_CLOCK } from '../../../runtime/core/ports';
import { issue, makeAuthority, type Pair } from '../../support/certificates';
import { FaultProxy } from '../../support/fault-proxy';

jest.setTimeout(600_000);

const SERVICE = 'triton-stable.thalos-runtime.svc';
const CONCURRENCY = 4;
const DAY_MS = 86_400_000;
/** Was good until yesterday. */
const OVER = { from: new Date(Date.now() - 30 * DAY_MS), until: new Date(Date.now() - DAY_MS) };

let authority: Pair;
let server: TritonServer;
let proxy: FaultProxy;
let folder: string;
const opened: { close(): Promise<void> }[] = [];

const mount = ({ cert, key }: Pair, ca = authority.cert) => {
  writeFileSync(join(folder, 'tls.crt'), cert);
  writeFileSync(join(folder, 'tls.key'), key);
  writeFileSync(join(folder, 'ca.crt'), ca);
};
function connect(host = SERVICE, clock: Clock = SYSTEM_CLOCK) {
  const certificates = new ClientCertificates({ folder, clock, logger: LOGGER, everyMs: 3_600_000 });
  const runtime = openRuntime(new FixedEndpoints(`127.0.0.1:${proxy.port}`), { certificates, target: { host, port: 8001, secure: true } });
  opened.push(runtime);
  return { runtime, certificates };
}

beforeAll(async () => {
  authority = await makeAuthority();
  server = await startTriton(startScript(), ['times'], { tls: { ...await issue(authority, { dns: SERVICE }), ca: authority.cert } });
  proxy = await FaultProxy.start(server.ports.grpc);
});
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'triton-tls-'));
});
afterEach(async () => {
  await Promise.all(opened.splice(0).map((each) => each.close()));
  rmSync(folder, { recursive: true });
});
afterAll(async () => {
  await proxy?.close();
  await server?.stop();
});

test('a client with a certificate of the authority is served', async () => {
  mount(await issue(authority));
  const { runtime } = connect();
  expect(await runtime.ready(TIMES)).toBe(true);
  expect((await runtime.infer(TIMES, ROW))[0].data[29]).toBe(58);
});

test('a client without a certificate is refused', async () => {
  const runtime = openRuntime(new FixedEndpoints(server.address));
  opened.push(runtime);
  expect(await runtime.ready(TIMES)).toBe(false);
  await expect(runtime.infer(TIMES, ROW)).rejects.toMatchObject({ code: 'RUNTIME_UNAVAILABLE' });
});

test('a client whose certificate is over is refused', async () => {
  mount(await issue(authority, OVER));
  // one whose clock is late, because no other would show it
  const { runtime } = connect(SERVICE, { ...SYSTEM_CLOCK, now: () => OVER.until.getTime() - DAY_MS });
  expect(await runtime.ready(TIMES)).toBe(false);
  await expect(runtime.infer(TIMES, ROW)).rejects.toMatchObject({ code: 'RUNTIME_UNAVAILABLE' });
});

test('a server whose certificate is over is not believed', async () => {
  const late = await startTriton(startScript(), ['times'], { tls: { ...await issue(authority, { dns: SERVICE, ...OVER }), ca: authority.cert } });
  try {
    mount(await issue(authority));
    const certificates = new ClientCertificates({ folder, clock: SYSTEM_CLOCK, logger: LOGGER, everyMs: 3_600_000 });
    const runtime = openRuntime(new FixedEndpoints(late.address), { certificates, target: { host: SERVICE, port: 8001, secure: true } });
    opened.push(runtime);
    expect(await runtime.ready(TIMES)).toBe(false);
    await expect(runtime.infer(TIMES, ROW)).rejects.toMatchObject({ code: 'RUNTIME_UNAVAILABLE' });
  } finally {
    await late.stop();
  }
});

test("a client with another authority's certificate is refused", async () => {
  mount(await issue(await makeAuthority('other')));
  const { runtime } = connect();
  expect(await runtime.ready(TIMES)).toBe(false);
  await expect(runtime.infer(TIMES, ROW)).rejects.toMatchObject({ code: 'RUNTIME_UNAVAILABLE' });
});

test.each<[string, string, () => Promise<string>]>([
  ['has another name', 'triton-candidate.thalos-runtime.svc', async () => authority.cert],
  ['comes from another authority', SERVICE, async () => (await makeAuthority('other')).cert],
])('a server whose certificate %s is not believed', async (_what, host, ca) => {
  mount(await issue(authority), await ca());
  const { runtime } = connect(host);
  expect(await runtime.ready(TIMES)).toBe(false);
});

test('a renewal under load fails no request, and the old connection goes', async () => {
  mount(await issue(authority));
  const { runtime, certificates } = connect();
  expect(await runtime.ready(TIMES)).toBe(true);
  const connections = proxy.connections;
  const renewed = await issue(authority);
  const { answered, failures } = await load(runtime, CONCURRENCY, (async () => {
    const before = await server.requests('times');
    while (await server.requests('times') < before + 50);
    mount(renewed);
    certificates.refresh();
    while (proxy.connections === connections || proxy.open.size > 1) await server.requests('times');
    const after = await server.requests('times');
    while (await server.requests('times') < after + 50);
  })());
  expect(failures).toEqual([]);
  expect(answered).toBeGreaterThan(100);
  expect(proxy.connections).toBe(connections + 1);
});

test('a renewed certificate that the server refuses leaves the old connection in force', async () => {
  mount(await issue(authority));
  const { runtime, certificates } = connect();
  expect(await runtime.ready(TIMES)).toBe(true);
  const connections = proxy.connections;
  mount(await issue(await makeAuthority('other')));
  const { failures } = await load(runtime, CONCURRENCY, (async () => {
    certificates.refresh();
    while (proxy.connections === connections) await server.requests('times');
    const after = await server.requests('times');
    while (await server.requests('times') < after + 100);
  })());
  expect(failures).toEqual([]);
});
