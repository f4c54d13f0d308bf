import { once } from 'node:events';
import { createServer, Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { HttpFaults } from './http-faults';

let target: Server;
let faults: HttpFaults;

const ask = async (body = ''): Promise<string> => {
  const response = await fetch(`http://127.0.0.1:${faults.port}/path?q=1`, { method: 'POST', body, headers: { 'x-sent': 'yes' } });
  return `${response.status} ${response.headers.get('x-answer') ?? '-'} ${await response.text()}`;
};

beforeEach(async () => {
  target = createServer((request, response) => {
    response.setHeader('x-answer', `${request.method} ${request.url} ${String(request.headers['x-sent'])}`);
    request.pipe(response);
  });
  target.listen(0, '127.0.0.1');
  await once(target, 'listening');
  faults = await HttpFaults.start((target.address() as AddressInfo).port);
});

afterEach(async () => {
  await faults.close();
  target.close();
  target.closeAllConnections();
});

test('forwards a request as it is, and its answer', async () => {
  expect(await ask('body')).toBe('200 POST /path?q=1 yes body');
  expect([faults.requests, faults.forwarded, faults.answered]).toEqual([1, 1, 0]);
});

test('answers the next requests, then forwards again', async () => {
  faults.answerNext(2, { status: 429, body: 'slow down', headers: { 'x-answer': 'throttled' } });
  expect(await ask('a')).toBe('429 throttled slow down');
  expect(await ask('b')).toBe('429 throttled slow down');
  expect(await ask('c')).toBe('200 POST /path?q=1 yes c');
  expect([faults.requests, faults.forwarded, faults.answered]).toEqual([3, 1, 2]);
});

test('answers a share until it is told to pass', async () => {
  faults.answerShare(0.3, { status: 503 });
  for (let i = 0; i < 100; i++) await ask();
  expect(faults.answered).toBeGreaterThan(15);
  expect(faults.answered).toBeLessThan(45);
  const before = faults.answered;
  faults.pass();
  for (let i = 0; i < 20; i++) await ask();
  expect(faults.answered).toBe(before);
});
