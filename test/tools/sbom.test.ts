/** The bill of materials that the inference service's image carries. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { build, type Metafile } from 'esbuild';
import { bundledPackages, type Component, type LockedPackage, sbomOf } from '../../projenrc/sbom';
import { ROOT } from '../support/examples';

/** Licences that ask for nothing but their text to travel along. */
const ALLOWED = ['Apache-2.0', 'MIT', 'ISC', '0BSD', 'BSD-2-Clause', 'BSD-3-Clause'];

const metafile = (...paths: string[]): Metafile => (
  { inputs: Object.fromEntries(paths.map((path) => [path, { bytes: 1, imports: [] }])), outputs: {} }
);
const INTEGRITY = `sha512-${Buffer.alloc(64, 1).toString('base64')}`;
const locked = (change: Partial<LockedPackage> = {}): LockedPackage => ({ version: '1.2.3', license: 'MIT', integrity: INTEGRITY, ...change });
const sbom = (paths: string[], packages: { [folder: string]: LockedPackage }) =>
  JSON.parse(sbomOf({ name: 'bundle', version: '0.0.0', metafile: metafile(...paths), locked: packages }));

describe('a bill of materials', () => {
  test('names a package once, however many of its files are in the bundle, and none of our own files', () => {
    expect(bundledPackages(metafile('runtime/main.ts', 'node_modules/a/x.js', 'node_modules/a/y.js', 'node_modules/@b/c/lib/z.js'))).toEqual(['node_modules/@b/c', 'node_modules/a']);
  });

  test('tells a nested installation from the one beside it, also where node_modules is a link', () => {
    expect(bundledPackages(metafile('../elsewhere/node_modules/a/node_modules/@b/c/z.js'))).toEqual(['node_modules/a/node_modules/@b/c']);
  });

  test('gives version, licence, purl and hash from the lock file', () => {
    expect(sbom(['node_modules/@b/c/z.js'], { 'node_modules/@b/c': locked() }).components).toEqual([{
      'type': 'library',
      'bom-ref': 'pkg:npm/%40b/c@1.2.3',
      'group': '@b',
      'name': 'c',
      'version': '1.2.3',
      'hashes': [{ alg: 'SHA-512', content: '01'.repeat(64) }],
      'licenses': [{ license: { id: 'MIT' } }],
      'purl': 'pkg:npm/%40b/c@1.2.3',
    }]);
  });

  test('keeps an expression of licences as one', () => {
    expect(sbom(['node_modules/a/z.js'], { 'node_modules/a': locked({ license: '(MIT OR GPL-3.0)' }) }).components[0].licenses).toEqual([{ expression: '(MIT OR GPL-3.0)' }]);
  });

  test.each([
    ['the lock file does not know', {}],
    ['has no licence', { 'node_modules/a': locked({ license: undefined }) }],
    ['has no sha512', { 'node_modules/a': locked({ integrity: 'sha1-AAAA' }) }],
  ])('fails on a package that %s', (_, packages) => {
    expect(() => sbom(['node_modules/a/z.js'], packages)).toThrow(/node_modules\/a, of which the lock file/);
  });

  test('is the same whatever the order of what it describes', () => {
    const packages = { 'node_modules/a': locked(), 'node_modules/b': locked() };
    expect(sbom(['node_modules/b/z.js', 'node_modules/a/z.js'], packages)).toEqual(sbom(['node_modules/a/z.js', 'node_modules/b/z.js'], packages));
  });
});

describe.each(['inference-service', 'model-agent'])('that of %s', (image) => {
  const components: Component[] = JSON.parse(readFileSync(join(ROOT, 'assets', image, 'sbom.cdx.json'), 'utf8')).components;

  test('lists every package whose code is in the bundle, and no other', async () => {
    const { metafile: inputs } = await build({
      entryPoints: [`runtime/${image}/main.ts`], absWorkingDir: ROOT, bundle: true, write: false, platform: 'node', target: 'node24', format: 'cjs', minify: true, metafile: true,
    });
    const { packages } = JSON.parse(readFileSync(join(ROOT, 'package-lock.json'), 'utf8'));
    const names = bundledPackages(inputs).map((folder) => `${folder.slice(folder.lastIndexOf('node_modules/') + 'node_modules/'.length)}@${packages[folder].version}`);

    expect(components.map(({ group, name, version }) => `${group ? `${group}/` : ''}${name}@${version}`).sort()).toEqual([...new Set(names)].sort());
  });

  test('holds allowed licences only', () => {
    expect(components.length).toBeGreaterThan(5);
    const other = components.filter(({ licenses }) => !licenses.every((entry) => 'license' in entry && ALLOWED.includes(entry.license.id)));

    expect(other.map(({ purl, licenses }) => `${purl}: ${JSON.stringify(licenses)}`)).toEqual([]);
  });
});
