import { once } from 'node:events';
import { AddressInfo, connect, createServer, Server, Socket } from 'node:net';
import { FaultProxy, FaultProxyOptions, ProxiedConnection } from './fault-proxy';

let echo: Server;
let accepted: Socket[];
let proxy: FaultProxy;
let clients: Socket[];

async function start(options?: FaultProxyOptions): Promise<void> {
  proxy = await FaultProxy.start((echo.address() as AddressInfo).port, options);
}

async function client(): Promise<Socket> {
  const socket = connect({ port: proxy.port, host: '127.0.0.1', allowHalfOpen: true });
  clients.push(socket);
  socket.on('error', () => undefined);
  await once(socket, 'connect');
  return socket;
}

async function receive(socket: Socket, length: number): Promise<string> {
  let text = '';
  for await (const chunk of socket.iterator({ destroyOnReturn: false })) {
    text += String(chunk);
    if (text.length >= length) return text;
  }
  return text;
}

/** Everything that was sent before has arrived at the proxy: a connection that passes has gone round. */
async function settle(): Promise<void> {
  for (let i = 0; i < 20; i++) await new Promise(setImmediate);
}

beforeEach(async () => {
  accepted = [];
  clients = [];
  echo = createServer((socket) => {
    accepted.push(socket);
    socket.on('error', () => undefined);
    socket.pipe(socket);
  });
  echo.listen(0, '127.0.0.1');
  await once(echo, 'listening');
});

afterEach(async () => {
  for (const socket of [...clients, ...accepted]) socket.destroy();
  await proxy.close();
  echo.close();
});

test('passes bytes and ends both ways, and counts', async () => {
  const seen: string[] = [];
  await start({ record: (chunk, direction, connection) => seen.push(`${connection.number} ${direction} ${String(chunk)}`) });
  const socket = await client();
  socket.write('hello');
  expect(await receive(socket, 5)).toBe('hello');
  socket.end();
  socket.resume();
  await once(socket, 'end');
  expect(proxy.connections).toBe(1);
  expect(proxy.forwarded).toEqual({ up: 5, down: 5 });
  expect(seen).toEqual(['1 up hello', '1 down hello']);
  expect(proxy.open.size).toBe(0);
});

test('latency delays each direction and keeps the order', async () => {
  await start({ random: () => 0.5 });
  proxy.set({ kind: 'latency', ms: 30, jitterMs: 20 });
  const socket = await client();
  const began = performance.now();
  socket.write('a');
  await settle();
  socket.write('b');
  expect(await receive(socket, 2)).toBe('ab');
  // a lower bound only: two directions of 40 ms, less the timer's granularity
  expect(performance.now() - began).toBeGreaterThan(75);
});

test('bandwidth bounds what gets through in a time', async () => {
  await start();
  proxy.set({ kind: 'bandwidth', bytesPerSecond: 100_000 });
  const socket = await client();
  const began = performance.now();
  socket.write('x'.repeat(20_000));
  expect(await receive(socket, 20_000)).toHaveLength(20_000);
  expect(performance.now() - began).toBeGreaterThan(120);
});

test('a black hole holds back, and what it held goes on when it ends', async () => {
  await start();
  proxy.set({ kind: 'black-hole' });
  const socket = await client();
  socket.write('late');
  await settle();
  expect(accepted).toEqual([]);
  expect(proxy.forwarded).toEqual({ up: 0, down: 0 });
  proxy.set({ kind: 'pass' });
  expect(await receive(socket, 4)).toBe('late');
});

test('reset breaks an open connection at once', async () => {
  await start();
  const socket = await client();
  socket.write('x');
  await receive(socket, 1);
  const failure = once(socket, 'error');
  proxy.set({ kind: 'reset' });
  expect(await failure).toMatchObject([{ code: 'ECONNRESET' }]);
});

test('reset after so many bytes lets these through', async () => {
  await start();
  proxy.set({ kind: 'reset', afterBytes: 3 });
  const socket = await client();
  let text = '';
  socket.on('data', (chunk) => {
    text += String(chunk);
  });
  socket.write('hello');
  const [error] = await once(socket, 'error') as [NodeJS.ErrnoException];
  expect(error.code).toBe('ECONNRESET');
  expect('hel'.startsWith(text)).toBe(true);
  expect(proxy.forwarded.down).toBe(3);
});

test('half-open loses bytes and ends, and keeps both sockets', async () => {
  await start();
  const socket = await client();
  socket.write('x');
  await receive(socket, 1);
  proxy.set({ kind: 'half-open' });
  let heard = false;
  socket.on('data', () => {
    heard = true;
  });
  socket.on('end', () => {
    heard = true;
  });
  socket.write('lost');
  accepted[0]!.end();
  await settle();
  proxy.set({ kind: 'pass' });
  await settle();
  expect(heard).toBe(false);
  expect(socket.destroyed).toBe(false);
  expect(proxy.forwarded.up).toBe(1);
});

test('refuse closes new connections and lets old ones go on', async () => {
  await start();
  const old = await client();
  old.write('x');
  await receive(old, 1);
  proxy.set({ kind: 'refuse' });
  const fresh = connect(proxy.port, '127.0.0.1');
  clients.push(fresh);
  fresh.on('error', () => undefined);
  await new Promise((resolve) => fresh.once('close', resolve));
  old.write('still');
  expect(await receive(old, 5)).toBe('still');
  expect(proxy.connections).toBe(2);
});

test('without a listener a connect is refused, and the port comes back', async () => {
  await start();
  const { port } = proxy;
  proxy.stopListening();
  const socket = connect(port, '127.0.0.1');
  const [error] = await once(socket, 'error') as [NodeJS.ErrnoException];
  expect(error.code).toBe('ECONNREFUSED');
  await proxy.startListening();
  expect(proxy.port).toBe(port);
  const again = await client();
  again.write('back');
  expect(await receive(again, 4)).toBe('back');
});

test('a fault can be for one connection alone', async () => {
  const held: ProxiedConnection[] = [];
  await start({
    onConnection: (connection) => {
      if (connection.number !== 1) return;
      connection.set({ kind: 'black-hole' });
      held.push(connection);
    },
  });
  const first = await client();
  first.write('one');
  const second = await client();
  second.write('two');
  expect(await receive(second, 3)).toBe('two');
  expect(proxy.forwarded.up).toBe(3);
  held[0]!.set({ kind: 'pass' });
  expect(await receive(first, 3)).toBe('one');
});

test('a target that is not there breaks the connection', async () => {
  await start();
  const closed = once(echo, 'close');
  echo.close();
  await closed;
  const socket = connect(proxy.port, '127.0.0.1');
  clients.push(socket);
  socket.on('error', () => undefined);
  await new Promise((resolve) => socket.once('close', resolve));
  expect(proxy.open.size).toBe(0);
});
