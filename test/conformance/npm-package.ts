import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';

/** A version of a package, and what its tarball must be (Subresource Integrity). */
export interface PinnedPackage {
  readonly package: string;
  readonly integrity: string;
}

/** Unpacks a package as npm's ordinary client gets it, or only `paths` of it, which begin with `package/`. Nothing of it is run. */
export function unpackPackage(pinned: PinnedPackage, folder: string, paths: readonly string[] = []): void {
  mkdirSync(folder, { recursive: true });
  const [{ filename }] = JSON.parse(execFileSync('npm', ['pack', pinned.package, '--json', '--silent'], { cwd: folder, encoding: 'utf8' }));
  const tarball = join(folder, filename);
  const integrity = `sha512-${createHash('sha512').update(readFileSync(tarball)).digest('base64')}`;
  if (integrity !== pinned.integrity) throw new Error(`${pinned.package} has ${integrity}, and is pinned to ${pinned.integrity}`);
  execFileSync('tar', ['xzf', tarball, '-C', folder, ...paths]);
  rmSync(tarball);
}
