import { once } from 'node:events';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { never, Peer, type PeerAnswer, type PeerRequest } from './peer.fixture';
import { HttpConnection, type HttpConnectionOptions } from '../../../runtime/adapters/aws/http-connection';

describe('a connection to an HTTP server', () => {
  let peer: Peer;
  let answer: (request: PeerRequest) => PeerAnswer | Promise<PeerAnswer>;
  let connection: HttpConnection;

  beforeEach(async () => {
    answer = ({ body }) => ({ body });
    peer = await Peer.start((request) => answer(request));
    connection = new HttpConnection(peer.url);
  });
  afterEach(async () => {
    connection.close();
    await peer.stop();
  });

  const get = (options?: { deadline?: number; signal?: AbortSignal }) => connection.send('GET', '/', {}, undefined, options);
  const reopen = (options: HttpConnectionOptions) => {
    connection.close();
    connection = new HttpConnection(peer.url, options);
  };

  test.each([['text', 'é'], ['bytes', Buffer.from('é')]])('sends %s, with headers by name or as pairs', async (_, body) => {
    const byName = await connection.send('POST', '/a?b=c', { 'x-name': 'value' }, body);
    const asPairs = await connection.send('POST', '/a?b=c', ['host', connection.host, 'x-name', 'value', 'content-length', '2'], body);
    expect([byName.status, byName.body.toString(), asPairs.status, asPairs.body.toString()]).toEqual([200, 'é', 200, 'é']);
    for (const { method, path, headers } of peer.requests) {
      expect([method, path]).toEqual(['POST', '/a?b=c']);
      expect(headers).toMatchObject({ 'host': connection.host, 'x-name': 'value', 'content-length': '2' });
      expect(headers).not.toHaveProperty('transfer-encoding');
    }
  });

  test('gives status and headers of the answer', async () => {
    answer = () => ({ status: 418, headers: { 'x-kind': 'teapot' }, body: 'short and stout' });
    expect(await get()).toMatchObject({ status: 418, headers: { 'x-kind': 'teapot' } });
  });

  test('sends again on a new connection what met a kept one that the peer had closed', async () => {
    await Promise.all([get(), get(), get()]);
    peer.dropConnections();
    expect((await Promise.all([get(), get(), get()])).map(({ status }) => status)).toEqual([200, 200, 200]);
  });

  test('sends nothing again where that is not allowed', async () => {
    reopen({ mayRetry: () => false });
    await get();
    answer = () => ({ status: 0 });
    await expect(get()).rejects.toMatchObject({ code: 'ECONNRESET' });
    expect(peer.requests).toHaveLength(2);
  });

  test('sends a request again once at most, and never one that had a new connection', async () => {
    await get();
    answer = () => ({ status: 0 });
    await expect(get()).rejects.toMatchObject({ code: 'ECONNRESET' });
    expect(peer.requests).toHaveLength(3);
    await expect(get()).rejects.toMatchObject({ code: 'ECONNRESET' });
    expect(peer.requests).toHaveLength(4);
  });

  test('ends a call at its deadline, and the next one gets a new connection', async () => {
    await get();
    answer = never;
    await expect(get({ deadline: Date.now() + 20 })).rejects.toMatchObject({ name: 'TimeoutError' });
    answer = () => ({ body: 'back' });
    expect((await get({ deadline: Date.now() + 60_000 })).body.toString()).toBe('back');
  });

  test('a deadline that has passed already is no request that goes on', async () => {
    answer = never;
    await expect(get({ deadline: Date.now() - 1 })).rejects.toMatchObject({ name: 'TimeoutError' });
  });

  test("ends a call with its signal's reason, before and during the call", async () => {
    const caller = new AbortController();
    answer = () => {
      caller.abort(new Error('gave up'));
      return never();
    };
    await expect(get({ signal: caller.signal })).rejects.toThrow('gave up');
    await expect(get({ signal: caller.signal })).rejects.toThrow('gave up');
    expect(peer.requests).toHaveLength(1);
  });

  test('one call that ends early leaves the others alone', async () => {
    const caller = new AbortController();
    const release: (() => void)[] = [];
    answer = ({ path }) => {
      if (path === '/early') caller.abort(new Error('gave up'));
      return new Promise((resolve) => release.push(() => resolve({ body: path })));
    };
    const others = ['/a', '/b'].map((path) => connection.send('GET', path));
    await expect(connection.send('GET', '/early', {}, undefined, { signal: caller.signal })).rejects.toThrow('gave up');
    answer = ({ path }) => ({ body: path });
    for (const each of release) each();
    // those that arrive late are answered at once
    const found = await Promise.all(others);
    expect(found.map(({ body }) => body.toString())).toEqual(['/a', '/b']);
  });

  test('an answer above its bound is refused', async () => {
    reopen({ maxAnswerBytes: 1000 });
    answer = ({ path }) => ({ body: Buffer.alloc(path === '/fits' ? 1000 : 1001) });
    expect((await connection.send('GET', '/fits')).body).toHaveLength(1000);
    await expect(get()).rejects.toThrow('above 1000 bytes');
  });

  test('calls beyond the bound of sockets wait for one', async () => {
    reopen({ maxSockets: 2 });
    let open = 0;
    let most = 0;
    let both: () => void;
    const bothOpen = new Promise<void>((resolve) => {
      both = resolve;
    });
    answer = async ({ path }) => {
      most = Math.max(most, ++open);
      if (open === 2) both();
      await bothOpen;
      open--;
      return { body: path };
    };
    const bodies = await Promise.all(['/1', '/2', '/3', '/4', '/5'].map(async (path) => (await connection.send('GET', path)).body.toString()));
    expect(bodies).toEqual(['/1', '/2', '/3', '/4', '/5']);
    expect(most).toBe(2);
  });
});

describe('a connection to a peer that is no HTTP server', () => {
  let server: Server;
  const sockets: Socket[] = [];
  let onSocket: (socket: Socket) => void;

  beforeEach(async () => {
    server = createServer((socket) => {
      socket.on('error', () => undefined);
      sockets.push(socket);
      onSocket(socket);
    }).listen(0, '127.0.0.1');
    await once(server, 'listening');
  });
  afterEach(() => {
    for (const socket of sockets.splice(0)) socket.destroy();
    server.close();
  });

  const url = (scheme: string) => `${scheme}://127.0.0.1:${(server.address() as AddressInfo).port}`;

  test('gives up when no connection comes about', async () => {
    onSocket = () => undefined;
    const connection = new HttpConnection(url('https'), { connectTimeoutMs: 20 });
    await expect(connection.send('GET', '/')).rejects.toMatchObject({ code: 'ETIMEDOUT', message: 'no connection within 20 ms' });
    connection.close();
  });

  test.each([
    ['cut short', 'HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf'],
    ['cut short in chunks', 'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n'],
    ['that is no HTTP', 'SSH-2.0-OpenSSH_9.6\r\n'],
    ['with two lengths', 'HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab'],
  ])('an answer %s is a failure', async (_, text) => {
    onSocket = (socket) => socket.once('data', () => socket.end(text));
    const connection = new HttpConnection(url('http'));
    await expect(connection.send('GET', '/')).rejects.toThrow();
    connection.close();
  });
});
