/** The certificates of the production example, made and renewed by cert-manager's real controllers, between our client and a real Triton. */
import { X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect, createServer, type Server } from 'node:tls';
import { SynthesizedBrain } from './assembly';
import { is, startBrain } from './brain-cluster';
import type { ControlPlane } from './control-plane';
import { programPath } from './programs';
import { ClientCertificates } from '../../../runtime/adapters/aws/client-certificates';
import { SYSTEM_CLOCK } from '../../../runtime/core/ports';
import { Namespace, Port, TlsSecret } from '../../../src/contract';
import { removeFolders } from '../../support/examples';
import type { Json } from '../../support/templates';
import { FixedEndpoints, load, LOGGER, openRuntime, ROW, startTriton, TIMES } from '../triton/pool';
import { startScript } from '../triton/start-script';
import type { TritonServer } from '../triton/triton-server';

jest.setTimeout(600_000);

const CERTIFICATES = { apiVersion: 'cert-manager.io/v1', kind: 'Certificate' };
const SECRETS = { apiVersion: 'v1', kind: 'Secret' };

/** A renewal is due this long after the certificate was made, where weeks are not at hand. */
const RENEWED_AFTER_SECONDS = 2;

interface Secret {
  readonly cert: string;
  readonly key: string;
  readonly ca: string;
}

let brain: SynthesizedBrain;
let plane: ControlPlane;
let triton: TritonServer;
let folder: string;
const opened: { close(): Promise<void> }[] = [];

/** What the server shows: the runtime's own, where the assembly holds it. */
const shown = () => (certificateOf(TlsSecret.RUNTIME_SERVER) ? TlsSecret.RUNTIME_SERVER : TlsSecret.SERVING);

const certificateOf = (secret: string): Json => brain.ofKind('Certificate').find(({ spec }) => spec.secretName === secret);

/** What cert-manager wrote, as a pod would have it mounted. */
function contentOf({ data }: Json): Secret {
  const text = (name: string) => Buffer.from(data[name], 'base64').toString();
  return { cert: text('tls.crt'), key: text('tls.key'), ca: text('ca.crt') };
}

async function issued(secret: string): Promise<Secret> {
  const { namespace } = certificateOf(secret).metadata;
  return contentOf(await plane.api.read({ ...SECRETS, metadata: { name: secret, namespace } }));
}

function mount({ cert, key, ca }: Secret): string {
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'tls.crt'), cert);
  writeFileSync(join(folder, 'tls.key'), key);
  writeFileSync(join(folder, 'ca.crt'), ca);
  return folder;
}

function open(secret?: Secret) {
  const host = certificateOf(shown()).spec.dnsNames[0];
  const certificates = secret && new ClientCertificates({ folder: mount(secret), clock: SYSTEM_CLOCK, logger: LOGGER, everyMs: 3_600_000 });
  const target = { host, port: Port.TRITON_GRPC, secure: true };
  const runtime = openRuntime(new FixedEndpoints(triton.address), certificates && { certificates, target });
  opened.push(runtime);
  return { runtime, certificates: certificates! };
}

/** The certificate's next content, because its renewal is due by its own rules. */
async function renewed(secret: string, before: Secret): Promise<Secret> {
  const certificate = certificateOf(secret);
  await plane.api.patch(certificate, { spec: { duration: '1h0m0s', renewBefore: `${3600 - RENEWED_AFTER_SECONDS}s` } });
  let content = before;
  // the first one after the patch is because of the patch, the next one because of its age
  for (const _cause of ['patch', 'age']) {
    const last = content;
    content = await plane.api.until(`a renewal of ${secret}`, { ...SECRETS, namespace: certificate.metadata.namespace }, (secrets) => {
      const found = secrets.find(({ metadata }) => metadata.name === secret);
      return found && contentOf(found).cert !== last.cert && contentOf(found);
    });
  }
  await plane.api.patch(certificate, { spec: { duration: certificate.spec.duration, renewBefore: certificate.spec.renewBefore } });
  return content;
}

beforeAll(async () => {
  brain = await SynthesizedBrain.of('production');
  plane = await startBrain(brain);
  plane.run('cert-manager', programPath('controllers'), ['cert-manager'], { KUBECONFIG: plane.kubeconfig });
  const wanted = brain.ofKind('Certificate').length;
  await plane.api.until('every certificate', CERTIFICATES, (all) => all.length === wanted && all.every(is('Ready')));
  triton = await startTriton(startScript(), ['times'], { tls: await issued(shown()) });
});
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'issued-'));
});
afterEach(async () => {
  await Promise.all(opened.splice(0).map((each) => each.close()));
  rmSync(folder, { recursive: true });
});
afterAll(async () => {
  await triton?.stop();
  await plane?.stop();
  removeFolders();
});

