import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type ClientCertificate, ClientCertificates } from '../../../runtime/adapters/aws/client-certificates';
import type { Logger } from '../../../runtime/core/ports';
import { SYSTEM_CLOCK } from '../../../runtime/core/ports';
import { issue, makeAuthority, type Pair } from '../../support/certificates';
import { SILENT } from '../core/brain.fixture';

const DAY = 86_400_000;

let authority: Pair;
let pairs: Pair[];
let folder: string;
let errors: string[];
let certificates: ClientCertificates | undefined;
const logger: Logger = { ...SILENT, error: (fields) => errors.push((fields as { error: string }).error) };

beforeAll(async () => {
  authority = await makeAuthority();
  const expired = { from: new Date(Date.now() - 2 * DAY), until: new Date(Date.now() - DAY) };
  pairs = [await issue(authority), await issue(authority), await issue(authority, expired)];
});
beforeEach(() => {
  errors = [];
  folder = mkdtempSync(join(tmpdir(), 'runtime-tls-'));
});
afterEach(() => {
  certificates?.close();
  certificates = undefined;
  rmSync(folder, { recursive: true });
});

const mount = (files: Partial<Record<'tls.crt' | 'tls.key' | 'ca.crt', string>>) => {
  for (const [file, text] of Object.entries(files)) writeFileSync(join(folder, file), text);
};
const whole = ({ cert, key }: Pair) => ({ 'tls.crt': cert, 'tls.key': key, 'ca.crt': authority.cert });
const open = () => (certificates = new ClientCertificates({ folder, clock: SYSTEM_CLOCK, logger, everyMs: 3_600_000 }));

test('nothing that is mounted is no certificate', () => {
  expect(open().current()).toBeUndefined();
});

test('a renewal is told once', () => {
  mount(whole(pairs[0]));
  const followed = open();
  expect(followed.current()?.cert).toBe(pairs[0].cert);
  const seen: ClientCertificate[] = [];
  followed.onChange((certificate) => seen.push(certificate));
  followed.refresh();
  mount(whole(pairs[1]));
  followed.refresh();
  followed.refresh();
  expect(seen.map(({ cert, key }) => [cert, key])).toEqual([[pairs[1].cert, pairs[1].key]]);
  expect(followed.current()).toBe(seen[0]);
});

test.each<[string, () => void, RegExp]>([
  ['half written', () => mount({ 'tls.crt': pairs[1].cert }), /key values mismatch/],
  ['cut short', () => mount({ 'tls.crt': pairs[1].cert.slice(0, 200) }), /not usable/],
  ['expired', () => mount(whole(pairs[2])), /which is not now/],
  ['gone in part', () => rmSync(join(folder, 'tls.key')), /one of them is missing/],
  ['without authorities', () => mount({ 'ca.crt': '' }), /not usable/],
])('a renewal that is %s leaves the old one in force, is logged once, and is taken up when it is whole', (_what, spoil, message) => {
  mount(whole(pairs[0]));
  const followed = open();
  spoil();
  followed.refresh();
  followed.refresh();
  expect(followed.current()?.cert).toBe(pairs[0].cert);
  expect(errors).toEqual([expect.stringMatching(message)]);
  mount(whole(pairs[1]));
  followed.refresh();
  expect(followed.current()?.cert).toBe(pairs[1].cert);
});

test('files that go away altogether leave the last certificate in force', () => {
  mount(whole(pairs[0]));
  const followed = open();
  for (const file of ['tls.crt', 'tls.key', 'ca.crt']) rmSync(join(folder, file));
  followed.refresh();
  expect(followed.current()?.cert).toBe(pairs[0].cert);
});

test('a pair that is not usable at the start is a configuration that is not', () => {
  mount({ ...whole(pairs[0]), 'tls.key': pairs[1].key });
  expect(open).toThrow(expect.objectContaining({ code: 'INVALID_CONFIGURATION' }));
});
