/** Server and channel over TLS, with certificates on both sides and renewed while they run. */
import { once } from 'node:events';
import { connect } from 'node:net';
import { credentials } from '@grpc/grpc-js';
import { generate } from 'selfsigned';
import { QUIET, TestOperations } from './operations';
import { Services, stockClient, unary } from './stock-client';
import { Channel } from '../../../runtime/grpc/channel';
import { decodeFlag, encodeEmpty } from '../../../runtime/grpc/oip-server';
import { GrpcServer } from '../../../runtime/grpc/server';

const LIVE = '/inference.GRPCInferenceService/ServerLive';

interface Pair {
  readonly cert: string;
  readonly private: string;
}

const pair = (name: string): Promise<Pair> => generate([{ name: 'commonName', value: name }], {
  keyType: 'ec', algorithm: 'sha256', extensions: [{ name: 'subjectAltName', altNames: [{ type: 2, value: 'localhost' }] }],
});

let serving: Pair;
let renewed: Pair;
let caller: Pair;
let server: GrpcServer;
let port: number;

beforeAll(async () => {
  [serving, renewed, caller] = await Promise.all([pair('one'), pair('two'), pair('caller')]);
  server = new GrpcServer({
    operations: new TestOperations(),
    maxBodyBytes: 1_000_000,
    logger: QUIET,
    tls: { cert: serving.cert, key: serving.private, ca: caller.cert, requestCert: true, rejectUnauthorized: true },
  });
  ({ port } = await server.listen(0, '127.0.0.1'));
});

afterAll(() => server.close(0));

const channel = (ca: string, client: Pair | undefined) => new Channel({
  host: '127.0.0.1', port, tls: () => ({ ca, cert: client?.cert, key: client?.private, servername: 'localhost' }), backoff: { firstMs: 60_000, maxMs: 60_000 },
});

it('serves the stock client and our channel', async () => {
  const client = stockClient(
    Services.inference, port, { 'grpc.ssl_target_name_override': 'localhost' },
    credentials.createSsl(Buffer.from(serving.cert), Buffer.from(caller.private), Buffer.from(caller.cert)),
  );
  expect(await unary(client, 'ServerLive', {})).toEqual({ live: true });
  client.close();
  const ours = channel(serving.cert, caller);
  expect(decodeFlag(await ours.unary(LIVE, encodeEmpty()))).toBe(true);
  await ours.close();
});

it.each([
  ['has no certificate', () => channel(serving.cert, undefined)],
  ['has one that is not trusted', () => channel(serving.cert, renewed)],
  ['does not trust the server', () => channel(renewed.cert, caller)],
])('takes no call of a client that %s', async (_, make) => {
  const ours = make();
  await expect(ours.unary(LIVE, encodeEmpty())).rejects.toMatchObject({ status: 14, sentBeforeFailure: false });
  await ours.close();
});

it('serves a renewed certificate to new connections, and the old ones go on', async () => {
  let ca = serving.cert;
  const ours = new Channel({ host: '127.0.0.1', port, tls: () => ({ ca, cert: caller.cert, key: caller.private, servername: 'localhost' }) });
  await ours.unary(LIVE, encodeEmpty());
  server.setSecureContext({ cert: renewed.cert, key: renewed.private });
  expect(decodeFlag(await ours.unary(LIVE, encodeEmpty()))).toBe(true);
  const late = channel(renewed.cert, caller);
  expect(decodeFlag(await late.unary(LIVE, encodeEmpty()))).toBe(true);
  await late.close();
  ca = renewed.cert;
  await ours.close();
});

it('asks for certificates once authorities are there, and does not stop asking', async () => {
  const tls = { cert: serving.cert, key: serving.private };
  const other = new GrpcServer({ operations: new TestOperations(), maxBodyBytes: 1_000, logger: QUIET, tls });
  const { port: own } = await other.listen(0, '127.0.0.1');
  const ask = async (client: Pair | undefined) => {
    const made = new Channel({ host: '127.0.0.1', port: own, tls: () => ({ ca: serving.cert, cert: client?.cert, key: client?.private, servername: 'localhost' }) });
    try {
      return decodeFlag(await made.unary(LIVE, encodeEmpty()));
    } finally {
      await made.close();
    }
  };
  expect(await ask(undefined)).toBe(true);
  other.setSecureContext({ ...tls, ca: caller.cert, requestCert: true, rejectUnauthorized: true });
  await expect(ask(undefined)).rejects.toMatchObject({ status: 14 });
  await expect(ask(renewed)).rejects.toMatchObject({ status: 14 });
  expect(await ask(caller)).toBe(true);
  await other.close(0);
});

it('closing does not wait for a handshake that nobody goes on with', async () => {
  const tls = { cert: serving.cert, key: serving.private };
  const other = new GrpcServer({ operations: new TestOperations(), maxBodyBytes: 1_000, logger: QUIET, tls });
  const silent = connect((await other.listen(0, '127.0.0.1')).port, '127.0.0.1');
  silent.on('error', () => undefined);
  await once(silent, 'connect');
  await other.close(50);
  await new Promise((resolve) => (silent.closed ? resolve(undefined) : silent.once('close', resolve)));
});
