import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { TritonManagement } from '../../../runtime/model-agent/triton-management';
import { Peer, type PeerAnswer, type PeerRequest } from '../adapters-aws/peer.fixture';

let folder: string;
let peer: Peer;
let triton: TritonManagement;
let answer: (request: PeerRequest) => PeerAnswer;

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'management-'));
  answer = () => ({});
  peer = await Peer.start((request) => answer(request));
  triton = new TritonManagement({ http: peer.url, metrics: peer.url, keyFile: join(folder, 'key') });
});
afterEach(async () => {
  triton.close();
  await peer.stop();
  rmSync(folder, { recursive: true });
});

const never = new AbortController().signal;

test('a key counts once it is whole', async () => {
  expect(await triton.key()).toBeUndefined();
  writeFileSync(join(folder, 'key'), 'abc');
  expect(await triton.key()).toBeUndefined();
  writeFileSync(join(folder, 'key'), 'abcdef\n');
  expect(await triton.key()).toBe('abcdef');
});

test('loads with the key, and asks whether the version is ready', async () => {
  await triton.load('eta.3', '3', 'the-key', never);
  expect(peer.requests.map(({ method, path, headers }) => [method, path, headers['thalos-management']])).toEqual([
    ['POST', '/v2/repository/models/eta.3/load', 'the-key'], ['GET', '/v2/models/eta.3/versions/3/ready', undefined],
  ]);
});

test('a load that Triton refuses fails with what it said; so does one whose version is not ready', async () => {
  answer = () => ({ status: 400, body: '{"error":"no memory"}' });
  await expect(triton.load('eta.3', '3', 'k', never)).rejects.toMatchObject({ code: 'MODEL_FAILED', text: expect.stringContaining('no memory') });
  answer = ({ method }) => ({ status: method === 'GET' ? 400 : 200 });
  await expect(triton.load('eta.3', '3', 'k', never)).rejects.toMatchObject({ code: 'MODEL_FAILED', text: expect.stringContaining('not ready') });
});

test('an unload is over when the model is gone, not when Triton has heard of it', async () => {
  let looks = 0;
  answer = ({ path }) => (path.endsWith('/index') ? { body: ++looks < 3 ? [{ name: 'eta.3', state: 'UNLOADING' }] : [{ name: 'eta.3', state: 'UNAVAILABLE' }] } : {});
  await triton.unload('eta.3', 'k', never);
  expect(looks).toBe(3);
});

test('holds what is ready, loading or unloading', async () => {
  answer = () => ({ body: ['READY', 'LOADING', 'UNLOADING', 'UNAVAILABLE', undefined].map((state, index) => ({ name: `m.${index}`, state })) });
  expect(await triton.index('k')).toEqual(['m.0', 'm.1', 'm.2']);
});

test('adds up what waits and what ended', async () => {
  answer = () => ({
    body: [
      'nv_inference_request_success{model="a.1",version="1"} 5', 'nv_inference_request_success{model="b.1",version="1"} 2',
      'nv_inference_request_failure{model="a.1",reason="OTHER",version="1"} 1', 'nv_inference_pending_request_count{model="a.1",version="1"} 3',
    ].join('\n'),
  });
  expect(await triton.traffic()).toEqual({ pending: 3, ended: 8 });
});

test('no connection rests: Triton would wait for it when it is to end', async () => {
  await triton.isLive();
  answer = () => ({ body: [] });
  await triton.index('k');
  await triton.traffic();
  expect(peer.requests.map(({ headers }) => headers.connection)).toEqual(['close', 'close', 'close']);
});
