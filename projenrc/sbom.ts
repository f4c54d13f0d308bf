/** The software bill of materials of a bundle: CycloneDX 1.6, of what esbuild put in and with what the lock file says of it. Deterministic: no time, no serial number. */
import type { Metafile } from 'esbuild';

/** What the lock file says of an installed package (npm documentation, "package-lock.json"). */
export interface LockedPackage {
  readonly version: string;
  /** SPDX expression. */
  readonly license?: string;
  /** Subresource Integrity: `sha512-` and base64. */
  readonly integrity?: string;
}

/** `packages` of a lock file: by the folder that a package is installed in. */
export type LockedPackages = Readonly<Record<string, LockedPackage>>;

export interface Component {
  readonly 'type': 'library';
  readonly 'bom-ref': string;
  readonly 'group'?: string;
  readonly 'name': string;
  readonly 'version': string;
  readonly 'hashes': readonly { readonly alg: 'SHA-512'; readonly content: string }[];
  readonly 'licenses': readonly ({ readonly license: { readonly id: string } } | { readonly expression: string })[];
  readonly 'purl': string;
}

/** Folders of the packages that a bundle holds code of, e.g. `node_modules/a/node_modules/@b/c`, wherever node_modules is linked to; sorted. */
export function bundledPackages({ inputs }: Metafile): string[] {
  const folders = Object.keys(inputs).flatMap((path) => /(?:^|\/)(node_modules\/(?:.*\/node_modules\/)?(?:@[^/]+\/)?[^/]+)\//.exec(path)?.slice(1) ?? []);
  return [...new Set(folders)].sort();
}

export interface Bundle {
  readonly name: string;
  readonly version: string;
  readonly metafile: Metafile;
  readonly locked: LockedPackages;
}

/** CycloneDX JSON of one bundle (https://cyclonedx.org/docs/1.6/json/). Fails on a package that the lock file does not know. */
export function sbomOf(bundle: Bundle): string {
  const components = bundledPackages(bundle.metafile).map((folder) => componentOf(folder, bundle.locked[folder]));
  // One package may be installed in two folders at one version.
  const byReference = new Map(components.map((component) => [component['bom-ref'], component]));
  const sorted = [...byReference.keys()].sort().map((reference) => byReference.get(reference)!);
  const root = `${bundle.name}@${bundle.version}`;
  return `${JSON.stringify({
    bomFormat: 'CycloneDX',
    specVersion: '1.6',
    version: 1,
    metadata: { component: { 'type': 'application', 'bom-ref': root, 'name': bundle.name, 'version': bundle.version, 'licenses': [{ license: { id: 'Apache-2.0' } }] } },
    components: sorted,
    dependencies: [{ ref: root, dependsOn: sorted.map((component) => component['bom-ref']) }],
  }, undefined, 2)}\n`;
}

function componentOf(folder: string, locked: LockedPackage | undefined): Component {
  if (!locked?.license || !locked.integrity?.startsWith('sha512-')) {
    throw new Error(`the bundle holds code of ${folder}, of which the lock file does not give version, licence and sha512: install it from the lock file`);
  }
  const fullName = folder.slice(folder.lastIndexOf('node_modules/') + 'node_modules/'.length);
  const [name, group] = fullName.split('/').reverse();
  const purl = `pkg:npm/${group ? `${encodeURIComponent(group)}/` : ''}${name}@${locked.version}`;
  return {
    'type': 'library',
    'bom-ref': purl,
    ...group ? { group } : {},
    name,
    'version': locked.version,
    'hashes': [{ alg: 'SHA-512', content: Buffer.from(locked.integrity.slice('sha512-'.length), 'base64').toString('hex') }],
    'licenses': [/^[\w.+-]+$/.test(locked.license) ? { license: { id: locked.license } } : { expression: locked.license }],
    purl,
  };
}
