import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { exposureOf } from '../../../runtime/local/exposure';

const TOKEN = '0123456789abcdef';
const of = (options: Record<string, string>, environment: NodeJS.ProcessEnv = {}) => exposureOf({ positionals: [], options }, environment);

test('without options: this machine only, and no token', () => {
  expect(of({})).toEqual({ host: '127.0.0.1', token: undefined });
});

test('a token comes from an option, a file or the environment', () => {
  const folder = mkdtempSync(join(tmpdir(), 'thalos-exposure-'));
  writeFileSync(join(folder, 'token'), `${TOKEN}-file\n`);
  expect(of({ token: TOKEN })).toEqual({ host: '127.0.0.1', token: TOKEN });
  expect(of({ 'token-file': join(folder, 'token') }, { THALOS_TOKEN: TOKEN })).toMatchObject({ token: `${TOKEN}-file` });
  expect(of({ host: '0.0.0.0' }, { THALOS_TOKEN: TOKEN })).toEqual({ host: '0.0.0.0', token: TOKEN });
  expect(of({}, { THALOS_TOKEN: '' })).toMatchObject({ token: undefined });
  rmSync(folder, { recursive: true });
});

test.each([['192.168.1.5'], ['::1'], ['localhost'], ['brain.example.org']])('%s can be listened on', (host) => {
  expect(of({ host, token: TOKEN })).toEqual({ host, token: TOKEN });
});

test.each([
  ['a host without a token', { host: '0.0.0.0' }, 'USAGE'],
  ['a host that is a URL', { host: 'http://x', token: TOKEN }, 'USAGE'],
  ['a host with a port', { host: '1.2.3.4:80', token: TOKEN }, 'USAGE'],
  ['an empty host', { host: '', token: TOKEN }, 'USAGE'],
  ['a token that can be guessed', { token: '0123456789abcde' }, 'USAGE'],
  ['an empty token', { token: '' }, 'USAGE'],
  ['a token that no header can hold', { token: '0123456789 abcdef' }, 'USAGE'],
  ['a token and a file', { 'token': TOKEN, 'token-file': 'x' }, 'USAGE'],
  ['a file that is none', { 'token-file': '/nonexistent/token' }, 'FILE_NOT_FOUND'],
])('refuses %s', (_, options, code) => {
  expect(() => of(options)).toThrow(expect.objectContaining({ code }));
});

test('never shows the token that it refuses', () => {
  expect(() => of({ token: 'secret' })).toThrow(expect.objectContaining({ message: expect.not.stringContaining('secret') }));
});
