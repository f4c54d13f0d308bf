/** Manifests of the versions that were put into the data directory. Nothing is given out before every byte has its digest. */
import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { digestOfFile } from './durable-files';
import { messageOf, systemCode } from './local-errors';
import { Paths, type ModelManifest } from '../../../src/contract';
import { requireDigest } from '../../core/digest';
import { refuse } from '../../core/errors';
import { parseManifest } from '../../core/manifest';
import type { ManifestSource } from '../../core/ports';

export class FileManifestSource implements ManifestSource {
  /** @param folder of one version of a model */
  constructor(private readonly folder: (model: string, version: string) => string) {}

  async manifest(model: string, version: string, digest: string): Promise<ModelManifest> {
    const folder = this.folder(model, version);
    const path = join(folder, Paths.MODEL_MANIFEST_FILE);
    const bytes = await readFile(path).catch((error: unknown) => (
      systemCode(error) === 'ENOENT'
        ? refuse('MANIFEST_NOT_FOUND', `version ${version} of model '${model}' has no manifest at ${path}`)
        : refuse('ARTIFACT_STORE_UNAVAILABLE', `${path}: ${messageOf(error)}`)
    ));
    requireDigest(`the manifest of version ${version} of model '${model}'`, bytes, digest);
    const manifest = parseManifest(bytes);
    if (manifest.name !== model || manifest.version !== version) {
      refuse('INVALID_MANIFEST', `${path} is of version ${manifest.version} of model '${manifest.name}'`);
    }
    await requireFiles(folder, manifest);
    return manifest;
  }
}

/** Fails with DIGEST_MISMATCH unless every file of the manifest lies in the folder with its size and digest. */
export async function requireFiles(folder: string, manifest: ModelManifest): Promise<void> {
  for (const { path, digest, bytes } of manifest.files) {
    const file = join(folder, path);
    const what = `file '${path}' of version ${manifest.version} of model '${manifest.name}'`;
    const size = await stat(file).then((found) => (found.isFile() ? found.size : undefined), () => undefined)
      ?? refuse('DIGEST_MISMATCH', `${what} is missing`);
    if (size !== bytes) refuse('DIGEST_MISMATCH', `${what} has ${size} bytes, its manifest says ${bytes}`);
    const actual = await digestOfFile(file);
    if (actual !== digest) refuse('DIGEST_MISMATCH', `${what} has digest ${actual}, its manifest says ${digest}`);
  }
}
