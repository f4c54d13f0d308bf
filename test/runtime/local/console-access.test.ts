import { oneRow, startConsole, TOKEN, type TestConsole } from './console.fixture';
import { AllowedHosts } from '../../../runtime/local/console/allowed-hosts';
import { Sessions } from '../../../runtime/local/console/sessions';
import { request } from '../core/brain.fixture';
import { Services, stockClient, unary } from '../grpc/stock-client';
import { call } from '../inference-service/http.fixture';

const refused = (status: number, code: string) => ({ status, body: expect.objectContaining({ code }) });
let brain: TestConsole;
afterEach(() => brain.close());

describe('a brain that anybody on this machine may use', () => {
  beforeEach(async () => {
    brain = await startConsole();
  });
  const port = () => new URL(brain.url).port;

  test.each([['127.0.0.1'], ['localhost'], ['LOCALHOST'], ['[::1]']])('is known as %s', async (name) => {
    expect((await brain.send({ path: '/console', headers: { host: `${name}:${port()}` } })).status).toBe(200);
  });

  test.each([
    ['a name of the internet', () => `evil.example:${port()}`],
    ['a name that begins like ours', () => `localhost.evil.example:${port()}`],
    ['another port', () => '127.0.0.1:1'],
    ['no port', () => '127.0.0.1'],
    ['an address of a network', () => `192.168.1.5:${port()}`],
  ])('refuses %s as its host, on every path', async (_, host) => {
    for (const path of ['/console', '/console/api/requests', '/v2', '/v2/health/live']) expect(await brain.send({ path, headers: { host: host() } })).toMatchObject(refused(403, 'FOREIGN_ORIGIN'));
  });

  const put = (headers: Record<string, string | undefined>) => brain.change('PUT', '/console/api/rollout/eta', { stable: '2' }, headers);

  test.each([
    ['no origin', undefined], ['the opaque origin', 'null'], ['another site', 'https://evil.example'], ['another port', 'http://127.0.0.1:1'], ['another scheme', 'https'],
  ])('takes no change from %s', async (_, origin) => {
    const digest = `"${await brain.digest()}"`;
    const sent = origin === 'https' ? brain.url.replace('http:', 'https:') : origin;
    expect(await put({ 'origin': sent, 'if-match': digest })).toMatchObject(refused(403, 'FOREIGN_ORIGIN'));
    expect(await brain.change('POST', '/console/api/v2/models/eta/infer', {}, { origin: sent })).toMatchObject(refused(403, 'FOREIGN_ORIGIN'));
    expect(await brain.digest()).toBe(digest.slice(1, -1));
  });

  test.each([['text/plain'], ['application/x-www-form-urlencoded'], ['multipart/form-data; boundary=x'], [undefined]])('takes no change as %s, which a form of another site could send', async (type) => {
    expect(await put({ 'content-type': type, 'if-match': `"${await brain.digest()}"` })).toMatchObject(refused(415, 'UNSUPPORTED_MEDIA_TYPE'));
  });

  test('lets no other site read', async () => {
    const read = (headers: Record<string, string>) => brain.send({ path: '/console/api/requests', headers });
    expect(await read({ 'sec-fetch-site': 'cross-site' })).toMatchObject(refused(403, 'FOREIGN_ORIGIN'));
    expect(await read({ 'sec-fetch-site': 'same-site' })).toMatchObject(refused(403, 'FOREIGN_ORIGIN'));
    expect(await read({ origin: 'https://evil.example' })).toMatchObject(refused(403, 'FOREIGN_ORIGIN'));
    expect((await read({ 'sec-fetch-site': 'same-origin' })).status).toBe(200);
    // a link from elsewhere opens the page
    expect((await brain.send({ path: '/console', headers: { 'sec-fetch-site': 'cross-site' } })).status).toBe(200);
  });

  const ask = (headers: Record<string, string>) => brain.send({
    method: 'POST', path: '/v2/models/eta/infer', headers, payload: JSON.stringify(request({ inputs: oneRow() })),
  });
  const recorded = async () => ((await brain.get('/console/api/requests')).body as { requests: unknown[] }).requests;

  // no type, no preflight: what a page sends with `mode: 'no-cors'` and a Blob
  test.each<[string, Record<string, string>]>([
    ['another site', { origin: 'https://evil.example' }], ['the opaque origin', { origin: 'null' }], ['another port', { origin: 'http://127.0.0.1:1' }],
    ['a site that is not named', { 'sec-fetch-site': 'cross-site' }], ['another port that is not named', { 'sec-fetch-site': 'same-site' }],
  ])('runs no inference for a page of %s', async (_, headers) => {
    expect(await ask(headers)).toMatchObject(refused(403, 'FOREIGN_ORIGIN'));
    expect(await recorded()).toEqual([]);
  });

  test('runs inferences for programs, and for its own pages', async () => {
    expect((await ask({})).status).toBe(200);
    expect((await ask({ 'origin': brain.url, 'sec-fetch-site': 'same-origin' })).status).toBe(200);
    expect(await recorded()).toHaveLength(2);
  });

  test('takes a body of a bounded size, and JSON only', async () => {
    expect(await brain.change('POST', '/console/api/vectors/trips/nearest', 'x'.repeat(1024 * 1024 + 1))).toMatchObject(refused(413, 'BODY_TOO_LARGE'));
    expect(await brain.change('POST', '/console/api/vectors/trips/nearest', '{')).toMatchObject(refused(400, 'INVALID_JSON'));
    const wrong = await brain.change('DELETE', '/console/api/rollout', {});
    expect(wrong).toMatchObject(refused(405, 'METHOD_NOT_ALLOWED'));
    expect(wrong.headers.allow).toBe('GET');
  });
});