test('every issuer is ready', async () => {
  for (const kind of ['Issuer', 'ClusterIssuer']) {
    expect(brain.ofKind(kind)).not.toEqual([]);
    const issuers = await plane.api.list({ apiVersion: 'cert-manager.io/v1', kind });
    expect(issuers.map(({ metadata, ...issuer }) => [metadata.name, is('Ready')(issuer)])).toEqual(issuers.map(({ metadata }) => [metadata.name, true]));
  }
});

test('every secret that pods mount is there, with the names and the lifetime that were declared, and its key in nobody else\'s hands', async () => {
  for (const secret of [TlsSecret.SERVING, TlsSecret.RUNTIME_CLIENT, shown()]) {
    const { cert, key, ca } = await issued(secret);
    const certificate = new X509Certificate(cert);
    const { spec } = certificateOf(secret);
    expect(certificate.subjectAltName!.split(', ')).toEqual(spec.dnsNames.map((name: string) => `DNS:${name}`));
    expect((Date.parse(certificate.validTo) - Date.parse(certificate.validFrom)) / 3_600_000).toBe(parseInt(spec.duration));
    expect(certificate.verify(new X509Certificate(ca).publicKey)).toBe(true);
    expect(key).toContain('PRIVATE KEY');
  }
  const authority = brain.ofKind('Certificate').find(({ spec }) => spec.isCA)!;
  const holders = (await plane.api.list(SECRETS)).filter(({ metadata }) => metadata.name === authority.spec.secretName);
  expect(holders.map(({ metadata }) => metadata.namespace)).toEqual([Namespace.CERTIFICATES]);
});

test('the service\'s certificate opens the runtime, and a caller without one stays out', async () => {
  const { runtime } = open(await issued(TlsSecret.RUNTIME_CLIENT));
  expect(await runtime.ready(TIMES)).toBe(true);
  expect((await runtime.infer(TIMES, ROW))[0].data[29]).toBe(58);
  await expect(open().runtime.infer(TIMES, ROW)).rejects.toMatchObject({ code: 'RUNTIME_UNAVAILABLE' });
});

test('the service\'s certificate is renewed with another key when its time has come, and no request notices', async () => {
  const before = await issued(TlsSecret.RUNTIME_CLIENT);
  const { runtime, certificates } = open(before);
  expect(await runtime.ready(TIMES)).toBe(true);
  const { answered, failures } = await load(runtime, 4, (async () => {
    const after = await renewed(TlsSecret.RUNTIME_CLIENT, before);
    expect(after.key).not.toBe(before.key);
    expect(after.ca).toBe(before.ca);
    mount(after);
    certificates.refresh();
    const requests = await triton.requests('times');
    while (await triton.requests('times') < requests + 100);
  })());
  expect(failures).toEqual([]);
  expect(answered).toBeGreaterThan(100);
  expect(certificates.current()!.cert).not.toBe(before.cert);
});

test('the issuer signs for the namespaces of the brain only', async () => {
  const request = (namespace: string): Json => ({
    apiVersion: 'cert-manager.io/v1',
    kind: 'CertificateRequest',
    metadata: { name: 'request', namespace },
    spec: { issuerRef: certificateOf(TlsSecret.RUNTIME_CLIENT).spec.issuerRef, request: Buffer.from('any').toString('base64') },
  });
  await expect(plane.api.create(request('default'))).rejects.toThrow(/signs for the namespaces thalos-inference and thalos-runtime only/);
  await expect(plane.api.create(request(Namespace.RUNTIME))).resolves.toBeDefined();
});

test('what the authority signs for another name is believed by nobody', async () => {
  const forged = { ...CERTIFICATES, metadata: { name: 'forged', namespace: Namespace.RUNTIME } };
  const { issuerRef } = certificateOf(shown()).spec;
  await plane.api.create({ ...forged, spec: { secretName: 'forged', dnsNames: ['bank.example.com'], issuerRef } });
  const secret = await plane.api.until('the forged certificate', { ...SECRETS, namespace: Namespace.RUNTIME }, (secrets) => (
    secrets.find(({ metadata, data }) => metadata.name === 'forged' && data['tls.crt'])));
  const { cert, key, ca } = contentOf(secret);
  const server: Server = createServer({ cert, key }, (socket) => socket.end());
  server.on('tlsClientError', () => undefined);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const client = connect({ port: (server.address() as { port: number }).port, host: '127.0.0.1', servername: 'bank.example.com', ca });
  const [error] = await once(client, 'error') as [Error & { code: string }];
  expect(error.message).toContain('permitted subtree violation');
  client.destroy();
  server.close();
});
