import { X509Certificate } from 'node:crypto';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TlsMaterial } from '../../../runtime/inference-service/http-server';
import { readBindings } from '../../../runtime/inference-service/mounted-files';
import { followCertificate, servingCertificate } from '../../../runtime/inference-service/serving-certificate';
import { SILENT } from '../core/brain.fixture';

const NOW = new Date('2026-01-01T00:00:00Z');

let root: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'thalos-etc-'));
});
afterEach(() => rmSync(root, { recursive: true }));

const mount = (cert: string, key: string) => {
  mkdirSync(join(root, 'tls'), { recursive: true });
  writeFileSync(join(root, 'tls/tls.key'), key);
  writeFileSync(join(root, 'tls/tls.crt'), cert);
};

test('without a mounted certificate one is made, for longer than any pod lives, and a new one each time', async () => {
  const [one, other] = [await servingCertificate(root, NOW), await servingCertificate(root, NOW)];
  expect(one.mounted).toBe(false);
  expect(one.key).not.toBe(other.key);
  const certificate = new X509Certificate(one.cert);
  expect(certificate.publicKey.asymmetricKeyType).toBe('ec');
  expect(new Date(certificate.validTo).getUTCFullYear()).toBe(2036);
});

test('a renewal of the mounted certificate is taken up', async () => {
  mount('first', 'key');
  const first = await servingCertificate(root, NOW);
  expect(first).toEqual({ cert: 'first', key: 'key', mounted: true });
  let unfollow = () => undefined as void;
  const renewed = new Promise<TlsMaterial>((resolve) => {
    unfollow = followCertificate(root, first, SILENT, resolve, 5);
  });
  mount('second one', 'key 2');
  expect(await renewed).toEqual({ cert: 'second one', key: 'key 2' });
  unfollow();
});

test('bindings are read without their line ends; an empty one counts as absent', () => {
  mkdirSync(join(root, 'bindings'));
  writeFileSync(join(root, 'bindings/REGION'), 'eu-central-1\n');
  writeFileSync(join(root, 'bindings/FEATURE_TABLE'), '\n');
  writeFileSync(join(root, 'bindings/other'), 'x');
  expect(readBindings(root)).toEqual({ REGION: 'eu-central-1' });
});