describe('a brain with a token', () => {
  beforeEach(async () => {
    brain = await startConsole({ token: TOKEN });
  });
  const bare = (path: string, headers = {}) => call(brain.url, { path, headers });
  const login = (token: string, origin = brain.url) => call(brain.url, {
    method: 'POST', path: '/console/login', headers: { origin, 'content-type': 'application/x-www-form-urlencoded' }, payload: new URLSearchParams({ token }).toString(),
  });

  test.each([
    ['no token', {}], ['another token', { authorization: 'Bearer another-token-of-length' }], ['a longer one', { authorization: `Bearer ${TOKEN}x` }], ['another scheme', { authorization: `Basic ${TOKEN}` }],
    ['a cookie that is none', { cookie: 'thalos-console-1=x' }],
  ])('refuses %s', async (_, headers) => {
    for (const path of ['/v2', '/v2/models/eta', '/console/api/brain', '/console/api/requests', '/console/api/events', '/console/api/v2/models/eta']) {
      const answer = await bare(path, headers);
      expect(answer).toMatchObject(refused(401, 'UNAUTHENTICATED'));
      expect(answer.headers['www-authenticate']).toBe('Bearer');
    }
  });

  test('lets its holder in, to override versions too', async () => {
    expect((await brain.get('/v2/models/eta')).status).toBe(200);
    expect((await brain.get('/console/api/brain')).body).toMatchObject({ name: 'rides', needsToken: true });
    expect((await bare('/v2/health/live')).status).toBe(200);
  });

  test('asks for the token on gRPC', async () => {
    const client = stockClient(Services.inference, Number(new URL(brain.grpc).port));
    await expect(unary(client, 'ServerMetadata', {})).rejects.toMatchObject({ code: 16 });
    await expect(unary(client, 'ServerMetadata', {}, { authorization: 'Bearer wrong-token-of-some-length' })).rejects.toMatchObject({ code: 16 });
    expect(await unary(client, 'ServerMetadata', {}, { authorization: `Bearer ${TOKEN}` })).toMatchObject({ name: 'thalos-brain' });
    client.close();
  });

  test('shows the login in place of the page', async () => {
    const { status, bytes } = await bare('/console');
    expect(status).toBe(200);
    expect(bytes.toString()).toContain('action="/console/login"');
  });

  test('gives a cookie for the token, which opens the console and all behind it, and takes it back', async () => {
    const { status, headers } = await login(TOKEN);
    expect({ status, location: headers.location }).toEqual({ status: 303, location: '/console' });
    const [set] = headers['set-cookie']!;
    expect(set).toMatch(/^thalos-console-[0-9]+=[A-Za-z0-9_-]{43}; Path=\/console; HttpOnly; SameSite=Strict; Max-Age=43200$/);
    expect(set).not.toContain(TOKEN);
    const cookie = set.split(';', 1)[0];
    expect((await bare('/console', { cookie })).bytes.toString()).toContain('app.js');
    expect((await bare('/console/api/brain', { cookie })).status).toBe(200);
    expect((await bare('/console/api/v2/models/eta', { cookie })).status).toBe(200);
    // the cookie is the console's: REST itself takes the token
    expect((await bare('/v2/models/eta', { cookie })).status).toBe(401);
    const out = await call(brain.url, { method: 'POST', path: '/console/logout', headers: { cookie, origin: brain.url } });
    expect(out.headers['set-cookie']![0]).toContain('Max-Age=0');
    expect((await bare('/console/api/brain', { cookie })).status).toBe(401);
  });

  test('refuses a wrong token, and a login that another site sends', async () => {
    const wrong = await login('another-token-of-length');
    expect(wrong.status).toBe(401);
    expect(wrong.headers).not.toHaveProperty('set-cookie');
    expect(wrong.bytes.toString()).toContain('role="alert"');
    expect(await login(TOKEN, 'https://evil.example')).toMatchObject(refused(403, 'FOREIGN_ORIGIN'));
    expect((await login('x'.repeat(5000))).status).toBe(413);
  });
});

describe('hosts', () => {
  beforeEach(async () => {
    brain = await startConsole();
  });

  test.each([
    ['192.168.1.5', '192.168.1.5:8080', true], ['192.168.1.5', 'localhost:8080', true], ['192.168.1.5', '192.168.1.6:8080', false], ['brain.lan', 'Brain.LAN:8080', true],
    ['0.0.0.0', '10.1.2.3:8080', true], ['0.0.0.0', 'evil.example:8080', false], ['::', '[fe80::1]:8080', true], ['::', '[fe80::1]', false], ['fd00::5', '[fd00::5]:8080', true],
    ['0.0.0.0', '10.1.2.3:80', false], ['127.0.0.1', '127.0.0.1:8080:8080', false], ['127.0.0.1', ':8080', false],
  ])('bound to %s, %s is ours: %s', (host, header, ours) => {
    expect(new AllowedHosts(host, 8080).has(header)).toBe(ours);
  });

  test('on the port of plain HTTP needs no port', () => {
    expect(new AllowedHosts('127.0.0.1', 80).has('localhost')).toBe(true);
    expect(new AllowedHosts('::1', 80).has('[::1]')).toBe(true);
  });

  test('a login ends by itself, and the oldest makes room', () => {
    let now = 0;
    const sessions = new Sessions('c', () => now);
    const first = sessions.begin().split(';', 1)[0];
    expect(sessions.has(`a=b; ${first}`)).toBe(true);
    now = 12 * 3600 * 1000;
    expect(sessions.has(first)).toBe(false);
    now = 1;
    for (let login = 0; login < 100; login++) sessions.begin();
    expect(sessions.has(first)).toBe(false);
  });
});
