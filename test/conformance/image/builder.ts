/** Builds the image of the inference service without a container engine: Debian's `buildah`, in a changed root, on a stand-in for the base image. */
import { execFileSync } from 'node:child_process';
import { copyFileSync, cpSync, mkdirSync, mkdtempSync, readFileSync, realpathSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { basename, join } from 'node:path';
import { cached } from '../cache';
import { unpackPackage } from '../npm-package';

const NODE_LOCK = join(__dirname, 'node.json');
const LIBRARIES = 'usr/lib/x86_64-linux-gnu';
const BASE = 'localhost/stand-in-node';
const IMAGE = 'localhost/inference-service';

/** What the image says of itself (OCI image specification, "config"). */
export interface ImageConfig {
  readonly User: string;
  readonly Env: readonly string[];
  readonly Entrypoint: readonly string[];
  readonly WorkingDir: string;
  readonly ExposedPorts: { readonly [port: string]: object };
  readonly Labels: { readonly [name: string]: string };
}

/** The built image, unpacked. */
export interface BuiltImage {
  readonly config: ImageConfig;
  /** Its file system. */
  readonly root: string;
  remove(): void;
}

/** Builds `context` on the stand-in. Storage is a folder of its own under `~/.cache`, which {@link BuiltImage.remove} deletes. */
export function buildImage(context: string): BuiltImage {
  installBuildah();
  const parent = join(homedir(), '.cache', 'thalos-brain', 'image');
  mkdirSync(parent, { recursive: true });
  const storage = mkdtempSync(join(parent, 'storage-'));
  const remove = () => rmSync(storage, { recursive: true, force: true });
  const buildah = (...args: string[]) => execFileSync('buildah', [
    '--root', join(storage, 'root'), '--runroot', join(storage, 'run'), '--storage-driver', 'vfs', ...args,
  ], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] }).trim();
  try {
    const files = standInBase(join(storage, 'base'));
    const base = buildah('from', 'scratch');
    buildah('copy', base, files, '/');
    buildah('commit', '--rm', base, BASE);
    buildah('bud', '--isolation', 'chroot', '--build-arg', `NODE_IMAGE=${BASE}`, '--tag', IMAGE, context);
    const config = JSON.parse(buildah('inspect', '--type', 'image', IMAGE)).OCIv1.config;
    return { config, root: buildah('mount', buildah('from', '--pull-never', IMAGE)), remove };
  } catch (error) {
    remove();
    throw error;
  }
}

function installBuildah(): void {
  try {
    execFileSync('buildah', ['--version'], { stdio: 'ignore' });
  } catch {
    const remedy = 'apt-get install -y --no-install-recommends buildah';
    if (process.getuid?.() !== 0) throw new Error(`buildah is missing: ${remedy}`);
    execFileSync('sh', ['-c', `apt-get update -qq && DEBIAN_FRONTEND=noninteractive ${remedy}`], { stdio: 'ignore' });
  }
}

/**
 * What the Dockerfile takes from Node's official image, where that has it: Node 24 from npm's copy of the release, this machine's C libraries, and
 * Debian's links between `/lib` and `/usr/lib` and from a library's name to its file.
 */
function standInBase(folder: string): string {
  const node = join(cached('image', NODE_LOCK, downloadNode), 'package', 'bin', 'node');
  for (const path of [LIBRARIES, 'usr/lib64', 'usr/local/bin', 'etc']) mkdirSync(join(folder, path), { recursive: true });
  for (const name of ['lib', 'lib64']) symlinkSync(`usr/${name}`, join(folder, name));

  copyFileSync(node, join(folder, 'usr/local/bin/node'));
  for (const path of execFileSync('ldd', [node], { encoding: 'utf8' }).match(/\/\S+\.so\S*/g) ?? []) {
    const file = realpathSync(path);
    copyFileSync(file, join(folder, LIBRARIES, basename(file)));
    if (basename(file) !== basename(path)) symlinkSync(basename(file), join(folder, LIBRARIES, basename(path)));
    if (basename(path).startsWith('ld-linux')) symlinkSync(join('/lib/x86_64-linux-gnu', basename(path)), join(folder, 'usr/lib64', basename(path)));
  }
  writeFileSync(join(folder, 'etc/passwd'), 'node:x:1000:1000::/:\n');
  cpSync('/etc/nsswitch.conf', join(folder, 'etc/nsswitch.conf'));
  return folder;
}

function downloadNode(folder: string): void {
  unpackPackage(JSON.parse(readFileSync(NODE_LOCK, 'utf8')), folder, ['package/bin/node', 'package/package.json']);
}
